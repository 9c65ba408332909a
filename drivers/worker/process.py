"""A worker process seen from the controller: one child for all devices of a driver and an event loop, supervised.

It runs while any of its devices does. When it dies, hangs or talks nonsense, every device is told and it is started
again.
"""

import asyncio
import contextlib
import enum
import os
import signal
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from drivers.worker.codec import BEAT, DEVICE_MAX, BrokenStreamError, Message, Messages, Order, encode_order

RESTART_S = (0.3, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 30.0  # a process that lived so long starts again after the shortest wait
SILENT_S = 15.0  # it beats once a second; niced on a busy controller it may be late, but not by so much
END_S = 1.0


class Served(Protocol):
    """A device on the controller's side."""

    settings: Any  # a dataclass of plain values, sent at each start

    def hear(self, message: Message) -> None:
        """The process said something about this device."""

    def lost(self, why: str) -> None:
        """The process is gone and will be started again."""


class WorkerProcess:
    """The child process of all devices of one driver and one event loop; `noun` is what its messages call it."""

    def __init__(self, noun: str, kinds: type[enum.IntEnum], command: Callable[[], Sequence[str]]) -> None:
        self._noun, self._kinds, self._command = noun, kinds, command
        self._devices: dict[int, Served] = {}
        self._next = 0
        self._supervisor: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process else None

    async def serve(self, device: Served) -> None:
        """Have `device` looked after until cancelled."""
        number = self._number()
        self._devices[number] = device
        self._send(Order(number, device.settings))
        if self._supervisor is None or self._supervisor.done():
            self._supervisor = asyncio.create_task(self._supervise(), name=f"{self._noun} process")
        try:
            await asyncio.shield(self._supervisor)
        finally:
            del self._devices[number]
            self._send(Order(number))
            if not self._devices and self._supervisor:
                supervisor, self._supervisor = self._supervisor, None
                supervisor.cancel()
                await asyncio.gather(supervisor, return_exceptions=True)

    def _number(self) -> int:
        while self._next in self._devices:
            self._next = (self._next + 1) % (DEVICE_MAX + 1)
        number, self._next = self._next, (self._next + 1) % (DEVICE_MAX + 1)
        return number

    def _send(self, order: Order[Any]) -> None:
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(encode_order(order))

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            started_s = loop.time()
            why = await self._live()
            attempt = 0 if loop.time() - started_s > STEADY_S else attempt
            for device in list(self._devices.values()):
                device.lost(f"the {self._noun} process {why}; starting it again")
            await asyncio.sleep(RESTART_S[min(attempt, len(RESTART_S) - 1)])
            attempt += 1

    async def _live(self) -> str:
        """One life of the process; how it ended."""
        pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            # Its stderr would hold what native libraries print: addresses of streams with their passwords.
            process = await asyncio.create_subprocess_exec(*self._command(), stdin=pipe, stdout=pipe, stderr=nowhere)
        except OSError as error:
            return f"does not start: {os.strerror(error.errno or 0)}"
        self._process = process
        try:
            for number, device in self._devices.items():
                self._send(Order(number, device.settings))
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            why = await self._hear(process.stdout)
        finally:
            if self._process is process:
                self._process = None
            await _end(process)
        return f"{why} ({_exit(process.returncode)})"

    async def _hear(self, stdout: asyncio.StreamReader) -> str:
        messages = Messages(self._kinds)
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    data = await stdout.read(65536)
                if not data:
                    return "ended"
                for message in messages.feed(data):
                    device = self._devices.get(message.device)
                    if device and message.kind != BEAT:
                        device.hear(message)
        except TimeoutError:
            return f"was silent for {SILENT_S:.0f} s"
        except (BrokenStreamError, ValueError):  # its frame, or what is in it
            return "sent what is no message"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it end by itself, else kill it. Both waits are bounded: a process stuck in a device's driver cannot die."""
    if process.stdin:
        process.stdin.close()
    for kill in (False, True):
        with contextlib.suppress(TimeoutError, ProcessLookupError):
            if kill:
                process.kill()
            async with asyncio.timeout(END_S):
                await process.wait()
                return


def _exit(status: int | None) -> str:
    if status is None:
        return "still there"
    return signal.Signals(-status).name if status < 0 else f"exit status {status}"
