"""Packets of Zebra's Simple Serial Interface (devices.md 2.1). No IO and no clock.

    Len | Opcode | Source | Status | Data … | Checksum(2, high byte first)

Len counts itself and everything before the checksum; the checksum is the two's complement of the sum of those bytes.
There is no preamble: a packet is told from noise by its opcode and source, and believed by its checksum. Every decode
is acknowledged, or the scanner sends it twice more with bit 0 of Status set (SE955 guide, CMD_ACK).
"""

import enum
import hashlib
from dataclasses import dataclass, field

from drivers.contract import CodeReport, ReadProblem, Unread

WAKE = b"\0"  # one byte 00 wakes a sleeping decoder, which ignores it when awake
SCANNER, HOST = 0, 4  # Source
RETRANSMIT, CONTINUED = 1, 2  # bits of Status
PAYLOAD_BYTES_MAX = 4096  # a QR symbol holds at most 2,953 bytes
LEN_MIN, LEN_MAX = 4, 255
_AIM_BYTES = 3  # ], the symbology's letter, a modifier
# Three sendings with 2 s between them (DS9908 guide, Host Serial Response Timeout): later, it is another scan.
RETRANSMIT_S = 6.0


class Opcode(enum.IntEnum):
    """What a packet is (devices.md 2.1; table of SSI commands in the DS9908 guide)."""

    REQUEST_REVISION = 0xA3
    REPLY_REVISION = 0xA4
    PARAM_SEND = 0xC6
    ACK = 0xD0
    NAK = 0xD1
    CAPABILITIES = 0xD4
    START_SESSION = 0xE4
    STOP_SESSION = 0xE5
    LED_ON = 0xE7
    LED_OFF = 0xE8
    SCAN_ENABLE = 0xE9
    SCAN_DISABLE = 0xEA
    SLEEP = 0xEB
    DECODE = 0xF3
    EVENT = 0xF6
    RESET = 0xFA


_SAID_BY_SCANNERS = frozenset(
    {Opcode.REPLY_REVISION, Opcode.PARAM_SEND, Opcode.ACK, Opcode.NAK, Opcode.CAPABILITIES, Opcode.DECODE, Opcode.EVENT}
)


class Cause(enum.IntEnum):
    """Why a packet was refused: the data byte of NAK."""

    RESEND = 1  # its checksum was wrong
    BAD_CONTEXT = 2  # unexpected or unknown
    DENIED = 6


# Bar code type, first data byte of DECODE (table of DECODE_DATA in the SSI guide).
SYMBOLOGIES = {0x03: "Code128", 0x0F: "Code128", 0x11: "PDF417", 0x1B: "DataMatrix", 0x1C: "QR", 0x2D: "Aztec"}


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet whose checksum was right. `data` may be a person's."""

    opcode: int
    status: int
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Broken:
    """Something that began as a decode and did not end as one."""


def encode(opcode: int, data: bytes = b"", status: int = 0, source: int = HOST) -> bytes:
    """The bytes of a packet, e.g. start session = 04 E4 04 00 FF 14."""
    body = bytes([LEN_MIN + len(data), opcode, source, status]) + data
    return body + checksum(body)


def checksum(body: bytes) -> bytes:
    """Two's complement of the sum of all bytes, high byte first."""
    return (-sum(body) & 0xFFFF).to_bytes(2, "big")


class Packets:
    """Finds packets in whatever a scanner sends: noise, parts, several at once."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet | Broken]:
        """Take bytes in any portions; give what is complete now."""
        self._buffer += data
        return self._scan()

    def silence(self) -> list[Packet | Broken]:
        """Nothing came for long: what is there is dead, but a whole packet may stand behind a false beginning."""
        found: list[Packet | Broken] = []
        while self._buffer:
            found += self._given_up()
            found += self._scan()
        return found

    @property
    def partial(self) -> bool:
        """Whether something is there that may become a packet."""
        return bool(self._buffer)

    def _scan(self) -> list[Packet | Broken]:
        found: list[Packet | Broken] = []
        buffer = self._buffer
        start = 0
        while start < len(buffer):
            if not _may_begin(buffer, start):
                start += 1
                continue
            end = start + buffer[start]
            if end + 2 > len(buffer):
                break
            body = bytes(buffer[start:end])
            if checksum(body) == buffer[end : end + 2]:
                found.append(Packet(body[1], body[3], body[4:]))
                start = end + 2
                continue
            found += [Broken()] if body[1] == Opcode.DECODE else []
            start += 1  # one byte only: the true packet may begin inside
        del buffer[:start]
        return found

    def _given_up(self) -> list[Broken]:
        broken = len(self._buffer) > 1 and self._buffer[1] == Opcode.DECODE
        del self._buffer[0]
        return [Broken()] if broken else []


def _may_begin(buffer: bytearray, at: int) -> bool:
    """Whether what is known so far can be the head of a scanner's packet."""
    head = buffer[at : at + 4]
    return (
        head[0] >= LEN_MIN
        and (len(head) < 2 or head[1] in _SAID_BY_SCANNERS)
        and (len(head) < 3 or head[2] == SCANNER)
        and (len(head) < 4 or head[3] <= (RETRANSMIT | CONTINUED))
    )


@dataclass(frozen=True, slots=True)
class Layout:
    """What the scanner is set up to put around a code inside its packets."""

    suffix: bytes = b""
    aim: bool = False
    encoding: str = "utf-8"


class Codes:
    """Joins decode packets to codes; a packet that was sent again is the same packet."""

    def __init__(self, layout: Layout, key: bytes) -> None:
        self._layout = layout
        self._key = key  # of the hash by which the last packet is known again
        self._last = b""
        self._last_s = float("-inf")
        self._joined: bytearray | None = None  # the parts so far
        self._type = -1

    def take(self, packet: Packet, now_s: float) -> CodeReport | Unread | None:
        """A decode packet; its code once it is complete, None before and for one that was sent again."""
        mark = hashlib.blake2b(packet.data, key=self._key, digest_size=16).digest()
        again = packet.status & RETRANSMIT and mark == self._last and now_s - self._last_s < RETRANSMIT_S
        self._last, self._last_s = mark, now_s
        if again or not packet.data:
            return None
        if self._joined is None or packet.data[0] != self._type:  # else the rest of the one before never came
            self._joined, self._type = bytearray(), packet.data[0]
        # One byte more than allowed is enough to know that it is too long; endless continuations take no memory.
        room = PAYLOAD_BYTES_MAX + len(self._layout.suffix) + _AIM_BYTES + 1 - len(self._joined)
        self._joined += packet.data[1 : 1 + room]
        if packet.status & CONTINUED:
            return None
        return self._whole(bytes(self._joined))

    def drop(self) -> Unread | None:
        """No continuation came in time: the code is lost."""
        if self._joined is None:
            return None
        self._joined = None
        return Unread(ReadProblem.CODE_UNREADABLE)

    @property
    def partial(self) -> bool:
        """Whether a continuation is awaited."""
        return self._joined is not None

    def _whole(self, payload: bytes) -> CodeReport | Unread | None:
        self._joined = None
        if self._layout.aim and payload[:1] == b"]":
            payload = payload[_AIM_BYTES:]
        payload = payload.removesuffix(self._layout.suffix)
        if len(payload) > PAYLOAD_BYTES_MAX:
            return Unread(ReadProblem.CODE_TOO_LONG)
        return CodeReport(payload, SYMBOLOGIES.get(self._type, ""), self._layout.encoding) if payload else None
