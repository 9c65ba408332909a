"""A lane's sign and records, told as transcripts: events in, what the passenger then sees."""

import itertools

from gate.credential.documents import DocumentType, document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.feed.finding import Freshness, Listed
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.passage import events
from gate.passage.claims import Claims
from gate.passage.commands import Command, Direction, EndHold, FindStatus, LaneMode, Release, Say, Show, WriteRecord
from gate.passage.lane import Lane
from gate.passage.record import PassageRecord
from gate.policy.question import Circumstances, Presented, Question
from gate.policy.verdict import Reason
from gate.station.rulefiles import read_rules

START_UTC_S = 1_590_000_000.0  # May 2020, when the shipped rule is in force
ENTRY = Direction.ENTRY
CODE = events.CodeScanned(HealthCode("SSM", "SSM_APP", "x"), ENTRY)


class _Scene:
    """One lane, its clock, and everything it said."""

    def __init__(self, mode: LaneMode = LaneMode.ENTRY, *, emergency: bool = False, has_turnstile: bool = True) -> None:
        ids = (f"passage {n}" for n in itertools.count())
        self.lane = Lane("A1", mode, read_rules(None), Claims(), ids.__next__, has_turnstile, emergency=emergency)
        self.now = Moment(START_UTC_S, 0.0)
        self.sign = self.lane.resting_sign[1]
        self.said: list[Reason] = []
        self.records: list[PassageRecord] = []
        self.releases: list[int] = []

    def see(self, event: events.Event, after_s: float = 0.0) -> None:
        self.now = self.now.plus(after_s)
        for command in self.lane.handle(event, self.now):
            self._take(command)

    def card(self, person: int = 0) -> None:
        self.see(events.CardRead(IdCard(document(DocumentType.PASSPORT, f"E1234567{person}"), None, None), ENTRY))

    def _take(self, command: Command) -> None:
        match command:
            case Show(reason=reason):
                self.sign = reason
            case Say(reason=reason):
                self.said.append(reason)
            case Release(grant=grant):
                self.releases.append(grant)
            case WriteRecord(record=record):
                self.records.append(record)
            case FindStatus(query=query, presentation=presentation):
                green = Listed("SSM", CredentialStatus.GREEN, "310000", 0, None, 1, Freshness(self.now.utc_s - 60))
                known, mark = (
                    presentation.document is not None,
                    presentation.document.number.encode() if presentation.document else b"",
                )
                given = Circumstances(Presented(presentation.kind))
                self.see(
                    events.StatusFound(query, Question((green,) if known else (), circumstances=given), (mark,), mark)
                )


def test_who_waits_behind_another_is_told_to_go_when_it_is_their_turn() -> None:
    """The sign belongs to the person walking; the next one's "go" and voice come with their own release."""
    scene = _Scene()
    scene.card(0)
    scene.card(1)
    assert (len(scene.releases), scene.said) == (1, [Reason.STATUS_GREEN])
    scene.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert (len(scene.releases), scene.sign, scene.said) == (2, Reason.STATUS_GREEN, [Reason.STATUS_GREEN] * 2)
    scene.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert scene.sign is None


def test_an_open_gate_says_open_and_nothing_else() -> None:
    """In an emergency and in crowd release neither cards, bad codes nor time change sign or voice."""
    for opened, reason in (
        (events.EmergencySeen(True), Reason.EMERGENCY_OPEN),
        (events.ModeSet(LaneMode.FREE, "op"), Reason.CROWD_RELEASE),
    ):
        scene = _Scene()
        scene.see(CODE)
        assert scene.sign is Reason.CODE_NEEDS_CARD
        scene.see(opened, after_s=1.0)
        scene.said.clear()
        for event in (CODE, events.ReadFailed(Reason.CARD_UNREADABLE, ENTRY), events.TimeReached()):
            scene.see(event, after_s=9.0)
            assert scene.sign is reason
        scene.card()
        scene.see(events.StaffReleased("op", "wheelchair", ENTRY))
        scene.see(events.Stopping())
        assert scene.sign is reason
        assert set(scene.said) <= {reason}


def test_who_was_pairing_when_the_gate_opened_is_written_down_once() -> None:
    """The attempt ends with the opening, without a verdict, and its late card or time-out adds nothing."""
    scene = _Scene()
    scene.see(CODE)
    scene.see(events.EmergencySeen(True), after_s=1.0)
    scene.see(events.TimeReached(), after_s=9.0)
    assert [(r.credential, r.verdict, r.outcome) for r in scene.records] == [("CODE", "NONE", "EMERGENCY")]


def test_a_closed_lane_says_so_before_anybody_presents() -> None:
    """The sign of a lane out of use is never "ready", and says "ready" again when the lane is."""
    scene = _Scene()
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    assert scene.sign is Reason.LANE_CLOSED
    scene.card()
    assert (scene.sign, scene.releases, scene.records) == (Reason.LANE_CLOSED, [], [])
    scene.see(events.TimeReached(), after_s=60.0)
    assert scene.sign is Reason.LANE_CLOSED
    scene.see(events.ModeSet(LaneMode.ENTRY, "op"))
    assert scene.sign is None


def test_a_mode_set_while_somebody_walks_does_not_take_their_go_away() -> None:
    """Closing a lane lets the released person through under a green sign, and then shows "closed"."""
    scene = _Scene()
    scene.card()
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    assert scene.sign is Reason.STATUS_GREEN
    scene.see(events.PersonPassed(ENTRY), after_s=1.0)
    assert scene.sign is Reason.LANE_CLOSED
    assert scene.records[-1].outcome == "PASSED"


def test_an_emergency_of_before_the_restart_holds_until_reset() -> None:
    """The lane starts open, commands nothing closed when its turnstile comes, and closes after the reset."""
    scene = _Scene(emergency=True)
    assert scene.sign is Reason.EMERGENCY_OPEN
    scene.see(events.TurnstileLost())
    scene.see(events.TurnstileBack())
    assert scene.lane.barrier.state == "HELD_OPEN"
    scene.see(events.EmergencyReset("op"))
    assert (scene.lane.barrier.state, scene.sign) == ("CLOSED", None)


def test_crowd_release_of_before_the_restart_holds_the_gate_open_again() -> None:
    """The barrier starts held open and is commanded open as soon as the turnstile works."""
    scene = _Scene(LaneMode.FREE)
    assert (scene.lane.barrier.state, scene.sign) == ("HELD_OPEN", Reason.CROWD_RELEASE)
    scene.card()
    assert not scene.releases


def test_a_lane_without_turnstile_shows_its_mode_too() -> None:
    """A ticket window that is closed says so, and crowd release shows without a barrier to hold."""
    scene = _Scene(has_turnstile=False)
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    assert scene.sign is Reason.LANE_CLOSED
    scene.see(events.ModeSet(LaneMode.FREE, "op"))
    assert scene.sign is Reason.CROWD_RELEASE


def test_the_instant_of_the_decision_is_kept_for_replay() -> None:
    """A card that comes seconds after its code is decided then, not when the code was scanned."""
    scene = _Scene()
    scene.see(CODE)
    scene.now = scene.now.plus(3.0)
    scene.card()
    scene.see(events.PersonPassed(ENTRY), after_s=1.0)
    record = scene.records[-1]
    assert (record.started_utc_s, record.decided_utc_s) == (START_UTC_S, START_UTC_S + 3.0)


def test_the_reset_of_an_emergency_closes_what_a_release_left_open() -> None:
    """A release that the emergency met in mid-pulse stays open until the reset, and is ended by it."""
    scene = _Scene()
    scene.see(events.TurnstileBack())  # ends whatever the board held before we came
    scene.card()
    scene.see(events.ReleaseAccepted(scene.releases[-1]))
    scene.see(events.EmergencySeen(True))
    scene.see(events.EmergencySeen(False))
    commands = scene.lane.handle(events.EmergencyReset("op"), scene.now)
    assert EndHold() in commands
