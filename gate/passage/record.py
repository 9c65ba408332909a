"""PURE: how one passage ended, as journal, watchers and metrics receive it. Names no person."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class CredentialKind(enum.StrEnum):
    """What the passenger presented; NONE for staff, crowd and emergency releases."""

    CARD = "CARD"
    CODE = "CODE"
    CARD_AND_CODE = "CARD_AND_CODE"
    CERTIFICATE = "CERTIFICATE"
    CARD_AND_CERTIFICATE = "CARD_AND_CERTIFICATE"
    CARD_NUMBER = "CARD_NUMBER"
    CARD_NUMBER_AND_CODE = "CARD_NUMBER_AND_CODE"
    NONE = "NONE"


class Outcome(enum.StrEnum):
    """How the passage ended. Only PASSED (and FREE, uncontrolled) counts a person."""

    PASSED = "PASSED"
    LAPSED = "LAPSED"
    TAILGATED = "TAILGATED"
    INTRUDED = "INTRUDED"
    NOT_RELEASED = "NOT_RELEASED"  # the verdict was DENY or REFER
    RELEASE_REFUSED = "RELEASE_REFUSED"
    BARRIER_FAULTED = "BARRIER_FAULTED"
    CONTROLLER_STOPPED = "CONTROLLER_STOPPED"
    SHOWN = "SHOWN"  # a lane without a turnstile: the verdict was shown, nobody is counted
    FREE = "FREE"  # crowd release
    EMERGENCY = "EMERGENCY"


STAGES = frozenset({"pairing", "lookup", "asking", "release", "passage"})  # labels of a metric, so a closed list


@dataclass(frozen=True, slots=True)
class PassageRecord:
    """One passage: what `decide` was given, what it said, how it ended and how long each step took."""

    passage_id: str  # random, 128 bits; of the passage, not of a person (`letters` keeps it free of digits)
    lane: str
    direction: str
    started_utc_s: float
    decided_utc_s: float | None  # the instant `decide` was given; None when there was nothing to decide
    credential: str  # a CredentialKind
    verdict: str  # a VerdictKind
    reason: str  # a Reason
    rule_id: str
    credential_status: str  # a CredentialStatus
    finding: str  # a FindingClass
    issuer: str
    asserted_by: str
    band: str  # a Band, or "" when no finding decided
    feed_sequence: int
    outcome: str  # an Outcome
    stages_us: Mapping[str, int]  # stage name -> microseconds
    findings: tuple[Mapping[str, object], ...] = ()  # what `decide` was given, without any key; JSON values only
    conditions: tuple[str, ...] = ()  # degraded causes at that instant
    circumstances: Mapping[str, str | bool] = field(default_factory=dict)  # what `decide` was given beside the findings
    spoken: tuple[str, ...] = ()  # every rule that applied: "id VERDICT REASON"
    subject: bytes = field(default=b"", repr=False)  # opaque subject key; only HMAC(day key, subject) is written


def letters(raw: bytes) -> str:
    """`raw` as two letters a-p a byte (0 = a … 15 = p): hexadecimal in which no run of digits can occur.

    Hex digests hold runs of 8 decimal digits often enough to look like part of an ID number in a leak search.
    """
    return raw.hex().translate(_TO_LETTERS)


def from_letters(text: str) -> bytes:
    """The bytes that `letters` wrote. Raises ValueError for anything else."""
    if text.strip("abcdefghijklmnop"):
        raise ValueError("not letters a-p")
    return bytes.fromhex(text.translate(_FROM_LETTERS))


_HEX = "0123456789abcdef"
_LETTERS = "abcdefghijklmnop"
_TO_LETTERS = str.maketrans(_HEX, _LETTERS)
_FROM_LETTERS = str.maketrans(_LETTERS, _HEX)
