"""Rows of fixed width in 256 parts by their first byte, in bounded memory: what does not fit goes to files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from gate.feed.states import Bytes2

PARTS = 256
_BUFFER_BYTES = 256 * 1024  # a part; 64 MB together before a byte is written


class Spill:
    """Add rows in any order, then read them part by part."""

    def __init__(self, width: int, folder: Path) -> None:
        self._width = width
        self._folder = folder
        self._buffers = [bytearray() for _ in range(PARTS)]
        self._files: list[IO[bytes] | None] = [None] * PARTS

    def add(self, row: bytes) -> None:
        """One row. Raises OSError when the disk of temporary files is full."""
        buffer = self._buffers[row[0]]
        buffer += row
        if len(buffer) >= _BUFFER_BYTES:
            self._flush(row[0])

    def add_many(self, rows: Bytes2) -> None:
        """Many rows at once."""
        parts = np.argsort(rows[:, 0], kind="stable")
        many = np.bincount(rows[:, 0], minlength=PARTS)
        at = 0
        for part in np.flatnonzero(many):
            chosen = rows[parts[at : at + many[part]]]
            at += int(many[part])
            self._buffers[part] += chosen.tobytes()
            if len(self._buffers[part]) >= _BUFFER_BYTES:
                self._flush(int(part))

    def _flush(self, part: int) -> None:
        file = self._files[part]
        if file is None:
            # Named, not anonymous: /tmp may be memory, the folder of the output is not.
            file = self._files[part] = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed in `close`
        file.write(self._buffers[part])
        self._buffers[part].clear()

    def parts(self) -> Iterator[Bytes2]:
        """The rows of each part (n, width), in the order they came."""
        for part in range(PARTS):
            file, data = self._files[part], b""
            if file is not None:
                file.seek(0)
                data = file.read()
            data += bytes(self._buffers[part])
            yield np.frombuffer(data, np.uint8).reshape(-1, self._width)

    def close(self) -> None:
        """Remove the files."""
        for file in self._files:
            if file is not None:
                file.close()
