"""Carries out the commands of the controller in charge on the lane's turnstile, none twice and none too late.

A command holds for its lifetime by our own clock since the message of ours that it cites. It is not begun later than
`CUT_OFF_S` after the newest message of ours that the controller is known to have heard: by then it may have called the
command failed. A release that the turnstile has in time stays as long as it lives: people walk slower than beats.
What is held open ends with its lease, unless in an emergency: nothing is closed then. A controller that is not in
charge is refused.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from drivers import contract
from gate.agent.chief import CUT_OFF_S, Chief
from gate.devicewire import direction_of, seconds_of
from gate.v1 import device_pb2

log = logging.getLogger(__name__)

# A hold whose end the controller does not hear of would stay ended: so longer than a renewal of 1 s, a cut that it does
# not notice and the beat before it together, and a quarter of a second for a busy machine.
LEASE_S = 3.0
LIFETIME_S_MAX = 60.0  # the longest release_within_s of a configuration
WAITING_MAX = 16  # a lane commands one release and one hold at a time
STOP_S = 0.5  # for the hold to be ended when we stop
END_AGAIN_S = 0.5  # a hold whose end was not taken is ended again


@dataclass(frozen=True, slots=True)
class _Open:
    """A release that somebody may still walk on."""

    chief: Chief
    ref: device_pb2.CommandRef
    direction: contract.Direction
    ends_s: float


class Hands:
    """The turnstile of one lane under command; `now` is the agent's clock, in seconds since it started."""

    def __init__(self, name: str, turnstile: contract.Turnstile | None, chief: Chief, now: Callable[[], float]) -> None:
        self.chief = chief  # in charge; another one only while `idle`
        self._name = name
        self._turnstile = turnstile
        self._now = now
        self._waiting: asyncio.Queue[tuple[Chief, device_pb2.DeviceCommand]] = asyncio.Queue(WAITING_MAX)
        self._busy = False
        self._holder: Chief | None = None  # who holds it open
        self._end_again_s = float("-inf")
        self._open: _Open | None = None
        self._closer: Chief | None = None  # who keeps a gate closed that stands open at rest
        self._closing: asyncio.Task[None] | None = None
        self._alarm = False  # the emergency input acts
        self._was_alarm = False  # it acted, and the controller has not taken the barrier back since

    @property
    def idle(self) -> bool:
        """Whether nobody may still walk on a release, and nothing is being carried out."""
        walking = self._open is not None and self._now() <= self._open.ends_s
        return not (walking or self._busy or self._closing) and self._waiting.empty()

    @property
    def alarm(self) -> bool:
        """Whether the emergency input acts."""
        return self._alarm

    # --- what comes from outside, at once -----------------------------------------------------------------------

    def heard(self, chief: Chief, newest: device_pb2.Mark) -> None:
        """The controller heard this message of ours."""
        chief.heard_s = max(chief.heard_s, seconds_of(newest.since_start_duration))

    def renewed(self, chief: Chief, newest: device_pb2.Mark) -> None:
        """What is held open may stay so. Of one that is not in charge any more, it may not."""
        self.heard(chief, newest)
        if chief is not self.chief:
            return
        chief.lease_ends_s = max(chief.lease_ends_s, seconds_of(newest.since_start_duration) + LEASE_S)

    def take(self, chief: Chief, command: device_pb2.DeviceCommand) -> None:
        """A command has come; one that came before is not carried out again."""
        ref = command.ref
        if chief.last and chief.last.run_id == ref.run_id and ref.number <= chief.last.number:
            return
        chief.last = ref
        self.heard(chief, command.cites)
        if self._waiting.full() or chief is not self.chief:
            chief.outbox.answer(ref, contract.Answer.REFUSED)
        else:
            self._waiting.put_nowait((chief, command))

    def detached(self, chief: Chief) -> None:
        """The stream has ended: what waits was commanded by somebody who may count it as failed."""
        if chief is self.chief:
            while not self._waiting.empty():
                chief.outbox.answer(self._waiting.get_nowait()[1].ref, contract.Answer.REFUSED)

    def reported(self, said: contract.DeviceReport) -> tuple[Chief, device_pb2.CommandRef] | None:
        """The turnstile reports; whose command a passage followed, and which."""
        if isinstance(said, contract.Emergency):
            self._alarm = said.active
            self._was_alarm = self._was_alarm or said.active
        if not isinstance(said, contract.Passed) or self._open is None:
            return None
        followed = self._open
        if self._now() > followed.ends_s or said.direction is not followed.direction:
            return None
        self._open = None
        return followed.chief, followed.ref

    # --- one after the other ---------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Carry out until cancelled, and then hold nothing any more."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._until_lease_ends_s()):
                        chief, command = await self._waiting.get()
                except TimeoutError:
                    await self._lease_ended()
                else:
                    await self._do(chief, command)
        finally:
            if self._closing:
                self._closing.cancel()
            if self._holder and not self._was_alarm:
                async with asyncio.timeout(STOP_S):
                    await self._end_hold()

    async def _do(self, chief: Chief, command: device_pb2.DeviceCommand) -> None:
        if command.WhichOneof("order") in ("refuse", "stand_closed"):
            # A driver waits for the walkway to be clear: a release in the meantime must not wait, and goes before it.
            if self._closing is None:
                self._closing = asyncio.create_task(self._close(chief, command))
                await asyncio.sleep(0)  # it begins before any release that follows, and so knows that one came after
            else:
                chief.outbox.answer(command.ref, contract.Answer.REFUSED)  # it closes already
            return
        self._busy = True
        try:
            chief.outbox.answer(command.ref, await self._carry_out(chief, command))
        finally:
            self._busy = False

    async def _close(self, chief: Chief, command: device_pb2.DeviceCommand) -> None:
        try:
            chief.outbox.answer(command.ref, await self._carry_out(chief, command))
        finally:
            self._closing = None

    async def _carry_out(self, chief: Chief, command: device_pb2.DeviceCommand) -> contract.Answer:
        turnstile, left_s = self._turnstile, self._left_s(chief, command)
        if turnstile is None or command.device != self._name or left_s <= 0:
            log.warning("a command came too late, or for no turnstile: not carried out")
            return contract.Answer.REFUSED
        try:
            match command.WhichOneof("order"):
                case "release":
                    return await self._release(turnstile, chief, command, left_s)
                case "hold_open":
                    self._holder = chief  # even if the answer is lost: what may be open ends with its lease
                    chief.lease_ends_s = max(chief.lease_ends_s, chief.heard_s + LEASE_S)
                    return await turnstile.hold_open()
                case "end_hold" if not self._alarm_unknown_to(chief, command):
                    self._was_alarm = False
                    return await self._end_hold()
                case "refuse" | "stand_closed" | "stand_open" as order if hasattr(turnstile, "refuse"):
                    return await self._bar(cast(contract.NormallyOpen, turnstile), chief, command, order)
        except Exception as error:
            log.error("command failed: %s", type(error).__name__)  # the traceback is of the driver: with --verbose
            log.debug("traceback of the failed command", exc_info=error)
            return contract.Answer.UNKNOWN
        return contract.Answer.REFUSED

    async def _bar(
        self, gate: contract.NormallyOpen, chief: Chief, command: device_pb2.DeviceCommand, order: str
    ) -> contract.Answer:
        if order == "stand_open":
            return await self._stand_open(gate)
        if self._alarm_unknown_to(chief, command):
            return contract.Answer.REFUSED
        if order == "refuse":
            return await gate.refuse()
        self._closer = chief  # even if the answer is lost: what may be closed ends with its lease
        chief.lease_ends_s = max(chief.lease_ends_s, chief.heard_s + LEASE_S)
        return await gate.stand_closed()

    async def _stand_open(self, gate: contract.NormallyOpen) -> contract.Answer:
        answer = await gate.stand_open()
        if answer is contract.Answer.ACCEPTED:
            self._closer = None
        return answer

    def _left_s(self, chief: Chief, command: device_pb2.DeviceCommand) -> float:
        """How long it may still be begun."""
        return min(_ends_s(command), chief.heard_s + CUT_OFF_S) - self._now()

    async def _release(
        self, turnstile: contract.Turnstile, chief: Chief, command: device_pb2.DeviceCommand, left_s: float
    ) -> contract.Answer:
        direction, was_sent = direction_of(command.release.direction), False
        self._open = _Open(chief, command.ref, direction, _ends_s(command))

        def sent() -> None:
            nonlocal was_sent
            was_sent = True
            chief.outbox.sent(command.ref)

        try:
            async with asyncio.timeout(left_s):  # a driver that is ended destroys what is not sent yet
                answer = await turnstile.release(direction, _ends_s(command) - self._now(), sent)
        except TimeoutError:
            answer = contract.Answer.UNKNOWN if was_sent else contract.Answer.REFUSED
        if answer is contract.Answer.REFUSED:
            self._open = None
        elif not self._alarm_unknown_to(chief, command):
            self._was_alarm = False
        return answer

    def _alarm_unknown_to(self, chief: Chief, command: device_pb2.DeviceCommand) -> bool:
        """Whether the alarm acts, or acted after what the controller knew when it commanded."""
        return self._alarm or command.cites.number < chief.alarm_number

    async def _end_hold(self) -> contract.Answer:
        assert self._turnstile is not None  # noqa: S101 - only a turnstile is held
        answer = await self._turnstile.end_hold()
        if answer is contract.Answer.ACCEPTED:
            self._holder = None
        return answer

    def _until_lease_ends_s(self) -> float | None:
        holder = None if self._was_alarm else self._holder
        ends_s = [chief.lease_ends_s for chief in (holder, self._closer) if chief]
        return max(0.0, max(min(ends_s), self._end_again_s) - self._now()) if ends_s else None

    async def _lease_ended(self) -> None:
        now_s = self._now()
        held = self._holder and not self._was_alarm and now_s >= self._holder.lease_ends_s
        closed = self._closer and now_s >= self._closer.lease_ends_s
        if not held and not closed:
            return
        log.warning("the controller renews no more what is held %s: as at rest again", "open" if held else "closed")
        self._end_again_s = now_s + END_AGAIN_S
        try:
            if held:
                await self._end_hold()
            if closed:
                await self._stand_open(cast(contract.NormallyOpen, self._turnstile))
        except Exception as error:
            log.error("ending it failed: %s", type(error).__name__)


def _ends_s(command: device_pb2.DeviceCommand) -> float:
    """When its lifetime is over, by our own clock."""
    lifetime_s = min(seconds_of(command.lifetime_duration), LIFETIME_S_MAX)
    return seconds_of(command.cites.since_start_duration) + lifetime_s
