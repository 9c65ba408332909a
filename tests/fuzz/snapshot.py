"""Any file is refused by name, and nothing but what a publisher signed is read from it; no bytes break a body."""

import contextlib
import io
import zlib

from gate.feed import delta, table
from gate.feed.envelope import MAGIC, PREFIX_BYTES, decode_header
from gate.feed.records import FeedError, decode_state, encode_state
from gate.sync.feedfile import RefusedError, read_header
from gate.sync.keyring import verify_signature


def fuzz(data: bytes) -> None:
    framed = MAGIC + len(data).to_bytes(4, "big") + b"\0\x40" + bytes(64) + data
    for raw in (data, MAGIC + data, framed):
        try:
            header, signature = read_header(io.BytesIO(raw))
        except RefusedError:
            continue
        assert raw.startswith(MAGIC)
        assert header.encode() in raw[PREFIX_BYTES + len(signature) :]
        assert decode_header(header.encode()) == header
        assert verify_signature({}, header, signature) is not None, "unsigned and believed"
    _bodies(data)


def _bodies(data: bytes) -> None:
    many = len(data) // 72
    for body in (data, zlib.compress(data[: 72 * many])):
        with contextlib.suppress(FeedError):
            assert len(delta.decode(body, many).keys) == many
    with contextlib.suppress(FeedError):
        assert encode_state(decode_state(bytes(16), data[:28])) == data[:28]
    with contextlib.suppress(FeedError):
        assert table.decode_foot(data[-64:]).encode() == data[-64:]
    with contextlib.suppress(FeedError):
        assert table.encode_class(table.decode_class(data[:8])) == data[:8]
    with contextlib.suppress(FeedError):
        assert len(table.entries(data)) == table.counts(data)[0]
