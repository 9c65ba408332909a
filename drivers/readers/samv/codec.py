"""Frames of the SAM_V resident-card reader (devices.md section 6). No IO and no clock.

    command  AA AA AA 96 69 | Len(2) | CMD | PARA | DATA | CHK      Len = n + 3
    reply    AA AA AA 96 69 | Len(2) | SW1 | SW2 | SW3 | DATA | CHK Len = n + 4

CHK is the XOR of everything between preamble and CHK. Replies carry no command echo and no sequence number, so what
answers which command is judged by the status word (`EXPECTED`).
"""

import enum
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

PREAMBLE = bytes.fromhex("AAAAAA9669")
REPLY_LEN_MIN = 4
REPLY_LEN_MAX = 0x090A  # 2314: text, photo and a fingerprint of 1,024 bytes
TEXT_BYTES = 256
ADDRESS_BYTES = 70  # section 6: what 30 03 brings
_HEAD = len(PREAMBLE) + 2
# More than one largest frame is never outstanding; the rest is noise that must not grow.
BUFFER_MAX = 2 * (REPLY_LEN_MAX + _HEAD)


class Command(enum.Enum):
    """The commands of the sheet: CMD, PARA."""

    RESET = (0x10, 0xFF)
    STATUS = (0x11, 0xFF)
    SAM_ID = (0x12, 0xFF)
    FIND = (0x20, 0x01)
    SELECT = (0x20, 0x02)
    READ = (0x30, 0x01)  # text and photo
    READ_ADDRESS = (0x30, 0x03)
    READ_MANAGEMENT_ID = (0x30, 0x05)
    READ_FINGERPRINT = (0x30, 0x10)  # text, photo and fingerprint
    SET_RF_BYTES = (0x61, 0xFF)


class StatusWord(enum.IntEnum):
    """SW3, every value of the sheet."""

    OK = 0x90
    CARD_FOUND = 0x9F
    ITEM_ABSENT = 0x91
    COMMAND_CHECKSUM = 0x10
    COMMAND_LENGTH = 0x11
    COMMAND_PARAMETER = 0x21
    NOT_PERMITTED = 0x23
    UNKNOWN = 0x24
    CARD_REFUSED_SAM = 0x31
    SAM_REFUSED_CARD = 0x32
    INFORMATION_VERIFICATION = 0x33
    FINGERPRINT_VERIFICATION = 0x37
    INFORMATION_LENGTH = 0x3F
    UNKNOWN_CARD = 0x40
    READ_FAILED = 0x41
    RANDOM_NUMBER_FAILED = 0x47
    SELF_TEST_FAILED = 0x60
    NOT_AUTHORISED = 0x66
    NO_CARD = 0x80
    SELECT_FAILED = 0x81


_COMMON = frozenset(
    {
        StatusWord.COMMAND_CHECKSUM,
        StatusWord.COMMAND_LENGTH,
        StatusWord.COMMAND_PARAMETER,
        StatusWord.NOT_PERMITTED,
        StatusWord.UNKNOWN,
        StatusWord.SELF_TEST_FAILED,
        StatusWord.NOT_AUTHORISED,
    }
)
_CARD_TROUBLE = frozenset(
    {
        StatusWord.CARD_REFUSED_SAM,
        StatusWord.SAM_REFUSED_CARD,
        StatusWord.INFORMATION_VERIFICATION,
        StatusWord.FINGERPRINT_VERIFICATION,
        StatusWord.INFORMATION_LENGTH,
        StatusWord.UNKNOWN_CARD,
        StatusWord.READ_FAILED,
        StatusWord.RANDOM_NUMBER_FAILED,
        StatusWord.NO_CARD,
        StatusWord.SELECT_FAILED,
    }
)
_READ = _COMMON | _CARD_TROUBLE | {StatusWord.OK, StatusWord.ITEM_ABSENT}
_SIMPLE = _COMMON | {StatusWord.OK}

# What each command can be answered with. A 9F is no answer to select: it is the late answer to a find.
EXPECTED: Mapping[Command, frozenset[StatusWord]] = {
    Command.RESET: _SIMPLE,
    Command.STATUS: _SIMPLE,
    Command.SAM_ID: _SIMPLE,
    Command.FIND: _COMMON | {StatusWord.CARD_FOUND, StatusWord.NO_CARD},
    Command.SELECT: _COMMON | _CARD_TROUBLE | {StatusWord.OK},
    Command.READ: _READ,
    Command.READ_ADDRESS: _READ,
    Command.READ_MANAGEMENT_ID: _READ,
    Command.READ_FINGERPRINT: _READ,
    Command.SET_RF_BYTES: _SIMPLE,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """One reply whose checksum was right. `data` may be a person's."""

    status: int  # SW3
    data: bytes = field(repr=False)
    sw12: int = 0  # SW1 and SW2; zero in every frame seen

    def answers(self, command: Command) -> bool:
        """Whether this can be the answer to `command`, judged by status word and, for success, by its length."""
        if self.sw12 or self.status not in EXPECTED[command]:
            return False
        return self.status != StatusWord.OK or len(self.data) in _GOOD_BYTES[command]


# How much data a 90 brings: another amount makes it the late answer to another command.
_READ_BYTES = range(4 + TEXT_BYTES, REPLY_LEN_MAX)
_NO_ITEM_OF_TEXT = range(4 + TEXT_BYTES)
_GOOD_BYTES = {
    Command.RESET: range(16),
    Command.STATUS: range(16),  # none in every frame seen
    Command.SAM_ID: range(16, 17),
    Command.FIND: range(0),  # its success is 9F
    Command.SELECT: range(16),  # usually 8
    Command.READ: _READ_BYTES,
    Command.READ_ADDRESS: _NO_ITEM_OF_TEXT,
    Command.READ_MANAGEMENT_ID: _NO_ITEM_OF_TEXT,
    Command.READ_FINGERPRINT: range(6 + TEXT_BYTES, REPLY_LEN_MAX),
    Command.SET_RF_BYTES: range(16),
}


def encode(command: Command, data: bytes = b"") -> bytes:
    """The frame of a command, e.g. find = AA AA AA 96 69 00 03 20 01 22."""
    body = struct.pack(">H", len(data) + 3) + bytes(command.value) + data
    return PREAMBLE + body + bytes([checksum(body)])


def encode_reply(status: int, data: bytes = b"") -> bytes:
    """The frame of a reply, as a reader sends it."""
    body = struct.pack(">HBBB", len(data) + 4, 0, 0, status) + data
    return PREAMBLE + body + bytes([checksum(body)])


def checksum(body: bytes) -> int:
    """XOR of all bytes, by folding: a byte at a time, noise made of preambles would hold the controller for seconds."""
    value, size = int.from_bytes(body, "little"), len(body)
    while size > 1:
        size -= size // 2
        value = value >> 8 * size ^ value & (1 << 8 * size) - 1
    return value


class Replies:
    """Finds replies in whatever a reader sends: noise, echoes, heartbeats, parts, several at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Reply]:
        """Take bytes in any portions; give the replies that are complete now."""
        self._buffer += data
        found = []
        while (reply := self._next()) is not None:
            found.append(reply)
        del self._buffer[:-BUFFER_MAX]
        return found

    def drop(self) -> None:
        """100 ms of silence inside a frame: what is there is dead."""
        self._buffer.clear()

    @property
    def partial(self) -> bool:
        """Whether something is there that may become a frame."""
        return bool(self._buffer)

    def _next(self) -> Reply | None:
        buffer = self._buffer
        while True:
            at = buffer.find(PREAMBLE)
            if at < 0:
                del buffer[: max(0, len(buffer) - len(PREAMBLE) + 1)]  # its beginning may have arrived
                return None
            del buffer[:at]
            if len(buffer) < _HEAD:
                return None
            length = int.from_bytes(buffer[5:7], "big")
            if not REPLY_LEN_MIN <= length <= REPLY_LEN_MAX:  # also our own echo (3)
                del buffer[0]
                continue
            if len(buffer) < length + _HEAD:
                return None
            body, check = bytes(buffer[5 : length + 6]), buffer[length + 6]
            if checksum(body) != check:
                del buffer[0]  # drop ONE byte: the true frame may begin inside
                continue
            del buffer[: length + _HEAD]
            return Reply(body[4], body[5:], body[2] << 8 | body[3])


def card_text(command: Command, reply: Reply) -> bytes | None:
    """The 256 bytes of text in a good read reply without photo and finger; None when its lengths contradict it."""
    sizes = 3 if command is Command.READ_FINGERPRINT else 2
    lengths = struct.unpack_from(f">{sizes}H", reply.data)
    start = 2 * sizes
    if lengths[0] != TEXT_BYTES or start + sum(lengths) > len(reply.data):
        return None
    return reply.data[start : start + TEXT_BYTES]


def appended_address(reply: Reply) -> bytes | None:
    """The address that was appended to a card later (30 03), a person's; None when there is none, which is no failure.

    Raises ValueError for another reply than those two.
    """
    if reply.status == StatusWord.ITEM_ABSENT:
        return None
    if reply.status != StatusWord.OK or len(reply.data) != ADDRESS_BYTES:
        raise ValueError(f"status {reply.status:02X} with {len(reply.data)} bytes is no appended address")
    return reply.data


def sam_id(reply: Reply) -> str:
    """The security module's printed number; the last two groups are padded to ten digits (disputed: nine or ten)."""
    kind, maker, day, number, check = struct.unpack_from("<HHIII", reply.data)
    return f"{kind:02d}.{maker:02d}-{day}-{number:010d}-{check:010d}"


_PRINTED = re.compile(r"([0-9]{1,5})\.([0-9]{1,5})-([0-9]{1,10})-([0-9]{1,10})-([0-9]{1,10})")


def same_sam(one: str, other: str) -> bool:
    """Whether two printed numbers are one module's, however they are padded. Raises ValueError if one is none."""
    return _groups(one) == _groups(other)


def _groups(printed: str) -> tuple[int, ...]:
    found = _PRINTED.fullmatch(printed.strip())
    if not found:
        raise ValueError(f"{printed!r} is not as 05.03-20160101-1234567890-0123456789")
    return tuple(map(int, found.groups()))


# --- what speaks otherwise on the same readers (devices.md 1.3, 7 and 8) -------------------------------------------

HEARD_MAX = 64  # a reply to a status check is shorter in every dialect
_STX, _ETX = 0x02, 0x03


def dialect(heard: bytes) -> str:
    """Which other protocol these bytes are, in words; "" when they are none that is known."""
    at = heard.find(PREAMBLE)
    if at >= 0 and (frame := _sized(heard[at + len(PREAMBLE) :], head=2)):
        *body, check = frame
        if (sum(body) + check) & 0xFF == 0 and checksum(bytes(body)) != check:
            return "a CVR-100 dialect: its checksum is the complement of the sum, not XOR"
    at = heard.find(_STX)
    if at >= 0 and (frame := _sized(heard[at + 1 :], head=2, more=2)):
        *payload, check, end = frame[2:]
        if end == _ETX and checksum(bytes(payload)) == check:
            return "a dialect framed by 02 and 03, which reads numbers only"
    return ""


def _sized(data: bytes, head: int, more: int = 0) -> bytes:
    """Length field, as many bytes as it counts, and `more`; b"" when not all are there or it counts none."""
    size = head + int.from_bytes(data[:head], "big") + more
    return data[:size] if head + more < size <= len(data) else b""
