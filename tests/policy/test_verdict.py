"""The engine: how rules that speak become one verdict, what it refuses whatever they say, and what a verdict tells."""

import dataclasses
from typing import Any

import pytest

from gate.feed.finding import (
    Answered,
    Band,
    Certified,
    Enrolled,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Silence,
    Unanswered,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.passage.attempt import Attempt
from gate.passage.commands import Direction
from gate.passage.events import StatusFound
from gate.policy.certlogic import Failure
from gate.policy.condition import Cause, Condition
from gate.policy.decide import decide
from gate.policy.facts import FactBook, weigh
from gate.policy.question import AgeGroup, Circumstances, Day, Presented, Question, Warmth, circumstances_from
from gate.policy.terms import parse_terms
from gate.policy.verdict import Ask, FindingClass, Reason, Spoken, Verdict, VerdictKind
from gate.station.rulefiles import read_rules
from tests.policy.making import GREEN, NOW, RED, TERMS, YELLOW, asked, rule_set, rule_text, told

SAYS_GREEN, SAYS_RED = {"var": "says.GREEN"}, {"var": "says.RED"}
GRANT, DENY, REFER = VerdictKind.GRANT, VerdictKind.DENY, VerdictKind.REFER
FRESH = Freshness(NOW.utc_s)


def decided(question: Question, *texts: str) -> Verdict:
    return decide(question, rule_set(*texts), NOW)


# --- no rule, one rule, several --------------------------------------------------------------------------------------


@pytest.mark.requirement("R2")
def test_no_rule_speaking_is_an_outcome_of_its_own() -> None:
    """REFER, RULE_SILENT, by nobody."""
    verdict = decided(asked(told("ZJ", GREEN)), rule_text(when=SAYS_RED))
    assert (verdict.kind, verdict.reason, verdict.rule_id, verdict.spoken) == (REFER, Reason.RULE_SILENT, "", ())


def test_rules_that_contradict_each_other_are_an_outcome_of_their_own() -> None:
    """REFER, RULES_CONTRADICT, and both are named with what they said; nothing is told of the passenger."""
    rules = (rule_text("a/grants", when=SAYS_GREEN, then="GRANT"), rule_text("b/refers", when=SAYS_GREEN))
    verdict = decided(asked(told("ZJ", GREEN)), *rules)
    assert (verdict.kind, verdict.reason, verdict.rule_id) == (REFER, Reason.RULES_CONTRADICT, "")
    assert verdict.spoken == (
        Spoken("a/grants", GRANT, Reason.STATUS_GREEN),
        Spoken("b/refers", REFER, Reason.SLIP_NEEDED),
    )
    assert (verdict.credential_status, verdict.issuer) == (CredentialStatus.UNKNOWN, "")


def test_one_that_names_the_other_ends_the_contradiction() -> None:
    """It decides, and the one it overrides is still among those that spoke."""
    refers = rule_text("b/refers", when=SAYS_GREEN)
    grants = rule_text("a/grants", when=SAYS_GREEN, then="GRANT", overrides=["b/refers"])
    verdict = decided(asked(told("ZJ", GREEN)), refers, grants)
    assert (verdict.kind, verdict.rule_id) == (GRANT, "a/grants")
    assert [spoken.rule_id for spoken in verdict.spoken] == ["a/grants", "b/refers"]


def test_what_is_overridden_overrides_still() -> None:
    """Of three in a row, a over b over c, only a decides: b's word on c holds though b itself does not count."""
    a = rule_text("a/a", then="GRANT", when=SAYS_GREEN, overrides=["b/b"])
    verdict = decided(asked(told("ZJ", GREEN)), a, rule_text("b/b", overrides=["c/c"]), rule_text("c/c"))
    assert (verdict.kind, verdict.rule_id, len(verdict.spoken)) == (GRANT, "a/a", 3)


def test_a_rule_that_does_not_speak_overrides_nothing() -> None:
    """Only who speaks has a say."""
    silent = rule_text("a/silent", when=SAYS_RED, overrides=["b/refers"])
    assert decided(asked(told("ZJ", GREEN)), silent, rule_text("b/refers")).rule_id == "b/refers"


def test_of_several_reasons_the_first_of_the_list_is_told() -> None:
    """What an issuer says of the passenger before what we do not know; of one reason, the first rule by its id."""
    rules = [
        rule_text("a/late", reason="STORE_DAMAGED"),
        rule_text("b/middle", reason="NOT_LISTED"),
        rule_text("c/first", reason="STATUS_GREY", when={"var": "says.GREY"}),
        rule_text("d/first", reason="STATUS_GREY", when={"var": "says.GREY"}),
    ]
    assert decided(asked(told("ZJ", CredentialStatus.GREY)), *rules).rule_id == "c/first"
    assert decided(asked(), *rules).rule_id == "b/middle"
    assert list(Reason).index(Reason.STATUS_GREY) < list(Reason).index(Reason.NOT_LISTED)


@pytest.mark.parametrize(
    "when", [{"+": [SAYS_GREEN, 1]}, {"in": ["ZJ", {"var": "says.YELLOW"}]}, {">": [SAYS_GREEN, 1]}]
)
def test_a_rule_that_cannot_be_evaluated_stops_every_grant(when: Any) -> None:
    """It might have been the one that forbids: REFER, RULE_FAILED, and its id; never an exception, never GRANT."""
    rules = rule_set(rule_text("a/broken", when=when), rule_text("b/grants", then="GRANT", when=SAYS_GREEN))
    broken = rules.rule("a/broken")
    assert broken is not None
    assert isinstance(broken.holds({"says": {"GREEN": ["ZJ"]}}), Failure)
    verdict = decide(asked(told("ZJ", GREEN)), rules, NOW)
    assert (verdict.kind, verdict.reason, verdict.rule_id) == (REFER, Reason.RULE_FAILED, "a/broken")


# --- whatever a rule says --------------------------------------------------------------------------------------------


_NO_GREEN: dict[str, tuple[Finding, ...]] = {
    "nobody says anything": (),
    "it is red": (told("ZJ", RED),),
    "it is old": (told("ZJ", GREEN, age_h=51),),
    "it is from the future": (told("ZJ", GREEN, age_h=-1),),
    "it has lapsed": (told("ZJ", GREEN, valid_until_utc_s=int(NOW.utc_s)),),
    "it is not yet": (told("ZJ", GREEN, effective_utc_s=int(NOW.utc_s) + 301),),
    "it is absence": (NotListed("ZJ", 1, FRESH),),
    "it is another's": (told("SSM", GREEN),),
    "the store is damaged": (Unknown("ZJ", Missing.STORE_DAMAGED),),
    "it is paper": (Certified("XIHU-1", "330106", int(NOW.utc_s) + 60, FRESH),),
}


@pytest.mark.requirement("R2")
@pytest.mark.requirement("R5")
@pytest.mark.requirement("R6")
@pytest.mark.parametrize("findings", _NO_GREEN.values(), ids=_NO_GREEN)
def test_a_grant_without_a_green_that_its_rule_counts_is_a_failed_rule(findings: tuple[Finding, ...]) -> None:
    """A rule that would let everybody through as green lets nobody through but those with a green."""
    everybody = rule_text("a/everybody", then="GRANT", counts=["ZJ"])
    verdict = decided(asked(*findings), everybody)
    assert (verdict.kind, verdict.reason, verdict.rule_id) == (REFER, Reason.RULE_FAILED, "a/everybody")
    assert decided(asked(told("ZJ", GREEN)), everybody).kind is GRANT


@pytest.mark.requirement("R2")
@pytest.mark.parametrize(
    ("then", "reason"), [("DENY", "STATUS_RED"), ("DENY", "STATUS_YELLOW"), ("REFER", "STATUS_GREY")]
)
def test_no_status_is_told_that_nobody_tells_now(then: str, reason: str) -> None:
    """An expired red is no red, whatever a rule says; a red told now is."""
    status = CredentialStatus[reason.removeprefix("STATUS_")]
    everybody = rule_text("a/everybody", then=then, reason=reason)
    for findings in ((), (told("ZJ", GREEN),), (told("ZJ", status, age_h=51),)):
        assert decided(asked(*findings), everybody).reason is Reason.RULE_FAILED
    assert decided(asked(told("ZJ", status)), everybody).reason is Reason(reason)


@pytest.mark.parametrize(
    ("reason", "question"),
    [
        ("CERTIFICATE_VALID", asked(Certified("XIHU-1", "330106", int(NOW.utc_s), FRESH))),
        ("CERTIFICATE_VALID", asked(presented=Presented.CARD_AND_CERTIFICATE)),
        ("WITH_GUARDIAN", asked(age_group=AgeGroup.MINOR)),
        ("WITH_GUARDIAN", asked(told("ZJ", RED), guardian=True)),
        ("WITH_GUARDIAN", asked(told("ZJ", YELLOW), guardian=True)),
        ("WITH_GUARDIAN", asked(told("ZJ", RED, age_h=51), guardian=True)),
        ("CHECKING_ENDED", asked()),
        ("CHECKING_ENDED", asked(day=Day.CLOSED)),
    ],
)
def test_the_other_grants_need_their_grounds_too(reason: str, question: Question) -> None:
    """A lapsed certificate or none, no guardian or a warning, a day of checking: the rule has failed, nobody passes."""
    verdict = decided(question, rule_text("a/everybody", then="GRANT", reason=reason))
    assert (verdict.kind, verdict.reason) == (REFER, Reason.RULE_FAILED)


def test_a_rule_hears_only_whom_it_counts() -> None:
    """And a warning of somebody else is another rule's business."""
    rules = (rule_text("a/grants", then="GRANT", when=SAYS_GREEN, counts=["ZJ"]), rule_text("b/rest"))
    assert decided(asked(told("SSM", GREEN)), *rules).rule_id == "b/rest"
    assert decided(asked(told("SSM", GREEN), told("ZJ", GREEN)), *rules).reason is Reason.RULES_CONTRADICT


def test_a_rule_that_counts_issuers_counts_certificates_too() -> None:
    """A community is no issuer: its certificate is there for every rule, and is what the verdict tells."""
    paper = Certified("XIHU-1", "330106", int(NOW.utc_s) + 60, FRESH)
    rule = rule_text(when={"var": "certified"}, then="GRANT", reason="CERTIFICATE_VALID", counts=["ZJ"])
    verdict = decided(asked(paper), rule)
    assert (verdict.kind, verdict.finding, verdict.issuer) == (GRANT, FindingClass.CERTIFIED, "XIHU-1")


# --- what a verdict tells --------------------------------------------------------------------------------------------

_HOUR_AGO = Freshness(NOW.utc_s - 3600, "340100")
_SAID = {"asserted_by": "340100", "effective_utc_s": 0, "valid_until_utc_s": None, "freshness": _HOUR_AGO}
_GROUNDS: list[tuple[str, Any, Finding, tuple[object, ...]]] = [
    ("STATUS_GREY", {"var": "says.GREY"}, Listed("AKM", CredentialStatus.GREY, sequence=7, **_SAID),  # type: ignore[arg-type]
     (FindingClass.LISTED, CredentialStatus.GREY, "AKM", "340100", Band.FRESH, 7)),
    ("STATUS_IN_REVIEW", {"var": "says.IN_REVIEW"}, Enrolled("AKM", CredentialStatus.IN_REVIEW, sequence=7, **_SAID),  # type: ignore[arg-type]
     (FindingClass.ENROLLED, CredentialStatus.IN_REVIEW, "AKM", "340100", Band.FRESH, 7)),
    ("STATUS_UNKNOWN", {"var": "says.UNKNOWN"}, Answered("AKM", CredentialStatus.UNKNOWN, **_SAID),  # type: ignore[arg-type]
     (FindingClass.ISSUER_ANSWERED, CredentialStatus.UNKNOWN, "AKM", "340100", Band.FRESH, 0)),
    ("NOT_LISTED", {"var": "silent.NOT_LISTED"}, NotListed("AKM", 7, Freshness(NOW.utc_s - 30 * 3600)),
     (FindingClass.NOT_LISTED, CredentialStatus.UNKNOWN, "AKM", "", Band.AGED, 7)),
    ("NOT_COVERED", {"var": "silent.NOT_COVERED"}, NotCovered("AKM", 7, FRESH, Uncovered.UNKNOWN_PERSON),
     (FindingClass.NOT_COVERED, CredentialStatus.UNKNOWN, "AKM", "", Band.FRESH, 7)),
    ("FEED_EXPIRED", {"var": "expired.RED"}, told("AKM", RED, age_h=51, sequence=7),
     (FindingClass.EXPIRED, RED, "AKM", "310000", Band.EXPIRED, 7)),
    ("FEED_EXPIRED", {"var": "silent.EXPIRED"}, NotListed("AKM", 7, Freshness(NOW.utc_s - 51 * 3600)),
     (FindingClass.EXPIRED, CredentialStatus.UNKNOWN, "AKM", "", Band.EXPIRED, 7)),
    ("STORE_DAMAGED", {"var": "silent.DAMAGED"}, Unknown("AKM", Missing.STORE_DAMAGED),
     (FindingClass.NOT_COVERED, CredentialStatus.UNKNOWN, "AKM", "", None, 0)),
    ("ISSUER_UNREACHABLE", {"var": "silent.UNANSWERED"}, Unanswered("AKM", Silence.LATE),
     (FindingClass.ISSUER_UNREACHABLE, CredentialStatus.UNKNOWN, "AKM", "", None, 0)),
]  # fmt: skip


@pytest.mark.requirement("R1")
@pytest.mark.requirement("R8")
@pytest.mark.parametrize(("reason", "when", "finding", "tells"), _GROUNDS, ids=[row[0] for row in _GROUNDS])
def test_a_verdict_tells_what_it_rests_on(reason: str, when: Any, finding: Finding, tells: tuple[object, ...]) -> None:
    """How it is known, what was said, by whom, on whose authority, how old, by which sequence."""
    # Another issuer that says nothing of the kind must not be named.
    verdict = decided(asked(told("ZJ", GREEN), finding), rule_text(when=when, reason=reason))
    assert verdict.reason is Reason(reason)
    told_ = (verdict.finding, verdict.credential_status, verdict.issuer, verdict.asserted_by, verdict.band)
    assert (*told_, verdict.feed_sequence) == tells
    freshness = getattr(finding, "freshness", None)
    assert verdict.as_of_utc_s == (freshness.as_of_utc_s if freshness else None)


def test_a_reason_that_rests_on_no_finding_names_none() -> None:
    """A rule about what was presented says nothing of an issuer; what is to be asked first is passed on."""
    verdict = decided(asked(told("ZJ", GREEN)), rule_text(reason="CODE_NEEDS_CARD", ask_first=["CARD", "ISSUER"]))
    assert (verdict.issuer, verdict.asserted_by, verdict.band, verdict.as_of_utc_s) == ("", "", None, None)
    assert verdict.ask_first == (Ask.CARD, Ask.ISSUER)


def test_of_what_an_old_feed_told_and_did_not_tell_the_former_is_named() -> None:
    """A red too old to count is more to know than an absence too old to count."""
    old = NotListed("ZJ", 9, Freshness(NOW.utc_s - 60 * 3600))
    verdict = decided(asked(old, told("AKM", RED, age_h=70)), rule_text(reason="FEED_EXPIRED"))
    assert (verdict.issuer, verdict.credential_status) == ("AKM", RED)


@pytest.mark.requirement("R4")
def test_of_several_greens_the_province_of_residence_is_named() -> None:
    """The Delta's rule counts the residence province's code; without one told, the newest green is named."""
    rules = rule_text(when=SAYS_GREEN, then="GRANT")
    anhui = told("AKM", GREEN, age_h=20, asserted_by="340100", residence="341800")
    shanghai = told("SSM", GREEN, age_h=1, asserted_by="310000")
    zhejiang = told("ZJ", GREEN, age_h=2, asserted_by="330000", residence="310000")  # lives elsewhere
    for findings in ((anhui, shanghai, zhejiang), (zhejiang, shanghai, anhui)):
        assert decided(asked(*findings), rules).issuer == "AKM"
    for findings in ((zhejiang, shanghai), (shanghai, zhejiang)):
        assert decided(asked(*findings), rules).issuer == "SSM"


def test_of_an_issuer_s_two_words_the_newer_counts() -> None:
    """Its feed said one thing this morning and its answer says another now, in whatever order they are found."""
    rules = rule_text(when={"===": [{"var": "issuer.SCM"}, "GREEN"]})
    feed = told("SCM", CredentialStatus.NOT_CLAIMED, age_h=5)
    answer = Answered("SCM", GREEN, "320500", 0, None, FRESH)
    for findings in ((feed, answer), (answer, feed)):
        assert decided(asked(*findings), rules).reason is Reason.SLIP_NEEDED
    swapped = (
        dataclasses.replace(feed, status=GREEN),
        dataclasses.replace(answer, status=CredentialStatus.NOT_CLAIMED),
    )
    for findings in (swapped, swapped[::-1]):
        assert decided(asked(*findings), rules).reason is Reason.RULE_SILENT


# --- facts -----------------------------------------------------------------------------------------------------------


def test_a_rule_is_told_what_its_module_promises() -> None:
    """Every fact, for one question with a finding of every kind."""
    question = Question(
        (
            told("SSM", GREEN),
            told("AKM", RED, age_h=60),
            Answered("SKM", YELLOW, "320000", 0, None, FRESH),
            NotListed("ZJ", 1, FRESH),
            NotCovered("NGL", 1, FRESH, Uncovered.UNKNOWN_PERSON),
            NotListed("SCM", 1, Freshness(NOW.utc_s - 60 * 3600)),
            Unknown("XKM", Missing.STORE_DAMAGED),
            Unknown("GD", Missing.NO_FEED),
            Unanswered("HEN", Silence.BUSY),
            Certified("XIHU-1", "330106", int(NOW.utc_s) + 60, FRESH),
            Certified("XIHU-2", "330106", int(NOW.utc_s), FRESH),
        ),
        frozenset({Condition(Cause.READER_DOWN, "A1"), Condition(Cause.READER_DOWN, "A2")}),
        Circumstances(Presented.CARD_AND_CODE, "ZJ", "ZJ_V2", AgeGroup.SENIOR, True, "330106"),
    )
    terms = parse_terms(TERMS, "terms.toml")[0]
    book = FactBook(question, weigh(question, terms, NOW, NOW), NOW.beijing_day)
    shared = {
        "today": "2020-05-21",  # in China
        "station": {"region": "330106", "city": "3301", "province": "33"},
        "day": "CHECKING",
        "presented": {
            "kind": "CARD_AND_CODE",
            "code_issuer": "ZJ",
            "code_form": "ZJ_V2",
            "needs_card": False,
            "card_scheme": "",
            "card_refused": False,
        },
        "holder": {"age": "SENIOR"},
        "temperature": "UNKNOWN",
        "guardian": True,
        "certified": ["330106"],
        "degraded": ["READER_DOWN"],
    }
    assert book.counting(None) == shared | {
        "says": {"GREEN": ["SSM"], "YELLOW": ["SKM"]},
        "issuer": {"SSM": "GREEN", "SKM": "YELLOW"},
        "expired": {"RED": ["AKM"]},
        "silent": {
            "NOT_LISTED": ["ZJ"],
            "NOT_COVERED": ["NGL"],
            "EXPIRED": ["SCM"],
            "DAMAGED": ["XKM"],
            "UNKNOWN": ["GD"],
            "UNANSWERED": ["HEN"],
        },
        "rejected": {},
    }
    assert book.counting(frozenset({"ZJ"})) == shared | {
        "says": {}, "issuer": {}, "expired": {}, "silent": {"NOT_LISTED": ["ZJ"]}, "rejected": {},
    }  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [{"presented": "CARDS"}, {"presented": []}, {"age_group": "BABY"}, {"day": 1}, {"guardian": "false"},
     {"guardian": 1}, {"region": 330100}, {"temperature": 37.5}, {"temperature": "37.5"}, {"code_issuer": None},
     {"name": "x"}],
)  # fmt: skip
def test_circumstances_of_the_wrong_kind_are_refused(wrong: dict[str, Any]) -> None:
    """What a journal or a case says is one of our words, or an error; "false" is not taken for true."""
    with pytest.raises((TypeError, ValueError)):
        circumstances_from(wrong)


def test_circumstances_are_noted_and_read_back() -> None:
    """All of them; and nothing at all where nothing is out of the ordinary."""
    shown = (Presented.CODE, "ZJ", "ZJ_V2", AgeGroup.MINOR, True, "330106", Day.OPEN, True, Warmth.HIGH)
    every = Circumstances(*shown, card_scheme="shanghai-transit", card_refused=True)
    assert len(every.noted()) == len(dataclasses.fields(Circumstances))
    assert circumstances_from(every.noted()) == every
    assert Circumstances().noted() == {}
    assert circumstances_from({}) == Circumstances()


# --- provenance ------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R8")
def test_conflicting_reports_of_several_provinces_are_all_kept_and_one_rule_decides() -> None:
    """The journal's record has every report with its authority, the rule that decided, and every rule that spoke."""
    now = Moment(NOW.utc_s, 5.0)
    question = asked(
        told("SSM", GREEN, asserted_by="310000", sequence=4),
        told("ZJ", RED, asserted_by="411700", sequence=9),  # pushed by Henan into Zhejiang's code
        NotListed("AKM", 2, FRESH),
        region="330100",
    )
    attempt = Attempt("p", "A1", Direction.ENTRY, "CARD", now).found(
        StatusFound(1, question, (b"who",), b"subject"), now
    )
    record = attempt.with_verdict(decide(question, read_rules(None), now)).record("NOT_RELEASED")
    assert (record.verdict, record.reason, record.rule_id) == ("DENY", "STATUS_RED", "common/red")
    assert (record.issuer, record.asserted_by, record.feed_sequence) == ("ZJ", "411700", 9)
    kept = [(one["issuer"], one.get("status"), one.get("asserted_by"), one["sequence"]) for one in record.findings]
    assert kept == [("SSM", "GREEN", "310000", 4), ("ZJ", "RED", "411700", 9), ("AKM", None, None, 2)]
    assert record.spoken == (
        "common/not-recognised REFER NOT_RECOGNISED_HERE",
        "common/red DENY STATUS_RED",
        "delta/green GRANT STATUS_GREEN",
    )
    assert record.circumstances == {"region": "330100"}
