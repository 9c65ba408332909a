"""What must outlive a restart: the modes that staff set, and emergencies that nobody has reset yet.

One small JSON file in `data_dir`, replaced whole. A file that cannot be read means: nothing is remembered, and says so.
"""

import asyncio
import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gate.passage.commands import LaneMode

log = logging.getLogger(__name__)

RETRY_S = 1.0  # a disk that refuses is tried again until it takes the last state, or the station stops


@dataclass(frozen=True, slots=True)
class Remembered:
    """One lane: the mode staff set last (None: as configured), and whether an emergency holds."""

    mode: LaneMode | None = None
    emergency: bool = False


class LaneMemory:
    """Read once at start; written by `run` in a thread, so that no lane waits for a disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lanes = _read(path)
        self._changed = asyncio.Event()
        self._writing = threading.Lock()

    def of(self, lane: str) -> Remembered:
        """What is remembered of `lane`."""
        return self._lanes.get(lane, Remembered())

    def remember(self, lane: str, mode: LaneMode | None, emergency: bool) -> None:
        """Keep this of `lane`; never waits."""
        one = Remembered(mode, emergency)
        if one != self.of(lane):
            self._lanes[lane] = one
            self._changed.set()

    async def run(self) -> None:
        """Write every change until cancelled; the last state counts."""
        failing = False
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await asyncio.to_thread(self._write)
                failing = False
            except asyncio.CancelledError:
                self._changed.set()  # the thread goes on, and nobody hears whether the disk took it
                raise
            except OSError as error:
                if not failing:
                    log.error("%s cannot be written: %s: a restart would forget lane modes", self._path, error.strerror)
                failing = True
                self._changed.set()
                await asyncio.sleep(RETRY_S)

    def close(self) -> None:
        """Write what is not written yet; at the end of the station."""
        if self._changed.is_set():
            try:
                self._write()
            except OSError as error:
                log.error("%s cannot be written: %s: lane modes are forgotten", self._path, error.strerror)

    def _write(self) -> None:
        # One at a time, each the newest state: what a thread began to write before the end must not come after it.
        with self._writing:
            _write(self._path, dict(self._lanes))


def _read(path: Path) -> dict[str, Remembered]:
    try:
        rows = json.loads(path.read_text("utf-8"))
        return {
            str(lane): Remembered(LaneMode(row["mode"]) if row["mode"] else None, row["emergency"] is True)
            for lane, row in rows.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        log.error("%s cannot be used (%s): lanes start as configured; check their modes", path, type(error).__name__)
        return {}


def _write(path: Path, lanes: Mapping[str, Remembered]) -> None:
    rows = {lane: {"mode": one.mode, "emergency": one.emergency} for lane, one in lanes.items()}
    unfinished = path.with_suffix(".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(rows, file)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
