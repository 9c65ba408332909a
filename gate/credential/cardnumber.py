"""The bare number of a transit or citizen card. It names its holder only by the index in a feed, never by itself.

Two schemes may give one number to two people, so a number counts only with the scheme that the station names for the
reader. A number can be copied: what it is worth is the rules' business (README, what an attacker can learn).
"""

import re
import unicodedata
from dataclasses import dataclass, field

SCHEME = re.compile(
    r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?"
)  # e.g. shanghai-transit; config.py and the feed's rows agree
NUMBER_CHARACTERS_MAX = 64  # no card's number found is longer; OSDP's text has as many (drivers/readers/osdp/codec.py)


class CardNumberError(ValueError):
    """A number or its scheme is none. Never quotes the number."""


@dataclass(frozen=True, slots=True)
class CardNumber:
    """A card's number in its one normal form, within its scheme."""

    scheme: str
    number: str = field(repr=False)


def card_number(scheme: str, number: str) -> CardNumber:
    """The normal form, with zeros before it or not, spaced or not, in small letters or not. Raises CardNumberError."""
    if not SCHEME.fullmatch(scheme):
        raise CardNumberError("card scheme must be small letters, digits and '-', at most 32, e.g. shanghai-transit")
    compact = re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", number)).upper()
    if not re.fullmatch(r"[0-9A-Z]+", compact) or len(compact) > NUMBER_CHARACTERS_MAX:
        raise CardNumberError(f"card number must be letters and digits, at most {NUMBER_CHARACTERS_MAX}")
    plain = compact.lstrip("0") if compact.isdecimal() else compact  # a reader's bits know no zeros before a number
    if not plain:
        raise CardNumberError("card number is all zeros: an empty card's, which is nobody's")
    return CardNumber(scheme, plain)
