"""What an issuer publishes, as bytes and as values: snapshots of status entries. No files, no clock, no network.

A snapshot file is

    magic 8 | header length u32 | signature 64 | header (JSON, canonical) | entries, 32 bytes each, sorted by key

Ed25519 signs magic and header; the header holds the SHA-256 of all entries, so nothing is unsigned. Numbers in the
header are whole, so that there is one canonical form. An entry:

    subject key 16 | status u8 | reason u8 | asserted by u32 | effective u32 | valid until u32 (0: no end) | 0 u16
"""

import enum
import json
import re
import struct
from dataclasses import asdict, dataclass, field, fields
from typing import Any

MAGIC = b"GATESNP1"
KEY_SCHEME = "gate/subject/1"  # how subject keys are made: contract.md, "Subject key"
KEY_BYTES = 16
ENTRY_BYTES = 32
SIGNATURE_BYTES = 64
HEADER_BYTES_MAX = 4096  # a header of ours has 400; more is not ours
PREFIX_BYTES = len(MAGIC) + 4 + SIGNATURE_BYTES
COUNT_MAX = 300_000_000  # the Delta's 235.2 million people (operations.md 2.3), with room for visitors
_ENTRY = struct.Struct(">16sBBIIIH")


class CredentialStatus(enum.StrEnum):
    """The field's colours and its honest "don't know"s (health-codes.md (a)); no vendor's numbers."""

    GREEN = "GREEN"
    YELLOW = "YELLOW"
    RED = "RED"
    GREEN_PENDING = "GREEN_PENDING"
    IN_REVIEW = "IN_REVIEW"
    GREY = "GREY"
    NOT_CLAIMED = "NOT_CLAIMED"
    UNKNOWN = "UNKNOWN"


# Numbers in our own files only; 0 is none of them, so that zeroed bytes are an error and no status.
_NUMBER = {
    CredentialStatus.GREEN: 1,
    CredentialStatus.YELLOW: 2,
    CredentialStatus.RED: 3,
    CredentialStatus.GREEN_PENDING: 4,
    CredentialStatus.IN_REVIEW: 5,
    CredentialStatus.GREY: 6,
    CredentialStatus.NOT_CLAIMED: 7,
    CredentialStatus.UNKNOWN: 8,
}
_STATUS = {number: status for status, number in _NUMBER.items()}


class SnapshotError(ValueError):
    """Bytes are not a snapshot of ours; the text says what is wrong, never quoting entries."""


class Kind(enum.StrEnum):
    """What absence from a feed means."""

    FULL = "FULL"  # everybody whom the issuer has enrolled


@dataclass(frozen=True, slots=True)
class StatusEntry:
    """What an issuer says of one subject."""

    subject_key: bytes = field(repr=False)
    status: CredentialStatus
    asserted_by: str  # GB/T 2260, six digits: the authority that set the status
    effective_utc_s: int
    valid_until_utc_s: int | None = None  # None: until changed
    reason: int = 0  # the issuer's reason code, 0-255; 0: none given

    def encode(self) -> bytes:
        """The 32 bytes of this entry."""
        until = self.valid_until_utc_s or 0
        return _ENTRY.pack(
            self.subject_key,
            _NUMBER[self.status],
            self.reason,
            int(self.asserted_by),
            self.effective_utc_s,
            until,
            0,
        )


def decode_entry(raw: bytes) -> StatusEntry:
    """The entry in 32 bytes. Raises SnapshotError."""
    if len(raw) != ENTRY_BYTES:
        raise SnapshotError("an entry is cut off")
    key, number, reason, asserted_by, effective, until, rest = _ENTRY.unpack(raw)
    status = _STATUS.get(number)
    if status is None or asserted_by > 999_999 or rest:
        raise SnapshotError("an entry holds values that no publisher of ours writes")
    return StatusEntry(key, status, f"{asserted_by:06d}", effective, until or None, reason)


@dataclass(frozen=True, slots=True)
class SnapshotHeader:
    """What is signed: whose feed, which state of it, and the digest of all entries."""

    issuer: str
    sequence: int
    kind: str
    produced_utc_s: int
    next_due_utc_s: int
    count: int
    content_digest: str  # SHA-256 of all entries, hexadecimal
    key_scheme: str
    pepper_id: str
    key_id: str

    def encode(self) -> bytes:
        """The canonical JSON: keys sorted, no spaces, ASCII."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return MAGIC + self.encode()


def encode_prefix(header: SnapshotHeader, signature: bytes) -> bytes:
    """Everything before the entries."""
    raw = header.encode()
    return MAGIC + struct.pack(">I", len(raw)) + signature + raw


def header_length(prefix: bytes) -> tuple[int, bytes]:
    """Length of the header and the signature, from the first `PREFIX_BYTES`. Raises SnapshotError."""
    if len(prefix) < PREFIX_BYTES or not prefix.startswith(MAGIC):
        raise SnapshotError("is not a snapshot of the gate")
    length = int.from_bytes(prefix[len(MAGIC) : len(MAGIC) + 4], "big")
    if not 2 <= length <= HEADER_BYTES_MAX:
        raise SnapshotError(f"claims a header of {length} bytes; at most {HEADER_BYTES_MAX} are allowed")
    return length, prefix[len(MAGIC) + 4 : PREFIX_BYTES]


def decode_header(raw: bytes) -> SnapshotHeader:
    """The header in its canonical JSON, and in no other form. Raises SnapshotError."""
    try:
        values = json.loads(raw.decode("ascii"))
    except ValueError as error:
        raise SnapshotError("header is not JSON") from error
    if not isinstance(values, dict):
        raise SnapshotError("header is not a JSON object")
    header = SnapshotHeader(**_checked(values))
    if header.encode() != raw:
        raise SnapshotError("header is not in canonical form")
    return header


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    wanted = {f.name: f.type for f in fields(SnapshotHeader)}
    if set(values) != set(wanted):
        raise SnapshotError(f"header has not exactly the fields {', '.join(sorted(wanted))}")
    for name, kind in wanted.items():
        if type(values[name]) is not kind:
            raise SnapshotError(f"header field {name} has the wrong type")
        if kind is int and not 0 <= values[name] < 1 << 63:
            raise SnapshotError(f"header field {name} is out of range")
    if values["kind"] not in set(Kind):
        raise SnapshotError("header field kind is not FULL: a newer publisher? update the station")
    if not re.fullmatch(r"[0-9a-f]{64}", values["content_digest"]):
        raise SnapshotError("header field content_digest is not a SHA-256")
    if values["count"] > COUNT_MAX:
        raise SnapshotError(f"header claims more than {COUNT_MAX} entries")
    return values
