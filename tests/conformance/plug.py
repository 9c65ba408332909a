"""Where a driver's simulated device is plugged in, by what its `driver.toml` declares: nothing here names a driver."""

import asyncio
import importlib
import os
import random
import shutil
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from drivers import registry
from drivers.contract import Device, DeviceReport, Down, ReportSink, Up
from drivers.simulated.ports import Session, SimulatedPort
from drivers.simulated.samv import plug_at
from gate import config
from gate.agent.agent import Agent
from gate.agent.link import Link
from gate.rpc.server import RpcServer
from gate.station.far import FarLane

BACK_S = 2.0  # issue 2: recovery within 2 s of the device's return
START_S = 15.0  # a first start may load OpenCV on a busy machine
NOISE_BYTES = 65536
OFTEN = {"every_s": "0.2"}  # how often a simulated passenger comes, where the simulator knows passengers


def kinds(info: registry.DriverInfo) -> list[str]:
    """On what it can be plugged in: serial and TCP, or the `ports` it declares; a folder for one with a source."""
    return list(info.ports) if "port" in info.settings else ["dir"]


CASES = [(info, kind) for info in registry.drivers().values() for kind in kinds(info)]
CASE_NAMES = [f"{info.name} on {kind}" for info, kind in CASES]
# The same driver behind a lane agent and a real gRPC stream, on the first of its ports: what a port is, is told near.
FAR_CASES = [(info, f"far {kinds(info)[0]}") for info in registry.drivers().values()]
FAR_NAMES = [f"{info.name} behind an agent" for info, _ in FAR_CASES]


class Plug:
    """One place: the simulated device comes and goes there, and noise may take its place."""

    def __init__(self, info: registry.DriverInfo, kind: str, folder: Path) -> None:
        skip_without(info)
        self.far, kind = kind.startswith("far "), kind.removeprefix("far ")
        self._info = info
        self._folder = folder / "device"
        self.attached = False
        self._task: asyncio.Task[None] | None = None
        self._noise: SimulatedPort | None = None
        self._on_network = kind in ("tcp", "udp")
        self.spec = f"{kind}:127.0.0.1:{_free_port()}" if self._on_network else f"{kind}:{self._folder}"
        # A PC/SC reader is found by its name, at the service whose socket its library is told of.
        socket_name = str(self._folder / "pcscd.comm")
        self.environ = {"PCSCLITE_CSOCK_NAME": socket_name} if kind == "pcsc" else {}

    @property
    def setting(self) -> dict[str, str]:
        """What the driver is told of it."""
        if self.environ:
            return {"port": f"pcsc:{importlib.import_module(self._info.simulator).READER}"}
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

        self._noise = self._noise_at(noise, babble)
        await self._noise.plug()

    def _noise_at(self, noise: bytes, babble: Session) -> SimulatedPort:
        if self.environ:
            return NoisySocket(Path(self.environ["PCSCLITE_CSOCK_NAME"]), babble)
        return NoisyUdp(self.spec, noise) if self.spec.startswith("udp:") else plug_at(self.spec, babble)

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


def skip_without(info: registry.DriverInfo) -> None:
    """A program that a driver or its simulator starts is real: where it is missing, the driver cannot be proved."""
    simulator = importlib.import_module(info.simulator)
    program = getattr(simulator, "NEEDS", "")
    missing = f"the program {program}" if program and shutil.which(program) is None else ""
    if missing := missing or getattr(simulator, "lacks", str)():
        if os.environ.get("CI") == "true":
            pytest.fail(f"needs {missing}: this check may not be left out in CI")
        pytest.skip(f"needs {missing}")


class NoisySocket(SimulatedPort):
    """A local socket at which a simulated device answers."""

    def __init__(self, path: Path, session: Session) -> None:
        self.spec = str(path)
        self._path = path
        self._session = session
        self._writers: list[asyncio.StreamWriter] = []

    async def plug(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._server = await asyncio.start_unix_server(self._accept, self._path)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(OSError):
            await self._session(reader, writer)

    async def unplug(self) -> None:
        self._server.close()
        self._path.unlink()
        for writer in self._writers:
            writer.transport.abort()


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
        self.device: Any = None  # what a lane commands: the driver, or the far device whose agent has it

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
    near = run.device = build(info, plug)
    far = _far_away(info, plug, run) if plug.far else nullcontext(near.run)
    # The environment is for the process that the driver starts.
    with patch.dict(os.environ, plug.environ):
        async with far as work:
            before = asyncio.all_tasks()
            task = asyncio.create_task(work(run.said.append))
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
            await run.until(lambda: {task for task in asyncio.all_tasks() if not _grpcs(task)} <= before, BACK_S)


def _grpcs(task: "asyncio.Task[Any]") -> bool:
    """Whether gRPC keeps it for its next call; its coroutines are compiled, and have no code of Python's."""
    return not hasattr(task.get_coro(), "cr_code") or "/grpc/" in task.get_coro().cr_code.co_filename


Work = Callable[[ReportSink], Coroutine[Any, Any, None]]


@asynccontextmanager
async def _far_away(info: registry.DriverInfo, plug: Plug, run: Run) -> AsyncIterator[Work]:
    """A controller with one far lane; what is run is the lane's agent with the driver in it."""
    settings = registry.check_settings(info, plug.setting)
    lane = config.Lane("A1", "entry", (config.Device("it", info.name, info.kind, settings),))
    far = FarLane(replace(lane, remote=True))
    surface = RpcServer(config.Grpc(("127.0.0.1:0",), trust_loopback=True), _OneLane(far), lambda *call: None)
    await surface.start()
    run.device = far.devices["it"]
    runs = asyncio.create_task(far.devices["it"].run(lambda said: run.said.append(said) if plug.attached else None))
    await run.until(lambda: far.devices["it"].sink is not None, BACK_S)

    async def work(report: ReportSink) -> None:
        plug.attached = True  # what the lane says before an agent is there is not the driver's
        await Agent(lane, Link(surface.addresses[0])).run()

    try:
        yield work
    finally:
        runs.cancel()
        await asyncio.gather(runs, return_exceptions=True)
        await surface.stop()


class _OneLane:
    """A station as a lane agent sees it."""

    def __init__(self, far: FarLane) -> None:
        self._far = far

    def lanes(self) -> list[object]:
        return []

    def far_lane(self, lane_id: str) -> FarLane:
        return self._far


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
