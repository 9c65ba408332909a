"""Frames of Turnstiles.us TPW-321ASP control boards. No IO and no clock.

02, type, length, content, 04, without a checksum; on RS-232 and RS-485 an address byte may come before the 02 (manual
appendix C, pages 14 to 19). A passage count is ASCII digits. The manual's "word" is one byte.
"""

import enum
from dataclasses import dataclass

from drivers.contract import DeviceReport, Direction, Passed

START, END = 0x02, 0x04
CONTENT_MAX = 64  # the longest content is a model's name in ASCII; more is noise
DIGITS_MAX = 10  # of a count: 32 bits
# More passages than this between two looks is no crowd but a counter that was set anew.
COUNTED_MAX = 4


class Kind(enum.IntEnum):
    """Frame types, both ways."""

    CONNECT = 0xFF  # handshake, and the PC's word for each parameter of it
    DONE = 0x44  # command accepted; from the PC: count received
    FAILED = 0xF4
    MODEL = 0xF1
    VERSION = 0xF2
    EQUIPMENT_ID = 0xF8
    WORKING_MODE = 0x41  # normally open or closed; its "entry open" and "exit open" are test modes and never used
    PASSING = 0x14  # entry and exit: controlled, free, forbidden
    CLOSING_DELAY = 0x18
    ENTRY_COUNT = 0x21
    EXIT_COUNT = 0x22  # from the PC: reset of a counter, never sent
    ARM = 0x24  # tripod arm 30 drops, 31 rises; from the board: its type
    READ_COUNT = 0x28
    SPEED = 0x42
    INFRARED = 0x81
    PANEL = 0x82  # LED panel


CONTROLLED, FREE = 0x30, 0x31
PARAMETERS = frozenset(
    {
        *(Kind.MODEL, Kind.VERSION, Kind.EQUIPMENT_ID, Kind.WORKING_MODE, Kind.PASSING, Kind.CLOSING_DELAY),
        *(Kind.SPEED, Kind.ENTRY_COUNT, Kind.EXIT_COUNT, Kind.INFRARED, Kind.ARM),
    }
)
COUNTS = {Direction.ENTRY: Kind.ENTRY_COUNT, Direction.EXIT: Kind.EXIT_COUNT}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: int
    content: bytes = b""

    @property
    def count(self) -> int | None:
        """A count's number; None when its content is none."""
        digits = self.content.strip(b" \0")
        return int(digits) if digits.isdigit() and len(digits) <= DIGITS_MAX else None


CONNECT, DONE, FAILED = Frame(Kind.CONNECT), Frame(Kind.DONE), Frame(Kind.FAILED)


def encode(frame: Frame, address: int | None = None) -> bytes:
    """A frame's bytes, with the address before it where the line has addresses. Raises ValueError when too long."""
    if len(frame.content) > CONTENT_MAX:
        raise ValueError(f"{len(frame.content)} bytes of content: a frame has at most {CONTENT_MAX}")
    prefix = b"" if address is None else bytes([address])
    return prefix + bytes([START, frame.kind, len(frame.content)]) + frame.content + bytes([END])


def passing(free: frozenset[Direction]) -> Frame:
    """The command that lets the directions in `free` pass freely and controls the others."""
    return Frame(Kind.PASSING, bytes(FREE if direction in free else CONTROLLED for direction in Direction))


def freed(frame: Frame) -> frozenset[Direction]:
    """Which directions a `PASSING` parameter says are free."""
    return frozenset(direction for direction, mode in zip(Direction, frame.content, strict=False) if mode == FREE)


def read_count(direction: Direction) -> Frame:
    """The question for a direction's count."""
    return Frame(Kind.READ_COUNT, b"0" if direction is Direction.ENTRY else b"1")


def counted(direction: Direction, before: int | None, now: int) -> list[DeviceReport]:
    """One `Passed` for each count since; a count that fell or jumped was set anew and says nothing."""
    more = 0 if before is None else now - before
    return [Passed(direction)] * (more if 0 < more <= COUNTED_MAX else 0)


class Frames:
    """Frames out of bytes as they come; those of other addresses and noise are left out."""

    def __init__(self, address: int | None = None) -> None:
        self._address = b"" if address is None else bytes([address])
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """What has become whole."""
        self._buffer += data
        found: list[Frame] = []
        start = self._address + bytes([START])
        head = len(start) + 2  # type and length
        while (at := self._buffer.find(start)) >= 0:
            del self._buffer[:at]
            if len(self._buffer) < head:
                return found
            length = self._buffer[head - 1]
            if length <= CONTENT_MAX and len(self._buffer) <= head + length:
                return found
            if length > CONTENT_MAX or self._buffer[head + length] != END:
                del self._buffer[0]
                continue
            found.append(Frame(self._buffer[head - 2], bytes(self._buffer[head : head + length])))
            del self._buffer[: head + length + 1]
        del self._buffer[: max(0, len(self._buffer) - len(self._address))]  # an address may begin the next frame
        return found

    def reset(self) -> None:
        """Forget a frame that never ended."""
        self._buffer.clear()
