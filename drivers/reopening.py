"""What devices with a place of their own share: open, serve until lost, say so once each way, open again."""

import asyncio

from drivers.contract import DeviceFault, Down, ReportSink, Up
from drivers.transport import REOPEN_S, ByteLink, PortError
from drivers.vitals import VitalSigns


class DeviceError(Exception):
    """The device itself is the trouble, not its port. `fault` is its place in the closed list."""

    def __init__(self, fault: DeviceFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class Reopening:
    """A device whose `serve` is run again and again; one run at a time."""

    def __init__(self) -> None:
        self.vitals = VitalSigns()
        self.is_up = False
        self._said: DeviceFault | None = None

    async def open(self) -> ByteLink:
        """Open the port. Raises PortError."""
        raise NotImplementedError

    async def serve(self, link: ByteLink, report: ReportSink) -> None:
        """Work until the port is lost (PortError) or the device fails (DeviceError); calls `say_up` once it answers."""
        raise NotImplementedError

    async def leave(self, link: ByteLink) -> None:
        """Last words to a device that is up, then close."""
        link.close()

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self.is_up, self._said = False, None
        attempt = 0
        while True:
            link: ByteLink | None = None
            try:
                link = await self.open()
                await self.serve(link, report)
            except (PortError, DeviceError) as error:
                attempt = 0 if self.is_up else attempt
                self._say_down(report, error.fault, str(error))
            finally:
                if link:
                    await self.leave(link)
            await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
            attempt += 1

    def say_up(self, report: ReportSink, detail: str = "") -> None:
        """The device answers."""
        self.is_up, self._said = True, None
        report(Up(detail))

    def _say_down(self, report: ReportSink, fault: DeviceFault, detail: str) -> None:
        if self.is_up or self._said is not fault:
            report(Down(fault, detail))
        self.is_up, self._said = False, fault
