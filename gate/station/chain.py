"""The journal as data: one JSON line a record, each citing the hash of the line before. Reading, checking, encoding.

`{"prev": …, "event": "passage", …}` is a PassageRecord; other events are the journal's own: "recovered", "lost",
"closed". Hashes are letters a-p and instants are RFC 3339 text (`started_utc_s` is written as `started_time`), so no
line can hold eight digits of an ID number. What a chain cannot show: that its newest lines were cut off.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from gate.passage.record import PassageRecord, from_letters, letters

GENESIS = letters(bytes(32))  # what the very first line cites
PROBLEMS_MAX = 1_000  # a report longer than this says no more than "rewritten"

_NAME = re.compile(r"journal-(\d{6})-(\d{4}-\d{2}-\d{2})\.jsonl")
_FIELDS = tuple(field.name for field in fields(PassageRecord) if field.name != "subject")


class JournalError(ValueError):
    """A file or folder is no journal, or a line of it cannot be read; the text names the place."""


class Segment(NamedTuple):
    """One file of the journal. Its number orders it: days may repeat after a wrong clock was set right."""

    number: int
    day: date  # UTC
    path: Path


def segment(folder: Path, number: int, day: date) -> Segment:
    """The segment of that number and day."""
    return Segment(number, day, folder / f"journal-{number:06d}-{day.isoformat()}.jsonl")


def segments(folder: Path) -> list[Segment]:
    """The journal's files, oldest first. Raises OSError."""
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted(Segment(int(m[1]), date.fromisoformat(m[2]), path) for m, path in found if m)


def passage_body(record: PassageRecord, day_key: bytes) -> str:
    """A record as JSON text, still unlinked. Raises TypeError or ValueError for what JSON cannot hold."""
    values: dict[str, Any] = {"event": "passage"}
    values |= {name: getattr(record, name) for name in _FIELDS}
    values["subject"] = subject_mark(record.subject, day_key)
    return _dumped(values)


def event_body(event: str, utc_s: float, **facts: object) -> str:
    """An event of the journal itself as JSON text, still unlinked."""
    return _dumped({"event": event, "at_utc_s": utc_s, **facts})


def subject_mark(subject: bytes, day_key: bytes) -> str:
    """What stands for a subject within one day; nobody can follow it without the day key. "" for no subject."""
    return letters(hmac.digest(day_key, subject, "sha256")[:16]) if subject else ""


def link(body: str, previous: str) -> bytes:
    """The line of `body`, citing the hash `previous`."""
    return f'{{"prev":"{previous}",{body[1:]}\n'.encode()


def line_hash(line: bytes) -> str:
    """What the next line cites: SHA-256 of the line with its line feed."""
    return letters(hashlib.sha256(line).digest())


def parse_line(line: bytes) -> dict[str, Any] | None:
    """The line's fields as written; None when it is not a whole journal line."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    whole = line.endswith(b"\n") and isinstance(values, dict) and isinstance(values.get("prev"), str)
    return values if whole else None


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """All lines of a file, or of all files in a folder. Raises OSError, and JournalError naming file and line.

    A last line that is still being written is left out.
    """
    for file in _files(path):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                values = parse_line(line)
                if values is not None:
                    yield values
                elif line.endswith(b"\n"):
                    raise JournalError(f"{file}:{number}: is not a journal line")


def read_records(path: Path) -> Iterator[PassageRecord]:
    """The passages of a journal, for replay; `subject` is the day's mark. Raises as `read_lines`."""
    for values in read_lines(path):
        if values.get("event") == "passage":
            try:
                yield _record(values)
            except ValueError as error:
                raise JournalError(f"{path}: {error}: was it written by another release?") from error


def record_of(line: bytes) -> PassageRecord:
    """The passage of one line; `subject` is the day's mark. Raises ValueError."""
    values = parse_line(line)
    if values is None or values.get("event") != "passage":
        raise ValueError("is no passage of a journal")
    return _record(values)


def verify_chain(path: Path) -> list[str]:
    """What is wrong with the chain of a journal's folder or file: "file:line: what"; empty when it is whole."""
    problems: list[str] = []
    previous: str | None = None
    for file in _files(path):
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                values = parse_line(line)
                if values is None:
                    problems.append(f"{file.name}:{number}: is not a whole journal line")
                elif previous is not None and values["prev"] != previous:
                    problems.append(f"{file.name}:{number}: does not follow the line before")
                if len(problems) == PROBLEMS_MAX:
                    return problems
                previous = line_hash(line)
    return problems


def _files(path: Path) -> list[Path]:
    return [each.path for each in segments(path)] if path.is_dir() else [path]


def _dumped(values: Mapping[str, Any]) -> str:
    return json.dumps(_written("", values), separators=(",", ":"), allow_nan=False)


def _written(name: str, value: Any) -> Any:
    """`value` with every `…_utc_s` number inside it as `…_time` text."""
    if isinstance(value, Mapping):
        return {_renamed(key, inner): _written(key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_written("", inner) for inner in value]
    if name.endswith("_utc_s") and value is not None:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return value


def _renamed(key: str, value: Any) -> str:
    return f"{key.removesuffix('_utc_s')}_time" if key.endswith("_utc_s") and value is not None else key


def _restored(value: Any) -> Any:
    """The reverse of `_written`, to the microsecond."""
    if isinstance(value, dict):
        return dict(_restored_item(key, inner) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(map(_restored, value))
    return value


def _restored_item(key: str, value: Any) -> tuple[str, Any]:
    if key.endswith("_time") and isinstance(value, str):
        return f"{key.removesuffix('_time')}_utc_s", datetime.fromisoformat(value).timestamp()
    return key, _restored(value)


def _before_rules(values: Mapping[str, Any]) -> dict[str, Any]:
    """What journals from before rules in CertLogic lack; of the circumstances they tell only what was presented."""
    shown = values.get("credential")
    return {"circumstances": {} if shown in ("CARD", "NONE") else {"presented": shown}, "spoken": ()}


def _record(values: dict[str, Any]) -> PassageRecord:
    restored = _before_rules(values) | _restored(values)
    try:
        return PassageRecord(**{name: restored[name] for name in _FIELDS}, subject=from_letters(restored["subject"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a passage of the journal lacks or spoils a field: {error}") from None
