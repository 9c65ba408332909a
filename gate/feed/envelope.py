"""The signed envelope of a snapshot or a delta. No files, no clock, no network.

    magic 8 | header length u32 | signature length u16 | signature | header (canonical JSON) | body

The signature is over magic and header; the header holds the SHA-256 of the body, so nothing is unsigned. Numbers in the
header are whole, so that there is one canonical form.
"""

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from gate.feed.partitions import Partition, decode_partitions, encode_partitions
from gate.feed.records import COUNT_MAX, FeedError, Kind

MAGIC = b"GATEFED2"
PREFIX_BYTES = len(MAGIC) + 6
HEADER_BYTES_MAX = 1 << 20  # 3,000 counties with two dates each have 200 kB
SIGNATURE_BYTES_MAX = 256  # Ed25519 has 64, SM2 in DER at most 72
NO_DIGEST = "0" * 64
_TEXT = re.compile(r"[A-Za-z0-9._/-]{1,64}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Form(enum.StrEnum):
    """What a file is."""

    SNAPSHOT = "SNAPSHOT"  # the whole state as of its sequence
    DELTA = "DELTA"  # what changed from one sequence to another


@dataclass(frozen=True, slots=True)
class Header:
    """What is signed: whose feed, which state of it, and the digests of body and resulting set."""

    form: str
    issuer: str
    sequence: int
    from_sequence: int  # a delta: the sequence it starts from; 0 in a snapshot
    kind: str
    produced_utc_s: int
    next_due_utc_s: int
    count: int  # subjects in the resulting set
    exact_count: int  # of these, how many are told exactly
    changes: int  # subjects that a delta changes; 0 in a snapshot
    tokens: int  # static code tokens that resolve to a subject; 0 in a delta, which brings none
    body_bytes: int  # of the body: what is longer or shorter is not read to its end
    content_digest: str  # SHA-256 of the body, hexadecimal
    from_set_digest: str  # a delta: digest of the set it starts from; zeros in a snapshot
    set_digest: str  # digest of the resulting set (`digest.py`)
    key_scheme: str
    pepper_id: str
    key_id: str
    partitions: tuple[Partition, ...]

    def encode(self) -> bytes:
        """The canonical JSON: keys sorted, no spaces, ASCII."""
        values = {name: getattr(self, name) for name in _FIELDS} | {"partitions": encode_partitions(self.partitions)}
        return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")

    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return MAGIC + self.encode()


_FIELDS: Mapping[str, Any] = {field.name: field.type for field in fields(Header)}


def encode_prefix(header: Header, signature: bytes) -> bytes:
    """Everything before the body."""
    raw = header.encode()
    return MAGIC + len(raw).to_bytes(4, "big") + len(signature).to_bytes(2, "big") + signature + raw


def lengths(prefix: bytes) -> tuple[int, int]:
    """Length of the signature and of the header, from the first `PREFIX_BYTES`. Raises FeedError."""
    if len(prefix) < PREFIX_BYTES or not prefix.startswith(MAGIC):
        raise FeedError("is not a feed file of the gate")
    header, signature = int.from_bytes(prefix[8:12], "big"), int.from_bytes(prefix[12:14], "big")
    if not 2 <= header <= HEADER_BYTES_MAX or not 0 < signature <= SIGNATURE_BYTES_MAX:
        raise FeedError(f"claims a header of {header} bytes and a signature of {signature}")
    return signature, header


def decode_header(raw: bytes) -> Header:
    """The header in its canonical JSON, and in no other form. Raises FeedError."""
    try:
        values = json.loads(raw.decode("ascii"))
    except (ValueError, RecursionError) as error:
        raise FeedError("header is not JSON") from error
    if not isinstance(values, dict) or set(values) != set(_FIELDS):
        raise FeedError(f"header has not exactly the fields {', '.join(sorted(_FIELDS))}")
    partitions = decode_partitions(values.pop("partitions"))
    header = Header(**_checked(values), partitions=partitions)
    if header.encode() != raw:
        raise FeedError("header is not in canonical form")
    return header


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    for name, value in values.items():
        kind = _FIELDS[name]
        if type(value) is not kind:
            raise FeedError(f"header field {name} has the wrong type")
        if kind is int and not 0 <= value < 1 << 63:
            raise FeedError(f"header field {name} is out of range")
        if kind is str and not (_DIGEST if name.endswith("digest") else _TEXT).fullmatch(value):
            raise FeedError(f"header field {name} is not as it must be")
    if values["form"] not in set(Form) or values["kind"] not in set(Kind):
        raise FeedError("header field form or kind is not known here: a newer publisher? update the station")
    if max(values["count"], values["changes"], values["tokens"]) > COUNT_MAX or values["exact_count"] > values["count"]:
        raise FeedError(f"header claims more than {COUNT_MAX} subjects, or more exact ones than there are")
    is_delta = values["form"] == Form.DELTA
    if is_delta != (0 < values["from_sequence"] < values["sequence"]) or is_delta != (
        values["from_set_digest"] != NO_DIGEST
    ):
        raise FeedError("header does not say from which state a delta starts, or a snapshot does")
    return values
