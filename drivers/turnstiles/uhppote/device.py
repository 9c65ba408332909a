"""A turnstile behind one or two doors of a UHPPOTE controller: a release opens a door for the controller's own delay.

Over UDP nothing says when a datagram is too old to act on: one that waits for the controller's hardware address leaves
up to 3 s late. So over UDP a release is sent only right after the controller was heard, only if its lifetime covers
those 3 s, and without an answer it is Unknown unless the relay is then seen closed. Over TCP it is destroyed (3.4).
"""

import asyncio
import dataclasses
from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

from drivers.contract import Answer, DeviceFault, Direction, ReportSink
from drivers.registry import SettingError, SettingValue
from drivers.transport import PortError, TcpAddress, parse_port
from drivers.turnstiles.controller import NoAnswerError, Sent, SerialTurnstile
from drivers.turnstiles.tpw.udp import any_port, open_any
from drivers.turnstiles.uhppote import library
from drivers.turnstiles.uhppote.codec import (
    CONTROLLED,
    NORMALLY_CLOSED,
    NORMALLY_OPEN,
    NUMBER_MODULO,
    DoorMap,
    Frames,
    Function,
    Look,
    first_states,
    is_event,
    look,
    new_events,
    number_of,
    numbered,
    states,
)
from drivers.turnstiles.uhppote.listener import Listener, join_listener, leave_listener

LATE_S = 3.0  # Linux asks for a hardware address 3 times in 3 s and keeps datagrams for it (neigh mcast_solicit)
FRESH_S = 0.5  # the controller was heard so lately: its hardware address is known, and the path is there
_BAUD = 115200  # no serial line: only the least pause between two questions, 0.3 ms, follows from it


class UhppoteTurnstile(SerialTurnstile[bytes]):
    """One turnstile; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        port = any_port({"port": str(settings["port"])})
        if not port.startswith(("udp:", "tcp:")):
            raise SettingError("port", f"{port!r} is not udp:HOST:PORT or tcp:HOST:PORT")
        self._reader = Frames()
        super().__init__(port, {**settings, "baud": _BAUD}, self._reader, open_any)
        self.poll_s = float(settings["poll_ms"]) / 1000
        self._serial = int(settings.get("serial", 0))
        self._numbered = bool(settings["numbered"])
        self._listen = _address(str(settings["listen"])) if "listen" in settings else None
        self._map = DoorMap.of(settings)
        self._late_s = LATE_S if port.startswith("udp:") else 0.0
        self._delays: dict[int, int] = {}  # seconds that each door stays open, as the controller is set
        self._seen: Look | None = None
        self._open_s = int(settings.get("open_s", 0))
        self.wait_s = self._open_s + self._late_s  # a lane's release may not end before; the door's delay is learned
        self._number = 0
        self._library: library.Messages | None = None

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._seen = None
        await super().run(report)

    # --- finding it ----------------------------------------------------------------------------------------------

    async def _greet(self, report: ReportSink) -> str:
        self._library = self._library or library.load()
        self._reader.serial = self._serial
        told = await self._value("get_controller", Function.CONTROLLER)
        self._reader.serial = told.controller
        modes = [await self._know(door) for door in self._doors]
        self.wait_s = max(self._delays.values()) + self._late_s
        if self._held:
            await self._hold(True, Sent())  # it may have lost its power
        self._held = self._held or NORMALLY_OPEN in modes  # a killed controller's, and ours to end
        if self._map.sensors:
            await self._value("record_special_events", Function.RECORD_EVENTS, True)
        if self._listen:
            address = IPv4Address(self._listen.host), self._listen.port
            await self._value("set_listener", Function.SET_LISTENER, *address)
        before, self._seen = self._seen, await self._ask_status()
        for state in first_states(before, self._seen):
            report(state)
        # Two turnstiles may stand on one controller: which of its doors it is belongs to what it is.
        self._identity = f"UHPPOTE {told.controller} door {self._map.doors[Direction.ENTRY]}"
        return f"UHPPOTE {told.controller} {told.version}"

    async def _know(self, door: int) -> int:
        """Learn a door's delay, or set it, and its mode, which is returned."""
        told = await self._value("get_door_control", Function.GET_DOOR, door)
        if told.door != door or not told.delay:
            raise PortError(DeviceFault.PROTOCOL_ERROR, f"{self._port} has no door {door}: check unit and exit_door")
        if told.mode == NORMALLY_CLOSED:
            raise PortError(DeviceFault.PROTOCOL_ERROR, f"door {door} is set to normally closed: set it to controlled")
        self._delays[door] = self._open_s or told.delay
        if told.delay != self._delays[door]:
            await self._set_mode(door, told.mode, Sent())
        return int(told.mode)

    @property
    def _doors(self) -> list[int]:
        return sorted(set(self._map.doors.values()))

    # --- asking --------------------------------------------------------------------------------------------------

    async def _value(self, name: str, function: Function, *values: Any, sent: Sent | None = None) -> Any:
        """Ask for `name` and read the answer. Raises NoAnswerError, PortError."""
        assert self._library is not None  # noqa: S101 - whoever asks has greeted
        self._number = (self._number + 1) % NUMBER_MODULO
        request = numbered(self._library.request(name, self._reader.serial, *values), self._number)

        def wanted(message: bytes) -> bool:
            return message[1] == function and (not self._numbered or number_of(message) == number_of(request))

        message = await self._ask(request, wanted, sent, urgent=sent is not None)
        try:
            return self._library.answer(name, message)
        except ValueError as error:
            raise NoAnswerError from error

    async def _ask_status(self) -> Look:
        return look(await self._value("get_status", Function.STATUS))

    async def _fence(self) -> None:
        await self._ask_status()

    # --- looking -------------------------------------------------------------------------------------------------

    async def _look(self, report: ReportSink) -> None:
        assert self._seen is not None  # noqa: S101 - whoever looks has greeted
        before, now = self._seen, await self._ask_status()
        # States first: a fire does not wait for events, of which one may be missing.
        self._seen = dataclasses.replace(now, last_event=before.last_event)
        for state in states(before, now):
            report(state)
        for index in new_events(before, now) if self._map.sensors else ():
            event = await self._value("get_event", Function.GET_EVENT, index)
            self._seen = dataclasses.replace(now, last_event=index)
            for passed in self._map.reports(event) if event.index == index else ():
                report(passed)
        self._seen = now

    # --- moving --------------------------------------------------------------------------------------------------

    async def _free(self, direction: Direction, until_s: float, sent: Sent) -> Answer:
        now_s = asyncio.get_running_loop().time
        if self._late_s and now_s() - self._heard_s > FRESH_S:
            await self._fence()
        # Its end is a close: none is commanded while the doors are held or a fire is on.
        if self._held or self._seen is None or self._seen.fire or until_s - now_s() < self.wait_s:
            return Answer.REFUSED
        door = self._map.doors[direction]
        was_open = self._seen.is_open(door)
        try:
            told = await self._value("open_door", Function.OPEN_DOOR, door, sent=sent)
        except NoAnswerError:
            return await self._read_back(door, was_open)
        return Answer.ACCEPTED if told.opened else Answer.REFUSED

    async def _read_back(self, door: int, was_open: bool) -> Answer:
        """The command timed out: a relay that is on, and was not, proves that it acted; anything else nothing."""
        now = await self._ask_status()
        return Answer.ACCEPTED if now.is_open(door) and not was_open else Answer.UNKNOWN

    async def end_hold(self) -> Answer:
        """End a hold, unless a fire is on."""
        if not self._may_end():
            return Answer.REFUSED
        return await super().end_hold()

    async def _hold(self, on: bool, sent: Sent) -> Answer:
        mode = NORMALLY_OPEN if on else CONTROLLED
        # Asked again now that its turn has come: a fire may have been seen meanwhile.
        answers = [
            await self._set_mode(door, mode, sent) if on or self._may_end() else Answer.REFUSED for door in self._doors
        ]
        return answers[0] if len(set(answers)) == 1 else Answer.UNKNOWN

    def _may_end(self) -> bool:
        return self._seen is not None and not self._seen.fire

    async def _set_mode(self, door: int, mode: int, sent: Sent) -> Answer:
        told = await self._value("set_door_control", Function.SET_DOOR, door, mode, self._delays[door], sent=sent)
        return Answer.ACCEPTED if (told.door, told.mode) == (door, mode) else Answer.REFUSED

    # --- being told ----------------------------------------------------------------------------------------------

    async def _serve(self, report: ReportSink) -> None:
        if self._listen is None:
            await super()._serve(report)
            return
        listener: Listener = await join_listener(self._listen, self._event)
        try:
            await super()._serve(report)
        finally:
            leave_listener(self._listen, listener, self._event)

    def _event(self, datagram: bytes) -> None:
        if is_event(datagram, self._reader.serial):
            self._stir.set()  # look at once


def _address(text: str) -> TcpAddress:
    """The setting `listen`. Raises SettingError."""
    try:
        address = parse_port(f"tcp:{text}")
        if isinstance(address, TcpAddress) and IPv4Address(address.host):
            return address
    except ValueError:
        pass
    raise SettingError("listen", f"{text!r} is not IPV4:PORT with a port of 1-65535")


def create(settings: Mapping[str, SettingValue]) -> UhppoteTurnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return UhppoteTurnstile(settings)
