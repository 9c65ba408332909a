"""A turnstile behind one or two doors of a C3 panel: a release opens a door for some seconds of the panel's own time.

The panel ends what it opened even if we are gone. A timed opening ends in a close: so none is commanded while the doors
are held open or an emergency is on.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from drivers.contract import Answer, DeviceFault, DeviceReport, Direction, Down, Emergency, Passed, ReportSink, Up
from drivers.registry import SettingError, SettingValue
from drivers.transport import REOPEN_S, PortError, port_setting
from drivers.turnstiles.controller import NoAnswerError, Sent
from drivers.turnstiles.zkteco_c3.codec import CLOSED, HELD, DoorMap, Event, RefusedError, move
from drivers.turnstiles.zkteco_c3.panel import ForbiddenError, Line, Panel, join_panel, leave_panel


class C3Turnstile:
    """One turnstile; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        if not self._port.startswith("tcp:"):
            raise SettingError("port", f"{self._port!r} is not tcp:HOST:PORT: panels are spoken to over the network")
        poll_s, timeout_s = float(settings["poll_ms"]) / 1000, float(settings["timeout_ms"]) / 1000
        self._line = Line(timeout_s, poll_s, str(settings.get("password_file", "")))
        self._map = DoorMap.of(settings)
        self._open_s = int(settings["open_s"])
        self.wait_s = float(self._open_s)  # a lane's release may not end before
        self._panel: Panel | None = None
        self._report: ReportSink = lambda report: None
        self._up = False
        self._said: DeviceFault | None = None
        self._held = False  # by us
        self._emergency = False
        self._holding = asyncio.Lock()  # one hold, or end of one, after the other
        self._moving = asyncio.Lock()  # one command of this turnstile at a time

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._report, self._up, self._said = report, False, None
        panel = await self._join()
        self._panel = panel
        try:
            await asyncio.get_running_loop().create_future()  # the panel works for all its doors
        finally:
            self._panel, self._up = None, False
            await leave_panel(self._port, panel, self)

    async def _join(self) -> Panel:
        while True:
            try:
                return join_panel(self._port, self._line, self)
            except PortError as error:
                self.down(error.fault, str(error))
            await asyncio.sleep(REOPEN_S[-1])

    # --- what the panel says -------------------------------------------------------------------------------------

    def up(self, detail: str, doors: int, serial: str) -> None:
        """See `panel.Door`."""
        if doors and self._map.last_door > doors:
            text = f"{self._port} has {doors} doors and no door {self._map.last_door}: check unit and exit_door"
            self.down(DeviceFault.PROTOCOL_ERROR, text)
        elif not self._up:
            self._up, self._said = True, None
            # Two turnstiles may stand on one panel: which of its doors it is belongs to what it is.
            self._report(Up(detail, f"C3 {serial} door {self._map.doors[Direction.ENTRY]}" if serial else ""))

    def vitals(self, said: DeviceReport) -> None:
        """See `panel.Door`."""
        if self._up:
            self._report(said)

    def down(self, fault: DeviceFault, detail: str) -> None:
        """See `panel.Door`."""
        if self._up or self._said is not fault:
            self._report(Down(fault, detail))
        self._up, self._said = False, fault

    def heard(self, events: Sequence[Event], old: bool) -> None:
        """See `panel.Door`. A fire of before is still a fire; who passed before is not known to have been released."""
        for event in events:
            for report in self._map.reports(event):
                if isinstance(report, Passed) and old:
                    continue
                if isinstance(report, Emergency):
                    if report.active is self._emergency:
                        continue
                    self._emergency = report.active
                self._report(report)

    def standing(self) -> list[bytes]:
        """See `panel.Door`."""
        return [move(door, HELD) for door in self._doors] if self._held else []

    # --- what the service commands -------------------------------------------------------------------------------

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        """Open the direction's door. See `drivers.contract.Turnstile`."""
        until_s = asyncio.get_running_loop().time() + lifetime_s - self._open_s  # the panel's time must fit in
        said = Sent(sent)
        try:
            async with asyncio.timeout(max(0.0, lifetime_s)):
                operation = move(self._map.doors[direction], self._open_s)
                return await self._command(operation, said, until_s, lambda: not (self._held or self._emergency))
        except TimeoutError:  # what was on its way is destroyed
            return Answer.UNKNOWN if said.was else Answer.REFUSED

    async def hold_open(self) -> Answer:
        """Hold every door of the turnstile open."""
        async with self._holding:
            before, self._held = self._held, True
            answer = await self._move_all(HELD, lambda: True)
            if answer is Answer.REFUSED:
                self._held = before
            return answer

    async def end_hold(self) -> Answer:
        """End a hold of ours, and of no other: the panel does not tell one from an opening by a linked fire input."""
        async with self._holding:  # who asks a second time may not hear of an end that is only on its way
            if self._emergency:
                return Answer.REFUSED
            if not self._held:
                return Answer.ACCEPTED
            self._held = False
            answer = await self._move_all(CLOSED, lambda: not self._emergency)
            if answer is not Answer.ACCEPTED:
                self._held = True
            return answer

    @property
    def _doors(self) -> list[int]:
        return sorted(set(self._map.doors.values()))

    async def _move_all(self, seconds: int, may: Callable[[], bool]) -> Answer:
        answers = [await self._command(move(door, seconds), Sent(), float("inf"), may) for door in self._doors]
        return answers[0] if len(set(answers)) == 1 else Answer.UNKNOWN

    async def _command(self, operation: bytes, said: Sent, until_s: float, may: Callable[[], bool]) -> Answer:
        async with self._moving:
            if not self._up or self._panel is None:
                return Answer.REFUSED
            try:
                await self._panel.control(operation, said, until_s, may)
            except (RefusedError, PortError, ForbiddenError):
                return Answer.REFUSED  # it did not act, or nothing was sent
            except NoAnswerError:
                return Answer.UNKNOWN if said.was else Answer.REFUSED
            return Answer.ACCEPTED


def create(settings: Mapping[str, SettingValue]) -> C3Turnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return C3Turnstile(settings)
