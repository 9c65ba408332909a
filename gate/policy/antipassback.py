"""The same traveller again, too soon: claimed at release, kept at passage, given back at a lapse; one a station."""

from collections import OrderedDict

from gate.moment import Moment

# A day's travellers of the largest station (Hangzhou East, record 307,000; operations.md 2.1) pass in any two minutes
# by the hundreds; far above that the oldest claims are forgotten first, so memory stays below 1 MB.
CLAIMS_MAX = 10_000


class AntiPassback:
    """Claims by an opaque traveller mark (a hash with the process's random key) and direction."""

    def __init__(self, repeat_after_s: float) -> None:
        self._repeat_after_s = repeat_after_s
        self._claimed: OrderedDict[tuple[bytes, str], float] = OrderedDict()

    def claim(self, traveller: bytes, direction: str, now: Moment) -> bool:
        """Take the right to pass; False when the same traveller took it less than `repeat_after_s` ago."""
        self._forget(now)
        key = (traveller, direction)
        if key in self._claimed:
            return False
        self._claimed[key] = now.mono_s
        return True

    def keep(self, traveller: bytes, direction: str, now: Moment) -> None:
        """They passed: the time counts from the passage."""
        key = (traveller, direction)
        self._claimed.pop(key, None)
        self._claimed[key] = now.mono_s

    def give_back(self, traveller: bytes, direction: str) -> None:
        """They did not pass: they may try again at once."""
        self._claimed.pop((traveller, direction), None)

    def _forget(self, now: Moment) -> None:
        while self._claimed:
            key, claimed_s = next(iter(self._claimed.items()))
            if now.mono_s - claimed_s < self._repeat_after_s and len(self._claimed) < CLAIMS_MAX:
                return
            del self._claimed[key]
