"""Two-way lanes and lanes that stand open, told as transcripts: who has the lane, who waits, when flaps close."""

import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.documents import DocumentType, document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.feed.finding import Freshness, Listed
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.passage import events
from gate.passage.barrier import BarrierState
from gate.passage.claims import Claims
from gate.passage.commands import (
    Command,
    Direction,
    FindStatus,
    HoldOpen,
    LaneMode,
    Refuse,
    Release,
    Say,
    Show,
    StandClosed,
    StandOpen,
    WriteRecord,
)
from gate.passage.lane import Lane, LaneTimes
from gate.passage.pairing import FrontState
from gate.passage.record import PassageRecord
from gate.policy.question import Circumstances, Presented, Question
from gate.policy.verdict import Reason, VerdictKind
from gate.station.rulefiles import read_rules
from tests.passage.test_tables import STEPS, _World

RULES = read_rules(None)
ENTRY, EXIT = Direction.ENTRY, Direction.EXIT
START = Moment(1_590_000_000.0, 0.0)  # May 2020, when the shipped rule is in force
RED = 9  # everybody else is green


@dataclass
class _Scene:
    """One two-way lane, its signs, and everything it said."""

    normally_open: bool = False
    mode: LaneMode = LaneMode.BOTH
    answers: bool = True
    within_s: float = 8.0
    now: Moment = START
    signs: dict[Direction | None, Reason | None] = field(default_factory=lambda: {None: None, ENTRY: None, EXIT: None})
    said: list[tuple[Reason, Direction | None]] = field(default_factory=list)
    releases: list[Direction] = field(default_factory=list)
    lives_s: list[float] = field(default_factory=list)
    closings: int = 0
    holds: int = 0
    stands: list[str] = field(default_factory=list)
    records: list[PassageRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = (f"passage {n}" for n in itertools.count())
        times = LaneTimes(release_within_s=self.within_s)
        self.lane = Lane("A1", self.mode, RULES, Claims(), ids.__next__, times=times, normally_open=self.normally_open)

    def see(self, event: events.Event, after_s: float = 0.0) -> None:
        self.now = self.now.plus(after_s)
        for command in self.lane.handle(event, self.now):
            self._take(command)

    def card(self, person: int, side: Direction, after_s: float = 0.1) -> None:
        self.see(
            events.CardRead(IdCard(document(DocumentType.PASSPORT, f"E1234567{person}"), None, None), side), after_s
        )

    def code(self, side: Direction, after_s: float = 0.1) -> None:
        self.see(events.CodeScanned(HealthCode("ZJ", "ZJ_V2", "x"), side), after_s)

    def passes(self, side: Direction) -> None:
        self.see(events.PersonPassed(side), 1.0)

    def _take(self, command: Command) -> None:
        match command:
            case Show(reason=reason, side=side):
                self.signs[side] = reason
            case Say(reason=reason, side=side):
                self.said.append((reason, side))
            case Release(direction=direction, within_s=within_s):
                self.releases.append(direction)
                self.lives_s.append(within_s)
            case Refuse():
                self.closings += 1
            case HoldOpen():
                self.holds += 1
            case StandClosed() | StandOpen():
                self.stands.append("closed" if isinstance(command, StandClosed) else "open")
            case WriteRecord(record=record):
                self.records.append(record)
            case FindStatus(query=query, presentation=shown) if self.answers:
                number = shown.document.number if shown.document else ""
                status = CredentialStatus.RED if number.endswith(str(RED)) else CredentialStatus.GREEN
                found = Listed("SSM", status, "310000", 0, None, 1, Freshness(self.now.utc_s - 60))
                given = Circumstances(Presented(shown.kind))
                mark = number.encode()
                question = Question((found,) if number else (), circumstances=given)
                self.see(events.StatusFound(query, question, (mark,), mark))


# --- two-way lanes ---------------------------------------------------------------------------------------------------


def test_who_comes_first_has_the_lane_and_the_other_side_is_told_to_wait() -> None:
    """The other side's card is not looked up; its sign says wait, once by voice, until the first has passed."""
    scene = _Scene()
    scene.card(1, ENTRY)
    scene.card(2, EXIT)
    scene.card(2, EXIT)
    assert scene.releases == [ENTRY]
    assert scene.signs == {None: Reason.STATUS_GREEN, ENTRY: None, EXIT: Reason.LANE_BUSY}
    assert scene.said == [(Reason.STATUS_GREEN, None), (Reason.LANE_BUSY, EXIT)]
    scene.passes(ENTRY)
    assert scene.signs == dict.fromkeys((None, ENTRY, EXIT))
    scene.card(2, EXIT)
    scene.card(3, ENTRY)
    assert scene.said[-1] == (Reason.LANE_BUSY, ENTRY)
    scene.passes(EXIT)
    assert scene.releases == [ENTRY, EXIT]
    scene.card(3, ENTRY)
    scene.card(4, EXIT)
    assert scene.said[-1] == (Reason.LANE_BUSY, EXIT), "told once in each turn, not once for ever"
    assert [(each.direction, each.outcome) for each in scene.records] == [("entry", "PASSED"), ("exit", "PASSED")]


def test_the_other_side_may_come_when_the_first_has_lapsed() -> None:
    """Nobody walked: the lane is free with the lapse, and the sign says so."""
    scene = _Scene()
    scene.card(1, ENTRY)
    scene.card(2, EXIT)
    scene.see(events.TimeReached(), after_s=9.0)
    assert scene.signs[EXIT] is None
    scene.card(2, EXIT)
    assert scene.releases == [ENTRY, EXIT]


def test_one_side_s_queue_ends_when_the_other_side_waits() -> None:
    """Behind who is walking one more waits as ever; but nobody more once somebody is there on the other side."""
    scene = _Scene()
    scene.card(1, ENTRY)
    scene.card(2, ENTRY)
    scene.card(3, EXIT)
    scene.passes(ENTRY)
    scene.card(4, ENTRY)
    scene.card(4, ENTRY)
    assert scene.said[-1] == (Reason.LANE_BUSY, ENTRY)
    assert scene.said.count((Reason.LANE_BUSY, ENTRY)) == 1
    assert scene.signs[None] is Reason.STATUS_GREEN, "the walking person's go was taken away"
    scene.passes(ENTRY)
    scene.card(3, EXIT)
    assert scene.releases == [ENTRY, ENTRY, EXIT]


@pytest.mark.parametrize("front", [FrontState.CHECKING, FrontState.PAIRING])
def test_a_credential_of_the_other_side_completes_nobody_s(front: FrontState) -> None:
    """A code waits for its card, or a card for its answer: what is presented over there is another person's."""
    scene = _Scene(answers=front is FrontState.PAIRING)
    scene.code(ENTRY)
    assert scene.lane.front is front
    scene.card(1, EXIT)
    assert (scene.lane.front, scene.releases, scene.records) == (front, [], [])
    assert scene.signs[EXIT] is Reason.LANE_BUSY
    scene.answers = True
    if front is FrontState.PAIRING:
        scene.card(1, ENTRY)
        assert scene.releases == [ENTRY]


def test_an_unreadable_card_of_the_other_side_disturbs_nobody() -> None:
    """No record, no words about a card to the person who walks."""
    scene = _Scene()
    scene.card(1, ENTRY)
    scene.see(events.ReadFailed(Reason.CARD_REMOVED, EXIT), 0.1)
    assert scene.signs[None] is Reason.STATUS_GREEN
    assert scene.records == []


def test_a_refused_person_keeps_the_lane_from_nobody() -> None:
    """A refusal ends the turn at once."""
    scene = _Scene()
    scene.card(RED, ENTRY)
    scene.card(2, EXIT)
    assert scene.releases == [EXIT]


def test_the_waiting_side_s_sign_says_open_in_an_emergency() -> None:
    """With the walking person's grant ended, the other side walks too."""
    scene = _Scene()
    scene.card(1, ENTRY)
    scene.card(2, EXIT)
    scene.see(events.EmergencySeen(True), 0.1)
    assert scene.signs[None] is scene.signs[EXIT] is Reason.EMERGENCY_OPEN


def test_a_wide_lane_waits_as_long_as_it_is_set_to() -> None:
    """Its release lives so long for the turnstile, and lapses then and not before."""
    scene = _Scene(within_s=20.0)
    scene.card(1, ENTRY)
    assert scene.lives_s == [20.0]
    scene.see(events.TimeReached(), 19.9)
    assert scene.records == []
    scene.see(events.TimeReached(), 0.1)
    assert [record.outcome for record in scene.records] == ["LAPSED"]


# --- lanes that stand open -------------------------------------------------------------------------------------------


def test_flaps_close_on_a_refusal_and_on_nothing_else() -> None:
    """A grant, a passage, a lapse and time leave them open; the refused person's card closes them once."""
    scene = _Scene(normally_open=True)
    scene.card(1, ENTRY)
    scene.passes(ENTRY)
    scene.card(2, ENTRY)
    scene.see(events.TimeReached(), 9.0)
    scene.see(events.TimeReached(), 9.0)
    assert scene.closings == 0
    scene.card(RED, ENTRY)
    assert scene.closings == 1
    scene.card(3, ENTRY)
    scene.passes(ENTRY)
    assert scene.closings == 1, "closed again on nobody's refusal"
    scene.see(events.ReadFailed(Reason.CARD_UNREADABLE, ENTRY), 5.0)
    assert scene.closings == 2


def test_flaps_close_on_nobody_who_was_released() -> None:
    """Refused behind a walking person: they close when that person has passed, and not before."""
    scene = _Scene(normally_open=True)
    scene.card(1, ENTRY)
    scene.card(RED, ENTRY)
    assert scene.closings == 0
    scene.card(2, ENTRY)
    scene.passes(ENTRY)
    assert scene.closings == 0, "the next one walks"
    scene.passes(ENTRY)
    assert scene.closings == 1


@pytest.mark.parametrize(
    "opened", [events.EmergencySeen(True), events.ModeSet(LaneMode.FREE, "op"), events.TurnstileLost()]
)
def test_flaps_close_on_nobody_through_an_open_gate(opened: events.Event) -> None:
    """Neither now nor later, though somebody was refused a moment before."""
    scene = _Scene(normally_open=True)
    scene.card(1, ENTRY)
    scene.card(RED, ENTRY)
    scene.see(opened, 0.1)
    scene.card(RED, ENTRY)
    scene.passes(ENTRY)
    scene.see(events.TimeReached(), 9.0)
    assert scene.closings == 0


def test_a_lane_that_is_closed_stands_closed_until_it_is_opened() -> None:
    """Its sign says closed, its flaps are, and nobody is decided about; with its own mode they stand open again."""
    scene = _Scene(normally_open=True)
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    scene.card(1, ENTRY)
    assert (scene.stands, scene.closings, scene.releases, scene.records) == (["closed"], 0, [], [])
    assert scene.signs[None] is Reason.LANE_CLOSED
    scene.see(events.ModeSet(LaneMode.BOTH, "op"))
    assert scene.stands == ["closed", "open"]


def test_a_closed_lane_closes_behind_who_was_released() -> None:
    """Whoever holds a grant still walks; staff let somebody through, and it closes again."""
    scene = _Scene(normally_open=True)
    scene.card(1, ENTRY)
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    assert scene.stands == []
    scene.passes(ENTRY)
    assert scene.stands == ["closed"]
    scene.see(events.StaffReleased("op", "seen", ENTRY, Reason.STAFF_RELEASE), 1.0)
    scene.passes(ENTRY)
    assert scene.stands == ["closed", "open", "closed"]


def test_a_closed_lane_opens_in_an_emergency_and_closes_after_its_reset() -> None:
    """Never told to close in between, whatever staff set."""
    scene = _Scene(normally_open=True, mode=LaneMode.CLOSED)
    scene.see(events.TurnstileBack())
    assert scene.stands == ["closed"], "closed of before a restart"
    scene.see(events.EmergencySeen(True), 0.1)
    assert scene.stands == ["closed", "open"]
    scene.see(events.ModeSet(LaneMode.FREE, "op"))
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    scene.see(events.TurnstileLost(), 0.1)
    scene.see(events.TurnstileBack(), 0.1)
    scene.see(events.EmergencySeen(False), 0.1)
    assert scene.stands == ["closed", "open"]
    scene.see(events.EmergencyReset("op"), 0.1)
    assert scene.stands == ["closed", "open", "closed"]


def test_a_turnstile_that_was_lost_is_closed_again() -> None:
    """It may have lost its power, and stood open since."""
    scene = _Scene(normally_open=True, mode=LaneMode.CLOSED)
    scene.see(events.TurnstileBack())
    scene.see(events.TurnstileLost(), 5.0)
    scene.see(events.TurnstileBack(), 5.0)
    assert scene.stands == ["closed", "closed"]


def test_a_lane_that_stands_closed_is_never_told_to_close() -> None:
    """Most turnstiles could not."""
    scene = _Scene()
    scene.card(RED, ENTRY)
    assert scene.records[-1].verdict == VerdictKind.DENY
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    assert (scene.closings, scene.stands) == (0, [])


def test_a_gate_that_could_not_be_closed_yet_is_closed_when_it_works() -> None:
    """Its lane was closed before its turnstile was ever there: what was told to nobody is told again."""
    scene = _Scene(normally_open=True)
    scene.see(events.ModeSet(LaneMode.CLOSED, "op"))
    scene.see(events.TurnstileBack(), 60.0)
    assert scene.stands == ["closed", "closed"]


def test_a_gate_that_is_only_not_ready_is_opened_with_its_lane() -> None:
    """Lost to us may mean that it takes no release: it stands closed all the same, until it is told."""
    scene = _Scene(normally_open=True, mode=LaneMode.CLOSED)
    scene.see(events.TurnstileBack())
    scene.see(events.TurnstileLost(), 5.0)
    scene.see(events.ModeSet(LaneMode.BOTH, "op"))
    assert scene.stands == ["closed", "open"]
    scene.see(events.TurnstileBack(), 5.0)
    assert scene.stands == ["closed", "open"]


def test_a_hold_that_was_ordered_in_an_emergency_is_told_again_after_it() -> None:
    """Hardware held it open then and no longer does; the lane is free."""
    scene = _Scene()
    scene.see(events.TurnstileBack())
    scene.see(events.EmergencySeen(True), 0.1)
    scene.see(events.ModeSet(LaneMode.FREE, "op"))
    scene.see(events.EmergencySeen(False), 0.1)
    held = scene.holds
    scene.see(events.EmergencyReset("op"), 0.1)
    assert scene.holds == held + 1


_HAPPENS = {
    **{f"mode {mode}": events.ModeSet(mode, "op") for mode in LaneMode},
    "fire": events.EmergencySeen(True),
    "fire over": events.EmergencySeen(False),
    "reset": events.EmergencyReset("op"),
    "lost": events.TurnstileLost(),
    "not ready": events.TurnstileLost(),
    "back": events.TurnstileBack(),
    "staff": events.StaffReleased("op", "seen", ENTRY, Reason.STAFF_RELEASE),
    "passes": events.PersonPassed(ENTRY),
    "other way": events.PersonPassed(EXIT),
    "time": events.TimeReached(),
}


@dataclass
class _Flaps(_Scene):
    """A gate that stands open at rest, as its driver leaves it: what closes it, and everything that opens it."""

    is_there: bool = False  # it takes commands, ready for a release or not
    is_shut: bool = False

    def _take(self, command: Command) -> None:
        match command:
            case StandClosed():
                assert not self.lane.emergency
                self.is_shut = self.is_there
            case StandOpen() | Release() | HoldOpen() if self.is_there:
                self.is_shut = False
        super()._take(command)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([*_HAPPENS, "card", "card back"]), max_size=30))
def test_flaps_are_shut_in_a_closed_lane_and_in_no_other(steps: list[str]) -> None:
    """CLOSED, FREE, emergency, reset, lost, back in any order, two ways: shut exactly when the lane is closed, its
    turnstile works, and nobody holds a grant; open in every emergency.
    """
    scene = _Flaps(normally_open=True)
    works = False
    for step in steps:
        if step in ("lost", "not ready", "back"):
            works = step == "back"
            scene.is_there = works or (scene.is_there and step == "not ready")
            scene.is_shut = scene.is_shut and scene.is_there  # one that is lost stands open by itself
        if step == "fire":
            scene.is_shut = False  # hardware, and the driver by itself
        if step.startswith("card"):
            scene.card(1, EXIT if step.endswith("back") else ENTRY, 9.0)
        else:
            scene.see(_HAPPENS[step], 9.0 if step == "time" else 0.1)
        barrier = scene.lane.barrier
        closed = scene.lane.mode is LaneMode.CLOSED and not scene.lane.emergency and barrier.current is None
        if closed and works:
            assert scene.is_shut
        if not closed:
            assert not scene.is_shut


class _OpenWorld(_World):
    """The two lanes of `test_tables`, standing open."""

    def __init__(self) -> None:
        super().__init__(answer_at_once=True)
        for lane in self.lanes:
            lane.barrier._normally_open = True

    def _check(self, lane: int, command: Command) -> None:
        if isinstance(command, Refuse | StandClosed):
            barrier = self.lanes[lane].barrier
            assert not barrier.emergency, "something was commanded closed in an emergency"
            assert barrier.state is BarrierState.CLOSED
            assert barrier.current is None, "closed on somebody who was released"
        super()._check(lane, command)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS)
def test_no_order_of_events_closes_on_anybody(steps: list[tuple[int, str, int, float]]) -> None:
    """Never in an emergency, never while held open, never while somebody holds a grant."""
    world = _OpenWorld()
    for step in steps:
        world.step(*step)
