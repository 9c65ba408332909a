"""What lanes share: clock, store, journal, metrics, marks of travellers, and the present causes of degraded mode."""

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gate.credential.documents import Document
from gate.credential.forms import Issuers
from gate.credential.subject import subject_key
from gate.passage.record import PassageRecord
from gate.policy.condition import Cause, Condition
from gate.station.clock import Clock
from gate.station.journal import Journal
from gate.station.metrics import Metrics
from gate.station.state import LaneState
from gate.sync.store import StatusStore

# Causes of one device concern only the lane that it stands in.
_OF_ONE_DEVICE = frozenset({Cause.READER_DOWN, Cause.SCANNER_DOWN, Cause.TURNSTILE_DOWN})


@dataclass(slots=True)
class Services:
    """The station's shared parts, handed to every lane."""

    clock: Clock
    store: StatusStore
    journal: Journal
    metrics: Metrics
    issuers: Issuers
    peppers: Mapping[str, Mapping[str, bytes]] = field(repr=False)  # issuer -> pepper_id -> pepper
    lane_changed: Callable[[LaneState], None]
    passage_ended: Callable[[PassageRecord], None]
    _process_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _conditions: dict[Condition, None] = field(default_factory=dict)
    _current_peppers: dict[str, bytes] = field(default_factory=dict, repr=False)

    def subject_keys(self, document: Document) -> dict[str, bytes]:
        """The key of `document` for each issuer whose pepper we hold."""
        return {issuer: subject_key(pepper, document) for issuer, pepper in self._current_peppers.items()}

    def use_held_peppers(self) -> None:
        """Take, for every issuer, the pepper that its applied snapshot names."""
        held = self.store.held()
        for issuer, by_id in self.peppers.items():
            pepper = by_id.get(held[issuer].pepper_id) if issuer in held else None
            if pepper is None:
                self._current_peppers.pop(issuer, None)
            else:
                self._current_peppers[issuer] = pepper

    def traveller(self, document: Document) -> bytes:
        """The same person's mark within this process, for anti-passback; worthless outside it."""
        text = f"{document.type}\0{document.number}".encode()
        return hashlib.blake2b(text, key=self._process_key, digest_size=16).digest()

    def set_condition(self, condition: Condition, present: bool) -> None:
        """A cause of degraded mode appears or goes."""
        if present:
            self._conditions[condition] = None
        else:
            self._conditions.pop(condition, None)
        causes = {c.cause for c in self._conditions}
        self.metrics.degraded(condition.cause, condition.cause in causes)

    def conditions(self) -> frozenset[Condition]:
        """All present causes."""
        return frozenset(self._conditions)

    def conditions_of(self, lane: str) -> frozenset[Condition]:
        """The causes that concern `lane`: the station's, and those of its own devices."""
        mine = f"{lane}/"
        return frozenset(c for c in self._conditions if c.cause not in _OF_ONE_DEVICE or c.of.startswith(mine))

    def write(self, record: PassageRecord) -> None:
        """A passage has ended: journal, metrics and watchers learn of it."""
        self.journal.append(record)
        metrics = self.metrics
        metrics.passage(record.lane, record.direction, record.outcome)
        if record.verdict != "NONE":
            metrics.verdict(record.verdict, record.reason)
        for stage, spent_us in record.stages_us.items():
            metrics.stage(stage, spent_us / 1e6)
            if stage == "passage":
                metrics.release_to_passage(record.lane, spent_us / 1e6)
        self.passage_ended(record)
