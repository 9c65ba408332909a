"""PC/SC readers at work: a real pcscd of the test's own, its virtual reader, cards that are laid on it."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import CardNumberReport, CardReport, DeviceFault, DeviceReport, Down, Unread, Up, Vitals
from drivers.readers.pcsc.codec import Kind
from drivers.simulated.cards import card_text, made_up_number
from drivers.simulated.pcsc import READER, CardKnobs, OwnPcscd, VirtualCard, lacks
from drivers.worker.codec import Message

TEXT = card_text(" ", name="测试", number=made_up_number(7), valid_from="20200101", valid_until="长期")
OTHER = card_text("J", name="测试", number=made_up_number(8), valid_from="20200101", valid_until="20300101")
UID = bytes.fromhex("04A1B2C3D4E5F6")


def needed() -> None:
    """Skip, with its reason, where no pcscd of one's own can run; never in CI."""
    if missing := lacks():
        if os.environ.get("CI") == "true":
            pytest.fail(f"needs {missing}: this check may not be left out in CI")
        pytest.skip(f"needs {missing}")


class Service:
    """A pcscd that can be killed and started again at the same socket and ports."""

    def __init__(self, folder: Path) -> None:
        self.own = OwnPcscd(folder)

    @property
    def pid(self) -> int:
        assert self.own.process
        return self.own.process.pid

    async def start(self) -> None:
        """Run it; its virtual reader takes cards when this returns."""
        await self.own.start()
        async with asyncio.timeout(10):
            while not _is_taken(self.own.vpcd_port):
                await asyncio.sleep(0.005)

    async def kill(self) -> None:
        """SIGKILL, as a crash is; its socket stays, and nobody listens there."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.own.process
        await self.own.process.wait()

    def card(self, knobs: CardKnobs | None = None, slot: int = 0) -> VirtualCard:
        """What is laid on one of the two slots."""
        return VirtualCard(self.own.vpcd_port + slot, knobs=knobs)


def _is_taken(port: int) -> bool:
    """Whether vpcd listens there; it is not connected to, since whoever does is a card."""
    wanted = f":{port:04X}"
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:] + Path("/proc/net/tcp6").read_text().splitlines()[1:]
    return any(fields[1].endswith(wanted) and fields[3] == "0A" for fields in map(str.split, lines))


@contextlib.asynccontextmanager
async def service(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Service]:
    """A running pcscd that the driver's process will find."""
    needed()
    made = Service(folder)
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", made.own.socket)
    await made.start()
    try:
        yield made
    finally:
        await made.own.stop()


class Reader:
    """One PC/SC reader's driver and what it said."""

    def __init__(self, port: str = f"pcsc:{READER}", **given: Any) -> None:
        info = registry.driver("pcsc")
        self.device = registry.create("pcsc", registry.check_settings(info, {"port": port, **given}))
        self.said: list[DeviceReport] = []
        self.lefts = 0  # how often its process told that no card is there
        self._hear, self.device.hear = self.device.hear, self._overhear  # type: ignore[attr-defined]

    def _overhear(self, message: Message) -> None:
        self.lefts += message.kind == Kind.LEFT
        self._hear(message)

    @property
    def cards(self) -> list[DeviceReport]:
        """What was read of cards, in order."""
        return [report for report in self.said if isinstance(report, CardReport | CardNumberReport | Unread)]

    @property
    def states(self) -> list[Up | Down]:
        return [report for report in self.said if isinstance(report, Up | Down)]

    @property
    def downs(self) -> list[Down]:
        return [report for report in self.said if isinstance(report, Down)]

    @property
    def faults(self) -> list[DeviceFault]:
        return [report.fault for report in self.downs]

    @property
    def is_up(self) -> bool:
        return [type(state) for state in self.states][-1:] == [Up]

    @property
    def vitals(self) -> list[Vitals]:
        return [report for report in self.said if isinstance(report, Vitals)]

    async def until_cards(self, count: int) -> None:
        await until(lambda: len(self.cards) >= count)

    async def sees_removed(self, card: VirtualCard) -> None:
        """Take the card away and wait until that was seen; vpcd misses it when the next card comes at once."""
        before = self.lefts
        await card.remove()
        await until(lambda: self.lefts > before)

    async def looks_again(self) -> None:
        """It has looked at its reader twice more: whatever is there now was seen."""
        before = len(self.vitals)
        await until(lambda: len(self.vitals) >= before + 2)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def running(*readers: Reader) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(reader.device.run(reader.said.append)) for reader in readers]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, asyncio.CancelledError), result


@contextlib.asynccontextmanager
async def at_work(folder: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> AsyncIterator[tuple[Service, Reader]]:
    """A service and one reader of it that is up."""
    reader = Reader(**given)
    async with service(folder, monkeypatch) as pcscd, running(reader):
        await until(lambda: reader.is_up)
        yield pcscd, reader
