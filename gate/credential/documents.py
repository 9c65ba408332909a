"""Identity documents: one number written in many ways becomes one `Document`. The region in a number decides nothing.

Rules of the numbers: health-codes.md section 4. Error texts never quote a number.
"""

import enum
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date

from stdnum.iso7064 import mod_11_2


class DocumentType(enum.StrEnum):
    """Our one enumeration; codes of other systems are mapped to it. The values enter the subject key."""

    RESIDENT_ID = "RESIDENT_ID"
    HMT_RESIDENCE_PERMIT = "HMT_RESIDENCE_PERMIT"  # Hong Kong, Macau, Taiwan residence permit
    FOREIGN_PERMANENT_RESIDENCE = "FOREIGN_PERMANENT_RESIDENCE"
    HOME_RETURN_PERMIT = "HOME_RETURN_PERMIT"  # mainland travel permit of Hong Kong and Macau residents
    TAIWAN_TRAVEL_PERMIT = "TAIWAN_TRAVEL_PERMIT"
    PASSPORT = "PASSPORT"


class DocumentProblem(enum.StrEnum):
    """What is wrong with a number."""

    FORM = "FORM"  # not the length or the characters of its type
    CHECK_DIGIT = "CHECK_DIGIT"
    BIRTH_DATE = "BIRTH_DATE"


class DocumentError(ValueError):
    """A number is not one of its type. Names the type and the problem, never the number."""

    def __init__(self, kind: DocumentType, problem: DocumentProblem) -> None:
        super().__init__(f"not a valid {kind} number: {problem}")
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Document:
    """A document in its one normal form."""

    type: DocumentType
    number: str = field(repr=False)


def document(kind: DocumentType, number: str) -> Document:
    """The normal form of `number`, full-width or not, with spaces or not. Raises DocumentError.

    An 18-digit number tells its own type (81, 82, 83: residence permit; 9: foreign permanent resident), so that the
    same person has the same key however a ticket system typed the document.
    """
    compact = re.sub(r"[\s\-·.()]", "", unicodedata.normalize("NFKC", number)).upper()
    if kind in _EIGHTEEN_DIGITS and re.fullmatch(r"[0-9]{17}[0-9X]", compact):
        return Document(_type_of(compact), _eighteen(kind, compact))
    return Document(kind, _NORMAL_FORM[kind](kind, compact))


def age_on(held: Document, day: date) -> int | None:
    """Full years on `day`, from the birth date inside an 18-digit number; None: it has none, or one not to rely on.

    For minors and seniors only. The number's region says nothing here or anywhere (R13). The digits of the foreigners'
    card of 2023 are NOT VERIFIED (health-codes.md section 4), so its date is checked for plausibility and not used.
    """
    if held.type not in (DocumentType.RESIDENT_ID, DocumentType.HMT_RESIDENCE_PERMIT) or len(held.number) != 18:
        return None
    born = held.number[6:14]
    years = day.year - int(born[:4]) - (f"{day:%m%d}" < born[4:])
    return years if years >= 0 else None  # born after `day`: the number or the clock is wrong


def _type_of(number: str) -> DocumentType:
    if number[:6] in ("810000", "820000", "830000"):
        return DocumentType.HMT_RESIDENCE_PERMIT
    if number[0] == "9":
        return DocumentType.FOREIGN_PERMANENT_RESIDENCE
    return DocumentType.RESIDENT_ID


def _eighteen(kind: DocumentType, number: str) -> str:
    """GB 11643-1999: check digit by ISO 7064 MOD 11-2, date of birth at digits 7 to 14."""
    if not mod_11_2.is_valid(number):
        raise DocumentError(kind, DocumentProblem.CHECK_DIGIT)
    _check_birth(kind, number[6:14])
    return number


def _check_birth(kind: DocumentType, digits: str) -> None:
    try:
        born = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
    except ValueError:
        raise DocumentError(kind, DocumentProblem.BIRTH_DATE) from None
    if born.year < 1880:  # older than anybody alive: a shifted or invented number
        raise DocumentError(kind, DocumentProblem.BIRTH_DATE)


def _resident(kind: DocumentType, number: str) -> str:
    """GB 11643-1989: 15 digits with a two-digit year; upgraded by "19" and the check digit."""
    _expect(kind, r"[0-9]{15}", number)
    longer = f"{number[:6]}19{number[6:]}"
    return _eighteen(kind, longer + mod_11_2.calc_check_digit(longer))


def _refuse(kind: DocumentType, number: str) -> str:
    raise DocumentError(kind, DocumentProblem.FORM)


def _foreigner(kind: DocumentType, number: str) -> str:
    """The 2017 card: three letters of the country and twelve digits."""
    return _expect(kind, r"[A-Z]{3}[0-9]{12}", number)


def _home_return(kind: DocumentType, number: str) -> str:
    """H or M and eight digits for life; two more count the renewals."""
    return _expect(kind, r"[HM][0-9]{8}(?:[0-9]{2})?", number)[:9]


def _taiwan(kind: DocumentType, number: str) -> str:
    """Eight digits for life; older permits carry two more that count the renewals."""
    return _expect(kind, r"[0-9]{8}(?:[0-9]{2})?", number)[:8]


def _passport(kind: DocumentType, number: str) -> str:
    return _expect(kind, r"[A-Z0-9]{5,17}", number)


def _expect(kind: DocumentType, form: str, number: str) -> str:
    if not re.fullmatch(form, number):
        raise DocumentError(kind, DocumentProblem.FORM)
    return number


_EIGHTEEN_DIGITS = frozenset(
    {DocumentType.RESIDENT_ID, DocumentType.HMT_RESIDENCE_PERMIT, DocumentType.FOREIGN_PERMANENT_RESIDENCE}
)
_NORMAL_FORM: Mapping[DocumentType, Callable[[DocumentType, str], str]] = {
    DocumentType.RESIDENT_ID: _resident,
    DocumentType.HMT_RESIDENCE_PERMIT: _refuse,
    DocumentType.FOREIGN_PERMANENT_RESIDENCE: _foreigner,
    DocumentType.HOME_RETURN_PERMIT: _home_return,
    DocumentType.TAIWAN_TRAVEL_PERMIT: _taiwan,
    DocumentType.PASSPORT: _passport,
}
