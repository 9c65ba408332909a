"""One lane, one person after the other: events in, commands out. No IO and no clock; the runner does and times both."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from gate.credential.presentation import Presentation
from gate.moment import Moment
from gate.passage import events
from gate.passage.attempt import Attempt
from gate.passage.barrier import Barrier, BarrierState, Trigger
from gate.passage.claims import Claims
from gate.passage.commands import AskIssuers, Command, Direction, FindStatus, LaneMode, Say, Show, WakeAt, WriteRecord
from gate.passage.family import Family
from gate.passage.pairing import FRONT, FrontAction, FrontState, FrontTrigger
from gate.policy.decide import decide
from gate.policy.rules import RuleSet
from gate.policy.verdict import Ask, Reason, Verdict, VerdictKind


@dataclass(frozen=True, slots=True)
class LaneTimes:
    """The limits of a lane's waits, in seconds."""

    pairing_window_s: float = 5.0  # how long a code waits for its card, or a card for a code: time to take one out
    lookup_limit_s: float = 0.8  # health-codes.md 3.1: never wait longer for a store or an issuer in the lane
    release_within_s: float = 8.0  # the longest passage wait of the controllers in devices.md 3.1 (PERCo ST-01)
    tailgate_s: float = 2.0  # a second person this soon after the first followed on the same release
    sign_s: float = 3.0  # how long a verdict stays on the sign when nothing else happens


# The desk gives up on silent issuers this much before the lane does, so that what the others said in time still counts.
# A pause of the event loop of 34 ms was measured (architecture.md).
_ANSWERS_FIRST_S = 0.05

# In these modes a credential leads to no decision, and the sign says why without being asked.
_SILENT_MODES = {
    LaneMode.CLOSED: (VerdictKind.DENY, Reason.LANE_CLOSED),
    LaneMode.MAINTENANCE: (VerdictKind.REFER, Reason.LANE_MAINTENANCE),
    LaneMode.FREE: (VerdictKind.GRANT, Reason.CROWD_RELEASE),
}
_ONE_WAY = {LaneMode.ENTRY: Direction.ENTRY, LaneMode.EXIT: Direction.EXIT}


def _shown(event: events.Credential) -> tuple[Presentation, bytes]:
    """What was presented, and the mark of a dynamic code."""
    match event:
        case events.CardNumberRead(number=number):
            return Presentation(number=number), b""
        case events.CardRead(card=card):
            return Presentation(card=card), b""
        case events.CodeScanned(code=code, token=token):
            return Presentation(code=code), token
        case events.CertificateScanned(certificate=certificate):
            return Presentation(certificate=certificate), b""


class Lane:
    """Runs both tables of one lane. `has_turnstile` False: verdicts are shown and nobody is counted.

    `reads`: what its validator can read, and so what a passenger may be asked for.
    """

    def __init__(
        self,
        lane_id: str,
        mode: LaneMode,
        rules: RuleSet,
        claims: Claims,
        new_id: Callable[[], str],
        has_turnstile: bool = True,
        reads: frozenset[Ask] = frozenset({Ask.CARD, Ask.CODE}),
        times: LaneTimes | None = None,
        emergency: bool = False,
        normally_open: bool = False,
    ) -> None:
        self.id = lane_id
        self.mode = mode
        self.front = FrontState.IDLE
        self.emergency_input = False
        self.has_turnstile = has_turnstile
        self._rules = rules
        self._claims = claims
        self._reads = reads
        self._new_id = new_id
        self._times = times or LaneTimes()
        self.barrier = Barrier(
            lane_id, claims, new_id, self._times.release_within_s, self._times.tailgate_s, normally_open
        )
        self._attempt: Attempt | None = None
        self._presentation = Presentation()
        self._found: events.StatusFound | None = None
        self._asked = False  # the issuers, about the attempt at the front
        self._family = Family()
        self._query = 0
        self._front_deadline_s: float | None = None
        self._sign_deadline_s: float | None = None
        self._wake_s: float | None = None
        self._stopped = False
        self._side: Direction | None = None  # on which the person stands who is being served, or was last
        self._waiting_side: Direction | None = None  # which side waits until the other one has gone
        self._told_to_wait: set[Direction] = set()
        self.barrier.emergency = emergency  # of before a restart: it holds until it is reset by hand
        self.barrier.held_by_us = has_turnstile and mode is LaneMode.FREE
        self.barrier.kept_closed = mode is LaneMode.CLOSED
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
        commands = self._signed([*self._take(event, now), *self._side_free()], now)
        self._family.ended(commands)
        wake_s = self._next_wake()
        if wake_s != self._wake_s:
            self._wake_s = wake_s
            commands.append(WakeAt(wake_s))
        return commands

    def _signed(self, commands: list[Command], now: Moment) -> list[Command]:
        """`commands` with the sign's rest filled in; an open gate says "open", whoever presents what."""
        signed: list[Command] = []
        for command in commands:
            if isinstance(command, Show) and command.side:
                signed.append(Show(*self.resting_sign, side=command.side) if command.verdict is None else command)
            elif isinstance(command, Show):
                rests = command.verdict is None or self._open_to_all
                stays = rests or self.barrier.state is BarrierState.RELEASED
                self._sign_deadline_s = None if stays else now.mono_s + self._times.sign_s
                signed.append(Show(*self.resting_sign) if rests else replace(command, to=command.to or self._side))
            elif not isinstance(command, Say):
                signed.append(command)
            elif not self._open_to_all:
                signed.append(replace(command, to=command.side or command.to or self._side))
            elif command.reason is self.resting_sign[1]:
                signed.append(command)
        return signed

    def _take(self, event: events.Event, now: Moment) -> list[Command]:
        match event:
            case (
                events.CardRead()
                | events.CardNumberRead()
                | events.CodeScanned()
                | events.CertificateScanned()
                | events.ReadFailed()
            ):
                return self._presented(event, now)
            case events.StatusFound(query=query) if query == self._query:
                return self._step(FrontTrigger.FOUND, event, now)
            case events.ReleaseAccepted(grant=grant):
                return self._release_accepted(grant, now)
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

    def _presented(self, event: events.Presented, now: Moment) -> list[Command]:
        _, why_not = self.resting_sign
        if not self._is_taken(event.direction):
            self._side = event.direction
        if why_not is not None:
            return [Show(None, None), Say(why_not), *self.barrier.refused()]
        if _ONE_WAY.get(self.mode, event.direction) is not event.direction:
            return [Show(VerdictKind.DENY, Reason.LANE_CLOSED), *self.barrier.refused()]
        if self._is_taken(event.direction):
            return self._wait_at(event.direction)
        if not isinstance(event, events.ReadFailed) and self._told_already(event):
            return self._wish()[:1]  # the sign only: a scanner reads what lies before it many times a second
        match event:
            case events.CardRead() | events.CardNumberRead():
                held = self._presentation
                waits = held.card is None and (isinstance(event, events.CardRead) or held.number is None)
                other_half = self.front is FrontState.ASKING and waits
                return self._step(FrontTrigger.OTHER_HALF if other_half else FrontTrigger.CARD, event, now)
            case events.CodeScanned() if not self._fresh(event, now):
                return self._step(FrontTrigger.UNREAD, events.ReadFailed(Reason.CODE_REPLAYED, event.direction), now)
            case events.CodeScanned() | events.CertificateScanned():
                card_alone = self._presentation.kind == "CARD"
                other_half = self.front is FrontState.ASKING and card_alone
                return self._step(FrontTrigger.OTHER_HALF if other_half else FrontTrigger.CODE, event, now)
            case events.ReadFailed():
                return self._step(FrontTrigger.UNREAD, event, now)

    def _is_taken(self, direction: Direction) -> bool:
        """Whether a two-way lane is the other side's: who comes first has it until everybody of that side has gone.

        Once somebody waits over there, nobody more queues behind who is walking.
        """
        ways = self.barrier.ways | ({self._attempt.direction} if self._attempt else set())
        if not ways:
            return False
        return direction not in ways or (self._attempt is None and self._waiting_side not in (None, direction))

    def _wait_at(self, direction: Direction) -> list[Command]:
        if direction in self._told_to_wait:
            return []  # told once: a scanner reads what lies before it many times a second
        self._told_to_wait.add(direction)
        told: list[Command] = [Say(Reason.LANE_BUSY, side=direction)]
        if self._waiting_side is None:  # else it is the side that is being served, and the sign is that person's
            self._waiting_side = direction
            told.insert(0, Show(VerdictKind.REFER, Reason.LANE_BUSY, side=direction))
        return told

    def _side_free(self) -> list[Command]:
        """The side that was told to wait may come now."""
        if self._waiting_side is None or self.busy:
            return []
        side, self._waiting_side = self._waiting_side, None
        self._told_to_wait.clear()
        return [Show(None, None, side=side)]

    def _told_already(self, event: events.Credential) -> bool:
        """Whether it waits for its other half here: left before the reader, it neither asks again nor waits longer."""
        more, _ = _shown(event)
        return self.front is FrontState.PAIRING and self._presentation.with_more(more) == self._presentation

    def _fresh(self, event: events.CodeScanned, now: Moment) -> bool:
        """Whether nobody else shows, or has used, this dynamic code; a lane that is busy does not look at it."""
        busy = self.front is FrontState.CHECKING or (
            self.front is FrontState.ASKING and self._presentation.kind != "CARD"
        )
        if not event.token or busy:
            return True
        return self._claims.show(event.token, self.id, now, event.code.ends_utc_s)

    def _step(self, trigger: FrontTrigger, event: events.Event, now: Moment) -> list[Command]:
        self.front, action = FRONT[self.front][trigger]
        match action, event:
            case FrontAction.LOOK_UP, (
                events.CardRead() | events.CardNumberRead() | events.CodeScanned() | events.CertificateScanned()
            ):
                return self._look_up(event, now)
            case FrontAction.SAY_UNREAD, events.ReadFailed(why=why, direction=direction):
                return self._say_unread(why, direction, now)
            case FrontAction.DECIDE, events.StatusFound():
                return self._decide(event, now)
            case FrontAction.DECIDE_UNANSWERED, _ if self._found:
                return self._decide(self._found.unanswered(), now)
            case FrontAction.ASK_ISSUERS, _ if self._found:
                return self._ask_issuers(self._found, now)
            case FrontAction.ASK_FOR_MORE, _:
                return self._ask_for_more(now)
            case FrontAction.SETTLE, _:
                return self._settle(self._given_up(), now)
            case FrontAction.REFER_LATE, _:
                return self._refuse(self._given_up(), Verdict(VerdictKind.REFER, Reason.LOOKUP_LATE, rule_id=""))
            case FrontAction.LET_GO, _:
                return [WriteRecord(self._let_go().record(self.barrier.open_outcome))]
            case FrontAction.STOP, _:
                verdict = Verdict(VerdictKind.REFER, Reason.CONTROLLER_STOPPED, rule_id="")
                return [WriteRecord(self._given_up().with_verdict(verdict).record("CONTROLLER_STOPPED"))]
            case FrontAction.SAY_BUSY, _:
                return [Show(VerdictKind.REFER, Reason.LANE_BUSY)]
        return []

    def _look_up(self, event: events.Credential, now: Moment) -> list[Command]:
        more, token = _shown(event)
        commands = self._next_person(more, now)
        attempt = self._attempt or Attempt(self._new_id(), self.id, event.direction, "NONE", now)
        if self._attempt:
            attempt = attempt.stage("pairing", now)
        if not (more.card or more.number):
            attempt = replace(attempt, token=token)
        self._presentation = self._presentation.with_more(more)
        self._asked = False  # an issuer that could not be asked by the one may be by the other
        self._attempt = replace(attempt, credential=self._presentation.kind)
        self._query += 1
        self._front_deadline_s = now.mono_s + self._times.lookup_limit_s
        guardian = self._family.takes_along(attempt.direction, now)
        return [*commands, FindStatus(self._query, self._presentation, guardian)]

    def _next_person(self, more: Presentation, now: Moment) -> list[Command]:
        """A second card or a second code: who waits with the first has left. So nobody is looked up for ever."""
        if self._attempt is None or not self._presentation.is_of_another(more):
            return []
        return self._settle(self._given_up(), now)

    def _ask_issuers(self, found: events.StatusFound, now: Moment) -> list[Command]:
        self._asked = True
        self._query += 1
        self._front_deadline_s = now.mono_s + self._times.lookup_limit_s
        within_s = max(0.0, self._times.lookup_limit_s - _ANSWERS_FIRST_S)
        return [AskIssuers(self._query, self._presentation, found.question, found.askable, within_s)]

    def _ask_for_more(self, now: Moment) -> list[Command]:
        self._front_deadline_s = now.mono_s + self._times.pairing_window_s
        return self._wish()

    def _wish(self) -> list[Command]:
        """What the passenger is asked for."""
        verdict = self._attempt.verdict if self._attempt else None
        assert verdict is not None  # noqa: S101 - only a decided attempt waits for more
        if self._presentation.card:
            return [Show(VerdictKind.REFER, Reason.CARD_NEEDS_CODE), Say(Reason.CARD_NEEDS_CODE)]
        return [Show(verdict.kind, verdict.reason, verdict), Say(verdict.reason)]

    def _say_unread(self, why: Reason, direction: Direction, now: Moment) -> list[Command]:
        kind = "CARD" if why.startswith("CARD") else "CERTIFICATE" if why.startswith("CERTIFICATE") else "CODE"
        attempt = Attempt(self._new_id(), self.id, direction, kind, now)
        return self._refuse(attempt, Verdict(VerdictKind.REFER, why, rule_id=""))

    def _given_up(self) -> Attempt:
        """The attempt at the front, which nobody waits for any more."""
        self._front_deadline_s = None
        self._presentation = Presentation()
        self._found = None
        self._asked = False
        self._query += 1  # a late answer finds its question gone
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            raise AssertionError(f"front {self.front} without an attempt")
        return attempt

    def _let_go(self) -> Attempt:
        """The attempt of somebody who now walks through an open gate: what was still to be tried decided nothing."""
        attempt = self._given_up()
        self._claims.let_go(attempt)
        return replace(attempt, verdict=None)

    def _decide(self, found: events.StatusFound, now: Moment) -> list[Command]:
        attempt = self._attempt
        assert attempt is not None  # noqa: S101 - CHECKING and ASKING have one
        stage = "asking" if self._asked else "lookup"
        self._found = found
        attempt = attempt.found(found, now).stage(stage, now)
        if found.problem is not None:
            self._attempt = attempt.with_verdict(Verdict(VerdictKind.REFER, found.problem, rule_id=""))
            return self._step(FrontTrigger.FINAL, found, now)
        verdict = decide(found.question, self._rules, now)
        self._attempt = attempt.with_verdict(verdict)
        return self._step(self._what_is_missing(verdict, found), found, now)

    def _what_is_missing(self, verdict: Verdict, found: events.StatusFound) -> FrontTrigger:
        """The first thing that the rule wants tried, that was not yet, and that this lane can try."""
        have_code = self._presentation.code is not None or self._presentation.certificate is not None
        for ask in verdict.ask_first:
            if ask is Ask.ISSUER and found.askable and not self._asked:
                return FrontTrigger.NEEDS_ISSUER
            missing = self._presentation.card is None if ask is Ask.CARD else not have_code
            if ask is not Ask.ISSUER and missing and ask in self._reads:
                return FrontTrigger.NEEDS_MORE
        return FrontTrigger.FINAL

    def _settle(self, attempt: Attempt, now: Moment) -> list[Command]:
        """The verdict that the attempt has stands."""
        verdict = attempt.verdict
        assert verdict is not None  # noqa: S101 - only a decided attempt is settled
        if verdict.kind is not VerdictKind.GRANT:
            return self._refuse(attempt, verdict)
        if self.mode in _SILENT_MODES:  # set by staff while an issuer was being asked
            return self._refuse(attempt, Verdict(*_SILENT_MODES[self.mode], rule_id=""))
        if not self.has_turnstile:
            self._claims.spend(attempt)
            return [
                WriteRecord(attempt.record("SHOWN")),
                Show(verdict.kind, verdict.reason, verdict),
                Say(verdict.reason),
            ]
        terms = self._rules.terms_on(now.beijing_day)
        assert terms is not None  # noqa: S101 - `decide` grants nothing without terms
        if not self._claims.claim(attempt, now, terms.repeat_after_s):
            return self._refuse(attempt, replace(verdict, kind=VerdictKind.DENY, reason=Reason.ALREADY_PASSED))
        if verdict.reason is Reason.WITH_GUARDIAN:
            self._family.followed()
        return self.barrier.grant(attempt, now)

    def _refuse(self, attempt: Attempt, verdict: Verdict) -> list[Command]:
        self._claims.let_go(attempt)
        outcome = "NOT_RELEASED" if self.has_turnstile else "SHOWN"
        record = attempt.with_verdict(verdict).record(outcome)
        reference = attempt.references.get(verdict.issuer, "")
        return [
            Show(verdict.kind, verdict.reason, verdict, reference),
            Say(verdict.reason),
            WriteRecord(record),
            *self.barrier.refused(),
        ]

    def _release_accepted(self, grant: int, now: Moment) -> list[Command]:
        current, terms = self.barrier.current, self._rules.terms_on(now.beijing_day)
        if current is not None and current.number == grant and terms is not None:
            self._family.released(current.attempt, terms, now)
        return self.barrier.answered(grant, Trigger.ACCEPTED, now)

    # --- staff and emergency -------------------------------------------------------------------------------------

    def _staff_released(self, event: events.StaffReleased, now: Moment) -> list[Command]:
        if not self.has_turnstile or self._stopped:
            return []
        verdict = Verdict(VerdictKind.GRANT, event.reason, rule_id="")
        attempt = Attempt(self._new_id(), self.id, event.direction, "NONE", now).with_verdict(verdict)
        return self.barrier.grant(attempt, now)

    def _mode_set(self, event: events.ModeSet, now: Moment) -> list[Command]:
        mode = self.mode = event.mode
        self.barrier.held_by_us = self.has_turnstile and mode is LaneMode.FREE
        self.barrier.kept_closed = mode is LaneMode.CLOSED
        commands: list[Command] = []
        if mode is LaneMode.FREE:
            commands += self._step(FrontTrigger.OPENED, event, now)
        if self.barrier.held_by_us:
            commands += self.barrier.fire(Trigger.HOLD, now)
        elif self.has_turnstile:
            if mode in _SILENT_MODES:
                commands += self.barrier.turn_waiting_away()
            # In an emergency the mode is only remembered: nothing is commanded closed before the reset by hand.
            commands += [] if self.emergency else self.barrier.fire(Trigger.END_HOLD, now)
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
        if not self.has_turnstile:
            return [Show(None, None)]
        # A hold of before, or of meanwhile, may not have outlived what opened the gate in hardware: it is held again.
        trigger = Trigger.HOLD if self.mode is LaneMode.FREE else Trigger.END_HOLD
        return [*self.barrier.fire(trigger, now), Show(None, None)]

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
