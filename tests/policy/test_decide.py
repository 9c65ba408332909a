"""Decisions: the cases beside the rules, and what holds for any findings at all."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.finding import Band, Finding, Freshness, Listed, Missing, NotListed, Unknown
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


_FRESHNESS = st.floats(-10.0, 100.0).map(lambda age_h: Freshness(NOW.utc_s - age_h * 3600))
_ISSUERS = st.sampled_from(["SSM", "ZJ", "SKM", "AKM"])
_FINDINGS = st.lists(
    st.one_of(
        st.builds(
            Listed,
            _ISSUERS,
            st.sampled_from(CredentialStatus),
            st.just("310000"),
            st.just(0),
            st.one_of(st.none(), st.integers(1_589_000_000, 1_591_000_000)),
            st.integers(1, 9),
            _FRESHNESS,
        ),
        st.builds(NotListed, _ISSUERS, st.integers(1, 9), _FRESHNESS),
        st.builds(Unknown, _ISSUERS, st.sampled_from(Missing)),
    ),
    max_size=5,
)
_CONDITIONS = st.frozensets(st.sampled_from([Condition(cause) for cause in Cause]))


def _current(finding: Finding) -> bool:
    rule = RULES.rules[0]
    return isinstance(finding, Listed) and finding.freshness.band(rule.limits, NOW) is not Band.EXPIRED


@settings(max_examples=500, deadline=None, derandomize=True)
@given(_FINDINGS, _CONDITIONS)
def test_green_needs_a_green_and_red_a_red(findings: list[Finding], conditions: frozenset[Condition]) -> None:
    """GRANT only by a listed, valid green of a feed that is not expired; DENY only by such a red; never both ways."""
    verdict = decide(Question(tuple(findings), conditions), RULES, NOW)
    listed = [f for f in findings if isinstance(f, Listed) and _current(f)]
    valid = [f for f in listed if f.valid_until_utc_s is None or f.valid_until_utc_s > NOW.utc_s]
    if verdict.kind is VerdictKind.GRANT:
        assert any(f.status is CredentialStatus.GREEN for f in valid)
        assert not any(f.status in (CredentialStatus.RED, CredentialStatus.YELLOW) for f in valid)
        assert not any(isinstance(f, Unknown) and f.why is Missing.STORE_DAMAGED for f in findings)
    if verdict.kind is VerdictKind.DENY:
        assert any(f.status is CredentialStatus.RED for f in valid)


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
    ],
)
def test_a_rule_that_is_none_says_where_and_why(old: str, new: str, says: str) -> None:
    """The file, the place, what is allowed; and a green by mistake cannot be written at all."""
    assert old in RULE
    with pytest.raises(RuleError, match=r"rule.toml") as caught:
        parse_rules({"delta/rule.toml": RULE.replace(old, new, 1)})
    assert says in str(caught.value)


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
