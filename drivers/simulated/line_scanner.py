"""A simulated QR engine: sends codes as lines on a port, in every way that real ones were seen to."""

import asyncio
import itertools
from collections.abc import Mapping

from drivers.simulated.ports import Session, plug_at

# What engines answer to a question of their makers' manuals (probe.py of engine and ssi name the pages).
MAKERS: Mapping[str, Mapping[bytes, bytes]] = {
    "none": {},
    "honeywell": {b"\x16M\r232BAD?.": b"232BAD9\x06."},
    "newland": {b"~\x010000@SCNMOD*;\x03": b"\x02\x010000@SCNMOD0\x06;\x03"},
    "zebra": {bytes.fromhex("04A30400FF55"): bytes.fromhex("0EA40000") + b"SIM 1.0 00" + bytes.fromhex("FD36")},
}


class SimulatedLineScanner:
    """One engine. `scan` is a passenger holding a code before it."""

    def __init__(self, suffix: bytes = b"\r\n", prefix: bytes = b"", answer: bytes = b"") -> None:
        self._suffix = suffix
        self._prefix = prefix
        self._answer = answer  # sent for whatever the driver sends, as engines acknowledge a trigger command
        self.answers: Mapping[bytes, bytes] = {}  # to these commands, instead
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self.received = bytearray()  # commands from the driver

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    def line(self, payload: bytes, aim: bytes = b"") -> bytes:
        """One code as it goes over the wire."""
        return self._prefix + aim + payload + self._suffix

    async def scan(self, payload: bytes, aim: bytes = b"", chunk: int = 0) -> None:
        """Send one code, `chunk` bytes at a time (0: at once)."""
        await self.send(self.line(payload, aim), chunk)

    async def send(self, raw: bytes, chunk: int = 0) -> None:
        """Send bytes as they are: noise, parts, several codes in one."""
        await self._connected.wait()
        assert self._writer is not None  # noqa: S101 - set before the event
        step = chunk or max(len(raw), 1)
        for at in range(0, len(raw), step):
            self._writer.write(raw[at : at + step])
            await self._writer.drain()
            if chunk:
                await asyncio.sleep(0)  # lets the driver read each piece by itself

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._connected.set()
        try:
            while data := await reader.read(256):
                self.received += data
                writer.write(self.answers.get(data, self._answer))
        finally:
            self._connected.clear()


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate line-scanner`: a made-up Suishenma code every `every_s` seconds, until cancelled.

    `chunk` bytes go out at a time (0: at once); `noise` is hexadecimal and goes out before every code; `maker` is whose
    questions it answers.
    """
    every_s, chunk = float(options.get("every_s", "5")), int(options.get("chunk", "0"))
    noise = bytes.fromhex(options.get("noise", ""))
    scanner = SimulatedLineScanner()
    scanner.answers = MAKERS[options.get("maker", "none")]
    async with plug_at(port, scanner.session) as plugged:
        print(f"line-scanner on {plugged.spec}", flush=True)
        for number in itertools.count(1):
            await asyncio.sleep(every_s)
            await scanner.send(noise + scanner.line(made_up_code(number)), chunk)


def made_up_code(number: int) -> bytes:
    """A payload in the form of a Shanghai code, of nobody."""
    return b"https://s.sh.gov.cn/" + f"{number:030x}1585000000000".encode()
