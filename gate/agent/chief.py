"""One controller as the agent has it: what is told to it, what was heard of it, and one stream after the other.

An agent that may decide by itself has two: the station's controller, and the small station on its own computer. Both
are attached all the time; one of them is in charge.
"""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from gate.agent.link import Link
from gate.agent.outbox import Outbox
from gate.tomltable import ConfigError
from gate.v1 import device_pb2, device_pb2_grpc

log = logging.getLogger(__name__)

CUT_OFF_S = 1.25  # two missed beats of 500 ms, the second half a beat late: as gate/station/far.py has it
BEAT_S = 0.5  # architecture.md: two missed beats of 500 ms mean cut off
WELCOME_S = 3.0  # to connect, shake hands and be welcome; a switch that drops packets answers nothing
END_TRIES_MAX = 5
END_TRY_S = 1.0  # longer than ending a hold may take
# Steps of the back-off; the last is repeated. A lane must be back within 2 s of its network, so none is longer.
BACK_OFF_S = (0.1, 0.2, 0.4, 0.8, 1.2)
_JITTER = random.SystemRandom().random  # a whole gate line must not knock in step
# What the controller can only have because of a configuration: told to whoever starts the agent.
_WRONG = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNIMPLEMENTED"})
_NEVER_S = float("-inf")


class EndedError(Exception):
    """The stream is over; the text says why."""


@dataclass(slots=True)
class Chief:
    """What the agent knows of one controller. All instants are of the agent's own clock."""

    outbox: Outbox
    session: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    last: device_pb2.CommandRef | None = None  # the newest command received
    heard_s: float = _NEVER_S  # our newest message that it is known to have heard
    lease_ends_s: float = _NEVER_S
    alarm_number: int = 0  # our message that told it the newest change of the emergency input
    answered_s: float = _NEVER_S  # when something of it was last heard
    attached: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Calls:
    """What a chief's streams need of the agent."""

    hello: Callable[[Chief], device_pb2.AttachHello]
    hear: Callable[[Chief, Any], None]
    opened: Callable[[Chief], None]
    closed: Callable[[Chief], None]


class Streams:
    """Keeps one chief attached. Make it inside a loop."""

    def __init__(
        self,
        chief: Chief,
        link: Link,
        calls: Calls,
        now: Callable[[], float],
        without: str,
        listens: asyncio.Event | None = None,
    ) -> None:
        self._chief = chief
        self._link = link
        self._calls = calls
        self._now = now
        self._without = without  # what happens at the lane without this controller
        self._listens = listens  # not tried before it does
        self._was_attached = False

    async def run(self) -> None:
        """Attach, again and again, until cancelled. Raises ConfigError when the controller will not have us at all."""
        failures, told = 0, ""
        if self._listens:
            await self._listens.wait()
        while True:
            was_attached = False
            try:
                async with self._link.channel() as channel:
                    await self._attach(device_pb2_grpc.DeviceServiceStub(channel))
            except (grpc.aio.AioRpcError, TimeoutError, EndedError) as error:
                why = self._why(error)
            finally:
                was_attached = self._chief.attached.is_set()
                self._chief.attached.clear()
                self._chief.outbox.detach()
                self._calls.closed(self._chief)
            if was_attached or why != told:
                log.warning("no controller: %s; %s, trying again", why, self._without)
            failures, told = (0 if was_attached else failures + 1), why
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)] * (0.5 + _JITTER() / 2))

    def _why(self, error: Exception) -> str:
        """Why there is no stream. Raises ConfigError if there never was one and never will be."""
        where = self._link.controller
        if isinstance(error, grpc.aio.AioRpcError):
            code, details = error.code().name, error.details() or ""
            if code in _WRONG and not self._was_attached:
                raise ConfigError("--controller", f"{where} refuses: {code}: {details}") from error
            if code == "UNAVAILABLE":
                return f"{where} cannot be reached, or is not whom --ca says"
            return f"{code}: {details}"
        return str(error) or f"no welcome within {WELCOME_S:g} s"

    async def _attach(self, stub: Any) -> None:
        """One stream, from hello to its end. Raises AioRpcError, TimeoutError, EndedError."""
        chief, call = self._chief, stub.Attach()
        try:
            async with asyncio.timeout(WELCOME_S):
                await _write(call, device_pb2.AttachRequest(hello=self._calls.hello(chief)))
                welcome = await _read(call)
            chief.answered_s = self._now()
            chief.outbox.attach(welcome.welcome.heard_number)
            self._was_attached = True
            chief.attached.set()
            log.info("attached to %s", self._link.controller)
            self._calls.opened(chief)
            await first_ended(self._hear(call), self._tell(call), self._beat(), self._watch())
        finally:
            call.cancel()

    async def _hear(self, call: Any) -> None:
        while True:
            message = await _read(call)
            self._chief.answered_s = self._now()
            self._calls.hear(self._chief, message)

    async def _tell(self, call: Any) -> None:
        while True:
            await _write(call, await self._chief.outbox.next())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._chief.outbox.beat()

    async def _watch(self) -> None:
        """End the stream when two beats were not answered, or when the controller takes too little."""
        while not self._chief.outbox.overflowed:
            left_s = self._chief.answered_s + CUT_OFF_S - self._now()
            if left_s <= 0:
                break
            await asyncio.sleep(min(left_s, BEAT_S))
        raise EndedError("two beats were not answered")


async def _read(call: Any) -> Any:
    message = await call.read()  # raises AioRpcError when the controller refused or is gone
    if message is grpc.aio.EOF:  # type: ignore[attr-defined] # not in the stubs
        raise EndedError("the controller ended the stream")
    return message


async def _write(call: Any, message: device_pb2.AttachRequest) -> None:
    try:
        await call.write(message)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended: reading says why
        await _read(call)
        raise EndedError("the controller ended the stream") from None


async def first_ended(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, and raise what it raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await end(tasks)


async def end(tasks: Sequence["asyncio.Future[None]"]) -> None:
    """Cancel until everything has ended: a library below a driver may take one cancellation for a time-out."""
    pending = {task for task in tasks if not task.done()}
    for _ in range(END_TRIES_MAX):
        for task in pending:
            task.cancel()
        if pending:
            _, pending = await asyncio.wait(pending, timeout=END_TRY_S)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # said elsewhere
