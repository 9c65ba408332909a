"""The body of a delta: for every changed subject its key, the state before and the state after.

    zlib( keys 16 each, ascending | states before, transposed | states after, transposed )

Transposed means: all first bytes, then all second bytes, …; most are alike and shrink to nothing. The state before is
there so that a station can keep the set's digest without looking anybody up. Static code tokens come with snapshots
only: a new one resolves by the card until the next.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from gate.feed.records import ELEMENT_BYTES, KEY_BYTES, STATE_BYTES, FeedError
from gate.feed.states import Bytes2, ascending, is_exact, is_there, valid

# 1 % of the Delta in one step; more is a new snapshot. Taking it needs 350 B a change (measured): 700 MB of the feed
# process, which shares its machine with the lanes.
CHANGES_MAX = 2_000_000
_CHANGE_BYTES = KEY_BYTES + 2 * STATE_BYTES
_LEVEL = 6  # zlib's default; a delta of a minute has kilobytes


@dataclass(frozen=True, slots=True)
class Changes:
    """n changed subjects, ascending by key."""

    keys: Bytes2 = field(repr=False)  # (n, 16)
    before: Bytes2 = field(repr=False)  # (n, 28)
    after: Bytes2 = field(repr=False)  # (n, 28)

    def elements(self, states: Bytes2) -> Iterator[bytes]:
        """Key and state of each, as the set's digest takes them."""
        raw = np.concatenate([self.keys, states], axis=1).tobytes()
        return (raw[at : at + ELEMENT_BYTES] for at in range(0, len(raw), ELEMENT_BYTES))

    def after_elements(self) -> Bytes2:
        """The elements as an overlay keeps them; an absent state hides what lies below it."""
        return np.concatenate([self.keys, self.after], axis=1)

    @property
    def growth(self) -> tuple[int, int]:
        """By how much the number of subjects grows, and that of exact ones."""
        subjects, exact = (
            int(np.count_nonzero(of(self.after))) - int(np.count_nonzero(of(self.before)))
            for of in (is_there, is_exact)
        )
        return subjects, exact


def encode(changes: Changes) -> bytes:
    """The body."""
    parts = (
        changes.keys.tobytes(),
        changes.before.T.tobytes(),
        changes.after.T.tobytes(),
    )
    return zlib.compress(b"".join(parts), _LEVEL)


def decode(body: bytes, changes: int) -> Changes:
    """The changes in a body whose header tells their numbers. Raises FeedError."""
    if changes > CHANGES_MAX:
        raise FeedError(f"a delta of more than {CHANGES_MAX} changes: publish a snapshot")
    size = changes * _CHANGE_BYTES
    unpacker = zlib.decompressobj()
    try:
        raw = unpacker.decompress(body, size + 1)
    except zlib.error as error:
        raise FeedError("the body cannot be decompressed") from error
    if len(raw) != size or not unpacker.eof or unpacker.unused_data:
        raise FeedError("the body has not as many changes as the header says")
    flat = np.frombuffer(raw, np.uint8)
    keys, before, after = np.split(flat, [changes * KEY_BYTES, changes * (KEY_BYTES + STATE_BYTES)])
    found = Changes(
        keys.reshape(changes, KEY_BYTES),
        np.ascontiguousarray(before.reshape(STATE_BYTES, changes).T),
        np.ascontiguousarray(after.reshape(STATE_BYTES, changes).T),
    )
    _check(found)
    return found


def _check(changes: Changes) -> None:
    """Ascending keys, real changes, and states that a publisher of ours writes."""
    if not ascending(changes.keys):
        raise FeedError("the changes are not in order of their keys")
    if (changes.before == changes.after).all(axis=1).any():
        raise FeedError("a change changes nothing")
    for states in (changes.before, changes.after):
        if not valid(states).all():
            raise FeedError("a change holds values that no publisher of ours writes")
