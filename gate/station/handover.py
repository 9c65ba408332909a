"""Takes over passages that a lane agent decided by itself while it was cut off: each into the journal exactly once.

An agent sends a batch again until it hears that it is on our disk, so a batch may come twice: by another connection, or
to a controller that was started again. What is in the journal already is known by its passage_id, read from the journal
itself once for each session of an agent: no second file can disagree with it.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from gate.passage.commands import Direction
from gate.passage.record import STAGES, CredentialKind, Outcome, PassageRecord
from gate.policy.verdict import Reason, VerdictKind
from gate.station.chain import record_of, segments
from gate.station.services import Services

log = logging.getLogger(__name__)

LINES_MAX = 32  # in one message: 64 kB of usual lines
LINE_BYTES_MAX = 16_384  # a line has about 2 kB
FLUSH_S = 2.0  # for the disk; then the agent sends it again
KNOWN_MAX = 32 * LINES_MAX  # ids kept of what a session handed over: only its last batches can come again
TEXT_MAX = 100  # characters: a rule's id or spoken line; what else a record tells in words is shorter
MANY_MAX = 64  # findings, conditions, rules that spoke: of one passage, by every issuer there is
WHOLE_MAX = (1 << 63) - 1  # as a feed's sequence goes over the wire; no stage lasts so many microseconds
TIME_MAX_S = 253_402_300_799  # 9999-12-31T23:59:59Z, the last time that the journal can write
_ID = re.compile(rb'"passage_id":"([a-p]{32})"')
_PASSAGE_ID = re.compile("[a-p]{32}")
_CLOSED_LISTS = {
    "direction": frozenset(Direction),
    "credential": frozenset(CredentialKind),
    "verdict": frozenset(VerdictKind) | {"NONE"},
    "reason": frozenset(Reason) | {"NONE"},
    "outcome": frozenset(Outcome),
}
_TEXTS = ("rule_id", "credential_status", "finding", "issuer", "asserted_by", "band")


class NotAPassageError(ValueError):
    """A line that was handed over is none of that lane's passages; the text says why and quotes nothing."""


def passages_of(lines: Sequence[bytes], lane: str) -> list[PassageRecord]:
    """The passages of a handover. Raises NotAPassageError."""
    if not 0 < len(lines) <= LINES_MAX or max(map(len, lines)) > LINE_BYTES_MAX:
        raise NotAPassageError(f"must be 1 to {LINES_MAX} lines of at most {LINE_BYTES_MAX} bytes")
    return [_passage(line, lane) for line in lines]


def _passage(line: bytes, lane: str) -> PassageRecord:
    try:
        record = record_of(line)
        good = record.lane == lane and _is_sound(record)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        good = False
    if not good:
        raise NotAPassageError("holds a line that is no passage of this lane: run the same version on both sides")
    return record


def _is_sound(record: PassageRecord) -> bool:
    """Whether journal, metrics and watchers can take every value: what an agent sends is not a record of our own."""
    lists = (record.findings, record.conditions, record.spoken)
    if not all(isinstance(each, tuple) and len(each) <= MANY_MAX for each in lists):
        return False
    texts = (*(getattr(record, name) for name in _TEXTS), *record.conditions, *record.spoken)
    wholes = (record.feed_sequence, *record.stages_us.values())
    return (
        all(getattr(record, name) in allowed for name, allowed in _CLOSED_LISTS.items())
        and _PASSAGE_ID.fullmatch(record.passage_id) is not None
        and _is_time(record.started_utc_s)
        and (record.decided_utc_s is None or _is_time(record.decided_utc_s))
        and record.stages_us.keys() <= STAGES
        and all(map(_is_text, texts))
        and all(map(_is_whole, wholes))
        and all(map(_is_flat, (*record.findings, record.circumstances)))
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_MAX and value.isprintable()


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value <= WHOLE_MAX


def _is_time(value: object) -> bool:
    return type(value) in (int, float) and 0 <= value <= TIME_MAX_S  # type: ignore[operator] # of a number it is


def _is_flat(noted: Mapping[str, object]) -> bool:
    """Names with plain values, and instants that the journal can write."""
    return all(
        _is_text(name)
        and (
            value is None
            or isinstance(value, bool)
            or (_is_time(value) if name.endswith("_utc_s") else _is_text(value) or _is_whole(value))
        )
        for name, value in noted.items()
    )


@dataclass(frozen=True, slots=True)
class _Known:
    """What is written down of a lane's passages: before this session of its agent, and since, as far as it matters."""

    session: bytes
    before: set[str]
    since: deque[str] = field(default_factory=lambda: deque(maxlen=KNOWN_MAX))


class Handover:
    """For all far lanes of a station, whose journal is in `folder`."""

    def __init__(self, folder: Path, services: Services) -> None:
        self._folder = folder
        self._journal = services.journal
        self._write = services.write
        self._known: dict[str, _Known] = {}  # by lane
        self._turn = asyncio.Lock()

    async def take(self, lane: str, session: bytes, records: Sequence[PassageRecord]) -> bool:
        """Write down those that are not yet; whether all are on the disk."""
        async with self._turn:
            if self._journal.full:
                return False
            known, new = await self._known_of(lane, session, records), 0
            for record in records:
                if record.passage_id not in known.before and record.passage_id not in known.since:
                    self._write(record)
                    known.since.append(record.passage_id)
                    new += 1
            if new:
                log.info("lane %s: %s passages of the time that its agent was cut off", lane, new)
            return await self.written_down() and not self._journal.full

    async def written_down(self) -> bool:
        """Wait until every passage so far is on the disk; False when the disk refuses."""
        return await asyncio.to_thread(self._journal.flush, FLUSH_S)

    async def _known_of(self, lane: str, session: bytes, records: Sequence[PassageRecord]) -> _Known:
        """The lane's passages in the journal, at least since the first of these: an agent hands over in order."""
        known = self._known.get(lane)
        if known is None or known.session != session:
            first_utc_s = min(record.started_utc_s for record in records)
            # A day earlier: two clocks are never compared.
            since = datetime.fromtimestamp(first_utc_s, UTC).date() - timedelta(days=1)
            await self.written_down()
            before = await asyncio.to_thread(_written_down, self._folder, lane, since)
            known = self._known[lane] = _Known(session, before)
        return known


def _written_down(folder: Path, lane: str, since: date) -> set[str]:
    """The ids of the lane's passages in the journal since that day. Raises OSError."""
    of_lane = f'"lane":"{lane}"'.encode()
    found: set[str] = set()
    for each in segments(folder):
        if each.day >= since:
            with each.path.open("rb") as lines:
                ids = (_ID.search(line) for line in lines if of_lane in line)
                found.update(one[1].decode() for one in ids if one)
    return found
