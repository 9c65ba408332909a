"""`gate replay`: a real journal, decided again by other rules."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gate.feed.finding import Freshness, Listed
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.passage.attempt import Attempt
from gate.passage.commands import Direction
from gate.policy.decide import Question, decide
from gate.policy.verdict import Reason, Verdict, VerdictKind
from gate.station.clock import Clock
from gate.station.journal import Journal
from gate.station.station import read_rules, rule_texts

NOW = Moment(1_590_000_000.0, 0.0)
RULES = read_rules(None)


def _gate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "gate", *arguments], capture_output=True, text=True, check=False)


def _attempt(name: str, status: CredentialStatus) -> Attempt:
    question = Question((Listed("SSM", status, "310000", 0, None, 1, Freshness(NOW.utc_s - 60)),))
    attempt = Attempt(name, "A1", Direction.ENTRY, "CARD", NOW).found(question, b"who", b"subject", NOW)
    return attempt.with_verdict(decide(question, RULES, NOW))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A green who passed, a yellow, a green who came back too soon, and a staff release."""
    folder = tmp_path / "journal"
    book = Journal(folder, 14, Clock("stepped-only"))
    book.append(_attempt("green", CredentialStatus.GREEN).record("PASSED"))
    book.append(_attempt("yellow", CredentialStatus.YELLOW).record("NOT_RELEASED"))
    again = Verdict(VerdictKind.DENY, Reason.ALREADY_PASSED, "")
    book.append(_attempt("again", CredentialStatus.GREEN).with_verdict(again).record("NOT_RELEASED"))
    staff = Attempt("staff", "A1", Direction.ENTRY, "NONE", NOW)
    book.append(staff.with_verdict(Verdict(VerdictKind.GRANT, Reason.STAFF_RELEASE, "")).record("PASSED"))
    assert book.close(10.0)
    return folder


def _rules(folder: Path, *changes: tuple[str, str]) -> Path:
    text = next(iter(rule_texts(None).values()))
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    folder.mkdir()
    (folder / "rule.toml").write_text(text, "utf-8")
    return folder


def test_the_same_rules_decide_the_same(journal: Path) -> None:
    """What was decided is what is decided again; staff releases and anti-passback are no decisions of the rules."""
    done = _gate("replay", str(journal))
    assert (done.returncode, done.stdout) == (0, "3 decisions, 0 would differ, chain whole\n")


def test_stricter_rules_name_everybody_who_would_be_treated_otherwise(journal: Path, tmp_path: Path) -> None:
    """A rule that refuses yellow and sends greens to staff lists all three, with what they met and would meet."""
    rules = _rules(
        tmp_path / "rules",
        ('YELLOW = { verdict = "REFER"', 'YELLOW = { verdict = "DENY"'),
        ('GREEN = { verdict = "GRANT"', 'GREEN = { verdict = "REFER"'),
    )
    done = _gate("replay", str(journal), "--rules", str(rules), "--json")
    rows = {row["passage_id"]: (row["was"], row["would_be"]) for row in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 1
    assert rows == {
        "green": ("GRANT STATUS_GREEN", "REFER STATUS_GREEN"),
        "yellow": ("REFER STATUS_YELLOW", "DENY STATUS_YELLOW"),
        "again": ("DENY ALREADY_PASSED", "REFER STATUS_GREEN"),
    }


def test_an_altered_line_breaks_the_chain(journal: Path) -> None:
    """Whoever turns a yellow into a passage is found by the next line."""
    file = next(journal.glob("*.jsonl"))
    file.write_text(file.read_text().replace("NOT_RELEASED", "PASSED", 1))
    done = _gate("replay", str(journal))
    assert done.returncode == 1
    assert "does not follow the line before" in done.stdout


@pytest.mark.parametrize(
    ("place", "says"),
    [("empty", "holds no journal"), ("nowhere", "No such file"), ("other.txt", "is not a journal line")],
)
def test_what_is_no_journal_is_named(tmp_path: Path, place: str, says: str) -> None:
    """A folder without one, a path that is not there, a file of something else: one line that names it."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.txt").write_text("hello\n")
    done = _gate("replay", str(tmp_path / place))
    assert done.returncode in (2, 3)
    assert says in done.stderr
    assert place in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_without_rules_is_named(journal: Path, tmp_path: Path) -> None:
    """Not "no rules", but where none are."""
    (tmp_path / "rules").mkdir()
    done = _gate("replay", str(journal), "--rules", str(tmp_path / "rules"))
    assert done.returncode == 2
    assert f"{tmp_path / 'rules'}: holds no rule.toml" in done.stderr
