"""Static code tokens and card numbers of a snapshot: a keyed hash of each, and whose it is, in about eleven bytes.

Without them no code resolves offline. A token names its subject by seven bytes of the subject's key; where these are
shared by two subjects, or two tokens share bucket and fingerprint, the whole keys are kept.
"""

import itertools
from array import array
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gate.feed import table
from gate.feed.records import KEY_BYTES
from gate.feed.states import Bytes2, Mask, order
from gate.sync.spill import PARTS, Spill
from gate.sync.tablewriter import Sink, ambiguous, bucket_numbers

_PAIR = 2 * KEY_BYTES
_LINE = slice(_PAIR + 1, _PAIR + 5)  # of the publisher's rows, for what it says of a token that stands twice


class TokenError(ValueError):
    """Two lines give one token to two persons; the text names the lines."""


class TokenTable:
    """Collects tokens subject by subject, and writes them token by token."""

    def __init__(self, count: int, folder: Path) -> None:
        self.bits = table.bits_for(0, max(1, count))
        self._spill = Spill(_LINE.stop, folder)
        self._count = count

    def add(self, pairs: Bytes2, keys: Bytes2) -> None:
        """Tokens as (subject key, token key, line) of some subjects, of whom `keys` are all in order."""
        if not len(pairs):
            return
        prefixes = _numbers(keys)
        shared = prefixes[1:][prefixes[1:] == prefixes[:-1]]
        whole = np.isin(_numbers(pairs[:, :KEY_BYTES]), shared).astype(np.uint8)
        token, line = pairs[:, KEY_BYTES:_PAIR], pairs[:, _PAIR:]
        rows = np.concatenate([token, pairs[:, :KEY_BYTES], whole[:, None], line], axis=1)
        self._spill.add_many(np.ascontiguousarray(rows))

    def write(self, sink: Sink, salt: bytes) -> int:
        """Write buckets and offsets; how many tokens that are. Raises TokenError."""
        if not self._count:
            return 0
        offsets, written = array("I", [0]), 0
        parts = self._spill.parts()
        if self.bits < 8:
            parts = iter([np.concatenate(list(parts))])
        steps = [1 << self.bits] if self.bits < 8 else [(part << self.bits) // PARTS for part in range(1, PARTS + 1)]
        for until, rows in zip(steps, parts, strict=True):
            rows = _without_doubles(rows)
            written += len(rows)
            for number, bucket in _buckets(rows, len(offsets) - 1, until, self.bits):
                sealed = table.sealed(bucket, salt, number | table.TOKEN_FLAG)
                sink.write(sealed)
                offsets.append(offsets[-1] + len(sealed) // table.UNIT)
        sink.write(np.asarray(offsets, dtype="<u4").tobytes())
        return written

    def close(self) -> None:
        """Remove temporary files."""
        self._spill.close()


def _without_doubles(rows: Bytes2) -> Bytes2:
    """In order of the tokens, each once. Raises TokenError where one names two subjects."""
    rows = rows[order(rows[:, :KEY_BYTES])]
    again = np.zeros(len(rows), np.bool_)
    again[1:] = (rows[1:, :KEY_BYTES] == rows[:-1, :KEY_BYTES]).all(axis=1)
    places = np.flatnonzero(again)
    differs = (rows[places, KEY_BYTES:_PAIR] != rows[places - 1, KEY_BYTES:_PAIR]).any(axis=1)
    if differs.any():
        place = places[np.flatnonzero(differs)[0]]
        lines = sorted(int.from_bytes(rows[at, _LINE].tobytes(), "big") for at in (place - 1, place))
        raise TokenError(f"lines {lines[0]} and {lines[1]} give one token to two persons: keep the right one")
    return rows[~again]


def _buckets(rows: Bytes2, first: int, until: int, bits: int) -> list[tuple[int, bytes]]:
    whole = ambiguous(rows[:, :KEY_BYTES], bits) | (rows[:, _PAIR] > 0) if len(rows) else np.zeros(0, np.bool_)
    numbers = bucket_numbers(rows, bits) if len(rows) else np.zeros(0, np.int64)
    edges = np.searchsorted(numbers, np.arange(first, until + 1))
    return [
        (first + n, _bucket(rows[begin:end], whole[begin:end]))
        for n, (begin, end) in enumerate(itertools.pairwise(edges.tolist()))
    ]


def _bucket(rows: Bytes2, whole: Mask) -> bytes:
    compact, exact = rows[~whole], rows[whole]
    body = b"".join(
        (
            b"\0\0\0\0",
            len(compact).to_bytes(2, "little"),
            len(exact).to_bytes(2, "little"),
            compact[:, table.FINGERPRINT].tobytes(),
            compact[:, KEY_BYTES : KEY_BYTES + table.PREFIX_BYTES].tobytes(),
            exact[:, :_PAIR].tobytes(),
        )
    )
    return body + bytes(-len(body) % table.UNIT)


def _numbers(keys: Bytes2) -> npt.NDArray[np.uint64]:
    """The first seven bytes of each key as a number."""
    padded = np.zeros((len(keys), 8), np.uint8)
    padded[:, 1:] = keys[:, : table.PREFIX_BYTES]
    return padded.view(">u8").reshape(-1).astype(np.uint64)
