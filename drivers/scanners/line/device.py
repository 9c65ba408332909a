"""A QR engine at work: reads lines from its port, says each code once, and comes back when it was unplugged."""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Mapping

from drivers.contract import CodeReport, DeviceFault, Down, ReadProblem, ReportSink, Unread, Up
from drivers.registry import SettingValue
from drivers.scanners.line.codec import Framing, Lines, Scan
from drivers.transport import ByteLink, PortError, open_link

REOPEN_S = (0.1, 0.3, 0.5, 1.0)  # at most 1 s, so that a lane is back within 2 s of its scanner
IDLE_READ_S = 60.0  # a scanner is silent between passengers; the wait only bounds one read


class SameCode:
    """Says the same payload once within an interval; keeps a keyed hash of it, never the payload."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._key = secrets.token_bytes(16)
        self._mark = b""
        self._said_s = float("-inf")

    def is_new(self, payload: bytes, now_s: float) -> bool:
        """Whether to say it. A code held before the scanner stays the same for as long as it is seen."""
        mark = hashlib.blake2b(payload, key=self._key, digest_size=16).digest()
        again = mark == self._mark and now_s - self._said_s < self._interval_s
        self._mark, self._said_s = mark, now_s
        return not again


class LineScanner:
    """One engine; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = str(settings["port"])
        self._baud = int(settings["baud"])
        self._idle_s = float(settings["idle_timeout_ms"]) / 1000
        self._encoding = str(settings["encoding"])
        self._trigger_on = bytes.fromhex(str(settings["trigger_on"]))
        self._trigger_off = bytes.fromhex(str(settings["trigger_off"]))
        self._trigger_every_s = float(settings["trigger_every_s"])
        suffix, prefix = str(settings["suffix"]), str(settings["prefix"])
        self._framing = Framing(prefix.encode("latin-1"), suffix.encode("latin-1"), bool(settings["aim"]))
        self._same = SameCode(float(settings["same_code_s"]))
        self._up = False
        self._said: DeviceFault | None = None

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
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
            for scan in lines.feed(data) if data else lines.silence():
                self._say(scan, report, now())
            if self._trigger_every_s and now() - triggered_s >= self._trigger_every_s:
                triggered_s = now()
                await self._trigger(link)

    async def _trigger(self, link: ByteLink) -> None:
        if self._trigger_on:
            await link.write(self._trigger_on)

    def _say(self, scan: Scan, report: ReportSink, now_s: float) -> None:
        if scan.payload is None:
            report(Unread(ReadProblem.CODE_TOO_LONG))
        elif self._same.is_new(scan.payload, now_s):
            report(CodeReport(scan.payload, scan.symbology, self._encoding))


def create(settings: Mapping[str, SettingValue]) -> LineScanner:
    """A scanner with checked settings; opens nothing yet. Raises ValueError when a trigger is not hexadecimal."""
    return LineScanner(settings)
