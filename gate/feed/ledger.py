"""Per issuer: what is held, and whether something offered may replace it; rules after TUF's client."""

import enum
from dataclasses import dataclass

from gate.feed.finding import FUTURE_TOLERANCE_S, Freshness
from gate.feed.records import SnapshotHeader
from gate.moment import Moment


class Refusal(enum.StrEnum):
    """Why an offered snapshot is not applied; the last good one stays in service."""

    NOT_A_SNAPSHOT = "NOT_A_SNAPSHOT"
    TRUNCATED = "TRUNCATED"
    TRAILING_BYTES = "TRAILING_BYTES"
    WRONG_ISSUER = "WRONG_ISSUER"
    UNKNOWN_SCHEME = "UNKNOWN_SCHEME"
    UNKNOWN_PEPPER = "UNKNOWN_PEPPER"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    KEY_NOT_VALID_THEN = "KEY_NOT_VALID_THEN"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    ALTERED = "ALTERED"
    UNSORTED = "UNSORTED"
    BAD_ENTRY = "BAD_ENTRY"
    OLDER = "OLDER"
    SAME_SEQUENCE_OTHER_CONTENT = "SAME_SEQUENCE_OTHER_CONTENT"
    PRODUCED_EARLIER = "PRODUCED_EARLIER"
    FROM_THE_FUTURE = "FROM_THE_FUTURE"
    STORE_FULL = "STORE_FULL"
    STORE_FAILED = "STORE_FAILED"


@dataclass(frozen=True, slots=True)
class Held:
    """What is in service of one issuer."""

    issuer: str
    sequence: int
    produced_utc_s: int
    next_due_utc_s: int
    count: int
    content_digest: str
    pepper_id: str
    key_id: str

    @classmethod
    def of(cls, header: SnapshotHeader) -> "Held":
        """What will be held once a snapshot with this header is applied."""
        return cls(
            header.issuer,
            header.sequence,
            header.produced_utc_s,
            header.next_due_utc_s,
            header.count,
            header.content_digest,
            header.pepper_id,
            header.key_id,
        )

    @property
    def freshness(self) -> Freshness:
        """As of when the issuer spoke."""
        return Freshness(self.produced_utc_s)


class Standing(enum.StrEnum):
    """How an offered snapshot stands to the one held."""

    NEWER = "NEWER"
    HELD_ALREADY = "HELD_ALREADY"


def judge(held: Held | None, header: SnapshotHeader, now: Moment) -> Standing | Refusal:
    """Whether a snapshot whose signature is already verified may replace what is held."""
    if header.produced_utc_s > now.utc_s + FUTURE_TOLERANCE_S:
        return Refusal.FROM_THE_FUTURE
    if held is None:
        return Standing.NEWER
    if header.sequence < held.sequence:
        return Refusal.OLDER
    if header.sequence == held.sequence:
        same = header.content_digest == held.content_digest and header.produced_utc_s == held.produced_utc_s
        return Standing.HELD_ALREADY if same else Refusal.SAME_SEQUENCE_OTHER_CONTENT
    if header.produced_utc_s < held.produced_utc_s:
        return Refusal.PRODUCED_EARLIER
    return Standing.NEWER
