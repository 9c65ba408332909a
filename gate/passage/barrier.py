"""The barrier of one lane as a table. One grant frees it for one person; only a confirmed passage counts a person."""

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from gate.moment import Moment
from gate.passage.attempt import Attempt
from gate.passage.claims import Claims
from gate.passage.commands import (
    Command,
    Direction,
    EndHold,
    HoldOpen,
    Refuse,
    Release,
    Say,
    Show,
    StandClosed,
    StandOpen,
    WriteRecord,
)
from gate.policy.verdict import Reason, VerdictKind


class BarrierState(enum.StrEnum):
    """What the barrier is to us; the hardware may always be opened without us."""

    CLOSED = "CLOSED"
    RELEASED = "RELEASED"
    FAULTED = "FAULTED"
    HELD_OPEN = "HELD_OPEN"


class Trigger(enum.StrEnum):
    """What can happen to a barrier."""

    GRANT = "GRANT"
    ACCEPTED = "ACCEPTED"
    REFUSED = "REFUSED"
    UNCERTAIN = "UNCERTAIN"
    PASSED = "PASSED"
    WRONG_WAY = "WRONG_WAY"
    SECOND_PERSON = "SECOND_PERSON"
    TIME_UP = "TIME_UP"
    LOST = "LOST"
    BACK = "BACK"
    HOLD = "HOLD"
    END_HOLD = "END_HOLD"
    STOP = "STOP"


class Action(enum.StrEnum):
    """What is done on the way; each is a method of `Barrier`."""

    NOTHING = "nothing"
    RELEASE = "release"
    KEEP_WAITING = "keep_waiting"
    TURN_AWAY = "turn_away"
    WAVE_THROUGH = "wave_through"
    MARK_RELEASED = "mark_released"
    END_PASSED = "end_passed"
    END_LAPSED = "end_lapsed"
    END_REFUSED = "end_refused"
    END_FAULTED = "end_faulted"
    END_STOPPED = "end_stopped"
    NOTE_UNGRANTED = "note_ungranted"
    NOTE_TAILGATING = "note_tailgating"
    COUNT_FREE = "count_free"
    HOLD = "hold"
    END_HOLD = "end_hold"
    SETTLE = "settle"


_S, _T, _A = BarrierState, Trigger, Action

# Every state answers every trigger: an absent cell is a fault of the table, and a test walks all of them.
TABLE: Mapping[BarrierState, Mapping[Trigger, tuple[BarrierState, Action]]] = {
    _S.CLOSED: {
        _T.GRANT: (_S.RELEASED, _A.RELEASE),
        _T.ACCEPTED: (_S.CLOSED, _A.NOTHING),  # the answer came after the passage
        _T.REFUSED: (_S.CLOSED, _A.NOTHING),
        _T.UNCERTAIN: (_S.CLOSED, _A.NOTHING),
        _T.PASSED: (_S.CLOSED, _A.NOTE_UNGRANTED),
        _T.WRONG_WAY: (_S.CLOSED, _A.NOTE_UNGRANTED),
        _T.SECOND_PERSON: (_S.CLOSED, _A.NOTE_TAILGATING),
        _T.TIME_UP: (_S.CLOSED, _A.NOTHING),
        _T.LOST: (_S.FAULTED, _A.NOTHING),
        _T.BACK: (_S.CLOSED, _A.SETTLE),
        _T.HOLD: (_S.HELD_OPEN, _A.HOLD),
        _T.END_HOLD: (_S.CLOSED, _A.NOTHING),
        _T.STOP: (_S.CLOSED, _A.NOTHING),
    },
    _S.RELEASED: {
        _T.GRANT: (_S.RELEASED, _A.KEEP_WAITING),
        _T.ACCEPTED: (_S.RELEASED, _A.MARK_RELEASED),
        _T.REFUSED: (_S.CLOSED, _A.END_REFUSED),
        _T.UNCERTAIN: (_S.RELEASED, _A.NOTHING),  # watched as if it had opened
        _T.PASSED: (_S.CLOSED, _A.END_PASSED),
        _T.WRONG_WAY: (_S.RELEASED, _A.NOTE_UNGRANTED),
        _T.SECOND_PERSON: (_S.RELEASED, _A.NOTE_TAILGATING),
        _T.TIME_UP: (_S.CLOSED, _A.END_LAPSED),
        _T.LOST: (_S.FAULTED, _A.END_FAULTED),
        _T.BACK: (_S.RELEASED, _A.NOTHING),
        _T.HOLD: (_S.HELD_OPEN, _A.HOLD),
        _T.END_HOLD: (_S.RELEASED, _A.NOTHING),
        _T.STOP: (_S.CLOSED, _A.END_STOPPED),
    },
    _S.FAULTED: {
        _T.GRANT: (_S.FAULTED, _A.TURN_AWAY),
        _T.ACCEPTED: (_S.FAULTED, _A.NOTHING),
        _T.REFUSED: (_S.FAULTED, _A.NOTHING),
        _T.UNCERTAIN: (_S.FAULTED, _A.NOTHING),
        _T.PASSED: (_S.FAULTED, _A.NOTE_UNGRANTED),
        _T.WRONG_WAY: (_S.FAULTED, _A.NOTE_UNGRANTED),
        _T.SECOND_PERSON: (_S.FAULTED, _A.NOTE_TAILGATING),
        _T.TIME_UP: (_S.FAULTED, _A.NOTHING),
        _T.LOST: (_S.FAULTED, _A.NOTHING),
        _T.BACK: (_S.CLOSED, _A.SETTLE),
        _T.HOLD: (_S.HELD_OPEN, _A.HOLD),
        _T.END_HOLD: (_S.FAULTED, _A.NOTHING),
        _T.STOP: (_S.FAULTED, _A.NOTHING),
    },
    _S.HELD_OPEN: {
        _T.GRANT: (_S.HELD_OPEN, _A.WAVE_THROUGH),
        _T.ACCEPTED: (_S.HELD_OPEN, _A.NOTHING),
        _T.REFUSED: (_S.HELD_OPEN, _A.NOTHING),
        _T.UNCERTAIN: (_S.HELD_OPEN, _A.NOTHING),
        _T.PASSED: (_S.HELD_OPEN, _A.COUNT_FREE),
        _T.WRONG_WAY: (_S.HELD_OPEN, _A.COUNT_FREE),
        _T.SECOND_PERSON: (_S.HELD_OPEN, _A.NOTHING),  # nobody is forbidden to follow through an open gate
        _T.TIME_UP: (_S.HELD_OPEN, _A.NOTHING),
        _T.LOST: (_S.HELD_OPEN, _A.NOTHING),
        _T.BACK: (_S.HELD_OPEN, _A.HOLD),
        _T.HOLD: (_S.HELD_OPEN, _A.HOLD),
        _T.END_HOLD: (_S.CLOSED, _A.END_HOLD),
        _T.STOP: (_S.HELD_OPEN, _A.NOTHING),
    },
}


@dataclass(frozen=True, slots=True)
class Grant:
    """A right to pass, held by one attempt until it is used or has lapsed."""

    number: int
    attempt: Attempt
    lapses_mono_s: float


class Barrier:
    """Runs the table. `emergency` and `lost` are facts beside the state: they change which commands are allowed."""

    def __init__(
        self,
        lane: str,
        claims: Claims,
        new_id: Callable[[], str],
        release_within_s: float,
        tailgate_s: float,
        normally_open: bool = False,
    ) -> None:
        self.state = BarrierState.CLOSED
        self.emergency = False
        self.held_by_us = False
        self.current: Grant | None = None
        self.waiting: Grant | None = None
        self._lost = False
        # Nobody knows what the board was told before we started: the first time it works, a hold is ended.
        self._board_may_hold = True
        self._direction = Direction.ENTRY
        self._lane = lane
        self._claims = claims
        self._new_id = new_id
        self._within_s = release_within_s
        self._tailgate_s = tailgate_s
        self._normally_open = normally_open  # stands open at rest, closes on a refusal
        self._close_due = False
        self.kept_closed = False  # its lane is closed
        self.stands_closed = False  # as it was told last; only one that stands open at rest is told
        self._last_passed_s = float("-inf")
        self._numbers = 0
        self._arriving: Attempt | None = None

    @property
    def deadline_mono_s(self) -> float | None:
        """When the next grant lapses; None when there is none."""
        grants = [grant.lapses_mono_s for grant in (self.current, self.waiting) if grant]
        return min(grants, default=None)

    @property
    def ways(self) -> frozenset[Direction]:
        """Which ways people have been granted and have not gone yet."""
        return frozenset(grant.attempt.direction for grant in (self.current, self.waiting) if grant)

    @property
    def open_outcome(self) -> str:
        """How a passage through the held barrier is written down."""
        return "EMERGENCY" if self.emergency else "FREE"

    def grant(self, attempt: Attempt, now: Moment) -> list[Command]:
        """Somebody may pass."""
        self._arriving = attempt
        commands = self.fire(Trigger.GRANT, now)
        self._arriving = None
        return commands

    def answered(self, number: int, trigger: Trigger, now: Moment) -> list[Command]:
        """The turnstile answered the release of grant `number`; an answer to an earlier one says nothing any more."""
        if self.current is None or self.current.number != number:
            return []
        return self.fire(trigger, now)

    def passed(self, direction: Direction, now: Moment) -> list[Command]:
        """The sensor saw one person."""
        wrong = self.current is not None and self.current.attempt.direction is not direction
        self._direction = direction
        return self.fire(Trigger.WRONG_WAY if wrong else Trigger.PASSED, now)

    def lost(self, lost: bool, now: Moment) -> list[Command]:
        """The turnstile went down or came back."""
        self._lost = lost
        if not lost and self.kept_closed:
            self.stands_closed = False  # what it was told before may have been refused, or ended with its power
        return self.fire(Trigger.LOST if lost else Trigger.BACK, now)

    def time(self, now: Moment) -> list[Command]:
        """Let lapse what is due."""
        commands: list[Command] = []
        if self.waiting and now.mono_s >= self.waiting.lapses_mono_s:
            commands += self._end(self.waiting.attempt, "LAPSED")
            self.waiting = None
        if self.current and now.mono_s >= self.current.lapses_mono_s:
            commands += self.fire(Trigger.TIME_UP, now)
        return commands

    def turn_waiting_away(self) -> list[Command]:
        """Who waits behind the walking one is not released: the lane was closed, or somebody works in it."""
        waiting, self.waiting = self.waiting, None
        return self._end(waiting.attempt, "LAPSED") if waiting else []

    def refused(self) -> list[Command]:
        """Somebody was refused: a gate that stands open closes, or does so when who is released has gone."""
        self._close_due = self._normally_open
        return self._close()

    def _close(self) -> list[Command]:
        if not self._close_due or self.state is BarrierState.RELEASED:
            return []
        self._close_due = False
        closes = self.state is BarrierState.CLOSED and not self.emergency and not self.stands_closed
        return [Refuse()] if closes else []

    def _stand(self) -> list[Command]:
        """In a closed lane, once nobody holds a grant, a gate that stands open at rest is kept closed."""
        if self.state is BarrierState.FAULTED and self.kept_closed:
            return []  # one that is lost stands open by itself; one that is only not ready stays as it was told
        rests = self.state is BarrierState.CLOSED and not self.emergency
        closed = self._normally_open and self.kept_closed and rests
        if closed is self.stands_closed:
            return []
        self.stands_closed = closed
        return [StandClosed() if closed else StandOpen()]

    def fire(self, trigger: Trigger, now: Moment) -> list[Command]:
        """Take one step of the table."""
        self.state, action = TABLE[self.state][trigger]
        act: Callable[[Moment], list[Command]] = getattr(self, f"_{action}")
        commands = act(now)
        if self.state is not BarrierState.RELEASED and self.waiting:
            waiting, self.waiting = self.waiting, None
            commands += self.grant(waiting.attempt, now)
        return [*commands, *self._close(), *self._stand()]

    def _nothing(self, now: Moment) -> list[Command]:
        return []

    def _release(self, now: Moment) -> list[Command]:
        self.current = self._new_grant(now)
        attempt = self.current.attempt
        assert attempt.verdict is not None  # noqa: S101 - only a verdict or staff action makes a grant
        reason = attempt.verdict.reason
        release = Release(self.current.number, attempt.direction, self._within_s)
        way = attempt.direction
        return [release, Show(VerdictKind.GRANT, reason, attempt.verdict, to=way), Say(reason, to=way)]

    def _keep_waiting(self, now: Moment) -> list[Command]:
        # The sign stays the walking person's; the waiting one is told to go when it is their turn.
        if self.waiting is None:
            self.waiting = self._new_grant(now)
            return []
        return self._turn_away(now, Reason.LANE_BUSY)

    def _turn_away(self, now: Moment, why: Reason = Reason.BARRIER_FAULT) -> list[Command]:
        outcome = "BARRIER_FAULTED" if why is Reason.BARRIER_FAULT else "LAPSED"
        return [*self._end(self._taken(), outcome), Show(VerdictKind.REFER, why), Say(why)]

    def _wave_through(self, now: Moment) -> list[Command]:
        # The gate is open; the person is counted by the sensor like everybody else.
        return self._end(self._taken(), self.open_outcome)

    def _mark_released(self, now: Moment) -> list[Command]:
        if self.current:
            self.current = replace(self.current, attempt=self.current.attempt.stage("release", now))
        return []

    def _end_passed(self, now: Moment) -> list[Command]:
        self._last_passed_s = now.mono_s
        attempt = self._spent().stage("passage", now)
        self._claims.keep(attempt, now)
        return [WriteRecord(attempt.record("PASSED")), Show(None, None)]

    def _end_lapsed(self, now: Moment) -> list[Command]:
        return [*self._end(self._spent(), "LAPSED"), Show(None, None)]

    def _end_refused(self, now: Moment) -> list[Command]:
        return [*self._end(self._spent(), "RELEASE_REFUSED"), Show(VerdictKind.REFER, Reason.BARRIER_FAULT)]

    def _end_faulted(self, now: Moment) -> list[Command]:
        return [*self._end(self._spent(), "BARRIER_FAULTED"), Show(VerdictKind.REFER, Reason.BARRIER_FAULT)]

    def _end_stopped(self, now: Moment) -> list[Command]:
        waiting, self.waiting = self.waiting, None
        commands = self._end(waiting.attempt, "CONTROLLER_STOPPED") if waiting else []
        return [*commands, *self._end(self._spent(), "CONTROLLER_STOPPED")]

    def _note_ungranted(self, now: Moment) -> list[Command]:
        tailgated = now.mono_s - self._last_passed_s < self._tailgate_s
        return self._note("TAILGATED" if tailgated else "INTRUDED", now)

    def _note_tailgating(self, now: Moment) -> list[Command]:
        self._direction = self.current.attempt.direction if self.current else Direction.ENTRY
        return self._note("TAILGATED", now)

    def _count_free(self, now: Moment) -> list[Command]:
        return self._note(self.open_outcome, now)

    def _hold(self, now: Moment) -> list[Command]:
        commands: list[Command] = []
        if self.current:
            commands += self._end(self._spent(), self.open_outcome)
        if self.emergency:
            self._board_may_hold = True  # a release that it met in mid-pulse was left open by the driver
        if self.held_by_us and not self._lost:
            self._board_may_hold = True
            commands.append(HoldOpen())
        return commands

    def _end_hold(self, now: Moment) -> list[Command]:
        if self._lost:
            self.state = BarrierState.FAULTED
            return []
        return self._settle(now)

    def _settle(self, now: Moment) -> list[Command]:
        if self.emergency or not self._board_may_hold:
            return []
        self._board_may_hold = False
        return [EndHold()]

    def _note(self, outcome: str, now: Moment) -> list[Command]:
        unannounced = Attempt(self._new_id(), self._lane, self._direction, "NONE", now)
        return [WriteRecord(unannounced.record(outcome))]

    def _new_grant(self, now: Moment) -> Grant:
        self._numbers += 1
        return Grant(self._numbers, self._taken(), now.mono_s + self._within_s)

    def _taken(self) -> Attempt:
        attempt, self._arriving = self._arriving, None
        if attempt is None:
            raise AssertionError("GRANT fired without an attempt")
        return attempt

    def _spent(self) -> Attempt:
        grant, self.current = self.current, None
        if grant is None:
            raise AssertionError("RELEASED without a grant")
        return grant.attempt

    def _end(self, attempt: Attempt, outcome: str) -> list[Command]:
        """Nobody passed on this grant that we know of: the traveller may try again."""
        self._claims.give_back(attempt)
        return [WriteRecord(attempt.record(outcome))]
