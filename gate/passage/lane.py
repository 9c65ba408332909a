"""One lane, one person after the other: events in, commands out. No IO and no clock; the runner does and times both."""

from collections.abc import Callable
from dataclasses import dataclass

from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.credential.presentation import Presentation
from gate.moment import Moment
from gate.passage import events
from gate.passage.attempt import Attempt
from gate.passage.barrier import Barrier, BarrierState, Trigger
from gate.passage.commands import Command, Direction, FindStatus, LaneMode, Say, Show, WakeAt, WriteRecord
from gate.passage.pairing import FRONT, FrontAction, FrontState, FrontTrigger
from gate.policy.antipassback import AntiPassback
from gate.policy.decide import decide
from gate.policy.rules import RuleSet
from gate.policy.verdict import Reason, Verdict, VerdictKind


@dataclass(frozen=True, slots=True)
class LaneTimes:
    """The limits of a lane's waits, in seconds."""

    pairing_window_s: float = 5.0  # how long a code waits for its card: time to take a card out
    lookup_limit_s: float = 0.8  # health-codes.md 3.1: never wait longer in the lane
    release_within_s: float = 8.0  # the longest passage wait of the controllers in devices.md 3.1 (PERCo ST-01)
    tailgate_s: float = 2.0  # a second person this soon after the first followed on the same release
    sign_s: float = 3.0  # how long a verdict stays on the sign when nothing else happens


# In these modes a credential leads to no decision, and the sign says why without being asked.
_SILENT_MODES = {
    LaneMode.CLOSED: (VerdictKind.DENY, Reason.LANE_CLOSED),
    LaneMode.MAINTENANCE: (VerdictKind.REFER, Reason.LANE_MAINTENANCE),
    LaneMode.FREE: (VerdictKind.GRANT, Reason.CROWD_RELEASE),
}
_ONE_WAY = {LaneMode.ENTRY: Direction.ENTRY, LaneMode.EXIT: Direction.EXIT}


class Lane:
    """Runs both tables of one lane. `has_turnstile` False: verdicts are shown and nobody is counted."""

    def __init__(
        self,
        lane_id: str,
        mode: LaneMode,
        rules: RuleSet,
        passback: AntiPassback,
        new_id: Callable[[], str],
        has_turnstile: bool = True,
        times: LaneTimes | None = None,
        emergency: bool = False,
    ) -> None:
        self.id = lane_id
        self.mode = mode
        self.front = FrontState.IDLE
        self.emergency_input = False
        self.has_turnstile = has_turnstile
        self._rules = rules
        self._passback = passback
        self._new_id = new_id
        self._times = times or LaneTimes()
        self.barrier = Barrier(lane_id, passback, new_id, self._times.release_within_s, self._times.tailgate_s)
        self._attempt: Attempt | None = None
        self._code: HealthCode | None = None
        self._query = 0
        self._front_deadline_s: float | None = None
        self._sign_deadline_s: float | None = None
        self._wake_s: float | None = None
        self._stopped = False
        self.barrier.emergency = emergency  # of before a restart: it holds until it is reset by hand
        self.barrier.held_by_us = has_turnstile and mode is LaneMode.FREE
        if emergency or self.barrier.held_by_us:
            self.barrier.state = BarrierState.HELD_OPEN

    @property
    def emergency(self) -> bool:
        """Whether the emergency holds: seen, and not yet reset by hand."""
        return self.barrier.emergency

    @property
    def busy(self) -> bool:
        """Whether somebody is under way: being checked, or holding a grant."""
        return self.front is not FrontState.IDLE or self.barrier.deadline_mono_s is not None

    @property
    def resting_sign(self) -> tuple[VerdictKind | None, Reason | None]:
        """What the sign says while nobody is being served; (None, None) is "ready"."""
        if self.emergency:
            return VerdictKind.GRANT, Reason.EMERGENCY_OPEN
        if self.mode is not LaneMode.FREE and self._stopped:
            return VerdictKind.REFER, Reason.CONTROLLER_STOPPED
        return _SILENT_MODES.get(self.mode, (None, None))

    @property
    def _open_to_all(self) -> bool:
        return self.emergency or self.mode is LaneMode.FREE

    def handle(self, event: events.Event, now: Moment) -> list[Command]:
        """Everything that follows from `event` at `now`."""
        commands = self._signed(self._take(event, now), now)
        wake_s = self._next_wake()
        if wake_s != self._wake_s:
            self._wake_s = wake_s
            commands.append(WakeAt(wake_s))
        return commands

    def _signed(self, commands: list[Command], now: Moment) -> list[Command]:
        """`commands` with the sign's rest filled in; an open gate says "open", whoever presents what."""
        signed: list[Command] = []
        for command in commands:
            if isinstance(command, Show):
                rests = command.verdict is None or self._open_to_all
                stays = rests or self.barrier.state is BarrierState.RELEASED
                self._sign_deadline_s = None if stays else now.mono_s + self._times.sign_s
                signed.append(Show(*self.resting_sign) if rests else command)
            elif not (isinstance(command, Say) and self._open_to_all and command.reason is not self.resting_sign[1]):
                signed.append(command)
        return signed

    def _take(self, event: events.Event, now: Moment) -> list[Command]:
        match event:
            case events.CardRead() | events.CodeScanned() | events.ReadFailed():
                return self._presented(event, now)
            case events.StatusFound(query=query) if query == self._query:
                return self._step(FrontTrigger.FOUND, event, now)
            case events.ReleaseAccepted(grant=grant):
                return self.barrier.answered(grant, Trigger.ACCEPTED, now)
            case events.ReleaseRefused(grant=grant):
                return self.barrier.answered(grant, Trigger.REFUSED, now)
            case events.ReleaseUnknown(grant=grant):
                return self.barrier.answered(grant, Trigger.UNCERTAIN, now)
            case events.PersonPassed(direction=direction):
                return self.barrier.passed(direction, now)
            case events.SecondPerson():
                return self.barrier.fire(Trigger.SECOND_PERSON, now)
            case events.TurnstileLost() | events.TurnstileBack() if self.has_turnstile:
                return self.barrier.lost(isinstance(event, events.TurnstileLost), now)
            case events.EmergencySeen():
                return self._emergency_seen(event, now)
            case events.EmergencyReset():
                return self._emergency_reset(now)
            case events.StaffReleased():
                return self._staff_released(event, now)
            case events.ModeSet():
                return self._mode_set(event, now)
            case events.TimeReached():
                return self._time(now)
            case events.Stopping():
                self._stopped = True
                return [] if self.busy else [Show(None, None)]
            case events.Stopped():
                self._stopped = True
                return [*self._step(FrontTrigger.STOP, event, now), *self.barrier.fire(Trigger.STOP, now)]
        return []

    # --- the front -----------------------------------------------------------------------------------------------

    def _presented(self, event: events.CardRead | events.CodeScanned | events.ReadFailed, now: Moment) -> list[Command]:
        _, why_not = self.resting_sign
        if why_not is not None:
            return [Show(None, None), Say(why_not)]
        if _ONE_WAY.get(self.mode, event.direction) is not event.direction:
            return [Show(VerdictKind.DENY, Reason.LANE_CLOSED)]
        match event:
            case events.CardRead():
                return self._step(FrontTrigger.CARD, event, now)
            case events.CodeScanned():
                return self._step(FrontTrigger.CODE, event, now)
            case events.ReadFailed():
                return self._step(FrontTrigger.UNREAD, event, now)

    def _step(self, trigger: FrontTrigger, event: events.Event, now: Moment) -> list[Command]:
        self.front, action = FRONT[self.front][trigger]
        match action, event:
            case FrontAction.ASK_STATUS, events.CardRead(card=card, direction=direction):
                return self._ask_status(card, direction, now)
            case FrontAction.ASK_FOR_CARD, events.CodeScanned(code=code, direction=direction):
                return self._ask_for_card(code, direction, now)
            case FrontAction.SAY_UNREAD, events.ReadFailed(why=why, direction=direction):
                return self._say_unread(why, direction, now)
            case FrontAction.DECIDE, events.StatusFound():
                return self._decide(event, now)
            case FrontAction.REFER_CODE_ALONE, _:
                return self._refuse(self._given_up(), Verdict(VerdictKind.REFER, Reason.CODE_NEEDS_CARD, rule_id=""))
            case FrontAction.REFER_LATE, _:
                return self._refuse(self._given_up(), Verdict(VerdictKind.REFER, Reason.LOOKUP_LATE, rule_id=""))
            case FrontAction.LET_GO, _:
                return [WriteRecord(self._given_up().record(self.barrier.open_outcome))]
            case FrontAction.STOP, _:
                verdict = Verdict(VerdictKind.REFER, Reason.CONTROLLER_STOPPED, rule_id="")
                return [WriteRecord(self._given_up().with_verdict(verdict).record("CONTROLLER_STOPPED"))]
            case FrontAction.SAY_BUSY, _:
                return [Show(VerdictKind.REFER, Reason.LANE_BUSY)]
        return []

    def _ask_status(self, card: IdCard, direction: Direction, now: Moment) -> list[Command]:
        kind = "CARD_AND_CODE" if self._code else "CARD"
        started = self._attempt.started if self._attempt else now
        attempt = Attempt(self._new_id(), self.id, direction, kind, started)
        self._attempt = attempt.stage("pairing", now) if self._attempt else attempt
        presentation = Presentation(card, self._code)
        self._code = None
        self._query += 1
        self._front_deadline_s = now.mono_s + self._times.lookup_limit_s
        return [FindStatus(self._query, presentation)]

    def _ask_for_card(self, code: HealthCode, direction: Direction, now: Moment) -> list[Command]:
        self._code = code
        self._attempt = Attempt(self._new_id(), self.id, direction, "CODE", now)
        self._front_deadline_s = now.mono_s + self._times.pairing_window_s
        return [Show(VerdictKind.REFER, Reason.CODE_NEEDS_CARD), Say(Reason.CODE_NEEDS_CARD)]

    def _say_unread(self, why: Reason, direction: Direction, now: Moment) -> list[Command]:
        kind = "CODE" if why.startswith("CODE") else "CARD"
        attempt = Attempt(self._new_id(), self.id, direction, kind, now)
        return self._refuse(attempt, Verdict(VerdictKind.REFER, why, rule_id=""))

    def _given_up(self) -> Attempt:
        """The attempt at the front, which nobody waits for any more."""
        self._front_deadline_s = None
        self._code = None
        self._query += 1  # a late answer finds its question gone
        return self._taken()

    def _decide(self, found: events.StatusFound, now: Moment) -> list[Command]:
        self._front_deadline_s = None
        attempt = self._taken().found(found.question, found.traveller, found.subject, now).stage("lookup", now)
        verdict = decide(found.question, self._rules, now)
        if verdict.kind is not VerdictKind.GRANT:
            return self._refuse(attempt, verdict)
        if not self.has_turnstile:
            record = attempt.with_verdict(verdict).record("SHOWN")
            return [WriteRecord(record), Show(verdict.kind, verdict.reason), Say(verdict.reason)]
        if not self._passback.claim(found.traveller, attempt.direction, now):
            return self._refuse(attempt, Verdict(VerdictKind.DENY, Reason.ALREADY_PASSED, verdict.rule_id))
        return self.barrier.grant(attempt.with_verdict(verdict), now)

    def _refuse(self, attempt: Attempt, verdict: Verdict) -> list[Command]:
        outcome = "NOT_RELEASED" if self.has_turnstile else "SHOWN"
        record = attempt.with_verdict(verdict).record(outcome)
        return [Show(verdict.kind, verdict.reason), Say(verdict.reason), WriteRecord(record)]

    def _taken(self) -> Attempt:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            raise AssertionError(f"front {self.front} without an attempt")
        return attempt

    # --- staff and emergency -------------------------------------------------------------------------------------

    def _staff_released(self, event: events.StaffReleased, now: Moment) -> list[Command]:
        if not self.has_turnstile or self._stopped:
            return []
        verdict = Verdict(VerdictKind.GRANT, Reason.STAFF_RELEASE, rule_id="")
        attempt = Attempt(self._new_id(), self.id, event.direction, "NONE", now).with_verdict(verdict)
        return self.barrier.grant(attempt, now)

    def _mode_set(self, event: events.ModeSet, now: Moment) -> list[Command]:
        mode = self.mode = event.mode
        self.barrier.held_by_us = self.has_turnstile and mode is LaneMode.FREE
        commands: list[Command] = []
        if mode is LaneMode.FREE:
            commands += self._step(FrontTrigger.OPENED, event, now)
        if self.barrier.held_by_us:
            commands += self.barrier.fire(Trigger.HOLD, now)
        elif self.has_turnstile and not self.emergency:
            # In an emergency the mode is only remembered: nothing is commanded closed before the reset by hand.
            commands += self.barrier.fire(Trigger.END_HOLD, now)
        if self.barrier.state is not BarrierState.RELEASED:  # who was told to go still goes
            commands.append(Show(None, None))
        return commands

    def _emergency_seen(self, event: events.EmergencySeen, now: Moment) -> list[Command]:
        self.emergency_input = event.active
        if not event.active:
            return []  # it holds until somebody has looked and resets it
        self.barrier.emergency = True
        let_go = self._step(FrontTrigger.OPENED, event, now)
        held = self.barrier.fire(Trigger.HOLD, now) if self.has_turnstile else []
        return [*let_go, *held, Show(None, None), Say(Reason.EMERGENCY_OPEN)]

    def _emergency_reset(self, now: Moment) -> list[Command]:
        if self.emergency_input or not self.emergency:
            return []
        self.barrier.emergency = False
        if not self.has_turnstile or self.mode is LaneMode.FREE:
            return [Show(None, None)]
        return [*self.barrier.fire(Trigger.END_HOLD, now), Show(None, None)]

    # --- time ----------------------------------------------------------------------------------------------------

    def _time(self, now: Moment) -> list[Command]:
        self._wake_s = None
        commands: list[Command] = []
        if self._front_deadline_s is not None and now.mono_s >= self._front_deadline_s:
            commands += self._step(FrontTrigger.TIME_UP, events.TimeReached(), now)
        commands += self.barrier.time(now)
        if self._sign_deadline_s is not None and now.mono_s >= self._sign_deadline_s:
            self._sign_deadline_s = None
            if not commands:
                commands.append(Show(None, None))
        return commands

    def _next_wake(self) -> float | None:
        deadlines = (self._front_deadline_s, self.barrier.deadline_mono_s, self._sign_deadline_s)
        return min((deadline for deadline in deadlines if deadline is not None), default=None)
