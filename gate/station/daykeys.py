"""Day keys: 32 random bytes for each UTC day. Destroying one ends every link from that day's lines to a person."""

import contextlib
import os
import re
import secrets
from datetime import date
from pathlib import Path

_KEY_BYTES = 32
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})\.key")


class DayKeys:
    """The keys in one folder (0700, files 0600)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._held: tuple[date, bytes] | None = None

    def key(self, day: date) -> bytes:
        """That day's key, made when there is none. Raises OSError."""
        if self._held is None or self._held[0] != day:
            self._held = (day, self._load(day) or self._make(day))
        return self._held[1]

    def destroy_before(self, day: date) -> list[date]:
        """Destroy the keys of all earlier days; which they were. Raises OSError."""
        gone = []
        for path in self._folder.iterdir():
            named = _NAME.fullmatch(path.name)
            if named and date.fromisoformat(named[1]) < day:
                _destroy(path)
                gone.append(date.fromisoformat(named[1]))
        if self._held and self._held[0] < day:
            self._held = None
        return sorted(gone)

    def _load(self, day: date) -> bytes | None:
        with contextlib.suppress(FileNotFoundError):
            key = self._path(day).read_bytes()
            # A torn key is replaced: the day's earlier lines lose their link, which harms nobody.
            return key if len(key) == _KEY_BYTES else None
        return None

    def _make(self, day: date) -> bytes:
        key = secrets.token_bytes(_KEY_BYTES)
        path = self._path(day)
        unfinished = path.with_suffix(".new")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(path)
        return key

    def _path(self, day: date) -> Path:
        return self._folder / f"{day.isoformat()}.key"


def _destroy(path: Path) -> None:
    """Overwrite, then remove. Flash and copy-on-write file systems may keep old blocks: encrypt the disk as well."""
    with path.open("r+b") as file:
        file.write(bytes(_KEY_BYTES))
        file.flush()
        os.fsync(file.fileno())
    path.unlink()
