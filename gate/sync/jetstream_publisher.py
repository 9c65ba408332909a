"""The publishing side of `nats:`: makes the stream and its buckets, and puts deltas and snapshots there.

One stream for one issuer's deltas, in order and without a gap: a delta that does not begin where the stream ends is
not published, and two publishers at once cannot fork it (the stream's last number is part of the question).
Publishing the same delta twice is harmless.

A delta larger than a message may be goes into the bucket `STREAM-deltas`, and the message names it. Refusing it
would be simpler, but the delta of a city that turns yellow is the one that must not wait for an operator, and to
raise the server's `max_payload` every leaf node between here and the stations must be raised first. The object is
written before the message, so that whoever reads the message finds it, and both are kept equally long.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import nats.errors
import nats.js.errors
from nats.js import JetStreamContext
from nats.js.api import (
    DiscardPolicy,
    ExternalStream,
    ObjectMeta,
    ObjectMetaOptions,
    RawStreamMsg,
    RetentionPolicy,
    StorageType,
    StreamConfig,
    StreamSource,
)

from gate.sync.jetstream import FROM_SEQUENCE, OBJECT, SIZE
from gate.sync.jetstream import SEQUENCE as SEQUENCE_HEADER
from gate.sync.jetstream_objects import SEQUENCE, delta_bucket, parse_meta, snapshot_bucket
from gate.sync.natslink import REQUEST_S, SYSTEM, Link, Tls, server_url
from gate.sync.source import SourceError

HEADERS_BYTES = 4096  # of a message, beside its delta; ours have 300
PART_BYTES = 128 * 1024  # NATS's own for objects
SNAPSHOTS_KEPT = 2  # the newest, and the one that stations may be fetching
_GIB = 1024**3


class PublishRefusedError(Exception):
    """The stream does not take this file; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """How much a stream keeps. A station that was cut off for longer fetches a snapshot instead."""

    max_age_s: float = 3 * 86400.0  # a long weekend; three days of deltas weigh about as much as one snapshot
    max_bytes: int = 8 * _GIB  # 4,320 deltas at 600 kB (10,000 changes of 57 B) are 2.6 GB; three times that
    duplicates_s: float = 86400.0  # a publisher that repeats itself does so within the day; an id costs 100 B
    snapshot_bytes: int = 8 * _GIB  # two kept and one being written, at 1.9 GB each, and room
    replicas: int = 1  # 3 in a cluster


STREAM_LIMITS = StreamLimits()


@dataclass(frozen=True, slots=True)
class Published:
    """Where a delta stands in the stream."""

    number: int
    duplicate: bool = False
    as_object: bool = False


async def ensure_stream(
    servers: str | list[str], stream: str, *, limits: StreamLimits = STREAM_LIMITS, tls: Tls = SYSTEM
) -> None:
    """Make the stream and its two buckets, or bring their limits up to these. Raises SourceError."""
    async with _linked(servers, tls) as link:
        for config in _configs(stream, limits):
            try:
                await link.js.add_stream(config)
            except nats.js.errors.BadRequestError:  # it is there with other limits
                await link.js.update_stream(config)


async def ensure_mirror(
    leaf: str | list[str], stream: str, hub_domain: str, *, limits: StreamLimits = STREAM_LIMITS, tls: Tls = SYSTEM
) -> None:
    """Make, on a leaf node's own JetStream, mirrors of the hub's stream and buckets: the hub sends each leaf one copy.

    A mirror does not hear of what the hub deletes, so it drops its oldest by itself. Raises SourceError.
    """
    source = ExternalStream(api=f"$JS.{hub_domain}.API")
    async with _linked(leaf, tls) as link:
        for config in _configs(stream, limits):
            config.mirror = StreamSource(name=str(config.name), external=source)
            config.subjects, config.duplicate_window, config.discard = None, 0, DiscardPolicy.OLD
            try:
                await link.js.add_stream(config)
            except nats.js.errors.BadRequestError:
                await link.js.update_stream(config)


async def publish_delta(
    servers: str | list[str], stream: str, path: Path, *, sequence: int, from_sequence: int, tls: Tls = SYSTEM
) -> Published:
    """Put a delta at the end of the stream. Raises PublishRefusedError, SourceError."""
    async with _linked(servers, tls) as link:
        return await publish_delta_on(link, stream, path, sequence=sequence, from_sequence=from_sequence)


async def publish_delta_on(link: Link, stream: str, path: Path, *, sequence: int, from_sequence: int) -> Published:
    """The same over a connection that is kept."""
    digest, size = await asyncio.to_thread(_digest, path)
    message_id = f"{sequence}-{digest[:32]}"
    last = await _last(link.js, stream)
    end = _judge(last, message_id, sequence, from_sequence)
    if end < 0:
        return Published(last.seq if last and last.seq else 0, duplicate=True)
    headers = {
        "Nats-Msg-Id": message_id,
        "Nats-Expected-Stream": stream,
        "Nats-Expected-Last-Sequence": str(end),
        SEQUENCE_HEADER: str(sequence),
        FROM_SEQUENCE: str(from_sequence),
        SIZE: str(size),
    }
    large = size + HEADERS_BYTES > link.client.max_payload
    if large:
        headers[OBJECT] = message_id
        await _put(link.js, delta_bucket(stream), message_id, path, sequence)
    body = b"" if large else await asyncio.to_thread(path.read_bytes)
    try:
        ack = await link.js.publish(_subject(stream), body, headers=headers, timeout=REQUEST_S)
    except nats.js.errors.APIError as error:
        if error.err_code != WRONG_LAST_SEQUENCE:
            raise
        raise PublishRefusedError(
            f"{path.name}: another publisher wrote to {stream} meanwhile: look, then repeat"
        ) from error
    return Published(ack.seq, bool(ack.duplicate), large)


async def publish_snapshot(
    servers: str | list[str], stream: str, path: Path, *, sequence: int, tls: Tls = SYSTEM
) -> None:
    """Put a snapshot into the stream's object store, and remove all but the newest two. Raises SourceError."""
    async with _linked(servers, tls) as link:
        bucket = snapshot_bucket(stream)
        store = await link.js.object_store(bucket)
        await _put(link.js, bucket, path.name, path, sequence)
        kept = sorted(
            (stored for info in await store.list(ignore_deletes=True) if (stored := parse_meta(_json(info.as_dict())))),
            key=lambda stored: stored.sequence,
        )
        for old in kept[:-SNAPSHOTS_KEPT]:
            await store.delete(old.name)


WRONG_LAST_SEQUENCE = 10071  # nats-server's errors.json: JSStreamWrongLastSequenceErrF


def _configs(stream: str, limits: StreamLimits) -> list[StreamConfig]:
    deltas = StreamConfig(
        name=stream,
        subjects=[_subject(stream)],
        retention=RetentionPolicy.LIMITS,  # every station reads all; none deletes for another
        storage=StorageType.FILE,
        discard=DiscardPolicy.OLD,
        max_age=limits.max_age_s,
        max_bytes=limits.max_bytes,
        duplicate_window=min(limits.duplicates_s, limits.max_age_s),
        num_replicas=limits.replicas,
        allow_direct=True,
    )
    return [
        deltas,
        _bucket(delta_bucket(stream), limits.max_bytes, limits.replicas, limits.max_age_s),
        _bucket(snapshot_bucket(stream), limits.snapshot_bytes, limits.replicas),  # without age: an old one beats none
    ]


def _bucket(name: str, max_bytes: int, replicas: int, max_age_s: float = 0) -> StreamConfig:
    """An object store's stream, as NATS ADR-20 says."""
    return StreamConfig(
        name=f"OBJ_{name}",
        subjects=[f"$O.{name}.C.>", f"$O.{name}.M.>"],
        discard=DiscardPolicy.NEW,
        storage=StorageType.FILE,
        max_age=max_age_s,
        max_bytes=max_bytes,
        num_replicas=replicas,
        allow_rollup_hdrs=True,
        allow_direct=True,
    )


def _judge(last: RawStreamMsg | None, message_id: str, sequence: int, from_sequence: int) -> int:
    """The stream's last number, to be expected; below 0 when this delta is that one. Raises PublishRefusedError."""
    if sequence <= from_sequence:
        raise PublishRefusedError(f"a delta from {from_sequence} to {sequence} leads nowhere: publish it again")
    if last is None:
        return 0
    headers = last.headers or {}
    if headers.get("Nats-Msg-Id") == message_id:
        return -1
    end = headers.get(SEQUENCE_HEADER, "")
    if end != str(from_sequence):
        raise PublishRefusedError(
            f"the stream ends at {end or 'something that is not ours'} and this delta begins at {from_sequence}: "
            f"publish what is between, or a snapshot and deltas from there into a new stream"
        )
    return last.seq or 0


async def _last(js: JetStreamContext, stream: str) -> RawStreamMsg | None:
    try:
        return await js.get_last_msg(stream, _subject(stream))
    except nats.js.errors.NotFoundError:
        return None


async def _put(js: JetStreamContext, bucket: str, name: str, path: Path, sequence: int) -> None:
    store = await js.object_store(bucket)
    options = ObjectMetaOptions(max_chunk_size=PART_BYTES)
    with path.open("rb") as file:
        await store.put(name, file, ObjectMeta(name=name, options=options, headers={SEQUENCE: [str(sequence)]}))


@contextlib.asynccontextmanager
async def _linked(servers: str | list[str], tls: Tls) -> AsyncIterator[Link]:
    """A connection to the first server that answers; JetStream's errors leave it as SourceError."""
    tried = ""
    for server in [servers] if isinstance(servers, str) else servers:
        link = Link(server_url(server))
        try:
            await link.open(tls, "gate feed publish")
        except SourceError as error:
            tried = str(error)
            continue
        try:
            yield link
        except (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError) as error:
            raise SourceError(f"{link.server}: {type(error).__name__} {error}: see the server's log") from error
        finally:
            await link.close()
        return
    raise SourceError(tried or "no server given: give nats://HOST:PORT")


def _subject(stream: str) -> str:
    return f"gate.feed.{stream}"


def _digest(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _json(told: dict[str, object]) -> bytes:
    return json.dumps(told).encode()
