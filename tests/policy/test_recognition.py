"""The shipped rules: their own cases, every regional system's row of health-codes.md (b), journeys, ages.

The expectations are written out by hand from health-codes.md, not read from the rules.
"""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.finding import (
    Band,
    Freshness,
    FreshnessLimits,
    Listed,
    Missing,
    NotListed,
    Rejected,
    Rejection,
    Silence,
    Unanswered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.policy.cases import Case, parse_cases
from gate.policy.condition import Cause, Condition
from gate.policy.decide import decide
from gate.policy.question import AgeGroup, Circumstances, Presented, Question
from gate.policy.rules import parse_rules
from gate.policy.verdict import Reason, VerdictKind
from gate.station.rulefiles import read_rules, rule_texts
from tests.policy.making import GREEN, RED, YELLOW
from tests.policy.questions import DAYS, DELTA, DELTA_REGIONS, OTHERS, counted_green, instant

RULES = read_rules(None)
CASES = [(name, case) for name, text in rule_texts(None, "cases.toml").items() for case in parse_cases(text, name)]
GRANT, DENY, REFER = VerdictKind.GRANT, VerdictKind.DENY, VerdictKind.REFER


# --- the cases beside the rules --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=lambda case: case.says)
def test_the_cases_beside_the_rules_hold(case: Case) -> None:
    """Each sentence in cases.toml."""
    assert case.problem(RULES) == ""


def test_every_rule_speaks_in_one_of_its_own_cases() -> None:
    """A rule whose cases pass without it would be a rule that nobody has tried."""
    spoke = {(name, spoken.rule_id) for name, case in CASES for spoken in case.decided(RULES).spoken}
    untried = [rule.id for rule in RULES.rules if (f"{rule.id}/cases.toml", rule.id) not in spoke]
    assert untried == []


def test_a_case_that_does_not_hold_is_seen() -> None:
    """The check says which sentence is broken, what was decided, and which rules spoke."""
    text = rule_texts(None, "cases.toml")["common/red/cases.toml"]
    wrong = parse_cases(text.replace('verdict = "DENY"', 'verdict = "GRANT"', 1), "cases.toml")
    assert [problem.partition("; spoke: ")[0] for case in wrong if (problem := case.problem(RULES))] == [
        "red is refused: decided DENY STATUS_RED by common/red, expected GRANT STATUS_RED"
    ]
    assert "spoke: common/red DENY STATUS_RED" in wrong[0].problem(RULES)


# --- one green is enough ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("R4")
@pytest.mark.requirement("row:SSM")
@pytest.mark.requirement("row:ZJ")
@pytest.mark.requirement("row:SKM")
@pytest.mark.requirement("row:AKM")
@pytest.mark.parametrize("region", DELTA_REGIONS)
@pytest.mark.parametrize("issuer", DELTA)
def test_from_26_march_one_green_of_any_of_the_delta_s_codes_opens_every_gate(issuer: str, region: str) -> None:
    """By card, by code, or by both, at any age, whatever the others have not heard of; the day before, not all."""
    now, before = instant("2020-03-26T00:00+08:00"), instant("2020-03-25T23:59:59+08:00")
    others = [NotListed("SKM", 1, Freshness(now.utc_s)), Unknown("ZJ", Missing.NO_FEED)]
    others += [Listed("AKM", CredentialStatus.NOT_CLAIMED, "340000", 0, None, 1, Freshness(now.utc_s))]
    findings = (Listed(issuer, GREEN, "310000", 0, None, 1, Freshness(now.utc_s - 3600)), *others)
    for kind, age in itertools.product((Presented.CARD, Presented.CODE, Presented.CARD_AND_CODE), AgeGroup):
        code = "" if kind is Presented.CARD else issuer
        asked_now = Question(findings, circumstances=Circumstances(kind, code, code, age, region=region))
        verdict = decide(asked_now, RULES, now)
        assert (verdict.kind, verdict.rule_id, verdict.issuer) == (GRANT, "delta/green", issuer)
        earlier = decide(asked_now, RULES, before)
        assert earlier.kind is not GRANT or issuer in counted_green("2020-03-25", region)


@pytest.mark.requirement("row:SCM")
def test_suzhou_asks_for_its_own_code_until_26_march_and_turns_no_local_away() -> None:
    """A green of Shanghai is refused by name; a local without a code is sent to staff; pending goes to staff."""
    now = instant("2020-03-10T12:00+08:00")
    card = Circumstances(region="320500")
    shanghai = Listed("SSM", GREEN, "310000", 0, None, 1, Freshness(now.utc_s))
    none = Listed("SCM", CredentialStatus.NOT_CLAIMED, "320500", 0, None, 1, Freshness(now.utc_s))
    pending = dataclasses.replace(none, status=CredentialStatus.GREEN_PENDING)
    expected = {
        (shanghai,): (DENY, Reason.LOCAL_CODE_REQUIRED),
        (none,): (REFER, Reason.SLIP_NEEDED),
        (pending,): (REFER, Reason.STATUS_GREEN_PENDING),
        (): (REFER, Reason.SLIP_NEEDED),
    }
    for findings, (kind, reason) in expected.items():
        verdict = decide(Question(findings, circumstances=card), RULES, now)
        assert (verdict.kind, verdict.reason) == (kind, reason)


@pytest.mark.requirement("row:XKM")
@pytest.mark.requirement("R3")
def test_in_wuxi_no_code_and_red_do_not_ride_and_paper_needs_its_card() -> None:
    """Until 26 March; the printed code alone asks for the ID card, then and later."""
    now = instant("2020-03-10T12:00+08:00")
    for status, reason in ((CredentialStatus.NOT_CLAIMED, Reason.STATUS_NOT_CLAIMED), (RED, Reason.STATUS_RED)):
        finding = Listed("XKM", status, "320200", 0, None, 1, Freshness(now.utc_s))
        verdict = decide(Question((finding,), circumstances=Circumstances(region="320200")), RULES, now)
        assert (verdict.kind, verdict.reason) == (DENY, reason)
    green = Listed("XKM", GREEN, "320200", 0, None, 1, Freshness(now.utc_s))
    for kind, expected in ((Presented.CODE, Reason.CODE_NEEDS_CARD), (Presented.CARD_AND_CODE, Reason.STATUS_GREEN)):
        paper = Circumstances(kind, "XKM", "XKM_PAPER", region="320200", code_needs_card=True)
        assert decide(Question((green,), circumstances=paper), RULES, now).reason is expected


@pytest.mark.requirement("row:NGL")
@pytest.mark.parametrize("region", DELTA_REGIONS)
def test_a_value_that_says_nothing_goes_to_staff_and_opens_nothing(region: str) -> None:
    """Nanjing's colours are not known publicly: UNKNOWN is REFER on every day (health-codes.md (b), 宁归来)."""
    for day in DAYS:
        finding = Listed("NGL", CredentialStatus.UNKNOWN, "320100", 0, None, 1, Freshness(instant(day).utc_s))
        verdict = decide(Question((finding,), circumstances=Circumstances(region=region)), RULES, instant(day))
        assert (verdict.kind, verdict.reason) == (REFER, Reason.STATUS_UNKNOWN)


@pytest.mark.requirement("row:AKM")
def test_in_anhui_yellow_is_please_recheck_and_in_jiangsu_it_is_barred() -> None:
    """One yellow, two cities' rules; each verdict names the rule of its station."""
    now = instant("2020-05-20T12:00+08:00")
    finding = Listed("AKM", YELLOW, "340000", 0, None, 1, Freshness(now.utc_s))
    said = {}
    for region in ("340100", "320100"):
        verdict = decide(Question((finding,), circumstances=Circumstances(region=region)), RULES, now)
        said[region] = (verdict.kind, verdict.reason, verdict.rule_id)
    assert said == {
        "340100": (REFER, Reason.STATUS_YELLOW, "anhui/yellow-recheck"),
        "320100": (DENY, Reason.STATUS_YELLOW, "jiangsu/yellow-stays"),
    }


@pytest.mark.requirement("row:NATIONAL")
@pytest.mark.parametrize("region", DELTA_REGIONS)
def test_the_national_code_alone_asks_for_the_card(region: str) -> None:
    """It is recognised and resolves to nobody here; from 26 March, when codes are recognised, every gate says so."""
    given_code = Circumstances(Presented.CODE, "NATIONAL", "NATIONAL", region=region)
    verdict = decide(Question((), circumstances=given_code), RULES, instant("2020-05-20T12:00+08:00"))
    assert (verdict.kind, verdict.reason) == (REFER, Reason.CODE_NEEDS_CARD)
    assert "CARD" in verdict.ask_first


@pytest.mark.parametrize("issuer", ["HUN", "GD", "SD", "GZ"])
@pytest.mark.parametrize("region", DELTA_REGIONS)
def test_a_code_of_a_pair_without_the_delta_is_recognised_and_referred(issuer: str, region: str) -> None:
    """Hunan-Guangdong and Shandong-Guizhou are pairs with a date; at a Delta gate neither counts (issue 4, point 1)."""
    code = Circumstances(Presented.CODE, issuer, issuer, region=region)
    verdict = decide(Question((), circumstances=code), RULES, instant("2020-05-20T12:00+08:00"))
    assert (verdict.kind, verdict.reason) == (REFER, Reason.NOT_RECOGNISED_HERE)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("region", DELTA_REGIONS)
def test_when_all_issuers_are_down_the_station_goes_on_by_rule(region: str) -> None:
    """Xi'an, December 2021: what the feeds tell still opens; who is not in them is registered, never turned away."""
    now = instant("2021-12-20T08:00+08:00")
    down = tuple(Unanswered(issuer, Silence.UNREACHABLE) for issuer in DELTA)
    card = Circumstances(region=region)
    assert decide(Question(down, circumstances=card), RULES, now).reason is Reason.ISSUER_UNREACHABLE
    listed = Listed("SSM", GREEN, "310000", 0, None, 1, Freshness(now.utc_s))
    assert decide(Question((*down, listed), circumstances=card), RULES, now).kind is GRANT


@pytest.mark.requirement("R19")
def test_a_child_passes_behind_its_guardian_and_alone_is_sent_to_staff() -> None:
    """Without a code of its own; a red child is refused all the same."""
    now = instant("2020-05-20T12:00+08:00")
    absent = NotListed("SSM", 1, Freshness(now.utc_s))
    red = Listed("SSM", RED, "310000", 0, None, 1, Freshness(now.utc_s))
    for finding, guardian, expected in (
        (absent, True, (GRANT, Reason.WITH_GUARDIAN)),
        (absent, False, (REFER, Reason.GUARDIAN_NEEDED)),
        (red, True, (DENY, Reason.STATUS_RED)),
    ):
        child = Circumstances(age_group=AgeGroup.MINOR, guardian=guardian, region="330100")
        verdict = decide(Question((finding,), circumstances=child), RULES, now)
        assert (verdict.kind, verdict.reason) == expected


def test_an_announced_status_is_not_in_force_yet() -> None:
    """A green from tomorrow is no green today, and a red from tomorrow no red; staff see to it."""
    now = instant("2020-05-20T12:00+08:00")
    for status in (GREEN, RED):
        tomorrow = Listed("SSM", status, "310000", int(now.utc_s) + 86_400, None, 1, Freshness(now.utc_s))
        given_card = Question((tomorrow,), circumstances=Circumstances(region="330100"))
        assert (decide(given_card, RULES, now).kind, decide(given_card, RULES, now).reason) == (
            REFER,
            Reason.STATUS_GREY,
        )
        later = decide(given_card, RULES, now.plus(86_400))
        assert later.reason is Reason(f"STATUS_{status}")


def test_a_journey_is_judged_by_the_rules_of_its_day_and_the_validity_of_its_day() -> None:
    """Asked today for the day after tomorrow: its rules, what is valid then, and the age that our data has now."""
    now, then = instant("2020-03-25T12:00+08:00"), instant("2020-03-27T12:00+08:00")
    card = Circumstances(region="320500")
    green = Listed("SSM", GREEN, "310000", 0, None, 1, Freshness(now.utc_s))
    assert decide(Question((green,), circumstances=card), RULES, now).reason is Reason.LOCAL_CODE_REQUIRED
    verdict = decide(Question((green,), circumstances=card), RULES, now, then)
    assert (verdict.kind, verdict.band) == (GRANT, Band.FRESH)
    lapses = dataclasses.replace(green, valid_until_utc_s=int(then.utc_s) - 1)
    assert decide(Question((lapses,), circumstances=card), RULES, now, then).reason is Reason.STATUS_GREY


def test_an_issuer_that_says_update_first_has_a_lapsed_report() -> None:
    """Jiangsu's 119: grey, told fresh, and never a green of the same issuer."""
    now = instant("2020-05-20T12:00+08:00")
    question_ = Question((Rejected("SKM", Rejection.HOLDER_MUST_UPDATE),), circumstances=Circumstances(region="320100"))
    verdict = decide(question_, RULES, now)
    assert (verdict.kind, verdict.reason, verdict.issuer) == (REFER, Reason.STATUS_GREY, "SKM")


# --- ages ------------------------------------------------------------------------------------------------------------

# The shipped limits, a stricter issuer and a stricter partition of it, and a more patient one.
_LIMITS = """
[terms.freshness.AKM]
aged_after_h = 2
expired_after_h = 5
[terms.freshness."AKM/340100"]
aged_after_h = 0.5
expired_after_h = 1
[terms.freshness."ZJ/310100"]
aged_after_h = 60
expired_after_h = 90
"""
CLOSER = parse_rules(rule_texts(None), {"terms.toml": rule_texts(None, "terms.toml")["terms.toml"] + _LIMITS})
NOW = instant("2020-05-20T12:00+08:00")


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
def test_the_closest_limit_that_the_terms_name_counts(issuer: str, partition: str, age_h: float, band: Band) -> None:
    """A partition's before its issuer's, an issuer's before everybody's; the future is as untrustworthy as the past."""
    green = Listed(issuer, GREEN, "310000", 0, None, 1, Freshness(NOW.utc_s - age_h * 3600, partition))
    card = Circumstances(region="330100")
    verdict = decide(Question((green,), circumstances=card), CLOSER, NOW)
    assert (verdict.kind, verdict.band) == (REFER if band is Band.EXPIRED else GRANT, band)
    in_doubt = frozenset({Condition(Cause.CLOCK_UNTRUSTED)})
    doubted = decide(Question((green,), in_doubt, card), CLOSER, NOW)
    assert doubted.band is (Band.AGED if band is Band.FRESH else band)


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


@pytest.mark.parametrize("issuer", OTHERS)
def test_a_green_that_no_agreement_counts_is_neither_granted_nor_denied(issuer: str) -> None:
    """At a gate of Anhui the six provinces of the memoranda have no agreement."""
    green = Listed(issuer, GREEN, "410000", 0, None, 1, Freshness(NOW.utc_s))
    verdict = decide(Question((green,), circumstances=Circumstances(region="340100")), RULES, NOW)
    assert (verdict.kind, verdict.reason) == (REFER, Reason.NOT_RECOGNISED_HERE)
