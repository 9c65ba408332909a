"""What the simulated serial turnstile controllers have in common: faults of the line, releases, people."""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from drivers.contract import Direction
from drivers.simulated.ports import Session
from drivers.simulated.samv import plug_at

WALK_S = 0.8  # a step or two


@dataclass(slots=True)
class GateKnobs:
    """How a controller misbehaves; the defaults are a good one."""

    answer_s: float = 0.0  # late
    silent: bool = False  # hears nothing
    lose_answer: bool = False  # acts and says nothing
    garble: bool = False  # an answer's last byte is wrong: its checksum, or its end
    refuse: bool = False
    chopped: bool = False  # an answer without its last byte
    chunk: int = 0  # bytes at a time; 0: at once
    stuck: bool = False  # passages happen and are not noticed


class Line:
    """One connection's way out, with the knobs' faults."""

    def __init__(self, writer: asyncio.StreamWriter, knobs: GateKnobs) -> None:
        self._writer = writer
        self._knobs = knobs

    async def answer(self, frame: bytes) -> None:
        """Send `frame` as the knobs want it."""
        knobs = self._knobs
        if knobs.answer_s:
            await asyncio.sleep(knobs.answer_s)
        if knobs.lose_answer:
            return
        if knobs.garble:
            frame = frame[:-1] + bytes([frame[-1] ^ 0x55])
        if knobs.chopped:
            frame = frame[:-1]
        step = knobs.chunk or len(frame)
        for at in range(0, len(frame), step):
            self._writer.write(frame[at : at + step])
            await self._writer.drain()
            if knobs.chunk:
                await asyncio.sleep(0)  # lets the driver read each piece by itself


class SimulatedGate:
    """Who was released, in order; a release is waited for by whoever plays the passengers."""

    def __init__(self, knobs: GateKnobs | None = None) -> None:
        self.knobs = knobs or GateKnobs()
        self.released: list[Direction] = []
        self._event = asyncio.Event()

    def free(self, direction: Direction) -> None:
        """The barrier was freed for one person."""
        self.released.append(direction)
        self._event.set()

    async def wait_release(self, timeout_s: float) -> bool:
        """Whether there was a release since the last call, within `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._event.wait()
                self._event.clear()
                return True
        return False


class _Walkable(Protocol):
    released: list[Direction]

    async def wait_release(self, timeout_s: float) -> bool:
        """Whether there was a release."""

    async def pass_through(self, direction: Direction = Direction.ENTRY) -> None:
        """One person walks through."""


_KNOBS = {"stuck_passage": "stuck", "refuse": "refuse", "lose_answer": "lose_answer"}


def knobs_of(options: Mapping[str, str], *names: str) -> GateKnobs:
    """The knobs called `names`, as `gate devices simulate --set NAME=true` turns them; the cable's are not ours."""
    knobs = GateKnobs()
    for name in names:
        setattr(knobs, _KNOBS[name], options.get(name) == "true")
    return knobs


async def everybody_walks(name: str, port: str, session: Session, gate: _Walkable) -> None:
    """Everybody who is released walks through, until cancelled."""
    async with plug_at(port, session) as plugged:
        print(f"{name} on {plugged.spec}", flush=True)
        await walk_for_ever(gate)


async def walk_for_ever(gate: _Walkable) -> None:
    """Everybody who is released walks through, until cancelled."""
    for number in itertools.count(1):
        while not await gate.wait_release(60.0):
            pass
        print(f"release {number}", flush=True)
        await asyncio.sleep(WALK_S)
        await gate.pass_through(gate.released[-1])
