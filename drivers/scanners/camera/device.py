"""A camera as a code scanner: the controller's side. All cameras share one supervised child process."""

import asyncio
import contextlib
import json
import sys
import weakref
from collections.abc import Mapping

from drivers.contract import CodeReport, DeviceFault, Down, ReportSink, Up
from drivers.registry import SettingValue
from drivers.scanners.camera.codec import BrokenStreamError, Kind, Message, Messages

RESTART_S = (0.3, 0.5, 1.0, 2.0, 5.0)
STEADY_S = 30.0  # a process that lived so long starts again at the shortest wait
GATHER_S = 0.05  # cameras of one controller start together: one process for all of them
END_S = 1.0


class CameraProcess:
    """The child process of all cameras of one event loop; it runs while any camera does."""

    def __init__(self) -> None:
        self._cameras: dict[int, CameraScanner] = {}
        self._next = 0
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def carry(self, camera: "CameraScanner") -> None:
        """Have `camera` served until cancelled."""
        number, self._next = self._next, self._next + 1
        self._cameras[number] = camera
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="cameras")
        try:
            await asyncio.Event().wait()
        finally:
            del self._cameras[number]
            self._changed.set()
            if not self._cameras and self._task:
                self._task.cancel()
                await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            await asyncio.sleep(GATHER_S)
            self._changed.clear()
            started_s = loop.time()
            await self._once(dict(self._cameras))
            if self._changed.is_set():
                continue  # another camera came or went: start again with all of them
            attempt = 0 if loop.time() - started_s > STEADY_S else attempt
            for camera in list(self._cameras.values()):
                camera.say_down(DeviceFault.WORKER_LOST, "the camera process ended; starting it again")
            await asyncio.sleep(RESTART_S[min(attempt, len(RESTART_S) - 1)])
            attempt += 1

    async def _once(self, cameras: "dict[int, CameraScanner]") -> None:
        """One life of the process."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "drivers.scanners.camera.worker", stdin=pipe, stdout=pipe
        )
        assert process.stdin is not None  # noqa: S101 - PIPE was asked for
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        order = list(cameras.values())
        changed = asyncio.create_task(self._changed.wait())
        try:
            process.stdin.write(json.dumps([camera.settings for camera in order]).encode() + b"\n")
            for camera in order:
                camera.settings["only_new"] = True
            heard = asyncio.create_task(_hear(process.stdout, order))
            await asyncio.wait({changed, heard}, return_when=asyncio.FIRST_COMPLETED)
            heard.cancel()
            await asyncio.gather(heard, return_exceptions=True)
        finally:
            changed.cancel()
            await _end(process)


async def _hear(stdout: asyncio.StreamReader, cameras: "list[CameraScanner]") -> None:
    messages = Messages()
    with contextlib.suppress(BrokenStreamError):  # then it is started again, like one that died
        while data := await stdout.read(65536):
            for message in messages.feed(data):
                if message.camera < len(cameras):
                    cameras[message.camera].hear(message)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.stdin:
        process.stdin.close()
    try:
        async with asyncio.timeout(END_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


class CameraScanner:
    """One camera; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        wanted = ("source", "fps", "loop", "same_code_s", "fallback")
        self.settings = {**{key: settings[key] for key in wanted}, "only_new": False}
        self._report: ReportSink | None = None
        self._up = False
        self._said = ""

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._report = report
        await _shared_process().carry(self)

    def hear(self, message: Message) -> None:
        """The camera process said something about this camera."""
        if self._report is None:
            return
        match message.kind:
            case Kind.CODE:
                self._report(CodeReport(message.body, "QR"))
            case Kind.UP:
                self._up, self._said = True, ""
                self._report(Up(message.body.decode("utf-8", "replace")))
            case Kind.DOWN:
                fault, _, detail = message.body.decode("utf-8", "replace").partition(":")
                known = fault in set(DeviceFault)
                self.say_down(DeviceFault(fault) if known else DeviceFault.SOURCE_UNREADABLE, detail)

    def say_down(self, fault: DeviceFault, detail: str) -> None:
        """Report down, once a change."""
        if self._report and (self._up or self._said != fault):
            self._report(Down(fault, detail))
        self._up, self._said = False, fault


_processes: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, CameraProcess]" = weakref.WeakKeyDictionary()


def _shared_process() -> CameraProcess:
    return _processes.setdefault(asyncio.get_running_loop(), CameraProcess())


def create(settings: Mapping[str, SettingValue]) -> CameraScanner:
    """A camera with checked settings; opens nothing yet."""
    return CameraScanner(settings)
