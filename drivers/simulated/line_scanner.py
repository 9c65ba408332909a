"""A simulated QR engine: sends codes as lines on a port, in every way that real ones were seen to."""

import asyncio
import itertools
from collections.abc import Mapping

from drivers.simulated.ports import Session
from drivers.simulated.samv import plug_at


class SimulatedLineScanner:
    """One engine. `scan` is a passenger holding a code before it."""

    def __init__(self, suffix: bytes = b"\r\n", prefix: bytes = b"") -> None:
        self._suffix = suffix
        self._prefix = prefix
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()
        self.received = bytearray()  # commands from the driver

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    async def scan(self, payload: bytes, aim: bytes = b"", chunk: int = 0) -> None:
        """Send one code, `chunk` bytes at a time (0: at once)."""
        await self.send(self._prefix + aim + payload + self._suffix, chunk)

    async def send(self, raw: bytes, chunk: int = 0) -> None:
        """Send bytes as they are: noise, parts, several codes in one."""
        await self._connected.wait()
        assert self._writer is not None  # noqa: S101 - set before the event
        step = chunk or len(raw)
        for at in range(0, len(raw), step):
            self._writer.write(raw[at : at + step])
            await self._writer.drain()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._connected.set()
        while data := await reader.read(256):
            self.received += data
        self._connected.clear()


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate line-scanner`: a made-up Suishenma code every `every_s` seconds, until cancelled."""
    scanner = SimulatedLineScanner()
    plugged = plug_at(port, scanner.session)
    await plugged.plug()
    print(f"line-scanner on {plugged.spec}", flush=True)
    for number in itertools.count(1):
        await asyncio.sleep(float(options.get("every_s", "5")))
        await scanner.scan(b"https://s.sh.gov.cn/" + f"{number:030x}1585000000000".encode())
