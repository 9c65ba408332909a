"""The digest of a set of states that can be kept up to date: the sum of SHA-256 of its elements, modulo 2^256.

Order does not matter, adding and taking away cost one hash each, and two sides that started from one snapshot and
took the same changes have the same sum. It finds lost, doubled, reordered and diverged changes. It is not a proof
against a publisher who forges: who may choose all elements can, with Wagner's generalised birthday attack (2002),
find sets of equal sum in far less than 2^128 steps. Nobody else may choose them: every file is signed over its
SHA-256 as well.
"""

import hashlib
from collections.abc import Iterable

from gate.feed.records import ABSENT, KEY_BYTES

_MODULO = 1 << 256
_PARTITIONS = b"partitions\0"  # sets the partition table apart from elements, whose length is another


class SetDigest:
    """A running sum. `hexadecimal` is what headers carry."""

    __slots__ = ("_sum",)

    def __init__(self, hexadecimal: str = "0" * 64) -> None:
        self._sum = int(hexadecimal, 16)

    def add(self, elements: Iterable[bytes]) -> None:
        """Elements (key and state) that are in the set from now on; absent states add nothing."""
        self._sum = (self._sum + _sum(elements)) % _MODULO

    def remove(self, elements: Iterable[bytes]) -> None:
        """Elements that were in the set until now."""
        self._sum = (self._sum - _sum(elements)) % _MODULO

    def add_partitions(self, canonical: bytes) -> None:
        """The partition table, as its canonical bytes."""
        self._sum = (self._sum + _hash(_PARTITIONS + canonical)) % _MODULO

    def remove_partitions(self, canonical: bytes) -> None:
        """The partition table that was in force until now."""
        self._sum = (self._sum - _hash(_PARTITIONS + canonical)) % _MODULO

    @property
    def hexadecimal(self) -> str:
        """64 digits."""
        return f"{self._sum:064x}"


def _hash(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest(), "big")


def _sum(elements: Iterable[bytes]) -> int:
    sha256, number = hashlib.sha256, int.from_bytes  # found once: this loop is the cost of a delta
    return sum(number(sha256(e).digest(), "big") for e in elements if e[KEY_BYTES:] != ABSENT)
