"""Where feed files come from. A source only brings files; whether one is believed or taken is never its business.

`dir:` is a folder that somebody else writes into. `https:` and `nats:` are in `https.py` and `jetstream.py`;
`open_source` picks by scheme. What to take next is decided in `gate/feed/ledger.py` from the catalogue and what is
held.
"""

import asyncio
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gate.feed.envelope import Form as Form
from gate.sync.feedfile import RefusedError, read_header

POLL_S = 1.0  # dir: a file put there now is seen within a second
ENTRIES_MAX = 4096  # files looked at in one catalogue, the newest sequences; a folder keeps far fewer


class Outcome(enum.StrEnum):
    """What became of a fetched entry."""

    TAKEN = "TAKEN"  # committed to the store, or held already
    REFUSED = "REFUSED"  # never to be offered again unless it changes
    LATER = "LATER"  # failed for a reason of ours: offer it again


class SourceError(Exception):
    """The source cannot be reached or read; the text says what and what to do, and holds no secret."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that a source has. What it says of itself is a hint; only the verified header counts."""

    name: str  # unique within the source while its content stays the same; shown to operators
    form: Form
    sequence: int  # the state that it leads to
    from_sequence: int = 0  # a delta: the state that it starts from
    size: int = 0  # bytes; 0 when not known


class Source(Protocol):
    """One issuer's source, used by one task of the feed process."""

    async def changed(self) -> None:
        """Wait until there may be something new; returns at once the first time. Raises SourceError."""

    async def catalogue(self) -> Sequence[Entry]:
        """What there is now, in any order; refused entries are left out. Raises SourceError."""

    async def fetch(self, entry: Entry) -> Path:
        """A whole local file with the entry's bytes; stays until `settled`. Raises SourceError."""

    async def settled(self, entry: Entry, outcome: Outcome) -> None:
        """The entry was dealt with: acknowledge, forget, or keep for later. Raises SourceError."""

    async def close(self) -> None:
        """Let go of connections and temporary files."""


class DirectorySource:
    """Files `*.snapshot` and `*.delta` in a folder, put there by a rename so that they are whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._first = True
        self._known: dict[tuple[str, int, int], Entry | None] = {}  # name, size, changed: what it says; None: not ours
        self._refused: dict[tuple[str, int, int], None] = {}

    async def changed(self) -> None:
        """See `Source.changed`: looks once a second."""
        if not self._first:
            await asyncio.sleep(POLL_S)
        self._first = False

    async def catalogue(self) -> Sequence[Entry]:
        """See `Source.catalogue`. Each file's header is read once."""
        try:
            stamps = [stamp for path in self._folder.iterdir() if (stamp := _stamp(path))]
            self._known = {stamp: self._known.get(stamp) or self._entry(stamp) for stamp in stamps}
        except OSError as error:
            raise SourceError(f"{self._folder}: {error.strerror}: make the folder, or correct its path") from error
        self._refused = {stamp: None for stamp in self._refused if stamp in self._known}
        usable = [entry for stamp, entry in self._known.items() if entry and stamp not in self._refused]
        return sorted(usable, key=lambda entry: entry.sequence)[-ENTRIES_MAX:]

    def _entry(self, stamp: tuple[str, int, int]) -> Entry | None:
        name, size, _ = stamp
        form = Form.SNAPSHOT if name.endswith(SUFFIXES[0]) else Form.DELTA
        try:
            with (self._folder / name).open("rb") as file:
                header, _ = read_header(file)
            return Entry(name, Form(header.form), header.sequence, header.from_sequence, size)
        except FileNotFoundError:
            return None
        except RefusedError:
            return Entry(name, form, 0, 0, size)  # offered, so that it is refused by name where operators see it

    async def fetch(self, entry: Entry) -> Path:
        """See `Source.fetch`: the file itself."""
        return self._folder / entry.name

    async def settled(self, entry: Entry, outcome: Outcome) -> None:
        """See `Source.settled`."""
        if outcome is Outcome.REFUSED:
            for stamp, one in self._known.items():
                if one is entry:
                    self._refused[stamp] = None

    async def close(self) -> None:
        """See `Source.close`."""


SUFFIXES = (".snapshot", ".delta")


def _stamp(path: Path) -> tuple[str, int, int] | None:
    if path.suffix not in SUFFIXES or path.name.startswith("."):
        return None
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return path.name, status.st_size, status.st_mtime_ns
