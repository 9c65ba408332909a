"""Frames of Mach Power electric tripods (AC-ATRI-018) on RS-485. No IO and no clock.

EB, address, command, 00, check (manual page 12); the answer is EB, address, two data bytes, check, where an order that
was taken comes back as its code + 80 and 00 (page 13). The check is the XOR of everything before it. The examples of
page 12 for 42 and 43 print AB, which contradicts that rule; those for 40, 41, 4A and 4B keep it: the rule is used.
"""

import enum
from dataclasses import dataclass
from functools import reduce
from operator import xor

SYNC = 0xEB
SIZE = 5
TAKEN = 0x80  # added to an order's code in its answer


class Order(enum.IntEnum):
    """What the tripod may be told. The page gives 43 for two standby orders too: taken for a misprint and unused."""

    OPEN_LEFT = 0x40
    OPEN_RIGHT = 0x41
    DROP_ARM = 0x42
    RAISE_ARM = 0x43
    FORBID = 0x4A  # ban on transit
    RESTORE = 0x4B  # end of the ban


@dataclass(frozen=True, slots=True)
class Reply:
    """What a board sent: its address and two data bytes."""

    unit: int
    first: int
    second: int

    def takes(self, order: Order) -> bool:
        """Whether it says that `order` was taken."""
        return (self.first, self.second) == (order | TAKEN, 0)


def encode(unit: int, order: Order) -> bytes:
    """The frame of an order."""
    return _checked(bytes([SYNC, unit, order, 0]))


def encode_reply(reply: Reply) -> bytes:
    """The frame of a board's answer."""
    return _checked(bytes([SYNC, reply.unit, reply.first, reply.second]))


def _checked(body: bytes) -> bytes:
    return body + bytes([reduce(xor, body)])


class Frames:
    """Answers of one unit, out of all bytes on the line; echoes, other units' frames and noise are left out."""

    def __init__(self, unit: int) -> None:
        self._unit = unit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Reply]:
        """What has become whole."""
        self._buffer += data
        found: list[Reply] = []
        while (at := self._buffer.find(SYNC)) >= 0:
            del self._buffer[:at]
            if len(self._buffer) < SIZE:
                return found
            frame = bytes(self._buffer[:SIZE])
            if reduce(xor, frame):  # the check makes it 0
                del self._buffer[0]
                continue
            del self._buffer[:SIZE]
            reply = Reply(*frame[1:4])
            if reply.unit == self._unit and reply.first & TAKEN:  # else an order: an adapter's echo of ours
                found.append(reply)
        self._buffer.clear()
        return found

    def reset(self) -> None:
        """Forget a frame that never ended."""
        self._buffer.clear()
