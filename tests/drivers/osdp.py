"""What the tests of both OSDP drivers share: a driver at work, and several devices on one line."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import osdp

from drivers import registry
from drivers.contract import CardNumberReport, DeviceReport, Down, Up
from drivers.simulated.osdp import SimulatedOsdp
from drivers.simulated.ports import Session

KEY = bytes(range(1, 17))
OTHER_KEY = bytes(range(2, 18))


class PtyEnd(osdp.Channel):  # type: ignore[misc] # ships no types
    """One end of a pty, for libosdp's own peripheral device."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self.fd = fd

    def read(self, max_bytes: int) -> bytes:
        try:
            return os.read(self.fd, max_bytes)
        except BlockingIOError:
            return b""

    def write(self, buf: bytes) -> int:
        return os.write(self.fd, buf)

    def flush(self) -> None:
        pass


class Bench:
    def __init__(self, device: Any) -> None:
        self.device = device
        self.reports: list[DeviceReport] = []

    async def until(self, condition: Callable[[], bool], seconds: float = 8.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.002)

    async def reported(self, report: DeviceReport, count: int = 1) -> None:
        await self.until(lambda: self.reports.count(report) >= count)

    async def up(self, count: int = 1, seconds: float = 8.0) -> None:
        await self.until(lambda: sum(isinstance(r, Up) for r in self.reports) >= count, seconds)

    async def down(self, count: int = 1) -> Down:
        await self.until(lambda: len(self.downs) >= count)
        return self.downs[count - 1]

    @property
    def downs(self) -> list[Down]:
        return [report for report in self.reports if isinstance(report, Down)]

    @property
    def states(self) -> list[DeviceReport]:
        return [report for report in self.reports if isinstance(report, Up | Down)]

    @property
    def numbers(self) -> list[str]:
        return [report.number for report in self.reports if isinstance(report, CardNumberReport)]


@contextlib.asynccontextmanager
async def driven(port: str, driver: str = "osdp", **settings: object) -> AsyncIterator[Bench]:
    """The driver on `port`; it must still be running at the end, and stop at once."""
    info = registry.driver(driver)
    device = registry.create(driver, registry.check_settings(info, {"port": port, **settings}))
    bench = Bench(device)
    running = asyncio.create_task(device.run(bench.reports.append))
    try:
        yield bench
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def key_file(folder: Path, key: bytes = KEY, mode: int = 0o600, name: str = "scbk") -> str:
    path = folder / name
    path.write_text(key.hex() + "\n", "ascii")
    path.chmod(mode)
    return str(path)


def shared_line(*devices: SimulatedOsdp) -> Session:
    """Several devices on one line: each hears everything and answers what is meant for it."""

    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ears = [asyncio.StreamReader() for _ in devices]
        sessions = [asyncio.ensure_future(one.session(ear, writer)) for one, ear in zip(devices, ears, strict=True)]
        try:
            while data := await reader.read(256):
                for ear in ears:
                    ear.feed_data(data)
        finally:
            for session in sessions:
                session.cancel()
            await asyncio.gather(*sessions, return_exceptions=True)

    return line
