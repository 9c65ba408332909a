"""What a lane tries before a verdict stands, told as transcripts: looked up, asked for, seen twice, taken along."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import date

import pytest

from gate.credential.cardnumber import card_number
from gate.credential.certificate import Certificate
from gate.credential.documents import DocumentType, document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.feed.finding import Answered, Certified, Finding, Freshness, Listed, NotCovered, NotListed, Uncovered
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.passage import events
from gate.passage.attempt import Attempt
from gate.passage.claims import Claims
from gate.passage.commands import AskIssuers, Command, Direction, FindStatus, LaneMode, Release, Say, Show, WriteRecord
from gate.passage.lane import Lane, LaneTimes
from gate.passage.record import PassageRecord
from gate.policy.question import AgeGroup, Circumstances, Presented, Question
from gate.policy.verdict import Ask, Reason, VerdictKind
from gate.station.rulefiles import read_rules

RULES = read_rules(None)
START = Moment(1_590_000_000.0, 0.0)  # May 2020
ENTRY = Direction.ENTRY
TIMES = LaneTimes()
STATIC = HealthCode("ZJ", "ZJ_V2", "x")
SHOWN_S = START.utc_s
DYNAMIC = HealthCode("SSM", "SSM_APP", "y", dynamic=True, issued_utc_s=SHOWN_S, max_age_s=60.0)
PAPER = Certificate("K1", "330106", date(2020, 5, 21), date(2020, 5, 21), b"", b"", b"", b"")


def _card(person: int = 0) -> IdCard:
    return IdCard(document(DocumentType.PASSPORT, f"E1234567{person}"), None, None)


@dataclass
class _Street:
    """What the feeds and issuers of a scene say, and everything its lanes did."""

    of_card: tuple[Finding, ...] = ()
    of_code: tuple[Finding, ...] = ()
    of_number: tuple[Finding, ...] = ()
    askable: tuple[str, ...] = ()
    accepts: bool = True  # the turnstiles take every release
    problem: Reason | None = None
    age: AgeGroup = AgeGroup.ADULT
    reads: frozenset[Ask] = frozenset({Ask.CARD, Ask.CODE})
    claims: Claims = field(default_factory=Claims)
    now: Moment = START
    sign: Show = field(default_factory=lambda: Show(None, None))
    said: list[Reason] = field(default_factory=list)
    records: list[PassageRecord] = field(default_factory=list)
    asked: list[AskIssuers] = field(default_factory=list)
    releases: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = itertools.count()
        self.lanes = [
            Lane(name, LaneMode.ENTRY, RULES, self.claims, lambda: f"passage {next(ids)}", reads=self.reads)
            for name in ("A1", "A2")
        ]

    def see(self, event: events.Event, after_s: float = 0.0, lane: int = 0) -> None:
        self.now = self.now.plus(after_s)
        for command in self.lanes[lane].handle(event, self.now):
            self._take(command, lane)

    def _take(self, command: Command, lane: int) -> None:
        match command:
            case Show():
                self.sign = command
            case Say(reason=reason):
                self.said.append(reason)
            case WriteRecord(record=record):
                self.records.append(record)
            case Release(grant=grant):
                self.releases.append(grant)
                if self.accepts:
                    self.see(events.ReleaseAccepted(grant), lane=lane)
            case AskIssuers():
                self.asked.append(command)
            case FindStatus():
                self._found(command, lane)

    def _found(self, command: FindStatus, lane: int) -> None:
        shown = command.presentation
        given = Circumstances(
            Presented(shown.kind), age_group=self.age, guardian=command.guardian, region="330100",
            code_issuer=shown.code.issuer if shown.code else "",
        )  # fmt: skip
        findings = self.of_card if shown.card else self.of_code if shown.code else self.of_number
        if shown.card and shown.certificate:
            findings = (*findings, Certified("K1", "330106", int(self.now.utc_s) + 3600, Freshness(self.now.utc_s)))
        mark = shown.document.number.encode() if shown.document else b"code"
        found = events.StatusFound(
            command.query, Question(findings, circumstances=given), (mark,), mark, self.askable,
            self.problem if shown.kind == "CARD_AND_CODE" else None, {"ZJ": "ZJ-REF"},
        )  # fmt: skip
        self.see(found, lane=lane)

    def answer(self, *findings: Finding) -> None:
        """The issuers that were asked last say this."""
        ask = self.asked[-1]
        question = replace(ask.question, findings=(*ask.question.findings, *findings))
        self.see(events.StatusFound(ask.query, question, (b"who",), b"who"))

    @property
    def ended(self) -> list[tuple[str, str, str]]:
        return [(record.credential, record.verdict, record.reason) for record in self.records]


def _told(issuer: str, status: CredentialStatus) -> Listed:
    return Listed(issuer, status, "330000", 0, None, 1, Freshness(START.utc_s - 60))


def _answered(status: CredentialStatus) -> Answered:
    return Answered("ZJ", status, "330000", 0, None, Freshness(START.utc_s))


NOBODY = NotCovered("ZJ", 1, Freshness(START.utc_s - 60), Uncovered.UNKNOWN_PERSON)
UNLISTED = NotListed("ZJ", 1, Freshness(START.utc_s - 60))
GREEN = _told("ZJ", CredentialStatus.GREEN)


@pytest.mark.requirement("R4")
def test_a_card_decides_at_once() -> None:
    """A known green opens at the tap: no code is asked for, no issuer is asked."""
    street = _Street(of_card=(GREEN,), askable=("ZJ",))
    street.see(events.CardRead(_card(), ENTRY))
    assert (street.releases, street.asked, street.sign.reason) == ([1], [], Reason.STATUS_GREEN)


@pytest.mark.requirement("R4")
def test_a_code_alone_decides_at_once_when_it_resolves() -> None:
    """A code whose token the feed knows needs no card."""
    street = _Street(of_code=(GREEN,))
    street.see(events.CodeScanned(STATIC, ENTRY))
    assert (street.releases, street.sign.reason) == ([1], Reason.STATUS_GREEN)
    assert street.said == [Reason.STATUS_GREEN]


def test_a_code_alone_that_resolves_to_nobody_asks_for_the_card_and_then_refers() -> None:
    """The sign says what to do; after the window the attempt is written down as what it was, once."""
    street = _Street()
    street.see(events.CodeScanned(STATIC, ENTRY))
    assert (street.sign.reason, street.records) == (Reason.CODE_NEEDS_CARD, [])
    street.see(events.TimeReached(), after_s=TIMES.pairing_window_s)
    street.see(events.TimeReached(), after_s=TIMES.pairing_window_s)
    assert street.ended == [("CODE", "REFER", "CODE_NEEDS_CARD")]


def test_a_card_that_nobody_knows_asks_for_a_code_as_well() -> None:
    """A card decides at once only when its findings do; a resolving code beside it opens."""
    street = _Street(of_card=(NOBODY,))
    street.see(events.CardRead(_card(), ENTRY))
    assert (street.sign.reason, street.records) == (Reason.CARD_NEEDS_CODE, [])
    street.of_card = (NOBODY, GREEN)
    street.see(events.CodeScanned(STATIC, ENTRY), after_s=2.0)
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.ended == [("CARD_AND_CODE", "GRANT", "STATUS_GREEN")]
    assert street.records[0].stages_us["pairing"] == 2_000_000


def test_what_a_lane_cannot_read_it_does_not_ask_for() -> None:
    """Without a scanner a stranger's card is referred at once, without a scanner's code nobody waits."""
    street = _Street(of_card=(NOBODY,), reads=frozenset({Ask.CARD}))
    street.see(events.CardRead(_card(), ENTRY))
    assert street.ended == [("CARD", "REFER", "NOT_COVERED")]


def test_the_next_persons_card_ends_the_wait_of_the_one_before() -> None:
    """A stranger who walks away does not hold up, or mix with, whoever taps next."""
    street = _Street(of_card=(NOBODY,))
    street.see(events.CardRead(_card(0), ENTRY))
    street.of_card = (GREEN,)
    street.see(events.CardRead(_card(1), ENTRY), after_s=1.0)
    assert street.ended == [("CARD", "REFER", "NOT_COVERED")]
    assert street.sign.reason is Reason.STATUS_GREEN
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.ended[1:] == [("CARD", "GRANT", "STATUS_GREEN")]


@pytest.mark.requirement("R3")
def test_card_and_certificate_open_together_and_neither_alone() -> None:
    """An old person without a phone: the paper asks for the card, the card with the paper opens."""
    street = _Street(of_card=(NOBODY,))
    street.see(events.CertificateScanned(PAPER, ENTRY))
    assert (street.sign.reason, street.releases) == (Reason.CERTIFICATE_NEEDS_CARD, [])
    street.see(events.CardRead(_card(), ENTRY), after_s=1.0)
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.ended == [("CARD_AND_CERTIFICATE", "GRANT", "CERTIFICATE_VALID")]


def test_card_and_code_of_two_people_are_told_so() -> None:
    """No rule is asked: the credentials contradict each other."""
    street = _Street(problem=Reason.CODE_OF_ANOTHER, of_card=(GREEN,))
    street.see(events.CodeScanned(STATIC, ENTRY))
    street.see(events.CardRead(_card(), ENTRY), after_s=1.0)
    assert street.ended == [("CARD_AND_CODE", "REFER", "CODE_OF_ANOTHER")]
    assert street.releases == []


@pytest.mark.requirement("R7")
def test_the_issuer_is_asked_where_the_feed_lists_only_some_colours() -> None:
    """Absent from red and yellow is not green: the answer is, and opens."""
    street = _Street(of_card=(UNLISTED,), askable=("ZJ",))
    street.see(events.CardRead(_card(), ENTRY))
    assert (len(street.asked), street.records, street.sign.reason) == (1, [], None)
    street.now = street.now.plus(0.3)
    street.answer(_answered(CredentialStatus.GREEN))
    assert street.sign.reason is Reason.STATUS_GREEN
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    record = street.records[0]
    assert (record.finding, record.stages_us["asking"]) == ("ISSUER_ANSWERED", 300_000)


@pytest.mark.requirement("R7")
def test_an_issuer_that_is_silent_costs_the_lanes_limit_and_no_more() -> None:
    """After the limit the gate decides without it: told as the issuer's silence, asked for a code, then staff."""
    street = _Street(of_card=(UNLISTED,), askable=("ZJ",))
    street.see(events.CardRead(_card(), ENTRY))
    street.see(events.TimeReached(), after_s=TIMES.lookup_limit_s)
    assert (street.sign.reason, street.releases) == (Reason.CARD_NEEDS_CODE, [])
    street.answer(_answered(CredentialStatus.GREEN))  # too late: nobody waits for it
    assert street.releases == []
    street.see(events.TimeReached(), after_s=TIMES.pairing_window_s)
    assert street.ended == [("CARD", "REFER", "ISSUER_UNREACHABLE")]
    assert len(street.asked) == 1


@pytest.mark.requirement("R5")
def test_one_showing_of_a_dynamic_code_serves_one_gate() -> None:
    """While the first lane has it, and after it released on it, every other lane says that it was just used."""
    street = _Street(of_code=(GREEN,))
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"))
    assert street.releases == [1]
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"), lane=1)
    assert street.ended == [("CODE", "REFER", "CODE_REPLAYED")]
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    for lane in (0, 1):
        street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"), after_s=1.0, lane=lane)
    assert [reason for _, _, reason in street.ended] == ["CODE_REPLAYED", "STATUS_GREEN", *["CODE_REPLAYED"] * 2]
    assert street.releases == [1]


def test_an_honest_second_try_next_door_is_no_replay() -> None:
    """A code that did not open here, or a release that lapsed, may be shown at the next lane."""
    street = _Street(of_code=())
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"))
    street.see(events.TimeReached(), after_s=TIMES.pairing_window_s)
    street.of_code = (GREEN,)
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"), after_s=1.0, lane=1)
    assert street.releases == [1]
    street.see(events.TimeReached(), after_s=TIMES.release_within_s, lane=1)
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"), after_s=1.0)
    assert [reason for _, _, reason in street.ended] == ["CODE_NEEDS_CARD", "STATUS_GREEN"]
    assert street.releases == [1, 1]


def test_a_static_code_is_never_a_replay() -> None:
    """A printed code is the same each time; only its holder's turn (anti-passback) is taken."""
    street = _Street(of_code=(GREEN,))
    for lane in (0, 1):
        street.see(events.CodeScanned(STATIC, ENTRY), lane=lane)
    assert [reason for _, _, reason in street.ended] == ["ALREADY_PASSED"]


@pytest.mark.requirement("R14")
def test_the_same_traveller_by_card_and_by_code_is_one() -> None:
    """Anti-passback is the station's: whoever passed by card is known when the code comes to the next lane."""
    street = _Street(of_card=(GREEN,), of_code=(GREEN,))

    def both_marks(command: FindStatus, lane: int) -> None:
        found = events.StatusFound(command.query, Question((GREEN,)), (b"card", b"ZJ subject"), b"s")
        if command.presentation.card is None:
            found = replace(found, travellers=(b"ZJ subject",))
        street.see(found, lane=lane)

    street._found = both_marks  # type: ignore[method-assign]
    street.see(events.CardRead(_card(), ENTRY))
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    street.see(events.CodeScanned(STATIC, ENTRY), after_s=5.0, lane=1)
    assert street.ended[-1] == ("CODE", "DENY", "ALREADY_PASSED")


@pytest.mark.requirement("R19")
def test_a_child_follows_its_guardian_within_the_window_and_three_at_most() -> None:
    """Bound to the release just made at this lane; the fourth, the late one and one at another lane are not."""
    street = _Street(of_card=(GREEN,))
    street.see(events.CardRead(_card(0), ENTRY))
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    street.of_card, street.age = (NOBODY,), AgeGroup.MINOR
    street.see(events.CardRead(_card(1), ENTRY), lane=1)
    assert street.sign.reason is Reason.GUARDIAN_NEEDED
    for child in (2, 3, 4):
        street.see(events.CardRead(_card(child), ENTRY), after_s=1.0)
        assert street.sign.reason is Reason.WITH_GUARDIAN
        street.see(events.PersonPassed(ENTRY), after_s=1.0)
    street.see(events.CardRead(_card(5), ENTRY), after_s=1.0)
    assert street.sign.reason is Reason.GUARDIAN_NEEDED
    street.of_card, street.age = (GREEN,), AgeGroup.ADULT
    street.see(events.CardRead(_card(6), ENTRY), after_s=1.0)
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    street.of_card, street.age = (NOBODY,), AgeGroup.MINOR
    street.see(events.CardRead(_card(7), ENTRY), after_s=30.0)
    assert street.sign.reason is Reason.GUARDIAN_NEEDED


@pytest.mark.requirement("R12")
def test_who_is_refused_by_a_record_is_shown_its_reference() -> None:
    """The sign carries what to read to 12345; the journal does not, and a grant shows none."""
    street = _Street(of_card=(_told("ZJ", CredentialStatus.RED),))
    street.see(events.CardRead(_card(), ENTRY))
    assert street.sign.because is not None
    assert (street.sign.verdict, street.sign.because.rule_id, street.sign.because.issuer, street.sign.reference) == (
        VerdictKind.DENY,
        "common/red",
        "ZJ",
        "ZJ-REF",
    )
    assert "ZJ-REF" not in repr(street.records[0])
    street.of_card = (GREEN,)
    street.see(events.CardRead(_card(1), ENTRY), after_s=5.0)
    assert street.sign.reference == ""


def test_staff_may_confirm_a_paper_and_it_is_written_down_as_such() -> None:
    """The one-press release says on which ground (R3)."""
    street = _Street()
    street.see(events.StaffReleased("desk-2", "paper seen", ENTRY, Reason.PAPER_CONFIRMED))
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.ended == [("NONE", "GRANT", "PAPER_CONFIRMED")]


@pytest.mark.requirement("R7")
def test_a_code_left_before_the_scanner_asks_its_issuer_once_and_waits_once() -> None:
    """Read again and again it neither storms the issuer nor holds the lane beyond the pairing window."""
    street = _Street(askable=("SSM",))
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"))
    street.see(events.TimeReached(), after_s=TIMES.lookup_limit_s)
    assert street.sign.reason is Reason.ISSUER_UNREACHABLE
    for _ in range(4):
        street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"), after_s=1.0)
    assert street.sign.reason is Reason.ISSUER_UNREACHABLE
    street.see(events.TimeReached(), after_s=1.0)
    assert (len(street.asked), street.ended) == (1, [("CODE", "REFER", "ISSUER_UNREACHABLE")])


def test_the_next_persons_code_ends_the_wait_of_the_one_before() -> None:
    """A second code is a second attempt: the first is written down as what it was, and its showing is let go."""
    street = _Street()
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"))
    street.of_code = (GREEN,)
    street.see(events.CodeScanned(STATIC, ENTRY), after_s=1.0)
    assert street.ended == [("CODE", "REFER", "CODE_NEEDS_CARD")]
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.ended[1:] == [("CODE", "GRANT", "STATUS_GREEN")]
    assert street.records[0].passage_id != street.records[1].passage_id
    street.of_code = ()
    street.see(events.CodeScanned(DYNAMIC, ENTRY, b"mark"), after_s=1.0, lane=1)
    assert (street.sign.reason, street.ended[2:]) == (Reason.CODE_NEEDS_CARD, [])  # looked at: no replay


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(LaneMode.CLOSED, ("CARD", "DENY", "LANE_CLOSED")), (LaneMode.MAINTENANCE, ("CARD", "REFER", "LANE_MAINTENANCE"))],
)
def test_a_lane_that_staff_close_while_an_issuer_is_asked_releases_nobody(
    mode: LaneMode, expected: tuple[str, str, str]
) -> None:
    """A technician in the barrier is not met by the green that comes half a second later."""
    street = _Street(of_card=(UNLISTED,), askable=("ZJ",))
    street.see(events.CardRead(_card(), ENTRY))
    street.see(events.ModeSet(mode, "desk-2"), after_s=0.1)
    street.answer(_answered(CredentialStatus.GREEN))
    assert (street.releases, street.ended) == ([], [expected])


@pytest.mark.requirement("R7")
def test_the_desk_gives_up_on_an_issuer_before_the_lane_does() -> None:
    """Of several issuers one may be silent: what the others said in time reaches the lane before its own limit."""
    street = _Street(of_card=(UNLISTED,), askable=("ZJ",))
    street.see(events.CardRead(_card(), ENTRY))
    assert 0.7 <= street.asked[0].within_s <= TIMES.lookup_limit_s - 0.034  # the longest pause measured of the loop


@pytest.mark.requirement("R19")
def test_a_child_with_a_green_of_its_own_is_nobodys_guardian() -> None:
    """It passes, and takes nobody along; who walks the other way is nobody's family either."""
    street = _Street(of_card=(GREEN,), age=AgeGroup.MINOR)
    street.see(events.CardRead(_card(0), ENTRY))
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    street.of_card = (NOBODY,)
    street.see(events.CardRead(_card(1), ENTRY), after_s=1.0)
    assert street.sign.reason is Reason.GUARDIAN_NEEDED


@pytest.mark.requirement("R19")
def test_a_family_walks_one_way() -> None:
    """At a lane of both directions whoever leaves follows nobody who came."""
    street = _Street(of_card=(GREEN,))
    street.see(events.ModeSet(LaneMode.BOTH, "desk-2"))
    street.see(events.CardRead(_card(0), ENTRY))
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    street.of_card, street.age = (NOBODY,), AgeGroup.MINOR
    street.see(events.CardRead(_card(1), Direction.EXIT), after_s=1.0)
    assert street.sign.reason is Reason.GUARDIAN_NEEDED
    street.see(events.CardRead(_card(2), ENTRY), after_s=1.0)
    assert street.sign.reason is Reason.WITH_GUARDIAN


@pytest.mark.requirement("R12")
def test_what_is_known_of_a_person_does_not_show_its_references() -> None:
    """A repr in a log or a traceback leads to no record of anybody."""
    found = events.StatusFound(1, Question(()), (b"traveller",), b"subject", references={"ZJ": "ZJ-REF"})
    attempt = Attempt("p", "A1", ENTRY, "CARD", START, token=b"token").found(found, START)
    for secret in ("ZJ-REF", "traveller", "subject", "token="):
        assert secret not in f"{found!r} {attempt!r}".replace("travellers", "").replace("subjects", "")


@pytest.mark.requirement("R14")
def test_the_card_of_a_code_that_is_being_asked_about_ends_the_waiting() -> None:
    """Card and code are read in parallel: the card decides at once, and the issuer's late answer is nobody's."""
    street = _Street(of_code=(), of_card=(GREEN,), askable=("ZJ",))
    street.see(events.CodeScanned(STATIC, ENTRY))
    assert (len(street.asked), street.releases) == (1, [])
    street.see(events.CardRead(_card(), ENTRY), after_s=0.1)
    assert (street.releases, street.sign.reason) == ([1], Reason.STATUS_GREEN)
    street.answer(_answered(CredentialStatus.RED))
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.ended == [("CARD_AND_CODE", "GRANT", "STATUS_GREEN")]


def test_another_card_while_an_issuer_is_asked_about_the_first_is_told_to_wait() -> None:
    """Two cards are two people: the second is busy until the first is decided."""
    street = _Street(of_card=(UNLISTED,), askable=("ZJ",))
    street.see(events.CardRead(_card(0), ENTRY))
    street.see(events.CardRead(_card(1), ENTRY), after_s=0.1)
    assert (street.sign.reason, len(street.asked)) == (Reason.LANE_BUSY, 1)


def test_who_waits_behind_another_is_not_released_into_a_lane_that_was_closed() -> None:
    """A technician steps in: the walking person goes on, the waiting one is written down as not having passed."""
    street = _Street(of_card=(GREEN,))
    street.see(events.CardRead(_card(0), ENTRY))
    street.see(events.CardRead(_card(1), ENTRY), after_s=0.2)
    street.see(events.ModeSet(LaneMode.MAINTENANCE, "op"))
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.releases == [1]
    assert [record.outcome for record in street.records] == ["LAPSED", "PASSED"]


@pytest.mark.requirement("R19")
def test_a_guardian_who_was_not_released_or_did_not_walk_takes_nobody_along() -> None:
    """Refused by the turnstile, or lapsed: the child behind is sent to its family, not through."""
    for ending in ("refused", "lapsed"):
        street = _Street(of_card=(GREEN,), accepts=ending == "lapsed")
        street.see(events.CardRead(_card(0), ENTRY))
        if ending == "refused":
            street.see(events.ReleaseRefused(street.releases[-1]))
        else:
            street.see(events.TimeReached(), after_s=TIMES.release_within_s)
        street.of_card, street.age = (NOBODY,), AgeGroup.MINOR
        street.see(events.CardRead(_card(1), ENTRY), after_s=0.5)
        assert street.sign.reason is Reason.GUARDIAN_NEEDED


# --- card numbers ---------------------------------------------------------------------------------------------------


def _touch(person: int = 0) -> events.CardNumberRead:
    return events.CardNumberRead(card_number("shanghai-transit", f"1125937{person}"), ENTRY)


@pytest.mark.requirement("R2", "R3", "R4")
def test_an_unknown_transit_card_waits_for_the_id_card_which_decides_alone() -> None:
    """The sign asks; the card left lying asks no more and waits no longer; what comes then is one person's record."""
    street = _Street(of_card=(GREEN,))
    street.see(_touch())
    assert (street.sign.reason, street.said, street.records) == (Reason.CARD_NOT_KNOWN, [Reason.CARD_NOT_KNOWN], [])
    street.see(_touch(), after_s=1.0)
    assert (street.said, street.records) == ([Reason.CARD_NOT_KNOWN], [])
    street.see(events.CardRead(_card(), ENTRY), after_s=1.0)
    assert street.releases == [1]
    street.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert street.ended == [("CARD", "GRANT", "STATUS_GREEN")]


def test_an_unknown_transit_card_alone_is_referred_when_its_time_is_up() -> None:
    """Never denied and never let through."""
    street = _Street()
    street.see(_touch())
    street.see(events.TimeReached(), after_s=TIMES.pairing_window_s)
    assert street.ended == [("CARD_NUMBER", "REFER", "CARD_NOT_KNOWN")]
    assert street.releases == []


def test_a_code_completes_a_transit_card_whichever_came_first() -> None:
    """Card and code of one person; the code that waited is not taken for the next one's."""
    for shown in ((_touch(), events.CodeScanned(STATIC, ENTRY)), (events.CodeScanned(STATIC, ENTRY), _touch())):
        street = _Street(of_code=(NOBODY,))
        street.see(shown[0])
        street.of_code = (GREEN,)
        street.see(shown[1], after_s=1.0)
        street.see(events.PersonPassed(ENTRY), after_s=1.0)
        assert street.ended == [("CARD_NUMBER_AND_CODE", "GRANT", "STATUS_GREEN")]


def test_a_second_transit_card_is_the_next_persons() -> None:
    """So is one after an ID card that waits, or after a paper, which no number can complete."""
    paper = events.CertificateScanned(PAPER, ENTRY)
    for first, ends in (
        (_touch(1), ("CARD_NUMBER", "REFER", "CARD_NOT_KNOWN")),
        (events.CardRead(_card(), ENTRY), ("CARD", "REFER", "NOT_COVERED")),
        (paper, ("CERTIFICATE", "REFER", "CERTIFICATE_NEEDS_CARD")),
    ):
        street = _Street(of_card=(NOBODY,))
        street.see(first)
        assert street.records == []
        street.of_number = (GREEN,)
        street.see(_touch(2), after_s=1.0)
        assert street.ended == [ends]
        assert street.releases == [1]


@pytest.mark.requirement("R19")
def test_nobody_follows_a_transit_card_as_its_holders_family() -> None:
    """It does not tell whether it is a child's: the child behind it is alone, and behind an ID card it is not."""
    for guardian, then in (
        (_touch(1), Reason.GUARDIAN_NEEDED),
        (events.CardRead(_card(1), ENTRY), Reason.WITH_GUARDIAN),
    ):
        street = _Street(of_number=(GREEN,), of_card=(GREEN,), age=AgeGroup.ADULT)
        street.see(guardian)
        street.see(events.PersonPassed(ENTRY), after_s=1.0)
        street.of_card, street.age = (NOBODY,), AgeGroup.MINOR
        street.see(events.CardRead(_card(2), ENTRY), after_s=1.0)
        assert street.sign.reason is then
