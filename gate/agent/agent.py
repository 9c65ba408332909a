"""One lane's devices at work for a controller elsewhere: reports up, commands down, and back again after every cut."""

import asyncio
import logging
import random
import secrets
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, cast

import grpc
import grpc.aio

from drivers import contract, registry
from gate import config
from gate.agent.hands import CUT_OFF_S, Hands
from gate.agent.link import Link
from gate.agent.outbox import Outbox
from gate.tomltable import ConfigError
from gate.v1 import device_pb2, device_pb2_grpc

log = logging.getLogger(__name__)

BEAT_S = 0.5  # architecture.md: two missed beats of 500 ms mean cut off
WELCOME_S = 3.0  # to connect, shake hands and be welcome; a switch that drops packets answers nothing
END_TRIES_MAX = 5
END_TRY_S = 1.0  # longer than ending a hold may take
RESTART_DEVICE_S = 1.0  # a driver that fails by our own mistake is tried again; recovery is due within 2 s
# Steps of the back-off; the last is repeated. A lane must be back within 2 s of its network, so none is longer.
BACK_OFF_S = (0.1, 0.2, 0.4, 0.8, 1.2)
_JITTER = random.SystemRandom().random  # a whole gate line must not knock in step
# What the controller can only have because of a configuration: told to whoever starts the agent.
_WRONG = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED", "UNIMPLEMENTED"})


class _EndedError(Exception):
    """The stream is over; the text says why."""


class Agent:
    """Drives the devices of `lane`. Make it inside a loop, then `run` it."""

    def __init__(self, lane: config.Lane, link: Link) -> None:
        self._lane = lane
        self._link = link
        self._session = secrets.token_bytes(16)
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        self._now: Callable[[], float] = lambda: loop.time() - started_s
        self._outbox = Outbox(self._now)
        self._devices = {d.name: registry.create(d.driver, d.settings) for d in lane.devices}
        name = next((d.name for d in lane.devices if d.kind == "turnstile"), "")
        turnstile = cast(contract.Turnstile, self._devices[name]) if name else None
        self._turnstile = name
        self._hands = Hands(name, turnstile, self._outbox, self._now)
        self._heard_s = 0.0
        self._was_attached = False
        self.attached = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled. Raises ConfigError when the controller will not have this agent at all."""
        devices = [asyncio.create_task(self._drive(name), name=name) for name in self._devices]
        try:
            await _first_ended(self._hands.run(), self._stay_attached())
        finally:  # last: until then a hold is ended through them
            await _end(devices)

    # --- devices -------------------------------------------------------------------------------------------------

    async def _drive(self, name: str) -> None:
        """Run one driver; if it breaks it is reported down and started again."""

        def report(said: contract.DeviceReport) -> None:
            followed = self._hands.reported(said) if name == self._turnstile else None
            self._outbox.report(name, said, followed)

        while True:
            try:
                await self._devices[name].run(report)
            except Exception as error:
                # The error's text could quote bytes of a credential, so only its type and place are logged.
                log.error("driver of %s failed: %s", name, type(error).__name__)
                log.debug("traceback of the failed driver", exc_info=error)
            report(contract.Down(contract.DeviceFault.WORKER_LOST, "the driver stopped; starting it again"))
            await asyncio.sleep(RESTART_DEVICE_S)

    # --- the controller ------------------------------------------------------------------------------------------

    async def _stay_attached(self) -> None:
        failures, told = 0, ""
        while True:
            began_attached = False
            try:
                async with self._link.channel() as channel:
                    await self._attach(device_pb2_grpc.DeviceServiceStub(channel))
            except (grpc.aio.AioRpcError, TimeoutError, _EndedError) as error:
                why = self._why(error)
            finally:
                began_attached = self.attached.is_set()
                self.attached.clear()
                self._outbox.detach()
                self._hands.detached()
            if began_attached or why != told:
                log.warning("no controller: %s; nobody is released, trying again", why)
            failures, told = (0 if began_attached else failures + 1), why
            await asyncio.sleep(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)] * (0.5 + _JITTER() / 2))

    def _why(self, error: Exception) -> str:
        """Why there is no stream. Raises ConfigError if there never was one and never will be."""
        if isinstance(error, grpc.aio.AioRpcError):
            code, details = error.code().name, error.details() or ""
            if code in _WRONG and not self._was_attached:
                raise ConfigError("--controller", f"{self._link.controller} refuses: {code}: {details}") from error
            where = self._link.controller
            return (
                f"{code}: {details}"
                if code != "UNAVAILABLE"
                else f"{where} cannot be reached, or is not whom --ca says"
            )
        return str(error) or f"no welcome within {WELCOME_S:g} s"

    async def _attach(self, stub: Any) -> None:
        """One stream, from hello to its end. Raises AioRpcError, TimeoutError, _EndedError."""
        call = stub.Attach()
        try:
            async with asyncio.timeout(WELCOME_S):
                await _write(call, device_pb2.AttachRequest(hello=self._hello()))
                welcome = await _read(call)
            self._heard_s = self._now()
            self._outbox.attach(welcome.welcome.heard_number)
            self._was_attached = True
            self.attached.set()
            log.info("attached to %s", self._link.controller)
            await _first_ended(self._hear(call), self._tell(call), self._beat(), self._watch())
        finally:
            call.cancel()

    def _hello(self) -> device_pb2.AttachHello:
        hello = device_pb2.AttachHello(lane_id=self._lane.id, session_id=self._session, last_command=self._hands.last)
        for device in self._lane.devices:
            hello.devices.add(name=device.name, driver=device.driver, side=str(device.settings.get("side", "")))
        return hello

    async def _hear(self, call: Any) -> None:
        while True:
            message = await _read(call)
            self._heard_s = self._now()
            match message.WhichOneof("body"):
                case "heard":
                    self._hands.heard(message.heard.newest)
                    self._outbox.heard(message.heard.newest.number)
                case "lease":
                    self._hands.renewed(message.lease.newest)
                case "command":
                    self._hands.take(message.command)

    async def _tell(self, call: Any) -> None:
        while True:
            await _write(call, await self._outbox.next())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            self._outbox.beat()

    async def _watch(self) -> None:
        """End the stream when two beats were not answered, or when the controller takes too little."""
        while not self._outbox.overflowed:
            left_s = self._heard_s + CUT_OFF_S - self._now()
            if left_s <= 0:
                break
            await asyncio.sleep(min(left_s, BEAT_S))
        raise _EndedError("two beats were not answered")


async def _read(call: Any) -> Any:
    message = await call.read()  # raises AioRpcError when the controller refused or is gone
    if message is grpc.aio.EOF:  # type: ignore[attr-defined] # not in the stubs
        raise _EndedError("the controller ended the stream")
    return message


async def _write(call: Any, message: device_pb2.AttachRequest) -> None:
    try:
        await call.write(message)
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):  # it has ended: reading says why
        await _read(call)
        raise _EndedError("the controller ended the stream") from None


async def _first_ended(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one ends, and raise what it raised."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await _end(tasks)


async def _end(tasks: Sequence["asyncio.Future[None]"]) -> None:
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
