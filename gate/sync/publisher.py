"""The regional side: status rows in, a signed snapshot file out; and looking at one.

The same rows, key, pepper and `produced` give the same bytes. Errors name file, line and column, never a number.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from gate.feed.records import (
    CredentialStatus,
    Kind,
    SnapshotHeader,
    StatusEntry,
    encode_prefix,
)
from gate.sync.keyring import PrivateKey

COLUMNS = ("document_type", "number", "status", "asserted_by", "effective_at", "valid_until", "reason")
_NEEDED = COLUMNS[:5]
KeyOf = Callable[[str, str], bytes]  # (document_type, number) -> subject key; raises ValueError


class PublishError(ValueError):
    """The rows cannot be published; the text names line, column and what is allowed."""


@dataclass(frozen=True, slots=True)
class Edition:
    """What a snapshot says about itself."""

    issuer: str
    sequence: int
    produced_utc_s: int
    next_due_utc_s: int
    key_scheme: str
    pepper_id: str


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the CSV, checked."""

    line: int
    entry: StatusEntry = field(repr=False)


def read_csv(path: Path, key_of: KeyOf) -> Iterator[Row]:
    """Rows of a CSV file with a header line (columns as `COLUMNS`, the last two optional). Raises PublishError."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            names = reader.fieldnames or []
            for name in _NEEDED:
                if name not in names:
                    raise PublishError(f"{path}: has no column {name!r}; needed are {', '.join(_NEEDED)}")
            for unknown in set(names) - set(COLUMNS):
                raise PublishError(f"{path}: column {unknown!r} is not known; allowed are {', '.join(COLUMNS)}")
            for raw in reader:
                yield _row(path, reader.line_num, raw, key_of)
    except OSError as error:
        raise PublishError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise PublishError(f"{path}: is not UTF-8: save it as UTF-8") from error


def _row(path: Path, line: int, raw: dict[str, str], key_of: KeyOf) -> Row:
    def fail(column: str, allowed: str) -> PublishError:
        return PublishError(f"{path}:{line}: column {column!r} {allowed}")

    try:
        key = key_of((raw["document_type"] or "").strip(), (raw["number"] or "").strip())
    except ValueError as error:
        raise fail("number", f"is refused: {error}") from None
    status = (raw["status"] or "").strip()
    if status not in set(CredentialStatus):
        raise fail("status", f"must be one of {', '.join(CredentialStatus)}")
    asserted_by = (raw["asserted_by"] or "").strip()
    if not (asserted_by.isascii() and asserted_by.isdigit() and len(asserted_by) in (6, 12)):
        raise fail("asserted_by", "must be a GB/T 2260 code of 6 or 12 digits")
    reason = (raw.get("reason") or "0").strip()
    if not (reason.isascii() and reason.isdigit() and int(reason) < 256):
        raise fail("reason", "must be 0 to 255")
    effective = _time(raw["effective_at"])
    if effective is None:
        raise fail("effective_at", "must be an ISO 8601 time with its offset, e.g. 2020-04-01T08:00:00+08:00")
    until_text = raw.get("valid_until") or ""
    until = _time(until_text) if until_text.strip() else None
    if until_text.strip() and until is None:
        raise fail("valid_until", "must be empty or an ISO 8601 time with its offset")
    return Row(line, StatusEntry(key, CredentialStatus(status), asserted_by[:6], effective, until, int(reason)))


def _time(text: str | None) -> int | None:
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None  # Beijing or UTC? Eight hours too green or too red: never guess
    seconds = int(moment.timestamp())
    return seconds if 0 < seconds < 1 << 32 else None


def publish(rows: Iterable[Row], edition: Edition, key: PrivateKey, out: Path) -> SnapshotHeader:
    """Write the signed snapshot to `out`, whole or not at all. Raises PublishError, OSError."""
    if key.issuer != edition.issuer:
        raise PublishError(f"the key belongs to issuer {key.issuer!r}, not to {edition.issuer!r}")
    entries = _sorted(rows)
    digest = hashlib.sha256()
    for raw in entries:
        digest.update(raw)
    header = SnapshotHeader(
        issuer=edition.issuer,
        sequence=edition.sequence,
        kind=Kind.FULL.value,
        produced_utc_s=edition.produced_utc_s,
        next_due_utc_s=edition.next_due_utc_s,
        count=len(entries),
        content_digest=digest.hexdigest(),
        key_scheme=edition.key_scheme,
        pepper_id=edition.pepper_id,
        key_id=key.key_id,
    )
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(encode_prefix(header, key.key.sign(header.signed_bytes())))
            file.writelines(entries)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(out)
    finally:
        temporary.unlink(missing_ok=True)
    return header


def _sorted(rows: Iterable[Row]) -> list[bytes]:
    """Encoded entries by key. The same subject twice is an error unless both lines say the same."""
    by_key: dict[bytes, tuple[int, bytes]] = {}
    for row in rows:
        raw = row.entry.encode()
        line, before = by_key.setdefault(row.entry.subject_key, (row.line, raw))
        if before != raw:
            raise PublishError(f"lines {line} and {row.line} speak of the same person and differ: keep the right one")
    return [raw for _, (_, raw) in sorted(by_key.items())]
