"""A Digicon turnstile at work: one frame frees one passage, and it tells each passage by itself.

The protocol has no question that moves nothing: "up" means that the port is open, and a dead controller shows itself by
commands without an answer. It has no cancelling either: a release that is not answered may have happened.
"""

from collections.abc import Mapping

from drivers.contract import Answer, Direction, Passed, ReportSink
from drivers.registry import SettingValue
from drivers.transport import port_setting
from drivers.turnstiles.controller import Sent, SerialTurnstile, ordered
from drivers.turnstiles.digicon.codec import Code, Frames, encode

_RELEASES = {"H": Code.FREE_H, "A": Code.FREE_A, "D": Code.FREE_BOTH}
_OUTCOMES = (bytes([Code.ACK]), bytes([Code.NAK]))


class DigiconTurnstile(SerialTurnstile[bytes]):
    """One turnstile on a port of its own; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        super().__init__(port_setting(settings), settings, Frames())
        self.wait_s = float(settings["wait_s"])
        self._release = ordered(settings, "release_entry", ("H", "A"))
        by_table = "1A" if settings["release_entry"] == "H" else "1B"
        told = ordered({"passed_entry": by_table, **settings}, "passed_entry", ("1A", "1B"))
        self._passages = {bytes.fromhex(code): Passed(direction) for direction, code in told.items()}
        self._hold_way = _RELEASES[str(settings["hold_direction"])]
        self._report: ReportSink | None = None

    async def _greet(self, report: ReportSink) -> str:
        self._report = report
        return "port is open; this protocol has no question whether the turnstile is there"

    async def _free(self, direction: Direction, until_s: float, sent: Sent) -> Answer:
        return await self._order(sent, _RELEASES[self._release[direction]])

    async def _hold(self, on: bool, sent: Sent) -> Answer:
        if on:
            return await self._order(sent, Code.ALWAYS_FREE, self._hold_way)
        return await self._order(sent, Code.CONTROL)

    async def _order(self, sent: Sent, *commands: int) -> Answer:
        outcome = await self._ask(encode(*commands), _OUTCOMES.__contains__, sent, urgent=True)
        return Answer.ACCEPTED if outcome == _OUTCOMES[0] else Answer.REFUSED

    def _heard(self, frame: bytes) -> None:
        if self._report and (passed := self._passages.get(frame)):
            self._report(passed)


def create(settings: Mapping[str, SettingValue]) -> DigiconTurnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return DigiconTurnstile(settings)
