"""One dynamic token at two gates of the station is a replay (R5): who shows it first has it, until the attempt ends.

Held when a lane looks at it, spent when that lane releases, given back when the attempt ends without a release or the
released person does not walk: an honest second try, here or next door, is right. After its own validity (and the skew
that its time is judged with) a token needs no memory: it fails by time.
"""

from collections import OrderedDict
from dataclasses import dataclass

from gate.moment import Moment

# 48 lanes x 30 people a minute (R14) x half an hour of validity are 43,200 tokens; about 300 bytes each, so 15 MB.
# Above that the oldest go first, and such a one could be shown once more: long tokens wear out their memory.
SEEN_MAX = 50_000


@dataclass(slots=True)
class _Seen:
    lane: str
    until_utc_s: float
    spent: bool = False


class SeenTokens:
    """Tokens by an opaque mark, a keyed hash made by the caller. Every operation takes constant time."""

    def __init__(self, limit: int = SEEN_MAX, skew_s: float = 0.0) -> None:
        if limit < 1:
            raise ValueError("limit must be at least 1")
        self._limit = limit
        self._skew_s = skew_s
        self._seen: OrderedDict[bytes, _Seen] = OrderedDict()  # the first shown first

    def __len__(self) -> int:
        return len(self._seen)

    def present(self, mark: bytes, lane: str, now: Moment, valid_until_utc_s: float) -> bool:
        """`lane` is shown the token; False when another lane has it or a release was made on it, here or elsewhere."""
        self._forget(now)
        seen = self._seen.get(mark)
        if seen is not None and now.utc_s <= seen.until_utc_s:
            return seen.lane == lane and not seen.spent
        self._seen.pop(mark, None)
        if len(self._seen) == self._limit:
            self._seen.popitem(last=False)
        self._seen[mark] = _Seen(lane, valid_until_utc_s + self._skew_s)
        return True

    def spend(self, mark: bytes) -> None:
        """The lane that has it released. Of a forgotten token there is nothing to say."""
        seen = self._seen.get(mark)
        if seen is not None:
            seen.spent = True

    def give_back(self, mark: bytes, lane: str) -> None:
        """`lane` is done with it and nobody passed: no release, or one that lapsed. Another lane's stays."""
        seen = self._seen.get(mark)
        if seen is not None and seen.lane == lane:
            del self._seen[mark]

    def _forget(self, now: Moment) -> None:
        """Two at most, oldest first: more than come in, so the dead never pile up behind a living one for good."""
        for _ in range(2):
            seen = next(iter(self._seen.values()), None)
            if seen is None or now.utc_s <= seen.until_utc_s:
                return
            self._seen.popitem(last=False)
