"""A bench for the serial turnstile controllers: one driver at work on a port, and what it said."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.contract import DeviceReport, Down, Turnstile, Up, Vitals
from drivers.simulated.digicon import SimulatedDigicon
from drivers.simulated.machpower import SimulatedMachPower
from drivers.simulated.ports import PtyPort, Session, SimulatedPort, TcpPort
from drivers.simulated.tpw import SimulatedTpw

GATES: dict[str, type[Any]] = {
    "digicon-tx1500": SimulatedDigicon,
    "machpower-eb": SimulatedMachPower,
    "tpw-321asp": SimulatedTpw,
}
TIMEOUT_MS = 150
QUICK: dict[str, dict[str, object]] = {"digicon-tx1500": {"wait_s": 1}, "machpower-eb": {"wait_s": 1}, "tpw-321asp": {}}


class Bench:
    def __init__(self, device: Turnstile) -> None:
        self.device = device
        self.reports: list[DeviceReport] = []
        self.vitals: list[Vitals] = []

    def hear(self, said: DeviceReport) -> None:
        if isinstance(said, Vitals):
            self.vitals.append(said)
        else:
            self.reports.append(said)

    async def until(self, condition: Callable[[], bool], seconds: float = 8.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def reported(self, report: DeviceReport, count: int = 1) -> None:
        await self.until(lambda: self.reports.count(report) >= count)

    async def up(self, count: int = 1) -> None:
        await self.until(lambda: self.count(Up) >= count)

    async def down(self, count: int = 1) -> None:
        await self.until(lambda: self.count(Down) >= count)

    def count(self, kind: type) -> int:
        return sum(isinstance(report, kind) for report in self.reports)


@contextlib.asynccontextmanager
async def driven(name: str, port: str, **settings: object) -> AsyncIterator[Bench]:
    """The driver on `port`, up."""
    given = {"port": port, "timeout_ms": TIMEOUT_MS, "baud": 115200, **QUICK[name], **settings}
    bench = Bench(registry.create(name, registry.check_settings(registry.driver(name), given)))  # type: ignore[arg-type]
    running = asyncio.create_task(bench.device.run(bench.hear))
    try:
        await bench.up()
        yield bench
        assert not running.done(), running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def port_of(kind: str, folder: Path, session: Session) -> SimulatedPort:
    return TcpPort(session) if kind == "tcp" else PtyPort(folder / "gate", session)


@contextlib.asynccontextmanager
async def gated(
    name: str, kind: str, folder: Path, **settings: object
) -> AsyncIterator[tuple[Bench, Any, SimulatedPort]]:
    """The driver, its simulated controller and the port between them."""
    gate = GATES[name]()
    async with port_of(kind, folder, gate.session) as port, driven(name, port.spec, **settings) as bench:
        yield bench, gate, port
