"""What a lane wants done. `station/runner.py` is the one place where a command becomes an effect."""

import enum
from dataclasses import dataclass

from gate.credential.presentation import Presentation
from gate.passage.record import PassageRecord
from gate.policy.question import Question
from gate.policy.verdict import Reason, Verdict, VerdictKind


class Direction(enum.StrEnum):
    """Which way a person walks through a lane."""

    ENTRY = "entry"
    EXIT = "exit"


class LaneMode(enum.StrEnum):
    """What a lane is set to by its configuration or by staff. Emergency is no mode: it is observed, not set."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    BOTH = "BOTH"
    CLOSED = "CLOSED"
    FREE = "FREE"  # crowd release: held open, nobody is checked, everybody is counted
    MAINTENANCE = "MAINTENANCE"  # devices run and report; nobody is released but by staff


@dataclass(frozen=True, slots=True)
class FindStatus:
    """Look this presentation's subject up; answer with `StatusFound(query, …)`."""

    query: int
    presentation: Presentation
    guardian: bool = False  # somebody released here a moment ago may take this one along


@dataclass(frozen=True, slots=True)
class AskIssuers:
    """Ask these issuers online, at most `within_s`; answer with `StatusFound(query, …)`: `question` and their word."""

    query: int
    presentation: Presentation
    question: Question
    issuers: tuple[str, ...]
    within_s: float


@dataclass(frozen=True, slots=True)
class Release:
    """Free the barrier for one person; without effect after `within_s` seconds it must never take effect."""

    grant: int
    direction: Direction
    within_s: float


@dataclass(frozen=True, slots=True)
class HoldOpen:
    """Hold the barrier open (crowd release)."""


@dataclass(frozen=True, slots=True)
class EndHold:
    """Stop holding the barrier open. Never commanded during an emergency."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Close a gate that stands open, for a while: somebody was refused. Never commanded during an emergency."""


@dataclass(frozen=True, slots=True)
class StandClosed:
    """Keep a gate closed that stands open at rest: its lane is closed. Never commanded during an emergency."""


@dataclass(frozen=True, slots=True)
class StandOpen:
    """Let such a gate stand open at rest again."""


@dataclass(frozen=True, slots=True)
class Show:
    """Set the lane's sign: a verdict and its reason, or ready for the next passenger when both are None."""

    verdict: VerdictKind | None
    reason: Reason | None
    because: Verdict | None = None  # the decision that is shown: its rule's words, its issuer, how old its word is
    reference: str = ""  # correction reference that the passenger may read to 12345 (R12)
    side: Direction | None = None  # only what stands on this side of a two-way lane; None: the lane's sign
    to: Direction | None = None  # on which side of the lane the person stands whom it is about; None: everybody


@dataclass(frozen=True, slots=True)
class Say:
    """Speak the prompt of this reason once."""

    reason: Reason
    side: Direction | None = None  # only on this side of a two-way lane; None: to the person being served
    to: Direction | None = None  # on which side that person stands; None: everybody


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `TimeReached` at this instant of the monotonic clock; replaces the wish before. None: no wish."""

    mono_s: float | None


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """A passage, or an attempt at one, has ended: write it down."""

    record: PassageRecord


Barring = Refuse | StandClosed | StandOpen
Command = FindStatus | AskIssuers | Release | HoldOpen | EndHold | Barring | Show | Say | WakeAt | WriteRecord
