"""The journal's files on disk: append linked lines, sync, roll back, rotate, recover, retire. Not thread-safe."""

import errno
import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from gate.station.chain import GENESIS, Segment, line_hash, link, parse_line, segment, segments

SEGMENT_BYTES_MAX = 64 << 20
# The largest station's record day (412,800 departures, operations.md 2.1) times 2 kB a line and 14 days is 11.6 GB.
TOTAL_BYTES_MAX = 12 << 30
# What one power loss can damage: two seconds of the busiest station (100 passages a second of 2 kB), twice over.
_TAIL_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Recovery:
    """How the journal was found at start."""

    torn_bytes: int  # cut off the end: lines that power loss left unfinished
    clean: bool  # whether the last controller closed it; otherwise up to a second of lines may be missing


class ChainWriter:
    """The open end of a chain. After OSError call `roll_back`, and write all since the last `sync` again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_fd = _locked(folder)
        self._fd: int | None = None
        self._segment: Segment | None = None
        self._previous = self._synced_previous = GENESIS
        self._size = self._synced_size = 0
        self.recovery = self._recover()

    @property
    def segment(self) -> Segment | None:
        """The file being written; None before the first line."""
        return self._segment

    def write(self, bodies: Sequence[str], day: date) -> None:
        """Append `bodies` to that day's file, each citing the one before. Raises OSError."""
        fd = self._ready(day)
        previous, lines = self._previous, []
        for body in bodies:
            line = link(body, previous)
            previous = line_hash(line)
            lines.append(line)
        data = b"".join(lines)
        _write_all(fd, data)
        self._size += len(data)
        self._previous = previous

    def sync(self) -> None:
        """Put what was written on the disk. Raises OSError."""
        if self._fd is not None:
            os.fsync(self._fd)
        self._synced_size, self._synced_previous = self._size, self._previous

    def roll_back(self) -> None:
        """Forget everything since the last `sync`; the file itself is cut when it is next opened."""
        self._close_file()
        self._size, self._previous = self._synced_size, self._synced_previous

    def retire(self, first_kept: date, today: date) -> list[Segment]:
        """Destroy files of days before `first_kept`, and the oldest while all take too much. Raises OSError."""
        if self._segment and self._segment.day < first_kept:
            self._ready(today)  # nothing was written for that long: the chain goes on in a new file
        found = segments(self._folder)
        total = sum(each.path.stat().st_size for each in found)
        gone = []
        for each in found:
            if each == self._segment:
                continue
            if each.day < first_kept or total > TOTAL_BYTES_MAX:
                total -= each.path.stat().st_size
                each.path.unlink()
                gone.append(each)
        return gone

    def close(self) -> None:
        """Let go of the file and the folder."""
        self._close_file()
        os.close(self._lock_fd)

    def _ready(self, day: date) -> int:
        """The open file for `day`, rotated where it must be."""
        if self._segment and (self._segment.day != day or self._size >= SEGMENT_BYTES_MAX):
            self._reopened(self._segment)
            self.sync()  # a roll back never reaches over a file's end
            self._close_file()
            self._start(segment(self._folder, self._segment.number + 1, day))
        elif self._segment is None:
            self._start(segment(self._folder, 1, day))
        assert self._segment is not None  # noqa: S101 - `_start` set it
        return self._reopened(self._segment)

    def _start(self, new: Segment) -> None:
        fd = os.open(new.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._fd, self._segment = fd, new
        self._size = self._synced_size = os.fstat(fd).st_size
        folder_fd = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder_fd)  # without it power loss may take the file's name away
        finally:
            os.close(folder_fd)

    def _reopened(self, current: Segment) -> int:
        """The file of `current`, cut to its synced length after a roll back."""
        if self._fd is None:
            fd = os.open(current.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                # Someone may have removed the file meanwhile: never grow it with zeros.
                os.ftruncate(fd, min(self._size, os.fstat(fd).st_size))
            except OSError:
                os.close(fd)
                raise
            self._fd = fd
        return self._fd

    def _close_file(self) -> None:
        if self._fd is not None:
            fd, self._fd = self._fd, None
            os.close(fd)

    def _recover(self) -> Recovery:
        """Continue the chain where the last controller left it, without the lines that power loss tore."""
        found = segments(self._folder)
        if not found:
            return Recovery(0, clean=True)
        self._segment = found[-1]
        torn_bytes = 0
        for newest_first, each in enumerate(reversed(found)):
            whole, last = _whole_part(each.path)
            if newest_first == 0:
                torn_bytes = each.path.stat().st_size - whole
                self._size = self._synced_size = whole
            if last:
                break
        else:
            return Recovery(torn_bytes, clean=False)
        self._previous = self._synced_previous = line_hash(last)
        ended = parse_line(last)
        return Recovery(torn_bytes, clean=not torn_bytes and ended is not None and ended.get("event") == "closed")


def _whole_part(path: Path) -> tuple[int, bytes]:
    """How many leading bytes of the file are whole lines, and the last of these (b"" when there is none).

    Only the tail is looked at: power loss damages nothing that was synced, and damage elsewhere is for `verify_chain`.
    """
    size = path.stat().st_size
    for start in (max(0, size - _TAIL_BYTES), 0):
        with path.open("rb") as file:
            file.seek(start)
            if start:
                file.readline()
            whole, last = file.tell(), b""
            for line in file:
                if parse_line(line) is None:
                    break
                whole, last = whole + len(line), line
        if last:
            return whole, last
    return 0, b""


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _locked(folder: Path) -> int:
    """A lock on the folder for as long as it stays open: two writers would break the chain."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise OSError(
            errno.EBUSY, "another controller writes this journal: stop it, or give each its own data_dir", str(folder)
        ) from None
    return fd
