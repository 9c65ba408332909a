"""The lamp and buzzer of an OSDP reader at work: on the reader's own bus and unit, beside whoever reads its cards."""

import asyncio
import contextlib
from collections.abc import Mapping

from drivers.contract import DeviceFault, Down, ReportSink, Sign, Up, Vitals
from drivers.prompts.osdp_lamp.codec import Lamp
from drivers.readers.osdp.bus import Bus, join_bus, leave_bus
from drivers.readers.osdp.key import read_key
from drivers.readers.osdp.panel import Heard, LampRefused, Member, Offline, Online
from drivers.registry import SettingValue
from drivers.transport import PortError, port_setting

SETUP_AGAIN_S = 1.0  # a key file that was put right is found within 2 s of it
AGAIN_S = 1.0  # a third of what a sign lasts (codec.LASTS_UNITS)


class OsdpLamp:
    """One reader's lamp; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._address = int(settings["reader_unit"])
        self._key_file = str(settings.get("scbk_file", ""))
        self._lamp = Lamp.of(settings)
        self._sign = Sign.READY
        self._beeps = False  # the sign has just changed
        self._able = True  # it does what its lamp is told, as far as it said until now
        self._changed = asyncio.Event()
        self._report: ReportSink = lambda report: None

    def say(self, reason: str) -> None:
        """A lamp says nothing."""

    def show(self, sign: Sign) -> None:
        """Show this from now on."""
        if sign is not self._sign:
            self._sign, self._beeps = sign, True
            self._changed.set()

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
        member = Member(self._address, read_key(self._key_file), self._hear, is_lamp=True)
        bus = join_bus(self._port, self._baud, member)
        try:
            while True:
                self._tell(bus, member)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(AGAIN_S):
                        await self._changed.wait()
        finally:
            await leave_bus(self._port, bus, member)

    def _tell(self, bus: Bus, member: Member) -> None:
        """What the lamp is to show; a beep that finds the reader away is not made up for."""
        again = not self._changed.is_set()
        self._changed.clear()
        if not self._able:
            return
        beep = self._lamp.beep(self._sign) if self._beeps else None
        self._beeps = False
        # With every change, what it shows at rest too: one that waited when the next came was replaced by it.
        looks = [*([] if again else [self._lamp.at_rest()]), self._lamp.show(self._sign)]
        bus.show(member, looks, beep, again)

    def _hear(self, heard: Heard) -> None:
        match heard:
            case Online(detail=detail):
                self._able = True
                self._changed.set()
                self._report(Up(detail))
            case LampRefused() if self._able:
                self._able = False  # until it was away: it is not told what it cannot do every second
                text = f"unit {self._address} refuses lamp {self._lamp.led} of reader {self._lamp.reader}: has it one?"
                self._report(Down(DeviceFault.PROTOCOL_ERROR, text))
            case Vitals() if self._able:
                self._report(heard)
            case Offline(fault=fault, detail=detail):
                self._report(Down(fault, detail))


def create(settings: Mapping[str, SettingValue]) -> OsdpLamp:
    """A lamp with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return OsdpLamp(settings)
