"""A simulated keyboard-wedge scanner: the kernel's input events on a port, with the faults of keyboards as knobs."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.scanners.wedge.codec import EV_KEY, EV_SYN, SYN_DROPPED, SYN_REPORT, Event, encode, strokes
from drivers.simulated.line_scanner import made_up_code
from drivers.simulated.ports import Session, in_pieces
from drivers.simulated.samv import plug_at


@dataclass(slots=True)
class WedgeKnobs:
    """How the keyboard misbehaves; the defaults are a good one."""

    end: str = "\n"
    chunk: int = 0  # bytes per write; 0: all at once
    repeats: bool = False  # every held key repeats once, as after the kernel's repeat delay
    drop_after: int = 0  # so many events, then the kernel says that its buffer ran over
    silent: bool = False


class SimulatedWedge:
    """One scanner. `scan` is a passenger holding a code before it."""

    def __init__(self, knobs: WedgeKnobs | None = None) -> None:
        self.knobs = knobs or WedgeKnobs()
        self._writer: asyncio.StreamWriter | None = None
        self._connected = asyncio.Event()

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    async def scan(self, text: str) -> None:
        """Type one code and the last key."""
        await self.press(*self._misbehaving(strokes(text + self.knobs.end)))

    async def press(self, *events: Event) -> None:
        """Say events as they are."""
        await self.send(b"".join(map(encode, events)))

    async def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        await self._connected.wait()
        if self._writer and not self.knobs.silent:
            await in_pieces(self._writer, raw, self.knobs.chunk)

    def _misbehaving(self, events: list[Event]) -> list[Event]:
        if self.knobs.repeats:
            again = [[event, Event(EV_KEY, event.code, 2)] if event.value == 1 else [event] for event in events]
            events = [event for some in again for event in some]
        if at := self.knobs.drop_after:
            events[at:at] = [Event(EV_SYN, SYN_DROPPED, 0), Event(EV_SYN, SYN_REPORT, 0)]
        return events

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._connected.set()
        while await reader.read(256):
            self._writer = writer


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate wedge-scanner`: a made-up Suishenma code every `every_s` seconds, until cancelled."""
    repeats, drop_after = options.get("repeats") == "true", int(options.get("drop_after", "0"))
    scanner = SimulatedWedge(WedgeKnobs(repeats=repeats, drop_after=drop_after))
    async with plug_at(port, scanner.session) as plugged:
        print(f"wedge-scanner on {plugged.spec}", flush=True)
        for number in itertools.count(1):
            await asyncio.sleep(float(options.get("every_s", "5")))
            await scanner.scan(made_up_code(number).decode("ascii"))
