"""One lane at work: takes the instant of every report, makes events of them, and turns commands into effects.

The one place where a command becomes an effect. Everything between a report and the release command happens in one
call on the event loop, without waiting, so lanes cannot hold each other up and events of one lane keep their order.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import cast

from drivers import contract, registry
from gate import config
from gate.credential.cardnumber import CardNumberError, card_number
from gate.credential.certificate import CertificateProblem, read_certificate
from gate.credential.healthcode import UnusableCode, judge_code, read_code
from gate.credential.idcard import CardError, parse_card
from gate.moment import Moment
from gate.passage import commands, events
from gate.passage.commands import Direction
from gate.passage.lane import Lane
from gate.passage.pairing import FrontState
from gate.policy.condition import Cause, Condition
from gate.policy.verdict import Reason, VerdictKind
from gate.station.far import FarLane
from gate.station.lookup import Found
from gate.station.prompting import Prompts
from gate.station.services import Services
from gate.station.state import DeviceState, LaneState, SignState
from gate.station.thermometry import Thermometry

log = logging.getLogger(__name__)

HOLD_AGAIN_S = 0.5  # a hold that was not taken is commanded again, while it is wanted:
HOLD_TRIES_MAX = 20  # ten seconds; a turnstile that is down by then is told when it comes back
STAND_TRIES_MAX = 7200  # an hour at least: a gate does not close while luggage that somebody left stands in it
RESTART_DEVICE_S = 1.0  # a driver that fails by our own mistake is tried again; recovery is due within 2 s

# Prompts and thermometers have none: nothing is decided otherwise because one is down.
_DOWN_CAUSE = {
    "card-reader": Cause.READER_DOWN,
    "code-scanner": Cause.SCANNER_DOWN,
    "turnstile": Cause.TURNSTILE_DOWN,
}


class DeviceRunner:
    """Keeps one device running and remembers how it is."""

    def __init__(self, settings: config.Device, side: Direction, device: contract.Device) -> None:
        self.settings = settings
        self.side = side
        self.up = False
        self.ready = True
        self.fault: contract.DeviceFault | None = None
        self.detail = "starting"
        self.told = False  # whether it was ever up or down: a device that was never there is said once, too
        self.last_good: Moment | None = None
        self.errors = 0
        self.device = device

    async def run(self, report: contract.ReportSink) -> None:
        """Run the driver until cancelled; a driver that breaks is reported down and started again."""
        while True:
            try:
                await self.device.run(report)
            except Exception as error:
                # The error's text could quote bytes of a credential, so only its type and place are logged.
                log.error("driver %s failed: %s", self.settings.driver, type(error).__name__)
                log.debug("traceback of the failed driver", exc_info=error)
            report(contract.Down(contract.DeviceFault.WORKER_LOST, "the driver stopped; starting it again"))
            await asyncio.sleep(RESTART_DEVICE_S)

    def state(self) -> DeviceState:
        """How the device is, for operators."""
        fault = "" if self.fault is None else str(self.fault)
        last_good_utc_s = self.last_good.utc_s if self.last_good else None
        return DeviceState(
            *(self.settings.name, self.settings.driver, self.settings.kind, self.up, fault, self.detail),
            *(last_good_utc_s, self.errors),
        )


class LaneRunner:
    """Owns a lane's devices and its core, and carries out what the core commands."""

    def __init__(self, settings: config.Lane, core: Lane, services: Services) -> None:
        self.id = settings.id
        self.core = core
        self._services = services
        self._settings = settings
        self.direction = settings.direction
        self.default_direction = Direction.EXIT if settings.direction == "exit" else Direction.ENTRY
        self.far = FarLane(settings) if settings.remote else None
        self._devices = [DeviceRunner(each, _side(settings, each), self._device(each)) for each in settings.devices]
        self._turnstile = next((d for d in self._devices if d.settings.kind == "turnstile"), None)
        prompts = [d for d in self._devices if d.settings.kind == "prompt"]
        self._prompts = Prompts(self.id, [(d.device, _own_side(d.settings)) for d in prompts])
        self._warmth = Thermometry()
        self._sign = commands.Show(*core.resting_sign)
        self._prompts.show(self._sign)
        self._timer: asyncio.TimerHandle | None = None
        self._releases: set[asyncio.Task[None]] = set()
        self._asking_since: Moment | None = None  # when the credential was complete that issuers are asked about
        self._occupied = False
        self._telling = False  # watchers are about to be told
        self._stands = 0  # commands to stand closed or open so far: only the newest is insisted on
        if self.far:
            self.far.lane_is(str(core.mode), core.emergency)

    def _device(self, settings: config.Device) -> contract.Device:
        if self.far:
            return self.far.devices[settings.name]
        return registry.create(settings.driver, settings.settings)

    def devices(self) -> Iterator[tuple[str, Coroutine[None, None, None]]]:
        """What runs each device until cancelled, by the device's name within the station."""
        for device in self._devices:
            yield f"{self.id}/{device.settings.name}", device.run(self._sink(device))

    # --- reports up ----------------------------------------------------------------------------------------------

    def _sink(self, device: DeviceRunner) -> contract.ReportSink:
        def report(said: contract.DeviceReport) -> None:
            try:
                now = self._services.clock.now()
                self._reported(device, said, now)
                self._count(device, said, now)  # last, so that it costs no passenger
            except Exception as error:
                # One event of one lane is lost; the lane and all others go on.
                self._failed(type(said).__name__, error)

        return report

    def _reported(self, device: DeviceRunner, said: contract.DeviceReport, now: Moment) -> None:
        match said:
            case contract.CardReport(text=text):
                self.handle(self._card(text, device.side, now), now, presented=now)
            case contract.CardNumberReport(number=number):
                self.handle(_numbered(number, device), now, presented=now)
            case contract.CodeReport(payload=payload, encoding=encoding):
                self.handle(self._code(payload, encoding, device.side, now), now, presented=now)
            case contract.Unread(problem=problem):
                self.handle(events.ReadFailed(Reason[problem.name], device.side), now)
            case contract.Passed(direction=direction):
                self.handle(events.PersonPassed(Direction(direction.value)), now)
            case contract.Tailgating():
                self.handle(events.SecondPerson(), now)
            case contract.Emergency(active=active):
                self.handle(events.EmergencySeen(active), now)
            case contract.Temperature():
                self._warmth.measured(said, device.side, now)
            case contract.Occupied(occupied=occupied):
                self._occupied = occupied
                self._tell()
            case contract.Ready(ready=ready):
                self._works(device, now, ready=ready)
            case contract.Up(detail=detail, identity=identity):
                self._works(device, now, up=True, detail=self._placed(device, detail, identity))
            case contract.Down(fault=fault, detail=detail):
                self._works(device, now, up=False, fault=fault, detail=detail)

    def _count(self, device: DeviceRunner, said: contract.DeviceReport, now: Moment) -> None:
        metrics, name = self._services.metrics, device.settings.name
        took_s = said.took_s if isinstance(said, contract.Vitals) else ()
        errors = said.errors if isinstance(said, contract.Vitals) else ()
        if isinstance(said, contract.Down):
            errors = (said.fault,)
        else:
            device.last_good = now
        for seconds in took_s:
            metrics.device_command(self.id, name, seconds)
        if isinstance(said, contract.Vitals) and said.frames_skipped:
            metrics.frames_skipped(self.id, name, said.frames_skipped)
        for fault in errors:
            metrics.device_error(self.id, name, fault)
        device.errors += len(errors)

    def measure_devices(self, now: Moment) -> None:
        """Set how long ago each device was good; one that never was has no value."""
        for device in self._devices:
            if device.last_good:
                self._services.metrics.device_good(self.id, device.settings.name, now.since(device.last_good))

    def _placed(self, device: DeviceRunner, detail: str, identity: str) -> str:
        """`detail`, and where the device belongs when it was first seen elsewhere."""
        home = identity and self._services.strayed_from(f"{self.id}/{device.settings.name}", identity)
        if not home:
            return detail
        log.warning("lane %s: %s is the device of %s: were two swapped?", self.id, device.settings.name, home)
        return f"{detail}; first seen at {home}: were two swapped?"

    def _card(self, text: bytes, side: Direction, now: Moment) -> events.Event:
        try:
            card = parse_card(text)
        except CardError as error:
            return events.ReadFailed(Reason[error.problem.name], side)
        if card.expired_on(now.beijing_day):
            return events.ReadFailed(Reason.CARD_EXPIRED, side)
        return events.CardRead(card, side)

    def _code(self, payload: bytes, encoding: str, side: Direction, now: Moment) -> events.Event:
        """A certificate, a health code that is good as far as it says itself, or why it is neither."""
        services = self._services
        paper = read_certificate(payload, encoding)
        if isinstance(paper, CertificateProblem):
            return events.ReadFailed(Reason[paper.name], side)
        if paper is not None:
            return events.CertificateScanned(paper, side)
        code = read_code(payload, services.issuers, encoding)
        if isinstance(code, UnusableCode):
            return events.ReadFailed(Reason[code.problem.name], side)
        terms = services.terms(now)
        skew_s = terms.code_skew_s if terms else 0.0
        problem = judge_code(code, services.code_keys, now, services.clock.state.trusted, skew_s)
        if problem is not None:
            return events.ReadFailed(Reason[problem.name], side)
        return events.CodeScanned(code, side, services.lookup.token_mark(code))

    def _works(
        self,
        device: DeviceRunner,
        now: Moment,
        *,
        up: bool | None = None,
        ready: bool | None = None,
        fault: contract.DeviceFault | None = None,
        detail: str = "",
    ) -> None:
        worked = device.up and device.ready
        if up is not None:
            if up != device.up or not device.told:
                device.told = True
                log.info("lane %s: %s is %s %s", self.id, device.settings.name, "up" if up else "down", fault or "")
            device.up, device.fault, device.detail = up, fault, detail
        if ready is not None:
            device.ready = ready
        works = device.up and device.ready
        self._services.metrics.device_up(self.id, device.settings.name, works)
        cause = _DOWN_CAUSE.get(device.settings.kind)
        if cause:
            self._services.set_condition(Condition(cause, f"{self.id}/{device.settings.name}"), not works)
        if device is self._turnstile and works != worked:
            self.handle(events.TurnstileBack() if works else events.TurnstileLost(), now)
        self._tell()

    # --- events in, commands out ---------------------------------------------------------------------------------

    def handle(self, event: events.Event, now: Moment, presented: Moment | None = None) -> None:
        """Let the core take `event`, and carry out everything it commands.

        `presented`: when a credential was complete; what is decided of it without waiting for a person is timed from
        then on.
        """
        queue = self.core.handle(event, now)
        # A look-up answers at once and its answer may command more: at most one of each a presentation.
        for command in queue:
            try:
                if isinstance(command, commands.FindStatus):
                    side = getattr(event, "direction", self.default_direction)  # of who presents
                    queue.extend(self.core.handle(self._find(command, side), self._services.clock.now()))
                else:
                    self._carry_out(command, now, presented)
            except Exception as error:
                # What follows is done all the same, the next waking above all: without it the lane would wait for ever.
                self._failed(type(command).__name__, error)
        self._tell()

    def _failed(self, what: str, error: Exception) -> None:
        # No text: it could quote a credential.
        log.error("lane %s: %s failed: %s", self.id, what, type(error).__name__)
        log.debug("traceback of what failed", exc_info=error)

    def _tell(self) -> None:
        """Tell watchers once for all that this turn of the loop changes, after the release is on its way."""
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_soon(self._told)

    def _told(self) -> None:
        self._telling = False
        if self.far:
            self.far.lane_is(str(self.core.mode), self.core.emergency)
        self._services.lane_changed(self.state())

    def _find(self, command: commands.FindStatus, side: Direction) -> events.StatusFound:
        services = self._services
        now = services.clock.now()
        temperature = self._warmth.of_who_is_at(side, now, services.terms(now))
        scene = services.scene(self.id, now, command.guardian, temperature)
        found = services.lookup.find(command.presentation, scene, now)
        return _status_found(command.query, found)

    async def _ask(self, command: commands.AskIssuers, presented: Moment | None) -> None:
        services = self._services
        now = services.clock.now()
        self._asking_since = presented
        try:
            found = await services.lookup.ask(
                command.presentation, command.question, command.issuers, command.within_s, now
            )
        except Exception as error:
            self._failed("asking", error)  # the lane's own limit ends the wait
            return
        self.handle(_status_found(command.query, found), services.clock.now(), presented)

    def _carry_out(self, command: commands.Command, now: Moment, presented: Moment | None) -> None:
        match command:
            case commands.AskIssuers():
                self._start(self._ask(command, presented))
            case commands.Release(direction=direction):
                self._warmth.let_go(direction)
                self._start(self._release(command, presented))
            case commands.HoldOpen():
                self._start(self._hold(True))
            case commands.EndHold():
                self._start(self._hold(False))
            case commands.Refuse():
                self._start(self._refuse())
            case commands.StandClosed():
                self._start(self._stand(True))
            case commands.StandOpen():
                self._start(self._stand(False))
            case commands.Show(side=None):
                self._sign = command
                self._prompts.show(command)
            case commands.Show():
                self._prompts.show(command)  # of one side alone: the lane's one sign is the served person's
            case commands.Say():
                self._prompts.say(command)
            case commands.WakeAt(mono_s=mono_s):
                self._wake(mono_s, now)
            case commands.WriteRecord(record=record):
                self._services.write(record)
                if record.outcome == "SHOWN" and record.verdict == VerdictKind.GRANT:  # here nothing is released
                    self._warmth.let_go(Direction(record.direction))
                before = presented and record.decided_utc_s is not None and record.decided_utc_s < presented.utc_s
                # Of who was waiting when the next credential came nothing is timed: that wait was for a person.
                if presented and not before and record.verdict in (VerdictKind.DENY, VerdictKind.REFER):
                    self._time_decision(record.verdict, presented)  # it ends when the sign is set: now
            case _:
                raise AssertionError(f"no effect for {type(command).__name__}")

    def _start(self, effect: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(effect)
        self._releases.add(task)
        task.add_done_callback(self._releases.discard)

    def _time_decision(self, verdict: str, presented: Moment) -> None:
        self._services.metrics.decision(self.id, verdict, self._services.clock.now().since(presented))

    async def _release(self, command: commands.Release, presented: Moment | None) -> None:
        turnstile = self._barrier()
        direction = contract.Direction(command.direction.value)

        def sent() -> None:
            if presented:  # else it waited for the person in front, or staff released
                self._time_decision(VerdictKind.GRANT, presented)

        try:
            answer = await turnstile.release(direction, command.within_s, sent)
        except Exception as error:
            log.error("lane %s: release failed: %s", self.id, type(error).__name__)
            answer = contract.Answer.UNKNOWN
        self.handle(_ANSWERED[answer](command.grant), self._services.clock.now())

    async def _hold(self, hold: bool) -> None:
        turnstile, barrier = self._barrier(), self.core.barrier
        act = turnstile.hold_open if hold else turnstile.end_hold
        what = "hold open" if hold else "end hold"
        await self._insist(what, act, lambda: barrier.held_by_us is hold and not self.core.emergency, HOLD_TRIES_MAX)

    async def _stand(self, closed: bool) -> None:
        turnstile, barrier = cast(contract.NormallyOpen, self._barrier()), self.core.barrier
        self._stands += 1
        mine = self._stands
        act, what = (turnstile.stand_closed, "stand closed") if closed else (turnstile.stand_open, "stand open")
        await self._insist(what, act, lambda: mine == self._stands and barrier.stands_closed is closed, STAND_TRIES_MAX)

    async def _insist(
        self, what: str, act: Callable[[], Awaitable[contract.Answer]], wanted: Callable[[], bool], tries: int
    ) -> None:
        """Command it until it is accepted, or not wanted any more."""
        told: contract.Answer | None = None
        for _ in range(tries):
            try:
                answer = await act()
            except Exception as error:
                log.error("lane %s: %s failed: %s", self.id, what, type(error).__name__)
                answer = contract.Answer.UNKNOWN
            if answer is contract.Answer.ACCEPTED:
                return
            if answer is not told:
                log.warning("lane %s: %s was answered %s; trying again", self.id, what, answer)
                told = answer
            await asyncio.sleep(HOLD_AGAIN_S)
            if not wanted():
                return
        log.error("lane %s: %s was given up after %d tries: see to its turnstile", self.id, what, tries)

    async def _refuse(self) -> None:
        turnstile = cast(contract.NormallyOpen, self._barrier())
        try:
            answer = await turnstile.refuse()
        except Exception as error:
            log.error("lane %s: closing failed: %s", self.id, type(error).__name__)
            return
        if answer is not contract.Answer.ACCEPTED:  # not again: who was refused is gone, or presents again
            log.warning("lane %s: closing on a refusal was answered %s", self.id, answer)

    def _barrier(self) -> contract.Turnstile:
        assert self._turnstile is not None  # noqa: S101 - a core without a turnstile commands no barrier
        return cast(contract.Turnstile, self._turnstile.device)

    def _wake(self, mono_s: float | None, now: Moment) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if mono_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(max(0.0, mono_s - now.mono_s), self._woken)

    def _woken(self) -> None:
        asking = self.core.front is FrontState.ASKING  # who is decided without its answer waited for no person
        self.handle(events.TimeReached(), self._services.clock.now(), self._asking_since if asking else None)

    # --- for operators -------------------------------------------------------------------------------------------

    def state(self) -> LaneState:
        """The lane as operators see it."""
        verdict, reason = self._sign.verdict, self._sign.reason
        return LaneState(
            lane_id=self.id,
            mode=str(self.core.mode),
            emergency=self.core.emergency,
            barrier=str(self.core.barrier.state) if self.core.has_turnstile else "NONE",
            front=str(self.core.front),
            devices=tuple(device.state() for device in self._devices),
            degraded=tuple(sorted(map(str, self._services.conditions_of(self.id)))),
            sign_verdict="" if verdict is None else str(verdict),
            sign_reason="" if reason is None else str(reason),
            sign=None if reason is None else self._sign_state(reason, self._sign),
            occupied=self._occupied,
            release_within_s=self._settings.release_within_s if self.core.has_turnstile else 0.0,
            normally_open=self._settings.normally_open,
        )

    def _sign_state(self, reason: Reason, shown: commands.Show) -> SignState:
        because = shown.because
        if because is None or because.reason is not reason:
            return SignState(self._services.words(reason, ""), self._services.hotline(""))
        age_s = None if because.as_of_utc_s is None else self._services.clock.now().utc_s - because.as_of_utc_s
        return SignState(
            self._services.words(reason, because.rule_id),
            self._services.hotline(because.issuer),
            because.rule_id,
            shown.reference,
            because.issuer,
            because.asserted_by,
            str(because.band or ""),
            because.as_of_utc_s,
            age_s,
        )


def _numbered(number: str, device: DeviceRunner) -> events.Event:
    """The card's number in the scheme that the station names for its reader; without one it could be anybody's."""
    if not device.settings.card_scheme:
        return events.ReadFailed(Reason.CARD_UNKNOWN_TYPE, device.side)
    try:
        return events.CardNumberRead(card_number(device.settings.card_scheme, number), device.side)
    except CardNumberError:
        return events.ReadFailed(Reason.CARD_UNREADABLE, device.side)


def _status_found(query: int, found: Found) -> events.StatusFound:
    return events.StatusFound(
        query, found.question, found.travellers, found.subject, found.askable, found.problem, found.references
    )


_ANSWERED: Mapping[contract.Answer, Callable[[int], events.Event]] = {
    contract.Answer.ACCEPTED: events.ReleaseAccepted,
    contract.Answer.REFUSED: events.ReleaseRefused,
    contract.Answer.UNKNOWN: events.ReleaseUnknown,
}


def _side(lane: config.Lane, device: config.Device) -> Direction:
    """On which side of the lane the device is: its own setting, else the lane's direction; "both" alone means entry."""
    return _own_side(device) or (Direction.EXIT if lane.direction == "exit" else Direction.ENTRY)


def _own_side(device: config.Device) -> Direction | None:
    """The side that its own setting names."""
    side = device.settings.get("side")
    return Direction(str(side)) if side else None
