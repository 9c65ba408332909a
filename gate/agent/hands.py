"""Carries out the controller's commands on the lane's turnstile, none twice and none too late.

A command holds for its lifetime by our own clock since the message of ours that it cites, and not longer than
`CUT_OFF_S` after the newest message of ours that the controller is known to have heard: later than that it may already
have called the command failed. What is held open ends with its lease, unless in an emergency: nothing is closed then.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from drivers import contract
from gate.agent.outbox import Outbox
from gate.devicewire import direction_of, seconds_of
from gate.v1 import device_pb2

log = logging.getLogger(__name__)

CUT_OFF_S = 1.25  # two missed beats of 500 ms, the second half a beat late: as gate/station/far.py has it
LEASE_S = 2.5  # two renewals of 1 s and half a one: one may be lost
LIFETIME_S_MAX = 60.0  # the longest release_within_s of a configuration
WAITING_MAX = 16  # a lane commands one release and one hold at a time
STOP_S = 0.5  # for the hold to be ended when we stop
END_AGAIN_S = 0.5  # a hold whose end was not taken is ended again


@dataclass(frozen=True, slots=True)
class _Open:
    """A release that somebody may still walk on."""

    ref: device_pb2.CommandRef
    direction: contract.Direction
    ends_s: float


class Hands:
    """The turnstile of one lane under command; `now` is the agent's clock, in seconds since it started."""

    def __init__(
        self, name: str, turnstile: contract.Turnstile | None, outbox: Outbox, now: Callable[[], float]
    ) -> None:
        self._name = name
        self._turnstile = turnstile
        self._outbox = outbox
        self._now = now
        self._waiting: asyncio.Queue[device_pb2.DeviceCommand] = asyncio.Queue(WAITING_MAX)
        self.last: device_pb2.CommandRef | None = None  # the newest command received
        self._heard_s = float("-inf")  # our newest message that the controller is known to have heard
        self._lease_ends_s = float("-inf")
        self._holding = False
        self._end_again_s = float("-inf")
        self._open: _Open | None = None
        self._alarm = False  # the emergency input acts
        self._alarm_number = 0  # our message that told the newest change of it
        self._was_alarm = False  # it acted, and the controller has not taken the barrier back since

    # --- what comes from outside, at once -----------------------------------------------------------------------

    def heard(self, newest: device_pb2.Mark) -> None:
        """The controller heard this message of ours."""
        self._heard_s = max(self._heard_s, seconds_of(newest.since_start_duration))

    def renewed(self, newest: device_pb2.Mark) -> None:
        """What is held open may stay so."""
        self.heard(newest)
        self._lease_ends_s = max(self._lease_ends_s, seconds_of(newest.since_start_duration) + LEASE_S)

    def take(self, command: device_pb2.DeviceCommand) -> None:
        """A command has come; one that came before is not carried out again."""
        ref = command.ref
        if self.last and self.last.run_id == ref.run_id and ref.number <= self.last.number:
            return
        self.last = ref
        self.heard(command.cites)
        if self._waiting.full():
            self._outbox.answer(ref, contract.Answer.REFUSED)
        else:
            self._waiting.put_nowait(command)

    def detached(self) -> None:
        """The stream has ended: what waits was commanded by somebody who may count it as failed."""
        while not self._waiting.empty():
            self._outbox.answer(self._waiting.get_nowait().ref, contract.Answer.REFUSED)

    def reported(self, said: contract.DeviceReport) -> device_pb2.CommandRef | None:
        """The turnstile reports; the command that a passage followed."""
        if isinstance(said, contract.Emergency):
            self._alarm = said.active
            self._was_alarm = self._was_alarm or said.active
            self._alarm_number = self._outbox.last_number + 1  # told right after this
        if not isinstance(said, contract.Passed) or self._open is None:
            return None
        followed = self._open
        if self._now() > followed.ends_s or said.direction is not followed.direction:
            return None
        self._open = None
        return followed.ref

    # --- one after the other ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry out until cancelled, and then hold nothing any more."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._until_lease_ends_s()):
                        command = await self._waiting.get()
                except TimeoutError:
                    await self._lease_ended()
                else:
                    self._outbox.answer(command.ref, await self._carry_out(command))
        finally:
            if self._holding and not self._was_alarm:
                async with asyncio.timeout(STOP_S):
                    await self._end_hold()

    async def _carry_out(self, command: device_pb2.DeviceCommand) -> contract.Answer:
        turnstile, left_s = self._turnstile, self._left_s(command)
        if turnstile is None or command.device != self._name or left_s <= 0:
            log.warning("a command came too late, or for no turnstile: not carried out")
            return contract.Answer.REFUSED
        try:
            match command.WhichOneof("order"):
                case "release":
                    return await self._release(turnstile, command, left_s)
                case "hold_open":
                    self._holding = True  # even if the answer is lost: what may be open ends with its lease
                    self._lease_ends_s = max(self._lease_ends_s, self._heard_s + LEASE_S)
                    return await turnstile.hold_open()
                case "end_hold" if not self._alarm_unknown_to(command):
                    self._was_alarm = False
                    return await self._end_hold()
        except Exception as error:
            log.error("command failed: %s", type(error).__name__)  # the traceback is of the driver: with --verbose
            log.debug("traceback of the failed command", exc_info=error)
            return contract.Answer.UNKNOWN
        return contract.Answer.REFUSED

    def _left_s(self, command: device_pb2.DeviceCommand) -> float:
        lifetime_s = min(seconds_of(command.lifetime_duration), LIFETIME_S_MAX)
        ends_s = seconds_of(command.cites.since_start_duration) + lifetime_s
        return min(ends_s, self._heard_s + CUT_OFF_S) - self._now()

    async def _release(
        self, turnstile: contract.Turnstile, command: device_pb2.DeviceCommand, left_s: float
    ) -> contract.Answer:
        direction = direction_of(command.release.direction)
        ends_s = seconds_of(command.cites.since_start_duration) + seconds_of(command.lifetime_duration)
        self._open = _Open(command.ref, direction, ends_s)
        answer = await turnstile.release(direction, left_s, lambda: self._outbox.sent(command.ref))
        if answer is contract.Answer.REFUSED:
            self._open = None
        elif not self._alarm_unknown_to(command):
            self._was_alarm = False
        return answer

    def _alarm_unknown_to(self, command: device_pb2.DeviceCommand) -> bool:
        """Whether the alarm acts, or acted after what the controller knew when it commanded."""
        return self._alarm or command.cites.number < self._alarm_number

    async def _end_hold(self) -> contract.Answer:
        assert self._turnstile is not None  # noqa: S101 - only a turnstile is held
        answer = await self._turnstile.end_hold()
        if answer is contract.Answer.ACCEPTED:
            self._holding = False
        return answer

    def _until_lease_ends_s(self) -> float | None:
        if not self._holding or self._was_alarm:
            return None
        return max(0.0, max(self._lease_ends_s, self._end_again_s) - self._now())

    async def _lease_ended(self) -> None:
        if self._was_alarm or not self._holding or self._now() < self._lease_ends_s:
            return
        log.warning("the controller renews no more what is held open: back to one person per release")
        self._end_again_s = self._now() + END_AGAIN_S
        try:
            await self._end_hold()
        except Exception as error:
            log.error("ending the hold failed: %s", type(error).__name__)
