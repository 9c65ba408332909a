"""Builds a table (`feed/table.py`) from elements in order of their keys, a chunk of whole buckets at a time."""

import hashlib
import itertools
import zlib
from array import array
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from gate.feed import table
from gate.feed.records import ELEMENT_BYTES, KEY_BYTES, STATE_BYTES, Enrolment
from gate.feed.states import Bytes2

Numbers = npt.NDArray[np.int64]


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


class Hashing:
    """A file that also keeps the SHA-256 of what it took."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes, /) -> None:
        """Take all of `data`. Raises OSError."""
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)


def salt_of(issuer: str, sequence: int, what: str) -> bytes:
    """Makes a bucket of another issuer, state or file fail its checksum."""
    return hashlib.sha256(f"{issuer}/{sequence}/{what}".encode("ascii")).digest()[:8]


def bucket_numbers(keys: Bytes2, bits: int) -> Numbers:
    """The bucket of each key."""
    leading = (keys[:, 0].astype(np.int64) << 16) | (keys[:, 1].astype(np.int64) << 8) | keys[:, 2]
    numbers: Numbers = leading >> (table.BITS_MAX - bits)
    return numbers


def fingerprints(keys: Bytes2) -> npt.NDArray[np.uint32]:
    """The fingerprint of each key, as it lies in a bucket."""
    return np.ascontiguousarray(keys[:, table.FINGERPRINT]).view("<u4").reshape(-1)


def ambiguous(keys: Bytes2, bits: int) -> npt.NDArray[np.bool_]:
    """Which keys have bucket and fingerprint of an earlier one: they cannot be compact."""
    both = (bucket_numbers(keys, bits).astype(np.uint64) << np.uint64(32)) | fingerprints(keys)
    _, first = np.unique(both, return_index=True)
    again = np.ones(len(keys), dtype=np.bool_)
    again[first] = False
    return again


class TableWriter:
    """One table being written. Call `add` for all buckets in order, then `finish`."""

    def __init__(self, sink: Sink, bits: int, salt: bytes) -> None:
        self._sink = sink
        self._bits = bits
        self._salt = salt
        self._offsets = array("I", [0])
        self._exact = self._compact = 0

    def add(self, exact: Bytes2, compact: Bytes2, classes: npt.NDArray[np.uint16], until: int) -> None:
        """All elements of the buckets up to `until` (exclusive): exact (n, 44), keys (m, 16) with their classes."""
        first = len(self._offsets) - 1
        numbers = [bucket_numbers(rows, self._bits) - first for rows in (exact[:, :KEY_BYTES], compact)]
        many = [np.bincount(each, minlength=until - first) for each in numbers]
        sizes = -(-(table.HEAD_BYTES + ELEMENT_BYTES * many[0] + 6 * many[1]) // table.UNIT)
        if len(sizes) and int(sizes.max()) * table.UNIT > table.BUCKET_BYTES_MAX:
            raise ValueError("keys crowd in one bucket: they are no hashes")
        starts = np.concatenate([[0], np.cumsum(sizes)])
        words = np.zeros(int(starts[-1]), dtype="<u4")
        _put_counts(words, starts[:-1], many)
        _put_exact(words, starts, many[0], numbers[0], exact)
        _put_compact(words, starts, many, numbers[1], compact, classes)
        self._seal(words, starts, first)
        self._sink.write(words.tobytes())
        self._offsets.extend((starts[1:] + self._offsets[-1]).astype(np.uint32).tolist())
        self._exact += len(exact)
        self._compact += len(compact)

    def _seal(self, words: npt.NDArray[np.uint32], starts: Numbers, first: int) -> None:
        raw = memoryview(words.tobytes())
        ends = (starts * table.UNIT).tolist()
        crc32, start_value, salt = zlib.crc32, table.start_value, self._salt
        sums = [
            crc32(raw[begin + 4 : end], start_value(salt, number))
            for number, (begin, end) in enumerate(itertools.pairwise(ends), first)
        ]
        words[starts[:-1]] = sums

    def finish(self, classes: Sequence[Enrolment], tokens: "TokenBuckets | None" = None) -> table.Foot:
        """Write what follows the buckets."""
        if len(self._offsets) != (1 << self._bits) + 1:
            raise AssertionError("not all buckets were written")
        bucket_bytes = self._offsets[-1] * table.UNIT
        self._sink.write(_little(self._offsets))
        raw = b"".join(map(table.encode_class, classes))
        self._sink.write(raw)
        token_bits = tokens.bits if tokens else 0
        count = tokens.write(self._sink, self._salt) if tokens else 0
        foot = table.Foot(
            self._bits,
            token_bits,
            len(classes),
            self._exact,
            self._compact,
            count,
            bucket_bytes,
            self._salt,
            zlib.crc32(raw),
        )
        self._sink.write(foot.encode())
        return foot


def _put_counts(words: npt.NDArray[np.uint32], starts: Numbers, many: Sequence[Numbers]) -> None:
    words[starts + 1] = (many[0] | (many[1] << 16)).astype(np.uint32)


def _ranks(numbers: Numbers, many: Numbers) -> Numbers:
    """The place of each element within its bucket; elements come bucket by bucket."""
    before = np.concatenate([[0], np.cumsum(many)[:-1]])
    ranks: Numbers = np.arange(len(numbers)) - before[numbers]
    return ranks


def _put_exact(words: npt.NDArray[np.uint32], starts: Numbers, many: Numbers, numbers: Numbers, exact: Bytes2) -> None:
    if not len(exact):
        return
    ranks = _ranks(numbers, many)
    keys = np.ascontiguousarray(exact[:, :KEY_BYTES]).view("<u4")
    states = np.ascontiguousarray(exact[:, KEY_BYTES:]).view("<u4")
    at = starts[numbers] + 2
    words[(at + 4 * ranks)[:, None] + np.arange(KEY_BYTES // 4)] = keys
    at += 4 * many[numbers]
    words[(at + 7 * ranks)[:, None] + np.arange(STATE_BYTES // 4)] = states


def _put_compact(
    words: npt.NDArray[np.uint32],
    starts: Numbers,
    many: Sequence[Numbers],
    numbers: Numbers,
    compact: Bytes2,
    classes: npt.NDArray[np.uint16],
) -> None:
    if not len(compact):
        return
    ranks = _ranks(numbers, many[1])
    at = starts[numbers] + 2 + ELEMENT_BYTES // 4 * many[0][numbers]
    words[at + ranks] = fingerprints(compact)
    words.view("<u2")[2 * (at + many[1][numbers]) + ranks] = classes


def _little(offsets: "array[int]") -> bytes:
    return np.asarray(offsets, dtype="<u4").tobytes()


class TokenBuckets(Protocol):
    """Static code tokens on their way into a table."""

    @property
    def bits(self) -> int:
        """Leading bits of a token's key that number its bucket."""

    def write(self, sink: Sink, salt: bytes) -> int:
        """Write buckets and offsets; how many tokens that are."""


def write_overlay(sink: Sink, elements: Bytes2, salt: bytes) -> table.Foot:
    """A whole table of exact elements in order of their keys."""
    bits = table.bits_for(len(elements), 0)
    writer = TableWriter(sink, bits, salt)
    nobody = np.zeros((0, KEY_BYTES), np.uint8)
    writer.add(elements, nobody, np.zeros(0, np.uint16), 1 << bits)
    return writer.finish(())


def chunks(bits: int, parts: int) -> Iterator[int]:
    """Where the buckets of each of `parts` equal ranges of keys end."""
    return (((part + 1) << bits) // parts for part in range(parts))
