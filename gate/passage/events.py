"""What happens at a lane. Each is handed to `Lane.handle` with the one Moment taken when it happened."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gate.credential.cardnumber import CardNumber
from gate.credential.certificate import Certificate
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.feed.finding import Silence, Unanswered
from gate.passage.commands import Direction, LaneMode
from gate.policy.question import Question
from gate.policy.verdict import Reason


@dataclass(frozen=True, slots=True)
class CardRead:
    """An identity card was read and understood."""

    card: IdCard
    direction: Direction


@dataclass(frozen=True, slots=True)
class CardNumberRead:
    """A transit or citizen card told its number."""

    number: CardNumber
    direction: Direction


@dataclass(frozen=True, slots=True)
class CodeScanned:
    """A health code was scanned, recognised, and good as far as it says itself."""

    code: HealthCode
    direction: Direction
    token: bytes = field(default=b"", repr=False)  # the mark of a dynamic code: a hash with the process's random key


@dataclass(frozen=True, slots=True)
class CertificateScanned:
    """A community's paper certificate was scanned; whether it counts is known with the card."""

    certificate: Certificate
    direction: Direction


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """Something was presented that cannot be used; `why` is what the passenger is told."""

    why: Reason
    direction: Direction


@dataclass(frozen=True, slots=True)
class StatusFound:
    """The answer to `FindStatus` or `AskIssuers`: what the issuers say, and the traveller's marks."""

    query: int
    question: Question
    travellers: tuple[bytes, ...] = field(repr=False)  # for anti-passback: hashes with the process's random key
    subject: bytes = field(repr=False)  # for the journal, which hashes it again with the day's key
    askable: tuple[str, ...] = ()  # issuers who may know more and can be asked now
    problem: Reason | None = None  # what is wrong with the credentials, e.g. card and code are of two people
    references: Mapping[str, str] = field(default_factory=dict, repr=False)  # issuer -> correction reference (R12)

    def unanswered(self) -> "StatusFound":
        """The same when the issuers that were asked have said nothing in time."""
        late = tuple(Unanswered(issuer, Silence.LATE) for issuer in self.askable)
        return replace(self, question=replace(self.question, findings=(*self.question.findings, *late)))


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
    """Staff let one person through; `reason` says on which ground."""

    operator: str
    why: str
    direction: Direction
    reason: Reason = Reason.STAFF_RELEASE  # or PAPER_CONFIRMED


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


Credential = CardRead | CardNumberRead | CodeScanned | CertificateScanned
Presented = Credential | ReadFailed
Event = (
    CardRead
    | CardNumberRead
    | CodeScanned
    | CertificateScanned
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
