"""What the store knows of one subject from one issuer. Never a decision: that is made in `policy` by rules."""

import enum
from dataclasses import dataclass

from gate.feed.records import CredentialStatus
from gate.moment import Moment

# A controller whose clock is slightly behind the publisher's must not call a fresh feed untrustworthy.
FUTURE_TOLERANCE_S = 300.0


class Band(enum.StrEnum):
    """Age of what we hold, against the rule's limits."""

    FRESH = "FRESH"
    AGED = "AGED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class FreshnessLimits:
    """After how many seconds a feed counts as AGED and as EXPIRED; a rule's data (policy/recognition)."""

    aged_after_s: float
    expired_after_s: float


@dataclass(frozen=True, slots=True)
class Freshness:
    """As of when the issuer, or its partition, spoke. A time from the future is as untrustworthy as one long past."""

    as_of_utc_s: float
    partition: str = ""  # whose time it is; "" the whole feed's

    def age_s(self, now: Moment) -> float:
        """Seconds since then; negative when it claims to come from the future."""
        return now.utc_s - self.as_of_utc_s

    def band(self, limits: FreshnessLimits, now: Moment, clock_trusted: bool = True) -> Band:
        """The band at `now`. By a clock in doubt nothing is fresh: its age is a guess."""
        age_s = self.age_s(now)
        if age_s < -FUTURE_TOLERANCE_S or age_s >= limits.expired_after_s:
            return Band.EXPIRED
        return Band.FRESH if age_s < limits.aged_after_s and clock_trusted else Band.AGED


class Missing(enum.StrEnum):
    """Why we do not know: about us, never about the passenger."""

    NO_FEED = "NO_FEED"  # nothing of this issuer has ever been applied
    STORE_DAMAGED = "STORE_DAMAGED"  # what was read does not match its checksum
    STORE_UNREADABLE = "STORE_UNREADABLE"  # the store cannot be opened or read
    STORE_OTHER_VERSION = "STORE_OTHER_VERSION"  # it was written by another release
    CARD_NOT_LINKED = "CARD_NOT_LINKED"  # the feed's index does not have this card's number: whose it is, we cannot say
    PEPPER_MISSING = "PEPPER_MISSING"  # the feed's pepper_id is not among our peppers: no key can be computed


class Uncovered(enum.StrEnum):
    """Why an issuer whose feed we hold says nothing of somebody."""

    UNKNOWN_PERSON = "UNKNOWN_PERSON"  # the feed knows everybody enrolled, and this subject is not among them
    UNKNOWN_PARTITION = "UNKNOWN_PARTITION"  # enrolled in a region of which the feed says nothing (yet)


@dataclass(frozen=True, slots=True)
class Listed:
    """The issuer's feed tells this subject's status exactly."""

    issuer: str
    status: CredentialStatus
    asserted_by: str  # GB/T 2260 code of the authority that set the status; may differ from the issuer
    effective_utc_s: int
    valid_until_utc_s: int | None  # None: until changed
    sequence: int
    freshness: Freshness
    reason: int = 0  # the issuer's reason code; 0: none given
    residence: str = ""  # GB/T 2260 code, where the issuer tells it


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The issuer knows this subject and tells nothing of it: it has the default status of its partition."""

    issuer: str
    status: CredentialStatus  # the partition's default at the instant of the look-up
    asserted_by: str  # the partition
    effective_utc_s: int  # since when the default has this status
    valid_until_utc_s: int | None
    sequence: int
    freshness: Freshness
    reason: int = 0
    residence: str = ""


@dataclass(frozen=True, slots=True)
class NotListed:
    """The issuer's feed lists only some colours and not this subject. Absence is not green."""

    issuer: str
    sequence: int
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class NotCovered:
    """The issuer's feed is there and this subject is none of its people, or of a region it says nothing of."""

    issuer: str
    sequence: int
    freshness: Freshness
    why: Uncovered


@dataclass(frozen=True, slots=True)
class Unknown:
    """We cannot say what this issuer says."""

    issuer: str
    why: Missing


class Rejection(enum.StrEnum):
    """Why an issuer that answered gave no status: about what was presented."""

    CODE_EXPIRED = "CODE_EXPIRED"  # Jiangsu's 111, Guangdong's qrcode_expired
    CODE_NOT_OURS = "CODE_NOT_OURS"  # Jiangsu's 112
    HOLDER_MUST_UPDATE = "HOLDER_MUST_UPDATE"  # Jiangsu's 119
    PERSON_UNKNOWN = "PERSON_UNKNOWN"  # it knows nobody of that document or code


class Silence(enum.StrEnum):
    """Why an issuer that was asked said nothing of use: about us or it, never about the passenger."""

    LATE = "LATE"  # no answer within the lane's time
    UNREACHABLE = "UNREACHABLE"  # no connection, or the circuit is open after repeated failures
    BUSY = "BUSY"  # too many questions to it are under way
    NO_PERMISSION = "NO_PERMISSION"  # Jiangsu's 116 and 118: this verifier may not ask
    UNINTELLIGIBLE = "UNINTELLIGIBLE"  # an answer that its interface does not give


@dataclass(frozen=True, slots=True)
class Answered:
    """The issuer was asked online and told this subject's status."""

    issuer: str
    status: CredentialStatus
    asserted_by: str  # GB/T 2260 code of the authority, "" where the answer does not say
    effective_utc_s: int  # since when; 0: not said
    valid_until_utc_s: int | None
    freshness: Freshness  # as of the answer
    sequence: int = 0  # no feed's
    reason: int = 0
    residence: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """The issuer was asked online and has no status for what was presented."""

    issuer: str
    why: Rejection


@dataclass(frozen=True, slots=True)
class Unanswered:
    """The issuer was asked online in vain."""

    issuer: str
    why: Silence


@dataclass(frozen=True, slots=True)
class Certified:
    """A community certified on paper, for the day and bound to the document shown, that its holder is healthy."""

    issuer: str  # the certifying authority's key id
    asserted_by: str  # its GB/T 2260 code
    valid_until_utc_s: int
    freshness: Freshness  # as of the beginning of the day of issue


Told = Listed | Enrolled | Answered  # with a status
Finding = Told | NotListed | NotCovered | Unknown | Rejected | Unanswered | Certified
