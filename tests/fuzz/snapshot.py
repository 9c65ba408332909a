"""Any file is refused by name, and nothing but what a publisher signed is read from it; no bytes break a body."""

import contextlib
import io
import zlib

from gate.feed import delta, table
from gate.feed.envelope import MAGIC, PREFIX_BYTES, decode_header
from gate.feed.records import FeedError, decode_state, encode_state
from gate.sync.feedfile import RefusedError, read_header
from gate.sync.keyring import verify_signature

# A header that is one, so that what is near to it is tried as well.
_GOOD = (
    b'{"body_bytes":9,"changes":0,"content_digest":"' + b"a" * 64 + b'","count":3,"exact_count":1,"form":"SNAPSHOT",'
    b'"from_sequence":0,"from_set_digest":"' + b"0" * 64 + b'","issuer":"AKM","key_id":"k","key_scheme":"s",'
    b'"kind":"FULL","next_due_utc_s":2,"partitions":[["340100",1,[[0,"GREEN",0]]]],"pepper_id":"p",'
    b'"produced_utc_s":1,"sequence":7,"set_digest":"' + b"b" * 64 + b'","tokens":0}'
)
assert decode_header(_GOOD).sequence == 7


def _framed(header: bytes) -> bytes:
    return MAGIC + len(header).to_bytes(4, "big") + b"\0\x40" + bytes(64) + header


def fuzz(data: bytes) -> None:
    at = int.from_bytes(data[:2], "big") % len(_GOOD)
    near = _GOOD[:at] + data[3:] + _GOOD[at + (data[2] if len(data) > 2 else 0) :]
    for raw in (data, MAGIC + data, _framed(data), _framed(near)):
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
