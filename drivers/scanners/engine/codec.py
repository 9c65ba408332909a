"""Orders to QR engines and their answers, told from the codes between them (devices.md 2.1). No IO and no clock.

    Newland    7E 01 30 30 30 30 @SCNTRG1 3B 03       02 01 30 30 30 30 @SCNTRG1 <status> 3B 03
    Honeywell  16 4D 0D 232BAD? !                     232BAD9 <status> !
    GM65       7E 00 08 01 00 02 01 CRC               02 00 00 01 00 CRC

<status> is ACK 06, NAK 15 (value out of range) or ENQ 05 (no such order). An answer may stand anywhere between and
before codes; what belongs to none is passed on as it came.
"""

import enum
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

ANSWER_BYTES_MAX = 96  # longest order of a profile, with room for the value that answers a query
_GM65_DATA_MAX = 16  # one byte is all that is ever asked for


class Status(enum.Enum):
    """What the engine says of an order."""

    DONE = 0x06
    OUT_OF_RANGE = 0x15
    UNKNOWN = 0x05


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer; `order` names what it answers, or is empty where the protocol does not tell."""

    status: Status
    order: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands at a place: an answer of `size` bytes (None: a spoiled one), size 0 for none, -1 for perhaps."""

    size: int
    answer: Answer | None = None


NONE, PERHAPS = Found(0), Found(-1)


class Dialect(Protocol):
    """How one maker's engines are spoken to."""

    def encode(self, order: str) -> bytes:
        """The bytes of an order."""

    def at(self, data: bytes) -> Found:
        """Whether an answer stands at the beginning of `data`, which holds at most ANSWER_BYTES_MAX bytes."""


class Newland:
    """Unified commands: storage sign (@ kept, # until power-off), six letters, value; * asks for the value."""

    _HEAD = b"\x02\x010000"

    def encode(self, order: str) -> bytes:
        """7E 01 30 30 30 30, the order, 3B 03."""
        return b"\x7e\x010000" + order.encode("ascii") + b";\x03"

    def at(self, data: bytes) -> Found:
        """The order with the value that is now set, the status before the end."""
        if not data.startswith(self._HEAD):
            return PERHAPS if self._HEAD.startswith(data) else NONE
        end = data.find(b";\x03")
        if end < 0:
            return PERHAPS
        body = data[len(self._HEAD) : end]
        if not body or body[-1] not in _STATUS:
            return Found(end + 2)
        return Found(end + 2, Answer(_STATUS[body[-1]], body[:-1].decode("ascii", "replace")))


class Honeywell:
    """Menu commands: tag and sub-tag, value or ?, and ! (until power-off) or . (kept)."""

    _LINE = re.compile(rb"(?:\x16M\r)?([0-9A-Za-z]{6}[^\x05\x06\x15\r\n!.]{0,32})(?:([\x05\x06\x15])(?:[!.]|\Z)|\Z)")

    def __init__(self, tags: frozenset[bytes]) -> None:
        self._tags = tags  # those of our own orders: anything else is a code

    def encode(self, order: str) -> bytes:
        """SYN M CR and the order; one that begins with SYN is sent as it is."""
        return order.encode("ascii") if order.startswith("\x16") else b"\x16M\r" + order.encode("ascii")

    def at(self, data: bytes) -> Found:
        """The order is echoed, with or without its prefix, and the status put before its last sign."""
        body = data.removeprefix(b"\x16M\r")
        if not any(tag.startswith(body[:6].upper()) for tag in self._tags):
            return PERHAPS if b"\x16M\r".startswith(data) else NONE
        if len(body) < 6:
            return PERHAPS
        line = self._LINE.match(data)
        if line is None:
            return NONE
        if line[2] is None or data[line.end() - 1 : line.end()] == line[2]:
            return PERHAPS  # its end has not arrived
        return Found(line.end(), Answer(_STATUS[line[2][0]], line[1].decode("ascii", "replace").upper()))


class Gm65:
    """Registers: `0000=7F` writes one, `0000?` reads one. Answers do not say what they answer."""

    def encode(self, order: str) -> bytes:
        """7E 00, type (8 write, 7 read), length, address, value or count, CRC-16/XMODEM of all but the head."""
        address = int(order[:4], 16)
        write = order[4] == "="
        body = struct.pack(">BBHB", 8 if write else 7, 1, address, int(order[5:], 16) if write else 1)
        return b"\x7e\x00" + body + crc(body).to_bytes(2, "big")

    def at(self, data: bytes) -> Found:
        """02 00, type 00, length, data, CRC."""
        head = b"\x02\x00\x00"
        if not data.startswith(head):
            return PERHAPS if head.startswith(data) else NONE
        if len(data) < 4:
            return PERHAPS
        if not 0 < data[3] <= _GM65_DATA_MAX:
            return NONE
        end = 4 + data[3]
        if len(data) < end + 2:
            return PERHAPS
        good = crc(data[2:end]) == int.from_bytes(data[end : end + 2], "big")
        return Found(end + 2, Answer(Status.DONE) if good else None)


class Mute:
    """Engines that answer nothing, or with a lone status byte; orders are hexadecimal."""

    def encode(self, order: str) -> bytes:
        """The order's own bytes."""
        return bytes.fromhex(order)

    def at(self, data: bytes) -> Found:
        """Nothing is taken for an answer: lone status bytes are taken off the next line by its own codec."""
        return NONE


_STATUS = {status.value: status for status in Status}


def crc(body: bytes) -> int:
    """CRC-16/XMODEM, polynomial 1021 hexadecimal; the GM65 manual's examples p. 31-32 agree with it."""
    value = 0
    for byte in body:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1 ^ 0x1021 if value & 0x8000 else value << 1) & 0xFFFF
    return value


def answers(answer: Answer, order: str) -> bool:
    """Whether `answer` can be that of `order`: by the order's six letters where the answer names them."""
    name = order.strip("@#\x16").removeprefix("M\r")[:6].upper()
    return not answer.order or answer.order.strip("@#").upper().startswith(name)


class Answers:
    """Takes answers out of what an engine sends."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._held = b""  # may be the beginning of an answer

    def feed(self, data: bytes) -> tuple[list[Answer], bytes]:
        """Take bytes in any portions; the answers that are complete, and everything else as it came."""
        data = self._held + data
        found: list[Answer] = []
        rest = bytearray()
        start = 0
        while start < len(data):
            here = self._dialect.at(data[start : start + ANSWER_BYTES_MAX])
            if here is PERHAPS and len(data) - start < ANSWER_BYTES_MAX:
                break
            if here.size <= 0:
                rest.append(data[start])
            elif here.answer:
                found.append(here.answer)
            start += max(here.size, 1)
        self._held = data[start:]
        return found, bytes(rest)

    def silence(self) -> bytes:
        """Nothing came for long: what was held is no answer."""
        held, self._held = self._held, b""
        return held

    @property
    def partial(self) -> bool:
        """Whether an answer may have begun."""
        return bool(self._held)


@dataclass(frozen=True, slots=True)
class Profile:
    """One make of engine, as `profiles.toml` describes it. Orders are in the words of its dialect."""

    dialect: Dialect = field(default_factory=Mute)
    prefix: bytes = b""
    suffix: bytes = b"\r\n"
    modes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # sense, trigger -> orders that set it
    start: str = ""  # makes it scan
    stop: str = ""
    health: str = ""  # anything that is answered whatever the engine is set to
    same_code: str = ""  # same-code interval, with {ms}
    acknowledge: bytes = b""  # sent after every code
    unanswered: frozenset[str] = frozenset()  # orders that bring no answer


def parse_profile(raw: Mapping[str, object]) -> Profile:
    """A table of `profiles.toml`. Raises KeyError or ValueError for one that is not to be used."""
    text = {name: str(raw.get(name, "")) for name in ("prefix", "start", "stop", "health", "same_code", "acknowledge")}
    modes = {name: _orders(raw.get(name)) for name in ("sense", "trigger") if name in raw}
    orders = [text["start"], text["stop"], text["health"], text["same_code"], *sum(modes.values(), ())]
    return Profile(
        dialect=_dialect(str(raw["dialect"]), orders),
        prefix=text["prefix"].encode("ascii"),
        suffix=str(raw.get("suffix", "\r\n")).encode("ascii"),
        modes=modes,
        start=text["start"],
        stop=text["stop"],
        health=text["health"],
        same_code=text["same_code"],
        acknowledge=bytes.fromhex(text["acknowledge"]),
        unanswered=frozenset(_orders(raw.get("unanswered"))),
    )


def _orders(raw: object) -> tuple[str, ...]:
    return tuple(map(str, raw)) if isinstance(raw, list) else ()


def _dialect(name: str, orders: list[str]) -> Dialect:
    match name:
        case "newland":
            return Newland()
        case "honeywell":
            return Honeywell(frozenset(order[:6].upper().encode("ascii") for order in orders if order[:1].isalnum()))
        case "gm65":
            return Gm65()
        case "mute":
            return Mute()
    raise ValueError(f"dialect {name!r} is none of newland, honeywell, gm65, mute")
