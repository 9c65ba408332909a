"""What lanes share: clock, look-ups, journal, metrics, what codes are read by, and the causes of degraded mode."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gate.credential.forms import Issuers
from gate.credential.transit import Verifier
from gate.moment import Moment
from gate.passage.record import PassageRecord
from gate.policy.condition import Cause, Condition
from gate.policy.question import Day, Warmth
from gate.policy.rules import Words
from gate.policy.terms import Terms
from gate.policy.verdict import Reason
from gate.station.clock import Clock
from gate.station.journal import Journal
from gate.station.lookup import Lookup, Scene
from gate.station.metrics import Metrics
from gate.station.state import LaneState

# Causes of one device concern only the lane that it stands in.
_OF_ONE_DEVICE = frozenset({Cause.READER_DOWN, Cause.SCANNER_DOWN, Cause.TURNSTILE_DOWN})


@dataclass(slots=True)
class Services:
    """The station's shared parts, handed to every lane."""

    clock: Clock
    lookup: Lookup
    journal: Journal
    metrics: Metrics
    issuers: Issuers
    code_keys: Mapping[tuple[str, int], Verifier]  # of signed codes, by issuer and key index
    region: str  # GB/T 2260 code of the station
    day: Callable[[Moment], Day]
    terms: Callable[[Moment], Terms | None]
    words: Callable[[Reason, str], Words]
    hotline: Callable[[str], str]
    lane_changed: Callable[[LaneState], None]
    passage_ended: Callable[[PassageRecord], None]
    _conditions: dict[Condition, None] = field(default_factory=dict)
    _identities: dict[str, str] = field(default_factory=dict)  # by place, as first seen there: one for each device

    def scene(self, lane: str, now: Moment, guardian: bool = False, temperature: Warmth = Warmth.UNKNOWN) -> Scene:
        """What surrounds a presentation at `lane`, as rules are told it."""
        return Scene(self.region, self.day(now), self.conditions_of(lane), guardian, temperature)

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

    def strayed_from(self, place: str, identity: str) -> str:
        """The place at which the device of this identity was first seen, when that is another one; else ""."""
        self._identities.setdefault(place, identity)
        return next((at for at, known in self._identities.items() if known == identity and at != place), "")

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
