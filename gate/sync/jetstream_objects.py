"""Files in JetStream's object store: snapshots, and deltas that are too large for a message.

Reading is done here and not by nats-py's `ObjectStore.get`, which is slow for two reasons (measured: 64 MB on
loopback, nats-py 2.16.0, nats-server 2.9.10, 2 cores; nats.py issue 703 says the same):

- into memory, 8 MB/s with 7.4 s of CPU: each 128 kB part is appended to one growing `bytes`, 16 GB copied in all;
- into a file, 42 MB/s with 0.2 s of CPU: it waits. The server stops at its flow-control mark, and nats-py looks only
  every 0.25 s whether it owes the answer.

Both are in nats-py's code and no setting changes them. The same parts through a pull consumer of our own, 64 parts a
pull, come at 540 MB/s bare and 340 MB/s hashed into a file; 1.6 GB at 210 MB/s, with 10 MB more memory. HTTP from a
stock web server was 370 and 190 MB/s in the same run, so neither is the reason to choose: a cut read goes on where
it was cut in both.
"""

import asyncio
import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import nats.errors
import nats.js.errors
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from gate.sync.backoff import Backoff
from gate.sync.natslink import Link, Pull, Window, heed_cancel, pull_all
from gate.sync.source import ENTRIES_MAX, Entry, Form, Outcome, SourceError
from gate.sync.spool import Spool, TooLongError, prepare

SEQUENCE = "gate-sequence"  # an object's header: the state that a snapshot leads to
IDLE_S = 30.0  # no part for so long: the far side is gone
_WINDOW = Window(messages=64, bytes=16 * 1024 * 1024)  # 64 parts of 128 kB are 8 MB; at 20 ms of way 400 MB/s
_LOST = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)
_DIGEST = "SHA-256="
_ODD = re.compile(r"[^A-Za-z0-9._-]")


def snapshot_bucket(stream: str) -> str:
    """The bucket of a stream's snapshots."""
    return f"{stream}-snapshots"


def delta_bucket(stream: str) -> str:
    """The bucket of a stream's deltas that are larger than a message."""
    return f"{stream}-deltas"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store says of an object."""

    name: str
    parts_id: str  # a new one for each time that a name is written
    size: int
    parts: int
    digest: str
    sequence: int = 0

    @property
    def shown(self) -> str:
        """A name for people that changes with the content: the object's own, and the end of its parts' id."""
        return f"{_ODD.sub('_', self.name)[:64]}@{self.parts_id[-8:]}"


@dataclass(slots=True)
class _Partial:
    stored: Stored
    spool: Spool
    next_number: int = 0  # of the stream: where the next part is, 0 for the first
    parts: int = 0


class ObjectReader:
    """Fetches objects into a folder, one at a time; goes on where it was cut."""

    def __init__(self, folder: Path, bytes_max: int, whole_s: float) -> None:
        prepare(folder)
        self._folder = folder
        self._bytes_max = bytes_max
        self._whole_s = whole_s
        self._partial: _Partial | None = None

    async def fetch(self, link: Link, bucket: str, name: str, file_name: str, size: int) -> Path:
        """The whole object as a file. Raises SourceError."""
        try:
            async with asyncio.timeout(self._whole_s):
                stored = await _look_up(link, bucket, name)
                self._admit(stored, size)
                partial = self._begin(stored, file_name)
                if partial.parts < stored.parts:
                    await _receive(link, bucket, partial)
                return await self._finish(partial)
        except TimeoutError:
            raise SourceError(f"{name}: not whole after {self._whole_s:.0f} s: is the line fast enough?") from None
        except TooLongError as error:
            self.close()
            raise SourceError(f"{error}: not what the store announced") from error
        except nats.js.errors.NotFoundError as error:
            raise SourceError(f"{bucket}/{name}: no such object: publish it again") from error
        except (nats.errors.Error, nats.js.errors.Error) as error:
            raise SourceError(f"{bucket}/{name}: {type(error).__name__} {error}") from error
        except OSError as error:
            self.close()
            raise SourceError(f"{self._folder}: {error.strerror or error}: free or mend the disk") from error

    def close(self) -> None:
        """Forget what was half received."""
        if self._partial:
            self._partial.spool.discard()
            self._partial = None

    def _admit(self, stored: Stored, size: int) -> None:
        if stored.size > self._bytes_max or stored.parts > stored.size:
            raise SourceError(f"{stored.name}: {stored.size} bytes in {stored.parts} parts; {self._bytes_max} at most")
        if size and stored.size != size:
            raise SourceError(f"{stored.name}: {stored.size} bytes, and {size} were announced: publish it again")

    def _begin(self, stored: Stored, file_name: str) -> _Partial:
        if self._partial and (self._partial.stored != stored or not self._partial.spool.intact):
            self.close()
        if self._partial is None:
            self._partial = _Partial(stored, Spool(self._folder, file_name, stored.size))
        return self._partial

    async def _finish(self, partial: _Partial) -> Path:
        path, digest = await partial.spool.finish()
        self._partial = None
        told = base64.urlsafe_b64decode(partial.stored.digest.removeprefix(_DIGEST) + "==").hex()
        if digest != told:
            path.unlink(missing_ok=True)
            raise SourceError(f"{partial.stored.name}: damaged on the way or in the store: it is fetched again")
        return path


async def _receive(link: Link, bucket: str, partial: _Partial) -> None:
    subject = f"$O.{bucket}.C.{partial.stored.parts_id}"
    pull = await _pull(link, bucket, subject, partial.next_number)
    try:
        async for message in pull_all(pull, partial.stored.parts - partial.parts, IDLE_S):
            await partial.spool.write(message.data)
            partial.parts += 1
            partial.next_number = message.metadata.sequence.stream + 1
    finally:
        await pull.close()


async def _pull(link: Link, bucket: str, subject: str, start: int = 0, *, last: bool = False) -> Pull:
    """A consumer of our own for one reading; the server forgets it by itself."""
    policy = DeliverPolicy.LAST_PER_SUBJECT if last else DeliverPolicy.ALL
    config = ConsumerConfig(
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE if start else policy,
        opt_start_seq=start or None,
        ack_policy=AckPolicy.NONE,
        filter_subject=subject,
        inactive_threshold=IDLE_S,
        mem_storage=True,
        num_replicas=1,
    )
    stream = f"OBJ_{bucket}"
    info = await link.js.add_consumer(stream, config=config)
    window = Window(_WINDOW.messages, max(_WINDOW.bytes, 2 * link.client.max_payload))
    pull = Pull(link, stream, info.name, window)
    pull.waiting = info.num_pending or 0
    await pull.open()
    heed_cancel()
    return pull


async def _look_up(link: Link, bucket: str, name: str) -> Stored:
    subject = f"$O.{bucket}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
    raw = await link.js.get_last_msg(f"OBJ_{bucket}", subject)
    stored = parse_meta(raw.data or b"")
    if stored is None:
        raise SourceError(f"{bucket}/{name}: deleted, or no object of ours: publish it again")
    return stored


def parse_meta(raw: bytes) -> Stored | None:
    """An object's own description (NATS ADR-20); None when it is deleted or none of ours."""
    try:
        told = json.loads(raw)
        if told.get("deleted") or not str(told["digest"]).startswith(_DIGEST):
            return None
        sequence = (told.get("headers") or {}).get(SEQUENCE, "0")
        sequence = sequence[0] if isinstance(sequence, list) else sequence
        stored = Stored(
            str(told["name"]), str(told["nuid"]), int(told["size"]), int(told["chunks"]), told["digest"], int(sequence)
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return stored if min(stored.size, stored.parts, stored.sequence) >= 0 else None


class SnapshotObjects:
    """The snapshots of a stream in its object store, as a Source of its own; `link` is its owner's."""

    def __init__(
        self,
        link: Callable[[], Link | None],
        stream: str,
        reader: ObjectReader,
        period_s: float,
        draw: Callable[[], float],
    ) -> None:
        self._link = link
        self._bucket = snapshot_bucket(stream)
        self._reader = reader
        self._period_s = period_s
        self._draw = draw
        self._backoff = Backoff(period_s, 10 * period_s, draw)
        self._due_s = float("-inf")
        self._seen = -1  # the bucket's last number, so that an unchanged bucket costs one question
        self._stored: dict[str, Stored] = {}
        self._refused: set[str] = set()
        self._paths: dict[str, Path] = {}
        self._again = False

    async def changed(self) -> None:
        """Wait until the bucket has changed. Raises SourceError."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(0.0, self._due_s - loop.time()))
            before = self._stored
            await self._refresh()
            if self._again or self._stored != before:
                self._again = False
                return

    async def catalogue(self) -> Sequence[Entry]:
        """The bucket's snapshots without the refused; asks nobody. Raises SourceError before the first look."""
        if self._seen < 0:
            raise SourceError(f"{self._bucket}: not looked at yet")
        return [_entry(stored) for stored in self._stored.values() if stored.parts_id not in self._refused]

    async def fetch(self, entry: Entry) -> Path:
        """The whole snapshot. Raises SourceError."""
        link, stored = self._link(), self._stored.get(entry.name)
        if link is None or stored is None or _entry(stored) != entry:
            raise SourceError(f"{entry.name}: not there now: look at the catalogue again")
        path = self._paths.get(entry.name)
        if path is None or not path.exists():
            path = await self._reader.fetch(link, self._bucket, stored.name, f"{stored.parts_id}.snapshot", stored.size)
            self._paths[entry.name] = path
        return path

    async def settled(self, entry: Entry, outcome: Outcome) -> None:
        """TAKEN and REFUSED end the file's stay here; LATER keeps it."""
        if outcome is Outcome.LATER:
            self._again = True
            self._backoff.failed()
            self._due_s = asyncio.get_running_loop().time() + self._backoff.wait_s()
            return
        self._backoff.worked()
        if outcome is Outcome.REFUSED and entry.name in self._stored:
            self._refused.add(self._stored[entry.name].parts_id)
        if path := self._paths.pop(entry.name, None):
            path.unlink(missing_ok=True)

    async def close(self) -> None:
        """Remove what was fetched."""
        for path in self._paths.values():
            path.unlink(missing_ok=True)
        self._paths.clear()
        self._reader.close()

    async def _refresh(self) -> None:
        self._due_s = asyncio.get_running_loop().time() + self._period_s * (0.5 + self._draw())
        self._again = self._again or self._seen < 0
        link = self._link()
        if link is None:
            raise SourceError(f"{self._bucket}: no connection now")
        try:
            last = (await link.js.stream_info(f"OBJ_{self._bucket}")).state.last_seq
            if last != self._seen:
                self._stored = await _list(link, self._bucket)
                self._seen = last
            heed_cancel()
        except nats.js.errors.NotFoundError:
            self._stored, self._seen = {}, 0  # no bucket yet: no snapshots
        except _LOST as error:
            raise SourceError(f"{self._bucket}: {type(error).__name__} {error}") from error
        self._refused &= {stored.parts_id for stored in self._stored.values()}


async def _list(link: Link, bucket: str) -> dict[str, Stored]:
    pull = await _pull(link, bucket, f"$O.{bucket}.M.>", last=True)
    found: list[Msg] = []
    try:
        found = [message async for message in pull_all(pull, min(pull.waiting, ENTRIES_MAX), IDLE_S)]
    finally:
        await pull.close()
    stored = [parse_meta(message.data) for message in found]
    return {each.shown: each for each in stored if each}


def _entry(stored: Stored) -> Entry:
    return Entry(stored.shown, Form.SNAPSHOT, stored.sequence, 0, stored.size)
