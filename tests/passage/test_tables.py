"""The two tables: complete, and safe for any order of events."""

import itertools
from datetime import date
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.certificate import Certificate
from gate.credential.documents import DocumentType, document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.feed.finding import Finding, Freshness, Listed, NotListed
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.passage import events
from gate.passage.barrier import TABLE, Action, Barrier, BarrierState, Trigger
from gate.passage.claims import Claims
from gate.passage.commands import AskIssuers, Command, Direction, EndHold, FindStatus, LaneMode, Release, WriteRecord
from gate.passage.lane import Lane
from gate.passage.pairing import FRONT, FrontAction, FrontState, FrontTrigger
from gate.passage.record import PassageRecord
from gate.policy.decide import Question
from gate.policy.verdict import Reason
from gate.station.rulefiles import read_rules
from tests.support.diagram import page

START_UTC_S = 1_590_000_000.0  # May 2020, when the shipped rule is in force
RULES = read_rules(None)
NUMBERS = ("310105199001010018", "33010619850203002X", "320102197803040030", "340102199912310044")


def test_every_state_answers_every_trigger() -> None:
    """No cell is missing, and every action is something that can be done."""
    assert set(TABLE) == set(BarrierState)
    assert all(set(row) == set(Trigger) for row in TABLE.values())
    assert all(hasattr(Barrier, f"_{action}") for action in Action)
    assert set(FRONT) == set(FrontState)
    assert all(set(row) == set(FrontTrigger) for row in FRONT.values())
    used = {action for row in (*TABLE.values(), *FRONT.values()) for _, action in row.values()}
    assert used == set(Action) | set(FrontAction), "an action that no cell uses is dead"


def test_only_a_grant_releases_and_only_held_open_ends_a_hold() -> None:
    """In the whole table RELEASE follows GRANT alone, and no other state ends a hold but the one that holds."""
    for state, trigger in itertools.product(BarrierState, Trigger):
        target, action = TABLE[state][trigger]
        assert (action is Action.RELEASE) <= (state is BarrierState.CLOSED and trigger is Trigger.GRANT)
        assert (action is Action.END_HOLD) <= (state is BarrierState.HELD_OPEN)
        assert (target is BarrierState.RELEASED) <= (action is Action.RELEASE or state is BarrierState.RELEASED)


def test_the_readme_shows_these_tables() -> None:
    """The picture in the README is drawn from the tables that run."""
    readme = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
    shown = readme.split("<!-- diagram:begin -->")[1].split("<!-- diagram:end -->")[0]
    assert shown.strip() == page(), "run: python -m tests.support.diagram, and paste it"


def _card(number: int) -> IdCard:
    return IdCard(document(DocumentType.PASSPORT, f"E1234567{number}"), None, None)


def _code() -> HealthCode:
    return HealthCode("SSM", "SSM_APP", "x", dynamic=True, issued_utc_s=START_UTC_S, max_age_s=60.0)


PAPER = Certificate("K1", "330106", date(2020, 5, 21), date(2020, 5, 21), b"", b"", b"", b"")


def _found(query: int, status: CredentialStatus | None, person: int, now: Moment) -> events.StatusFound:
    freshness = Freshness(now.utc_s - 60)
    finding: Finding = NotListed("SSM", 1, freshness)
    if status is not None:
        finding = Listed("SSM", status, "310000", 0, None, 1, freshness)
    mark = f"person {person}".encode()
    askable = ("SSM",) if status is None else ()
    problem = Reason.CODE_OF_ANOTHER if status is CredentialStatus.GREY else None
    return events.StatusFound(query, Question((finding,)), (mark,), mark, askable, problem)


# One step: (lane, what, number, seconds since the step before).
STEPS = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.sampled_from(
            [
                *["card"] * 6,
                *["found"] * 3,
                *["passed"] * 4,
                *["accepted"] * 2,
                "refused",
                "unknown",
                *["code"] * 2,
                "certificate",
                "unread",
                "second",
                "wrong way",
                "lost",
                "back",
                *["emergency"] * 2,
                "calm",
                "reset",
                *["staff"] * 2,
                *["mode"] * 2,
                "time",
                "stopping",
            ]
        ),
        st.integers(0, 8),
        st.sampled_from([0.0, 0.0, 0.01, 0.5, 9.0]),
    ),
    min_size=30,  # short lives reach little
    max_size=80,
)


class _World:
    """Two lanes that share anti-passback, and everything they ever commanded."""

    def __init__(self, answer_at_once: bool) -> None:
        claims = Claims()
        numbers = itertools.count()
        self.lanes = [
            Lane(f"A{n}", LaneMode.BOTH, RULES, claims, new_id=lambda: f"passage {next(numbers)}") for n in (0, 1)
        ]
        self.now = Moment(START_UTC_S, 0.0)
        self.records: list[PassageRecord] = []
        self.releases: list[tuple[int, int]] = []  # lane, grant
        self.staff = 0
        self._answer_at_once = answer_at_once
        self._queries: list[list[int]] = [[], []]

    def step(self, lane: int, what: str, number: int, wait_s: float) -> None:
        self.now = self.now.plus(wait_s)
        event = self._event(lane, what, number)
        if event is not None:
            self.handle(lane, event)

    def handle(self, lane: int, event: events.Event) -> None:
        core = self.lanes[lane]
        for command in core.handle(event, self.now):
            self._check(lane, command)

    def _check(self, lane: int, command: Command) -> None:
        core = self.lanes[lane]
        match command:
            case EndHold():
                assert not core.emergency, "something was commanded closed in an emergency"
            case Release(grant=grant):
                assert not core.emergency
                assert core.barrier.current is not None
                verdict = core.barrier.current.attempt.verdict
                assert verdict is not None
                assert verdict.kind == "GRANT"
                if verdict.reason is Reason.STAFF_RELEASE:
                    assert self.staff, "a staff release that no staff ordered"
                self.releases.append((lane, grant))
            case AskIssuers(query=query):
                self._queries[lane].append(query)
            case FindStatus(query=query):
                self._queries[lane].append(query)
                if self._answer_at_once:
                    self.handle(lane, _found(query, CredentialStatus.GREEN, query % 4, self.now))
            case WriteRecord(record=record):
                self.records.append(record)

    def _event(self, lane: int, what: str, number: int) -> events.Event | None:
        way = Direction.ENTRY if number % 3 else Direction.EXIT
        grants = [grant for at, grant in self.releases if at == lane]
        grant = grants[-1 - number % len(grants)] if grants else number
        queries = self._queries[lane]
        self.staff += what == "staff"
        statuses = [CredentialStatus.GREEN, CredentialStatus.GREEN, CredentialStatus.RED, CredentialStatus.GREY, None]
        table: dict[str, events.Event | None] = {
            "card": events.CardRead(_card(number % 4), way),
            "code": events.CodeScanned(_code(), way, b"shown" * (number % 2)),
            "certificate": events.CertificateScanned(PAPER, way),
            "unread": events.ReadFailed(Reason.CARD_REMOVED, way),
            "found": _found(queries[-1 - number % len(queries)], statuses[number % 5], number % 4, self.now)
            if queries
            else None,
            "accepted": events.ReleaseAccepted(grant),
            "refused": events.ReleaseRefused(grant),
            "unknown": events.ReleaseUnknown(grant),
            "passed": events.PersonPassed(way),
            "wrong way": events.PersonPassed(Direction.EXIT),
            "second": events.SecondPerson(),
            "lost": events.TurnstileLost(),
            "back": events.TurnstileBack(),
            "emergency": events.EmergencySeen(True),
            "calm": events.EmergencySeen(False),
            "reset": events.EmergencyReset("op"),
            "staff": events.StaffReleased("op", "why", way),
            "mode": events.ModeSet(list(LaneMode)[number % len(LaneMode)], "op"),
            "time": events.TimeReached(),
            "stopping": events.Stopping() if number == 8 else None,
        }
        return table[what]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(STEPS, st.booleans())
def test_no_order_of_events_breaks_a_promise(steps: list[tuple[int, str, int, float]], at_once: bool) -> None:
    """Never two passages for one grant, a release without verdict or staff, a close in EMERGENCY, or a lost attempt."""
    world = _World(at_once)
    for step in steps:
        world.step(*step)
    for lane in (0, 1):
        world.handle(lane, events.Stopped())
    ids = [record.passage_id for record in world.records]
    assert len(ids) == len(set(ids)), "one attempt was written down twice"
    granted = [r for r in world.records if r.outcome == "PASSED"]
    assert all(record.verdict == "GRANT" for record in granted)
    assert len(granted) <= len(world.releases), "more passages than releases"
    assert len(set(world.releases)) == len(world.releases), "one grant was released twice"
    assert all(lane.barrier.current is None and lane.barrier.waiting is None for lane in world.lanes)
    assert all(lane.front is FrontState.IDLE for lane in world.lanes)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(STEPS)
def test_nobody_passes_twice_on_one_claim(steps: list[tuple[int, str, int, float]]) -> None:
    """The same traveller in the same direction is not counted twice within the time, over both lanes."""
    world = _World(answer_at_once=True)
    last: dict[tuple[bytes, str], float] = {}
    for step in steps:
        before = len(world.records)
        world.step(*step)
        for record in world.records[before:]:
            if record.outcome == "PASSED" and record.subject:
                key = (record.subject, record.direction)
                assert world.now.mono_s - last.get(key, -1e9) >= 120.0
                last[key] = world.now.mono_s
