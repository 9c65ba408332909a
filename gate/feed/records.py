"""What an issuer says of people, as values and as the bytes that travel, are stored and are hashed.

A **state** of one subject is 28 bytes; with its 16-byte subject key it is an element of the issuer's set:

    status u8 | reason u8 | 0 u16 | asserted by u32 | partition u32
    | effective u32 | valid until u32 | revision u32 | residence u32

Status 0 (all zero) is "not in the set"; 1-8 are colours, told exactly; 16 is "enrolled": one of the many greens of whom
only partition and the last valid day are kept, which a table stores in six bytes (`table.py`).
"""

import enum
import struct
from dataclasses import dataclass, field

KEY_SCHEME = "gate/subject/1"  # how subject keys are made: contract.md, "Subject key"
KEY_BYTES = 16
STATE_BYTES = 28
ELEMENT_BYTES = KEY_BYTES + STATE_BYTES
COUNT_MAX = 300_000_000  # the Delta's 235.2 million people (operations.md 2.3), with room for visitors
ABSENT = bytes(STATE_BYTES)
# Days of validity count from the Beijing midnight that began 2020; 65,535 of them end in 2199.
DAY_S = 86_400
DAY_ZERO_UTC_S = 1_577_808_000
DAY_MAX = 0xFFFF
REGION_MAX = 999_999
_STATE = struct.Struct(">BBHIIIIII")


class CredentialStatus(enum.StrEnum):
    """The field's colours and its honest "don't know"s (health-codes.md (a)); no vendor's numbers."""

    GREEN = "GREEN"
    YELLOW = "YELLOW"
    RED = "RED"
    GREEN_PENDING = "GREEN_PENDING"
    IN_REVIEW = "IN_REVIEW"
    GREY = "GREY"
    NOT_CLAIMED = "NOT_CLAIMED"
    UNKNOWN = "UNKNOWN"


# Numbers in our own files only; 0 is none of them, so that zeroed bytes are never a status.
STATUS_NUMBER = {
    CredentialStatus.GREEN: 1,
    CredentialStatus.YELLOW: 2,
    CredentialStatus.RED: 3,
    CredentialStatus.GREEN_PENDING: 4,
    CredentialStatus.IN_REVIEW: 5,
    CredentialStatus.GREY: 6,
    CredentialStatus.NOT_CLAIMED: 7,
    CredentialStatus.UNKNOWN: 8,
}
_STATUS = {number: status for status, number in STATUS_NUMBER.items()}
ENROLLED_NUMBER = 16


class FeedError(ValueError):
    """Bytes are not a feed of ours; the text says what is wrong, never quoting entries."""


class Kind(enum.StrEnum):
    """What a feed holds, and so what absence from it means."""

    FULL = "FULL"  # everybody enrolled, each told exactly; absent: not known to the issuer
    RED_YELLOW = "RED_YELLOW"  # the Delta's daily files (health-codes.md 1.7); absent: not green, not known
    NON_GREEN_WITH_ENROLMENT = (
        "NON_GREEN_WITH_ENROLMENT"  # others than green exactly, greens compactly; absent: not known
    )

    @property
    def knows_everybody(self) -> bool:
        """Whether somebody absent is unknown to the issuer."""
        return self is not Kind.RED_YELLOW


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """What an issuer says of one subject, exactly."""

    subject_key: bytes = field(repr=False)
    status: CredentialStatus
    asserted_by: str  # GB/T 2260, six digits: the authority that set the status
    effective_utc_s: int
    valid_until_utc_s: int | None = None  # None: until changed
    reason: int = 0  # the issuer's reason code, 0-255; 0: none given
    partition: str = ""  # GB/T 2260 code of the partition the subject belongs to; "": none
    revision: int = 0  # the issuer's own counter; 0: none given
    residence: str = ""  # GB/T 2260 code of residence, where the issuer tells it

    def encode(self) -> bytes:
        """The 28 bytes of this state."""
        return _STATE.pack(
            STATUS_NUMBER[self.status],
            self.reason,
            0,
            int(self.asserted_by),
            int(self.partition or 0),
            self.effective_utc_s,
            self.valid_until_utc_s or 0,
            self.revision,
            int(self.residence or 0),
        )


@dataclass(frozen=True, slots=True)
class Enrolment:
    """One of the many greens: in `partition`, whose default status holds until the end of validity."""

    partition: str
    valid_until_day: int = 0  # first Beijing day of no validity, counted from `DAY_ZERO_UTC_S`; 0: no end

    def encode(self) -> bytes:
        """The 28 bytes of this state."""
        return _STATE.pack(ENROLLED_NUMBER, 0, 0, 0, int(self.partition), 0, self.valid_until_day, 0, 0)

    @property
    def valid_until_utc_s(self) -> int | None:
        """The instant of the last second's end; None when there is no end."""
        return DAY_ZERO_UTC_S + self.valid_until_day * DAY_S if self.valid_until_day else None


State = StatusEntry | Enrolment | None


def encode_state(state: State) -> bytes:
    """The 28 bytes of `state`; None is "not in the set"."""
    return ABSENT if state is None else state.encode()


def decode_state(key: bytes, raw: bytes) -> State:
    """The state in 28 bytes. Raises FeedError for what no publisher of ours writes."""
    if raw == ABSENT:
        return None
    if len(raw) != STATE_BYTES:
        raise FeedError("a state is cut off")
    number, reason, rest, asserted_by, partition, effective, until, revision, residence = _STATE.unpack(raw)
    if rest or max(asserted_by, partition, residence) > REGION_MAX:
        raise FeedError("a state holds values that no publisher of ours writes")
    if number == ENROLLED_NUMBER:
        if reason or asserted_by or effective or revision or residence or until > DAY_MAX or not partition:
            raise FeedError("an enrolment holds values that no publisher of ours writes")
        return Enrolment(region(partition), until)
    status = _STATUS.get(number)
    if status is None:
        raise FeedError("a state has a status that no publisher of ours writes")
    return StatusEntry(
        key,
        status,
        region(asserted_by),
        effective,
        until or None,
        reason,
        region(partition) if partition else "",
        revision,
        region(residence) if residence else "",
    )


def region(code: int) -> str:
    """A GB/T 2260 code as its six digits."""
    return f"{code:06d}"


def enrolment_day(valid_until_utc_s: int | None) -> int | None:
    """The day number of an end of validity that an enrolment can keep; None when it is no Beijing midnight of ours."""
    if valid_until_utc_s is None:
        return 0
    day, rest = divmod(valid_until_utc_s - DAY_ZERO_UTC_S, DAY_S)
    return day if rest == 0 and 0 < day <= DAY_MAX else None
