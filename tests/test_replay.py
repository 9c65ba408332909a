"""`gate replay`: a real journal, decided again by other rules."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gate.feed.finding import Answered, Freshness, Listed, Missing, NotListed, Silence, Unanswered, Unknown
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.passage.attempt import Attempt
from gate.passage.commands import Direction
from gate.passage.events import StatusFound
from gate.policy.condition import Cause, Condition
from gate.policy.decide import decide
from gate.policy.question import AgeGroup, Circumstances, Presented, Question
from gate.policy.verdict import Reason, Verdict, VerdictKind
from gate.station.chain import JournalError, read_records
from gate.station.clock import Clock
from gate.station.journal import Journal
from gate.station.rulefiles import read_rules, rule_texts
from tests.policy.making import rule_text

NOW = Moment(1_590_000_000.0, 0.0)
RULES = read_rules(None)
GREEN, YELLOW = CredentialStatus.GREEN, CredentialStatus.YELLOW
FRESH = Freshness(NOW.utc_s - 60)


def _gate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "gate", *arguments], capture_output=True, text=True, check=False)


def _said(status: CredentialStatus, issuer: str = "SSM") -> Listed:
    return Listed(issuer, status, "310000", 0, None, 1, FRESH)


def _attempt(name: str, *findings: Any, conditions: frozenset[Condition] = frozenset(), **given: Any) -> Attempt:
    """Somebody who was looked up and decided by the shipped rules, at Hangzhou unless it says where."""
    circumstances = Circumstances(**({"region": "330100"} | given))
    question = Question(findings, conditions, circumstances)
    started = Attempt(name, "A1", Direction.ENTRY, str(circumstances.presented), NOW)
    found = started.found(StatusFound(1, question, (b"who",), b"subject"), NOW)
    return found.with_verdict(decide(question, RULES, NOW))


def _journal(folder: Path, *attempts: Attempt) -> Path:
    book = Journal(folder, 14, Clock("stepped-only"))
    for attempt in attempts:
        granted = attempt.verdict is not None and attempt.verdict.kind is VerdictKind.GRANT
        book.append(attempt.record("PASSED" if granted else "NOT_RELEASED"))
    assert book.close(10.0)
    return folder


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A green who passed, a yellow, a green who came back too soon, and a staff release."""
    again = Verdict(VerdictKind.DENY, Reason.ALREADY_PASSED, "")
    staff = Attempt("staff", "A1", Direction.ENTRY, "NONE", NOW)
    return _journal(
        tmp_path / "journal",
        _attempt("green", _said(GREEN)),
        _attempt("yellow", _said(YELLOW)),
        _attempt("again", _said(GREEN)).with_verdict(again),
        staff.with_verdict(Verdict(VerdictKind.GRANT, Reason.STAFF_RELEASE, "")),
    )


def _rules(folder: Path, changes: Mapping[str, tuple[str, str] | None] | None = None, *more: str) -> Path:
    """The shipped rules in a folder, some of them changed or (None) taken away, and more of them."""
    texts = rule_texts(None)
    for rule_id, change in (changes or {}).items():
        text = texts.pop(f"{rule_id}/rule.toml")
        if change:
            assert change[0] in text
            texts[f"{rule_id}/rule.toml"] = text.replace(*change)
    for text in more:
        texts[f"{text.split(chr(34))[1]}/rule.toml"] = text
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def _differences(journal: Path, rules: Path) -> dict[str, tuple[str, str, str]]:
    """By passage what it met, what it would meet, and by which rule."""
    done = _gate("replay", str(journal), "--rules", str(rules), "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == (1 if rows else 0), done.stderr
    return {row["passage_id"]: (row["was"], row["would_be"], row["rule_id"]) for row in rows}


def test_the_same_rules_decide_the_same(journal: Path) -> None:
    """What was decided is what is decided again; staff releases and anti-passback are no decisions of the rules."""
    done = _gate("replay", str(journal))
    assert (done.returncode, done.stdout) == (0, "3 decisions, 0 would differ, chain whole\n")


def test_stricter_rules_name_everybody_who_would_be_treated_otherwise(journal: Path, tmp_path: Path) -> None:
    """Other rules for green and yellow list all three, with what they met, would meet, and by which rule."""
    rules = _rules(
        tmp_path / "rules",
        {"delta/green": None, "zhejiang/yellow-stays": ('then = "REFER"', 'then = "DENY"')},
    )
    assert _differences(journal, rules) == {
        "green": ("GRANT STATUS_GREEN", "REFER NOT_RECOGNISED_HERE", "common/not-recognised"),
        "yellow": ("REFER STATUS_YELLOW", "DENY STATUS_YELLOW", "zhejiang/yellow-stays"),
        "again": ("DENY ALREADY_PASSED", "REFER NOT_RECOGNISED_HERE", "common/not-recognised"),
    }


def test_only_those_whom_a_change_touches_are_listed(journal: Path, tmp_path: Path) -> None:
    """A rule for yellow lists the yellow alone; a copy of the shipped rules lists nobody."""
    changed = {"zhejiang/yellow-stays": ('reason = "STATUS_YELLOW"', 'reason = "SLIP_NEEDED"')}
    assert set(_differences(journal, _rules(tmp_path / "yellow", changed))) == {"yellow"}
    assert _differences(journal, _rules(tmp_path / "copy")) == {}


def test_a_rule_that_contradicts_is_listed_without_an_id(journal: Path, tmp_path: Path) -> None:
    """Two rules that differ are nobody's decision: the greens would go to staff."""
    rules = _rules(tmp_path / "rules", None, rule_text("made/up", when={"var": "says.GREEN"}))
    met = _differences(journal, rules)
    assert met["green"] == ("GRANT STATUS_GREEN", "REFER RULES_CONTRADICT", "")
    assert set(met) == {"green", "again"}


_EVERYBODY = (
    _attempt("code", presented=Presented.CODE, code_issuer="SSM", code_form="SSM_APP"),
    _attempt("child", NotListed("SSM", 1, FRESH), age_group=AgeGroup.MINOR, guardian=True),
    _attempt("alone", NotListed("SSM", 1, FRESH), age_group=AgeGroup.MINOR),
    _attempt("wuxi", _said(YELLOW), region="320200"),
    _attempt("hefei", _said(YELLOW), region="340100"),
    _attempt("answered", Answered("SKM", GREEN, "320000", 0, None, FRESH)),
    _attempt("down", Unanswered("SKM", Silence.LATE)),
    _attempt("damaged", _said(GREEN), Unknown("AKM", Missing.STORE_DAMAGED)),
    _attempt("clock", _said(GREEN), conditions=frozenset({Condition(Cause.CLOCK_UNTRUSTED)})),
)


def test_what_was_presented_where_and_by_whom_is_replayed(tmp_path: Path) -> None:
    """A code alone, a child behind its guardian and one alone, two cities' yellow, an answer, a silence, damage."""
    folder = _journal(tmp_path / "journal", *_EVERYBODY)
    reasons = {record.passage_id: record.reason for record in read_records(folder)}
    assert reasons == {
        "code": "CODE_NEEDS_CARD",
        "child": "WITH_GUARDIAN",
        "alone": "GUARDIAN_NEEDED",
        "wuxi": "STATUS_YELLOW",
        "hefei": "STATUS_YELLOW",
        "answered": "STATUS_GREEN",
        "down": "ISSUER_UNREACHABLE",
        "damaged": "STORE_DAMAGED",
        "clock": "STATUS_GREEN",
    }
    done = _gate("replay", str(folder))
    assert (done.returncode, done.stdout) == (0, "9 decisions, 0 would differ, chain whole\n")


@pytest.mark.parametrize(
    ("changed", "listed"),
    [
        ("common/code-needs-card", {"code": ("REFER CODE_NEEDS_CARD", "REFER NOT_COVERED", "common/not-covered")}),
        ("dependants/with-guardian", {"child": ("GRANT WITH_GUARDIAN", "REFER NOT_LISTED", "common/not-listed")}),
        ("dependants/minor-alone", {"alone": ("REFER GUARDIAN_NEEDED", "REFER NOT_LISTED", "common/not-listed")}),
        ("jiangsu/yellow-stays", {"wuxi": ("DENY STATUS_YELLOW", "REFER STATUS_YELLOW", "common/yellow")}),
        ("degraded/store-damaged", {"damaged": ("REFER STORE_DAMAGED", "GRANT STATUS_GREEN", "delta/green")}),
    ],
)
def test_without_a_rule_exactly_those_it_decided_differ(
    changed: str, listed: dict[str, tuple[str, str, str]], tmp_path: Path
) -> None:
    """The rule is put to a day that has long ended; nobody else in the journal is listed."""
    ended = {changed: ("[holder]", "valid_until = 2020-03-27\n[holder]")}
    folder = _journal(tmp_path / "journal", *_EVERYBODY)
    assert _differences(folder, _rules(tmp_path / "rules", ended)) == listed


def test_who_was_refused_before_any_rule_is_no_difference(tmp_path: Path) -> None:
    """Card and code of two people: what was found would have been a green, and no rule was ever asked."""
    another = Verdict(VerdictKind.REFER, Reason.CODE_OF_ANOTHER, "")
    shown = _attempt("another", _said(GREEN), presented=Presented.CARD_AND_CODE, code_issuer="SSM", code_form="SSM_APP")
    folder = _journal(tmp_path / "journal", shown.with_verdict(another))
    assert _differences(folder, _rules(tmp_path / "rules", {"delta/green": None})) == {}


def _as_the_last_release_wrote(folder: Path) -> Path:
    """The same lines without what rules in CertLogic brought; unlinked, as a single line is read too."""
    file = next(folder.glob("*.jsonl"))
    old = []
    for line in file.read_text().splitlines():
        values = json.loads(line)
        for name in ("circumstances", "spoken"):
            values.pop(name, None)
        old.append(json.dumps(values) + "\n")
    file.write_text("".join(old))
    return file


def test_a_journal_of_the_last_release_is_read(tmp_path: Path) -> None:
    """It knew no circumstances but what was presented, and not which rules spoke."""
    both = _attempt("both", _said(GREEN), presented=Presented.CARD_AND_CODE, code_issuer="SSM", code_form="SSM_APP")
    file = _as_the_last_release_wrote(_journal(tmp_path / "journal", _attempt("card", _said(GREEN)), both))
    read = {one.passage_id: (one.circumstances, one.spoken, one.reason) for one in read_records(file)}
    assert read == {
        "card": ({}, (), "STATUS_GREEN"),
        "both": ({"presented": "CARD_AND_CODE"}, (), "STATUS_GREEN"),
    }
    assert "2 decisions, 0 would differ" in _gate("replay", str(file)).stdout


def test_a_journal_that_lacks_anything_else_is_refused_by_name(journal: Path) -> None:
    """A field that every release wrote is missing: which one, and in which journal."""
    file = next(journal.glob("*.jsonl"))
    file.write_text(file.read_text().replace('"rule_id"', '"rule"', 1))
    with pytest.raises(JournalError, match=r"lacks or spoils a field: 'rule_id'"):
        list(read_records(file))


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
