"""A PC/SC reader and the cards laid on it, for the fault sequences: each has a pcscd and a PC/SC process of its own."""

import asyncio
import contextlib
import contextvars
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from drivers.contract import CardReport, DeviceReport
from drivers.readers.pcsc import device as driver
from drivers.readers.pcsc.codec import Kind
from drivers.readers.pcsc.process import COMMAND, shared_process
from drivers.simulated.cards import card_text
from drivers.simulated.pcsc import GOOD, READER
from drivers.worker.process import WorkerProcess
from tests.conformance.rigs_sources import LIES_S, Source
from tests.drivers.pcsc_bench import Service

READ_S = 2.0  # pcscd looks at vpcd every 0.4 s
GONE_S = 0.5  # and does not see a card leave when the next one comes sooner
SLOW_S = 0.6
_OWN: contextvars.ContextVar[WorkerProcess] = contextvars.ContextVar("the PC/SC process of one sequence")


def _own_process() -> WorkerProcess:
    return _OWN.get(None) or shared_process()


class Pcsc(Source):
    """Its bus is USB, with checks of its own: faults are the card's, the service's and the process's."""

    reports = (CardReport,)
    faults = ("pulled early", "refused", "cut", "slow", "process killed")
    lies_s = READ_S + GONE_S + 1.0

    async def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pcsc-")
        self._service = Service(Path(self._folder.name))
        self.card = self._service.card()
        socket = f"PCSCLITE_CSOCK_NAME={self._service.own.socket}"
        self.process = WorkerProcess("PC/SC", Kind, lambda: ("/usr/bin/env", socket, *COMMAND))
        _OWN.set(self.process)
        driver.shared_process = _own_process  # type: ignore[attr-defined] # of one loop there is one else
        self.place = self

    async def end(self) -> None:
        await self.card.remove()
        await self._service.own.stop()
        self._folder.cleanup()

    async def plug(self) -> None:
        """The service is started."""
        await self._service.start()

    async def unplug(self) -> None:
        """It is told to end, or dies."""
        if self.chance.random() < 0.5:
            await self._service.own.stop()
        else:
            await self._service.kill()

    spec = ""

    def where(self, spec: str) -> dict[str, Any]:
        return {"port": f"pcsc:{READER}"}

    def break_by(self, fault: str) -> None:
        knobs = self.card.knobs
        knobs.pulled_early, knobs.cut_bytes = fault == "pulled early", 5 * (fault == "cut")
        knobs.status, knobs.answer_s = b"\x63\x00" if fault == "refused" else GOOD, SLOW_S * (fault == "slow")
        if fault in ("process killed", "dead") and self.process.pid:
            os.kill(self.process.pid, signal.SIGKILL)

    def next(self, number: int) -> Any:
        return card_text(" ", name="测试", number=f"{number:018d}")

    async def present(self, what: Any) -> None:
        before = self.card.asked
        with contextlib.suppress(OSError):  # nobody listens
            await self.card.present(what)
            try:
                async with asyncio.timeout(READ_S if self.calmly else self.chance.uniform(*LIES_S)):
                    while not self.calmly or self.card.asked == before:
                        await asyncio.sleep(0.02)
            except TimeoutError:
                pass
            if self.calmly:
                await asyncio.sleep(0.1)  # until it has answered
            await self.card.remove()
            await asyncio.sleep(GONE_S)

    @staticmethod
    def what(report: DeviceReport) -> Any:
        return report.text if isinstance(report, CardReport) else None
