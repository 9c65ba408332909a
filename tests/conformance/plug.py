"""Where a driver's simulated device is plugged in, by what its `driver.toml` declares: nothing here names a driver."""

import asyncio
import importlib
import os
import random
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import Device, DeviceReport, Down, Up
from drivers.simulated.ports import SimulatedPort
from drivers.simulated.samv import plug_at

BACK_S = 2.0  # issue 2: recovery within 2 s of the device's return
START_S = 15.0  # a first start may load OpenCV on a busy machine
NOISE_BYTES = 65536
OFTEN = {"every_s": "0.2"}  # how often a simulated passenger comes, where the simulator knows passengers


def kinds(info: registry.DriverInfo) -> list[str]:
    """On what it can be plugged in: serial and TCP, or the `ports` it declares; a folder for one with a source."""
    return list(info.ports) if "port" in info.settings else ["dir"]


CASES = [(info, kind) for info in registry.drivers().values() for kind in kinds(info)]
CASE_NAMES = [f"{info.name} on {kind}" for info, kind in CASES]


class Plug:
    """One place: the simulated device comes and goes there, and noise may take its place."""

    def __init__(self, info: registry.DriverInfo, kind: str, folder: Path) -> None:
        _skip_without(info)
        self._info = info
        self._folder = folder / "device"
        self._task: asyncio.Task[None] | None = None
        self._noise: SimulatedPort | None = None
        self._on_network = kind in ("tcp", "udp")
        self.spec = f"{kind}:127.0.0.1:{_free_port()}" if self._on_network else f"{kind}:{self._folder}"

    @property
    def setting(self) -> dict[str, str]:
        """What the driver is told of it."""
        name = "port" if "port" in self._info.settings else "source"
        return {name: self.spec if self._on_network else str(self._folder)}

    async def plug(self) -> None:
        """The device is there when this returns."""
        away = self._folder.with_name("away")
        if away.exists():
            away.rename(self._folder)
        simulate = importlib.import_module(self._info.simulator).simulate
        self._task = asyncio.create_task(simulate(self.spec, OFTEN))
        async with asyncio.timeout(5):
            while not await self._is_there():
                await asyncio.sleep(0.001)

    async def unplug(self) -> None:
        """The device, or the noise, is gone."""
        if self._noise:
            await self._noise.unplug()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = self._noise = None
        if self._folder.is_dir():
            self._folder.rename(self._folder.with_name("away"))

    async def plug_noise(self) -> None:
        """Something that says 64 kB of nonsense to whoever opens it."""
        noise = random.Random(1).randbytes(NOISE_BYTES)  # noise must be repeatable
        if self.spec.startswith("dir:"):
            self._folder.mkdir()
            (self._folder / "noise.png").write_bytes(noise)
            return

        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for at in range(0, len(noise), 777):
                writer.write(noise[at : at + 777])
                await writer.drain()
                await asyncio.sleep(0)
            while await reader.read(4096):
                writer.write(noise[:777])

        self._noise = NoisyUdp(self.spec, noise) if self.spec.startswith("udp:") else plug_at(self.spec, babble)
        await self._noise.plug()

    async def _is_there(self) -> bool:
        if self.spec.startswith("udp:"):
            return _is_bound(int(self.spec.rpartition(":")[2]))
        if not self._on_network:
            return self._folder.exists()
        with suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", int(self.spec.rpartition(":")[2]))
            writer.transport.abort()
            return True
        return False


def _skip_without(info: registry.DriverInfo) -> None:
    """A program that a driver starts is not simulated: where it is missing, the driver cannot be proved."""
    program = getattr(importlib.import_module(info.simulator), "NEEDS", "")
    if program and shutil.which(program) is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"needs {program}: this check may not be left out in CI")
        pytest.skip(f"needs the program {program}")


class NoisyUdp(SimulatedPort, asyncio.DatagramProtocol):
    """Answers every datagram with a few of nonsense."""

    def __init__(self, spec: str, noise: bytes) -> None:
        self.spec = spec
        self._noise = noise
        self._at = 0

    async def plug(self) -> None:
        address = "127.0.0.1", int(self.spec.rpartition(":")[2])
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=address)

    async def unplug(self) -> None:
        self._transport.close()
        await asyncio.sleep(0)  # lets the loop close the socket

    def datagram_received(self, data: bytes, addr: object) -> None:
        for size in (64, 64, 777, 1):
            self._transport.sendto(self._noise[self._at : self._at + size], addr)
            self._at = (self._at + size) % len(self._noise)


class Run:
    """A driver at work, what it said, and how late it made the loop."""

    def __init__(self) -> None:
        self.said: list[DeviceReport] = []
        self.late_s = 0.0

    @property
    def states(self) -> list[DeviceReport]:
        return [report for report in self.said if isinstance(report, Up | Down)]

    def last_is(self, kind: type) -> bool:
        return isinstance(next(reversed(self.states), None), kind)

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def watch(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            started_s = loop.time()
            await asyncio.sleep(0.01)
            self.late_s = max(self.late_s, loop.time() - started_s - 0.01)


def build(info: registry.DriverInfo, plug: Plug) -> Device:
    """The driver with its defaults and its place."""
    return registry.create(info.name, registry.check_settings(info, plug.setting))


@asynccontextmanager
async def at_work(info: registry.DriverInfo, plug: Plug) -> AsyncIterator[Run]:
    """Run the driver; at the end it must still be running, stop by cancellation at once, and leave no task."""
    run = Run()
    before = asyncio.all_tasks()
    task = asyncio.create_task(build(info, plug).run(run.said.append))
    watch = asyncio.create_task(run.watch())
    try:
        yield run
        assert not task.done(), f"ended by itself: {task.exception()!r}"
    finally:
        watch.cancel()
        started_s = asyncio.get_running_loop().time()
        task.cancel()
        results = await asyncio.gather(task, watch, return_exceptions=True)
        took_s = asyncio.get_running_loop().time() - started_s
        await plug.unplug()
    assert isinstance(results[0], asyncio.CancelledError), results[0]
    assert took_s < BACK_S
    await run.until(lambda: asyncio.all_tasks() <= before, BACK_S)


def _is_bound(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
