"""Per issuer: what is held, what may follow it, and which file to take next. Rules after TUF's client.

The last good state always stays in service; every refusal has its own name, and `REMEDY` says how it ends.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gate.feed.envelope import Form, Header
from gate.feed.finding import FUTURE_TOLERANCE_S
from gate.feed.partitions import Partition
from gate.moment import Moment

# A file so long after its due date is an archive: nothing of it can be granted under any rule, and a frozen source is
# better named than held for fresh. Longer than the longest holiday without a publisher at work.
OVERDUE_S_MAX = 30 * 86_400.0


class Refusal(enum.StrEnum):
    """Why an offered file is not applied."""

    NOT_A_FEED = "NOT_A_FEED"
    TRUNCATED = "TRUNCATED"
    TRAILING_BYTES = "TRAILING_BYTES"
    WRONG_ISSUER = "WRONG_ISSUER"
    UNKNOWN_SCHEME = "UNKNOWN_SCHEME"
    UNKNOWN_PEPPER = "UNKNOWN_PEPPER"
    UNKNOWN_KEY = "UNKNOWN_KEY"
    KEY_NOT_VALID_THEN = "KEY_NOT_VALID_THEN"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    ALTERED = "ALTERED"
    BAD_BODY = "BAD_BODY"
    OLDER = "OLDER"
    FORK = "FORK"
    GAP = "GAP"
    NO_BASE = "NO_BASE"
    KIND_CHANGED = "KIND_CHANGED"
    PEPPER_CHANGED = "PEPPER_CHANGED"
    PRODUCED_EARLIER = "PRODUCED_EARLIER"
    FROM_THE_FUTURE = "FROM_THE_FUTURE"
    EXPIRED = "EXPIRED"
    WRONG_DIGEST = "WRONG_DIGEST"
    WRONG_COUNT = "WRONG_COUNT"
    SNAPSHOT_NEEDED = "SNAPSHOT_NEEDED"
    STORE_FULL = "STORE_FULL"
    STORE_FAILED = "STORE_FAILED"


_AGAIN = "fetch it again; if it stays so, tell the issuer"
_ISSUER = "tell the issuer: its files contradict one another"
REMEDY: Mapping[Refusal, str] = {
    Refusal.NOT_A_FEED: "another program's file: remove it from the source",
    Refusal.TRUNCATED: _AGAIN,
    Refusal.TRAILING_BYTES: _AGAIN,
    Refusal.WRONG_ISSUER: "the source serves another issuer's files: correct its address",
    Refusal.UNKNOWN_SCHEME: "update the station",
    Refusal.UNKNOWN_PEPPER: "install the issuer's new pepper file",
    Refusal.UNKNOWN_KEY: "install the issuer's new key file",
    Refusal.KEY_NOT_VALID_THEN: "install the issuer's new key file",
    Refusal.BAD_SIGNATURE: "somebody else made it: tell the issuer",
    Refusal.ALTERED: _AGAIN,
    Refusal.BAD_BODY: _ISSUER,
    Refusal.OLDER: "nothing to do: a newer state is in service",
    Refusal.FORK: "a snapshot of a higher sequence ends it; tell the issuer",
    Refusal.GAP: "the missing deltas or a snapshot end it by themselves",
    Refusal.NO_BASE: "a snapshot must come first",
    Refusal.KIND_CHANGED: "a snapshot of the new kind must come first",
    Refusal.PEPPER_CHANGED: "a snapshot with the new pepper must come first",
    Refusal.PRODUCED_EARLIER: _ISSUER,
    Refusal.FROM_THE_FUTURE: "check the station's clock, then the issuer's; it is offered again",
    Refusal.EXPIRED: "the source is frozen or an archive: ask the issuer for today's files",
    Refusal.WRONG_DIGEST: "a snapshot ends it; tell the issuer",
    Refusal.WRONG_COUNT: "a snapshot ends it; tell the issuer",
    Refusal.SNAPSHOT_NEEDED: "too many changes since the last snapshot: ask the issuer for one",
    Refusal.STORE_FULL: "make room on the disk of data_dir",
    Refusal.STORE_FAILED: "check the disk of data_dir",
}


class Standing(enum.StrEnum):
    """How an offered file stands to what is held."""

    NEWER = "NEWER"
    HELD_ALREADY = "HELD_ALREADY"  # the same state, or one that was passed through: a replay does no harm
    NEW_BASE = "NEW_BASE"  # a snapshot of the very state that is held by deltas


@dataclass(frozen=True, slots=True)
class Held:
    """What is in service of one issuer."""

    issuer: str
    sequence: int
    kind: str
    produced_utc_s: int
    next_due_utc_s: int
    count: int
    exact_count: int
    tokens: int
    set_digest: str
    pepper_id: str
    key_id: str
    partitions: tuple[Partition, ...]

    @classmethod
    def of(cls, header: Header) -> "Held":
        """What will be held once a file with this header is applied."""
        return cls(
            header.issuer,
            header.sequence,
            header.kind,
            header.produced_utc_s,
            header.next_due_utc_s,
            header.count,
            header.exact_count,
            header.tokens,
            header.set_digest,
            header.pepper_id,
            header.key_id,
            header.partitions,
        )


def judge(held: Held | None, header: Header, now: Moment) -> Standing | Refusal:
    """Whether a file whose signature is already verified may follow what is held."""
    if header.produced_utc_s > now.utc_s + FUTURE_TOLERANCE_S:
        return Refusal.FROM_THE_FUTURE
    if header.next_due_utc_s + OVERDUE_S_MAX < now.utc_s:
        return Refusal.EXPIRED
    return _judge_snapshot(held, header) if header.form == Form.SNAPSHOT else _judge_delta(held, header)


def _judge_snapshot(held: Held | None, header: Header) -> Standing | Refusal:
    if held is None:
        return Standing.NEWER
    if header.sequence < held.sequence:
        return Refusal.OLDER
    if header.sequence == held.sequence:
        return Standing.NEW_BASE if header.set_digest == held.set_digest else Refusal.FORK
    if header.produced_utc_s < held.produced_utc_s:
        return Refusal.PRODUCED_EARLIER
    return Standing.NEWER


def _judge_delta(held: Held | None, header: Header) -> Standing | Refusal:
    if held is None:
        return Refusal.NO_BASE
    if header.sequence <= held.sequence:
        same = header.sequence < held.sequence or header.set_digest == held.set_digest
        return Standing.HELD_ALREADY if same else Refusal.FORK
    if header.from_sequence != held.sequence:
        return Refusal.GAP
    if header.from_set_digest != held.set_digest:
        return Refusal.FORK
    for refusal, differs in (
        (Refusal.KIND_CHANGED, header.kind != held.kind),
        (Refusal.PEPPER_CHANGED, header.pepper_id != held.pepper_id),
        (Refusal.PRODUCED_EARLIER, header.produced_utc_s < held.produced_utc_s),
    ):
        if differs:
            return refusal
    return Standing.NEWER


class Offer(Protocol):
    """What a source says of one of its files (sync/source.py); a hint only."""

    @property
    def form(self) -> str:
        """A Form."""

    @property
    def sequence(self) -> int:
        """The state it leads to."""

    @property
    def from_sequence(self) -> int:
        """A delta: the state it starts from."""


OfferT = TypeVar("OfferT", bound=Offer)


def next_of(held: Held | None, offers: Sequence[OfferT], want_base: bool) -> OfferT | None:
    """Which offer to take next: the delta that leads furthest, else the newest snapshot, else none.

    `want_base`: so many changes lie over the snapshot in use that one of the held sequence is welcome.
    """
    if held is not None:
        deltas = [o for o in offers if o.form == Form.DELTA and o.from_sequence == held.sequence < o.sequence]
        if deltas:
            return max(deltas, key=lambda o: o.sequence)
    least = 0 if held is None else held.sequence + (not want_base)
    snapshots = [o for o in offers if o.form == Form.SNAPSHOT and o.sequence >= least]
    return max(snapshots, key=lambda o: o.sequence, default=None)


def gap_before(held: Held | None, offers: Sequence[OfferT]) -> int:
    """How many sequences are missing between what is held and the first delta behind it; 0 when none are."""
    behind = [o.from_sequence for o in offers if o.form == Form.DELTA and held and o.from_sequence > held.sequence]
    return min(behind) - held.sequence if held and behind else 0


def standstill(held: Held | None, offers: Sequence[OfferT]) -> tuple[OfferT, Refusal] | None:
    """The newest offer and why nothing offered can follow: only older states, or changes of none. Else None."""
    newest = max(offers, key=lambda o: (o.sequence, o.form == Form.SNAPSHOT), default=None)  # always the same one
    if newest is None or not newest.sequence:
        return None
    if held is None:
        return None if any(o.form == Form.SNAPSHOT for o in offers) else (newest, Refusal.NO_BASE)
    return (newest, Refusal.OLDER) if newest.sequence < held.sequence else None
