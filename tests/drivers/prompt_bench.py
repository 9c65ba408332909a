"""A driver of a prompt or thermometer at work on a real port, and what it said."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from drivers import registry
from drivers.contract import DeviceReport, Down, Up, Vitals


class Bench:
    """The driver and its reports."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.said: list[DeviceReport] = []

    def hear(self, report: DeviceReport) -> None:
        """Keep it, unless it only says that the device is well: that comes by the clock."""
        if not isinstance(report, Vitals):
            self.said.append(report)

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def until_up(self) -> None:
        await self.until(lambda: bool(self.states) and isinstance(self.states[-1], Up))

    async def until_down(self) -> Down:
        await self.until(lambda: bool(self.states) and isinstance(self.states[-1], Down))
        last = self.states[-1]
        assert isinstance(last, Down)
        return last

    @property
    def states(self) -> list[DeviceReport]:
        return [report for report in self.said if isinstance(report, Up | Down)]


@asynccontextmanager
async def at_work(driver: str, **given: Any) -> AsyncIterator[Bench]:
    info = registry.driver(driver)
    bench = Bench(registry.create(driver, registry.check_settings(info, given)))
    running = asyncio.create_task(bench.device.run(bench.hear))
    try:
        yield bench
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
