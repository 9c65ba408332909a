"""Shanghai's transit combined code: its layout, its two seals, its switches (health-codes.md 2.1 (2)).

Text: `https://s.sh.gov.cn/`, 4 decimal digits (the length of what follows), base64url of 211 bytes, `##`. It proves who
made it and when; it says nothing of a colour. The layout is that of a public POS source, whose header's comments
contradict its decoder in four places. The decoder worked in the field, so we do as it does:

1. Part D has 51 bytes; the comment says 47.
2. `max_amount` has 3 bytes; the comment says 2.
3. `rfu` has 9 bytes; the comment says 8. Only so do the parts add up to 211.
4. The inner seal covers uuid, client, valid_until and E.1, 80 bytes; the comment has `special` among them, 82 bytes.

The source does not name the byte order of its numbers; they are read big-endian, as its network order elsewhere.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gate.credential.codeproblem import CodeProblem

BODY_BYTES = 211
SUISHENMA = "suishenma"  # whose key the outer seal is by
TRANSPORT = "transport"  # whose key the inner seal is by
_BEIJING = "+0800"  # valid_until is Beijing time, generated_at UTC (R18)

# The body in its order: field and length in bytes.
LAYOUT = (
    ("sign", 64),  # outer seal, SM2 by Suishenma, over everything behind it
    ("uuid", 32),  # D
    ("special", 2),
    ("client", 2),  # "06" app, "07" WeChat, "08" Alipay
    ("valid_until", 14),  # yyyyMMddHHmmss
    ("key_index", 1),  # of Suishenma's key
    ("card_no", 10),  # E.1
    ("flags", 2),
    ("user_type", 1),  # 1 normal, 2 senior, 3 military, 4 test; concerns fares, not us
    ("max_amount", 3),  # cents
    ("valid_seconds", 2),
    ("generated_at", 4),  # seconds since 1970, UTC
    ("transport_key_index", 1),
    ("rfu", 9),
    ("transport_sign", 64),  # E.2, inner seal, SM2 by the transport operators
)
_TRAVEL_ENABLED = 0x40  # of special's first byte
_RAIL_ENABLED = 0x80  # of flags' first byte
_TEXT = re.compile(r"/([0-9]{4})([A-Za-z0-9_\-]+={0,2})##")


def _places() -> Mapping[str, slice]:
    places, at = {}, 0
    for name, length in LAYOUT:
        places[name] = slice(at, at + length)
        at += length
    return places


_AT = _places()


class Verifier(Protocol):
    """A public key; those of gate.sync.signing are such."""

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's owner signed `message`."""


@dataclass(frozen=True, slots=True)
class TransitCode:
    """A decoded body. Nothing of it is shown: it names a card and a kind of traveller."""

    body: bytes = field(repr=False)
    valid_until_utc_s: float = field(repr=False)

    def part(self, name: str) -> bytes:
        """One field of LAYOUT."""
        return self.body[_AT[name]]

    def number(self, name: str) -> int:
        """One field of LAYOUT, as a number."""
        return int.from_bytes(self.part(name), "big")

    @property
    def generated_utc_s(self) -> float:
        """When it was shown."""
        return float(self.number("generated_at"))

    @property
    def sealed_outside(self) -> bytes:
        """What the outer seal covers: everything behind it."""
        return self.body[_AT["uuid"].start :]

    @property
    def sealed_inside(self) -> bytes:
        """What the inner seal covers, as the decoder has it (contradiction 4)."""
        transport = self.body[_AT["card_no"].start : _AT["rfu"].stop]
        return self.part("uuid") + self.part("client") + self.part("valid_until") + transport


def read_transit(rest: str) -> TransitCode | None:
    """The code in what stands behind the host; None when it is no whole one."""
    match = _TEXT.fullmatch(rest)
    if not match or int(match[1]) != len(match[2]):
        return None
    body = _decoded(match[2])
    if body is None or len(body) != BODY_BYTES:
        return None
    until = _beijing_utc_s(body[_AT["valid_until"]])
    return None if until is None else TransitCode(body, until)


def transit_text(body: bytes) -> str:
    """The one text of a body, behind the host: what a made code is written with, and a read one compared with."""
    text = base64.urlsafe_b64encode(body).decode("ascii")
    return f"/{len(text):04d}{text}##"


def judge_seal(code: TransitCode, keys: Mapping[tuple[str, int], Verifier]) -> CodeProblem | None:
    """Whether both seals hold and rail travel is enabled, by `keys` of (SUISHENMA or TRANSPORT, key index).

    The classes are the decoder's: certificate missing, SM2 error, travel not enabled, rail not enabled, time error.
    """
    outer = keys.get((SUISHENMA, code.number("key_index")))
    inner = keys.get((TRANSPORT, code.number("transport_key_index")))
    if outer is None or inner is None:
        return CodeProblem.CODE_KEY_MISSING
    if not outer.verifies(code.part("sign"), code.sealed_outside):
        return CodeProblem.CODE_NOT_AUTHENTIC
    if not inner.verifies(code.part("transport_sign"), code.sealed_inside):
        return CodeProblem.CODE_NOT_AUTHENTIC
    if not code.part("special")[0] & _TRAVEL_ENABLED or not code.part("flags")[0] & _RAIL_ENABLED:
        return CodeProblem.CODE_TRAVEL_DISABLED
    # The decoder's own check: generated_at, moved to Beijing time, lies before valid_until.
    return CodeProblem.CODE_EXPIRED if code.generated_utc_s > code.valid_until_utc_s else None


def _decoded(text: str) -> bytes | None:
    """Exactly one text for one body: spare bits set otherwise would make a second code of a shown one (replay)."""
    bare = text.rstrip("=")
    try:
        body = base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return None
    return body if base64.urlsafe_b64encode(body).decode("ascii").rstrip("=") == bare else None


def _beijing_utc_s(digits: bytes) -> float | None:
    if not re.fullmatch(rb"[0-9]{14}", digits):
        return None
    try:
        return datetime.strptime(digits.decode("ascii") + _BEIJING, "%Y%m%d%H%M%S%z").timestamp()
    except ValueError:
        return None
