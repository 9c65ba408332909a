"""Status rows of an issuer's own systems, from CSV, Parquet or a stream. Errors never quote a person."""

import csv
import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TextIO

from gate.feed.records import CredentialStatus, StatusEntry

COLUMNS = (
    "document_type",
    "number",
    "status",
    "asserted_by",
    "effective_at",
    "valid_until",
    "reason",
    "partition",
    "revision",
    "residence",
    "token",
    "card_scheme",
    "card_number",
)
NEEDED = COLUMNS[:5]
# The cross-system codes are text: "10" is red, and not ten (health-codes.md 1.3).
GRADES = {"00": CredentialStatus.GREEN, "01": CredentialStatus.YELLOW, "10": CredentialStatus.RED}
_BATCH = 4096  # rows of Parquet in memory at a time

KeyOf = Callable[[str, str], bytes]  # (document_type, number) -> subject key; raises ValueError
TokenKeyOf = Callable[[str], bytes]  # static code token -> token key
CardKeyOf = Callable[[str, str], bytes]  # (card_scheme, card_number) -> its key in the token index; raises ValueError


class RowError(ValueError):
    """A row cannot be published; the text names file, line, column and what is allowed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line, checked."""

    line: int
    entry: StatusEntry = field(repr=False)
    token_key: bytes = field(default=b"", repr=False)
    card_key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class KeysOf:
    """How a row's person, code and card become keys."""

    subject: KeyOf
    token: TokenKeyOf
    card: CardKeyOf


def read_rows(path: Path, keys: KeysOf) -> Iterator[Row]:
    """Rows of a `.csv` or `.parquet` file, or of CSV on standard input ("-"). Raises RowError."""
    name = str(path)
    if path.suffix == ".parquet":
        raw = _parquet(path)
    elif name == "-":
        name = "standard input"
        raw = _csv(io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", newline=""), name)
    else:
        raw = _csv_file(path)
    for line, values in raw:
        yield _row(f"{name}:{line}", line, values, keys)


def _csv_file(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _csv(file, str(path))
    except OSError as error:
        raise RowError(f"{path}: {error.strerror}: give a file of rows") from error


def _csv(file: TextIO, name: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    reader = csv.DictReader(file, restkey="", restval="")
    try:
        _check_columns(name, reader.fieldnames or ())
        for values in reader:
            if "" in values:
                raise RowError(f"{name}:{reader.line_num}: has more fields than columns")
            yield reader.line_num, values
    except UnicodeDecodeError as error:
        raise RowError(f"{name}: is not UTF-8: save it as UTF-8") from error
    except csv.Error as error:
        raise RowError(f"{name}:{reader.reader.line_num}: is not CSV: {error}") from error


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise RowError(f"{path}: Parquet needs pyarrow: pip install 'station-smart-gate[parquet]'") from error
    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(str(path), file.schema_arrow.names)
            line = 0
            for batch in file.iter_batches(_BATCH):
                for values in batch.to_pylist():
                    line += 1
                    if not isinstance(values["status"], str):
                        raise RowError(f"{path}:{line}: column 'status' must be text: 10 is ten, \"10\" is red")
                    yield line, {name: _text(value) for name, value in values.items()}
    except RowError:
        raise
    except (OSError, ValueError, arrow.ArrowException) as error:  # ValueError: times finer than Python's
        raise RowError(f"{path}: is not a Parquet file that can be read") from error


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _check_columns(name: str, columns: Iterable[str]) -> None:
    there = set(columns)
    for needed in NEEDED:
        if needed not in there:
            raise RowError(f"{name}: has no column {needed!r}; needed are {', '.join(NEEDED)}")
    for unknown in sorted(there - set(COLUMNS)):
        raise RowError(f"{name}: column {unknown!r} is not known; allowed are {', '.join(COLUMNS)}")


def _row(where: str, line: int, raw: Mapping[str, str], keys: KeysOf) -> Row:
    def get(column: str) -> str:
        return (raw.get(column) or "").strip()

    def fail(column: str, allowed: str) -> RowError:
        return RowError(f"{where}: column {column!r} {allowed}")

    try:
        key = keys.subject(get("document_type"), get("number"))
    except ValueError as error:
        raise fail("number", f"is refused: {error}") from None
    status = GRADES.get(get("status"), get("status"))
    if status not in set(CredentialStatus):
        raise fail("status", f"must be one of {', '.join(CredentialStatus)}, or the text 00, 01 or 10")
    if not get("asserted_by"):
        raise fail("asserted_by", _REGION)
    codes = {name: _region(get(name)) for name in ("asserted_by", "partition", "residence")}
    for name, code in codes.items():
        if code is None or (code == "000000" and name != "asserted_by"):
            raise fail(name, _REGION if name == "asserted_by" else f"{_REGION}, other than 000000, or empty")
    whole = {name: _whole(get(name), most) for name, most in (("reason", 255), ("revision", 0xFFFFFFFF))}
    for name, number in whole.items():
        if number is None:
            raise fail(name, "must be a whole number, 0 to " + ("255" if name == "reason" else "4294967295"))
    effective = _time(get("effective_at"))
    if effective is None:
        raise fail("effective_at", "must be an ISO 8601 time with its offset, e.g. 2020-04-01T08:00:00+08:00")
    until = _time(get("valid_until"))
    if get("valid_until") and until is None:
        raise fail("valid_until", "must be empty or an ISO 8601 time with its offset")
    entry = StatusEntry(
        key,
        CredentialStatus(status),
        codes["asserted_by"] or "",
        effective,
        until,
        whole["reason"] or 0,
        codes["partition"] or "",
        whole["revision"] or 0,
        codes["residence"] or "",
    )
    try:
        card = keys.card(get("card_scheme"), get("card_number")) if get("card_scheme") or get("card_number") else b""
    except ValueError as error:
        raise fail("card_number", f"is refused: {error}") from None
    return Row(line, entry, keys.token(get("token")) if get("token") else b"", card)


_REGION = "must be a GB/T 2260 code of 6 or 12 digits"


def _region(text: str) -> str | None:
    if not text:
        return ""
    return text[:6] if text.isascii() and text.isdigit() and len(text) in (6, 12) else None


def _whole(text: str, most: int) -> int | None:
    if not text:
        return 0
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most else None


def _time(text: str) -> int | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return None  # Beijing or UTC? Eight hours too green or too red: never guess
    seconds = int(moment.timestamp())
    return seconds if 0 < seconds < 1 << 32 else None
