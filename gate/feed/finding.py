"""What the store knows of one subject from one issuer: listed, not listed, or not known and why. Never a decision."""

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
    """As of when the issuer spoke. A time from the future is as untrustworthy as one long past: EXPIRED."""

    as_of_utc_s: float

    def age_s(self, now: Moment) -> float:
        """Seconds since the issuer produced what we hold; negative when it claims to come from the future."""
        return now.utc_s - self.as_of_utc_s

    def band(self, limits: FreshnessLimits, now: Moment) -> Band:
        """The band at `now`."""
        age_s = self.age_s(now)
        if age_s < -FUTURE_TOLERANCE_S or age_s >= limits.expired_after_s:
            return Band.EXPIRED
        return Band.AGED if age_s >= limits.aged_after_s else Band.FRESH


class Missing(enum.StrEnum):
    """Why we do not know: about us, never about the passenger."""

    NO_FEED = "NO_FEED"  # nothing of this issuer has ever been applied
    STORE_DAMAGED = "STORE_DAMAGED"  # what was read does not match its checksum
    STORE_UNREADABLE = "STORE_UNREADABLE"  # the store cannot be opened or read
    PEPPER_MISSING = "PEPPER_MISSING"  # the snapshot's pepper_id is not among our peppers: no key can be computed


@dataclass(frozen=True, slots=True)
class Listed:
    """The issuer's feed has an entry for this subject."""

    issuer: str
    status: CredentialStatus
    asserted_by: str  # GB/T 2260 code of the authority that set the status; may differ from the issuer
    effective_utc_s: int
    valid_until_utc_s: int | None  # None: until changed
    sequence: int
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class NotListed:
    """The issuer's feed is there and has no entry for this subject. Absence is not green."""

    issuer: str
    sequence: int
    freshness: Freshness


@dataclass(frozen=True, slots=True)
class Unknown:
    """We cannot say what this issuer says."""

    issuer: str
    why: Missing


Finding = Listed | NotListed | Unknown
