"""A table in a file, read by `pread`: a page that cannot be read, or a file cut short, is an error and never SIGBUS.

Mapped memory would cost the same and let one bad sector kill all lanes (architecture.md, "The feed is applied in
another process").
"""

import itertools
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gate.feed import table
from gate.feed.records import ELEMENT_BYTES, KEY_BYTES, STATE_BYTES, Enrolment, FeedError
from gate.feed.states import Bytes2

_PAIR = struct.Struct("<II")
_CHUNK_BUCKETS = 1 << 14  # buckets gathered at a time: 6 MB of a snapshot's body


class DamagedError(Exception):
    """What was read is not what was written."""


class TableFile:
    """One open table, which lies in `path` from `base` (bytes) to the end. Raises DamagedError, OSError."""

    __slots__ = ("_base", "_classes", "_fd", "_offsets_at", "_salted", "_shift", "_token_offsets_at", "foot", "path")

    def __init__(self, path: Path, base: int = 0) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._open(base)
        except BaseException:
            os.close(self._fd)
            raise

    def _open(self, base: int) -> None:
        size = os.fstat(self._fd).st_size
        self._base = base
        try:
            self.foot = foot = table.decode_foot(os.pread(self._fd, table.FOOT_BYTES, size - table.FOOT_BYTES))
            if foot.tokens_at + base + table.FOOT_BYTES > size:
                raise FeedError("the table is cut off")
            raw = os.pread(self._fd, table.CLASS_BYTES * foot.classes, base + foot.classes_at)
            if zlib.crc32(raw) != foot.classes_check:
                raise FeedError("the classes of the table are damaged")
            self._classes = [
                table.decode_class(raw[at : at + table.CLASS_BYTES]) for at in range(0, len(raw), table.CLASS_BYTES)
            ]
        except (FeedError, OSError, ValueError) as error:
            raise DamagedError(str(error)) from error
        self._offsets_at = base + foot.offsets_at
        self._token_offsets_at = size - table.FOOT_BYTES - table.UNIT * ((1 << foot.token_bits) + 1)
        if foot.tokens and self._token_offsets_at < base + foot.tokens_at:
            raise DamagedError("the table is cut off")
        self._shift = table.BITS_MAX - foot.bits
        self._salted = zlib.crc32(foot.salt)

    def bucket(self, key: bytes) -> bytes:
        """The checked bucket that `key` (16 or 7 bytes) would be in; two reads of the file."""
        number = (key[0] << 16 | key[1] << 8 | key[2]) >> self._shift
        pair = os.pread(self._fd, 8, self._offsets_at + 4 * number)
        if len(pair) != 8:
            raise DamagedError("the table is cut off")
        begin, end = _PAIR.unpack(pair)
        size = (end - begin) * table.UNIT
        if not table.HEAD_BYTES <= size <= table.BUCKET_BYTES_MAX:
            raise DamagedError("an offset of the table is damaged")
        bucket = os.pread(self._fd, size, self._base + begin * table.UNIT)
        # `table.is_whole`, written out: this is the path of every look-up.
        if len(bucket) != size or zlib.crc32(bucket[4:], self._salted ^ number) != int.from_bytes(bucket[:4], "little"):
            raise DamagedError("a bucket of the table is damaged")
        return bucket

    def compact_class(self, number: int) -> Enrolment:
        """What the class of a compact entry says."""
        if number >= len(self._classes):
            raise DamagedError("a class of the table is missing")
        return self._classes[number]

    def subject_of(self, token: bytes) -> bytes | None:
        """The subject key of a token key, or its first 7 bytes; None when the token is not known."""
        if not self.foot.tokens:
            return None
        number = (token[0] << 16 | token[1] << 8 | token[2]) >> (table.BITS_MAX - self.foot.token_bits)
        return table.find_token(self._token_bucket(number), token)

    def _token_bucket(self, number: int) -> bytes:
        begin, end = _PAIR.unpack(_exactly(self._fd, 8, self._token_offsets_at + 4 * number))
        size = (end - begin) * table.UNIT
        if not table.HEAD_BYTES <= size <= table.BUCKET_BYTES_MAX:
            raise DamagedError("an offset of the table is damaged")
        bucket = _exactly(self._fd, size, self._base + self.foot.tokens_at + begin * table.UNIT)
        if not table.is_whole(bucket, self.foot.salt, number | table.TOKEN_FLAG):
            raise DamagedError("a bucket of the table is damaged")
        return bucket

    def elements(self) -> Bytes2:
        """All exact elements in order of their keys (n, 44); checks every bucket. For overlays, not for snapshots."""
        parts = [exact for exact, _ in self._gathered()]
        return np.concatenate(parts) if parts else np.zeros((0, ELEMENT_BYTES), np.uint8)

    def check(self) -> None:
        """Read every bucket once, those of tokens too: checksums, sizes and counts."""
        exact = compact = 0
        for elements, more in self._gathered():
            exact += len(elements)
            compact += more
        if (exact, compact) != (self.foot.exact, self.foot.compact):
            raise DamagedError("the table has not as many entries as it says")
        tokens = sum(map(self._tokens_in, range(1 << self.foot.token_bits))) if self.foot.tokens else 0
        if tokens != self.foot.tokens:
            raise DamagedError("the table has not as many tokens as it says")

    def _tokens_in(self, number: int) -> int:
        bucket = self._token_bucket(number)
        compact, exact = table.counts(bucket)
        if len(bucket) != table.token_bucket_size(compact, exact):
            raise DamagedError("a bucket has another size than its counts say")
        return compact + exact

    def _gathered(self) -> Any:
        """Exact elements and number of compact ones, some thousand buckets at a time."""
        buckets = 1 << self.foot.bits
        for first in range(0, buckets, _CHUNK_BUCKETS):
            many = min(_CHUNK_BUCKETS, buckets - first)
            offsets = np.frombuffer(_exactly(self._fd, 4 * (many + 1), self._offsets_at + 4 * first), "<u4")
            starts = offsets.astype(np.int64) * table.UNIT
            sizes = np.diff(starts)
            if (sizes < table.HEAD_BYTES).any() or (sizes > table.BUCKET_BYTES_MAX).any():
                raise DamagedError("an offset of the table is damaged")
            raw = _exactly(self._fd, int(starts[-1] - starts[0]), self._base + int(starts[0]))
            yield _gather(raw, (starts - starts[0]), self.foot.salt, first)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


def _exactly(fd: int, size: int, at: int) -> bytes:
    data = os.pread(fd, size, at)
    if len(data) != size:
        raise DamagedError("the table is cut off")
    return data


def _gather(raw: bytes, starts: Any, salt: bytes, first: int) -> tuple[Bytes2, int]:
    view, begin_of = memoryview(raw), starts.tolist()
    for number, (begin, end) in enumerate(itertools.pairwise(begin_of), first):
        if zlib.crc32(view[begin + 4 : end], table.start_value(salt, number)) != int.from_bytes(
            view[begin : begin + 4], "little"
        ):
            raise DamagedError("a bucket of the table is damaged")
    words = np.frombuffer(raw, "<u4")
    at = starts[:-1] // 4
    both = words[at + 1].astype(np.int64)
    exact, compact = both & 0xFFFF, both >> 16
    if (-(-(table.HEAD_BYTES + ELEMENT_BYTES * exact + 6 * compact) // 4) != np.diff(starts) // 4).any():
        raise DamagedError("a bucket has another size than its counts say")
    total = int(exact.sum())
    elements = np.zeros((total, ELEMENT_BYTES), np.uint8)
    if total:
        bucket = np.repeat(np.arange(len(at)), exact)
        rank = np.arange(total) - np.repeat(np.cumsum(exact) - exact, exact)
        keys_at = at[bucket] + 2
        keys = words[(keys_at + 4 * rank)[:, None] + np.arange(KEY_BYTES // 4)]
        states = words[(keys_at + 4 * exact[bucket] + 7 * rank)[:, None] + np.arange(STATE_BYTES // 4)]
        elements[:, :KEY_BYTES] = keys.astype("<u4").view(np.uint8)
        elements[:, KEY_BYTES:] = states.astype("<u4").view(np.uint8)
    return elements, int(compact.sum())
