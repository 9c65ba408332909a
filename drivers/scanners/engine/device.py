"""A QR engine that takes orders: asked whether it is there, set up, triggered; its answers kept apart from codes."""

import asyncio
import contextlib
import tomllib
from collections.abc import Mapping
from importlib import resources

from drivers.contract import CodeReport, DeviceFault, ReportSink, Unread
from drivers.registry import SettingError, SettingValue
from drivers.reopening import DeviceError, Reopening
from drivers.scanners.engine.codec import Answer, Answers, Profile, Status, answers, parse_profile
from drivers.scanners.line.codec import Framing, Lines
from drivers.scanners.same_code import SameCode
from drivers.transport import ByteLink, PortError, open_link, port_setting

TRIES = 3  # as for every device here: one lost order is no fault, three are
CHECK_EVERY_S = 30.0  # as often as an idle SAM_V reader is asked
LAST_WORD_S = 0.05  # for the last order to go out before closing destroys it; 17 bytes take 18 ms at 9600 Bd


class EngineScanner(Reopening):
    """One engine; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        super().__init__()
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._profile = profile = profiles()[str(settings["profile"])]
        self._answer_s = float(settings["timeout_ms"]) / 1000
        self._idle_s = float(settings["idle_timeout_ms"]) / 1000
        self._trigger_every_s = float(settings["trigger_every_s"])
        self._triggers = settings["mode"] == "trigger"
        self._orders = _set_up(profile, settings)
        self._framing = Framing(
            prefix=profile.prefix,
            suffix=_suffix(settings, profile),
            aim=bool(settings["aim"]),
            encoding=str(settings["encoding"]),
            answers=True,
        )
        self._same = SameCode(float(settings["same_code_s"]))
        self._answers, self._lines = Answers(profile.dialect), Lines(self._framing)
        self._started_s = float("-inf")
        self._heard = False  # anything at all since the last order

    async def open(self) -> ByteLink:
        """Open the port."""
        return await open_link(self._port, self._baud)

    async def serve(self, link: ByteLink, report: ReportSink) -> None:
        """Ask, set up, then listen until the port is lost or the engine stops answering."""
        now = asyncio.get_running_loop().time
        self._answers, self._lines = Answers(self._profile.dialect), Lines(self._framing)
        self._started_s = float("-inf")
        await self._check(link, report)
        for order in self._orders:
            await self._order(link, report, order)
        self.say_up(report)
        checked_s = now()
        while True:
            if self._triggers and now() - self._started_s >= self._trigger_every_s:
                self._started_s = now()
                await self._order(link, report, self._profile.start)
            await self._listen(link, report, self._wait_s())
            self.vitals.tell(report, now())
            if now() - checked_s >= CHECK_EVERY_S:
                await self._check(link, report)
                checked_s = now()

    async def leave(self, link: ByteLink) -> None:
        """An engine that was started is stopped."""
        if self.is_up and self._triggers and self._profile.stop:
            with contextlib.suppress(PortError):  # when it is gone, nothing is left to switch off
                await link.write(self._profile.dialect.encode(self._profile.stop))
                await asyncio.sleep(LAST_WORD_S)
        link.close()

    def _wait_s(self) -> float:
        if self._lines.partial or self._answers.partial:
            return self._idle_s
        return min(CHECK_EVERY_S, self._trigger_every_s) if self._triggers else CHECK_EVERY_S

    async def _check(self, link: ByteLink, report: ReportSink) -> None:
        """Any answer, even a refusal, shows that the engine is there."""
        if self._profile.health:
            await self._ask(link, report, self._profile.health)

    async def _order(self, link: ByteLink, report: ReportSink, order: str) -> None:
        """Send an order and see it confirmed where the make confirms. Raises DeviceError when it is refused."""
        if not self._profile.health or order in self._profile.unanswered:
            await link.write(self._profile.dialect.encode(order))
            return
        status = (await self._ask(link, report, order)).status
        if status is not Status.DONE:
            why = "does not know it" if status is Status.UNKNOWN else "refuses the value"
            raise DeviceError(
                DeviceFault.PROTOCOL_ERROR, f"{order}: the engine {why}: check its profile, or mode = keep"
            )

    async def _ask(self, link: ByteLink, report: ReportSink, order: str) -> Answer:
        """The answer to an order, sent as often as allowed. Raises DeviceError when there is none."""
        now, self._heard = asyncio.get_running_loop().time, False
        for _ in range(TRIES):
            asked_s = now()
            await link.write(self._profile.dialect.encode(order))
            if answer := await self._answer(link, report, order):
                self.vitals.good(now() - asked_s)
                return answer
            self.vitals.failed(DeviceFault.PROTOCOL_ERROR if self._heard else DeviceFault.NO_ANSWER)
        if self._heard:
            raise DeviceError(DeviceFault.PROTOCOL_ERROR, f"answers, but not to {order}: check profile and speed")
        raise DeviceError(DeviceFault.NO_ANSWER, f"no answer to {TRIES} orders: check cable, power, speed and profile")

    async def _answer(self, link: ByteLink, report: ReportSink, order: str) -> Answer | None:
        """What answers `order` within the time-out; codes that come in between are said."""
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._answer_s
        while (left_s := ends_s - loop.time()) > 0:
            partial = self._lines.partial or self._answers.partial
            for answer in await self._listen(link, report, min(left_s, self._idle_s) if partial else left_s):
                if answers(answer, order):
                    return answer
        return None

    async def _listen(self, link: ByteLink, report: ReportSink, wait_s: float) -> list[Answer]:
        """One read: codes are said, answers are given back."""
        data = await link.read(wait_s)
        self._heard = self._heard or bool(data)
        if data:
            found, text = self._answers.feed(data)
            said = self._lines.feed(text)
        else:
            found = []
            said = self._lines.feed(self._answers.silence()) + self._lines.silence()
        for one in said:
            self._say(one, report)
            if self._profile.acknowledge:
                await link.write(self._profile.acknowledge)
        return found

    def _say(self, said: CodeReport | Unread, report: ReportSink) -> None:
        self._started_s = float("-inf")  # a scan ends with its code
        if not self.is_up:
            return  # scanned before anybody listened: that passenger may be gone
        mark = said.payload if isinstance(said, CodeReport) else said.problem.encode()
        if self._same.is_new(mark, asyncio.get_running_loop().time()):
            report(said)
        else:
            self.vitals.good()  # a code held on is not said again, and yet the engine is well


def profiles() -> dict[str, Profile]:
    """All makes, by the name that `station.toml` uses."""
    text = resources.files("drivers.scanners.engine").joinpath("profiles.toml").read_text("utf-8")
    return {name: parse_profile(raw) for name, raw in tomllib.loads(text).items()}


def create(settings: Mapping[str, SettingValue]) -> EngineScanner:
    """An engine with checked settings; opens nothing yet. Raises SettingError for what its profile cannot do."""
    return EngineScanner(settings)


def _set_up(profile: Profile, settings: Mapping[str, SettingValue]) -> tuple[str, ...]:
    """The orders that the settings ask for."""
    name, mode, same_ms = str(settings["profile"]), str(settings["mode"]), int(settings["engine_same_code_ms"])
    if mode != "keep" and mode not in profile.modes:
        raise SettingError(
            "mode", f"profile {name!r} has no order for {mode!r}: set the engine by its bar code, then keep"
        )
    if same_ms and not profile.same_code:
        raise SettingError("engine_same_code_ms", f"profile {name!r} has no order for it: use same_code_s")
    order_ms = round(float(settings["trigger_every_s"]) * 1000)
    orders = tuple(order.format(ms=order_ms, tenths=order_ms // 100) for order in profile.modes.get(mode, ()))
    return (*orders, profile.same_code.format(ms=same_ms)) if same_ms else orders


def _suffix(settings: Mapping[str, SettingValue], profile: Profile) -> bytes:
    try:
        return str(settings["suffix"]).encode("ascii") if "suffix" in settings else profile.suffix
    except UnicodeEncodeError:
        raise SettingError("suffix", f"{settings['suffix']!r} is not ASCII") from None
