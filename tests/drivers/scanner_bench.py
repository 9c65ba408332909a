"""A scanner's driver at work on a real port before its simulated device."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.contract import CodeReport, DeviceReport, Down, Unread, Up
from drivers.simulated.ports import PtyPort, Session, SimulatedPort, TcpPort

CODE = b"https://s.sh.gov.cn/" + b"ab" * 15 + b"1585000000000"


class Bench:
    """What the driver said, and the port that it works on."""

    def __init__(self, port: SimulatedPort) -> None:
        self.port = port
        self.said: list[DeviceReport] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.002)

    async def until_up(self) -> None:
        """Wait until the driver's last word about its device is Up."""
        await self.until(lambda: [type(r) for r in self.said if isinstance(r, Up | Down)][-1:] == [Up])

    async def until_down(self) -> Down:
        """Wait for the first Down and give it."""
        await self.until(lambda: any(isinstance(r, Down) for r in self.said))
        return next(r for r in self.said if isinstance(r, Down))

    @property
    def read(self) -> list[DeviceReport]:
        """Codes and problems, in order."""
        return [report for report in self.said if isinstance(report, CodeReport | Unread)]


@asynccontextmanager
async def bench(driver: str, session: Session, folder: Path, tcp: bool = False, **given: Any) -> AsyncIterator[Bench]:
    port: SimulatedPort = TcpPort(session) if tcp else PtyPort(folder / "scanner", session)
    await port.plug()
    made = Bench(port)
    checked = registry.check_settings(registry.driver(driver), {"port": port.spec, **given})
    running = asyncio.create_task(registry.create(driver, checked).run(made.said.append))
    try:
        yield made
        assert not running.done(), f"ended by itself: {running.exception()!r}"
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await port.unplug()
