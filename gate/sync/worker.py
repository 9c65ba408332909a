"""The feed process: `python -m gate.sync.worker`. Watches every issuer's source, verifies, takes, and says what it did.

A process of its own, because a batch decoded in the station's loop was measured to move p99 from 2 to 34 ms. One JSON
object with its configuration comes on stdin; one JSON object a line goes to stdout for each event. It ends when stdin
closes: its station is gone.
"""

import asyncio
import contextlib
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gate.feed.envelope import Form
from gate.feed.ledger import Refusal, Standing, gap_before, next_of, standstill
from gate.moment import Moment
from gate.sync.feedfile import FeedFile, RefusedError, Trust, UnreadableError, open_feed
from gate.sync.keyring import KeyFileError, load_peppers, load_public_keys
from gate.sync.source import DirectorySource, Entry, Outcome, Source, SourceError
from gate.sync.writer import IssuerWriter, StoreError, StoreWriter

NICENESS = 10  # lanes first
RETRY_S = 1.0  # a source that fails is looked at again; its own back-off is its own business
LATER_S = 10.0  # a file that failed for a reason that may pass; a snapshot of 1.6 GB is not copied every second
# Authorities named in one event, those with most reds first: a province has about 200 codes down to the county. At 18
# bytes each this is 18 kB of the 64 that a line may have (process.py).
REDS_MAX = 1000
SCRUB_S = 3600.0  # the Delta's 1.6 GB are read in seconds; a disk's silent errors take months
# Reasons that may pass: the file is offered again, and lasting ones do not fill the log, since each is said once.
_LATER = frozenset(
    {Refusal.STORE_FULL, Refusal.STORE_FAILED, Refusal.FROM_THE_FUTURE, Refusal.GAP, Refusal.NO_BASE}
    | {
        Refusal.UNKNOWN_KEY,
        Refusal.KEY_NOT_VALID_THEN,
        Refusal.UNKNOWN_PEPPER,
        Refusal.SNAPSHOT_NEEDED,
        Refusal.KIND_CHANGED,
        Refusal.PEPPER_CHANGED,
    }
)


def say(event: str, issuer: str, **more: Any) -> None:
    """One line for the station."""
    sys.stdout.write(json.dumps({"event": event, "issuer": issuer, **more}) + "\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Subscription:
    """One issuer: where its files come from, whom to believe, and where its state is kept."""

    issuer: str
    source: Source
    writer: IssuerWriter
    keys_file: Path
    pepper_file: Path
    offset_s: float  # the station's UTC minus the monotonic clock, which both processes share
    looked: asyncio.Event
    say: Callable[..., None] = say
    failing: str = ""  # the source's trouble, said once each way
    refused: set[tuple[str, Refusal]] = field(default_factory=set)  # files and why: each said once
    gap: int = 0
    not_before: dict[str, float] = field(default_factory=dict)  # file -> monotonic seconds
    seen: dict[str, int] | None = None  # snapshots of the last look; None before the first, when old ones may lie there

    async def run(self) -> None:
        """Take what comes, until cancelled. Trouble of one issuer never reaches another."""
        try:
            while True:
                if not await self.once():
                    await asyncio.sleep(RETRY_S)
                self.looked.set()
        finally:
            self.looked.set()  # a mistake of ours must end the process, not keep it waiting for ever

    async def once(self) -> bool:
        """Wait until there may be something, and take it; whether the source could be read."""
        try:
            await self.source.changed()
            await self._take_all()
        except (OSError, SourceError, UnreadableError, KeyFileError) as error:
            self._fails(str(error))
            self.looked.set()
            return False
        self._fails("")
        return True

    async def scrub(self) -> None:
        """Read what is in service once in a while, so that a dying disk is noticed before it is asked."""
        while True:
            damage = await asyncio.to_thread(self.writer.scrub)
            if damage:
                self.say("damaged", self.issuer, detail=damage)
            await asyncio.sleep(SCRUB_S)

    async def _take_all(self) -> None:
        tried = {name for name, until_s in self.not_before.items() if time.monotonic() < until_s}
        self.not_before = {name: self.not_before[name] for name in tried}
        self._note_older(await self.source.catalogue())
        while True:
            catalogue = await self.source.catalogue()
            offers = [entry for entry in catalogue if entry.name not in tried]
            entry = next_of(self.writer.held, offers, self.writer.wants_base)
            if entry is None:
                entry = next((one for one in offers if not one.sequence), None)  # what is no feed is refused by name
            if entry is None:
                self._note_gap(gap_before(self.writer.held, offers))
                return self._note_standstill(catalogue)
            tried.add(entry.name)
            await self._take(entry)

    def _note_older(self, catalogue: Sequence[Entry]) -> None:
        """A snapshot from before the newest that was there is a mistake, or an attack: it is named, and not taken.

        One between that and what is held by deltas is merely late: a large file travels longer than small ones.
        """
        snapshots = {entry.name: entry.sequence for entry in catalogue if entry.form is Form.SNAPSHOT}
        before = max(self.seen.values(), default=0) if self.seen else 0
        held = self.writer.held
        for name in snapshots.keys() - (self.seen or snapshots).keys():
            if held and 0 < snapshots[name] < min(held.sequence, before):
                self._say_refused(name, RefusedError(Refusal.OLDER, f"sequence {snapshots[name]}"))
        self.seen = snapshots

    def _note_gap(self, gap: int) -> None:
        if gap and gap != self.gap:
            self.say("gap", self.issuer, missing=gap)
        self.gap = gap

    def _note_standstill(self, catalogue: Sequence[Entry]) -> None:
        """A source that went back, or has changes of nothing, is named: else all that is seen is a feed that ages."""
        there = {entry.name for entry in catalogue}
        self.refused = {each for each in self.refused if each[0] in there}
        stands = standstill(self.writer.held, catalogue)
        if stands:
            newest, why = stands
            self._say_refused(newest.name, RefusedError(why, f"sequence {newest.sequence} is the newest there"))

    def _say_refused(self, name: str, error: RefusedError) -> None:
        if (name, error.why) not in self.refused:
            self.refused.add((name, error.why))
            self.say("refused", self.issuer, reason=str(error.why), detail=str(error), file=name)

    async def _take(self, entry: Entry) -> None:
        path = await self.source.fetch(entry)
        before = self.writer.held
        outcome = Outcome.LATER
        try:
            feed = open_feed(path, self._trust())
            standing = await asyncio.to_thread(self.writer.take, feed, self._now())
            outcome = Outcome.TAKEN
            if standing is not Standing.HELD_ALREADY:
                self._say_taken(feed, before.sequence if before else 0)
            self.refused.clear()
        except RefusedError as error:
            outcome = Outcome.LATER if error.why in _LATER else Outcome.REFUSED
            if outcome is Outcome.LATER:
                self.not_before[entry.name] = time.monotonic() + LATER_S
            self._say_refused(entry.name, error)
        finally:
            await self.source.settled(entry, outcome)

    def _say_taken(self, feed: FeedFile, before: int) -> None:
        header = feed.header
        skipped = header.sequence - before - 1 if before and header.form == "SNAPSHOT" else 0
        self.say(
            "applied",
            self.issuer,
            sequence=header.sequence,
            form=header.form,
            count=header.count,
            changes=header.changes,
            skipped=max(0, skipped),
            over=self.writer.overlay_elements,
            produced_utc_s=header.produced_utc_s,
            reds=dict(itertools.islice(self.writer.reds.items(), REDS_MAX)),
        )

    def _trust(self) -> Trust:
        # Read for each file, so that a rotated key or pepper needs no restart.
        keys = load_public_keys(self.keys_file, self.issuer)
        return Trust(self.issuer, keys, frozenset(load_peppers(self.pepper_file, self.issuer)))

    def _now(self) -> Moment:
        mono_s = time.monotonic()
        return Moment(self.offset_s + mono_s, mono_s)

    def _fails(self, text: str) -> None:
        if text and text != self.failing:
            self.say("source_failed", self.issuer, reason=text)
        elif self.failing and not text:
            self.say("source_back", self.issuer)
        self.failing = text


def open_source(spec: str, scratch: Path, station: str, tls: Sequence[Path | None]) -> Source:
    """The source that `spec` names; `scratch` is its folder for what is on its way. Raises SourceError."""
    scheme, _, rest = spec.partition(":")
    if scheme == "dir":
        return DirectorySource(Path(rest))
    ca_file, certificate, private_key = tls
    # Imported only where they are configured.
    if scheme in ("http", "https"):
        from gate.sync.https import HttpsSource

        return HttpsSource(spec, scratch, ca_file=ca_file)
    if scheme in ("nats", "tls"):
        from gate.sync.jetstream import JetStreamSource
        from gate.sync.natslink import Tls

        # A durable consumer's name has no dots.
        return JetStreamSource(spec, scratch, station.replace(".", "_"), tls=Tls(ca_file, certificate, private_key))
    raise SourceError(f"{scheme}: is not a source of feeds: give dir:, https: or nats:")


async def pull_once(config: dict[str, Any], heard: Callable[[dict[str, Any]], None]) -> None:
    """Take what the sources have now, and end; `heard` is told what happens. Raises StoreError."""
    store = StoreWriter(Path(config["store"]))
    try:
        for subscription in _subscriptions(config, store):
            subscription.say = lambda event, issuer, **more: heard({"event": event, "issuer": issuer, **more})
            await subscription.once()
            held = subscription.writer.held
            heard({"event": "held", "issuer": subscription.issuer, "sequence": held.sequence if held else 0})
    finally:
        store.close()


def _subscriptions(config: dict[str, Any], store: StoreWriter) -> list[Subscription]:
    return [
        Subscription(
            row["issuer"],
            open_source(
                row["source"],
                # Beside the store, whose folders hold nothing but what is in service.
                Path(config["store"]).parent / "incoming" / row["issuer"],
                config["station"],
                [Path(file) if file else None for file in row["tls"]],
            ),
            store.issuer(row["issuer"]),
            Path(row["public_keys_file"]),
            Path(row["pepper_file"]),
            config["offset_s"],
            asyncio.Event(),
        )
        for row in config["feeds"]
    ]


async def run(config: dict[str, Any], stdin: asyncio.StreamReader) -> None:
    """Work until `stdin` ends. Raises StoreError."""
    store = StoreWriter(Path(config["store"]))
    subscriptions = _subscriptions(config, store)
    tasks = [asyncio.create_task(each.run()) for each in subscriptions]
    for each in subscriptions:
        await each.looked.wait()
    say("ready", "")
    tasks += [asyncio.create_task(each.scrub()) for each in subscriptions]
    ended = asyncio.create_task(stdin.read())
    await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        if task.done():
            task.result()  # our own mistake: end, say it, and be started again
        task.cancel()


async def _main() -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    config = json.loads(await stdin.readline())
    with contextlib.suppress(asyncio.CancelledError):
        await run(config, stdin)


def main() -> None:
    """Run until stdin closes; a store that another process writes ends it with a line."""
    os.nice(NICENESS)
    try:
        asyncio.run(_main())
    except StoreError as error:
        say("store_failed", "", reason=str(error))
        sys.exit(3)


if __name__ == "__main__":
    main()
