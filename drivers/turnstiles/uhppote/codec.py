"""What the 64-byte messages of UHPPOTE UT0311 controllers mean for a turnstile. No IO and no clock.

17, function, 00 00, serial number (4, little-endian), then fields at fixed offsets; their bytes are made and read by
the package `uhppoted`. A request's number at offset 40 is repeated in its answer, as the maker's samples check.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from drivers.contract import DeviceReport, Direction, Emergency, Passed, Ready

SIZE = 64
START, START_662 = 0x17, 0x19  # firmware 6.62 begins its events so
NUMBER_AT = 40
NUMBER_MODULO = 0x1_0000_0000
NORMALLY_OPEN, NORMALLY_CLOSED, CONTROLLED = 1, 2, 3  # door control modes
FORCE_LOCK, FIRE = 0x01, 0x02  # of a status' byte 50 (maker's samples, uhppoted-nodejs)
DOOR_EVENT, DOOR_OPENED = 2, 23  # an event's type and reason: a door's sensor opened
EVENTS_MAX = 16  # more between two looks is no crowd: the controller's list was changed by somebody

Settings = Mapping[str, str | int | float | bool]


class Function(enum.IntEnum):
    """Functions that are used."""

    STATUS = 0x20  # of an event, too, that the controller sends by itself
    OPEN_DOOR = 0x40
    SET_DOOR = 0x80
    GET_DOOR = 0x82
    RECORD_EVENTS = 0x8E
    SET_LISTENER = 0x90
    CONTROLLER = 0x94
    GET_EVENT = 0xB0


class Status(Protocol):
    """What is used of the package's answer to get-status. Its card number is never touched."""

    relays: int
    inputs: int
    event_index: int


class Event(Protocol):
    """What is used of its answer to get-event."""

    index: int
    event_type: int
    door: int
    reason: int


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the controller told."""

    relays: int
    fire: bool
    locked: bool  # force lock: no door opens
    last_event: int

    def is_open(self, door: int) -> bool:
        """Whether the door's relay is on."""
        return bool(self.relays >> (door - 1) & 1)


def look(status: Status) -> Look:
    """A status as a look."""
    inputs = status.inputs
    return Look(status.relays, bool(inputs & FIRE), bool(inputs & FORCE_LOCK), status.event_index)


def first_states(before: Look | None, now: Look) -> list[DeviceReport]:
    """What must be said of a controller seen for the first time, or again."""
    fire: list[DeviceReport] = [Emergency(now.fire)] if now.fire or (before and before.fire) else []
    return [*fire, Ready(not now.locked)]


def states(before: Look, now: Look) -> list[DeviceReport]:
    """What has changed between two looks."""
    changed: list[DeviceReport] = []
    if now.fire != before.fire:
        changed.append(Emergency(now.fire))
    if now.locked != before.locked:
        changed.append(Ready(not now.locked))
    return changed


def new_events(before: Look, now: Look) -> range:
    """Numbers of the events to be fetched; none after a jump."""
    more = now.last_event - before.last_event
    return range(now.last_event - more + 1, now.last_event + 1) if 0 < more <= EVENTS_MAX else range(0)


@dataclass(frozen=True, slots=True)
class DoorMap:
    """Which door of a controller is what of a turnstile."""

    doors: Mapping[Direction, int]
    sensors: Mapping[int, Direction]

    @classmethod
    def of(cls, settings: Settings) -> "DoorMap":
        """The map in checked settings."""
        entry = int(settings["unit"])
        sensors = {
            int(settings[key]): direction
            for direction, key in ((Direction.ENTRY, "passed_sensor"), (Direction.EXIT, "passed_exit_sensor"))
            if key in settings
        }
        return cls({Direction.ENTRY: entry, Direction.EXIT: int(settings.get("exit_door", entry))}, sensors)

    def reports(self, event: Event) -> list[DeviceReport]:
        """What an event says about this turnstile."""
        opened = (event.event_type, event.reason) == (DOOR_EVENT, DOOR_OPENED)
        return [Passed(self.sensors[event.door])] if opened and event.door in self.sensors else []


def numbered(message: bytes, number: int) -> bytes:
    """The request with its number."""
    return message[:NUMBER_AT] + number.to_bytes(4, "little") + message[NUMBER_AT + 4 :]


def number_of(message: bytes) -> int:
    """The number that an answer repeats."""
    return int.from_bytes(message[NUMBER_AT : NUMBER_AT + 4], "little")


def serial_of(message: bytes) -> int:
    """The controller that a message is of, or for."""
    return int.from_bytes(message[4:8], "little")


def is_event(datagram: bytes, serial: int) -> bool:
    """Whether the controller tells of an event by itself."""
    if len(datagram) != SIZE or datagram[0] not in (START, START_662):
        return False
    return datagram[1] == Function.STATUS and serial_of(datagram) == serial


class Frames:
    """Messages of one controller out of bytes as they come; noise and others' are left out. Serial 0: of any."""

    def __init__(self) -> None:
        self.serial = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """What has become whole."""
        self._buffer += data
        found: list[bytes] = []
        while (at := self._buffer.find(START)) >= 0:
            del self._buffer[:at]
            if len(self._buffer) >= 8 and not self._likely():
                del self._buffer[0]
                continue
            if len(self._buffer) < SIZE:
                return found
            found.append(bytes(self._buffer[:SIZE]))
            del self._buffer[:SIZE]
        self._buffer.clear()
        return found

    def _likely(self) -> bool:
        known = self._buffer[1] in Function._value2member_map_ and self._buffer[2:4] == b"\0\0"
        return known and (not self.serial or serial_of(bytes(self._buffer[:8])) == self.serial)

    def reset(self) -> None:
        """Forget a message that never ended."""
        self._buffer.clear()
