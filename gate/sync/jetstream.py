"""The `nats:` source: deltas from a JetStream stream by a durable pull consumer of this station, snapshots beside it.

A delta is acknowledged only in `settled(TAKEN)`, after the commit; REFUSED ends it for this station, LATER brings it
again after a wait. Whatever is not acknowledged comes again after `ack_wait_s`, so a lost acknowledgement costs
bytes and never a change; what comes twice is held once. A message carries its delta, or names an object of the
stream's object store when the delta is larger than a message may be (`jetstream_publisher.py` argues why). Snapshots
are objects too, or files behind `?snapshots=https://…`; if they cannot be reached, deltas go on.

What the message headers say (sequences) is a hint like any catalogue; the signature in the file decides.
"""

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from gate.sync.backoff import DRAW, Backoff
from gate.sync.https import HttpsSource
from gate.sync.jetstream_objects import ObjectReader, SnapshotObjects, delta_bucket
from gate.sync.natslink import CLOSE_S, SYSTEM, Link, Pull, Tls, Window, heed_cancel, parse_address
from gate.sync.source import Entry, Form, Outcome, Source, SourceError
from gate.sync.spool import FETCHED, prepare

log = logging.getLogger(__name__)

# Headers of a message; a message without them is not ours.
SEQUENCE, FROM_SEQUENCE, SIZE, OBJECT = "Gate-Sequence", "Gate-From-Sequence", "Gate-Bytes", "Gate-Object"
_STATION = re.compile(r"[A-Za-z0-9_-]{1,64}")  # what a durable consumer may be called
_NUMBER = re.compile(r"[0-9]{1,18}")  # below 2^63
WINDOW = Window(messages=16, bytes=16 * 1024 * 1024)  # what waits in memory while the worker is at another delta
_LOST = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Limits:
    """Every wait and size, each with its reason; tests shorten them."""

    retry_first_s: float = 5.0  # 5,000 stations that lose one server come back evenly over it: 1,000 connections/s
    retry_most_s: float = 60.0  # as stale as a come-back of the server may find us
    ack_wait_s: float = 30.0  # then a delta comes again: as stale as a killed feed process may leave us
    later_s: float = 5.0  # a full disk or a locked store rarely mends sooner
    pending: int = 64  # delivered and unsettled: an hour of deltas by the minute, and 64 MB at 1 MB each
    window: Window = WINDOW
    first_s: float = 10.0  # the first catalogue waits so long for what is already there
    inactive_s: float = 7 * 86400.0  # a station that is gone for good leaves no consumer on the server
    object_s: float = 4 * 3600.0  # one object, as in https.py
    object_bytes_max: int = 4 * 1024**3  # as in https.py
    snapshots_s: float = 60.0  # between looks for a new snapshot object; they come daily


@dataclass(slots=True)
class _Held:
    """A delta that was delivered and is not settled."""

    entry: Entry
    message: Msg  # the newest delivery; its data is on disk
    path: Path | None = None  # None: an object, not fetched yet
    object_name: str = ""


class JetStreamSource:
    """One stream, read for one station. After a failure `changed` waits by itself; its caller only loops."""

    def __init__(
        self,
        address: str,
        folder: Path,
        station: str,
        *,
        tls: Tls = SYSTEM,
        limits: Limits = Limits(),
        draw: Callable[[], float] = DRAW,
    ) -> None:
        if not _STATION.fullmatch(station):
            raise SourceError(f"station id {station!r}: a durable consumer has 1 to 64 of A-Z a-z 0-9 _ -")
        self._address = parse_address(address)
        self._folder = folder
        self._station = station
        self._tls = tls
        self._limits = limits
        self._backoff = Backoff(limits.retry_first_s, limits.retry_most_s, draw)
        self._link: Link | None = None
        self._pull: Pull
        self._created: datetime | None = None  # when the stream was made: numbers of another stream mean other messages
        self._held: dict[int, _Held] = {}  # by the stream's number; at most `pending`
        self._first = True
        self._asking: asyncio.Task[None] | None = None  # waits for news of the snapshots, over many calls of `changed`
        self._snapshots_failing = ""
        prepare(folder)
        self._objects = ObjectReader(folder, limits.object_bytes_max, limits.object_s)
        beside = folder / "snapshots"
        self._snapshots: Source
        if self._address.snapshots:
            self._snapshots = HttpsSource(self._address.snapshots, beside, ca_file=tls.ca_file, draw=draw)
        else:
            reader = ObjectReader(beside, limits.object_bytes_max, limits.object_s)
            self._snapshots = SnapshotObjects(
                lambda: self._link, self._address.stream, reader, limits.snapshots_s, draw
            )

    async def changed(self) -> None:
        """Wait for a delta, a new snapshot, or an entry that is due again. Raises SourceError."""
        try:
            if self._link is None:
                await asyncio.sleep(self._backoff.wait_s())
                await self._connect()
            if self._first:
                await self._catch_up()
                self._first = False
            else:
                await self._wait()
        except SourceError:
            await self._drop_link()
            raise
        self._backoff.worked()

    async def catalogue(self) -> Sequence[Entry]:
        """Deltas that were delivered and not settled, and the snapshots. Raises SourceError."""
        if self._link is not None:
            self._collect()
        snapshots: Sequence[Entry] = []
        with contextlib.suppress(SourceError):  # said when it was asked for; a catalogue asks nobody
            snapshots = [entry for entry in await self._snapshots.catalogue() if entry.form is Form.SNAPSHOT]
        return [*(held.entry for held in self._held.values()), *snapshots]

    async def fetch(self, entry: Entry) -> Path:
        """The whole file; a delta of one message is there already. Raises SourceError."""
        if entry.form is Form.SNAPSHOT:
            return await self._snapshots.fetch(entry)
        held = self._find(entry)
        if held is None:
            raise SourceError(f"{entry.name}: is not waiting any more: look at the catalogue again")
        if held.path is None or not held.path.exists():  # the worker may have moved it away before it said LATER
            held.path = await self._fetch_object(held)
        return held.path

    async def settled(self, entry: Entry, outcome: Outcome) -> None:
        """Acknowledge, end, or ask for another delivery. A lost link loses no change: unsettled deltas come again."""
        if entry.form is Form.SNAPSHOT:
            await self._snapshots.settled(entry, outcome)
        elif outcome is not Outcome.TAKEN and (held := self._find(entry)):
            await self._settle_one(held, outcome)
        if outcome is Outcome.TAKEN:
            # Whatever leads only to where we are already is settled with it, or it would fill `pending` for ever.
            for held in list(self._held.values()):
                if held.entry == entry or held.entry.sequence <= entry.sequence:
                    await self._settle_one(held, outcome)

    async def close(self) -> None:
        """Give back what was not settled, so that the next start need not wait for it; leave no file."""
        for held in list(self._held.values()):
            if self._link and not self._link.lost.is_set():
                with contextlib.suppress(*_LOST):
                    await self._link.client.publish(held.message.reply, Msg.Ack.Nak)
            self._let_go(held)
        if self._asking:
            self._asking.cancel()
            await asyncio.wait([self._asking], timeout=CLOSE_S)
            if self._asking.done() and not self._asking.cancelled():
                self._asking.exception()  # or asyncio complains that nobody looked
        self._objects.close()
        await self._snapshots.close()
        await self._drop_link(failed=False)

    # The connection.

    async def _connect(self) -> None:
        link = Link(self._address.server)
        try:
            await link.open(self._tls, f"gate {self._station}")
            created = await self._bind(link)
            # A message that fits no window would stop everything: its server allows `max_payload`.
            window = replace(self._limits.window, bytes=max(self._limits.window.bytes, 2 * link.client.max_payload))
            pull = Pull(link, self._address.stream, self._station, window)
            await pull.open()
        except BaseException:  # a caller's time-out too: a half-made connection is of no use to anybody
            await link.close()
            raise
        if created != self._created:
            for held in list(self._held.values()):
                self._let_go(held)
        self._link, self._pull, self._created, self._first = link, pull, created, True

    async def _bind(self, link: Link) -> datetime | None:
        """Make sure of our consumer; when the stream was made."""
        stream = self._address.stream
        try:
            info = await link.js.stream_info(stream)
            await link.js.add_consumer(stream, config=self._consumer())
            heed_cancel()
        except nats.js.errors.NotFoundError as error:
            text = "no such stream: the publisher makes it, or mend the name"
            raise SourceError(f"{link.server}/{stream}: {text}") from error
        except _LOST as error:
            text = f"{type(error).__name__} {error}".strip()
            raise SourceError(f"{link.server}/{stream}: JetStream says {text}: see the server's log") from error
        return info.created

    def _consumer(self) -> ConsumerConfig:
        return ConsumerConfig(
            durable_name=self._station,
            deliver_policy=DeliverPolicy.ALL,
            ack_policy=AckPolicy.EXPLICIT,
            ack_wait=self._limits.ack_wait_s,
            max_deliver=-1,
            max_ack_pending=self._limits.pending,
            max_waiting=8,  # one pull is open at a time; the rest is of connections that the server does not yet miss
            inactive_threshold=self._limits.inactive_s,
        )

    async def _drop_link(self, *, failed: bool = True) -> None:
        link, self._link = self._link, None
        if failed:
            self._backoff.failed()
        if link:
            await link.close()

    # Deltas.

    async def _catch_up(self) -> None:
        """Take what the stream has already, so that a first catalogue does not look as if a snapshot were needed."""
        try:
            async with asyncio.timeout(self._limits.first_s):
                while len(self._held) < self._limits.pending and not self._pull.ended_empty:
                    await self._pull.ask(wait=False)
                    await self._pull.wait(self._limits.first_s)
                    self._collect()
        except TimeoutError:
            log.warning("%s: still catching up after %.0f s", self._address.server, self._limits.first_s)
        if self._asking is None:
            await asyncio.wait([self._ask_snapshots()], timeout=self._limits.first_s)
            self._snapshots_news()

    async def _wait(self) -> None:
        while not self._collect() and not self._snapshots_news():
            if len(self._held) < self._limits.pending:
                await self._pull.ask()
            await self._pull.wait(self._limits.window.silence_s)

    def _snapshots_news(self) -> bool:
        """Whether the snapshots have changed; keeps asking. Their failures are said and stop nothing."""
        news = False
        if self._asking and self._asking.done():
            error = self._asking.exception()
            if error and not isinstance(error, SourceError):
                raise error  # a fault of ours
            self._snapshots_work(str(error) if error else "")
            news, self._asking = error is None, None
        self._ask_snapshots()
        return news

    def _ask_snapshots(self) -> asyncio.Task[None]:
        if self._asking is None:
            self._asking = asyncio.create_task(self._snapshots.changed())
            self._asking.add_done_callback(lambda _: self._pull.news.set())
        return self._asking

    def _collect(self) -> bool:
        """Hold what has come; whether there was any. Raises SourceError."""
        messages = self._pull.take()
        for message in messages:
            self._hold(message)
        return bool(messages)

    def _hold(self, message: Msg) -> None:
        number = message.metadata.sequence.stream
        before = self._held.get(number)
        if before and (before.object_name or (before.path and before.path.exists())):
            before.message = message  # delivered again: the newest delivery is the one to acknowledge
            message.data = b""
            return
        try:
            held = self._read(number, message)
        except ValueError as error:
            log.error("%s message %d is none of ours: %s; it is left out", self._address.stream, number, error)
            held = None
        except OSError as error:
            raise SourceError(f"{self._folder}: {error.strerror or error}: free or mend the disk") from error
        message.data = b""
        if held:
            self._held[number] = held

    def _read(self, number: int, message: Msg) -> _Held:
        """A message as what is held of it; its data goes to a file. Raises ValueError, OSError."""
        headers = message.headers or {}
        object_name = headers.get(OBJECT, "")
        digest = hashlib.sha256(message.data + object_name.encode()).hexdigest()[
            :8
        ]  # the name stands for these bytes only
        name = f"{self._address.stream}-{number}-{digest}.delta"
        size = _number(headers, SIZE) if object_name else len(message.data)
        entry = Entry(name, Form.DELTA, _number(headers, SEQUENCE), _number(headers, FROM_SEQUENCE), size)
        if object_name:
            return _Held(entry, message, None, object_name)
        path = self._folder / f"{name}{FETCHED}"
        path.write_bytes(message.data)
        return _Held(entry, message, path)

    async def _fetch_object(self, held: _Held) -> Path:
        if not held.object_name:
            raise SourceError(f"{held.entry.name}: its file is gone: it comes again with the next delivery")
        if self._link is None:
            raise SourceError(f"{held.entry.name}: no connection now: it is fetched after the next one")
        bucket = delta_bucket(self._address.stream)
        return await self._objects.fetch(self._link, bucket, held.object_name, held.entry.name, held.entry.size)

    async def _settle_one(self, held: _Held, outcome: Outcome) -> None:
        link = self._link
        if link and not link.lost.is_set():
            # By subject and not by nats-py's message, which allows one answer only and knows one connection only.
            body = {Outcome.TAKEN: Msg.Ack.Ack, Outcome.REFUSED: Msg.Ack.Term, Outcome.LATER: self._nak()}[outcome]
            with contextlib.suppress(*_LOST):  # then it comes again, and is settled again
                await link.client.publish(held.message.reply, body)
        if outcome is not Outcome.LATER:
            self._let_go(held)

    def _nak(self) -> bytes:
        return Msg.Ack.Nak + b' {"delay": %d}' % int(self._limits.later_s * 1e9)

    def _find(self, entry: Entry) -> _Held | None:
        return next((held for held in self._held.values() if held.entry == entry), None)

    def _let_go(self, held: _Held) -> None:
        self._held.pop(held.message.metadata.sequence.stream, None)
        if held.path:
            held.path.unlink(missing_ok=True)

    def _snapshots_work(self, failing: str) -> None:
        if failing and failing != self._snapshots_failing:
            log.error("snapshots cannot be reached, deltas go on: %s", failing)
        elif self._snapshots_failing and not failing:
            log.info("snapshots can be reached again")
        self._snapshots_failing = failing


def _number(headers: dict[str, str], key: str) -> int:
    text = headers.get(key, "")
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{key} is no whole number")
    return int(text)
