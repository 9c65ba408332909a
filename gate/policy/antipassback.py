"""The same traveller again, too soon: claimed at release, kept at passage, given back at a lapse; one a station."""

from collections import OrderedDict
from collections.abc import Sequence

from gate.moment import Moment

# A day's travellers of the largest station (Hangzhou East, record 307,000; operations.md 2.1) pass in any two minutes
# by the hundreds, each with a mark or two; far above that the oldest claims are forgotten first: memory below 2 MB.
CLAIMS_MAX = 20_000


class AntiPassback:
    """Claims by opaque marks of a traveller (hashes with the process's random key) and direction.

    One traveller may have several marks: by the document, and by the subject of each issuer that a code alone leads to.
    """

    def __init__(self) -> None:
        self._claimed: OrderedDict[tuple[bytes, str], float] = OrderedDict()

    def claim(self, marks: Sequence[bytes], direction: str, now: Moment, repeat_after_s: float) -> bool:
        """Take the right to pass; False when one of the marks took it less than `repeat_after_s` ago."""
        self._forget(now, repeat_after_s)
        keys = [(mark, direction) for mark in marks]
        if any(key in self._claimed for key in keys):
            return False
        self._claimed.update(dict.fromkeys(keys, now.mono_s))
        return True

    def keep(self, marks: Sequence[bytes], direction: str, now: Moment) -> None:
        """They passed: the time counts from the passage."""
        for mark in marks:
            self._claimed.pop((mark, direction), None)
            self._claimed[mark, direction] = now.mono_s

    def give_back(self, marks: Sequence[bytes], direction: str) -> None:
        """They did not pass: they may try again at once."""
        for mark in marks:
            self._claimed.pop((mark, direction), None)

    def _forget(self, now: Moment, repeat_after_s: float) -> None:
        while self._claimed:
            key, claimed_s = next(iter(self._claimed.items()))
            if now.mono_s - claimed_s < repeat_after_s and len(self._claimed) < CLAIMS_MAX:
                return
            del self._claimed[key]
