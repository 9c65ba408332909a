"""Byte links on real ports, and what becomes of bytes and waits when the far side stands still."""

import asyncio
import contextlib
import errno
import os
import pty
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import DeviceFault, DeviceReport, Down, Up
from drivers.simulated.ports import PtyPort, TcpPort
from drivers.transport import ByteLink, PortError, TcpAddress, open_link, parse_port
from tests.drivers.conftest import NEAR, NET, SPACE, ip


@pytest.fixture
def far_end() -> Iterator[tuple[int, str]]:
    """A serial line whose far side reads only when told: its descriptor, and the near side's name."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    yield master, os.ttyname(slave)
    os.close(slave)
    os.close(master)


@pytest.mark.timeout(20)
def test_a_port_that_takes_nothing_never_stops_the_controller(far_end: tuple[int, str]) -> None:
    """Its buffers full, each write ends in PORT_LOST within its limit, however often the port is opened again."""

    async def story() -> None:
        for _ in range(3):
            link = await open_link(far_end[1])
            with pytest.raises(PortError) as caught:
                await _fill(link)
            assert caught.value.fault is DeviceFault.PORT_LOST
            link.close()

    asyncio.run(story())


async def _fill(link: ByteLink) -> None:
    for _ in range(1000):
        await link.write(bytes(1000))


def test_what_was_not_taken_is_destroyed_at_close(far_end: tuple[int, str]) -> None:
    """A command in the kernel's buffer does not go out when the line moves again, long after it was given up."""

    async def story() -> None:
        link = await open_link(far_end[1])
        await link.write(bytes(10_000))  # more than the far side's own buffer (4,096) takes
        await link.write(b"open!")
        link.close()

    asyncio.run(story())
    came = b""
    with contextlib.suppress(BlockingIOError):
        while True:
            came += os.read(far_end[0], 100_000)
    assert not came.endswith(b"open!")


def test_a_closed_port_is_free_at_once(far_end: tuple[int, str]) -> None:
    """A reopened port is not busy with our own closing."""

    async def story() -> None:
        for _ in range(20):
            (await open_link(far_end[1])).close()

    asyncio.run(story())


def test_a_port_in_use_and_one_that_is_none_are_told_apart(far_end: tuple[int, str], tmp_path: Path) -> None:
    """Held by another program: PORT_BUSY. A file, a folder, nothing at all: PORT_MISSING."""

    async def story() -> None:
        (tmp_path / "file").write_text("")
        holder = await open_link(far_end[1])
        for path, fault in {
            far_end[1]: DeviceFault.PORT_BUSY,
            str(tmp_path / "file"): DeviceFault.PORT_MISSING,
            str(tmp_path): DeviceFault.PORT_MISSING,
            str(tmp_path / "none"): DeviceFault.PORT_MISSING,
            "/" + "x" * 5000: DeviceFault.PORT_MISSING,
            "tcp:127.0.0.1:1": DeviceFault.PORT_MISSING,
        }.items():
            with pytest.raises(PortError) as caught:
                await open_link(path)
            assert caught.value.fault is fault, path[:80]
        holder.close()

    asyncio.run(story())


def test_a_dead_connection_is_not_silence() -> None:
    """The kernel's ETIMEDOUT is a TimeoutError too: taken for silence, a driver would spin for ever."""

    async def story() -> None:
        port = TcpPort(lambda reader, writer: asyncio.sleep(10))
        await port.plug()
        address = parse_port(port.spec)
        assert isinstance(address, TcpAddress)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        reader.set_exception(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))
        link = ByteLink(reader, writer)
        for attempt in (link.read(1.0), link.write(b"x")):
            with pytest.raises(PortError) as caught:
                await attempt
            assert caught.value.fault is DeviceFault.PORT_LOST
        link.close()
        await port.unplug()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("tcp:192.168.1.20:502", TcpAddress("192.168.1.20", 502)),
        ("tcp:[::1]:502", TcpAddress("::1", 502)),
        ("tcp:fe80::1%eth0:502", TcpAddress("fe80::1%eth0", 502)),
        ("/dev/serial/by-id/x", "/dev/serial/by-id/x"),
    ],
)
def test_ports_are_named_as_documented(text: str, port: TcpAddress | str) -> None:
    """A path, or tcp: with host or address and a number."""
    assert parse_port(text) == port


@pytest.mark.parametrize("driver", ["samv", "line-scanner", "modbus-relay"])
@pytest.mark.parametrize(
    "text", ["", "tcp:", "tcp:x", "tcp:x:0", "tcp:x:65536", "tcp:x:²", "tcp:[]:5", "tcp::5", "a\0b"]
)
def test_a_port_that_can_be_none_is_refused_when_it_is_configured(driver: str, text: str) -> None:
    """With the setting's name, not by a driver that breaks later."""
    settings = registry.check_settings(registry.driver(driver), {"port": text})
    with pytest.raises(registry.SettingError) as caught:
        registry.create(driver, settings)
    assert caught.value.key == "port"


def test_an_ipv6_device_is_driven() -> None:
    """tcp:[::1]:PORT, where this machine has IPv6."""

    async def story() -> None:
        port = TcpPort(lambda reader, writer: _echo(reader, writer), host="::1")
        try:
            await port.plug()
        except OSError:
            pytest.skip("no IPv6 on this machine")
        link = await open_link(f"tcp:[::1]:{port.spec.rpartition(':')[2]}")
        await link.write(b"x")
        assert await link.read(5.0) == b"x"
        link.close()
        await port.unplug()

    asyncio.run(story())


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(100):
        writer.write(data)


@pytest.mark.root
def test_a_converter_that_lost_power_is_noticed_though_nobody_scans(link: None) -> None:
    """The cable is cut and nothing is said: PORT_LOST within 5 s, and up within 2 s of the cable's return."""

    async def story() -> None:
        scanner = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", SPACE, sys.executable, "-u", "-m", "gate", "devices", "simulate", "line-scanner"),
            *("--port", f"tcp:{NET}.2:1503", "--set", "every_s=600"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert scanner.stdout is not None
        await asyncio.wait_for(scanner.stdout.readline(), 10)
        info = registry.driver("line-scanner")
        device = registry.create("line-scanner", registry.check_settings(info, {"port": f"tcp:{NET}.2:1503"}))
        said: list[DeviceReport] = []
        running = asyncio.create_task(device.run(said.append))

        async def until(kind: type, seconds: float) -> None:
            async with asyncio.timeout(seconds):
                while not said or not isinstance(said[-1], kind):
                    await asyncio.sleep(0.01)

        try:
            await until(Up, 5)
            ip("link", "set", NEAR, "down")
            await until(Down, 5)
            assert isinstance(said[-1], Down)
            assert said[-1].fault in (DeviceFault.PORT_LOST, DeviceFault.PORT_MISSING)
            ip("link", "set", NEAR, "up")
            await until(Up, 2)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            scanner.kill()
            await scanner.wait()

    asyncio.run(story())


def test_a_simulated_serial_port_comes_back_under_its_name(tmp_path: Path) -> None:
    """Unplugged and plugged: the same path, another device behind it, as with /dev/serial/by-id."""

    async def story() -> None:
        port = PtyPort(tmp_path / "port", _echo)
        for _ in range(3):
            await port.plug()
            link = await open_link(port.spec)
            await link.write(b"x")
            assert await link.read(5.0) == b"x"
            await port.unplug()
            with pytest.raises(PortError):
                await link.read(5.0)
            link.close()

    asyncio.run(story())
