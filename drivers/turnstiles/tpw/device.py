"""A TPW-321ASP at work: passing is set free for a grant and controlled again; passages are its counters' differences.

The protocol has no command for one passage. What the board should be set to follows from the grants that live and from
a hold; at each look it is set so when it is not known to be, so a release that was not answered is withdrawn at once,
and one that the line's loss left open is ended first thing when the line is back.
"""

import asyncio
from collections.abc import Mapping

from drivers.contract import Answer, Direction, ReportSink
from drivers.registry import SettingValue
from drivers.turnstiles.controller import NoAnswerError, Sent, SerialTurnstile
from drivers.turnstiles.tpw.codec import (
    CONNECT,
    COUNTS,
    DONE,
    FAILED,
    PARAMETERS,
    Frame,
    Frames,
    Kind,
    counted,
    encode,
    freed,
    passing,
    read_count,
)
from drivers.turnstiles.tpw.udp import any_port, open_any

PARAMETERS_MAX = 16  # the manual lists eleven; a board that never ends them is none


class TpwTurnstile(SerialTurnstile[Frame]):
    """One control board; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._address = int(settings["unit"]) if "unit" in settings else None
        port = any_port({"port": str(settings["port"])})
        super().__init__(port, settings, Frames(self._address), open_any)
        self.poll_s = float(settings["poll_ms"]) / 1000
        self._grants: dict[Direction, list[float]] = {direction: [] for direction in Direction}  # when each ends
        self._told: frozenset[Direction] | None = None  # what the board confirmed to be free; None: not known
        self._report: ReportSink = lambda report: None
        self._was_told = False  # by us, since we started
        self._counts: dict[Direction, int] = {}

    # --- finding it ----------------------------------------------------------------------------------------------

    async def _greet(self, report: ReportSink) -> str:
        """The handshake: FF both ways, then one parameter for each FF of ours."""
        self._report, self._counts, self._told = report, {}, None
        detail = ""
        # A board that the line left in an earlier handshake goes on with it.
        told = await self._ask(self._bytes(CONNECT), lambda frame: frame == CONNECT or frame.kind in PARAMETERS)
        for _ in range(PARAMETERS_MAX):
            detail += self._noted(told)
            if told.kind == Kind.INFRARED:
                return detail.strip()
            try:
                told = await self._ask(self._bytes(CONNECT), lambda frame: frame.kind in PARAMETERS, thanks=self._last)
            except NoAnswerError:
                if told == CONNECT:
                    raise
                return detail.strip()  # a tripod has no infrared sensors to tell of
        raise NoAnswerError

    def _last(self, told: Frame) -> bytes:
        return self._bytes(CONNECT) if told.kind == Kind.INFRARED else b""  # the board waits for our word

    def _noted(self, told: Frame) -> str:
        for direction, kind in COUNTS.items():
            if told.kind == kind and told.count is not None:
                self._counts[direction] = told.count
        if told.kind == Kind.PASSING:
            self._told = freed(told)
            # A hold that a killed controller left; later both ways may be free by two grants of ours.
            self._held = self._held or (not self._was_told and self._told == frozenset(Direction))
        if told.kind in (Kind.MODEL, Kind.VERSION):
            return "".join(filter(str.isprintable, told.content.decode("ascii", "replace"))).strip() + " "
        return ""

    # --- looking -------------------------------------------------------------------------------------------------

    async def _fence(self) -> None:
        await self._take_counts()  # who passed before the next grant does not use it up

    async def _count(self, direction: Direction) -> int:
        def wanted(frame: Frame) -> bool:
            return frame.kind == COUNTS[direction] and frame.count is not None

        question = self._bytes(read_count(direction))
        told = await self._ask(question, wanted, thanks=lambda told: self._bytes(DONE))
        return told.count or 0

    async def _take_counts(self) -> None:
        for direction in Direction:
            before, now = self._counts.get(direction), await self._count(direction)
            self._counts[direction] = now
            for passed in counted(direction, before, now):
                self._report(passed)
                del self._grants[direction][:1]

    async def _look(self, report: ReportSink) -> None:
        await self._take_counts()
        self._expire()
        if self._told != self._wanted():
            await self._tell()

    def _expire(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for direction, ends in self._grants.items():
            self._grants[direction] = [end_s for end_s in ends if end_s > now_s]

    def _pause_s(self) -> float:
        now_s = asyncio.get_running_loop().time()
        ends = [end_s - now_s for ends in self._grants.values() for end_s in ends]
        return max(0.0, min([self.poll_s, *ends]))

    # --- moving it -----------------------------------------------------------------------------------------------

    def _wanted(self) -> frozenset[Direction]:
        return frozenset(direction for direction in Direction if self._held or self._grants[direction])

    async def _tell(self, sent: Sent | None = None) -> Answer:
        wanted, self._told, self._was_told = self._wanted(), None, True
        command = self._bytes(passing(wanted))
        outcome = await self._ask(command, (DONE, FAILED).__contains__, sent, urgent=True)
        if outcome == FAILED:
            return Answer.REFUSED
        self._told = wanted
        return Answer.ACCEPTED

    async def _free(self, direction: Direction, until_s: float, sent: Sent) -> Answer:
        self._grants[direction].append(until_s)
        answer = Answer.UNKNOWN
        try:
            answer = await self._tell(sent)
        finally:
            if answer is not Answer.ACCEPTED:  # withdrawn at the next look
                self._grants[direction].remove(until_s)
            self._stir.set()  # which is now, or when this grant ends
        return answer

    async def _hold(self, on: bool, sent: Sent) -> Answer:
        return await self._tell(sent)

    async def _leave(self) -> None:
        self._grants = {direction: [] for direction in Direction}
        if self._told != self._wanted():
            await self._tell()

    def _bytes(self, frame: Frame) -> bytes:
        return encode(frame, self._address)


def create(settings: Mapping[str, SettingValue]) -> TpwTurnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return TpwTurnstile(settings)
