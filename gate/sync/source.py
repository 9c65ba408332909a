"""Where snapshots come from: `dir:` is a folder that somebody else writes into."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SUFFIX = ".snapshot"
REMEMBERED_MAX = 1000  # judged files that are not opened again; a folder keeps far fewer


@dataclass(frozen=True, slots=True)
class _Seen:
    size: int
    changed_ns: int


class DirectorySource:
    """Files `*.snapshot` in a folder, the newest name last; each is offered once per change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._seen: dict[str, _Seen] = {}

    def offered(self) -> Iterator[Path]:
        """Files that are new or changed since they were offered last. Raises OSError when the folder cannot be read."""
        for path in sorted(self._folder.iterdir()):
            if path.suffix != SUFFIX or path.name.startswith("."):
                continue
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            seen = _Seen(status.st_size, status.st_mtime_ns)
            if self._seen.get(path.name) == seen:
                continue
            self._seen[path.name] = seen
            while len(self._seen) > REMEMBERED_MAX:
                del self._seen[next(iter(self._seen))]
            yield path

    def forget(self, path: Path) -> None:
        """Offer this file again: it failed for a reason of ours."""
        self._seen.pop(path.name, None)
