"""What a measurement is (contract.md, "Benchmarks"), and how quantiles are taken."""

import gc
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value; `peer` and `ratio` where something else was measured beside it."""

    name: str
    value: float
    unit: str
    n: int
    note: str = ""
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None

    @classmethod
    def beside(
        cls, name: str, value: float, unit: str, n: int, *, peer: str, peer_value: float, note: str = ""
    ) -> "Figure":
        """A value with its peer's, measured in the same run; the ratio says how many times the peer's ours is."""
        return cls(name, value, unit, n, note, peer, peer_value, round(value / peer_value, 4) if peer_value else None)


def quantile(values: Sequence[float], q: float) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def buckets(page: str, name: str) -> dict[float, float]:
    """The cumulative counts of a histogram by upper bound, over all label values."""
    found: dict[float, float] = {}
    for bound, count in re.findall(rf'{name}_bucket{{[^}}]*le="([^"]+)"[^}}]*}} (\S+)', page):
        found[float(bound)] = found.get(float(bound), 0.0) + float(count)
    return found


def since(now: Mapping[float, float], before: Mapping[float, float]) -> dict[float, float]:
    """What was added between two looks."""
    return {bound: count - before.get(bound, 0.0) for bound, count in now.items()}


def from_buckets(counts: Mapping[float, float], q: float) -> float:
    """The q-quantile in seconds, linear within its bucket."""
    total = max(counts.values(), default=0.0)
    below, last = 0.0, 0.0
    for bound, count in sorted(counts.items()):
        if count >= q * total and count > below:
            return last if bound == float("inf") else last + (bound - last) * (q * total - below) / (count - below)
        below, last = count, bound
    return last


def median_ratio(pairs: Sequence[tuple[float, float]]) -> float:
    """The median over pairs of (busy, idle) of how many times the idle value the busy one is."""
    return statistics.median(busy / idle for busy, idle in pairs if idle)


def timed(work: Callable[[bytes], object], keys: Sequence[bytes]) -> list[float]:
    """Microseconds of each call."""
    clock = time.perf_counter_ns
    spent = []
    gc.disable()  # the station's own collections are in its decision times; here the look-up is measured
    for key in keys:
        started = clock()
        work(key)
        spent.append((clock() - started) / 1000)
    gc.enable()
    return spent
