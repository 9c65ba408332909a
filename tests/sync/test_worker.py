"""The feed process: what it takes, what it says, how it ends, and what a kill at any moment leaves."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gate.feed.delta import CHANGES_MAX
from gate.feed.finding import Enrolled, Listed
from gate.feed.records import CredentialStatus, StatusEntry
from gate.sync import source as source_module
from gate.sync import worker as worker_module
from gate.sync.feedfile import FeedFile, Trust
from gate.sync.keyring import load_peppers, load_private_key, rotate_key, rotate_pepper
from gate.sync.process import LINE_BYTES_MAX
from gate.sync.source import DirectorySource
from gate.sync.store import FeedStore, open_store
from gate.sync.worker import Subscription, pull_once
from gate.sync.writer import StoreWriter
from tests.support.region import (
    GREEN,
    NOW,
    NOW_S,
    RED,
    YELLOW,
    Region,
    entry,
    found,
    key,
    people,
)

BEFORE = people(range(200))
AFTER = {**BEFORE, **people(range(20), RED)}
# The contract's 20 in `make test`; the 300 with GATE_KILLS=300 (`make soak`).
KILLS = int(os.environ.get("GATE_KILLS", "20"))


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "akm")


def config(store: Path, *feeds: tuple[Region, Path]) -> dict[str, Any]:
    """What a station hands to its feed process (gate/sync/process.py)."""
    return {
        "station": "test-station",
        "store": str(store),
        "offset_s": time.time() - time.monotonic(),
        "feeds": [
            {
                "issuer": region.issuer,
                "source": f"dir:{source}",
                "public_keys_file": str(region.keys_file),
                "pepper_file": str(region.pepper_file),
                "tls": [None, None, None],
            }
            for region, source in feeds
        ],
    }


# --- one issuer's task, in this process ------------------------------------------------------------------------------


class Task:
    """A subscription to a folder, passed over step by step; `said` is what a station would hear."""

    def __init__(self, folder: Path, region: Region) -> None:
        self.said: list[dict[str, Any]] = []
        self.store = StoreWriter(folder)
        self.region = region
        self.of = Subscription(
            region.issuer,
            DirectorySource(region.outbox),
            self.store.issuer(region.issuer),
            region.keys_file,
            region.pepper_file,
            time.time() - time.monotonic(),
            asyncio.Event(),
            say=lambda event, issuer, **more: self.said.append({"event": event, **more}),
        )

    def look(self) -> list[str]:
        """One pass; what was said in it, in short."""
        self.said.clear()
        asyncio.run(self.of.once())
        return [_short(event) for event in self.said]

    @property
    def sequence(self) -> int:
        return self.of.writer.held.sequence if self.of.writer.held else 0


def _short(event: dict[str, Any]) -> str:
    match event["event"]:
        case "applied":
            return f"{event['form']} {event['sequence']}" + (f" skipped {event['skipped']}" if event["skipped"] else "")
        case "refused":
            return f"refused {event['file']} {event['reason']}"
        case "gap":
            return f"gap {event['missing']}"
        case other:
            return str(other)


@pytest.fixture
def task(tmp_path: Path, region: Region, monkeypatch: pytest.MonkeyPatch) -> Iterator[Task]:
    monkeypatch.setattr(source_module, "POLL_S", 0.0)
    made = Task(tmp_path / "store", region)
    yield made
    made.store.close()


def test_it_takes_the_short_way(region: Region, task: Task) -> None:
    """A snapshot first, then deltas in their order, though snapshots lie beside them; twice nothing."""
    for sequence in (1, 2, 3):
        region.publish(sequence, people(range(sequence)), follows=sequence - 1)
    assert task.look() == ["SNAPSHOT 3"]
    for sequence in (4, 5):
        region.publish(sequence, people(range(sequence)), follows=sequence - 1)
    assert task.look() == ["DELTA 4", "DELTA 5"]
    assert task.look() == []


def _reds(task: Task) -> list[dict[str, int]]:
    task.look()
    return [event["reds"] for event in task.said if event["event"] == "applied"]


@pytest.mark.requirement("R8")
def test_it_says_who_turned_how_many_red(region: Region, task: Task) -> None:
    """Of each delta, by asserting authority; those of a snapshot, and who was red before, are not new."""
    zhengzhou = {key(n): entry(key(n), RED, "410100") for n in range(20, 50)}
    region.publish(1, AFTER)
    assert _reds(task) == [{}]
    region.delta(1, 2, AFTER | zhengzhou | people(range(50, 57), RED) | people(range(60, 70), YELLOW))
    assert _reds(task) == [{"410100": 30, "340100": 7}]
    assert task.said[0]["produced_utc_s"] == NOW_S
    region.snapshot(3, {**AFTER, **zhengzhou})
    assert _reds(task) == [{}]
    region.delta(3, 4, AFTER | {key(n): entry(key(n), RED, "410100") for n in range(20)})
    assert _reds(task) == [{}], "red before, by another authority"


def test_a_line_never_names_more_authorities_than_the_station_can_read(
    region: Region, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest stay; and as many as may be fit into the line that the station reads."""
    region.publish(1, BEFORE)
    task.look()
    reds = {key(n): entry(key(n), RED, f"{110_000 + min(n, 3):06d}") for n in range(9)}
    monkeypatch.setattr(worker_module, "REDS_MAX", 2)
    region.delta(1, 2, BEFORE | reds)
    assert _reds(task) == [{"110003": 6, "110000": 1}]
    monkeypatch.undo()
    most = {f"{n:06d}": CHANGES_MAX for n in range(worker_module.REDS_MAX)}
    assert len(json.dumps(most)) < LINE_BYTES_MAX // 2


def test_a_gap_is_said_once_and_ends_with_the_missing_delta(region: Region, task: Task) -> None:
    """What lies behind the gap waits, and is taken in the pass in which the missing one comes."""
    region.publish(1, BEFORE)
    task.look()
    changes = [region.delta(n, n + 1, people(range(n))) for n in (1, 2, 3)]
    missing = changes[0].rename(region.folder / "late")
    assert task.look() == ["gap 1"]
    assert task.look() == []
    missing.rename(changes[0])
    assert task.look() == ["DELTA 2", "DELTA 3", "DELTA 4"]


def test_a_gap_ends_with_a_snapshot(region: Region, task: Task) -> None:
    """Which says how many publications were never seen."""
    region.publish(1, BEFORE)
    task.look()
    region.publish(2, AFTER, follows=1)
    region.publish(3, BEFORE, follows=2)
    for path in (region.delta_path(1, 2), region.snapshot_path(2), region.snapshot_path(3)):
        path.rename(region.folder / path.name)
    assert task.look() == ["gap 1"]
    (region.folder / "akm-3.snapshot").rename(region.snapshot_path(3))
    assert task.look() == ["SNAPSHOT 3 skipped 1"]


def test_a_fork_is_refused_and_a_later_snapshot_ends_it(region: Region, task: Task) -> None:
    """A publisher that went back to 1 and told another 2: its deltas do not follow, its next snapshot does."""
    region.publish(1, BEFORE)
    region.delta(1, 2, AFTER)
    task.look()
    region.delta_path(1, 2).unlink()
    region.publish(2, people(range(9)), follows=1)
    region.snapshot_path(2).unlink()
    region.delta(2, 3, people(range(10)))
    assert task.look() == ["refused akm-2-3.delta FORK"]
    assert task.look() == []
    assert task.sequence == 2
    region.publish(4, people(range(11)), follows=3)
    assert task.look() == ["SNAPSHOT 4 skipped 1"]


def test_a_source_that_went_back_is_named(region: Region, task: Task) -> None:
    """Rollback: only older states are there. Nothing is taken, and an operator is told why the feed ages."""
    region.publish(5, BEFORE)
    task.look()
    region.snapshot_path(5).unlink()
    region.publish(3, BEFORE)
    region.publish(4, AFTER, follows=3)
    assert sorted(task.look()) == ["refused akm-3.snapshot OLDER", "refused akm-4.snapshot OLDER"]
    assert task.look() == []
    assert task.sequence == 5
    region.publish(6, AFTER)
    assert task.look() == ["SNAPSHOT 6"]


def test_a_source_that_is_found_gone_back_is_named(region: Region, task: Task, tmp_path: Path) -> None:
    """The station was off meanwhile: at its first look there is nothing but older states."""
    region.publish(5, BEFORE)
    task.look()
    region.snapshot_path(5).unlink()
    region.publish(4, AFTER)
    task.store.close()
    started = Task(tmp_path / "store", region)
    assert started.look() == ["refused akm-4.snapshot OLDER"]
    assert started.look() == []
    started.store.close()
    task.store = StoreWriter(tmp_path / "store")


def test_an_old_snapshot_put_beside_newer_ones_is_named_once(region: Region, task: Task) -> None:
    """A copy of yesterday's under another name; one that merely travelled longer than the deltas after it is not."""
    yesterdays = region.snapshot(1, BEFORE).read_bytes()
    region.publish(2, BEFORE, follows=1)
    task.look()
    late = region.publish(3, AFTER, follows=2)[0].rename(region.folder / "late")
    region.delta(3, 4, BEFORE)
    assert task.look() == ["DELTA 3", "DELTA 4"]
    late.rename(region.snapshot_path(3))
    assert task.look() == []
    (region.outbox / "akm-9.snapshot").write_bytes(yesterdays)
    assert task.look() == ["refused akm-9.snapshot OLDER"]
    assert task.look() == []
    assert task.sequence == 4


def test_a_file_that_goes_while_it_is_taken_is_the_sources_trouble(
    region: Region, task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Swept away by its publisher between the look and the copy: not the fault of our disk."""
    region.publish(1, BEFORE)
    opened = worker_module.open_feed

    def gone(path: Path, trust: Trust) -> FeedFile:
        feed = opened(path, trust)
        path.unlink()
        return feed

    with monkeypatch.context() as patch:
        patch.setattr(worker_module, "open_feed", gone)
        assert task.look() == ["source_failed"]
    assert "akm-1.snapshot: No such file" in task.said[0]["reason"]
    region.publish(2, BEFORE)
    assert task.look() == ["SNAPSHOT 2", "source_back"]


def test_a_mistake_of_ours_is_no_silence(region: Region, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that nobody foresaw ends the issuer's task and lets its process go on to say so."""
    monkeypatch.setattr(DirectorySource, "catalogue", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(task.of.run())
    assert task.of.looked.is_set()


def test_changes_of_nothing_are_named(region: Region, task: Task) -> None:
    """Deltas and no snapshot: the station has nothing they could change."""
    region.publish(1, BEFORE)
    region.delta(1, 2, AFTER)
    snapshot = region.snapshot_path(1).rename(region.folder / "later")
    assert task.look() == ["refused akm-1-2.delta NO_BASE"]
    assert task.look() == []
    snapshot.rename(region.snapshot_path(1))
    assert task.look() == ["SNAPSHOT 1", "DELTA 2"]


def test_each_wrong_file_is_said_once_and_stops_no_other(region: Region, task: Task) -> None:
    """Noise, a flipped bit and somebody else's file beside a good one; a mended one is taken at the next look."""
    region.publish(1, BEFORE)
    (region.outbox / "noise.snapshot").write_bytes(b"noise")
    altered = region.snapshot(9, AFTER)
    whole = altered.read_bytes()
    altered.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
    said = task.look()
    assert sorted(said) == [
        "SNAPSHOT 1",
        "refused akm-9.snapshot ALTERED",
        "refused noise.snapshot NOT_A_FEED",
    ]
    assert task.look() == []
    altered.write_bytes(whole)
    assert task.look() == ["SNAPSHOT 9 skipped 7"]


def test_a_new_key_or_pepper_needs_no_restart(region: Region, task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNKNOWN_KEY until the file is installed; then the same feed file is offered again and taken."""
    monkeypatch.setattr(worker_module, "LATER_S", 0.0)
    held = region.keys_file.read_bytes()
    made = rotate_key(region.folder / "keys" / "akm.private", region.keys_file, NOW)
    new = region.keys_file.read_bytes()
    region.keys_file.write_bytes(held)
    region.private = load_private_key(made["private"])
    region.publish(1, BEFORE)
    assert task.look() == ["refused akm-1.snapshot UNKNOWN_KEY"]
    assert task.look() == [], "said once"
    region.keys_file.write_bytes(new)
    assert task.look() == ["SNAPSHOT 1"]
    rotate_pepper(region.pepper_file, NOW)
    region.pepper_id = list(load_peppers(region.pepper_file, region.issuer))[-1]
    region.publish(2, AFTER)
    assert task.look() == ["SNAPSHOT 2"]


def test_a_file_refused_for_what_may_pass_is_not_tried_every_second(region: Region, task: Task) -> None:
    """A snapshot of a gigabyte that finds no room is copied again after ten seconds, not at each look."""
    region.publish(1, BEFORE, produced_s=int(time.time()) + 3600)
    assert task.look() == ["refused akm-1.snapshot FROM_THE_FUTURE"]
    assert task.of.not_before
    task.of.refused.clear()
    assert task.look() == []
    task.of.not_before = dict.fromkeys(task.of.not_before, 0.0)
    assert task.look() == ["refused akm-1.snapshot FROM_THE_FUTURE"]


def test_a_key_file_that_is_missing_is_the_sources_trouble(region: Region, task: Task) -> None:
    """Said once, and taken back when it is there."""
    region.publish(1, BEFORE)
    away = region.keys_file.rename(region.folder / "away")
    assert task.look() == ["source_failed"]
    assert "gate feed keygen" in task.said[0]["reason"]
    assert task.look() == []
    away.rename(region.keys_file)
    assert task.look() == ["SNAPSHOT 1", "source_back"]


def test_damage_found_by_the_scrub_heals_by_what_lies_in_the_source(region: Region, task: Task) -> None:
    """The snapshot of the held sequence is taken once more, without anybody's doing."""
    region.publish(1, BEFORE)
    task.look()
    (base,) = (task.store._folder / "AKM").glob("base-*")
    raw = base.read_bytes()
    base.write_bytes(raw[:-200] + bytes(100) + raw[-100:])
    assert task.of.writer.scrub()
    assert task.look() == ["SNAPSHOT 1"]
    assert task.of.writer.scrub() == ""


def test_pulling_once_says_what_is_held_then(region: Region, tmp_path: Path) -> None:
    """`gate feed pull`: every issuer in turn, trouble of one told and no hindrance to the next."""
    region.publish(1, BEFORE)
    other = Region(tmp_path / "zj", "ZJ")
    heard: list[dict[str, Any]] = []
    asyncio.run(pull_once(config(tmp_path / "s", (other, tmp_path / "none"), (region, region.outbox)), heard.append))
    assert [(one["event"], one["issuer"], one.get("sequence")) for one in heard] == [
        ("source_failed", "ZJ", None),
        ("held", "ZJ", 0),
        ("applied", "AKM", 1),
        ("held", "AKM", 1),
    ]
    StoreWriter(tmp_path / "s").close()


# --- the process -----------------------------------------------------------------------------------------------------


class Worker:
    """A running feed process."""

    def __init__(self, configuration: dict[str, Any]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gate.sync.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdin
        self.process.stdin.write(json.dumps(configuration) + "\n")
        self.process.stdin.flush()

    def hear(self, *events: str) -> dict[str, Any]:
        """The next of these events; fails when the process ends before."""
        assert self.process.stdout
        for line in self.process.stdout:
            said: dict[str, Any] = json.loads(line)
            if said["event"] in events:
                return said
        assert self.process.stderr
        raise AssertionError(f"ended without {events}: {self.process.stderr.read()[-2000:]}")

    def end(self) -> int:
        """As when its station goes."""
        assert self.process.stdin
        self.process.stdin.close()
        return self.process.wait(10)

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream:
                with suppress(OSError):
                    stream.close()


@contextmanager
def running(configuration: dict[str, Any]) -> Iterator[Worker]:
    worker = Worker(configuration)
    try:
        yield worker
    finally:
        worker.kill()


def test_one_broken_source_stops_no_other_and_the_end_of_the_station_is_its_end(region: Region, tmp_path: Path) -> None:
    """Trouble told by issuer, a file put there later seen by itself, exit status 0 when stdin closes."""
    region.publish(1, BEFORE)
    other = Region(tmp_path / "zj", "ZJ")
    with running(config(tmp_path / "s", (other, tmp_path / "none"), (region, region.outbox))) as worker:
        assert worker.hear("source_failed")["issuer"] == "ZJ"
        assert worker.hear("applied")["sequence"] == 1
        worker.hear("ready")
        region.publish(2, AFTER, follows=1)
        applied = worker.hear("applied")
        assert (applied["sequence"], applied["form"], applied["changes"], applied["over"]) == (2, "DELTA", 20, 20)
        assert worker.end() == 0


def test_two_processes_on_one_store(region: Region, tmp_path: Path) -> None:
    """The second ends with a line and status 3; the first goes on."""
    region.publish(1, BEFORE)
    with running(config(tmp_path / "s", (region, region.outbox))) as first:
        first.hear("ready")
        with running(config(tmp_path / "s", (region, region.outbox))) as second:
            assert "written by another feed process" in second.hear("store_failed")["reason"]
            assert second.process.wait(10) == 3
        region.publish(2, AFTER, follows=1)
        assert first.hear("applied")["sequence"] == 2


def test_a_store_that_cannot_be_made_ends_it_with_a_line(region: Region, tmp_path: Path) -> None:
    """No traceback: what, where, what to check."""
    (tmp_path / "s").write_bytes(b"")
    with running(config(tmp_path / "s", (region, region.outbox))) as worker:
        assert "check data_dir" in worker.hear("store_failed")["reason"]
        assert worker.process.wait(10) == 3
        assert worker.process.stderr
        assert worker.process.stderr.read() == ""


def test_damage_is_found_at_the_start(region: Region, tmp_path: Path) -> None:
    """Everything in service is read once after the start, and what is damaged is said and healed."""
    region.publish(1, BEFORE)
    asyncio.run(pull_once(config(tmp_path / "s", (region, region.outbox)), lambda heard: None))
    (base,) = (tmp_path / "s" / "AKM").glob("base-*")
    raw = base.read_bytes()
    base.write_bytes(raw[:-200] + bytes(100) + raw[-100:])
    with running(config(tmp_path / "s", (region, region.outbox))) as worker:
        assert worker.hear("damaged")["issuer"] == "AKM"
        assert worker.hear("applied")["sequence"] == 1


# --- kills -----------------------------------------------------------------------------------------------------------

PEOPLE = 3000
AHEAD = 6  # publications that lie there before they are taken: the process is never idle
SNAPSHOT_EVERY = 5  # this one comes as a snapshot only


def _status(number: int, sequence: int) -> CredentialStatus | None:
    """Whom sequence `sequence` tells what; every publication changes two thirds of the people."""
    if number >= PEOPLE - 100 + sequence % 90:
        return None
    return (RED, GREEN, YELLOW)[(number + sequence) % 3]


def _everybody(sequence: int) -> dict[bytes, StatusEntry]:
    stated = {key(n): _status(n, sequence) for n in range(PEOPLE)}
    return {k: entry(k, status) for k, status in stated.items() if status}


class Publisher:
    """Publishes on and on, some files ahead of what the feed process has taken."""

    def __init__(self, region: Region) -> None:
        self._region, self.outbox = region, region.outbox
        region.outbox = region.folder / "made"  # files are moved out of here when they are whole
        region.outbox.mkdir()
        self.last = 0

    def until(self, sequence: int) -> None:
        """Everything up to `sequence`; of every fifth the snapshot alone, of the others the delta alone."""
        while self.last < sequence:
            self.last += 1
            snapshot, *change = self._region.publish(self.last, _everybody(self.last), follows=self.last - 1)
            chosen = snapshot if self.last % SNAPSHOT_EVERY == 1 else change[0]
            chosen.rename(self.outbox / chosen.name)

    def forget(self, sequence: int) -> None:
        """Remove what lies far behind, as a publisher does."""
        for path in (*self.outbox.iterdir(), *self._region.outbox.iterdir()):
            if int(path.stem.split("-")[-1]) < sequence - 2:
                path.unlink()


def _check(store: FeedStore, region: Region, last: int) -> int:
    """One whole state that was published; its sequence."""
    sequences = set()
    for number in range(0, PEOPLE, 7):
        finding = found(store, region, key(number))
        sequences.add(finding.sequence)  # type: ignore[union-attr] # an Unknown has none, and is what must not be
        (sequence,) = sequences
        status = finding.status if isinstance(finding, Listed | Enrolled) else None
        assert status is _status(number, sequence), f"subject {number} at sequence {sequence}"
    assert 1 <= sequence <= last
    return int(sequence)


@pytest.mark.timeout(60 + 5 * KILLS)
def test_a_killed_feed_process_leaves_one_whole_published_state(region: Region, tmp_path: Path) -> None:
    """kill -9 while deltas and snapshots stream in: readers old and new see exactly one state that was published.

    Never a mixture, never an older one than before, and the next process goes on from there.
    """
    chance = random.Random(3)
    publisher = Publisher(region)
    settings = config(tmp_path / "s", (region, publisher.outbox))
    publisher.until(AHEAD)
    watching = open_store(tmp_path / "s", [region.issuer])
    before = taken = 0
    for _ in range(KILLS):
        taken += _under_load(publisher, settings, chance)
        fresh = open_store(tmp_path / "s", [region.issuer])
        watching.refresh()
        sequence = _check(fresh, region, publisher.last)
        assert _check(watching, region, publisher.last) == sequence
        assert sequence >= before
        before = sequence
        fresh.close()
        publisher.forget(sequence)
        publisher.until(sequence + AHEAD)
    assert taken >= KILLS, "each was killed while it had something to do"
    with running(settings) as worker:
        while worker.hear("applied")["sequence"] < publisher.last:
            continue
        worker.hear("ready")
    watching.refresh()
    assert _check(watching, region, publisher.last) == publisher.last
    writer = StoreWriter(tmp_path / "s")
    assert writer.issuer("AKM").scrub() == ""
    writer.close()
    watching.close()


def _under_load(publisher: Publisher, configuration: dict[str, Any], chance: random.Random) -> int:
    """Start the process, publish ahead of it, kill it somewhere in its work; how many files it had taken."""
    taken: list[int] = []
    wrong: list[str] = []
    first = threading.Event()
    worker = Worker(configuration)

    def feed() -> None:
        assert worker.process.stdout
        for line in worker.process.stdout:
            said = json.loads(line) if line.endswith("\n") else {"event": "cut"}
            if said["event"] == "applied":
                taken.append(said["sequence"])
                first.set()
                publisher.until(said["sequence"] + AHEAD)
            elif said["event"] not in ("ready", "cut"):
                wrong.append(line)

    feeding = threading.Thread(target=feed)
    feeding.start()
    try:
        assert first.wait(30), "nothing was taken"
        time.sleep(chance.uniform(0, 0.15))  # where in its work the process is killed is the point
    finally:
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        feeding.join()
        worker.kill()
    assert not wrong, "everything that was offered was right"
    return len(taken)
