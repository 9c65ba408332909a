"""`gate feed trace`: from the reference on a refused passenger's slip to the issuer's own row (R12)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gate.cli.errors import NOT_SO

if TYPE_CHECKING:
    from gate.sync.rows import Row

_BEIJING = timezone(timedelta(hours=8))  # no summer time
DAYS = 14  # as long as a station's journal can tell what happened (contract.md, keep_days)
_TOLD_EVERY = 1000  # rows


def trace(
    reference: Annotated[str, typer.Argument(help="As the passenger reads it, e.g. AKM-7K3Q-9ZT2-M4XC.")],
    rows: Annotated[Path, typer.Option(help="The region's own rows: CSV or .parquet; - is stdin.")],
    pepper_file: Annotated[Path, typer.Option(help="The issuer's pepper file.")],
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="In China, and faster; without it, the last 14.")
    ] = None,
) -> None:
    """Find the rows that a correction reference is of: their line numbers, never a number or a name.

    Exit 1 when there is none. Example: gate feed trace AKM-7K3Q-9ZT2-M4XC --rows akm.csv --pepper-file akm.pepper
    """
    from gate.cli.progress import counting
    from gate.config import ConfigError
    from gate.credential.subject import read_reference
    from gate.sync.keyring import load_peppers
    from gate.sync.rows import KeysOf, read_rows

    asked = read_reference(reference)
    if asked is None:
        raise ConfigError("reference", "is mistyped: ask for it again, the issuer and three times four characters")
    peppers = load_peppers(pepper_file, asked.split("-", 1)[0])
    days = _days(day)
    found = False
    with counting("rows") as progress:
        keys = KeysOf(_keys(peppers), lambda token: b"", lambda scheme, number: b"")
        for line, made in _found(asked, read_rows(rows, keys), peppers, days, progress):
            found = True
            print(f"{rows}:{line}: of {made}")
    if not found:
        print(f"{rows}: no row has this reference of {days[-1]} to {days[0]}: give --day, or the rows of that day")
        raise typer.Exit(NOT_SO)


def _days(day: datetime | None) -> Sequence[date]:
    if day is not None:
        return (day.date(),)
    today = datetime.now(_BEIJING).date()
    return [today - timedelta(days=back) for back in range(DAYS)]


def _keys(peppers: Mapping[str, bytes]) -> Callable[[str, str], bytes]:
    """The row's subject key under each pepper, one behind the other: rows may come from a pipe, and are read once."""
    from gate.credential.documents import DocumentType, document
    from gate.credential.subject import subject_key

    def keys(document_type: str, number: str) -> bytes:
        if document_type not in set(DocumentType):
            raise ValueError(f"document_type must be one of {', '.join(DocumentType)}")
        one = document(DocumentType(document_type), number)
        return b"".join(subject_key(pepper, one) for pepper in peppers.values())

    return keys


def _found(
    asked: str,
    rows: "Iterator[Row]",
    peppers: Mapping[str, bytes],
    days: Sequence[date],
    progress: Callable[[int], None],
) -> Iterator[tuple[int, date]]:
    """Line and day of each row whose reference was asked for."""
    from gate.credential.subject import KEY_BYTES, correction_reference

    issuer = asked.split("-", 1)[0]
    for count, row in enumerate(rows, 1):
        for number, pepper in enumerate(peppers.values()):
            key = row.entry.subject_key[number * KEY_BYTES :][:KEY_BYTES]
            yield from ((row.line, day) for day in days if correction_reference(pepper, issuer, key, day) == asked)
        if count % _TOLD_EVERY == 0:
            progress(count)
