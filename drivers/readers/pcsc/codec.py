"""What PC/SC readers are asked and answer, what their codes and names mean, and what our process for them says. No IO.

    FF B0 00 00 00   pseudo-APDU of identity-card readers: 4 size bytes, 256 bytes of text (devices.md 1.8)
    FF CA 00 00 00   PC/SC part 3, 3.2.2.1.3: the chip's own number (UID), of any contactless card

Both are commands to the reader, which speaks to the card by itself; an answer ends in two bytes of status, 90 00 good.
A UID is no proof of possession: it is read without any key, and chips that show any UID are sold. FF B0 is answered by
readers with a security module inside; that they check the card is their makers' word.
"""

import enum
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.contract import CardNumberReport, CardReport, DeviceFault, ReadProblem, Unread

TEXT_BYTES = 256
PHOTO_BYTES_MAX = 1024  # devices.md 1.6
ANSWER_BYTES_MAX = 4 + TEXT_BYTES + 2
_SIZES = struct.Struct(">HH")  # of text and of photo, as in a SAM_V reader's answer to 30 01 (devices.md 6)
# 4, 7, 10: ISO/IEC 14443-3 type A; 4: type B's PUPI; 8: ISO/IEC 15693, FeliCa's IDm; 12: FeliCa's NFCID2 with its
# parameters (manuals of SCL3711 and ACR1281S).
_UID_BYTES = (4, 7, 8, 10, 12)
_RANDOM_UID = 0x08  # ISO/IEC 14443-3 6.5.4: a number of 4 bytes that begins so is drawn anew each time


class Read(enum.StrEnum):
    """What is read of a card."""

    ID_CARD = "id-card"
    UID = "uid"


COMMANDS = {Read.ID_CARD: bytes.fromhex("FFB0000000"), Read.UID: bytes.fromhex("FFCA000000")}
_GOOD = 0x9000
# ISO/IEC 7816-4: function, instruction, class not supported. Readers say so of a card that has nothing to tell.
_NOT_SUPPORTED = frozenset({0x6A81, 0x6D00, 0x6E00})


def card_report(read: Read, answer: bytes, chip_reversed: bool = False) -> CardReport | CardNumberReport | Unread:
    """What the answer to `COMMANDS[read]` says. `chip_reversed`: this reader sends a UID's bytes last one first."""
    data, status = answer[:-2], int.from_bytes(answer[-2:], "big")
    if status in _NOT_SUPPORTED:
        return Unread(ReadProblem.CARD_UNKNOWN_TYPE)
    if status != _GOOD:
        return Unread(ReadProblem.CARD_UNREADABLE)
    return _text(data) if read is Read.ID_CARD else _number(data, chip_reversed)


def _text(data: bytes) -> CardReport | Unread:
    if len(data) != _SIZES.size + TEXT_BYTES:
        return Unread(ReadProblem.CARD_UNREADABLE)
    text_bytes, photo_bytes = _SIZES.unpack_from(data)
    if text_bytes != TEXT_BYTES or photo_bytes > PHOTO_BYTES_MAX:
        return Unread(ReadProblem.CARD_UNREADABLE)
    return CardReport(data[_SIZES.size :])


def _number(uid: bytes, chip_reversed: bool) -> CardNumberReport | Unread:
    if len(uid) not in _UID_BYTES:
        return Unread(ReadProblem.CARD_UNREADABLE)
    uid = uid[::-1] if chip_reversed else uid
    if len(uid) == 4 and uid[0] == _RANDOM_UID:
        return Unread(ReadProblem.CARD_UNKNOWN_TYPE)  # passports, phones: no number of a card
    return CardNumberReport(str(int.from_bytes(uid, "big")), 8 * len(uid), "uid")


# --- readers and their names ---------------------------------------------------------------------------------------


class ReaderError(Exception):
    """The reader or its service is the trouble; the text says what to do."""

    def __init__(self, fault: DeviceFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


def wanted_reader(port: str) -> str:
    """The name in `pcsc:NAME`; "" for the only reader that there is. Raises ValueError."""
    kind, colon, name = port.partition(":")
    if kind != "pcsc" or not colon or not name.isprintable():
        raise ValueError(f"{port!r} is not pcsc:NAME with a reader's name, a part of it or its serial number")
    return name


def choose_reader(names: Sequence[str], wanted: str) -> str:
    """The one of `names` that is `wanted` or has it in it, whatever the case of letters. Raises ReaderError."""
    fitting = [name for name in names if name == wanted] or [n for n in names if wanted.lower() in n.lower()]
    if len(fitting) == 1:
        return fitting[0]
    there = "; ".join(names) or "none"
    if fitting:
        called = f"{len(fitting)} readers are called {wanted!r}" if wanted else "port names no reader"
        text = f"{called}: give a serial number or a whole name; there are {there}"
        raise ReaderError(DeviceFault.WRONG_DEVICE, text)
    raise ReaderError(DeviceFault.PORT_MISSING, f"no reader is called {wanted!r}: there are {there}")


# pcsc-lite names readers "MODEL [INTERFACE] (SERIAL) XX YY": XX counts readers as they were plugged in, YY their slots.
_SERIAL = re.compile(r"\(([^()]+)\) [0-9A-F]{2} [0-9A-F]{2}")


def serial_number(name: str) -> str:
    """The reader's serial number, which pcscd writes into its name; "" when it has none."""
    found = _SERIAL.search(name)
    return found[1] if found else ""


# --- codes of the PC/SC interface (pcsclite.h) ---------------------------------------------------------------------


class Code(enum.IntEnum):
    """Return codes that are told apart."""

    INVALID_HANDLE = 0x80100003
    UNKNOWN_READER = 0x80100009
    TIMEOUT = 0x8010000A
    NO_SMARTCARD = 0x8010000C
    COMM_ERROR = 0x80100013
    READER_UNAVAILABLE = 0x80100017
    NO_SERVICE = 0x8010001D
    SERVICE_STOPPED = 0x8010001E
    NO_ACCESS = 0x80100027
    NO_READERS = 0x8010002E
    REMOVED_CARD = 0x80100069
    SECURITY_VIOLATION = 0x8010006A


CHANGED, PRESENT, EXCLUSIVE = 0x02, 0x20, 0x80  # SCARD_STATE_…; bits 16 and up of a state count what came and went
ABSENT_READER = 0x04 | 0x08  # SCARD_STATE_UNKNOWN, SCARD_STATE_UNAVAILABLE

# What a card cannot be to blame for: pcscd, the reader, the rights of this user. All else is the card's trouble, so
# that no card of whatever making takes a reader down; if pcscd is gone, the next look at the reader says so.
_NOT_THE_CARD = frozenset(
    {
        Code.INVALID_HANDLE,
        Code.COMM_ERROR,
        Code.UNKNOWN_READER,
        Code.READER_UNAVAILABLE,
        Code.NO_SERVICE,
        Code.SERVICE_STOPPED,
        Code.NO_ACCESS,
        Code.SECURITY_VIOLATION,
    }
)


def card_problem(code: int) -> ReadProblem | None:
    """What a failed connection or command says of the card; None when it speaks of the reader or of pcscd."""
    if code in (Code.NO_SMARTCARD, Code.REMOVED_CARD):
        return ReadProblem.CARD_REMOVED
    return None if code in _NOT_THE_CARD else ReadProblem.CARD_UNREADABLE


def reader_error(code: int, name: str = "") -> ReaderError:
    """What the code says of the reader or of pcscd, and what to do."""
    match code:
        case Code.UNKNOWN_READER | Code.READER_UNAVAILABLE | Code.NO_READERS:
            return ReaderError(DeviceFault.PORT_LOST, f"reader {name or 'list'} is gone: check its cable")
        case Code.NO_ACCESS | Code.SECURITY_VIOLATION:
            text = "pcscd refuses: allow polkit's org.debian.pcsc-lite.access_pcsc and access_card to this user"
            return ReaderError(DeviceFault.PORT_DENIED, text)
        case Code.NO_SERVICE:
            text = "pcscd does not run: sudo systemctl start pcscd.socket (sudo apt install pcscd)"
            return ReaderError(DeviceFault.PORT_MISSING, text)
    return ReaderError(DeviceFault.PORT_LOST, f"pcscd or the reader failed ({code:08X}): asking anew")


# --- what our process for these readers says -----------------------------------------------------------------------


class Kind(enum.IntEnum):
    """What the PC/SC process says (drivers/worker)."""

    BEAT = 0
    ANSWER = 1  # body: u32, microseconds from command to answer; the answer of a card's reader
    UNREAD = 2  # body: name of a ReadProblem
    UP = 3  # body: the reader's serial number, line feed, its name
    DOWN = 4
    LEFT = 5  # no card is on the reader; body empty
    WELL = 6  # the reader was looked at since this was last said, and works; body empty


@dataclass(frozen=True, slots=True)
class PcscSettings:
    """What the process is told of one reader."""

    reader: str
    read: str


_TOOK = struct.Struct(">I")


def encode_answer(took_s: float, answer: bytes) -> bytes:
    """The body of ANSWER."""
    return _TOOK.pack(min(int(took_s * 1e6), 0xFFFFFFFF)) + answer


def decode_answer(body: bytes) -> tuple[float, bytes]:
    """Seconds and answer. Raises ValueError."""
    if len(body) < _TOOK.size:
        raise ValueError(f"an answer of {len(body)} bytes")
    return _TOOK.unpack_from(body)[0] / 1e6, body[_TOOK.size :]
