"""Decisions by the shipped rules: what holds for any findings at all, at any station and on any day.

The expectations are written out by hand from health-codes.md, not read from the rules.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from random import Random

import pytest

from gate.feed.finding import (
    Answered,
    Band,
    Certified,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Rejected,
    Told,
    Unanswered,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.condition import Cause, Condition
from gate.policy.decide import decide
from gate.policy.question import AgeGroup, Circumstances, Day, Presented, Question, Warmth
from gate.policy.verdict import Reason, Verdict, VerdictKind
from gate.station.rulefiles import read_rules
from tests.policy.making import GREEN, RED, YELLOW
from tests.policy.questions import DAYS, REGIONS, counted_green, instant, question

RULES = read_rules(None)
QUESTIONS_EACH = 200  # at each of 13 stations on each of 8 days: enough that every rule speaks, in three seconds
GRANT, DENY, REFER = VerdictKind.GRANT, VerdictKind.DENY, VerdictKind.REFER
WARNING = (RED, YELLOW)


# --- whatever is asked -----------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Asked:
    """One made-up question with its answer."""

    question: Question
    now: Moment
    verdict: Verdict

    @property
    def given(self) -> Circumstances:
        return self.question.circumstances

    @property
    def day(self) -> str:
        return self.now.beijing_day.isoformat()

    def at(self, *regions: str) -> bool:
        return self.given.region.startswith(regions)

    def current(self, *statuses: CredentialStatus) -> list[Told]:
        return [f for f in _told(self.question.findings, self.now) if f.status in statuses and _young(f, self.now)]

    def hidden(self, *statuses: CredentialStatus) -> list[Told]:
        return [f for f in _told(self.question.findings, self.now) if f.status in statuses and not _young(f, self.now)]


def _told(findings: Sequence[Finding], now: Moment) -> list[Told]:
    """What says something of today: neither lapsed nor still to come."""
    told = [f for f in findings if isinstance(f, Told) and f.effective_utc_s <= now.utc_s + 300]
    return [f for f in told if f.valid_until_utc_s is None or f.valid_until_utc_s > now.utc_s]


def _young(finding: Told | NotListed | NotCovered, now: Moment) -> bool:
    """Neither 50 hours old nor from the future."""
    age_s = now.utc_s - finding.freshness.as_of_utc_s
    return -300 <= age_s < 50 * 3600


@functools.cache
def asked() -> tuple[Asked, ...]:
    """The same questions in every run."""
    made = []
    for day, region in itertools.product(DAYS, REGIONS):
        random, now = Random(f"{day} {region}"), instant(day)
        for _ in range(QUESTIONS_EACH):
            one = question(random, region, now)
            made.append(Asked(one, now, decide(one, RULES, now)))
    return tuple(made)


def test_the_questions_reach_every_rule() -> None:
    """Whatever is claimed below is claimed of each of them; without this the claims could be empty."""
    spoken = {spoken.rule_id for one in asked() for spoken in one.verdict.spoken}
    assert {rule.id for rule in RULES.rules} - spoken == set()
    kinds = {(one.verdict.kind, one.given.presented) for one in asked()}
    assert kinds == set(itertools.product(VerdictKind, Presented))


@pytest.mark.requirement("R2")
@pytest.mark.requirement("R5")
@pytest.mark.requirement("R6")
def test_green_needs_a_green_that_counts_here_today() -> None:
    """Told now, in force, by an issuer whose word counts at this station on this day, with no warning beside it.

    So nothing is green by absence, an old feed, a lapsed report, the future, an unknown partition or a damaged store.
    """
    green = [one for one in asked() if one.verdict.reason is Reason.STATUS_GREEN]
    assert len(green) > 50
    for one in green:
        counted = counted_green(one.day, one.given.region)
        assert one.verdict.kind is GRANT, one
        assert {f.issuer for f in one.current(GREEN)} & counted, one
        assert one.verdict.issuer in counted, one
        assert not one.current(*WARNING), one
        assert one.verdict.band in (Band.FRESH, Band.AGED), one


@pytest.mark.requirement("R2")
def test_every_other_grant_has_its_own_ground() -> None:
    """A day without checking; a valid certificate with its card; a child or an old person behind a guardian."""
    for one in (one for one in asked() if one.verdict.kind is GRANT):
        reason, given = one.verdict.reason, one.given
        if reason is Reason.CHECKING_ENDED:
            assert given.day is Day.OPEN, one
        elif reason is Reason.CERTIFICATE_VALID:
            valid = [
                f for f in one.question.findings if isinstance(f, Certified) and f.valid_until_utc_s > one.now.utc_s
            ]
            assert valid, one
            assert given.presented is Presented.CARD_AND_CERTIFICATE, one
            assert Condition(Cause.CLOCK_UNTRUSTED) not in one.question.conditions, one
        elif reason is Reason.WITH_GUARDIAN:
            assert given.guardian, one
            assert given.age_group in (AgeGroup.MINOR, AgeGroup.SENIOR), one
        else:
            assert reason is Reason.STATUS_GREEN, one


@pytest.mark.requirement("R2")
@pytest.mark.requirement("R6")
def test_no_warning_is_passed_over_and_none_is_hidden_by_old_data() -> None:
    """On a day of checking nobody passes whom any authority warns of, or warned of before its feed grew too old."""
    for one in (one for one in asked() if one.verdict.kind is GRANT and one.given.day is Day.CHECKING):
        assert not one.current(*WARNING), one
        assert not one.hidden(*WARNING), one
        damaged = [f for f in one.question.findings if isinstance(f, Unknown) and f.why is Missing.STORE_DAMAGED]
        assert not damaged, one


@pytest.mark.requirement("R2")
@pytest.mark.requirement("R8")
def test_nobody_is_denied_but_for_what_somebody_says_now() -> None:
    """Each DENY has its status, told now; or it is the city's own rule of early 2020; or the station is closed."""
    for one in (one for one in asked() if one.verdict.kind is DENY):
        reason = one.verdict.reason
        if reason is Reason.STATION_CLOSED:
            assert one.given.day is Day.CLOSED, one
        elif reason is Reason.STATUS_RED:
            assert one.current(RED), one
        elif reason is Reason.STATUS_YELLOW:
            assert one.current(YELLOW), one
            assert one.at("32"), one
        elif reason is Reason.STATUS_NOT_CLAIMED:
            assert "XKM" in {f.issuer for f in one.current(CredentialStatus.NOT_CLAIMED)}, one
            assert one.at("3202"), one
        else:
            assert reason is Reason.LOCAL_CODE_REQUIRED, one
            assert one.at("3301", "3205", "3202"), one
            assert "2020-02-11" <= one.day < "2020-03-26", one


def test_a_red_told_now_is_refused_everywhere() -> None:
    """Whoever says it, whatever else is said and presented, on every day of checking."""
    red = [one for one in asked() if one.current(RED) and one.given.day is Day.CHECKING]
    assert len(red) > 500
    for one in red:
        assert (one.verdict.kind, one.verdict.reason, one.verdict.rule_id) == (DENY, Reason.STATUS_RED, "common/red"), (
            one
        )


@pytest.mark.requirement("R20")
def test_an_open_day_lets_everybody_pass_and_a_closed_one_nobody() -> None:
    """Whatever is known of them."""
    ends = {Day.OPEN: (GRANT, Reason.CHECKING_ENDED), Day.CLOSED: (DENY, Reason.STATION_CLOSED)}
    for one in (one for one in asked() if one.given.day is not Day.CHECKING):
        assert (one.verdict.kind, one.verdict.reason) == ends[one.given.day], one


def test_the_rules_never_fail_and_never_fall_silent() -> None:
    """Some rule speaks to every question, and every rule can be evaluated for it."""
    assert not [one for one in asked() if one.verdict.reason in (Reason.RULE_FAILED, Reason.RULE_SILENT)]


def test_the_rules_contradict_each_other_nowhere() -> None:
    """RULES_CONTRADICT is for rules that somebody adds; the shipped ones name each other where they meet."""
    assert not [one for one in asked() if one.verdict.reason is Reason.RULES_CONTRADICT]


@pytest.mark.requirement("R18")
def test_by_a_clock_in_doubt_nothing_is_fresh() -> None:
    """The age of what a feed told is a guess then, and the verdict says so."""
    doubted = [one for one in asked() if Condition(Cause.CLOCK_UNTRUSTED) in one.question.conditions]
    assert len(doubted) > 1000
    for one in doubted:
        if one.verdict.finding in ("LISTED", "ENROLLED", "NOT_LISTED", "ISSUER_ANSWERED"):
            assert one.verdict.band is Band.AGED, one


@pytest.mark.requirement("R1")
def test_whoever_is_not_let_through_is_told_by_a_rule_in_two_languages() -> None:
    """The deciding rule has words for holder and staff and a next step, in Chinese and in English."""
    for one in asked():
        rule = RULES.rule(one.verdict.rule_id)
        if one.verdict.kind is GRANT or rule is None:
            continue
        assert rule.reason is one.verdict.reason, one
        for words in (rule.words.holder, rule.words.staff, rule.words.next_step):
            assert words["zh"].strip(), rule.id
            assert words["en"].strip(), rule.id


# --- the same question, changed --------------------------------------------------------------------------------------


def test_the_order_of_findings_changes_no_answer() -> None:
    """Verdict, reason, rule and every rule that spoke are the same in any order."""
    for number, one in enumerate(one for one in asked() if len(one.question.findings) > 1):
        if number % 3:
            continue  # a third of them is five thousand
        findings = list(one.question.findings)
        Random(number).shuffle(findings)
        again = decide(dataclasses.replace(one.question, findings=tuple(findings)), RULES, one.now)
        for name in ("kind", "reason", "rule_id", "spoken", "ask_first"):
            assert getattr(again, name) == getattr(one.verdict, name), one


def _older(finding: Finding, hours: float) -> Finding:
    if isinstance(finding, Unknown | Unanswered | Rejected | Certified | Answered):
        return finding  # an answer is as of now, and is not kept
    past = Freshness(finding.freshness.as_of_utc_s - hours * 3600, finding.freshness.partition)
    return dataclasses.replace(finding, freshness=past)


def _aged(one: Asked, every: int = 1) -> Verdict:
    """What is decided when (every second of) the feeds stopped four days earlier."""
    findings = [_older(f, 101) if n % every == 0 else f for n, f in enumerate(one.question.findings)]
    return decide(dataclasses.replace(one.question, findings=tuple(findings)), RULES, one.now)


@pytest.mark.requirement("R2")
@pytest.mark.requirement("R6")
@pytest.mark.parametrize("every", [1, 2])
def test_growing_old_turns_nobody_green_and_nobody_red(every: int) -> None:
    """The feeds stop, all of them or some: nobody has a colour told who did not have it before."""
    for one in asked():
        aged = _aged(one, every)
        if aged.reason in (Reason.STATUS_GREEN, Reason.STATUS_RED, Reason.STATUS_YELLOW):
            status = CredentialStatus[aged.reason.removeprefix("STATUS_")]
            assert one.current(status), one
        if aged.kind is GRANT and aged.reason is Reason.STATUS_GREEN and one.verdict.kind is not GRANT:
            # What stopped it before was no warning: that stops it still, as old data.
            assert not one.current(*WARNING), one


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("every", [1, 2])
def test_nobody_is_denied_because_our_feeds_are_old(every: int) -> None:
    """Whoever is not denied by today's feeds is not denied by those of last week: the fault is ours."""
    for one in asked():
        if one.verdict.kind is not DENY:
            assert _aged(one, every).kind is not DENY, one


_CITIES = {"330100": "ZJ", "320500": "SCM", "320200": "XKM"}


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("region", _CITIES)
def test_a_city_that_wants_its_own_code_denies_nobody_while_its_own_feed_is_old_or_gone(region: str) -> None:
    """In March 2020, to the holder of another green: whether there is a local code is what we do not know then."""
    now, own = instant("2020-03-10T12:00+08:00"), _CITIES[region]
    shanghai = Listed("SSM", GREEN, "310000", 0, None, 1, Freshness(now.utc_s))
    assert decide(Question((shanghai,), circumstances=Circumstances(region=region)), RULES, now).kind is DENY
    old = Freshness(now.utc_s - 51 * 3600)
    silent = [Unknown(own, why) for why in Missing] + [
        NotListed(own, 1, old),
        NotCovered(own, 1, old, Uncovered.UNKNOWN_PERSON),
    ]
    silent += [Listed(own, status, "330000", 0, None, 1, old) for status in CredentialStatus if status not in WARNING]
    for finding in silent:
        question_ = Question((shanghai, finding), circumstances=Circumstances(region=region))
        assert decide(question_, RULES, now).kind is not DENY, finding


def test_old_feeds_let_nobody_pass_whom_today_s_send_to_staff() -> None:
    """A child behind its guardian too: what its issuer said may have been a reason to look."""
    for one in asked():
        if one.verdict.kind is REFER:
            assert _aged(one).kind is not GRANT, one


# --- temperature -----------------------------------------------------------------------------------------------------


def _with(one: Asked, temperature: Warmth) -> Verdict:
    given = dataclasses.replace(one.given, temperature=temperature)
    return decide(dataclasses.replace(one.question, circumstances=given), RULES, one.now)


def test_a_high_temperature_takes_a_grant_and_nothing_else() -> None:
    """Whoever would pass is sent to staff (not on a day of normal ticketing); no refusal changes, none is added."""
    taken = 0
    for one in asked():
        without, hot = _with(one, Warmth.UNKNOWN), _with(one, Warmth.HIGH)
        if without.kind is GRANT and without.reason is not Reason.CHECKING_ENDED:
            assert (hot.kind, hot.reason, hot.rule_id) == (REFER, Reason.TEMPERATURE_HIGH, "common/fever"), one
            assert hot.credential_status is CredentialStatus.UNKNOWN, one  # it is no colour
            taken += 1
        else:
            assert (hot.kind, hot.reason, hot.rule_id) == (without.kind, without.reason, without.rule_id), one
            assert hot.ask_first == without.ask_first, one
    assert taken > 100


def test_a_normal_temperature_is_worth_nothing() -> None:
    """It decides as if nobody had measured, whatever else is known."""
    for one in asked():
        assert _with(one, Warmth.NORMAL) == _with(one, Warmth.UNKNOWN), one
