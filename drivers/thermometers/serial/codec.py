"""Frames of infrared thermometer modules: three dialects, all ended by the low byte of the sum before. No IO, no clock.

5a5a45    5A 5A 45 04 TO(2) TA(2) SUM     hundredths of a degree, signed, high byte first; TO the surface that it
          looks at, TA its own. `5A 5A 45 04 0C 78 0D 19 A7` is 31.92 (GY-MCU90614/90615; electrodragon's page).
          The host may ask A5 15 BA (one frame) or A5 45 EA (frames without end).
aa55      AA 55 06 INT DEC SUM            whole degrees, tenths; the body's. `AA 55 06 24 07 30` is 36.7 (IDC-50,
          idoctorcloud.com, option 2: every 500 ms without being asked)
register  ID 03 FIRST COUNT DATA SUM      registers of one byte; 08/09 TO, 0C/0D BO: the forehead's converted to
          the body's (szlitus.com show-4084). FIRST and COUNT stand in the read of their sister module GY-25T; 07
          and 7 of them are 12 bytes, as long as the frame that a public driver of the GY-614V3 reads.
"""

from collections.abc import Callable
from dataclasses import dataclass

from drivers.contract import MeasuredAt, Temperature

# What modules made for people tell of people: 32.0 to 42.9 (YJM module, supplier18.com). Anything else is a wall, a
# cup of tea, or a face that came in from the frost, and is nobody's temperature.
PERSON_FROM_C, PERSON_TO_C = 32.0, 42.9
_HUNDREDTHS = 100
_E, _TO, _BO_END = 0x07, 0x08, 0x0E  # first register asked for, the surface's, and the one after the body's
_BO = 0x0C
_READ, _WRITE, _REFUSED = 0x03, 0x06, 0x83
_MARK_5A = b"\x5a\x5a\x45\x04"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one kind of module speaks."""

    ask: bytes  # sent at every poll; b"" for a module that speaks without being asked
    size: Callable[[bytes], int | None]  # of the frame that begins a buffer: 0 none begins there, None: not known yet
    read: Callable[[bytes], Temperature | None]  # of a frame with a right sum; None: it tells no temperature
    torn: Callable[[bytes], bool] = lambda frame: False  # whether the next one begins in it, though its sum is right


class Frames:
    """Cuts what a module sends into frames."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Temperature | None]:
        """Take bytes in any portions; one for each whole frame, None where it tells no temperature."""
        self._buffer += data
        found: list[Temperature | None] = []
        while self._buffer:
            size = self._dialect.size(bytes(self._buffer[:4]))
            if size is None or (size and len(self._buffer) < size):
                break  # at most the longest frame is kept
            frame = bytes(self._buffer[:size])
            if size and checksum(frame[:-1]) == frame[-1] and not self._dialect.torn(frame):
                found.append(self._dialect.read(frame))
                del self._buffer[:size]
            else:
                del self._buffer[0]  # and look for a frame behind it: a lost byte must not cost the next one too
        return found

    def silence(self) -> None:
        """Nothing came for longer than a frame lasts: what is there never becomes one."""
        self._buffer.clear()


def checksum(data: bytes) -> int:
    """The low byte of the sum."""
    return sum(data) & 0xFF


def is_person(celsius: float) -> bool:
    """Whether a living person can be so warm."""
    return PERSON_FROM_C <= celsius <= PERSON_TO_C


def _torn_5a(frame: bytes) -> bool:
    """One that broke off behind an 0E has a right sum with the next one's head, and reads 36.74, whoever it is."""
    return _MARK_5A in frame[1:]


def _starts(head: bytes, mark: bytes) -> int | None:
    """None while `head` may still become `mark`, else 0; for a head that is one the caller knows the size."""
    return None if len(head) < len(mark) and mark.startswith(head) else 0


def _size_5a(head: bytes) -> int | None:
    return 9 if head == _MARK_5A else _starts(head, _MARK_5A)


def _read_5a(frame: bytes) -> Temperature:
    return Temperature(int.from_bytes(frame[4:6], "big", signed=True) / _HUNDREDTHS, MeasuredAt.FOREHEAD)


def _size_aa(head: bytes) -> int | None:
    mark = b"\xaa\x55\x06"
    return 6 if head[:3] == mark else _starts(head, mark)


def _read_aa(frame: bytes) -> Temperature | None:
    # "07" is seven tenths in the one example; what a module with two decimals would send was not found.
    return Temperature(frame[3] + frame[4] / 10, MeasuredAt.BODY) if frame[4] < 10 else None


def register_dialect(identity: int) -> Dialect:
    """The dialect of the register module with this id (0xA4 from the factory)."""
    question = bytes([identity, _READ, _E, _BO_END - _E])

    def size(head: bytes) -> int | None:
        if head[:1] != question[:1]:
            return 0
        if len(head) < 4:
            return None
        if head[1] == _READ and head[2] + head[3] <= 0x10:  # it has the registers 00 to 0F
            return 5 + head[3]
        return 5 if head[1] in (_WRITE, _REFUSED) else 0  # an answer to a write, or "no such register"

    return Dialect(question + bytes([checksum(question)]), size, _read_register)


def _read_register(frame: bytes) -> Temperature | None:
    first, data = frame[2], frame[4:-1]
    if frame[1] != _READ:
        return None
    for register, kind in ((_BO, MeasuredAt.BODY), (_TO, MeasuredAt.FOREHEAD)):
        at = register - first
        if 0 <= at <= len(data) - 2:
            return Temperature(int.from_bytes(data[at : at + 2], "big", signed=True) / _HUNDREDTHS, kind)
    return None


FIVE_A = Dialect(b"\xa5\x15\xba", _size_5a, _read_5a, _torn_5a)
AA55 = Dialect(b"", _size_aa, _read_aa)
