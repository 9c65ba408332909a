"""The `nats:` source against a real nats-server that is killed, restarted, and published to wrongly."""

import asyncio
import contextlib
import functools
import hashlib
import os
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import nats
import pytest

from gate.sync.jetstream import FROM_SEQUENCE, SEQUENCE, JetStreamSource, Limits
from gate.sync.jetstream_publisher import (
    PublishRefusedError,
    StreamLimits,
    ensure_mirror,
    ensure_stream,
    publish_delta,
    publish_snapshot,
)
from gate.sync.natslink import Tls, Window, heed_cancel, parse_address, server_url
from gate.sync.source import Entry, Form, Outcome, SourceError
from tests.rpc.certificates import authority
from tests.support.nats import SERVER, WHY_NOT, NatsServer, free_port, nats_server
from tests.sync.test_https import Site, serving

pytestmark = pytest.mark.skipif(SERVER is None, reason=WHY_NOT)

STREAM = "AKM"
SMALL = StreamLimits(max_bytes=2**28, snapshot_bytes=2**28)
QUICK = Limits(
    retry_first_s=0.02,
    retry_most_s=0.2,
    ack_wait_s=1.0,
    later_s=0.2,
    window=Window(16, 16 * 1024 * 1024, expires_s=4.0, heartbeat_s=0.5),
    first_s=3.0,
    snapshots_s=0.2,
)


def with_server(story: Callable[[NatsServer], Awaitable[None]]) -> Callable[[Path], None]:
    """A test that is told as a story around a running server."""

    @functools.wraps(story)
    def test(tmp_path: Path) -> None:
        async def told() -> None:
            async with asyncio.timeout(60), nats_server(tmp_path) as server:
                await make(server)
                await story(server)

        asyncio.run(told())

    del test.__wrapped__  # type: ignore[attr-defined] - pytest would ask for its arguments
    return test


async def make(server: NatsServer) -> None:
    await ensure_stream(server.url, STREAM, limits=replace(SMALL, max_age_s=3600.0))  # as an older release might have
    await ensure_stream(server.url, STREAM, limits=SMALL)


async def publish(server: NatsServer, sequence: int, body: bytes = b"") -> bytes:
    body = body or b"delta %d" % sequence
    path = server.folder / f"akm-{sequence}.delta"
    path.write_bytes(body)
    await publish_delta(server.url, STREAM, path, sequence=sequence, from_sequence=sequence - 1)
    return body


def source(server: NatsServer, station: str = "east", limits: Limits = QUICK) -> JetStreamSource:
    return JetStreamSource(f"{server.url}/{STREAM}", server.folder / station, station, limits=limits)


async def until(one: JetStreamSource, wanted: Callable[[list[Entry]], bool], seconds: float = 15.0) -> list[Entry]:
    """The catalogue as soon as it is as wanted; a failing source is asked again, as the worker does."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                await one.changed()
                entries = sorted(await one.catalogue(), key=lambda entry: (entry.form, entry.sequence))
            except SourceError:
                continue
            if wanted(entries):
                return entries


def sequences(*numbers: int) -> Callable[[list[Entry]], bool]:
    return lambda entries: [entry.sequence for entry in entries if entry.form is Form.DELTA] == list(numbers)


async def pending(server: NatsServer, station: str = "east") -> tuple[int, int]:
    """What the server holds against a station: delivered and not acknowledged, not yet delivered."""
    client = await nats.connect(server.url)
    try:
        info = await client.jetstream().consumer_info(STREAM, station)
        return info.num_ack_pending or 0, info.num_pending or 0
    finally:
        await client.close()


async def until_pending(server: NatsServer, wanted: tuple[int, int], station: str = "east") -> None:
    async with asyncio.timeout(10):
        while await pending(server, station) != wanted:
            await asyncio.sleep(0.02)


@with_server
async def test_deltas_come_in_order_and_are_acknowledged_only_after_settled(server: NatsServer) -> None:
    """A fetched delta is the published bytes; it is pending at the server until TAKEN, and never offered again."""
    one = source(server)
    bodies = [await publish(server, number) for number in (1, 2, 3)]
    entries = await until(one, sequences(1, 2, 3))
    assert [entry.from_sequence for entry in entries] == [0, 1, 2]
    for entry, body in zip(entries, bodies, strict=True):
        path = await one.fetch(entry)
        assert path.read_bytes() == body
        assert entry.size == len(body)
    await until_pending(server, (3, 0))
    await one.settled(entries[0], Outcome.TAKEN)
    await until_pending(server, (2, 0))
    await one.settled(entries[1], Outcome.TAKEN)
    await one.settled(entries[2], Outcome.TAKEN)
    await until_pending(server, (0, 0))
    assert [entry for entry in await one.catalogue() if entry.form is Form.DELTA] == []
    assert list((server.folder / "east").glob("*.fetched")) == []
    await one.close()


@with_server
async def test_what_was_not_settled_comes_again_to_the_next_process(server: NatsServer) -> None:
    """A process that dies with an unsettled delta leaves it to its successor; a settled one is not offered again."""
    dead = source(server)
    await publish(server, 1)
    body = await publish(server, 2)
    first, _ = await until(dead, sequences(1, 2))
    await dead.settled(first, Outcome.TAKEN)
    await until_pending(server, (1, 0))
    assert dead._link is not None
    dead._link.client._transport.close()  # no good-bye: as kill -9 leaves a connection
    heir = source(server)
    (entry,) = await until(heir, sequences(2))
    assert (await heir.fetch(entry)).read_bytes() == body
    await heir.close()


@with_server
async def test_close_gives_unsettled_deltas_back_at_once(server: NatsServer) -> None:
    """An orderly restart does not wait for `ack_wait_s`, here an hour."""
    patient = replace(QUICK, ack_wait_s=3600.0)
    before = source(server, limits=patient)
    await publish(server, 1)
    await until(before, sequences(1))
    await before.close()
    after = source(server, limits=patient)
    await until(after, sequences(1))
    await after.close()


@with_server
async def test_a_redelivery_is_held_once_and_its_newest_delivery_is_acknowledged(server: NatsServer) -> None:
    """A delta that is not settled in time comes again: still one entry, and TAKEN settles it for good."""
    one = source(server)
    await publish(server, 1)
    (entry,) = await until(one, sequences(1))
    async with asyncio.timeout(10):
        while next(iter(one._held.values())).message.metadata.num_delivered < 3:
            await one.changed()
            await one.catalogue()
    assert await one.catalogue() == [entry]
    await one.settled(entry, Outcome.TAKEN)
    await until_pending(server, (0, 0))
    await one.close()


@with_server
async def test_refused_never_returns_and_later_returns(server: NatsServer) -> None:
    """REFUSED ends a delta for this station although others still read it; LATER brings it again after its wait."""
    one, other = source(server), source(server, "west")
    await publish(server, 1)
    await publish(server, 2)
    bad, late = await until(one, sequences(1, 2))
    await one.settled(bad, Outcome.REFUSED)
    path = await one.fetch(late)
    path.rename(path.with_suffix(".moved"))  # the worker moves files into its store
    await one.settled(late, Outcome.LATER)
    await until(one, lambda entries: entries == [late] and path.exists())
    assert (await one.fetch(late)).read_bytes() == b"delta 2"
    await one.settled(late, Outcome.TAKEN)
    await until_pending(server, (0, 0))
    await until(other, sequences(1, 2))
    await one.close()
    await other.close()


@with_server
async def test_taking_a_later_state_settles_what_leads_there(server: NatsServer) -> None:
    """A snapshot at 3 acknowledges deltas 1 to 3, which would fill `pending` for ever; 4 stays."""
    one = source(server)
    for number in (1, 2, 3, 4):
        await publish(server, number)
    await until(one, sequences(1, 2, 3, 4))
    await one.settled(Entry("any", Form.SNAPSHOT, 3), Outcome.TAKEN)
    assert [entry.sequence for entry in await one.catalogue()] == [4]
    await until_pending(server, (1, 0))
    await one.close()


@with_server
async def test_two_stations_each_get_everything(server: NatsServer) -> None:
    """A durable consumer is a station's own: what one takes, the other still gets."""
    east, west = source(server), source(server, "west")
    await publish(server, 1)
    (entry,) = await until(east, sequences(1))
    await east.settled(entry, Outcome.TAKEN)
    await until_pending(server, (0, 0))
    await publish(server, 2)
    await until(west, sequences(1, 2))
    await until(east, sequences(2))
    await east.close()
    await west.close()


@with_server
async def test_a_killed_server_loses_nothing(server: NatsServer) -> None:
    """kill -9 under a subscriber, three times: said each time; every delta is taken, some twice, harmlessly."""
    one = source(server)
    taken: list[int] = []
    for number in (1, 2, 3):
        await publish(server, number)
        await take_all(server, one, taken, number)
        server.kill()
        with pytest.raises(SourceError, match="connection is gone"):
            async with asyncio.timeout(10):
                await one.changed()
        with pytest.raises(SourceError, match="is the server up"):
            await one.changed()
        await server.start()
    await publish(server, 4)
    await take_all(server, one, taken, 4)
    assert [number for at, number in enumerate(taken) if number not in taken[:at]] == [1, 2, 3, 4]
    await one.close()


@with_server
async def test_an_acknowledgement_that_is_lost_costs_one_more_delivery(server: NatsServer) -> None:
    """A delta that is settled while the server is down comes again, the same entry, and is settled then."""
    one = source(server)
    await publish(server, 1)
    (entry,) = await until(one, sequences(1))
    server.kill()
    with pytest.raises(SourceError):
        async with asyncio.timeout(10):
            await one.changed()
    await one.settled(entry, Outcome.TAKEN)
    await server.start()
    (again,) = await until(one, sequences(1))
    assert again == entry
    await one.settled(again, Outcome.TAKEN)
    await until_pending(server, (0, 0))
    await one.close()


async def take_all(server: NatsServer, one: JetStreamSource, taken: list[int], last: int) -> None:
    """Take whatever is offered, as a worker does that may hold it already, until `last` came and nothing is pending."""
    async with asyncio.timeout(15):
        while last not in taken or await pending(server) != (0, 0):
            with contextlib.suppress(SourceError, TimeoutError):
                async with asyncio.timeout(0.3):
                    await one.changed()
            for entry in sorted(await one.catalogue(), key=lambda entry: entry.sequence):
                await one.fetch(entry)
                await one.settled(entry, Outcome.TAKEN)
                taken.append(entry.sequence)


@with_server
async def test_a_server_that_falls_silent_is_noticed(server: NatsServer) -> None:
    """A frozen server closes nothing: two missed signs of life end the connection, and deltas go on after it thaws."""
    one = source(server)
    await one.changed()
    server.pause()
    with pytest.raises(SourceError, match="no sign of life"):
        async with asyncio.timeout(10):
            await one.changed()
    server.resume()
    await publish(server, 1)
    await until(one, sequences(1))
    await one.close()


@with_server
async def test_a_wait_can_be_given_up_at_any_moment(server: NatsServer) -> None:
    """Cancelled after each number of steps of the loop, `changed` ends, and nothing is lost. nats-py swallows some."""
    one = source(server)
    for steps in range(150):
        waiting = asyncio.create_task(one.changed())
        for _ in range(steps):
            await asyncio.sleep(0)
        waiting.cancel()
        done, _ = await asyncio.wait([waiting], timeout=5)
        assert done, f"still waiting, cancelled after {steps} steps"
        if steps % 10 == 0 and one._link:
            await one._link.close()  # so that connecting is given up at many moments, too
    await publish(server, 1)
    await until(one, sequences(1))
    await one.close()
    connections = await asyncio.to_thread(server.varz, "connz")
    assert [each for each in connections["connections"] if each["name"] == "gate east"] == []


@with_server
async def test_snapshots_by_http_beside_deltas_by_nats(server: NatsServer) -> None:
    """`?snapshots=` names another place for snapshots; when nobody is there, deltas come all the same."""
    async with serving(Site()) as site:
        site.put("akm-1.snapshot", b"snapshot", 1, "SNAPSHOT")
        site.put("akm-2.delta", b"not from here", 2)
        address = f"{server.url}/{STREAM}?snapshots={site.url}"
        one = JetStreamSource(address, server.folder / "east", "east", limits=QUICK)
        await publish(server, 1)
        delta, snapshot = await until(one, lambda found: len(found) == 2)
        assert (delta.form, snapshot.form) == (Form.DELTA, Form.SNAPSHOT)
        assert (await one.fetch(snapshot)).read_bytes() == b"snapshot"
        await one.settled(snapshot, Outcome.TAKEN)
        await until_pending(server, (0, 0))
        await one.close()
    away = JetStreamSource(address, server.folder / "west", "west", limits=QUICK)
    (entry,) = await until(away, sequences(1))
    await away.settled(entry, Outcome.TAKEN)
    await publish(server, 2)
    await until(away, sequences(2), seconds=3)
    await away.close()


@with_server
async def test_deltas_wait_for_a_station_that_is_away(server: NatsServer) -> None:
    """More deltas than one pull brings are there in the first catalogue, and never more than `pending` are held."""
    few = replace(QUICK, pending=20, window=replace(QUICK.window, messages=8))
    for number in range(1, 31):
        await publish(server, number)
    one = source(server, limits=few)
    await one.changed()
    entries = sorted(await one.catalogue(), key=lambda entry: entry.sequence)
    assert [entry.sequence for entry in entries] == list(range(1, 21))
    await one.settled(entries[-1], Outcome.TAKEN)
    await until(one, sequences(*range(21, 31)))
    await one.close()


@with_server
async def test_a_delta_larger_than_a_message_comes_through_the_object_store(server: NatsServer) -> None:
    """3 MB with a server that allows 1 MB a message: the same bytes arrive, under their own name and size."""
    body = os.urandom(3_000_000)
    await publish(server, 1, body)
    one = source(server)
    (entry,) = await until(one, sequences(1))
    assert entry.size == len(body)
    path = await one.fetch(entry)
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(body).digest()
    await one.settled(entry, Outcome.TAKEN)
    assert not path.exists()
    await one.close()


@with_server
async def test_a_stream_that_was_made_anew_is_not_mixed_with_the_old(server: NatsServer) -> None:
    """Message 1 of another stream of the same name is another delta, although a delta of that number is held."""
    one = source(server)
    await publish(server, 1, b"old")
    (old,) = await until(one, sequences(1))
    client = await nats.connect(server.url)
    await client.jetstream().delete_stream(STREAM)
    await client.close()
    await make(server)
    await publish(server, 1, b"new")
    (new,) = await until(one, lambda entries: bool(entries) and entries[0].name != old.name)
    assert (await one.fetch(new)).read_bytes() == b"new"
    with pytest.raises(SourceError, match="not waiting any more"):
        await one.fetch(old)
    await one.close()


@with_server
async def test_foreign_messages_are_left_out(server: NatsServer) -> None:
    """Messages without our headers, or with nonsense in them, neither stop the source nor come up."""
    client = await nats.connect(server.url)
    stream = client.jetstream()
    await stream.publish(f"gate.feed.{STREAM}", b"hello")
    for sequence in ("-1", "1e3", "9" * 40, "\u0663"):
        headers = {SEQUENCE: sequence.encode().decode("unicode_escape"), FROM_SEQUENCE: "0"}
        await stream.publish(f"gate.feed.{STREAM}", b"?", headers=headers)
    await stream.publish(f"gate.feed.{STREAM}", b"good", headers={SEQUENCE: "1", FROM_SEQUENCE: "0"})
    await client.close()
    one = source(server)
    (entry,) = await until(one, sequences(1))
    assert (await one.fetch(entry)).read_bytes() == b"good"
    await one.close()


@with_server
async def test_snapshots_are_objects_and_the_newest_two_are_kept(server: NatsServer) -> None:
    """Of three published snapshots two are offered; a new one wakes the source; a refused one is not offered again."""
    one = source(server)
    for number in (1, 2, 3):
        path = server.folder / f"akm-{number}.snapshot"
        path.write_bytes(b"%d" % number * 300_000)
        await publish_snapshot(server.url, STREAM, path, sequence=number)
    entries = await until(one, lambda found: [entry.sequence for entry in found] == [2, 3])
    assert {entry.form for entry in entries} == {Form.SNAPSHOT}
    assert entries[1].name.startswith("akm-3.snapshot@")
    fetched = await one.fetch(entries[1])
    assert fetched.read_bytes() == b"3" * 300_000
    await one.settled(entries[1], Outcome.TAKEN)
    assert not fetched.exists()
    await one.settled(entries[0], Outcome.REFUSED)
    assert [entry.sequence for entry in await one.catalogue()] == [3]
    path = server.folder / "akm-4.snapshot"
    path.write_bytes(b"4")
    await publish_snapshot(server.url, STREAM, path, sequence=4)
    await until(one, lambda found: [entry.sequence for entry in found] == [3, 4])
    await one.close()


@with_server
async def test_an_object_is_read_on_where_the_server_was_killed(server: NatsServer) -> None:
    """A 40 MB snapshot, cut by kill -9 in the middle: the second fetch begins after the parts that came."""
    body = os.urandom(40_000_000)
    path = server.folder / "akm-1.snapshot"
    path.write_bytes(body)
    await publish_snapshot(server.url, STREAM, path, sequence=1)
    one = source(server)
    (entry,) = await until(one, lambda found: len(found) == 1)
    reading = asyncio.create_task(one.fetch(entry))
    reader = one._snapshots._reader  # type: ignore[attr-defined]
    async with asyncio.timeout(10):
        while not (reader._partial and reader._partial.parts > 20):
            await asyncio.sleep(0)
    server.kill()
    with pytest.raises(SourceError):
        await reading
    kept = reader._partial.parts
    assert 20 < kept < 306
    await server.start()
    await until(one, lambda found: found == [entry])
    client = await nats.connect(server.url)
    got = asyncio.Event()
    asked: list[bytes] = []

    async def hear(message: nats.aio.msg.Msg) -> None:
        asked.append(message.data)
        got.set()

    await client.subscribe("$JS.API.CONSUMER.CREATE.OBJ_AKM-snapshots", cb=hear)
    await client.flush()
    whole = await one.fetch(entry)
    assert whole.read_bytes() == body
    await asyncio.wait_for(got.wait(), 5)
    start = re.search(rb'"opt_start_seq": (\d+)', asked[0])
    assert start
    assert int(start[1]) > kept
    await client.close()
    await one.close()


@with_server
async def test_a_damaged_object_is_not_handed_on(server: NatsServer) -> None:
    """An object whose bytes are not those of its digest raises, names the object, and leaves no file."""
    path = server.folder / "akm-1.snapshot"
    path.write_bytes(b"good" * 1000)
    await publish_snapshot(server.url, STREAM, path, sequence=1)
    client = await nats.connect(server.url)
    js = client.jetstream()
    raw = await js.get_last_msg("OBJ_AKM-snapshots", "$O.AKM-snapshots.M.>")
    meta = (raw.data or b"").replace(b'"digest": "SHA-256=', b'"digest": "SHA-256=AAAA')
    meta = re.sub(rb"(SHA-256=.{43}=).{4}", rb"\1", meta)
    await js.publish(raw.subject or "", meta)
    await client.close()
    one = source(server)
    (entry,) = await until(one, lambda found: len(found) == 1)
    with pytest.raises(SourceError, match="damaged"):
        await one.fetch(entry)
    assert list((server.folder / "east" / "snapshots").iterdir()) == []
    await one.close()


@with_server
async def test_a_delta_is_published_once_and_never_forks(server: NatsServer) -> None:
    """The same delta again is a duplicate; one that does not begin at the stream's end is refused with the remedy."""
    one, other = server.folder / "one", server.folder / "other"
    one.write_bytes(b"one")
    other.write_bytes(b"other")

    async def put(path: Path, sequence: int, from_sequence: int) -> bool:
        done = await publish_delta(server.url, STREAM, path, sequence=sequence, from_sequence=from_sequence)
        return done.duplicate

    assert not await put(one, 1, 0)
    assert await put(one, 1, 0)
    for sequence, from_sequence, why in ((1, 0, "ends at 1"), (3, 2, "ends at 1"), (0, 0, "leads nowhere")):
        with pytest.raises(PublishRefusedError, match=why):
            await put(other, sequence, from_sequence)
    results = await asyncio.gather(put(one, 2, 1), put(other, 2, 1), return_exceptions=True)
    assert sorted(type(result).__name__ for result in results) == ["PublishRefusedError", "bool"]
    client = await nats.connect(server.url)
    assert (await client.jetstream().stream_info(STREAM)).state.messages == 2
    await client.close()


def test_a_station_reads_from_a_leaf_node(tmp_path: Path) -> None:
    """Deltas, large deltas and snapshots published at the hub come from the leaf’s JetStream, hub cut off or not."""
    leaf_port = free_port()

    async def told() -> None:
        hub_extra = f'leafnodes {{ listen: "127.0.0.1:{leaf_port}" }}'
        leaf_extra = f'leafnodes {{ remotes: [ {{ url: "nats://127.0.0.1:{leaf_port}" }} ] }}'
        async with (
            asyncio.timeout(60),
            nats_server(tmp_path / "hub", hub_extra, domain="hub") as hub,
            nats_server(tmp_path / "leaf", leaf_extra, domain="leaf") as leaf,
        ):
            await make(hub)
            async with asyncio.timeout(20):
                while not (await asyncio.to_thread(hub.varz, "leafz"))["leafnodes"]:
                    await asyncio.sleep(0.02)
            await ensure_mirror(leaf.url, STREAM, "hub", limits=SMALL)
            await ensure_mirror(leaf.url, STREAM, "hub", limits=SMALL)
            large = os.urandom(2_000_000)
            await publish(hub, 1)
            await publish(hub, 2, large)
            path = tmp_path / "akm-2.snapshot"
            path.write_bytes(b"snapshot")
            await publish_snapshot(hub.url, STREAM, path, sequence=2)
            one = source(leaf)
            entries = await until(one, lambda found: [entry.sequence for entry in found] == [1, 2, 2])
            hub.kill()
            fetched = [(await one.fetch(entry)).read_bytes() for entry in entries]
            assert fetched == [b"delta 1", large, b"snapshot"]
            for entry in entries:
                await one.settled(entry, Outcome.TAKEN)
            await until_pending(leaf, (0, 0))
            await one.close()

    asyncio.run(told())


@with_server
async def test_a_missing_stream_is_named(server: NatsServer) -> None:
    """The operator reads which stream is missing and what to do."""
    one = JetStreamSource(f"{server.url}/ZJ", server.folder / "east", "east", limits=QUICK)
    with pytest.raises(SourceError, match="ZJ: no such stream"):
        await one.changed()
    await one.close()


@with_server
async def test_tls_is_never_given_up(server: NatsServer) -> None:
    """`tls://` to a server that speaks clear text is refused before anything is asked of it."""
    one = JetStreamSource(f"tls://127.0.0.1:{server.port}/{STREAM}", server.folder / "east", "east", limits=QUICK)
    with pytest.raises(SourceError, match="no TLS"):
        await one.changed()
    await one.close()


def test_tls_with_a_server_of_ours(tmp_path: Path) -> None:
    """Over TLS with our CA and certificate a delta comes; with the system's CAs the server is refused, unasked."""
    pki = authority("nats of the region")
    identity = pki.identity(host="localhost")
    files = {"ca": pki.pem, "crt": identity.certificate, "key": identity.key}
    for name, pem in files.items():
        (tmp_path / name).write_bytes(pem)
    ours = Tls(tmp_path / "ca", tmp_path / "crt", tmp_path / "key")
    served = f'cert_file: "{ours.certificate}", key_file: "{ours.private_key}", ca_file: "{ours.ca_file}"'
    extra = f"tls {{ {served}, verify: true }}"

    async def told() -> None:
        async with asyncio.timeout(60), nats_server(tmp_path / "server", extra) as server:
            url = f"tls://localhost:{server.port}"
            await ensure_stream(url, STREAM, limits=SMALL, tls=ours)
            (tmp_path / "delta").write_bytes(b"delta")
            await publish_delta(url, STREAM, tmp_path / "delta", sequence=1, from_sequence=0, tls=ours)
            one = JetStreamSource(f"{url}/{STREAM}", tmp_path / "east", "east", tls=ours, limits=QUICK)
            (entry,) = await until(one, sequences(1))
            assert (await one.fetch(entry)).read_bytes() == b"delta"
            await one.close()
            for tls in (Tls(), Tls(ca_file=ours.ca_file)):
                stranger = JetStreamSource(f"{url}/{STREAM}", tmp_path / "west", "west", tls=tls, limits=QUICK)
                with pytest.raises(SourceError, match="certificate"):
                    await stranger.changed()
                await stranger.close()

    asyncio.run(told())


def test_a_swallowed_cancellation_is_heeded() -> None:
    """A task whose cancellation somebody below it swallowed, as nats-py does, ends all the same."""

    async def told() -> bool:
        async def swallow() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            heed_cancel()

        task = asyncio.create_task(swallow())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(told())


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("nats://h:1/", "a stream has"),
        ("nats://h:1/a.b", "a stream has"),
        ("nats://h:1/a/b", "a stream has"),
        ("nats://u:secret@h:1/A", "without a login"),
        ("http://h/A", "give nats://"),
        ("nats:///A", "give nats://"),
        ("nats://h:99999/A", "no URL"),
        ("nats://h/A?snapshot=https://x/", "unknown snapshot"),
        ("nats://h/A?snapshots=http://x/", "loopback only"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(address: str, why: str) -> None:
    """Each mistake has its sentence, and no sentence holds a secret."""
    with pytest.raises(SourceError, match=why) as caught:
        parse_address(address)
    assert "secret" not in str(caught.value)


def test_tls_is_demanded_beyond_loopback() -> None:
    """Only this machine is spoken to in clear text."""
    assert server_url("nats://10.0.0.1") == "tls://10.0.0.1:4222"
    assert server_url("nats://leaf.example:1") == "tls://leaf.example:1"
    assert server_url("nats://127.0.0.1:1") == "nats://127.0.0.1:1"
    assert server_url("tls://[::1]:1") == "tls://[::1]:1"
    assert parse_address("nats://127.0.0.1:1/A?snapshots=https://h/f").snapshots == "https://h/f"
