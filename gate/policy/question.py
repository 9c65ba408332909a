"""What a decision is made of besides the rules and the instant; the journal keeps all of it for replay."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gate.feed.finding import Finding
from gate.policy.condition import Condition


class Presented(enum.StrEnum):
    """What one person showed; a ticket system's typed document counts as a card."""

    CARD = "CARD"
    CODE = "CODE"
    CARD_AND_CODE = "CARD_AND_CODE"
    CERTIFICATE = "CERTIFICATE"  # a community's paper certificate, its card still missing
    CARD_AND_CERTIFICATE = "CARD_AND_CERTIFICATE"
    CARD_NUMBER = "CARD_NUMBER"  # a transit or citizen card: a number, whose holder only a feed's index knows
    CARD_NUMBER_AND_CODE = "CARD_NUMBER_AND_CODE"


# No document was shown: nobody's age, and nothing to bind a paper to.
BARE_NUMBERS = frozenset({Presented.CARD_NUMBER, Presented.CARD_NUMBER_AND_CODE})


class AgeGroup(enum.StrEnum):
    """As far as rules ask; where the terms draw the lines. Never a date of birth."""

    MINOR = "MINOR"
    ADULT = "ADULT"
    SENIOR = "SENIOR"
    UNKNOWN = "UNKNOWN"  # the document does not tell


class Day(enum.StrEnum):
    """What the station does today, by its own configuration."""

    CHECKING = "CHECKING"
    OPEN = "OPEN"  # checking has ended, or is suspended for the day: normal ticketing
    CLOSED = "CLOSED"


class Warmth(enum.StrEnum):
    """What a thermometer at the lane says of the person, as far as rules ask. Never the number, and never a colour."""

    NORMAL = "NORMAL"
    HIGH = "HIGH"  # from where the terms draw the line
    UNKNOWN = "UNKNOWN"  # not measured, too long ago, or only on the skin


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What was presented, by whom as far as rules may ask, and where. Names and locates nobody."""

    presented: Presented = Presented.CARD
    code_issuer: str = ""
    code_form: str = ""
    age_group: AgeGroup = AgeGroup.UNKNOWN
    guardian: bool = False  # somebody was released at this lane a moment ago, and has not yet taken too many along
    region: str = ""  # GB/T 2260 code of the station, or of the destination that is asked for; "": not told
    day: Day = Day.CHECKING
    code_needs_card: bool = False  # a printed form: it counts only beside its holder's ID card
    temperature: Warmth = Warmth.UNKNOWN
    card_scheme: str = ""  # of a card's number, e.g. "shanghai-transit"
    card_refused: bool = False  # the terms take no numbers of that scheme, so it was not looked up

    def noted(self) -> Mapping[str, str | bool]:
        """As JSON values for the journal; what is at its default is left out."""
        return {name: getattr(self, name) for name in _NAMES if getattr(self, name) != getattr(_PLAIN, name)}


def circumstances_from(noted: Mapping[str, str | bool]) -> Circumstances:
    """What `Circumstances.noted` wrote. Raises TypeError, ValueError for anything else."""
    values: dict[str, Any] = dict(noted)
    for name in values.keys() & set(_NAMES):
        kind = type(getattr(_PLAIN, name))
        if issubclass(kind, enum.Enum):
            values[name] = kind(values[name])
        elif type(values[name]) is not kind:
            raise TypeError(f"{name}: must be a {kind.__name__}")
    return Circumstances(**values)


_NAMES = tuple(field.name for field in fields(Circumstances))
_PLAIN = Circumstances()


@dataclass(frozen=True, slots=True)
class Question:
    """All that a decision depends on besides the rules and the instant."""

    findings: tuple[Finding, ...]
    conditions: frozenset[Condition] = field(default_factory=frozenset)
    circumstances: Circumstances = _PLAIN
