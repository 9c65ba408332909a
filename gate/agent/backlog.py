"""What of the lane's own journal the controller does not have yet, read in order.

How far it was handed over is remembered after the controller has said that all before is on its disk. Between the two a
crash makes us hand over the same again; the controller knows what it has (gate/station/handover.py).
"""

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from gate.station.chain import parse_line, segments
from gate.station.handover import LINES_MAX

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Place:
    """So many bytes of the journal's file of that number, and all files before it, are done."""

    segment: int = 0
    offset: int = 0


class Backlog:
    """Reads the journal in `folder`; `path` holds the place. Blocks: call it outside the loop, one at a time."""

    def __init__(self, folder: Path, path: Path) -> None:
        self._folder = folder
        self._path = path
        self._place = self._after = _read(path)

    def next(self, most: int = LINES_MAX) -> list[bytes]:
        """The next lines of passages, at most so many. Raises OSError."""
        lines: list[bytes] = []
        self._after = self._place
        for each in segments(self._folder):
            if each.number < self._place.segment or len(lines) == most:
                continue
            offset = self._place.offset if each.number == self._place.segment else 0
            with each.path.open("rb") as file:
                if file.seek(0, os.SEEK_END) < offset:  # a power loss took its end: other lines stand there now
                    offset = 0
                file.seek(offset)
                while len(lines) < most and (line := file.readline()).endswith(b"\n"):
                    lines += [line] if _is_passage(line) else []
                    offset += len(line)
            self._after = _Place(each.number, offset)
        return lines

    def done(self) -> None:
        """What `next` gave is handed over. Raises OSError."""
        self._place = self._after
        unfinished = self._path.with_suffix(".new")
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump({"segment": self._place.segment, "offset": self._place.offset}, file)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path)


def _is_passage(line: bytes) -> bool:
    values = parse_line(line)
    if values and values.get("event") == "lost":
        log.error("%s passages were decided here and never written down: the disk refused them", values.get("lost"))
    return values is not None and values.get("event") == "passage"


def _read(path: Path) -> _Place:
    try:
        held = json.loads(path.read_text("utf-8"))
        return _Place(int(held["segment"]), int(held["offset"]))
    except FileNotFoundError:
        return _Place()
    except (OSError, ValueError, KeyError, TypeError) as error:
        # From the beginning: the controller takes what it has no second time.
        log.error("%s cannot be used (%s): handing over the whole journal again", path, type(error).__name__)
        return _Place()
