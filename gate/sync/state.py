"""A publisher's own memory of what it published: all elements in order, so that the next delta can be computed.

    elements 44 B each, ascending by key | StateHead as JSON | its length u32

It holds every subject's key and stays with the publisher; a station never sees it.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from gate.feed.envelope import Header
from gate.feed.records import ELEMENT_BYTES, KEY_BYTES
from gate.feed.states import Bytes2
from gate.feed.table import BITS_MAX

_FOOT_BYTES_MAX = 4096


class StateError(ValueError):
    """The file is no state of a publisher; the text names it and says what to do."""


@dataclass(frozen=True, slots=True)
class StateHead:
    """Which state it is."""

    issuer: str
    sequence: int
    kind: str
    pepper_id: str
    set_digest: str

    @classmethod
    def of(cls, header: Header) -> "StateHead":
        """The state that a snapshot with this header publishes."""
        return cls(header.issuer, header.sequence, header.kind, header.pepper_id, header.set_digest)


class Writing:
    """A state being written; without a path it goes nowhere."""

    def __init__(self, file: BinaryIO | None) -> None:
        self._file = file
        self.finished = False

    def write(self, elements: bytes) -> None:
        """The next elements in order. Raises OSError."""
        if self._file:
            self._file.write(elements)

    def finish(self, head: StateHead) -> None:
        """All elements are written, and this is what they are. Raises OSError."""
        if self._file:
            raw = json.dumps(asdict(head)).encode("ascii")
            self._file.write(raw + len(raw).to_bytes(4, "big"))
            self.finished = True


@contextmanager
def write_state(path: Path | None) -> Iterator[Writing]:
    """Write a state to `path`, whole or not at all. Raises OSError."""
    if path is None:
        yield Writing(None)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # The publisher alone may read it: it is a list of everybody's keys.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            writing = Writing(file)
            yield writing
            file.flush()
            os.fsync(file.fileno())
        if writing.finished:
            temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)


class OldState:
    """A state read in order. Raises StateError, OSError."""

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size
        with path.open("rb") as file:
            self.head, foot = _head(path, file, size)
        count, rest = divmod(size - foot, ELEMENT_BYTES)
        if rest:
            raise StateError(f"{path}: is cut off: publish a snapshot without --delta-from")
        self._rows: Any = np.zeros((0, ELEMENT_BYTES), np.uint8)
        if count:
            self._rows = np.memmap(path, np.uint8, "r", shape=(count, ELEMENT_BYTES))
        self._at = 0

    def __enter__(self) -> "OldState":
        return self

    def __exit__(self, *_: object) -> None:
        self._rows = None

    def until(self, bucket: int, bits: int) -> Bytes2:
        """The elements from where the last call ended, of buckets before `bucket`."""
        low, high = self._at, len(self._rows)
        while low < high:
            middle = (low + high) // 2
            leading = int.from_bytes(self._rows[middle, :3].tobytes(), "big") >> (BITS_MAX - bits)
            low, high = (middle + 1, high) if leading < bucket else (low, middle)
        found = np.array(self._rows[self._at : low])
        self._at = low
        return found


def _head(path: Path, file: BinaryIO, size: int) -> tuple[StateHead, int]:
    try:
        file.seek(size - 4)
        length = int.from_bytes(file.read(4), "big")
        if not 2 <= length <= _FOOT_BYTES_MAX:
            raise ValueError
        file.seek(size - 4 - length)
        return StateHead(**json.loads(file.read(length))), length + 4
    except (OSError, ValueError, TypeError) as error:
        raise StateError(
            f"{path}: is not a publisher's state: give the --state file of the last publication"
        ) from error


assert KEY_BYTES < ELEMENT_BYTES  # noqa: S101 - `until` looks at the beginning of each row
