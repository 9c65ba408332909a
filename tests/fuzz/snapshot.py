"""Any file is refused by name, and nothing but what a publisher signed is read from it."""

import contextlib
import io

from gate.sync.snapshot import SnapshotRefusedError, Trust, open_snapshot, read_header

from gate.feed.records import SnapshotError, decode_entry

_MAGIC = b"GATESNP1"


def fuzz(data: bytes) -> None:
    for raw in (data, _MAGIC + data, _MAGIC + len(data).to_bytes(4, "big") + bytes(64) + data):
        try:
            header, signature = read_header(io.BytesIO(raw))
        except SnapshotRefusedError:
            continue
        assert len(signature) == 64
        assert raw.startswith(_MAGIC)
        try:
            open_snapshot(io.BytesIO(raw), Trust(header.issuer, {}, frozenset({header.pepper_id})))
        except SnapshotRefusedError:
            continue
        raise AssertionError("unsigned and believed")
    with contextlib.suppress(SnapshotError):
        assert decode_entry(data[:32]).encode() == data[:32]
