"""Rows of an issuer's own systems: CSV, standard input, Parquet; what is wrong is named by file, line and column."""

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gate.credential.cardnumber import card_number
from gate.credential.documents import DocumentType, document
from gate.credential.subject import card_key, subject_key
from gate.feed.records import CredentialStatus, StatusEntry
from gate.sync.rows import COLUMNS, NEEDED, KeysOf, Row, RowError, read_rows

PEPPER = b"p" * 32
NUMBER = "340102199912310042"
EFFECTIVE = "2020-04-01T08:00:00+08:00"
GOOD = {
    "document_type": "RESIDENT_ID",
    "number": NUMBER,
    "status": "GREEN",
    "asserted_by": "340100",
    "effective_at": EFFECTIVE,
    "valid_until": "2020-05-01T00:00:00+08:00",
    "reason": "7",
    "partition": "340102000000",
    "revision": "4294967295",
    "residence": "310100",
    "token": "T-0001",
}


def key_of(kind: str, number: str) -> bytes:
    if kind not in set(DocumentType):
        raise ValueError(f"document_type must be one of {', '.join(DocumentType)}")
    return subject_key(PEPPER, document(DocumentType(kind), number))


def token_key_of(token: str) -> bytes:
    return token.encode().ljust(16, b"\0")[:16]


def card_key_of(scheme: str, number: str) -> bytes:
    return card_key(PEPPER, "AKM", card_number(scheme, number))


KEY = key_of("RESIDENT_ID", NUMBER)
ENTRY = StatusEntry(
    KEY, CredentialStatus.GREEN, "340100", 1_585_699_200, 1_588_262_400, 7, "340102", 4_294_967_295, "310100"
)


def csv_text(*rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    lines = [",".join(columns), *(",".join(row.get(c, "") for c in columns) for row in rows)]
    return "\r\n".join(lines) + "\r\n"


def read(path: Path) -> list[Row]:
    return list(read_rows(path, KeysOf(key_of, token_key_of, card_key_of)))


def test_a_line_says_everything(tmp_path: Path) -> None:
    """Every column arrives; the person and the token are in no repr."""
    path = tmp_path / "rows.csv"
    path.write_text(csv_text(GOOD), "utf-8")
    (row,) = read(path)
    assert row == Row(2, ENTRY, token_key_of("T-0001"))
    assert NUMBER not in repr(row)
    assert "T-0001" not in repr(row)


def test_a_line_may_name_the_persons_transit_card(tmp_path: Path) -> None:
    """Scheme and number beside the token; one without the other is refused, and no number is quoted or shown."""
    path = tmp_path / "rows.csv"
    path.write_text(csv_text({**GOOD, "card_scheme": "shanghai-transit", "card_number": "00 1125 9375"}), "utf-8")
    (row,) = read(path)
    assert row == Row(2, ENTRY, token_key_of("T-0001"), card_key_of("shanghai-transit", "11259375"))
    assert "11259375" not in repr(row)
    for scheme, number in (("", "11259375"), ("shanghai-transit", ""), ("Shanghai", "11259375"), ("a", "1125.9375")):
        path.write_text(csv_text({**GOOD, "card_scheme": scheme, "card_number": number}), "utf-8")
        with pytest.raises(
            RowError, match=r"rows.csv:2: column 'card_number' is refused: card (scheme|number)"
        ) as told:
            read(path)
        assert not number or number not in str(told.value)


def test_what_may_be_left_out(tmp_path: Path) -> None:
    """Five columns are enough; empty means none given."""
    path = tmp_path / "rows.csv"
    path.write_text(csv_text(GOOD, columns=NEEDED))
    (row,) = read(path)
    assert row == Row(2, StatusEntry(KEY, CredentialStatus.GREEN, "340100", 1_585_699_200))
    path.write_text(csv_text({name: GOOD[name] for name in NEEDED}))
    assert read(path) == [row]


def test_however_it_was_saved(tmp_path: Path) -> None:
    """With a byte order mark, quotes, blanks, other line ends, another order of columns, blank lines."""
    path = tmp_path / "rows.csv"
    text = csv_text(GOOD, columns=COLUMNS[::-1])
    for raw in (
        text.encode("utf-8-sig"),
        text.replace("\r\n", "\n").encode(),
        text.replace(",", " , ").replace(" ,", ",").encode(),
        text.replace("GREEN", '"GREEN"').encode(),
        text.replace("\r\n", "\r\n\r\n", 1).encode(),
        text.rstrip().encode(),
        text.replace("GREEN", " GREEN ").encode(),
    ):
        path.write_bytes(raw.replace(b", ", b","))
        (row,) = read(path)
        assert row.entry == ENTRY


def _stdin(monkeypatch: pytest.MonkeyPatch, raw: bytes) -> None:
    # As with LANG=C, where Python would let broken bytes through as surrogates.
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(raw), encoding="ascii", errors="surrogateescape"))


def test_a_stream_is_read_as_a_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard input is UTF-8 whatever the terminal's language, with or without its mark."""
    for encoding in ("utf-8", "utf-8-sig"):
        _stdin(monkeypatch, csv_text({**GOOD, "token": "码一"}).encode(encoding))
        (row,) = read(Path("-"))
        assert row == Row(2, ENTRY, token_key_of("码一"))


def test_a_stream_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """ "standard input", line and column."""
    _stdin(monkeypatch, csv_text(GOOD, {**GOOD, "status": "2"}).encode())
    with pytest.raises(RowError, match=r"^standard input:3: column 'status' must be one of"):
        read(Path("-"))
    _stdin(monkeypatch, csv_text(GOOD).encode() + b"\xff\xfe")
    with pytest.raises(RowError, match=r"^standard input: is not UTF-8"):
        read(Path("-"))


@pytest.mark.parametrize(
    ("grade", "status"), [("00", CredentialStatus.GREEN), ("01", CredentialStatus.YELLOW), ("10", CredentialStatus.RED)]
)
def test_grades_are_text(tmp_path: Path, grade: str, status: CredentialStatus) -> None:
    """The cross-system codes (health-codes.md 1.3): "10" is red, and not ten."""
    path = tmp_path / "rows.csv"
    path.write_text(csv_text({**GOOD, "status": grade}))
    assert read(path)[0].entry.status is status


@pytest.mark.parametrize("status", CredentialStatus)
def test_every_status_has_its_word(tmp_path: Path, status: CredentialStatus) -> None:
    """And no vendor's number."""
    path = tmp_path / "rows.csv"
    path.write_text(csv_text({**GOOD, "status": str(status)}))
    assert read(path)[0].entry.status is status


@pytest.mark.parametrize(
    ("column", "value", "says"),
    [
        ("document_type", "ID", "column 'number' is refused: document_type must be one of"),
        ("number", "340102199912310040", "column 'number' is refused"),
        ("number", "", "column 'number' is refused"),
        ("status", "0", "column 'status' must be one of GREEN"),
        ("status", "1", "or the text 00, 01 or 10"),
        ("status", "2", "column 'status'"),
        ("status", "000", "column 'status'"),
        ("status", "green", "column 'status'"),
        ("status", "", "column 'status'"),
        ("asserted_by", "", "column 'asserted_by' must be a GB/T 2260 code"),
        ("asserted_by", "3401", "column 'asserted_by' must be a GB/T 2260 code"),
        ("asserted_by", "３４０１００", "column 'asserted_by' must be a GB/T 2260 code"),
        ("partition", "000000", "column 'partition' must be a GB/T 2260 code of 6 or 12 digits, other than 000000"),
        ("residence", "000000", "column 'residence' must be"),
        ("partition", "Hefei", "column 'partition' must be"),
        ("reason", "256", "column 'reason' must be a whole number, 0 to 255"),
        ("reason", "-1", "column 'reason'"),
        ("reason", "1.0", "column 'reason'"),
        ("revision", "4294967296", "column 'revision' must be a whole number, 0 to 4294967295"),
        ("revision", "99999999999999999999", "column 'revision'"),
        ("effective_at", "", "column 'effective_at' must be an ISO 8601 time with its offset"),
        ("effective_at", "2020-04-01T08:00:00", "with its offset"),
        ("effective_at", "2020-04-01", "with its offset"),
        ("effective_at", "1960-01-01T00:00:00Z", "column 'effective_at'"),
        ("effective_at", "2107-01-01T00:00:00Z", "column 'effective_at'"),
        ("effective_at", "0001-01-01T00:00:00+08:00", "column 'effective_at'"),
        ("valid_until", "tomorrow", "column 'valid_until' must be empty or an ISO 8601 time"),
        ("valid_until", "2020-05-01T00:00:00", "column 'valid_until'"),
    ],
)
def test_a_wrong_value_is_named_by_its_place(tmp_path: Path, column: str, value: str, says: str) -> None:
    """File, line, column and what is allowed; never the person, nor the value."""
    path = tmp_path / "rows.csv"
    wrong = {**GOOD, column: value}
    path.write_text(csv_text(GOOD, GOOD, wrong), "utf-8")
    with pytest.raises(RowError) as refused:
        read(path)
    text = str(refused.value)
    assert text.startswith(f"{path}:4: column ")
    assert says in text
    _says_nobody(text, wrong)


def _says_nobody(text: str, row: dict[str, str]) -> None:
    for secret in (row["number"], row["token"], KEY.hex()):
        assert not secret or secret not in text


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", ": has no column 'document_type'; needed are document_type, number, status, asserted_by, effective_at"),
        (csv_text(GOOD).replace("status", "colour", 1).encode(), ": has no column 'status'"),
        (csv_text(GOOD).replace("residence", "home", 1).encode(), ": column 'home' is not known; allowed are"),
        (csv_text(GOOD).encode("utf-16"), ": is not UTF-8: save it as UTF-8"),
        (csv_text(GOOD).encode() + b"\xe5\xe5\n", ": is not UTF-8: save it as UTF-8"),
        ((csv_text(GOOD).rstrip() + ",x\r\n").encode(), ":2: has more fields than columns"),
        ((csv_text(GOOD) + "RESIDENT_ID\r\n").encode(), ":3: column 'number' is refused"),
        ((csv_text(GOOD) + '"' + "x" * 200_000).encode(), ":3: is not CSV"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, raw: bytes, says: str) -> None:
    """Empty, other columns, another encoding, lines too long or too short, a quote that never ends."""
    path = tmp_path / "rows.csv"
    path.write_bytes(raw)
    with pytest.raises(RowError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}{says}")
    _says_nobody(str(refused.value), GOOD)


def test_a_missing_file_says_what_to_give(tmp_path: Path) -> None:
    """Its path, why, and the remedy."""
    with pytest.raises(RowError, match=r"none\.csv: No such file or directory: give a file of rows"):
        read(tmp_path / "none.csv")


arrow = pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")


def _parquet(path: Path, columns: dict[str, list[Any]]) -> Path:
    import pyarrow.parquet

    pyarrow.parquet.write_table(arrow.table(columns), path)
    return path


def test_parquet_gives_the_rows_of_csv(tmp_path: Path) -> None:
    """Text or proper types for times and numbers; the line is the row's number; many batches."""
    typed: dict[str, list[Any]] = {name: [value] * 5000 for name, value in GOOD.items()}
    typed["effective_at"] = [datetime.fromisoformat(EFFECTIVE)] * 5000
    typed["reason"], typed["revision"] = [7] * 5000, [4_294_967_295] * 5000
    for columns in ({name: [value] * 5000 for name, value in GOOD.items()}, typed):
        rows = read(_parquet(tmp_path / "rows.parquet", columns))
        assert {row.entry for row in rows} == {ENTRY}
        assert [row.line for row in rows] == list(range(1, 5001))
    (row,) = read(_parquet(tmp_path / "rows.parquet", {name: [GOOD[name]] for name in NEEDED} | {"token": [None]}))
    assert row == Row(1, StatusEntry(KEY, CredentialStatus.GREEN, "340100", 1_585_699_200))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda columns: columns | {"status": [10, 10]}, ":1: column 'status' must be text: 10 is ten"),
        (lambda columns: columns | {"status": ["GREEN", None]}, ":2: column 'status' must be"),
        (lambda columns: columns | {"status": ["GREEN", "12"]}, ":2: column 'status' must be one of"),
        (lambda columns: columns | {"colour": ["x", "x"]}, ": column 'colour' is not known"),
        (lambda columns: {n: v for n, v in columns.items() if n != "number"}, ": has no column 'number'"),
        (lambda columns: columns | {"effective_at": [datetime(2020, 4, 1)] * 2}, ":1: column 'effective_at' must be"),  # noqa: DTZ001
        (lambda columns: columns | {"effective_at": [datetime(2020, 4, 1, tzinfo=UTC), None]}, ":2: column 'effect"),
        (lambda columns: columns | {"asserted_by": [340100, 3401]}, ":2: column 'asserted_by'"),
        (lambda columns: columns | {"number": [NUMBER.encode()] * 2}, ":1: column 'number' is refused"),
    ],
)
def test_wrong_parquet_is_named_by_its_place(
    tmp_path: Path, change: Callable[[dict[str, list[Any]]], dict[str, list[Any]]], says: str
) -> None:
    """A number is no status, a time without its zone no time; row and column are told, the person is not."""
    path = _parquet(tmp_path / "rows.parquet", change({name: [value] * 2 for name, value in GOOD.items()}))
    with pytest.raises(RowError) as refused:
        read(path)
    assert str(refused.value).startswith(f"{path}{says}")
    _says_nobody(str(refused.value), GOOD)


def test_nanoseconds_are_no_crash(tmp_path: Path) -> None:
    """A time that Python cannot hold is an error of the row's file, whatever pyarrow raises."""
    times = arrow.array([1_585_699_200_000_000_001], arrow.timestamp("ns", tz="UTC"))
    path = _parquet(tmp_path / "rows.parquet", {name: [GOOD[name]] for name in NEEDED} | {"effective_at": times})
    with pytest.raises(RowError, match=r"rows\.parquet"):
        read(path)


@pytest.mark.parametrize("raw", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"a,b\n1,2\n"])
def test_what_is_no_parquet_is_named(tmp_path: Path, raw: bytes) -> None:
    """Empty, cut, another format under that name."""
    path = tmp_path / "rows.parquet"
    path.write_bytes(raw)
    with pytest.raises(RowError, match=r"rows\.parquet: is not a Parquet file"):
        read(path)
    with pytest.raises(RowError, match=r"none\.parquet: is not a Parquet file"):
        read(tmp_path / "none.parquet")


def test_a_cut_parquet_file_is_named(tmp_path: Path) -> None:
    """Damaged in its middle: found while reading, not guessed."""
    path = _parquet(
        tmp_path / "rows.parquet", {name: [f"{value}{n}" for n in range(50)] for name, value in GOOD.items()}
    )
    raw = path.read_bytes()
    path.write_bytes(raw[:4] + bytes(len(raw) // 2) + raw[4 + len(raw) // 2 :])
    with pytest.raises(RowError, match=r"rows\.parquet"):
        read(path)
