"""Devices of a lane that hang on the lane's own computer, as the lane's runner sees them: devices like any other.

A lane agent attaches by `FarLane.attach`; what it says goes to the devices' report sinks, and what the lane commands
goes to the agent. Two clocks are never compared: every command cites the newest message of the agent that was heard,
and the agent judges its lifetime by its own clock since then. An agent acts on nothing later than `CUT_OFF_S` after a
message of its own that it knows to be heard, and we report nothing as failed earlier than `CUT_OFF_S` after the last
message heard: so nothing is carried out after it was reported failed, whatever the network does.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers import contract
from gate import config
from gate.station.farwire import Command, Heard, Hello, LaneIs, Mark, Prompting, Ref, Stream

log = logging.getLogger(__name__)

BEAT_S = 0.5  # architecture.md: two missed beats of 500 ms mean cut off
CUT_OFF_S = 1.25  # the second is missed when it is half a beat late
LEASE_EVERY_S = 1.0  # architecture.md: renewed each second
HOLD_WITHIN_S = 2.0  # a hold is commanded again every 0.5 s while it is wanted; an older one is not
REFUSE_WITHIN_S = 4.0  # a driver waits up to 3 s for a clear walkway (drivers/turnstiles/modbus/device.py), and acts
# A turnstile whose release was under way is given up so long before the lane would call the release lapsed: whether
# somebody passed is not known then, and the record must say so.
BEFORE_LAPSE_S = 0.25
SILENT_S = 0.75  # a beat is missing: near a lapse that is enough not to call it one
_CUT_OFF = contract.Down(
    contract.DeviceFault.PORT_LOST, "cut off from its lane agent: check its computer and the network"
)
_NOBODY = contract.Down(contract.DeviceFault.PORT_MISSING, "no lane agent yet: start `gate lane-agent` on its computer")


class AttachRefusedError(Exception):
    """The agent may not drive this lane as it is; the text says what to do."""


class NotReadyError(Exception):
    """The lane does not run yet, or its last agent may still act: try again in a moment."""


class LaneTakenError(Exception):
    """Another agent drives the lane."""


class FarDevice:
    """A card reader, code scanner or thermometer of the far lane."""

    def __init__(self, lane: "FarLane", name: str) -> None:
        self.name = name
        self.sink: contract.ReportSink | None = None
        self._lane = lane

    async def run(self, report: contract.ReportSink) -> None:
        """Pass on what the agent says until cancelled."""
        self.sink = report
        report(_NOBODY)
        try:
            await asyncio.Event().wait()  # for ever: all work is done where messages arrive
        finally:
            self.sink = None
            self._lane.device_ended()

    def told(self, said: contract.DeviceReport) -> None:
        """The agent, or its absence, reports."""
        if self.sink:
            self.sink(said)


class FarTurnstile(FarDevice):
    """A turnstile of the far lane. See `drivers.contract.Turnstile`."""

    async def release(
        self, direction: contract.Direction, lifetime_s: float, sent: Callable[[], None] | None = None
    ) -> contract.Answer:
        """Free the barrier once, or never."""
        return await self._lane.command(self.name, "release", lifetime_s, direction, sent)

    async def hold_open(self) -> contract.Answer:
        """Hold open as long as we are in touch."""
        return await self._lane.command(self.name, "hold_open", HOLD_WITHIN_S)

    async def end_hold(self) -> contract.Answer:
        """End holding."""
        return await self._lane.command(self.name, "end_hold", HOLD_WITHIN_S)

    async def refuse(self) -> contract.Answer:
        """Close a gate that stands open; only a lane whose agent can is `normally_open`."""
        return await self._lane.command(self.name, "refuse", REFUSE_WITHIN_S)

    async def stand_closed(self) -> contract.Answer:
        """Keep such a gate closed as long as we are in touch."""
        return await self._lane.command(self.name, "stand_closed", REFUSE_WITHIN_S)

    async def stand_open(self) -> contract.Answer:
        """Let it stand open again."""
        return await self._lane.command(self.name, "stand_open", HOLD_WITHIN_S)


class FarPrompt(FarDevice):
    """A voice or lamps of the far lane. See `drivers.contract.Prompt`."""

    def __init__(self, lane: "FarLane", name: str) -> None:
        super().__init__(lane, name)
        self._sign: contract.Sign | None = None

    def say(self, reason: str) -> None:
        """Speak now or never: words that nobody carried are not true any more when somebody does."""
        self._lane.prompt(Prompting(self.name, "say", reason))

    def show(self, sign: contract.Sign) -> None:
        """Show from now on, or from when an agent is there."""
        self._sign = sign
        self.show_again()

    def show_again(self) -> None:
        """An agent has come: what it is to show."""
        if self._sign:
            self._lane.prompt(Prompting(self.name, "show", str(self._sign)))


@dataclass(slots=True)
class _Pending:
    answer: "asyncio.Future[contract.Answer]"
    sent: Callable[[], None] | None


@dataclass(frozen=True, slots=True)
class _Release:
    """A release whose passage may still come."""

    number: int
    direction: contract.Direction
    ends_s: float


@dataclass(slots=True)
class FarLane:
    """One far lane: at most one agent drives it, and the lane's runner does not notice."""

    settings: config.Lane
    devices: dict[str, FarDevice] = field(init=False)
    _run: bytes = field(default_factory=lambda: secrets.token_bytes(8), init=False)
    _session: bytes = field(default=b"", init=False)
    _newest: Mark = field(default=Mark(), init=False)
    _heard_s: float = field(default=0.0, init=False)
    _alive: bool = field(default=False, init=False)  # an agent attached and is not yet known to be cut off
    _stream: Stream | None = field(default=None, init=False)
    _numbers: int = field(default=0, init=False)
    _pending: dict[int, _Pending] = field(default_factory=dict, init=False)
    _released: _Release | None = field(default=None, init=False)
    _timers: dict[str, asyncio.TimerHandle] = field(default_factory=dict, init=False)

    _is: LaneIs | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        kinds = {"turnstile": FarTurnstile, "prompt": FarPrompt}
        self.devices = {d.name: kinds.get(d.kind, FarDevice)(self, d.name) for d in self.settings.devices}

    # --- an agent comes and goes ---------------------------------------------------------------------------------

    def attach(self, hello: Hello) -> Stream:
        """The lane is this agent's from now on. Raises AttachRefusedError, LaneTakenError, NotReadyError."""
        self._admit(hello)
        again = hello.session == self._session
        if not again:
            self._session, self._newest = hello.session, Mark()
        if self._stream:
            self._stream.end()
        log.info("lane %s: its agent is %s", self.settings.id, "attached again" if again else "attached")
        self._alive = True
        self._hearing()
        stream = self._stream = Stream(self._newest.number)
        self._renew()  # at once: the last one may be all but over
        self._lost_commands(hello.last_command)
        if self._is:
            stream.send_newest("lane", self._is)
        for device in self.devices.values():
            if isinstance(device, FarPrompt):
                device.show_again()
        return stream

    def _admit(self, hello: Hello) -> None:
        expected = tuple((d.name, d.driver, str(d.settings.get("side", ""))) for d in self.settings.devices)
        if hello.devices != expected:
            text = f"lane {self.settings.id} has other devices here: {_named(expected)}, there: {_named(hello.devices)}"
            raise AttachRefusedError(f"{text}; make driver and side of station.toml and lane.toml equal")
        wait_s = hello.wait_s and hello.wait_s + CUT_OFF_S  # the command may be under way for so long
        if wait_s > self.settings.release_within_s:
            text = f"lane {self.settings.id}: the turnstile there keeps a release for {hello.wait_s:g} s"
            raise AttachRefusedError(f"{text}; make release_within_s of station.toml {wait_s:g} or more")
        if self.settings.normally_open and not hello.refuses:
            text = f"lane {self.settings.id} is normally_open here, and the turnstile there cannot close on a refusal"
            raise AttachRefusedError(f"{text}; leave it out of station.toml, or give modbus-relay a stop_coil")
        if any(device.sink is None for device in self.devices.values()):
            raise NotReadyError("the lane does not run yet: try again")
        if self._alive and hello.session != self._session:
            if self._stream:
                raise LaneTakenError(f"another agent drives lane {self.settings.id}: stop it first")
            raise NotReadyError("the lane's last agent left a moment ago and may still act: try again")

    def detach(self, stream: Stream) -> None:
        """This connection is over; what that means shows when the agent is back, or is late."""
        stream.end()
        if stream is self._stream:
            self._stream = None

    def _lost_commands(self, last: Ref | None) -> None:
        """What the agent says it never received certainly had no effect, and will have none."""
        received = last.number if last and last.run == self._run else 0
        for number, pending in self._pending.items():
            if number > received:
                _resolve(pending, contract.Answer.REFUSED)
        released = self._released
        if released and released.number > received and released.number not in self._pending:
            self._give_up()  # its record must not wait for somebody who was never let through

    def device_ended(self) -> None:
        """The lane stops: so does its agent's stream, once."""
        if self._stream:
            self._stream.end()
        for timer in self._timers.values():
            timer.cancel()

    # --- reports up ----------------------------------------------------------------------------------------------

    def hear(self, stream: Stream, mark: Mark) -> bool:
        """A message has come; whether it is new: one that was sent again, or comes by an old stream, is not."""
        if stream is not self._stream:
            return False
        self._hearing()
        new = mark.number > self._newest.number
        if new:
            self._newest = mark
        return new

    def beat(self, stream: Stream) -> None:
        """Answer a beat, or a message that the agent keeps until it is answered."""
        stream.send(Heard(self._newest))

    def reported(self, device: FarDevice, said: contract.DeviceReport, release: Ref | None = None) -> None:
        """A device of the agent says something; `release`: the command that a passage followed."""
        if isinstance(said, contract.Passed) and not self._counts(said, release):
            return
        device.told(said)

    def _counts(self, said: contract.Passed, release: Ref | None) -> bool:
        """Whether a passage has no record yet: none is written twice, nor is one of ours called an intrusion later."""
        open_now = self._open_release()
        if release and not (open_now and release == Ref(self._run, open_now.number)):
            log.warning(
                "lane %s: somebody passed on a release, but it was told too late: that release's record stands",
                self.settings.id,
            )
            return False
        if open_now and said.direction is open_now.direction:
            self._released = None
        return True

    def _open_release(self) -> _Release | None:
        released = self._released
        return released if released and asyncio.get_running_loop().time() <= released.ends_s else None

    def answered(self, ref: Ref, answer: contract.Answer) -> None:
        """What became of a command."""
        if ref.run != self._run:
            return
        if answer is contract.Answer.REFUSED and self._released and self._released.number == ref.number:
            self._released = None
        if pending := self._pending.get(ref.number):
            _resolve(pending, answer)

    def sent(self, ref: Ref) -> None:
        """A command's bytes went out to the device."""
        pending = self._pending.get(ref.number) if ref.run == self._run else None
        if pending and pending.sent:
            pending.sent()

    # --- commands down -------------------------------------------------------------------------------------------

    async def command(
        self,
        device: str,
        order: str,
        lifetime_s: float,
        direction: contract.Direction | None = None,
        sent: Callable[[], None] | None = None,
    ) -> contract.Answer:
        """Let the agent do it, and wait for its answer; UNKNOWN when none comes."""
        self._numbers += 1
        number = self._numbers
        command = Command(Ref(self._run, number), device, self._newest, lifetime_s, order, direction)
        if not self._alive or not self._newest.number or not self._stream or not self._stream.send(command):
            return contract.Answer.REFUSED  # it was never sent
        loop = asyncio.get_running_loop()
        if direction:
            self._released = _Release(number, direction, loop.time() + lifetime_s)
            self._at("lapse", lifetime_s - BEFORE_LAPSE_S, self._before_lapse)
        pending = self._pending[number] = _Pending(loop.create_future(), sent)
        try:
            async with asyncio.timeout(lifetime_s):
                return await pending.answer
        except TimeoutError:
            return contract.Answer.UNKNOWN
        finally:
            del self._pending[number]

    def prompt(self, prompting: Prompting) -> None:
        """Let a prompt tell something, if an agent is there; the newest of a kind replaces what was not sent yet."""
        if self._stream:
            self._stream.send_newest(f"{prompting.order} {prompting.device}", prompting)

    def lane_is(self, mode: str, emergency: bool) -> None:
        """How the lane is now: its agent is told of every change."""
        now = LaneIs(mode, emergency)
        if now != self._is:
            self._is = now
            if self._stream:
                self._stream.send_newest("lane", now)

    # --- time ----------------------------------------------------------------------------------------------------

    def _at(self, name: str, after_s: float, act: Callable[[], None]) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(after_s, act)

    def _hearing(self) -> None:
        self._heard_s = asyncio.get_running_loop().time()
        if "late" not in self._timers:
            self._at("late", CUT_OFF_S, self._look)

    def _look(self) -> None:
        """Whether the agent is late: one timer for many messages."""
        del self._timers["late"]
        left_s = self._heard_s + CUT_OFF_S - asyncio.get_running_loop().time()
        if left_s > 0:
            self._at("late", left_s, self._look)
        else:
            self._cut_off()

    def _renew(self) -> None:
        if self._stream and self._newest.number:
            self._stream.send(Heard(self._newest, lease=True))
        if self._stream:
            self._at("lease", LEASE_EVERY_S, self._renew)

    def _cut_off(self) -> None:
        """Two beats are missing: from now on the agent does nothing more that we commanded."""
        log.warning("lane %s: its agent is cut off", self.settings.id)
        self._alive = False
        if self._stream:
            self.detach(self._stream)
        for pending in self._pending.values():
            _resolve(pending, contract.Answer.UNKNOWN)
        for device in self.devices.values():
            if not isinstance(device, FarTurnstile):
                device.told(_CUT_OFF)
        if not self._released or "lapse" not in self._timers:
            self._give_up()  # else the agent may be back in time with what became of the release

    def _before_lapse(self) -> None:
        """The lane is about to call its release lapsed; that needs an agent who would have told of a passage."""
        del self._timers["lapse"]
        if not self._released:
            return
        silent_s = asyncio.get_running_loop().time() - self._heard_s
        if not self._alive:
            self._give_up()
        elif silent_s > SILENT_S and self._released.number not in self._pending:
            self._cut_off()

    def _give_up(self) -> None:
        """The turnstile is lost, and with it the knowledge of who passes on the release under way."""
        self._released = None
        for device in self.devices.values():
            if isinstance(device, FarTurnstile):
                device.told(_CUT_OFF)


def _resolve(pending: _Pending, answer: contract.Answer) -> None:
    if not pending.answer.done():
        pending.answer.set_result(answer)


def _named(devices: tuple[tuple[str, str, str], ...]) -> str:
    return ", ".join(" ".join(part for part in device[1:] if part) for device in devices) or "none"
