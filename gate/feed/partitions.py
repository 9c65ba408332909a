"""Partitions of a feed: regions whose enrolled people share a default status by date, and an as-of time.

"This city is yellow from 14:00" is one more date in one partition: a mass change costs bytes, not millions of rows.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gate.feed.records import CredentialStatus, FeedError
from gate.moment import Moment

PARTITIONS_MAX = 4096  # China has about 3,000 counties
DEFAULTS_MAX = 64  # changes of one region's default that are kept or announced


@dataclass(frozen=True, slots=True)
class Default:
    """From this instant on, enrolled people of the partition have this status."""

    from_utc_s: int
    status: CredentialStatus
    reason: int = 0


@dataclass(frozen=True, slots=True)
class Partition:
    """One region: as of when it reported, and its default status by date (oldest first)."""

    code: str  # GB/T 2260, six digits
    as_of_utc_s: int
    defaults: tuple[Default, ...]

    def default_at(self, now: Moment) -> Default | None:
        """The default in force; None before the first."""
        return next((one for one in reversed(self.defaults) if one.from_utc_s <= now.utc_s), None)

    def unchanged_at(self, now: Moment) -> tuple[float, float]:
        """From when until when (UTC seconds, the end exclusive) the default in force at `now` is in force."""
        starts = [one.from_utc_s for one in self.defaults]
        begin = max((s for s in starts if s <= now.utc_s), default=-math.inf)
        return begin, min((s for s in starts if s > now.utc_s), default=math.inf)


def encode_partitions(partitions: Sequence[Partition]) -> list[list[Any]]:
    """As JSON values: [code, as of, [[from, status, reason], …]], by code."""
    return [
        [one.code, one.as_of_utc_s, [[d.from_utc_s, str(d.status), d.reason] for d in one.defaults]]
        for one in sorted(partitions, key=lambda one: one.code)
    ]


def canonical(partitions: Sequence[Partition]) -> bytes:
    """The bytes that enter the set's digest."""
    return json.dumps(encode_partitions(partitions), separators=(",", ":"), ensure_ascii=True).encode("ascii")


def decode_partitions(rows: Any) -> tuple[Partition, ...]:
    """The partitions in JSON values. Raises FeedError."""
    if not isinstance(rows, list) or len(rows) > PARTITIONS_MAX:
        raise FeedError(f"partitions must be a list of at most {PARTITIONS_MAX}")
    partitions = tuple(map(_decode, rows))
    codes = [one.code for one in partitions]
    if codes != sorted(set(codes)):
        raise FeedError("partitions are not in order, or one stands twice")
    return partitions


def _decode(row: Any) -> Partition:
    try:
        code, as_of, defaults = row
        steps = tuple(Default(_second(d[0]), CredentialStatus(d[1]), _byte(d[2])) for d in defaults)
        partition = Partition(_code(code), _second(as_of), steps)
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise FeedError("a partition is not [code, as of, [[from, status, reason], …]]") from error
    starts = [step.from_utc_s for step in steps]
    if not steps or len(steps) > DEFAULTS_MAX or starts != sorted(set(starts)):
        raise FeedError(f"partition {partition.code}: needs 1 to {DEFAULTS_MAX} defaults, oldest first")
    return partition


def _second(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 32:
        raise ValueError("not a second")
    return value


def _byte(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 256:
        raise ValueError("not a reason")
    return value


def _code(value: Any) -> str:
    if type(value) is not str or not (len(value) == 6 and value.isascii() and value.isdigit()):
        raise ValueError("not a region")
    return value


def by_code(partitions: Sequence[Partition]) -> Mapping[str, Partition]:
    """The same by their codes."""
    return {one.code: one for one in partitions}
