"""The text block of an identity card (devices.md section 6): document and validity out, everything else left behind.

Name, sex, nation, birth and address are never kept: no rule needs them.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from gate.credential.documents import Document, DocumentError, DocumentType, document

TEXT_BYTES = 256
_FLAG_AT = 248
_LONG_TERM = "长期"


class CardProblem(enum.StrEnum):
    """Why a card's text cannot be used; names of `policy.verdict.Reason`."""

    CARD_UNREADABLE = "CARD_UNREADABLE"
    CARD_UNKNOWN_TYPE = "CARD_UNKNOWN_TYPE"
    CARD_NUMBER_INVALID = "CARD_NUMBER_INVALID"


class CardError(ValueError):
    """A card's text is not one of the four layouts. Never quotes the text."""

    def __init__(self, problem: CardProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


@dataclass(frozen=True, slots=True)
class IdCard:
    """An identity card, as far as a decision needs it."""

    document: Document
    valid_from: date | None
    valid_until: date | None  # None: long-term

    def expired_on(self, day: date) -> bool:
        """Whether its validity ended before `day` (the last day still counts)."""
        return self.valid_until is not None and self.valid_until < day


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a card type keeps what we need: byte offset and length."""

    type: DocumentType
    number: tuple[int, int]
    valid_from: tuple[int, int] = (188, 16)
    valid_until: tuple[int, int] = (204, 16)


_LAYOUTS: Mapping[str, _Layout] = {
    "": _Layout(DocumentType.RESIDENT_ID, (122, 36)),
    "J": _Layout(DocumentType.HMT_RESIDENCE_PERMIT, (122, 36)),
    "Y": _Layout(DocumentType.FOREIGN_PERMANENT_RESIDENCE, (122, 36)),
    "I": _Layout(DocumentType.FOREIGN_PERMANENT_RESIDENCE, (122, 30)),
}


def parse_card(text: bytes) -> IdCard:
    """The card behind 256 bytes of UTF-16LE. Raises CardError."""
    if len(text) != TEXT_BYTES:
        raise CardError(CardProblem.CARD_UNREADABLE)
    layout = _LAYOUTS.get(_field(text, (_FLAG_AT, 2)))
    if layout is None:
        raise CardError(CardProblem.CARD_UNKNOWN_TYPE)
    try:
        held = document(layout.type, _field(text, layout.number))
    except DocumentError:
        raise CardError(CardProblem.CARD_NUMBER_INVALID) from None
    if held.type is not layout.type:
        raise CardError(CardProblem.CARD_NUMBER_INVALID)
    return IdCard(held, _date(_field(text, layout.valid_from)), _until(_field(text, layout.valid_until)))


def _field(text: bytes, where: tuple[int, int]) -> str:
    start, length = where
    try:
        return text[start : start + length].decode("utf-16-le").rstrip(" \0")
    except UnicodeDecodeError:
        raise CardError(CardProblem.CARD_UNREADABLE) from None


def _date(digits: str) -> date:
    if not re.fullmatch(r"[0-9]{8}", digits):
        raise CardError(CardProblem.CARD_UNREADABLE)
    try:
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        raise CardError(CardProblem.CARD_UNREADABLE) from None


def _until(text: str) -> date | None:
    return None if text == _LONG_TERM else _date(text)
