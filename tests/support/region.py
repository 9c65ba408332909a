"""An issuer for tests: publishes with the real publisher, and wrong things on purpose, rightly signed."""

import contextlib
import dataclasses
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gate.feed import delta
from gate.feed.delta import Changes
from gate.feed.digest import SetDigest
from gate.feed.envelope import Header, encode_prefix
from gate.feed.finding import Enrolled, Finding, Listed
from gate.feed.ledger import Held, Standing
from gate.feed.partitions import Partition, canonical
from gate.feed.records import KEY_SCHEME, CredentialStatus, Kind, StatusEntry
from gate.moment import Moment
from gate.sync.feedfile import Trust, open_feed, read_header
from gate.sync.keyring import keygen, load_peppers, load_private_key, load_public_keys
from gate.sync.publisher import Edition, Output, publish
from gate.sync.rows import Row
from gate.sync.store import FeedStore
from gate.sync.writer import StoreWriter

NOW = datetime.now(UTC)
NOW_S = int(NOW.timestamp())
MOMENT = Moment(float(NOW_S), 0.0)
DAY_S = 86_400
REGION = "340100"  # Hefei
GREEN, YELLOW, RED = CredentialStatus.GREEN, CredentialStatus.YELLOW, CredentialStatus.RED

People = Mapping[bytes, StatusEntry]


def key(number: int) -> bytes:
    """A made-up subject key; like real ones it is a hash."""
    return hashlib.sha256(b"subject %d" % number).digest()[:16]


def entry(
    subject_key: bytes, status: CredentialStatus = GREEN, region: str = REGION, until: int | None = None
) -> StatusEntry:
    """A status that the region asserts itself."""
    return StatusEntry(subject_key, status, region, NOW_S - DAY_S, until, partition=region)


def people(numbers: Iterable[int], status: CredentialStatus = GREEN) -> dict[bytes, StatusEntry]:
    """Some subjects, all of one status."""
    return {key(n): entry(key(n), status) for n in numbers}


class Region:
    """One issuer with its keys and the folder that it publishes into."""

    def __init__(
        self, folder: Path, issuer: str = "AKM", kind: Kind = Kind.NON_GREEN_WITH_ENROLMENT, today: datetime = NOW
    ) -> None:
        self.folder, self.issuer, self.kind = folder, issuer, kind
        paths = keygen(folder / "keys", issuer, today)
        self.private = load_private_key(paths["private"])
        self.keys_file, self.pepper_file = paths["keys"], paths["pepper"]
        self.pepper_id = next(iter(load_peppers(paths["pepper"], issuer)))
        self.outbox = folder / "outbox"
        self.outbox.mkdir()

    @property
    def trust(self) -> Trust:
        """Whom a station that subscribes to this issuer believes."""
        peppers = frozenset(load_peppers(self.pepper_file, self.issuer))
        return Trust(self.issuer, load_public_keys(self.keys_file, self.issuer), peppers)

    def publish(
        self,
        sequence: int,
        subjects: People,
        follows: int = 0,
        partitions: Sequence[Partition] = (),
        produced_s: int = NOW_S,
        tokens: Mapping[bytes, bytes] | None = None,
        cards: Mapping[bytes, bytes] | None = None,
        **edition: object,
    ) -> list[Path]:
        """The snapshot of `sequence`, and the delta from `follows` if that was published before; their paths."""
        rows = [
            Row(n, one, (tokens or {}).get(k, b""), (cards or {}).get(k, b""))
            for n, (k, one) in enumerate(subjects.items(), 2)
        ]
        values = {"kind": self.kind, "pepper_id": self.pepper_id, "next_due_utc_s": produced_s + DAY_S, **edition}
        output = Output(self.snapshot_path(sequence), self._state(sequence))
        if follows:
            output.delta, output.delta_from = self.delta_path(follows, sequence), self._state(follows)
        publish(
            rows,
            Edition(
                self.issuer,
                sequence,
                produced_s,
                key_scheme=KEY_SCHEME,
                partitions=tuple(partitions),
                **values,  # type: ignore[arg-type]
            ),
            self.private,
            output,
        )
        return [path for path in (output.snapshot, output.delta) if path]

    def snapshot(self, sequence: int, subjects: People, **more: object) -> Path:
        """The snapshot alone."""
        return self.publish(sequence, subjects, **more)[0]  # type: ignore[arg-type]

    def delta(self, follows: int, sequence: int, subjects: People, **more: object) -> Path:
        """The delta alone; the snapshot is taken away."""
        snapshot, changed = self.publish(sequence, subjects, follows, **more)  # type: ignore[arg-type]
        snapshot.unlink()
        return changed

    def snapshot_path(self, sequence: int) -> Path:
        return self.outbox / f"{self.issuer.lower()}-{sequence}.snapshot"

    def delta_path(self, follows: int, sequence: int) -> Path:
        return self.outbox / f"{self.issuer.lower()}-{follows}-{sequence}.delta"

    def _state(self, sequence: int) -> Path:
        return self.folder / f"{sequence}.state"

    # --- what no publisher of ours does ------------------------------------------------------------------------------

    def says(self, path: Path, **wrong: object) -> Path:
        """The file at `path` with a header that says something else, rightly signed."""
        header, body = parts(path)
        return self._write(path, dataclasses.replace(header, **wrong), body)  # type: ignore[arg-type]

    def with_body(self, path: Path, change: Callable[[bytes], bytes], **wrong: object) -> Path:
        """The file at `path` with another body, rightly signed."""
        header, body = parts(path)
        body = change(body)
        digests = {"content_digest": hashlib.sha256(body).hexdigest(), "body_bytes": len(body)}
        return self._write(path, dataclasses.replace(header, **(digests | wrong)), body)  # type: ignore[arg-type]

    def with_changes(self, path: Path, change: Callable[[Changes], Changes], **wrong: object) -> Path:
        """The delta at `path` with other changes, rightly signed."""
        header, body = parts(path)
        changed = change(delta.decode(body, header.changes))
        return self.with_body(path, lambda _: delta.encode(changed), **({"changes": len(changed.keys)} | wrong))

    def digest_after(self, held: Held | None, changes: Changes, partitions: Sequence[Partition]) -> str:
        """The set digest that `changes` lead to."""
        digest = SetDigest(held.set_digest if held else "0")
        digest.remove(changes.elements(changes.before))
        digest.add(changes.elements(changes.after))
        digest.remove_partitions(canonical(held.partitions if held else ()))
        digest.add_partitions(canonical(partitions))
        return digest.hexadecimal

    def _write(self, path: Path, header: Header, body: bytes) -> Path:
        temporary = path.with_name(f".{path.name}")
        temporary.write_bytes(encode_prefix(header, self.private.sign(header.signed_bytes())) + body)
        temporary.rename(path)
        return path


def parts(path: Path) -> tuple[Header, bytes]:
    """Header and body of a feed file."""
    with path.open("rb") as file:
        header, _ = read_header(file)
        return header, file.read()


@contextlib.contextmanager
def small_disk(folder: Path, size: str = "1m") -> Iterator[Path]:
    """A disk of its own at `folder`, as large as `size`; skips the test where that cannot be."""
    if os.geteuid() != 0:
        assert not os.environ.get("CI"), "CI must run this as root"
        pytest.skip("mounting a small tmpfs needs root")
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "gate-test", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        assert not os.environ.get("CI"), f"CI must allow mounting: {mounted.stderr}"
        pytest.skip(f"this machine forbids mounting: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path: Path) -> None:
    """Leave no room beside the file at `path`."""
    with path.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))


def remount(folder: Path, how: str) -> None:
    """`ro`: the disk at `folder` takes nothing any more; `rw`: it does again."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)


class Station:
    """The writing side of a station's store in the test's own process."""

    def __init__(self, folder: Path, region: Region) -> None:
        self.folder, self.region = folder, region
        self.store = StoreWriter(folder)
        self.writer = self.store.issuer(region.issuer)

    def take(self, path: Path, now: Moment = MOMENT) -> Standing:
        """Offer a file. Raises RefusedError."""
        return self.writer.take(open_feed(path, self.region.trust), now)

    def again(self) -> None:
        """As after a restart of the feed process."""
        self.store.close()
        self.store = StoreWriter(self.folder)
        self.writer = self.store.issuer(self.region.issuer)

    @property
    def held(self) -> Held | None:
        return self.writer.held


def found(store: FeedStore, region: Region, subject_key: bytes, now: Moment = MOMENT) -> Finding:
    """What the reading side says of one subject."""
    (finding,) = store.find({region.issuer: subject_key}, now)
    return finding


def told(store: FeedStore, region: Region, subjects: Iterable[bytes], now: Moment = MOMENT) -> dict[bytes, str]:
    """The status of each, or what is known instead of one."""
    findings = {one: found(store, region, one, now) for one in subjects}
    return {
        one: str(finding.status) if isinstance(finding, Listed | Enrolled) else str(getattr(finding, "why", "absent"))
        for one, finding in findings.items()
    }
