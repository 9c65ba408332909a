"""A simulated QR engine that takes orders: Newland, Honeywell or GM65 by name, with faults as knobs."""

import asyncio
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.scanners.engine.codec import crc
from drivers.simulated.line_scanner import made_up_code
from drivers.simulated.ports import Session, in_pieces
from drivers.simulated.samv import plug_at

SENDINGS = 3  # an engine that wants ACK says a code so often
# What a host may say, whatever the make: (kind, the order's own part).
_ORDERS = re.compile(
    rb"\x7e\x010000(?P<newland>[^\x03]*);\x03"
    rb"|\x16M\r(?P<honeywell>[^!.]*[!.])"
    rb"|(?P<trigger>\x16[TU]\r|\x01T\x04)"
    rb"|(?P<ack>\x06)"
    rb"|\x7e\x00(?P<gm65>[\x07\x08]\x01...(?:..))",
    re.DOTALL,
)


@dataclass(slots=True)
class EngineKnobs:
    """How the engine misbehaves; the defaults are a good one."""

    answer_s: float = 0.0  # time to answer an order
    silent: bool = False  # hears, and says nothing
    garbled: int = 0  # so many answers more go out with a byte changed
    chunk: int = 0  # bytes per write; 0: all at once
    refuse: dict[str, int] = field(default_factory=dict)  # order's beginning -> status byte instead of ACK
    noise_before: bytes = b""  # before every answer
    wants_ack_s: float = 0.0  # repeats a code that is not acknowledged in this time; 0: wants none
    echo_prefix: bool = False  # Honeywell: the answer repeats SYN M CR


class SimulatedEngine:
    """One engine. `scan` is a passenger holding a code before it."""

    def __init__(self, prefix: bytes = b"", suffix: bytes = b"\r\n", knobs: EngineKnobs | None = None) -> None:
        self.knobs = knobs or EngineKnobs()
        self.orders: list[str] = []  # in the words of the maker
        self.sent = 0  # codes, repetitions included
        self._prefix, self._suffix = prefix, suffix
        self._writer: asyncio.StreamWriter | None = None
        self._acknowledged = asyncio.Event()
        self._connected = asyncio.Event()
        self._registers = {0: 0xD6}  # GM65 after a reset: continuous mode

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    async def scan(self, payload: bytes) -> None:
        """Send one code, again where it wants to be acknowledged and is not."""
        for _ in range(SENDINGS if self.knobs.wants_ack_s else 1):
            self._acknowledged.clear()
            self.sent += 1
            await self.send(self._prefix + payload + self._suffix)
            if await self._was_acknowledged():
                return

    async def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        await self._connected.wait()
        if self._writer and not self.knobs.silent:
            await in_pieces(self._writer, raw, self.knobs.chunk)

    async def _was_acknowledged(self) -> bool:
        if not self.knobs.wants_ack_s:
            return True
        try:
            async with asyncio.timeout(self.knobs.wants_ack_s):
                return await self._acknowledged.wait()
        except TimeoutError:
            return False

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._connected.set()
        buffer = b""
        while data := await reader.read(256):
            self._writer = writer  # whoever speaks is answered, should two be connected for a moment
            buffer += data
            while order := _ORDERS.search(buffer):
                buffer = buffer[order.end() :]
                await self._obey(order)

    async def _obey(self, order: re.Match[bytes]) -> None:
        kind = order.lastgroup or ""
        text = order[kind]
        if kind == "ack":
            self._acknowledged.set()
            return
        self.orders.append(text.hex() if kind == "gm65" else text.decode("latin-1"))
        answer = {"newland": self._newland, "honeywell": self._honeywell, "gm65": self._gm65}.get(kind)
        if answer:
            await asyncio.sleep(self.knobs.answer_s)
            await self.send(self.knobs.noise_before + self._spoiled(answer(text)))

    def _status(self, text: bytes) -> bytes:
        found = [status for start, status in self.knobs.refuse.items() if text.startswith(start.encode())]
        return bytes(found[:1] or [0x06])

    def _newland(self, text: bytes) -> bytes:
        value = text.replace(b"*", b"0")  # DEVQRY* is answered by DEVQRY0
        return b"\x02\x010000" + value + self._status(text) + b";\x03"

    def _honeywell(self, text: bytes) -> bytes:
        value = text[:-1].upper().replace(b"?", b"9")
        return (b"\x16M\r" if self.knobs.echo_prefix else b"") + value + self._status(text) + text[-1:]

    def _gm65(self, text: bytes) -> bytes:
        good = crc(text[:-2]) == int.from_bytes(text[-2:], "big")
        if not good:
            return b""  # manual p. 31: a wrong CRC is not answered
        address, value = int.from_bytes(text[2:4], "big"), text[4]
        if text[0] == 8:
            self._registers[address] = value
        data = b"\0" if text[0] == 8 else bytes([self._registers.get(address, 0)])
        body = b"\0\0\x01" + data
        return b"\x02" + body + crc(body).to_bytes(2, "big")

    def _spoiled(self, answer: bytes) -> bytes:
        if not self.knobs.garbled or not answer:
            return answer
        self.knobs.garbled -= 1
        at = 6 if answer[:1] == b"\x02" else 3  # a digit, the CRC, or a letter of the tag
        return answer[:at] + bytes([answer[at] ^ 0x10]) + answer[at + 1 :]


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate engine-scanner`: a made-up Suishenma code every `every_s` seconds, until cancelled.

    It answers the orders of every make.
    """
    stx = options.get("stx") == "true"
    knobs = EngineKnobs(wants_ack_s=1.0 if stx else 0.0)
    engine = SimulatedEngine(b"\x02" if stx else b"", b"\x03" if stx else b"\r\n", knobs)
    async with plug_at(port, engine.session) as plugged:
        print(f"engine-scanner on {plugged.spec}", flush=True)
        for number in itertools.count(1):
            await asyncio.sleep(float(options.get("every_s", "5")))
            await engine.scan(made_up_code(number))
