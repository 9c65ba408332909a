"""A thermometer module at work: asked, or listened to, for as long as it speaks; tells only what a person can be."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from drivers.contract import DeviceFault, MeasuredAt, ReportSink, Temperature
from drivers.registry import SettingValue
from drivers.reopening import DeviceError, Reopening
from drivers.thermometers.serial.codec import AA55, FIVE_A, Dialect, Frames, is_person, register_dialect
from drivers.transport import ByteLink, open_link, port_setting

# Longer than the slowest module's rhythm (1 Hz: register 02 of the register module), and leaves time to be back in 2 s.
SILENT_S = 1.5
# A pause that parts two frames: within one are 4 ms at most (2400 Bd), a USB adapter's 16 ms, a network's tens of ms.
# Without it the sum, one byte, is all that tells a frame that broke off and the next one's head from a person.
PAUSE_S = 0.08


class SerialThermometer(Reopening):
    """One module; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        super().__init__()
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._poll_s = float(settings["poll_ms"]) / 1000
        self._dialect = _dialect(settings)
        added = settings.get("forehead_to_body_c")
        self._heard_s = float("-inf")  # when bytes came last
        self._forehead_to_body_c = None if added is None else float(added)

    async def open(self) -> ByteLink:
        """Open the port."""
        return await open_link(self._port, self._baud)

    async def serve(self, link: ByteLink, report: ReportSink) -> None:
        """Ask and listen until the port is lost or the module is silent."""
        now = asyncio.get_running_loop().time
        frames, heard, good_s = Frames(self._dialect), False, now()
        while True:
            if self._dialect.ask:
                await link.write(self._dialect.ask)
            data = await self._listen(link, frames)
            heard = heard or data is None
            if data is None or (self._dialect.ask and not data):
                self.vitals.failed(DeviceFault.PROTOCOL_ERROR if data is None else DeviceFault.NO_ANSWER)
            for one in data or ():
                good_s, heard = now(), False
                if not self.is_up:
                    self.say_up(report)
                self._tell(one, report)
            self.vitals.tell(report, now())
            if now() - good_s > SILENT_S:
                raise _unheard(heard)

    async def _listen(self, link: ByteLink, frames: Frames) -> list[Temperature | None] | None:
        """The frames of one poll; None when there were bytes and no frame."""
        loop = asyncio.get_running_loop()
        asked_s, bytes_came = loop.time(), False
        ends_s, found = asked_s + self._poll_s, list[Temperature | None]()
        while (left_s := ends_s - loop.time()) > 0:
            data = await link.read(left_s)
            if loop.time() - self._heard_s > PAUSE_S:
                frames.silence()
            self._heard_s = loop.time() if data else self._heard_s
            bytes_came = bytes_came or bool(data)
            more = frames.feed(data)
            if more:  # the first one answers
                self.vitals.good(loop.time() - asked_s if self._dialect.ask and not found else None)
            found += more
        return found if found or not bytes_came else None

    def _tell(self, one: Temperature | None, report: ReportSink) -> None:
        if one is not None and one.kind is MeasuredAt.FOREHEAD and self._forehead_to_body_c is not None:
            one = replace(one, celsius=one.celsius + self._forehead_to_body_c, kind=MeasuredAt.BODY)
        if one is not None and is_person(one.celsius):
            report(one)


def _unheard(heard: bool) -> DeviceError:
    if heard:
        return DeviceError(DeviceFault.PROTOCOL_ERROR, "speaks, but not so: check its protocol, speed and id")
    return DeviceError(DeviceFault.NO_ANSWER, f"silent for {SILENT_S:g} s: check cable, power, speed and protocol")


def _dialect(settings: Mapping[str, SettingValue]) -> Dialect:
    dialects = {"5a5a45": FIVE_A, "aa55": AA55, "register": register_dialect(int(settings["module_id"]))}
    return dialects[str(settings["protocol"])]


def create(settings: Mapping[str, SettingValue]) -> SerialThermometer:
    """A thermometer with checked settings; opens nothing yet. Raises SettingError for a wrong port."""
    return SerialThermometer(settings)
