"""Decisions: the cases beside the rules, and what holds for any findings at all."""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.finding import (
    Band,
    Enrolled,
    Finding,
    Freshness,
    FreshnessLimits,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Told,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.antipassback import CLAIMS_MAX, AntiPassback
from gate.policy.cases import parse_cases
from gate.policy.condition import Cause, Condition
from gate.policy.decide import Question, decide
from gate.policy.rules import RuleError, parse_rules
from gate.policy.verdict import Reason, VerdictKind
from gate.station.station import read_rules, rule_texts

RULES = read_rules(None)
NOW = Moment(1_590_000_000.0, 0.0)
CASES = [case for name, text in rule_texts(None, "cases.toml").items() for case in parse_cases(text, name)]
RULE = next(iter(rule_texts(None).values()))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_the_cases_beside_the_rules_hold(case: object) -> None:
    """Each sentence in cases.toml."""
    assert case.problem(RULES) == ""  # type: ignore[attr-defined]


def test_a_case_that_does_not_hold_is_seen() -> None:
    """The check says which sentence is broken, and by what."""
    text = rule_texts(None, "cases.toml")
    name, cases = next(iter(text.items()))
    wrong = parse_cases(cases.replace('verdict = "DENY"', 'verdict = "GRANT"', 1), name)
    assert [case.problem(RULES) for case in wrong if case.problem(RULES)] == [
        "red is refused: decided DENY STATUS_RED, expected GRANT STATUS_RED"
    ]


_PARTITIONS = st.sampled_from(["", "310100", "340100"])
_FRESHNESS = st.builds(lambda age_h, code: Freshness(NOW.utc_s - age_h * 3600, code), st.floats(-10, 100), _PARTITIONS)
_ISSUERS = st.sampled_from(["SSM", "ZJ", "SKM", "AKM"])
_TOLD = [
    _ISSUERS,
    st.sampled_from(CredentialStatus),
    st.just("310000"),
    st.sampled_from([0, 1_589_999_000, 1_590_000_200, 1_590_000_400]),
    st.one_of(st.none(), st.integers(1_589_000_000, 1_591_000_000)),
    st.integers(1, 9),
    _FRESHNESS,
]
_FINDINGS = st.lists(
    st.one_of(
        st.builds(Listed, *_TOLD),
        st.builds(Enrolled, *_TOLD),
        st.builds(NotListed, _ISSUERS, st.integers(1, 9), _FRESHNESS),
        st.builds(NotCovered, _ISSUERS, st.integers(1, 9), _FRESHNESS, st.sampled_from(Uncovered)),
        st.builds(Unknown, _ISSUERS, st.sampled_from(Missing)),
    ),
    max_size=5,
)
_CONDITIONS = st.frozensets(st.sampled_from([Condition(cause) for cause in Cause]))


# The shipped limits, a stricter issuer and a stricter partition of it, and a more patient one.
_LIMITS = """
[freshness.AKM]
aged_after_h = 2
expired_after_h = 5
[freshness."AKM/340100"]
aged_after_h = 0.5
expired_after_h = 1
[freshness."ZJ/310100"]
aged_after_h = 60
expired_after_h = 90
"""
CLOSER = parse_rules({"rule.toml": RULE.replace("[status]", _LIMITS + "[status]", 1)})


def _expired_after_h(issuer: str, partition: str) -> float:
    """Written out by hand: the closest limit that the rule names."""
    if issuer == "AKM":
        return 1 if partition == "340100" else 5
    return 90 if (issuer, partition) == ("ZJ", "310100") else 50


def _speaks(finding: Finding) -> bool:
    """Whether its age lets a finding decide anything: neither expired nor from the future."""
    if not isinstance(finding, Told):
        return False
    age_h = (NOW.utc_s - finding.freshness.as_of_utc_s) / 3600
    return -300 / 3600 <= age_h < _expired_after_h(finding.issuer, finding.freshness.partition)


def _in_force(finding: Told) -> bool:
    begun = finding.effective_utc_s <= NOW.utc_s + 300
    return begun and (finding.valid_until_utc_s is None or finding.valid_until_utc_s > NOW.utc_s)


@settings(max_examples=800, deadline=None, derandomize=True)
@given(_FINDINGS, _CONDITIONS)
def test_green_needs_a_green_and_red_a_red(findings: list[Finding], conditions: frozenset[Condition]) -> None:
    """GRANT only by a told green in force of a feed not expired; DENY only by such a red; never both ways.

    So no answer is green by absence, by an expired feed, by a partition of which nothing is known or by a damaged
    store; and none is red because of our staleness.
    """
    verdict = decide(Question(tuple(findings), conditions), CLOSER, NOW)
    valid = [f for f in findings if isinstance(f, Told) and _speaks(f) and _in_force(f)]
    if verdict.kind is VerdictKind.GRANT:
        assert any(f.status is CredentialStatus.GREEN for f in valid)
        assert not any(f.status in (CredentialStatus.RED, CredentialStatus.YELLOW) for f in valid)
        assert not any(isinstance(f, Unknown) and f.why is Missing.STORE_DAMAGED for f in findings)
        hidden = [f for f in findings if isinstance(f, Told) and not _speaks(f) and _in_force(f)]
        assert not any(f.status in (CredentialStatus.RED, CredentialStatus.YELLOW) for f in hidden), "old data hid it"
    if verdict.kind is VerdictKind.DENY:
        assert any(f.status is CredentialStatus.RED for f in valid)
    if Condition(Cause.CLOCK_UNTRUSTED) in conditions:
        assert verdict.band is not Band.FRESH, "by a clock in doubt nothing is fresh"
    if verdict.finding in ("LISTED", "ENROLLED"):
        assert verdict.band in (Band.FRESH, Band.AGED)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_FINDINGS)
def test_what_is_not_told_is_never_granted_and_never_denied(findings: list[Finding]) -> None:
    """Absence, an unknown person, an unknown region, no feed and no pepper all end at staff."""
    silent = tuple(f for f in findings if not isinstance(f, Told))
    assert decide(Question(silent), CLOSER, NOW).kind is VerdictKind.REFER


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_FINDINGS)
def test_growing_old_turns_nobody_green_or_red(findings: list[Finding]) -> None:
    """The same findings, all a hundred hours older: nothing is decided but that we do not know."""
    old = []
    for finding in findings:
        if isinstance(finding, Unknown):
            old.append(finding)
        else:
            past = Freshness(finding.freshness.as_of_utc_s - 101 * 3600, finding.freshness.partition)
            old.append(dataclasses.replace(finding, freshness=past))
    assert decide(Question(tuple(old)), CLOSER, NOW).kind is VerdictKind.REFER


@pytest.mark.parametrize(
    ("issuer", "partition", "age_h", "band"),
    [
        ("SSM", "310100", 25.9, Band.FRESH),
        ("SSM", "310100", 26, Band.AGED),
        ("SSM", "", 50, Band.EXPIRED),
        ("AKM", "", 1.9, Band.FRESH),
        ("AKM", "340200", 2, Band.AGED),
        ("AKM", "340200", 5, Band.EXPIRED),
        ("AKM", "340100", 0.4, Band.FRESH),
        ("AKM", "340100", 0.5, Band.AGED),
        ("AKM", "340100", 1, Band.EXPIRED),
        ("ZJ", "310100", 89, Band.AGED),
        ("ZJ", "310101", 51, Band.EXPIRED),
        ("AKM", "340100", -0.08, Band.FRESH),
        ("AKM", "340100", -0.09, Band.EXPIRED),
    ],
)
def test_the_closest_limit_that_the_rule_names_counts(issuer: str, partition: str, age_h: float, band: Band) -> None:
    """A partition's before its issuer's, an issuer's before everybody's; the future is as untrustworthy as the past."""
    freshness = Freshness(NOW.utc_s - age_h * 3600, partition)
    limits = CLOSER.rules[0].limits_of(issuer, partition)
    assert freshness.band(limits, NOW) is band
    untrusted = freshness.band(limits, NOW, clock_trusted=False)
    assert untrusted is (Band.AGED if band is Band.FRESH else band)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.floats(-1e6, 1e6), st.floats(1, 1e5), st.floats(1, 1e5))
def test_bands_only_grow_with_age(age_s: float, one_s: float, other_s: float) -> None:
    """FRESH, then AGED, then EXPIRED; a clock in doubt never makes a feed better."""
    limits = FreshnessLimits(min(one_s, other_s), max(one_s, other_s))
    order = [Band.FRESH, Band.AGED, Band.EXPIRED]
    at = order.index(Freshness(NOW.utc_s - age_s).band(limits, NOW))
    if age_s >= 0:
        assert at <= order.index(Freshness(NOW.utc_s - age_s - 1000).band(limits, NOW))
    assert order.index(Freshness(NOW.utc_s - age_s).band(limits, NOW, clock_trusted=False)) >= max(at, 1)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(_FINDINGS.filter(lambda findings: len(findings) <= 4))
def test_the_order_of_issuers_changes_no_answer(findings: list[Finding]) -> None:
    """Verdict and reason are the same however the findings are ordered."""
    answers = {
        (verdict.kind, verdict.reason)
        for order in itertools.permutations(findings)
        for verdict in [decide(Question(order), RULES, NOW)]
    }
    assert len(answers) == 1


def test_a_cause_that_refers_takes_the_grant_away_and_names_itself() -> None:
    """What a condition costs stands in the rule."""
    strict = parse_rules({"rule.toml": RULE.replace('JOURNAL_FULL = "note"', 'JOURNAL_FULL = "refer"')})
    green = Listed("SSM", CredentialStatus.GREEN, "310000", 0, None, 1, Freshness(NOW.utc_s))
    full = frozenset({Condition(Cause.JOURNAL_FULL)})
    assert decide(Question((green,), full), RULES, NOW).kind is VerdictKind.GRANT
    verdict = decide(Question((green,), full), strict, NOW)
    assert (verdict.kind, verdict.reason) == (VerdictKind.REFER, Reason.JOURNAL_FULL)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('RED = { verdict = "DENY"', 'RED = { verdict = "GRANT"', "only GREEN may be granted"),
        ('[absent]\nverdict = "REFER"', '[absent]\nverdict = "GRANT"', "never granted"),
        ('"RED", "YELLOW", ', '"YELLOW", ', "RED must stand in both"),
        ('GREY = { verdict = "REFER", reason = "STATUS_GREY" }\n', "", "GREY must stand in both"),
        ("expired_after_h = 50", "expired_after_h = 5", "aged_after_h <= expired_after_h"),
        ('CLOCK_UNTRUSTED = "note"', 'CLOCK_UNTRUSTED = "ignore"', "'note' or 'refer'"),
        ('CLOCK_UNTRUSTED = "note"', 'CLOCK_WRONG = "note"', "'CLOCK_WRONG' is not one of"),
        ('reason = "STATUS_RED"', 'reason = "RED"', "'RED' is not one of"),
        ("repeat_after_s = 120", 'repeat_after_s = "120"', "'repeat_after_s' must be given"),
        ("valid_from", "valid_form", "unknown key 'valid_form'"),
        ("[freshness]", "[freshness", "rule.toml"),
        ("expired_after_h = 50", "expired_after_h = inf", "aged_after_h <= expired_after_h"),
        ("expired_after_h = 50", "expired_after_h = nan", "aged_after_h <= expired_after_h"),
        ("aged_after_h = 26", "aged_after_h = true", "aged_after_h <= expired_after_h"),
        ("aged_after_h = 26", "aged_after_h = 26\nfresh_after_h = 1", "needs exactly"),
        ("[status]", "[freshness.AKM]\naged_after_h = 3\n[status]", "freshness.AKM: needs exactly"),
        ("[status]", "[freshness.akm]\naged_after_h = 3\n[status]", "'akm' is not ISSUER"),
        ("[status]", '[freshness."AKM/34"]\naged_after_h = 3\n[status]', "'AKM/34' is not ISSUER"),
    ],
)
def test_a_rule_that_is_none_says_where_and_why(old: str, new: str, says: str) -> None:
    """The file, the place, what is allowed; and a green by mistake cannot be written at all."""
    assert old in RULE
    with pytest.raises(RuleError, match=r"rule.toml") as caught:
        parse_rules({"delta/rule.toml": RULE.replace(old, new, 1)})
    assert says in str(caught.value)


_CASE = """
[[case]]
says = "x"
at = 2020-04-01T08:00:00Z
findings = [{ FINDING }]
verdict = "REFER"
reason = "NOT_COVERED"
"""


@pytest.mark.parametrize(
    ("finding", "expected"),
    [
        (
            'issuer = "AKM", status = "GREEN", enrolled = true, age_h = 2, partition = "340100", valid_for_h = 1',
            Enrolled(
                "AKM",
                CredentialStatus.GREEN,
                "000000",
                1_585_720_800,
                1_585_731_600,
                1,
                Freshness(1_585_720_800, "340100"),
            ),
        ),
        (
            'issuer = "AKM", uncovered = "UNKNOWN_PERSON", age_h = 0',
            NotCovered("AKM", 1, Freshness(1_585_728_000), Uncovered.UNKNOWN_PERSON),
        ),
        (
            'issuer = "AKM", uncovered = "UNKNOWN_PARTITION", age_h = 0, partition = "340100"',
            NotCovered("AKM", 1, Freshness(1_585_728_000, "340100"), Uncovered.UNKNOWN_PARTITION),
        ),
        ('issuer = "AKM", absent = true, age_h = 0', NotListed("AKM", 1, Freshness(1_585_728_000))),
        ('issuer = "AKM", missing = "STORE_OTHER_VERSION"', Unknown("AKM", Missing.STORE_OTHER_VERSION)),
    ],
)
def test_a_case_says_every_kind_of_finding(finding: str, expected: Finding) -> None:
    """The keys of cases.toml mean what its module says."""
    (case,) = parse_cases(_CASE.replace("FINDING", finding), "cases.toml")
    assert case.question.findings == (expected,)


@pytest.mark.parametrize(
    ("finding", "says"),
    [
        ('issuer = "AKM", status = "GREEN"', "age_h"),
        ('issuer = "AKM", status = "GREEN", age_h = 1, enroled = true', "unknown key 'enroled'"),
        ('issuer = "AKM", status = "green", age_h = 1', "'green' is not a valid"),
        ('issuer = "AKM", uncovered = "NOBODY", age_h = 1', "'NOBODY' is not a valid"),
        ('issuer = "AKM", status = "GREEN", age_h = 1, valid_for_h = inf', "OverflowError"),
        ('issuer = "AKM", missing = "GONE"', "'GONE' is not a valid"),
    ],
)
def test_a_case_that_is_none_is_refused_by_name(finding: str, says: str) -> None:
    """File, number of the case, what is wrong; a mistyped key is not another case."""
    with pytest.raises(RuleError, match=r"cases.toml: case 1: ") as caught:
        parse_cases(_CASE.replace("FINDING", finding), "cases.toml")
    assert says in str(caught.value)


@pytest.mark.parametrize("text", ["case = 5", "case = 'x'", "[case]\nsays = 'x'", "[[case", "case = [1]"])
def test_what_holds_no_cases_is_no_crash(text: str) -> None:
    """A RuleError with the file's name, whatever the TOML."""
    with pytest.raises(RuleError, match=r"cases.toml"):
        parse_cases(text, "cases.toml")


def test_an_announced_status_is_not_in_force_yet() -> None:
    """A green from tomorrow is no green today, and a red from tomorrow no red; staff see to it."""
    for status in (CredentialStatus.GREEN, CredentialStatus.RED):
        tomorrow = Listed("SSM", status, "310000", int(NOW.utc_s) + 86_400, None, 1, Freshness(NOW.utc_s))
        verdict = decide(Question((tomorrow,)), RULES, NOW)
        assert (verdict.kind, verdict.reason) == (VerdictKind.REFER, Reason.STATUS_GREY)
        assert decide(Question((tomorrow,)), RULES, NOW.plus(86_400)).reason is Reason(f"STATUS_{status}")


def test_no_rules_are_no_rule_set() -> None:
    """An empty folder is an error, not a policy."""
    with pytest.raises(RuleError, match=r"no rule.toml"):
        parse_rules({})


def test_claims_are_taken_kept_and_given_back() -> None:
    """Claimed at release, kept at passage, given back at a lapse; both directions apart; bounded."""
    passback = AntiPassback(120.0)
    assert passback.claim(b"a", "entry", NOW)
    assert not passback.claim(b"a", "entry", NOW.plus(60))
    assert passback.claim(b"a", "exit", NOW.plus(60))
    passback.give_back(b"a", "entry")
    assert passback.claim(b"a", "entry", NOW.plus(61))
    passback.keep(b"a", "entry", NOW.plus(100))
    assert not passback.claim(b"a", "entry", NOW.plus(200))
    assert passback.claim(b"a", "entry", NOW.plus(221))
    for number in range(CLAIMS_MAX + 10):
        assert passback.claim(str(number).encode(), "entry", NOW.plus(222))
    assert len(passback._claimed) <= CLAIMS_MAX


def test_of_several_refusing_causes_always_the_same_is_named() -> None:
    """A replay names the reason that the journal has, whatever order the causes come in."""
    text = RULE.replace('CLOCK_UNTRUSTED = "note"', 'CLOCK_UNTRUSTED = "refer"')
    text = text.replace('JOURNAL_FULL = "note"', 'JOURNAL_FULL = "refer"')
    rules = parse_rules({"both.toml": text})
    green = Listed("SSM", CredentialStatus.GREEN, "310000", 0, None, 1, Freshness(NOW.utc_s))
    devices = [Condition(Cause.READER_DOWN, f"A{n}/samv") for n in range(20)]
    both = [Condition(Cause.JOURNAL_FULL), Condition(Cause.CLOCK_UNTRUSTED)]
    reasons = {
        decide(Question((green,), frozenset([*devices[:n], *both])), rules, NOW).reason for n in range(len(devices))
    }
    assert reasons == {Reason.CLOCK_UNTRUSTED}
