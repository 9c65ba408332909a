"""What happens at a lane. Each is handed to `Lane.handle` with the one Moment taken when it happened."""

from dataclasses import dataclass, field

from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.passage.commands import Direction, LaneMode
from gate.policy.decide import Question
from gate.policy.verdict import Reason


@dataclass(frozen=True, slots=True)
class CardRead:
    """An identity card was read and understood."""

    card: IdCard
    direction: Direction


@dataclass(frozen=True, slots=True)
class CodeScanned:
    """A health code was scanned and recognised."""

    code: HealthCode
    direction: Direction


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """Something was presented that cannot be used; `why` is what the passenger is told."""

    why: Reason
    direction: Direction


@dataclass(frozen=True, slots=True)
class StatusFound:
    """The answer to `FindStatus`: what every subscribed issuer says, and the traveller's marks."""

    query: int
    question: Question
    traveller: bytes = field(repr=False)  # for anti-passback: a hash with the process's random key
    subject: bytes = field(repr=False)  # for the journal, which hashes it again with the day's key


@dataclass(frozen=True, slots=True)
class ReleaseAccepted:
    """The turnstile took the release."""

    grant: int


@dataclass(frozen=True, slots=True)
class ReleaseRefused:
    """The turnstile certainly did not act on the release."""

    grant: int


@dataclass(frozen=True, slots=True)
class ReleaseUnknown:
    """Whether the turnstile acted cannot be said; it is watched as if it had."""

    grant: int


@dataclass(frozen=True, slots=True)
class PersonPassed:
    """The turnstile's own sensor saw one person go through."""

    direction: Direction


@dataclass(frozen=True, slots=True)
class SecondPerson:
    """The turnstile's own sensor saw somebody follow on the same release."""


@dataclass(frozen=True, slots=True)
class TurnstileLost:
    """The turnstile is down, or says that it cannot take releases."""


@dataclass(frozen=True, slots=True)
class TurnstileBack:
    """The turnstile works again."""


@dataclass(frozen=True, slots=True)
class EmergencySeen:
    """The hard-wired emergency opening acts, or no longer does."""

    active: bool


@dataclass(frozen=True, slots=True)
class EmergencyReset:
    """Staff ended the emergency by hand; has effect only when the hard-wired input is inactive."""

    operator: str


@dataclass(frozen=True, slots=True)
class StaffReleased:
    """Staff let one person through."""

    operator: str
    why: str
    direction: Direction


@dataclass(frozen=True, slots=True)
class ModeSet:
    """Staff set the lane's mode."""

    mode: LaneMode
    operator: str


@dataclass(frozen=True, slots=True)
class TimeReached:
    """The moment asked for by `WakeAt` has come."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """The controller is about to stop: nobody new, who is under way may finish."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The controller stops now: who is still under way is written down as such."""


Event = (
    CardRead
    | CodeScanned
    | ReadFailed
    | StatusFound
    | ReleaseAccepted
    | ReleaseRefused
    | ReleaseUnknown
    | PersonPassed
    | SecondPerson
    | TurnstileLost
    | TurnstileBack
    | EmergencySeen
    | EmergencyReset
    | StaffReleased
    | ModeSet
    | TimeReached
    | Stopping
    | Stopped
)
