"""An OSDP reader at work: its bus tells what it does, and each presented card is said once."""

import asyncio
from collections.abc import Mapping

from drivers.contract import CardNumberReport, DeviceFault, Down, ReportSink, Up, Vitals
from drivers.readers.osdp.bus import join_bus, leave_bus
from drivers.readers.osdp.codec import card_report
from drivers.readers.osdp.key import read_key
from drivers.readers.osdp.panel import CardSeen, Heard, Member, Offline, Online
from drivers.registry import SettingValue
from drivers.scanners.same_code import SameCode
from drivers.transport import PortError, port_setting

SETUP_AGAIN_S = 1.0  # a key file that was put right is found within 2 s of it


class OsdpReader:
    """One reader on a bus; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._address = int(settings["unit"])
        self._key_file = str(settings.get("scbk_file", ""))
        self._chip_reversed = bool(settings["chip_reversed"])
        self._same = SameCode(float(settings["same_card_s"]))
        self._report: ReportSink = lambda report: None

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._report = report
        said: DeviceFault | None = None
        while True:
            try:
                await self._work()
            except PortError as error:  # of the settings around the port; the bus says itself what the port does
                if error.fault is not said:
                    report(Down(error.fault, str(error)))
                said = error.fault
            await asyncio.sleep(SETUP_AGAIN_S)

    async def _work(self) -> None:
        member = Member(self._address, read_key(self._key_file), self._hear)
        bus = join_bus(self._port, self._baud, member)
        try:
            await asyncio.Event().wait()  # until cancelled
        finally:
            await leave_bus(self._port, bus, member)

    def _hear(self, heard: Heard) -> None:
        match heard:
            case Online(detail=detail):
                self._report(Up(detail))
            case Vitals():
                self._report(heard)
            case Offline(fault=fault, detail=detail):
                self._report(Down(fault, detail))
            case CardSeen(form=form, bits=bits, data=data):
                said = card_report(form, bits, data, self._chip_reversed)
                mark = said.number if isinstance(said, CardNumberReport) else said.problem
                if self._same.is_new(mark.encode(), asyncio.get_running_loop().time()):
                    self._report(said)


def create(settings: Mapping[str, SettingValue]) -> OsdpReader:
    """A reader with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return OsdpReader(settings)
