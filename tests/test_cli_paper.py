"""`gate certificate …` and `gate feed trace` as a community's clerk and a hotline meet them."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gate.credential.certificate import Certificate, read_certificate
from gate.credential.documents import DocumentType, document
from gate.credential.subject import correction_reference, subject_key
from gate.sync.keyring import load_peppers, rotate_pepper

NUMBER = "310105199001010018"
ROWS = """document_type,number,status,asserted_by,effective_at
RESIDENT_ID,310105199001010018,GREEN,310000,2020-04-01T08:00:00+08:00
PASSPORT,E12345678,RED,340000,2020-04-01T08:00:00+08:00
"""


def gate(*arguments: str, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gate", *arguments]
    return subprocess.run(command, cwd=cwd, input=stdin, capture_output=True, text=True, check=False)


def today() -> datetime:
    """Now, in China."""
    return datetime.now(UTC) + timedelta(hours=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    done = gate("certificate", "keygen", "XIHU", "--region", "330106", "--folder", "keys", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def issued(folder: Path, *more: str, number: str = NUMBER) -> subprocess.CompletedProcess[str]:
    return gate("certificate", "issue", "--key", "keys/330106_xihu.private", *more, cwd=folder, stdin=number)


@pytest.mark.requirement("R3")
def test_a_clerk_makes_a_paper_and_anybody_checks_it(folder: Path) -> None:
    """keygen, issue, inspect: authority and day are told, the holder is not."""
    paper = issued(folder)
    assert paper.returncode == 0, paper.stderr
    seen = gate("certificate", "inspect", "--keys", "keys", cwd=folder, stdin=paper.stdout)
    assert seen.returncode == 0, seen.stderr
    assert "XIHU, region 330106" in seen.stdout
    assert "good, with the document" in seen.stdout
    assert NUMBER not in paper.stdout + paper.stderr + seen.stdout


def test_tomorrows_paper_is_not_good_today(folder: Path) -> None:
    """Made the evening before, it says its day; a paper further ahead, or of yesterday, is not made."""
    tomorrow = today().date() + timedelta(days=1)
    paper = issued(folder, "--day", str(tomorrow))
    seen = gate("certificate", "inspect", "--keys", "keys", cwd=folder, stdin=paper.stdout)
    assert seen.returncode == 1
    assert f"valid on   {tomorrow}" in seen.stdout
    assert "CERTIFICATE_EXPIRED" in seen.stdout
    for days in (-2, 3):
        done = issued(folder, "--day", str(today().date() + timedelta(days=days)))
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert "--day" in done.stderr


def test_a_forged_or_torn_paper_is_told(folder: Path) -> None:
    """Exit 1 and the reason's name: another's key of the same name, a cut text, no certificate at all."""
    gate("certificate", "keygen", "XIHU", "--region", "330106", "--folder", "other", cwd=folder)
    paper = issued(folder).stdout
    for keys, text, says in (
        ("other", paper, "CERTIFICATE_NOT_AUTHENTIC"),
        ("keys", paper[:40], "CERTIFICATE_UNREADABLE"),
        ("keys", "https://example.test/", "this is no certificate"),
    ):
        done = gate("certificate", "inspect", "--keys", keys, cwd=folder, stdin=text)
        assert done.returncode == 1
        assert says in done.stdout


def test_the_picture_is_the_text(folder: Path) -> None:
    """What a scanner reads from the PNG is a certificate, and good."""
    import cv2
    import zxingcpp

    assert issued(folder, "--png", "paper.png").returncode == 0
    [code] = zxingcpp.read_barcodes(cv2.imread(str(folder / "paper.png")))
    assert isinstance(read_certificate(code.bytes), Certificate)
    assert gate("certificate", "inspect", "--keys", "keys", cwd=folder, stdin=code.text).returncode == 0


@pytest.mark.requirement("R10")
def test_a_wrong_number_is_not_quoted(folder: Path) -> None:
    """One line, exit 2, the problem's name; with --verbose too."""
    for flags in ((), ("--verbose",)):
        done = issued(folder, *flags, number="310105199001010019")
        assert done.returncode == 2
        assert "CHECK_DIGIT" in done.stderr
        assert "31010519" not in done.stderr + done.stdout
    done = issued(folder, "--document-type", "LIBRARY_CARD")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "RESIDENT_ID" in done.stderr


def _region(folder: Path) -> str:
    """A region with two rows; the reference of the second person, made yesterday under the older of two peppers."""
    (folder / "rows.csv").write_text(ROWS)
    assert gate("feed", "keygen", "AKM", cwd=folder).returncode == 0
    pepper = next(iter(load_peppers(folder / "akm.pepper", "AKM").values()))
    rotate_pepper(folder / "akm.pepper", datetime.now(UTC))
    key = subject_key(pepper, document(DocumentType.PASSPORT, "E12345678"))
    return correction_reference(pepper, "AKM", key, today().date() - timedelta(days=1))


@pytest.mark.requirement("R12")
def test_a_reference_leads_to_the_issuers_row_and_names_nobody(tmp_path: Path) -> None:
    """Of one of the last days and either pepper, from a file or a pipe: line 3, and no number."""
    reference = _region(tmp_path)
    for rows in ("rows.csv", "-"):
        done = gate(
            "feed", "trace", reference.lower(), "--rows", rows, "--pepper-file", "akm.pepper", cwd=tmp_path, stdin=ROWS
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"{rows}:3: of ")
        assert done.stdout.count("\n") == 1
        assert "E12345678" not in done.stdout


@pytest.mark.requirement("R12")
def test_a_reference_of_nobody_is_told_apart_from_a_mistyped_one(tmp_path: Path) -> None:
    """1 when no row has it on that day, 2 when it cannot be one or is another issuer's."""
    reference = _region(tmp_path)
    where = ("--rows", "rows.csv", "--pepper-file", "akm.pepper")
    none = gate("feed", "trace", reference, *where, "--day", "2020-01-01", cwd=tmp_path)
    assert (none.returncode, none.stderr) == (1, "")
    assert "no row has this reference" in none.stdout
    for wrong, says in ((reference[:-1], "mistyped"), (reference.replace("AKM", "SSM"), "not to 'SSM'")):
        done = gate("feed", "trace", wrong, *where, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert says in done.stderr


def test_every_new_command_has_an_example(tmp_path: Path) -> None:
    """`--help` of each shows how it is used."""
    for command in (("certificate", "keygen"), ("certificate", "issue"), ("certificate", "inspect"), ("feed", "trace")):
        assert "Example: gate" in gate(*command, "--help", cwd=tmp_path).stdout, command
