"""A simulated thermometer module in each of the three dialects; what stands before it is `celsius`."""

import asyncio
import contextlib
from collections.abc import Mapping

from drivers.simulated.ports import Session
from drivers.simulated.samv import plug_at

AMBIENT_C = 24.0
_REGISTERS = 0x10


class SimulatedThermometer:
    """One module. Turn `celsius`, `silent`, `answers` and `sends_by_itself` at will."""

    def __init__(self, protocol: str = "5a5a45", celsius: float = 36.5, every_s: float = 0.5) -> None:
        self.protocol = protocol
        self.celsius = celsius
        self.silent = False
        self.answers = True
        self.sends_by_itself = protocol == "aa55"
        self.asked: list[bytes] = []
        self._every_s = every_s

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    def frame(self) -> bytes:
        """What it says now."""
        if self.protocol == "aa55":
            tenths = round(self.celsius * 10)
            return _summed(bytes([0xAA, 0x55, 6, tenths // 10, tenths % 10]))
        if self.protocol == "register":
            return _summed(bytes([0xA4, 3, 7, 7]) + self._registers()[7:14])
        return _summed(b"\x5a\x5a\x45\x04" + _hundredths(self.celsius) + _hundredths(AMBIENT_C))

    def _registers(self) -> bytes:
        values = bytearray(_REGISTERS)
        values[7] = 97  # emissivity 0.97, as of skin
        values[8:14] = _hundredths(self.celsius - 2.0) + _hundredths(AMBIENT_C) + _hundredths(self.celsius)
        return bytes(values)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sending = asyncio.create_task(self._send(writer))
        try:
            while data := await reader.read(64):
                self.asked.append(data)
                if self.answers and not self.silent and self._is_question(data):
                    writer.write(self.frame())
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _is_question(self, data: bytes) -> bool:
        questions = {"5a5a45": b"\xa5\x15\xba", "register": b"\xa4\x03\x07\x07\xb5"}
        return questions.get(self.protocol, b"\xff") in data

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while True:
                if self.sends_by_itself and not self.silent:
                    writer.write(self.frame())
                await asyncio.sleep(self._every_s)


def _hundredths(celsius: float) -> bytes:
    return round(celsius * 100).to_bytes(2, "big", signed=True)


def _summed(frame: bytes) -> bytes:
    return frame + bytes([sum(frame) & 0xFF])


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate serial-thermometer`: somebody of `celsius` stands before it, until cancelled."""
    protocol, celsius = options.get("protocol", "5a5a45"), float(options.get("celsius", "36.5"))
    module = SimulatedThermometer(protocol, celsius, float(options.get("every_s", "0.5")))
    async with plug_at(port, module.session) as plugged:
        print(f"serial-thermometer on {plugged.spec}", flush=True)
        await asyncio.Event().wait()
