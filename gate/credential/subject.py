"""Subject and token keys: what the feed is keyed by instead of a document number (contract.md, "Subject key")."""

import hmac
import re
from datetime import date

from stdnum.iso7064 import mod_37_36

from gate.credential.cardnumber import CardNumber
from gate.credential.documents import Document

KEY_SCHEME = "gate/subject/1"
KEY_BYTES = 16
_PREFIX = KEY_SCHEME.encode("ascii") + b"\0"
_SHORT_KEY_BYTES = 7  # as much of a key as a feed has of the many enrolled (gate/feed/table.py)
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # no I, L, O and U: what the ear and the eye confuse
_CODE_BITS = 55  # eleven characters of five bits; the twelfth checks them
_READ_AS = str.maketrans("ILO", "110")


def subject_key(pepper: bytes, document: Document) -> bytes:
    """HMAC-SHA-256(pepper, "gate/subject/1" 00 type 00 number), its first 16 bytes."""
    text = _PREFIX + document.type.encode("ascii") + b"\0" + document.number.encode("ascii")
    return hmac.digest(pepper, text, "sha256")[:KEY_BYTES]


def token_key(pepper: bytes, issuer: str, token: str) -> bytes:
    """A static code token as a feed has it: HMAC-SHA-256(pepper, "gate/token/1" 00 issuer 00 token), 16 bytes."""
    text = b"gate/token/1\0" + issuer.encode("ascii") + b"\0" + token.encode()
    return hmac.digest(pepper, text, "sha256")[:KEY_BYTES]


def card_key(pepper: bytes, issuer: str, card: CardNumber) -> bytes:
    """A card's number as a feed has it, beside the tokens: HMAC-SHA-256(pepper, "gate/card/1" 00 issuer 00 scheme 00
    number), 16 bytes. Its own domain, so that no code can be made that passes for a card.
    """
    text = b"\0".join(
        (b"gate/card/1", issuer.encode("ascii"), card.scheme.encode("ascii"), card.number.encode("ascii"))
    )
    return hmac.digest(pepper, text, "sha256")[:KEY_BYTES]


def correction_reference(pepper: bytes, issuer: str, key: bytes, day: date) -> str:
    """What a passenger reads to 12345 (R12), e.g. "AKM-7K3Q-9ZT2-M4XC", so that the issuer finds the row.

    HMAC-SHA-256(pepper, "gate/correction/1" 00 issuer 00 day 00 first 7 bytes of the subject key), 55 bits of it, and
    a check character (ISO 7064's hybrid, here MOD 33,32: every wrong character, 998 of 1,000 swapped neighbours). Only
    who holds the pepper and the rows finds the person, and nobody can tell that references of two days are one's.
    Among the 83 million people of a large province, a passenger shares the day's reference with somebody else once in
    400 million times; that any two of them do happens on one day in ten. A trace then shows both rows.
    """
    text = b"\0".join((b"gate/correction/1", issuer.encode("ascii"), day.isoformat().encode(), key[:_SHORT_KEY_BYTES]))
    number = int.from_bytes(hmac.digest(pepper, text, "sha256")[:8], "big") >> (64 - _CODE_BITS)
    code = "".join(_CROCKFORD[number >> bits & 31] for bits in range(_CODE_BITS - 5, -1, -5))
    code += mod_37_36.calc_check_digit(code, _CROCKFORD)
    return "-".join((issuer, code[:4], code[4:8], code[8:]))


def read_reference(text: str) -> str | None:
    """The reference as it was printed, however it was typed; None when a character is wrong or missing."""
    match = re.fullmatch(r"([A-Z][A-Z0-9_]{1,15})[\s-]([0-9A-Z\s-]+)", text.strip().upper())
    code = re.sub(r"[\s-]", "", match[2]).translate(_READ_AS) if match else ""
    if match is None or not re.fullmatch(rf"[{_CROCKFORD}]{{12}}", code) or not mod_37_36.is_valid(code, _CROCKFORD):
        return None
    return "-".join((match[1], code[:4], code[4:8], code[8:]))
