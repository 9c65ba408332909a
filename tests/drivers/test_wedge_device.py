"""A keyboard-wedge scanner on a pty and over TCP: the kernel's events without the kernel's input device."""

import asyncio
import errno
import fcntl
import os
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import CodeReport, DeviceFault, DeviceReport, Down, ReadProblem, Unread, Up
from drivers.scanners.wedge.codec import Event, strokes
from drivers.scanners.wedge.device import EVIOCGRAB
from drivers.simulated.wedge import SimulatedWedge, WedgeKnobs
from tests.drivers.scanner_bench import bench

CODE = "https://s.sh.gov.cn/" + "aB" * 15 + "?x=1585000000000"
READ = CodeReport(CODE.encode(), "")
NOT_OURS = Up("not grabbed: its keys reach other programs too")


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("chunk", [0, 1, 24, 37])
@pytest.mark.parametrize("repeats", [False, True])
def test_a_typed_code_is_read(tmp_path: Path, tcp: bool, chunk: int, repeats: bool) -> None:
    """However its events arrive, held keys or not: one code, and the device says that it could not be grabbed."""
    scanner = SimulatedWedge(WedgeKnobs(chunk=chunk, repeats=repeats))

    async def scenario() -> None:
        async with bench("wedge-scanner", scanner.session, tmp_path, tcp, idle_timeout_ms=2000) as b:
            await b.until_up()
            await scanner.scan(CODE)
            await b.until(lambda: bool(b.read))
            assert b.said == [NOT_OURS, READ]

    asyncio.run(scenario())


@pytest.mark.parametrize(("ends_with", "end"), [("enter", "\n"), ("tab", "\t"), ("silence", "")])
def test_a_code_ends_as_it_is_set(tmp_path: Path, ends_with: str, end: str) -> None:
    """By its last key, or by the pause."""
    scanner = SimulatedWedge(WedgeKnobs(end=end))

    async def scenario() -> None:
        given: dict[str, Any] = {"ends_with": ends_with, "idle_timeout_ms": 20 if not end else 2000}
        async with bench("wedge-scanner", scanner.session, tmp_path, **given) as b:
            await b.until_up()
            for text in (CODE, "second"):
                await scanner.scan(text)
                await b.until(lambda text=text: b.read[-1:] == [CodeReport(text.encode(), "")])

    asyncio.run(scenario())


def test_an_overrun_is_told_to_the_passenger_and_the_next_code_is_read(tmp_path: Path) -> None:
    """The kernel's buffer ran over in the middle of a code."""
    scanner = SimulatedWedge(WedgeKnobs(drop_after=20))

    async def scenario() -> None:
        async with bench("wedge-scanner", scanner.session, tmp_path) as b:
            await b.until_up()
            await scanner.scan(CODE)
            scanner.knobs.drop_after = 0
            await scanner.scan(CODE)
            await b.until(lambda: len(b.read) >= 2)
            assert b.read == [Unread(ReadProblem.CODE_UNREADABLE), READ]

    asyncio.run(scenario())


def test_the_same_code_again_is_the_same_presentation(tmp_path: Path) -> None:
    """Within the interval it is said once."""
    scanner = SimulatedWedge()

    async def scenario() -> None:
        async with bench("wedge-scanner", scanner.session, tmp_path, same_code_s=60) as b:
            await b.until_up()
            for text in (CODE, CODE, "other", CODE):
                await scanner.scan(text)
            await b.until(lambda: len(b.read) >= 3)
            assert b.read == [READ, CodeReport(b"other", ""), READ]

    asyncio.run(scenario())


@pytest.mark.parametrize("tcp", [False, True])
def test_unplugged_in_the_middle_of_a_code(tmp_path: Path, tcp: bool) -> None:
    """Down with its fault, up again by itself, and half a code does not stand before the next."""
    scanner = SimulatedWedge()

    async def scenario() -> None:
        async with bench("wedge-scanner", scanner.session, tmp_path, tcp, idle_timeout_ms=2000) as b:
            await b.until_up()
            await scanner.press(*strokes("half"))
            await b.port.unplug()
            await b.until(lambda: any(isinstance(r, Down) and r.fault is DeviceFault.PORT_MISSING for r in b.said))
            await b.port.plug()
            await b.until_up()
            await scanner.scan(CODE)
            await b.until(lambda: READ in b.read)
            assert b.read == [READ]
            assert [r.fault for r in b.said if isinstance(r, Down)] == [DeviceFault.PORT_LOST, DeviceFault.PORT_MISSING]

    asyncio.run(scenario())


def test_another_device_is_told_apart(tmp_path: Path) -> None:
    """Text of a serial engine, or events out of step: PROTOCOL_ERROR, with where to find the right name."""
    scanner = SimulatedWedge()

    async def scenario() -> None:
        async with bench("wedge-scanner", scanner.session, tmp_path, tcp=True) as b:
            await b.until_up()
            await scanner.send(b"https://s.sh.gov.cn/0123456789\r\n" * 3)
            down = await b.until_down()
            assert down.fault is DeviceFault.PROTOCOL_ERROR
            assert "/dev/input/by-id/" in down.detail
            assert "sh.gov" not in down.detail

    asyncio.run(scenario())


async def first_down(port: str) -> Down:
    said: list[DeviceReport] = []
    checked = registry.check_settings(registry.driver("wedge-scanner"), {"port": port})
    running = asyncio.create_task(registry.create("wedge-scanner", checked).run(said.append))
    async with asyncio.timeout(10):
        while not said:
            await asyncio.sleep(0.002)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert isinstance(said[0], Down)
    return said[0]


@pytest.mark.parametrize("place", ["nothing there", "a file", "/dev/null"])
def test_what_is_no_input_device_is_refused(tmp_path: Path, place: str) -> None:
    """No such path, a plain file, a character device without keys; and its descriptor is closed again."""
    port = place if place.startswith("/") else str(tmp_path / "device")
    if place == "a file":
        Path(port).write_bytes(b"x")

    async def scenario() -> None:
        before = len(os.listdir("/proc/self/fd"))
        down = await first_down(port)
        assert down.fault is DeviceFault.PORT_MISSING
        assert "/dev/input/by-id/" in down.detail
        assert len(os.listdir("/proc/self/fd")) == before

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("number", "fault", "words"),
    [
        (errno.EBUSY, DeviceFault.PORT_BUSY, "grabbed by another program"),
        (errno.ENODEV, DeviceFault.PORT_LOST, "plug it again"),
    ],
)
def test_a_device_that_cannot_be_grabbed_is_down(
    monkeypatch: pytest.MonkeyPatch, number: int, fault: DeviceFault, words: str
) -> None:
    """Another program holds it, or it went away meanwhile. The kernel's answer is made up: no input device is here."""

    def refuse(descriptor: int, request: int, argument: int) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    down = asyncio.run(first_down("/dev/null"))
    assert down.fault is fault
    assert words in down.detail


def test_the_grab_is_the_kernels_own_request() -> None:
    """_IOW('E', 0x90, int) of linux/input.h: direction write, four bytes, 'E', 90."""
    request = 1 << 30 | 4 << 16 | ord("E") << 8 | 0x90
    assert request == EVIOCGRAB


def test_a_key_released_before_the_start_is_nothing(tmp_path: Path) -> None:
    """The scanner was typing when the driver came: a release without its press adds nothing."""
    scanner = SimulatedWedge()

    async def scenario() -> None:
        async with bench("wedge-scanner", scanner.session, tmp_path) as b:
            await b.until_up()
            await scanner.press(Event(1, 30, 0), Event(1, 42, 0), Event(1, 28, 0))
            await scanner.scan(CODE)
            await b.until(lambda: bool(b.read))
            assert b.read == [READ]

    asyncio.run(scenario())
