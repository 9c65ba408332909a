"""An authority that suddenly sets many reds is noticed (R8). It is told to people, and decides about nobody.

The rule: in one clock hour it set at least `at_least` new reds, and at least `times` as many as in its own busiest hour
of the week before. Against the busiest hour and not the mean, because regions upload once a day (health-codes.md 1.7):
23 hours of such a day are empty, and the mean would cry every morning.

Henan, June 2022: 1,317 people within two days, by an authority whose ordinary hour had next to none. What it does not
see: fewer than 50 an hour; up to 98 astride the full hour; an authority that trebles no faster than week by week.
"""

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

HOUR_S = 3600
HOURS = 7 * 24  # of the week, so that every weekday's habit is in it
# A city district's outbreak in the spring of 2020 was a handful of people a day; 50 in an hour is somebody's list.
AT_LEAST = 50
TIMES = 3  # after a weekend's silence one upload brings three days
# Until a daily upload, a late one too, has been seen once, nothing is "sudden". A restart costs this.
LEARNING_S = 26 * HOUR_S
TOLD_S = 24 * HOUR_S  # a jump stays current for a day, so that every shift meets it
# GB/T 2260 has about 3,500 codes down to the county: 4,096 x 168 numbers of 4 bytes are 2.8 MB. Made-up codes beyond
# push out who was silent longest; that one's normal is then nothing, and its next list is told rather than missed.
AUTHORITIES_MAX = 4096
_COUNT_MAX = 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class Jump:
    """From `hour_utc_s` on `authority` set `count` reds within an hour; `busiest` in its busiest of the week before."""

    authority: str
    hour_utc_s: int
    count: int
    busiest: int


class _Week:
    """Reds by clock hour, for the last 168 hours."""

    __slots__ = ("_counts", "_newest")

    def __init__(self) -> None:
        self._counts = np.zeros(HOURS, np.uint32)
        self._newest = 0

    def add(self, hour: int, count: int) -> tuple[int, int]:
        """Reds of that hour now, and of the busiest other one; (0, 0) for an hour older than the week."""
        if hour <= self._newest - HOURS:
            return 0, 0
        for begun in range(max(self._newest + 1, hour - HOURS + 1), hour + 1):
            self._counts[begun % HOURS] = 0
        self._newest = max(self._newest, hour)
        at = hour % HOURS
        total = min(int(self._counts[at]) + count, _COUNT_MAX)
        self._counts[at] = 0
        busiest = int(self._counts.max())
        self._counts[at] = total
        return total, busiest


class RedWatch:
    """Newly red subjects by the authority that asserted them, from deltas; a snapshot's are what it starts with."""

    def __init__(
        self,
        since_utc_s: float,
        *,
        at_least: int = AT_LEAST,
        times: int = TIMES,
        learning_s: float = LEARNING_S,
        told_s: float = TOLD_S,
        authorities_max: int = AUTHORITIES_MAX,
    ) -> None:
        self._judging_from_utc_s = since_utc_s + learning_s
        self._at_least, self._times, self._told_s = at_least, times, told_s
        self._authorities_max = authorities_max
        self._weeks: OrderedDict[str, _Week] = OrderedDict()  # who was silent longest first
        self._jumps: dict[str, Jump] = {}

    def add(self, authority: str, count: int, when_utc_s: float) -> Jump | None:
        """`count` more reds; the jump when this makes its hour one, None when it was one before.

        `when_utc_s` is when the region produced them, not when they came: a day's deltas that arrive together after a
        cut line would else be a jump of ours.
        """
        hour = int(when_utc_s // HOUR_S)
        total, busiest = self._week(authority).add(hour, count)
        if when_utc_s < self._judging_from_utc_s or total < max(self._at_least, self._times * busiest):
            return None
        before = self._jumps.get(authority)
        jump = self._jumps[authority] = Jump(authority, hour * HOUR_S, total, busiest)
        if len(self._jumps) > self._authorities_max:
            del self._jumps[next(iter(self._jumps))]
        return None if before and before.hour_utc_s == jump.hour_utc_s else jump

    def current(self, now_utc_s: float) -> tuple[Jump, ...]:
        """The newest jump of each authority, of those less than a day old."""
        over = [name for name, jump in self._jumps.items() if now_utc_s - jump.hour_utc_s >= self._told_s]
        for name in over:
            del self._jumps[name]
        return tuple(self._jumps.values())

    def _week(self, authority: str) -> _Week:
        week = self._weeks.get(authority)
        if week is None:
            week = self._weeks[authority] = _Week()
            if len(self._weeks) > self._authorities_max:
                self._weeks.popitem(last=False)
        self._weeks.move_to_end(authority)
        return week
