"""Frames and real-time records of ZKTeco C3 and inBio panels. No IO and no clock.

AA, protocol version, command, length (2), data, CRC-16 (2), 55; all numbers little-endian. The CRC (polynomial A001,
start 0) covers version to data. In a session the data begin with its id and a message number that the panel repeats;
some panels know no sessions and answer F3 (-13). Facts: vwout/zkaccess-c3-py, and frames captured in its issues.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.contract import DeviceReport, Direction, Emergency, Passed

START, END, VERSION = 0xAA, 0x55, 0x01
VERSIONS = (0x00, 0x01, 0x02)  # panels were seen to answer with each
HEAD, TAIL = 5, 3  # bytes before and after the data
DATA_MAX = 2048  # the longest answer seen, a table of all tables, has 1200
NUMBER_MODULO = 0x10000
FIRST = 0xFEFE  # session id and message number of the first request: -258
RECORD = 16  # bytes of a binary real-time record
NO_SUCH_COMMAND, WRONG_PASSWORD = -13, -14
HELD, CLOSED = 255, 0  # seconds of an output operation that mean "until told otherwise" and "now off"
DOOR_OUTPUT = 1
OUTPUT = 1  # the control operation that moves an output

Settings = Mapping[str, str | int | float | bool]


class Command(enum.IntEnum):
    """What a panel is asked."""

    CONNECT = 0x01  # without a session
    DISCONNECT = 0x02
    PARAMETERS = 0x04
    CONTROL = 0x05
    LOG = 0x0B  # real-time log in binary records
    CONNECT_SESSION = 0x76
    TEXT_LOG = 0x79  # real-time log in lines of text


class Reply(enum.IntEnum):
    """How it answers."""

    DONE = 0xC8
    REFUSED = 0xC9


class Kind(enum.IntEnum):
    """Kinds of real-time events that say something about a turnstile."""

    OPENED_BY_FORCE = 102  # the door's sensor opened without a release
    OPENED = 200
    INPUT_OPEN = 220  # auxiliary input: its circuit was opened
    INPUT_SHORTED = 221
    STATUS = 255  # no event: how doors and alarms stand


@dataclass(frozen=True, slots=True)
class Frame:
    """One answer."""

    reply: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One real-time event. Card number and PIN of a record are never taken out of it."""

    kind: int
    number: int  # of the door or the auxiliary input


class RefusedError(Exception):
    """The panel refused; it did not act. `code` is its own."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the panel refuses with {code}")
        self.code = code


def crc16(data: bytes) -> int:
    """CRC-16 of a frame's middle; of b"123456789" it is BB3D."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def encode(command: int, data: bytes) -> bytes:
    """A request's bytes. Raises ValueError when it is too long."""
    if len(data) > DATA_MAX:
        raise ValueError(f"{len(data)} bytes of data: a frame has at most {DATA_MAX}")
    middle = bytes([VERSION, command]) + len(data).to_bytes(2, "little") + data
    return bytes([START]) + middle + crc16(middle).to_bytes(2, "little") + bytes([END])


class Frames:
    """Answers out of bytes as they come; noise is left out."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """What has become whole."""
        self._buffer += data
        found: list[Frame] = []
        while (at := self._buffer.find(START)) >= 0:
            del self._buffer[:at]
            if len(self._buffer) < HEAD:
                return found
            size = int.from_bytes(self._buffer[3:5], "little")
            likely = self._buffer[1] in VERSIONS and self._buffer[2] in (Reply.DONE, Reply.REFUSED) and size <= DATA_MAX
            if likely and len(self._buffer) < HEAD + size + TAIL:
                return found
            if not likely or not self._whole(size):
                del self._buffer[0]
                continue
            found.append(Frame(self._buffer[2], bytes(self._buffer[HEAD : HEAD + size])))
            del self._buffer[: HEAD + size + TAIL]
        self._buffer.clear()
        return found

    def _whole(self, size: int) -> bool:
        check = int.from_bytes(self._buffer[HEAD + size : HEAD + size + 2], "little")
        return self._buffer[HEAD + size + 2] == END and crc16(bytes(self._buffer[1 : HEAD + size])) == check


class Session:
    """Which session a connection has, and the number of its last message."""

    def __init__(self) -> None:
        self.id: int | None = FIRST  # None: the panel knows no sessions
        self._begun = False
        self._number = FIRST - 1

    def request(self, command: int, data: bytes = b"") -> bytes:
        """The next request's bytes. Raises ValueError when it is too long."""
        if self.id is None:
            return encode(command, data)
        self._number = (self._number + 1) % NUMBER_MODULO
        return encode(command, self._id_bytes + self._number.to_bytes(2, "little") + data)

    @property
    def _id_bytes(self) -> bytes:
        return (self.id or 0).to_bytes(2, "little")

    def answer(self, frame: Frame) -> bytes | None:
        """The data that answer the last request; None when the frame answers another. Raises RefusedError."""
        data = frame.data
        if self.id is not None and len(data) >= 4:
            if data[2:4] != self._number.to_bytes(2, "little") or (self._begun and data[:2] != self._id_bytes):
                return None
            if frame.reply == Reply.DONE and not self._begun:  # the first answer gives the session
                self.id, self._begun = int.from_bytes(data[:2], "little"), True
            data = data[4:]
        elif self.id is not None and frame.reply == Reply.DONE:
            return None
        if frame.reply == Reply.REFUSED:  # in a single byte where the panel knows no sessions
            raise RefusedError(int.from_bytes(data[-1:], "little", signed=True))
        return data


def move(door: int, seconds: int) -> bytes:
    """The control operation that opens a door for `seconds` of the panel's own time, `HELD` open, or `CLOSED`."""
    return bytes([OUTPUT, door, DOOR_OUTPUT, seconds, 0])


def parameters(data: bytes) -> dict[str, str]:
    """Names and values of an answer to PARAMETERS: `LockCount=4,AuxInCount=4`."""
    pairs = (part.partition("=") for part in data.decode("ascii", "ignore").split(","))
    return {name: "".join(filter(str.isprintable, value)) for name, found, value in pairs if found}


def records(data: bytes) -> list[Event]:
    """Events of an answer to LOG. Raises ValueError when it is not made of records: the panel logs in text."""
    if len(data) % RECORD:
        raise ValueError(f"{len(data)} bytes are no records of {RECORD}")
    return [Event(data[at + 10], data[at + 9]) for at in range(0, len(data), RECORD) if data[at + 10] != Kind.STATUS]


def text_records(data: bytes) -> list[Event]:
    """Events of an answer to TEXT_LOG: a line each, of `name=value` between tabs."""
    events = []
    for line in data.decode("ascii", "ignore").splitlines():
        fields = dict(part.partition("=")[::2] for part in line.split("\t"))
        kind, number = fields.get("event", ""), fields.get("eventaddr", "")
        if _is_byte(kind) and _is_byte(number):  # else it tells how doors stand
            events.append(Event(int(kind), int(number)))
    return events


def _is_byte(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) < 0x100


@dataclass(frozen=True, slots=True)
class DoorMap:
    """Which door and input of a panel is what of a turnstile."""

    doors: Mapping[Direction, int]
    passages: Mapping[Event, Direction]
    fire: Mapping[Event, bool]

    @classmethod
    def of(cls, settings: Settings) -> "DoorMap":
        """The map in checked settings."""
        entry = int(settings["unit"])
        fire: dict[Event, bool] = {}
        if "fire_input" in settings:
            number, burning = int(settings["fire_input"]), settings["fire_active"] == "open"
            fire = {Event(Kind.INPUT_OPEN, number): burning, Event(Kind.INPUT_SHORTED, number): not burning}
        doors = {Direction.ENTRY: entry, Direction.EXIT: int(settings.get("exit_door", entry))}
        return cls(doors, _passages(settings), fire)

    @property
    def last_door(self) -> int:
        """The highest number that the panel must have."""
        return max(self.doors.values())

    def reports(self, event: Event) -> list[DeviceReport]:
        """What an event says about this turnstile."""
        if event in self.fire:
            return [Emergency(self.fire[event])]
        return [Passed(self.passages[event])] if event in self.passages else []


def _passages(settings: Settings) -> dict[Event, Direction]:
    passing = Kind.INPUT_SHORTED if settings["passed_active"] == "shorted" else Kind.INPUT_OPEN
    told_by = {"sensor": (Kind.OPENED, Kind.OPENED_BY_FORCE), "input": (passing,)}
    passages: dict[Event, Direction] = {}
    for direction, prefix in ((Direction.ENTRY, "passed"), (Direction.EXIT, "passed_exit")):
        for source, kinds in told_by.items():
            if f"{prefix}_{source}" in settings:
                passages |= {Event(kind, int(settings[f"{prefix}_{source}"])): direction for kind in kinds}
    return passages
