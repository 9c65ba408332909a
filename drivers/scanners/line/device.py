"""A QR engine at work: reads lines from its port, says each code once, and comes back when it was unplugged."""

import asyncio
import contextlib
from collections.abc import Mapping

from drivers.contract import CodeReport, DeviceFault, Down, ReportSink, Unread, Up
from drivers.registry import SettingError, SettingValue
from drivers.scanners.line.codec import Framing, Lines
from drivers.scanners.same_code import SameCode
from drivers.transport import REOPEN_S, ByteLink, PortError, open_link, port_setting
from drivers.vitals import VitalSigns

LAST_WORD_S = 0.05  # for trigger_off to go out before closing destroys it; 10 bytes take 10 ms at 9600 Bd
IDLE_READ_S = 60.0  # a scanner is silent between passengers; the wait only bounds one read


class LineScanner:
    """One engine; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._idle_s = float(settings["idle_timeout_ms"]) / 1000
        self._trigger_on = _command(settings, "trigger_on")
        self._trigger_off = _command(settings, "trigger_off")
        self._trigger_every_s = float(settings["trigger_every_s"])
        self._framing = Framing(
            prefix=_marks(settings, "prefix"),
            suffix=_marks(settings, "suffix"),
            aim=bool(settings["aim"]),
            encoding=str(settings["encoding"]),
            answers=bool(self._trigger_on or self._trigger_off),
        )
        self._same = SameCode(float(settings["same_code_s"]))
        self._vitals = VitalSigns()
        self._up = False
        self._said: DeviceFault | None = None

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._up, self._said = False, None
        attempt = 0
        while True:
            link: ByteLink | None = None
            try:
                link = await open_link(self._port, self._baud)
                await self._serve(link, report)
            except PortError as error:
                attempt = 0 if self._up else attempt
                if self._up or self._said is not error.fault:
                    report(Down(error.fault, str(error)))
                self._up, self._said = False, error.fault
            finally:
                if link:
                    await self._leave(link)
            await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
            attempt += 1

    async def _leave(self, link: ByteLink) -> None:
        if self._trigger_off and self._up:
            with contextlib.suppress(PortError):  # when it is gone, nothing is left to switch off
                await link.write(self._trigger_off)
                await asyncio.sleep(LAST_WORD_S)
        link.close()

    async def _serve(self, link: ByteLink, report: ReportSink) -> None:
        now = asyncio.get_running_loop().time
        lines = Lines(self._framing)
        await self._trigger(link)
        triggered_s = now()
        self._up, self._said = True, None
        report(Up())
        while True:
            wait_s = self._idle_s if lines.partial else self._trigger_every_s or IDLE_READ_S
            data = await link.read(wait_s)
            for said in lines.feed(data) if data else lines.silence():
                self._say(said, report, now())
            self._vitals.tell(report, now())
            if self._trigger_every_s and now() - triggered_s >= self._trigger_every_s:
                triggered_s = now()
                await self._trigger(link)

    async def _trigger(self, link: ByteLink) -> None:
        if self._trigger_on:
            await link.write(self._trigger_on)

    def _say(self, said: CodeReport | Unread, report: ReportSink, now_s: float) -> None:
        # A code that cannot be read is held before the engine just as long, and is one presentation too.
        mark = said.payload if isinstance(said, CodeReport) else said.problem.encode()
        if self._same.is_new(mark, now_s):
            report(said)
        else:
            self._vitals.good()  # a code held on is not said again, and yet the engine is well


def create(settings: Mapping[str, SettingValue]) -> LineScanner:
    """A scanner with checked settings; opens nothing yet. Raises SettingError for a wrong port or trigger."""
    return LineScanner(settings)


def _command(settings: Mapping[str, SettingValue], name: str) -> bytes:
    try:
        return bytes.fromhex(str(settings[name]))
    except ValueError:
        raise SettingError(name, f"{settings[name]!r} is not hexadecimal, as 16540D is") from None


def _marks(settings: Mapping[str, SettingValue], name: str) -> bytes:
    try:
        return str(settings[name]).encode("ascii")
    except UnicodeEncodeError:
        raise SettingError(name, f"{settings[name]!r} is not ASCII") from None
