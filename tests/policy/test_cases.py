"""cases.toml: every key means what its module says, and a mistyped case is not another case."""

import pytest

from gate.feed.finding import (
    Answered,
    Certified,
    Enrolled,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Rejected,
    Rejection,
    Silence,
    Unanswered,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.policy.cases import parse_cases
from gate.policy.condition import Cause, Condition
from gate.policy.question import AgeGroup, Circumstances, Day, Presented, Warmth
from gate.policy.rules import RuleError
from gate.policy.verdict import Reason, VerdictKind
from tests.policy.making import GREEN, rule_set, rule_text

_CASE = """
[[case]]
says = "x"
at = 2020-04-01T08:00:00Z
findings = [{ FINDING }]
verdict = "REFER"
reason = "NOT_COVERED"
"""
_AT = 1_585_728_000  # 2020-04-01T08:00:00Z
_TOLD = {"asserted_by": "000000", "effective_utc_s": _AT - 7200, "valid_until_utc_s": None}
_TWO_HOURS = Freshness(_AT - 7200)


def test_a_case_is_read_whole() -> None:
    """Every key beside the findings."""
    (case,) = parse_cases(
        """
        [[case]]
        says = "a child with everything"
        at = 2020-04-01T16:00:00+08:00
        region = "320500"
        presented = "CARD_AND_CODE"
        code_issuer = "SCM"
        code_form = "SCM"
        age_group = "MINOR"
        temperature = "HIGH"
        guardian = true
        day = "OPEN"
        conditions = ["CLOCK_UNTRUSTED", "JOURNAL_FULL"]
        findings = []
        verdict = "GRANT"
        reason = "CHECKING_ENDED"
        rule = "sunset/open-day"
        """,
        "cases.toml",
    )
    assert (case.says, case.at.utc_s) == ("a child with everything", _AT)
    assert (case.verdict, case.reason, case.rule_id) == (
        VerdictKind.GRANT, Reason.CHECKING_ENDED, "sunset/open-day",
    )  # fmt: skip
    assert case.question.conditions == {Condition(Cause.CLOCK_UNTRUSTED), Condition(Cause.JOURNAL_FULL)}
    assert case.question.circumstances == Circumstances(
        Presented.CARD_AND_CODE, "SCM", "SCM", AgeGroup.MINOR, True, "320500", Day.OPEN, temperature=Warmth.HIGH
    )


def test_what_a_case_leaves_out_is_the_ordinary() -> None:
    """A card at a station of Hangzhou, nothing known, nothing wrong, any rule."""
    (case,) = parse_cases(_CASE.replace("findings = [{ FINDING }]\n", ""), "cases.toml")
    assert case.question.circumstances == Circumstances(region="330100")
    assert (case.question.findings, case.question.conditions, case.rule_id) == ((), frozenset(), "")


_FINDINGS: list[tuple[str, Finding]] = [
    ('status = "GREEN", age_h = 2', Listed("AKM", GREEN, sequence=1, freshness=_TWO_HOURS, **_TOLD)),  # type: ignore[arg-type]
    ('status = "RED", age_h = 2, asserted_by = "411700", residence = "340100", valid_for_h = 1',
     Listed("AKM", CredentialStatus.RED, "411700", _AT - 7200, _AT + 3600, 1, _TWO_HOURS, residence="340100")),
    ('status = "GREEN", enrolled = true, age_h = 2, partition = "340100", valid_for_h = 0.5',
     Enrolled("AKM", GREEN, "000000", _AT - 7200, _AT + 1800, 1, Freshness(_AT - 7200, "340100"))),
    ('status = "GREEN", answered = true, age_h = 2', Answered("AKM", GREEN, freshness=_TWO_HOURS, sequence=1, **_TOLD)),  # type: ignore[arg-type]
    ("absent = true, age_h = 2", NotListed("AKM", 1, _TWO_HOURS)),
    ('uncovered = "UNKNOWN_PERSON", age_h = 2', NotCovered("AKM", 1, _TWO_HOURS, Uncovered.UNKNOWN_PERSON)),
    ('uncovered = "UNKNOWN_PARTITION", age_h = 2, partition = "340100"',
     NotCovered("AKM", 1, Freshness(_AT - 7200, "340100"), Uncovered.UNKNOWN_PARTITION)),
    ('missing = "STORE_OTHER_VERSION"', Unknown("AKM", Missing.STORE_OTHER_VERSION)),
    ('rejected = "CODE_EXPIRED"', Rejected("AKM", Rejection.CODE_EXPIRED)),
    ('unanswered = "LATE"', Unanswered("AKM", Silence.LATE)),
    ('certified = true, age_h = 2, valid_for_h = 6, asserted_by = "340100"',
     Certified("AKM", "340100", _AT + 6 * 3600, _TWO_HOURS)),
]  # fmt: skip


@pytest.mark.parametrize(("finding", "expected"), _FINDINGS)
def test_a_case_says_every_kind_of_finding(finding: str, expected: Finding) -> None:
    """The keys of cases.toml mean what its module says."""
    (case,) = parse_cases(_CASE.replace("FINDING", f'issuer = "AKM", {finding}'), "cases.toml")
    assert case.question.findings == (expected,)


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        ('issuer = "AKM", status = "GREEN"', "age_h"),
        ('status = "GREEN", age_h = 1', "issuer"),
        ('issuer = "AKM", age_h = 1', "status"),
        ('issuer = "AKM", status = "GREEN", age_h = 1, enroled = true', "unknown key 'enroled'; allowed are absent, "),
        ('issuer = "AKM", status = "green", age_h = 1', "'green' is not a valid"),
        ('issuer = "AKM", uncovered = "NOBODY", age_h = 1', "'NOBODY' is not a valid"),
        ('issuer = "AKM", status = "GREEN", age_h = 1, valid_for_h = inf', "OverflowError"),
        ('issuer = "AKM", missing = "GONE"', "'GONE' is not a valid"),
        ('issuer = "AKM", rejected = "NO"', "'NO' is not a valid"),
        ('issuer = "AKM", unanswered = "NO"', "'NO' is not a valid"),
    ],
)
def test_a_finding_that_is_none_is_refused_by_name(finding: str, says: str) -> None:
    """File, number of the case, what is wrong."""
    with pytest.raises(RuleError, match=r"cases.toml: case 1: ") as caught:
        parse_cases(_CASE.replace("FINDING", finding), "cases.toml")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('says = "x"', 'say = "x"', "unknown key 'say'; allowed are age_group, at, "),
        ('says = "x"\n', "", "says"),
        ("at = 2020-04-01T08:00:00Z\n", "", "at"),
        ("08:00:00Z", "08:00:00", "'at' needs its offset, e.g. 2020-04-01T08:00:00Z"),
        ("at = 2020-04-01T08:00:00Z", "at = 5", "AttributeError"),
        ('"REFER"', '"ALLOW"', "'ALLOW' is not a valid VerdictKind"),
        ('"NOT_COVERED"', '"COVERED"', "'COVERED' is not a valid Reason"),
        ('says = "x"', 'says = "x"\nconditions = ["CLOCK"]', "'CLOCK' is not a valid Cause"),
        ('says = "x"', 'says = "x"\npresented = "PHONE"', "'PHONE' is not a valid Presented"),
        ('says = "x"', 'says = "x"\nage_group = "BABY"', "'BABY' is not a valid AgeGroup"),
        ('says = "x"', 'says = "x"\nday = "SUNDAY"', "'SUNDAY' is not a valid Day"),
        ('says = "x"', 'says = "x"\nguardian = "no"', "guardian: must be a bool"),
        ('says = "x"', 'says = "x"\nregion = 330100', "region: must be a str"),
    ],
)
def test_a_case_that_is_none_is_refused_by_name(old: str, new: str, says: str) -> None:
    """A mistyped key, word or kind is not another case than its sentence promises."""
    text = _CASE.replace("{ FINDING }", "")
    assert old in text
    with pytest.raises(RuleError, match=r"cases.toml: case 2: ") as caught:
        parse_cases(text + text.replace(old, new, 1), "cases.toml")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", "case = 5", "case = 'x'", "[case]\nsays = 'x'", "[[case", "case = [1]", "[[cases]]\nsays = 'x'",
     _CASE.replace("{ FINDING }", "") + "[other]\n", f"case = {'[' * 9000}{']' * 9000}"],
)  # fmt: skip
def test_what_holds_no_cases_is_no_crash_and_no_empty_promise(text: str) -> None:
    """A RuleError with the file's name, whatever the TOML; a mistyped [[cases]] would check nothing."""
    with pytest.raises(RuleError, match=r"cases.toml"):
        parse_cases(text, "cases.toml")


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ("", ""),
        ("made/up", ""),
        ("made/down", "x: decided REFER SLIP_NEEDED by made/up, expected REFER SLIP_NEEDED by made/down; spoke: "
                      "made/up REFER SLIP_NEEDED"),
    ],
)  # fmt: skip
def test_a_case_may_name_the_rule_that_must_decide(rule: str, problem: str) -> None:
    """The right verdict by another rule is a problem then."""
    text = _CASE.replace("{ FINDING }", "").replace("NOT_COVERED", "SLIP_NEEDED") + f'rule = "{rule}"\n'
    (case,) = parse_cases(text, "cases.toml")
    assert case.problem(rule_set(rule_text())) == problem
