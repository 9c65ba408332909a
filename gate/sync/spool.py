"""A file that is being received: bounded, hashed as it grows, kept over a cut, given its real name when whole."""

import asyncio
import hashlib
from pathlib import Path
from typing import BinaryIO

WRITE_BYTES = 1024 * 1024  # gathered before a thread writes them: a hop costs 50 µs, a slow disk must not stop the loop
PART, FETCHED = ".part", ".fetched"  # names of ours, so that what a killed process left can be told from other files


class TooLongError(Exception):
    """More bytes came than were announced or are ever allowed."""


class Spool:
    """Receives one file into `folder`. Not for two tasks at once."""

    def __init__(self, folder: Path, name: str, bytes_max: int) -> None:
        self.name = name
        self._path = folder / f"{name}{FETCHED}"
        self._part = folder / f".{name}{PART}"
        self._bytes_max = bytes_max
        self._file: BinaryIO = self._part.open("wb")
        self._gathered = bytearray()
        self._digest = hashlib.sha256()
        self.size = 0  # bytes received so far, those not yet written included
        self.intact = True  # False after a write that was given up: nobody knows what a thread still does to the file

    async def write(self, data: bytes) -> None:
        """Take more bytes. Raises TooLongError before anything beyond the limit is kept, OSError of the disk."""
        if self.size + len(data) > self._bytes_max:
            raise TooLongError(f"{self.name}: more than {self._bytes_max} bytes")
        self.size += len(data)
        self._gathered += data
        if len(self._gathered) >= WRITE_BYTES:
            await self._flush()

    async def restart(self) -> None:
        """Forget what was received: the far side begins again, or its file is another one now."""
        self._gathered.clear()
        self._digest = hashlib.sha256()
        self.size = 0
        await asyncio.to_thread(self._file.truncate, 0)
        self._file.seek(0)

    async def finish(self) -> tuple[Path, str]:
        """The whole file under its final name, and its SHA-256 in hexadecimal."""
        await self._flush()
        self._file.close()
        self._part.replace(self._path)
        return self._path, self._digest.hexdigest()

    def discard(self) -> None:
        """Remove what was received."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    async def _flush(self) -> None:
        data, self._gathered = self._gathered, bytearray()
        self.intact = False
        await asyncio.to_thread(self._append, data)
        self.intact = True

    def _append(self, data: bytearray) -> None:
        self._file.write(data)
        self._digest.update(data)


def prepare(folder: Path) -> None:
    """Make the folder, and remove what a killed process left: it is fetched again."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in (*folder.glob(f".*{PART}"), *folder.glob(f"*{FETCHED}")):
        left.unlink(missing_ok=True)
