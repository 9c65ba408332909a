"""One lane's devices at work for a controller elsewhere: reports up, commands down, and back again after every cut.

With a deputy (`--with-feed`) a small station on this computer takes charge while the controller is cut off. It is
attached by the same stream as the controller, all the time; which of the two is in charge changes only while nobody is
under way, so no passage ever has two masters.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol, cast

from drivers import contract, registry
from gate import config
from gate.agent.chief import CUT_OFF_S, Calls, Chief, Streams, end, first_ended
from gate.agent.hands import Hands
from gate.agent.link import Link
from gate.agent.outbox import Outbox, States
from gate.agent.prompts import Prompts
from gate.devicewire import set_duration
from gate.v1 import device_pb2, lane_pb2

log = logging.getLogger(__name__)

RESTART_DEVICE_S = 1.0  # a driver that fails by our own mistake is tried again; recovery is due within 2 s
LOOK_S = 0.05  # how often it is looked whether charge can change: a lane that is never free for long must be met free
# A lane where one passenger follows the other is never free: after so long the deputy is given nobody more.
HAND_BACK_S = 10.0
HANDED_S = 5.0  # for the controller's disk; then the passages are sent again
HAND_OVER_EVERY_S = 0.5
STOP_DEPUTY_S = 10.0  # a station lets who is under way finish for 5 s, and ends its journal in 2 s
_PRESENTED = (contract.CardReport, contract.CodeReport, contract.CardNumberReport, contract.Unread)


class Deputy(Protocol):
    """Who decides while the controller is cut off; `gate/agent/deputy.py` is one."""

    link: Link
    listens: asyncio.Event  # at its link

    async def run(self) -> None:
        """Work until `stop`, and end in good order. Raises what a station raises."""

    def stop(self) -> None:
        """Begin to end: nobody new."""

    @property
    def ready(self) -> bool:
        """Whether it has looked at its feeds and can decide."""

    @property
    def idle(self) -> bool:
        """Whether nobody is under way at its lane."""

    def take_charge(self, mode: str, emergency: bool) -> None:
        """Go on where the controller was; `mode` "": not known."""

    async def decided(self) -> list[bytes]:
        """The next passages that were not handed over, as lines of its journal."""

    async def handed_over(self) -> None:
        """What `decided` gave last is on the controller's disk."""


class Agent:
    """Drives the devices of `lane`. Make it inside a loop, then `run` it."""

    def __init__(self, lane: config.Lane, link: Link, deputy: Deputy | None = None) -> None:
        self._lane = lane
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        self._now: Callable[[], float] = lambda: loop.time() - started_s
        self._devices = {d.name: registry.create(d.driver, d.settings) for d in lane.devices}
        name = next((d.name for d in lane.devices if d.kind == "turnstile"), "")
        turnstile = cast(contract.Turnstile, self._devices[name]) if name else None
        self._turnstile = name
        states: States = {}
        self._controller = Chief(Outbox(self._now, states))
        self._chiefs = [self._controller]
        calls = Calls(self._hello, self._hear, self._opened, self._closed)
        without = "deciding here by the replicated feed" if deputy else "nobody is released"
        self._streams = [Streams(self._controller, link, calls, self._now, without)]
        self._deputy = deputy
        if deputy:
            self._chiefs.append(Chief(Outbox(self._now, states, in_charge=False)))
            self._streams.append(Streams(self._chiefs[1], deputy.link, calls, self._now, "no deputy", deputy.listens))
        self._hands = Hands(name, turnstile, self._controller, self._now)
        self._prompts = Prompts(
            {d.name: cast(contract.Prompt, self._devices[d.name]) for d in lane.devices if d.kind == "prompt"}
        )
        self._lane_is = device_pb2.AttachLane()  # as the controller last told it
        self._wanted_back_s: float | None = None  # since when the controller is back while the deputy is in charge
        self._handed = asyncio.Event()
        self._handing = 0  # the message that hands passages over
        self.attached = self._controller.attached

    @property
    def decides(self) -> bool:
        """Whether the deputy is in charge."""
        return self._hands.chief is not self._controller

    async def run(self) -> None:
        """Work until cancelled. Raises ConfigError when the controller will not have this agent at all."""
        devices = [asyncio.create_task(self._drive(name), name=name) for name in self._devices]
        streams = [asyncio.create_task(each.run()) for each in self._streams]
        deputies = [asyncio.create_task(self._deputy.run())] if self._deputy else []
        governing = [self._govern(self._deputy), self._hand_over(self._deputy)] if self._deputy else []
        try:
            await first_ended(self._hands.run(), *map(_result_of, (*streams, *deputies)), *governing)
        finally:  # devices last: until then a hold is ended through them, and who is under way at the deputy's walks
            if self._deputy:
                self._deputy.stop()
                await asyncio.wait(deputies, timeout=STOP_DEPUTY_S)
            await end([*streams, *deputies])
            await end(devices)

    # --- devices -------------------------------------------------------------------------------------------------

    async def _drive(self, name: str) -> None:
        """Run one driver; if it breaks it is reported down and started again."""
        while True:
            try:
                await self._devices[name].run(lambda said: self._report(name, said))
            except Exception as error:
                # The error's text could quote bytes of a credential, so only its type and place are logged.
                log.error("driver of %s failed: %s", name, type(error).__name__)
                log.debug("traceback of the failed driver", exc_info=error)
            self._report(name, contract.Down(contract.DeviceFault.WORKER_LOST, "the driver stopped; starting it again"))
            await asyncio.sleep(RESTART_DEVICE_S)

    def _report(self, name: str, said: contract.DeviceReport) -> None:
        """To who is in charge; a passage to whose release it followed; an alarm to both."""
        followed = self._hands.reported(said) if name == self._turnstile else None
        if isinstance(said, contract.Emergency):
            for chief in self._chiefs:
                chief.alarm_number = chief.outbox.last_number + 1  # told right now
                chief.outbox.report(name, said)
        elif followed:
            chief, release = followed
            chief.outbox.report(name, said, release)
        elif not (isinstance(said, _PRESENTED) and self._is_leaving):
            self._hands.chief.outbox.report(name, said)

    # --- the controllers -----------------------------------------------------------------------------------------

    def _hello(self, chief: Chief) -> device_pb2.AttachHello:
        hello = device_pb2.AttachHello(lane_id=self._lane.id, session_id=chief.session, last_command=chief.last)
        for device in self._lane.devices:
            side = str(device.settings.get("side", ""))
            told = hello.devices.add(name=device.name, driver=device.driver, side=side, refuses=device.refuses)
            set_duration(told.wait_duration, device.wait_s)
        return hello

    def _opened(self, chief: Chief) -> None:
        if chief is self._hands.chief:
            self._prompts.follow(chief)

    def _closed(self, chief: Chief) -> None:
        self._hands.detached(chief)
        self._prompts.gone(chief, chief is self._hands.chief, self._hands.alarm)

    def _hear(self, chief: Chief, message: Any) -> None:
        match message.WhichOneof("body"):
            case "heard":
                self._hands.heard(chief, message.heard.newest)
                chief.outbox.heard(message.heard.newest.number)
            case "lease":
                self._hands.renewed(chief, message.lease.newest)
            case "command":
                self._hands.take(chief, message.command)
            case "prompt":
                self._prompts.take(chief, message.prompt, in_charge=chief is self._hands.chief)
            case "lane" if chief is self._controller:
                self._lane_is = message.lane
            case "handover_taken" if message.handover_taken.number == self._handing:
                self._handed.set()

    # --- who is in charge ----------------------------------------------------------------------------------------

    @property
    def _is_leaving(self) -> bool:
        """Whether the deputy is given nobody more."""
        return self._wanted_back_s is not None and self._now() - self._wanted_back_s > HAND_BACK_S

    async def _govern(self, deputy: Deputy) -> None:
        own = self._chiefs[1]
        while True:
            await asyncio.sleep(LOOK_S)
            if not self.decides:
                alone = not self.attached.is_set() and self._now() - self._controller.answered_s > CUT_OFF_S
                if alone and self._hands.idle and deputy.ready and own.attached.is_set():
                    log.warning("the controller is cut off: deciding here by the replicated feed")
                    self._follow_controller(deputy, own)
                    self._charge(own)
            elif not self.attached.is_set():
                self._wanted_back_s = None
            else:
                self._wanted_back_s = self._wanted_back_s or self._now()
                if deputy.idle and self._hands.idle and own.outbox.quiet:
                    log.info("the controller decides again")
                    self._charge(self._controller)

    def _charge(self, chief: Chief) -> None:
        """From now on `chief` is told everything and obeyed. Only while nobody is under way."""
        self._hands.chief.outbox.in_charge = False
        self._hands.chief = chief
        self._wanted_back_s = None
        chief.outbox.take_charge(self._turnstile)
        self._prompts.follow(chief)

    def _follow_controller(self, deputy: Deputy, own: Chief) -> None:
        """The lane stays what staff made it, and in the emergency that it is in; a hold ended with its lease."""
        mode = lane_pb2.LaneMode.Name(self._lane_is.mode).removeprefix("LANE_MODE_")
        known = mode != "UNSPECIFIED"
        deputy.take_charge("" if mode in ("FREE", "UNSPECIFIED") else mode, not known or self._lane_is.emergency)
        if known and self._lane_is.emergency and self._turnstile and not self._hands.alarm:
            for active in (True, False):  # it acted before this agent was started: nobody here has seen it
                own.outbox.report(self._turnstile, contract.Emergency(active))

    # --- what was decided here -----------------------------------------------------------------------------------

    async def _hand_over(self, deputy: Deputy) -> None:
        """Give the controller every passage that the deputy wrote down, in order, each until it is on its disk."""
        failing = False
        while True:
            await self.attached.wait()
            try:
                more = await self._hand_over_next(deputy)
                failing = False
            except OSError as error:
                if not failing:
                    log.error("what was decided here cannot be handed over: %s; trying again", error)
                failing, more = True, False
            if not more:
                await asyncio.sleep(HAND_OVER_EVERY_S)

    async def _hand_over_next(self, deputy: Deputy) -> bool:
        """The next passages; whether there were any. Raises OSError of the deputy's disk."""
        lines = await deputy.decided()
        if not lines:
            return False
        self._handed.clear()
        self._handing = self._controller.outbox.handover(lines)
        try:
            async with asyncio.timeout(HANDED_S):
                await self._handed.wait()
        except TimeoutError:
            return False  # the same again
        await deputy.handed_over()
        return True


async def _result_of(task: "asyncio.Task[None]") -> None:
    """What a task raises, without cancelling it with us."""
    await asyncio.shield(task)
