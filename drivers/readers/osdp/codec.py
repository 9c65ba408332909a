"""OSDP as far as libosdp leaves it to us: who spoke on the line, and what number a card's bits mean. No IO, no clock.

libosdp builds and checks all frames. Its channel is watched here because it tells of a dead device only after 8.3 s
(devices.md 3.4), never says why a secure channel failed, and repeats an output command that was not answered.

Frame (IEC 60839-11-5 5.7): 53 | address, bit 7 set in replies | length, little-endian, of all | control | code … |
CRC-16 little-endian (poly 1021, initial 1D0F), or one byte of checksum where control bit 2 is clear. With control
bit 3 a security block stands before the code: its own length first. FF bytes may stand before a frame.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from drivers.contract import CardNumberReport, ReadProblem, Unread

SOM = 0x53
REPLY = 0x80
FRAME_BYTES_MIN = 7  # header of 5, code, checksum
FRAME_BYTES_MAX = 1440  # the largest packet that the standard allows
USES_CRC, HAS_SECURITY_BLOCK = 0x04, 0x08
POLL, ID, OUT, CHALLENGE = 0x60, 0x61, 0x68, 0x76  # command codes; 68: output control, 76: begin of the secure channel
NAK, PDID = 0x41, 0x45  # reply codes: refused; who the device is
EVERYBODY = 0x7F  # the address at which every device answers, with its own or with this one
TEXT_BYTES_MAX = 64  # libosdp's OSDP_EVENT_CARDREAD_MAX_DATALEN

FORMAT_RAW, FORMAT_WIEGAND, FORMAT_ASCII = 0, 1, 2  # reply RAW (50) codes 0 and 1; libosdp's own 2 for reply FMT


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its address without the reply bit, whether it is a reply, its command or reply code."""

    address: int
    reply: bool
    code: int
    raw: bytes = field(repr=False)  # may hold a card's number


class Frames:
    """Finds the whole and right frames in what a line carries; noise is skipped."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Take bytes in any portions; give the frames that are complete now."""
        self._buffer += data
        return list(self._take())

    def drop(self) -> None:
        """Forget a frame whose rest will not come."""
        self._buffer.clear()

    def _take(self) -> Iterator[Frame]:
        while True:
            start = self._buffer.find(SOM)
            del self._buffer[: start if start >= 0 else len(self._buffer)]
            if len(self._buffer) < 4:
                return
            size = int.from_bytes(self._buffer[2:4], "little")
            if FRAME_BYTES_MIN <= size <= FRAME_BYTES_MAX:
                if len(self._buffer) < size:
                    return
                frame = read_frame(bytes(self._buffer[:size]))
                if frame:
                    del self._buffer[:size]
                    yield frame
                    continue
            del self._buffer[0]  # what looked like a frame was none


def read_frame(raw: bytes) -> Frame | None:
    """The one frame that `raw` is, FF bytes before it or not; None when it is none."""
    raw = raw.lstrip(b"\xff")
    if len(raw) < FRAME_BYTES_MIN or raw[0] != SOM or int.from_bytes(raw[2:4], "little") != len(raw):
        return None
    end = len(raw) - (2 if raw[4] & USES_CRC else 1)
    at = 5 + (raw[5] if raw[4] & HAS_SECURITY_BLOCK else 0)
    if at >= end or not _is_right(raw, end):
        return None
    return Frame(raw[1] & 0x7F, bool(raw[1] & REPLY), raw[at], raw)


def _is_right(raw: bytes, end: int) -> bool:
    if raw[4] & USES_CRC:
        return crc16(raw[:end]) == int.from_bytes(raw[end:], "little")
    return sum(raw) & 0xFF == 0


def ask_identity(address: int) -> bytes:
    """The question who is at `address` (command 61), with sequence number 0: the beginning of a conversation."""
    frame = bytes([SOM, address, 9, 0, USES_CRC, ID, 0])
    return frame + crc16(frame).to_bytes(2, "little")


def said_identity(frame: Frame) -> str:
    """What a reply to that question tells: vendor (3), model, version, serial (4), firmware (3); low bytes first."""
    who = "a device of an address not found" if frame.address == EVERYBODY else f"unit {frame.address}"
    at = 6 + (frame.raw[5] if frame.raw[4] & HAS_SECURITY_BLOCK else 0)
    told = frame.raw[at : at + 12]
    if frame.code != PDID or len(frame.raw) < at + 13:
        return f"{who}, which does not say what it is: does it want a key?"
    vendor, serial = (int.from_bytes(told[begin:end], "little") for begin, end in ((0, 3), (5, 9)))
    firmware = ".".join(map(str, told[9:12]))
    return f"{who}, vendor {vendor:06X}, model {told[3]}, serial {serial:08X}, firmware {firmware}"


def crc16(data: bytes) -> int:
    """CRC-16 of the standard's annex C: poly 1021, initial 1D0F; E5CC over "123456789"."""
    crc = 0x1D0F
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


# Bits of the even parity, then of the odd one; the parities themselves are the first and the last bit. 26: H10301,
# 34: two halves, as readers send a 32-bit chip number, 37: H10302 and H10304, whose middle bit counts twice.
_PARITIES = {26: (range(13), range(13, 26)), 34: (range(17), range(17, 34)), 37: (range(19), range(18, 37))}


def card_report(form: int, bits: int, data: bytes, chip_reversed: bool = False) -> CardNumberReport | Unread:
    """What a card event of libosdp says: `bits` bits of `data` from the highest on, or text when `form` is ASCII.

    `chip_reversed`: the reader sends the bytes of a chip's number last one first.
    """
    if form == FORMAT_ASCII:
        return _text(data)
    if not 0 < bits <= 8 * len(data):
        return Unread(ReadProblem.CARD_UNREADABLE)
    value = int.from_bytes(data, "big") >> (8 * len(data) - bits)
    if bits in _PARITIES and _parities_hold(value, bits):
        inner = value >> 1 & (1 << bits - 2) - 1
        return CardNumberReport(_number(inner, bits - 2, chip_reversed), bits, f"wiegand-{bits}")
    if bits in _PARITIES and form == FORMAT_WIEGAND:
        return Unread(ReadProblem.CARD_UNREADABLE)  # the reader vouches for parities, and they are wrong
    return CardNumberReport(_number(value, bits, chip_reversed), bits, "raw")


def _parities_hold(value: int, bits: int) -> bool:
    even, odd = (sum(value >> (bits - 1 - at) & 1 for at in span) for span in _PARITIES[bits])
    return even % 2 == 0 and odd % 2 == 1


def _number(value: int, bits: int, chip_reversed: bool) -> str:
    if chip_reversed and bits % 8 == 0:
        value = int.from_bytes(value.to_bytes(bits // 8, "little"), "big")
    return str(value)


def _text(data: bytes) -> CardNumberReport | Unread:
    text = data.strip(b"\0 \r\n")
    if not text or len(text) > TEXT_BYTES_MAX or not text.isalnum():
        return Unread(ReadProblem.CARD_UNREADABLE)
    return CardNumberReport(text.decode("ascii"), 8 * len(text), "ascii")
