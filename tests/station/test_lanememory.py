"""What outlives a restart, on a disk that takes its time."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from gate.passage.commands import LaneMode
from gate.station.lanememory import LaneMemory, Remembered


def test_a_write_that_began_before_the_end_does_not_undo_the_last_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The station stops while an older state is still on its way to the disk: the emergency since then is kept."""
    begun, may_go_on, opened = threading.Event(), threading.Event(), os.open

    def slow(path: Path, flags: int, mode: int) -> int:
        if not begun.is_set():
            begun.set()
            may_go_on.wait(10)
        return opened(path, flags, mode)

    monkeypatch.setattr("gate.station.lanememory.os.open", slow)
    memory = LaneMemory(tmp_path / "lanes.json")

    async def story() -> None:
        running = asyncio.create_task(memory.run())
        memory.remember("A1", LaneMode.MAINTENANCE, False)
        await asyncio.to_thread(begun.wait, 10)
        memory.remember("A1", LaneMode.MAINTENANCE, True)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        closing = threading.Thread(target=memory.close)
        closing.start()
        await asyncio.to_thread(closing.join, 0.5)  # time enough to overtake, if it did
        may_go_on.set()
        await asyncio.to_thread(closing.join, 10)

    asyncio.run(story())  # it ends when the thread that wrote the older state has
    assert LaneMemory(tmp_path / "lanes.json").of("A1") == Remembered(LaneMode.MAINTENANCE, True)
