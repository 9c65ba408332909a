"""A snapshot file read in bounded memory and believed in nothing before it is verified."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gate.feed.ledger import Refusal
from gate.feed.records import (
    ENTRY_BYTES,
    KEY_SCHEME,
    PREFIX_BYTES,
    SnapshotError,
    SnapshotHeader,
    decode_entry,
    decode_header,
    header_length,
)
from gate.sync.keyring import PublicKey, verify_signature

_CHUNK_ENTRIES = 4096  # 128 KiB a read: large enough for the disk, small for memory


class SnapshotRefusedError(Exception):
    """A file is not applied. `why` is its name, the text explains; neither quotes an entry."""

    def __init__(self, why: Refusal, text: str = "") -> None:
        super().__init__(f"{why}: {text}" if text else str(why))
        self.why = why


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose snapshots are believed: one issuer, its keys and the peppers we hold."""

    issuer: str
    keys: dict[str, PublicKey]
    pepper_ids: frozenset[str]


@dataclass(slots=True)
class OpenSnapshot:
    """A snapshot whose header is verified; its entries are verified while they are read."""

    header: SnapshotHeader
    _file: BinaryIO = field(repr=False)

    def entries(self) -> Iterator[bytes]:
        """Raw entries in order. Raises SnapshotRefusedError when they are not exactly what was signed."""
        digest = hashlib.sha256()
        last = b""
        left = self.header.count
        while left:
            chunk = self._file.read(min(left, _CHUNK_ENTRIES) * ENTRY_BYTES)
            if not chunk or len(chunk) % ENTRY_BYTES:
                raise SnapshotRefusedError(Refusal.TRUNCATED, "the file ends before its last entry")
            digest.update(chunk)
            for at in range(0, len(chunk), ENTRY_BYTES):
                raw = chunk[at : at + ENTRY_BYTES]
                if raw[:16] <= last:
                    raise SnapshotRefusedError(Refusal.UNSORTED, "entries are not in order of their keys")
                last = raw[:16]
                yield raw
            left -= len(chunk) // ENTRY_BYTES
        if self._file.read(1):
            raise SnapshotRefusedError(Refusal.TRAILING_BYTES, "the file goes on after its last entry")
        if digest.hexdigest() != self.header.content_digest:
            raise SnapshotRefusedError(Refusal.ALTERED, "the entries are not those that were signed")


def open_snapshot(file: BinaryIO, trust: Trust) -> OpenSnapshot:
    """Read and verify the header. Raises SnapshotRefusedError."""
    header, signature = read_header(file)
    if header.issuer != trust.issuer:
        raise SnapshotRefusedError(Refusal.WRONG_ISSUER, f"it is of {header.issuer}, expected {trust.issuer}")
    refusal = verify_signature(trust.keys, header, signature)
    if refusal:
        raise SnapshotRefusedError(refusal, f"key {header.key_id!r}")
    if header.key_scheme != KEY_SCHEME:
        raise SnapshotRefusedError(Refusal.UNKNOWN_SCHEME, f"{header.key_scheme!r}: update the station")
    if header.pepper_id not in trust.pepper_ids:
        raise SnapshotRefusedError(Refusal.UNKNOWN_PEPPER, f"{header.pepper_id!r}: install the new pepper file")
    return OpenSnapshot(header, file)


def read_header(file: BinaryIO) -> tuple[SnapshotHeader, bytes]:
    """The header, unverified, and its signature. Raises SnapshotRefusedError."""
    try:
        length, signature = header_length(file.read(PREFIX_BYTES))
        raw = file.read(length)
        if len(raw) < length:
            raise SnapshotRefusedError(Refusal.TRUNCATED, "the file ends in its header")
        return decode_header(raw), signature
    except SnapshotError as error:
        raise SnapshotRefusedError(Refusal.NOT_A_SNAPSHOT, str(error)) from error


def verify(path: Path, trust: Trust) -> SnapshotHeader:
    """Check a whole file as the station would. Raises SnapshotRefusedError, OSError."""
    with path.open("rb") as file:
        snapshot = open_snapshot(file, trust)
        for raw in snapshot.entries():
            try:
                decode_entry(raw)
            except SnapshotError as error:
                raise SnapshotRefusedError(Refusal.BAD_ENTRY, str(error)) from error
        return snapshot.header
