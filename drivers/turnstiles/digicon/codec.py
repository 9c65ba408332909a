"""Frames of Digicon Tx1500 and CATRAX turnstiles. No IO and no clock.

STX 02, size (two bytes, low first: commands + 1), one or two command bytes, BCC = XOR of everything before it (Tx1500
manual page 31, CATRAX Master manual page 24; devices.md 3.2): `02 02 00 48 48` frees one passage.
"""

import enum
from functools import reduce
from operator import xor

STX = 0x02
COMMANDS_MAX = 2  # "one or two bytes": a larger size is no frame


class Code(enum.IntEnum):
    """Command bytes, and what the turnstile sends."""

    FREE_H = 0x48  # 'H': one passage; the manual's table says right to left, its example left to right
    FREE_A = 0x41  # 'A': one passage the other way
    FREE_BOTH = 0x44  # 'D'
    CONTROL = 0x43  # 'C': back from always free
    ALWAYS_FREE = 0x4C  # 'L', followed by a direction
    ACK = 0x06
    NAK = 0x15  # "invalid command"
    PASSED_1 = 0x1A  # RET1, right to left by the manual's table
    PASSED_2 = 0x1B  # RET2, left to right


def encode(*commands: int) -> bytes:
    """A frame with one or two command bytes. Raises ValueError for another number."""
    if not 0 < len(commands) <= COMMANDS_MAX:
        raise ValueError(f"{len(commands)} command bytes: a frame has 1 or 2")
    body = bytes([STX]) + (len(commands) + 1).to_bytes(2, "little") + bytes(commands)
    return body + bytes([reduce(xor, body)])


class Frames:
    """Command bytes of whole frames with a right BCC, out of bytes as they come; everything else is noise."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """What has become whole."""
        self._buffer += data
        found: list[bytes] = []
        while (at := self._buffer.find(STX)) >= 0:
            del self._buffer[:at]
            if len(self._buffer) < 3:
                return found
            size = int.from_bytes(self._buffer[1:3], "little")
            if not 2 <= size <= COMMANDS_MAX + 1:
                del self._buffer[0]
                continue
            if len(self._buffer) < 3 + size:
                return found
            frame = bytes(self._buffer[: 3 + size])
            if reduce(xor, frame):  # the BCC makes it 0
                del self._buffer[0]
                continue
            del self._buffer[: 3 + size]
            found.append(frame[3:-1])
        self._buffer.clear()
        return found

    def reset(self) -> None:
        """Forget a frame that never ended."""
        self._buffer.clear()
