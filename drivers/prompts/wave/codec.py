"""`tracks.csv`: which numbered track, and which wave file, says which reason. No IO and no clock.

    track,file,reason,…
    1,0001.wav,STATUS_GREEN,…

A table without `file` numbers tracks for voice modules only. Further columns are for people.
"""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass

TRACK_MAX = 2999  # what the smaller of the modules counts to (DFPlayer, "0-2999")
_ROWS_MAX = 500  # several times what there are reasons
_LINE_CHARS_MAX = 2000  # a reason's words in two languages are a few hundred
_REASON = re.compile(r"[A-Z][A-Z_]{1,39}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,59}\.wav")  # a name, never a path


@dataclass(frozen=True, slots=True)
class Track:
    """One track: its number, and its file's name ("" where the table has none)."""

    number: int
    file: str = ""


def parse_tracks(text: str) -> Mapping[str, Track]:
    """Tracks by reason. Raises ValueError naming line and remedy."""
    lines = text.removeprefix("\ufeff").splitlines()
    if len(lines) > _ROWS_MAX or any(len(line) > _LINE_CHARS_MAX for line in lines):
        raise ValueError(f"has more than {_ROWS_MAX} lines or {_LINE_CHARS_MAX} characters in one: not a track table")
    rows = csv.DictReader(lines)
    if not {"track", "reason"} <= set(rows.fieldnames or ()):
        raise ValueError("line 1: needs the columns track and reason: make one by gate prompts make")
    tracks: dict[str, Track] = {}
    for row in rows:
        tracks[_checked(row["reason"], _REASON, rows.line_num, "reason")] = _track(row, rows.line_num)
    if not tracks:
        raise ValueError("names no track: make one by gate prompts make")
    return tracks


def _track(row: Mapping[str, str | None], line: int) -> Track:
    number = row["track"] or ""
    if not (number.isascii() and number.isdigit() and len(number) <= 4 and 1 <= int(number) <= TRACK_MAX):
        raise ValueError(f"line {line}: track must be 1 to {TRACK_MAX}")
    file = row.get("file")
    return Track(int(number), _checked(file, _FILE, line, "file") if file else "")


def _checked(value: str | None, form: re.Pattern[str], line: int, column: str) -> str:
    if value is None or not form.fullmatch(value):
        raise ValueError(f"line {line}: {column} is not one: make the table again by gate prompts make")
    return value
