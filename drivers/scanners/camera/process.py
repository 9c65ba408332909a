"""The camera process seen from the controller: one child for all cameras of an event loop, supervised.

It runs while any camera does. When it dies, hangs or talks nonsense, every camera is told and it is started again.
"""

import asyncio
import contextlib
import os
import signal
import sys
import weakref
from typing import Protocol

from drivers.scanners.camera.codec import (
    CAMERA_MAX,
    BrokenStreamError,
    CameraSettings,
    Kind,
    Message,
    Messages,
    Order,
    encode_order,
)

COMMAND = (sys.executable, "-m", "drivers.scanners.camera.worker")
RESTART_S = (0.3, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 30.0  # a process that lived so long starts again after the shortest wait
SILENT_S = 15.0  # it beats once a second; niced on a busy controller it may be late, but not by so much
END_S = 1.0


class Served(Protocol):
    """A camera on the controller's side."""

    settings: CameraSettings

    def hear(self, message: Message) -> None:
        """The process said something about this camera."""

    def lost(self, why: str) -> None:
        """The process is gone and will be started again."""


class CameraProcess:
    """The child process of all cameras of one event loop."""

    def __init__(self) -> None:
        self._cameras: dict[int, Served] = {}
        self._next = 0
        self._supervisor: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process else None

    async def serve(self, camera: Served) -> None:
        """Have `camera` looked after until cancelled."""
        number = self._number()
        self._cameras[number] = camera
        self._send(Order(number, camera.settings))
        if self._supervisor is None or self._supervisor.done():
            self._supervisor = asyncio.create_task(self._supervise(), name="cameras")
        try:
            await asyncio.shield(self._supervisor)
        finally:
            del self._cameras[number]
            self._send(Order(number))
            if not self._cameras and self._supervisor:
                supervisor, self._supervisor = self._supervisor, None
                supervisor.cancel()
                await asyncio.gather(supervisor, return_exceptions=True)

    def _number(self) -> int:
        while self._next in self._cameras:
            self._next = (self._next + 1) % (CAMERA_MAX + 1)
        number, self._next = self._next, (self._next + 1) % (CAMERA_MAX + 1)
        return number

    def _send(self, order: Order) -> None:
        if self._process and self._process.stdin and not self._process.stdin.is_closing():
            self._process.stdin.write(encode_order(order))

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            started_s = loop.time()
            why = await self._live()
            attempt = 0 if loop.time() - started_s > STEADY_S else attempt
            for camera in list(self._cameras.values()):
                camera.lost(f"the camera process {why}; starting it again")
            await asyncio.sleep(RESTART_S[min(attempt, len(RESTART_S) - 1)])
            attempt += 1

    async def _live(self) -> str:
        """One life of the process; how it ended."""
        pipe, nowhere = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
        try:
            # Its stderr would hold what OpenCV and FFmpeg print: addresses of streams with their passwords.
            process = await asyncio.create_subprocess_exec(*COMMAND, stdin=pipe, stdout=pipe, stderr=nowhere)
        except OSError as error:
            return f"does not start: {os.strerror(error.errno or 0)}"
        self._process = process
        try:
            for number, camera in self._cameras.items():
                self._send(Order(number, camera.settings))
            assert process.stdout is not None  # noqa: S101 - PIPE was asked for
            why = await self._hear(process.stdout)
        finally:
            if self._process is process:
                self._process = None
            await _end(process)
        return f"{why} ({_exit(process.returncode)})"

    async def _hear(self, stdout: asyncio.StreamReader) -> str:
        messages = Messages()
        try:
            while True:
                async with asyncio.timeout(SILENT_S):
                    data = await stdout.read(65536)
                if not data:
                    return "ended"
                for message in messages.feed(data):
                    camera = self._cameras.get(message.camera)
                    if camera and message.kind is not Kind.BEAT:
                        camera.hear(message)
        except TimeoutError:
            return f"was silent for {SILENT_S:.0f} s"
        except BrokenStreamError:
            return "sent what is no message"


async def _end(process: asyncio.subprocess.Process) -> None:
    """Let it end by itself, else kill it. Both waits are bounded: a process stuck in a camera's driver cannot die."""
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


_processes: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, CameraProcess]" = weakref.WeakKeyDictionary()


def shared_process() -> CameraProcess:
    """The camera process of the running loop."""
    return _processes.setdefault(asyncio.get_running_loop(), CameraProcess())
