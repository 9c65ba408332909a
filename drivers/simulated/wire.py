"""Faults of the cable between any simulated device and its driver: bytes lost, late, altered, in pieces, swapped.

`FAULTS` is read when a port is made, and its value may be altered while the device runs: so every simulator has these
knobs without knowing them, and a test turns them in the middle of a story. `wire.toml` declares them.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

PIECE_S = 0.002  # between two pieces: enough for the driver to read each by itself, short of every inter-byte limit
WAITING_MAX = 256  # answers under way; more are lost, as a full buffer loses them


@dataclass(slots=True)
class WireFaults:
    """What is wrong with the cable; the defaults are a good one. The names are those of `wire.toml`."""

    silent: bool = False
    late_ms: int = 0
    garbled_every: int = 0
    chopped: int = 0
    wrong_answer: bool = False
    unplug_every_s: float = 0.0


FAULTS: ContextVar[WireFaults | None] = ContextVar("FAULTS", default=None)
_Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class _FaultyWriter:
    """A device's writer; everything but what `faults` concerns is the true one's."""

    def __init__(self, writer: asyncio.StreamWriter, faults: WireFaults) -> None:
        self._writer = writer
        self._faults = faults
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(WAITING_MAX)
        self._before = b""
        self._written = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def write(self, data: bytes) -> None:
        """What the device says; one answer, as a rule."""
        faults, before, self._before = self._faults, self._before, data
        self._written += 1
        data = before if faults.wrong_answer else data
        if faults.silent or not data or self._waiting.full():
            return
        if faults.garbled_every and self._written % faults.garbled_every == 0:
            middle = len(data) // 2
            data = data[:middle] + bytes([data[middle] ^ 0x55]) + data[middle + 1 :]
        due_s = asyncio.get_running_loop().time() + faults.late_ms / 1000
        self._waiting.put_nowait((due_s, data))

    async def drain(self) -> None:
        """A device does not wait for its cable."""
        await asyncio.sleep(0)

    async def deliver(self) -> None:
        """Carry what was written, in order, until cancelled or the port is gone."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due_s, data = await self._waiting.get()
                await asyncio.sleep(max(0.0, due_s - loop.time()))
                step = self._faults.chopped or len(data)
                for at in range(0, len(data), step):
                    self._writer.write(data[at : at + step])
                    await self._writer.drain()
                    if self._faults.chopped:
                        await asyncio.sleep(PIECE_S)


def through(session: _Session, faults: WireFaults) -> _Session:
    """The same device behind a cable with `faults`."""

    async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        faulty = _FaultyWriter(writer, faults)
        delivery = asyncio.create_task(faulty.deliver())
        try:
            await session(reader, cast(asyncio.StreamWriter, faulty))
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)

    return behind
