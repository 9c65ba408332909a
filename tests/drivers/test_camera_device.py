"""Cameras at work: the real child process, folders and streams that come and go, crashes."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import CodeReport, DeviceFault, DeviceReport, Down, Up
from drivers.scanners.camera import process, worker
from drivers.scanners.camera.codec import CameraSettings, Order, encode_order
from drivers.scanners.camera.process import shared_process
from drivers.simulated.camera import SimulatedCamera, picture

CODE = b"https://s.sh.gov.cn/" + b"ab" * 15 + b"1585000000000"


class Scanner:
    """One camera-scanner and what it said."""

    def __init__(self, **given: Any) -> None:
        info = registry.driver("camera-scanner")
        self.device = registry.create("camera-scanner", registry.check_settings(info, given))
        self.said: list[DeviceReport] = []

    @property
    def codes(self) -> list[bytes]:
        return [report.payload for report in self.said if isinstance(report, CodeReport)]

    @property
    def faults(self) -> list[DeviceFault]:
        return [report.fault for report in self.said if isinstance(report, Down)]

    @property
    def is_up(self) -> bool:
        return [type(report) for report in self.said if not isinstance(report, CodeReport)][-1:] == [Up]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):  # a process that loads OpenCV on a busy machine
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(*scanners: Scanner) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(scanner.device.run(scanner.said.append)) for scanner in scanners]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_codes_shown_to_two_cameras_come_from_one_process(tmp_path: Path) -> None:
    """Each code to its own lane, once; one child for both, niced, and gone when the last camera is."""
    cameras = [SimulatedCamera(tmp_path / name) for name in "ab"]
    scanners = [Scanner(source=camera.spec, fps=30) for camera in cameras]

    async def scenario() -> int:
        async with running(*scanners):
            await until(lambda: all(scanner.is_up for scanner in scanners))
            pid = shared_process().pid
            assert pid
            assert os.getpriority(os.PRIO_PROCESS, pid) == min(os.getpriority(os.PRIO_PROCESS, 0) + worker.NICENESS, 19)
            await cameras[0].scan(CODE)
            await cameras[1].scan(bytes(range(256)))
            await cameras[0].scan(CODE)
            await cameras[0].scan(b"the next one")
            await until(lambda: len(scanners[0].codes) >= 2 and scanners[1].codes)
            assert shared_process().pid == pid
            return pid

    pid = asyncio.run(scenario())
    assert scanners[0].codes == [CODE, b"the next one"]
    assert scanners[1].codes == [bytes(range(256))]
    assert [scanner.faults for scanner in scanners] == [[], []]
    assert not is_alive(pid)


def threads(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/task"))


def test_a_camera_that_comes_later_or_leaves_disturbs_no_other(tmp_path: Path) -> None:
    """The process goes on while cameras come and go, and does nothing more for one that left."""
    first, second = (SimulatedCamera(tmp_path / name) for name in "ab")
    one, two = Scanner(source=first.spec), Scanner(source=second.spec)

    async def scenario() -> None:
        async with running(one):
            await until(lambda: one.is_up)
            pid = shared_process().pid
            assert pid
            alone = threads(pid)
            async with running(two):
                await until(lambda: two.is_up)
                await second.scan(CODE)
                await until(lambda: two.codes)
                assert threads(pid) > alone
            await until(lambda: threads(pid) <= alone)
            await first.scan(CODE)
            await until(lambda: one.codes)
            assert shared_process().pid == pid

    asyncio.run(scenario())
    assert one.faults == two.faults == []


def test_a_killed_process_is_said_and_started_again(tmp_path: Path) -> None:
    """SIGKILL: Down, then Up by itself, then codes again; what was shown before is not shown to the lane once more."""
    camera = SimulatedCamera(tmp_path)
    scanner = Scanner(source=camera.spec, same_code_s=0)

    async def scenario() -> None:
        async with running(scanner):
            await until(lambda: scanner.is_up)
            await camera.scan(CODE)
            await until(lambda: scanner.codes)
            killed = shared_process().pid
            assert killed
            os.kill(killed, signal.SIGKILL)
            await until(lambda: scanner.faults)
            await until(lambda: scanner.is_up)
            assert shared_process().pid not in (None, killed)
            await camera.scan(b"after")
            await until(lambda: len(scanner.codes) >= 2)

    asyncio.run(scenario())
    assert scanner.codes == [CODE, b"after"]
    assert [type(report) for report in scanner.said] == [Up, CodeReport, Down, Up, CodeReport]
    down = scanner.said[2]
    assert isinstance(down, Down)
    assert down.fault is DeviceFault.WORKER_LOST
    assert "SIGKILL" in down.detail


def test_a_process_that_hangs_is_killed_and_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped (SIGSTOP) it neither beats nor ends: it is killed, said, and scanning goes on."""
    camera = SimulatedCamera(tmp_path)
    scanner = Scanner(source=camera.spec)

    async def scenario() -> int:
        async with running(scanner):
            await until(lambda: scanner.is_up)
            with monkeypatch.context() as patience:
                patience.setattr(process, "SILENT_S", 0.5)
                await camera.scan(CODE)
                await until(lambda: scanner.codes)  # the wait for what follows this code is the short one
                hung = shared_process().pid
                assert hung
                os.kill(hung, signal.SIGSTOP)
                await until(lambda: scanner.faults)
            await until(lambda: scanner.is_up)
            await camera.scan(b"after")
            await until(lambda: b"after" in scanner.codes)
            return hung

    hung = asyncio.run(scenario())
    assert scanner.faults == [DeviceFault.WORKER_LOST]
    assert not is_alive(hung)


@pytest.mark.parametrize(
    ("command", "why"),
    [
        pytest.param(["/bin/echo", "this is no message"], "no message", id="talks nonsense"),
        pytest.param(["/bin/false"], "exit status 1", id="ends at once"),
        pytest.param(["/nowhere/python"], "does not start", id="cannot be started"),
    ],
)
def test_a_process_that_never_works_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Sequence[str], why: str
) -> None:
    """Down once while it is tried again and again, Up when it works at last."""
    monkeypatch.setattr(process, "RESTART_S", (0.01,))
    scanner, starts = Scanner(source=f"{tmp_path}/"), 0
    working, start = process.COMMAND, asyncio.create_subprocess_exec

    async def counted(*given: str, **more: Any) -> asyncio.subprocess.Process:
        nonlocal starts
        starts += 1
        if starts == 4:
            monkeypatch.setattr(process, "COMMAND", working)
        return await start(*given, **more)

    monkeypatch.setattr(process, "COMMAND", tuple(command))
    monkeypatch.setattr(asyncio, "create_subprocess_exec", counted)

    async def scenario() -> None:
        async with running(scanner):
            await until(lambda: scanner.is_up)

    asyncio.run(scenario())
    assert starts >= 5
    assert [type(report) for report in scanner.said] == [Down, Up]
    down = scanner.said[0]
    assert isinstance(down, Down)
    assert down.fault is DeviceFault.WORKER_LOST
    assert why in down.detail


def hide(folder: Path, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `package` fail to load in child processes, as it does where its system library is missing."""
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text(f"raise ImportError('no shared library', name={package!r})\n")
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{path}" if path else str(folder))


def test_without_libzbar_a_camera_works_and_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pyzbar cannot be loaded: Up names libzbar and the remedy, and codes are read; not asked for, it is not missed."""
    hide(tmp_path, "pyzbar", monkeypatch)
    camera = SimulatedCamera(tmp_path / "camera")
    asked, alone = Scanner(source=camera.spec), Scanner(source=camera.spec, fallback="none")

    async def scenario() -> None:
        async with running(asked, alone):
            await until(lambda: asked.is_up and alone.is_up)
            await camera.scan(CODE)
            await until(lambda: asked.codes and alone.codes)

    asyncio.run(scenario())
    details = [report.detail for scanner in (asked, alone) for report in scanner.said if isinstance(report, Up)]
    assert "apt install libzbar0" in details[0]
    assert "zbar" not in details[1]
    assert asked.codes == alone.codes == [CODE]


def test_without_opencv_a_camera_is_down_and_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken installation is the camera's fault, said in words; nothing else falls."""
    hide(tmp_path, "cv2", monkeypatch)
    scanner = Scanner(source=f"{tmp_path}/")

    async def scenario() -> None:
        async with running(scanner):
            await until(lambda: scanner.said)

    asyncio.run(scenario())
    assert scanner.said == [Down(DeviceFault.LIBRARY_MISSING, "cv2 cannot be imported: install it again")]


def test_a_folder_that_is_taken_away_and_comes_back(tmp_path: Path) -> None:
    """Not there: Down once; there: Up by itself; gone again: Down; and codes are read when it is back."""
    folder = tmp_path / "camera"
    scanner = Scanner(source=f"{folder}/")

    async def scenario() -> None:
        async with running(scanner):
            await until(lambda: scanner.faults)
            camera = SimulatedCamera(folder)
            await until(lambda: scanner.is_up)
            folder.rmdir()
            await until(lambda: len(scanner.faults) == 2)
            camera = SimulatedCamera(folder)
            await until(lambda: scanner.is_up)
            await camera.scan(CODE)
            await until(lambda: scanner.codes)

    asyncio.run(scenario())
    assert [type(report) for report in scanner.said] == [Down, Up, Down, Up, CodeReport]
    assert set(scanner.faults) == {DeviceFault.SOURCE_UNREADABLE}


class StreamCamera:
    """A network camera that serves MJPEG over HTTP, as many real ones do beside RTSP."""

    def __init__(self) -> None:
        self.picture = b""
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://user:PASSWORD@127.0.0.1:{self._port}/stream"

    def show(self, payload: bytes) -> None:
        import cv2
        import numpy as np

        image = cv2.imdecode(np.frombuffer(picture(payload), np.uint8), cv2.IMREAD_COLOR)
        self.picture = cv2.imencode(".jpg", image)[1].tobytes()

    async def plug(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def unplug(self) -> None:
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n")
            while not writer.is_closing():
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(self.picture)}\r\n\r\n"
                writer.write(head.encode() + self.picture + b"\r\n")
                await writer.drain()
                await asyncio.sleep(0.03)
        self._writers.discard(writer)


def test_a_network_camera_is_read_lost_and_found_again() -> None:
    """A live stream over a real socket: codes, Down when it stops, Up by itself; no word names its password."""
    camera = StreamCamera()
    camera.show(CODE)

    async def scenario() -> Scanner:
        await camera.plug()
        scanner = Scanner(source=camera.url, same_code_s=60)
        async with running(scanner):
            await until(lambda: scanner.codes)
            camera.unplug()
            await until(lambda: scanner.faults)
            camera.show(b"after")
            await camera.plug()
            await until(lambda: scanner.is_up and len(scanner.codes) >= 2)
            camera.unplug()
        return scanner

    scanner = asyncio.run(scenario())
    assert scanner.codes == [CODE, b"after"]
    assert set(scanner.faults) == {DeviceFault.SOURCE_UNREADABLE}
    assert "PASSWORD" not in repr(scanner.said)


def test_the_process_ends_when_its_controller_is_gone() -> None:
    """Its stdin closes: it ends by itself, whatever its cameras do."""

    async def scenario() -> int | None:
        pipe = asyncio.subprocess.PIPE
        child = await asyncio.create_subprocess_exec(*process.COMMAND, stdin=pipe, stdout=pipe)
        assert child.stdin
        child.stdin.write(encode_order(Order(1, CameraSettings("97"))))
        child.stdin.close()
        async with asyncio.timeout(30):
            return await child.wait()

    assert asyncio.run(scenario()) == 0


def test_a_source_longer_than_any_path_is_refused() -> None:
    """A setting that cannot be sent to the camera process is named before anything starts."""
    with pytest.raises(registry.SettingError) as refused:
        Scanner(source="x" * 20_000)
    assert refused.value.key == "source"
