"""A far side that publishes wrong things on purpose: each has its name, changes nothing, and has a way back."""

import dataclasses
import os
import resource
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from gate.feed.delta import Changes
from gate.feed.ledger import OVERDUE_S_MAX, REMEDY, Refusal, Standing
from gate.feed.records import ABSENT, Kind
from gate.moment import Moment
from gate.sync import writer as writer_module
from gate.sync.feedfile import RefusedError, verify
from gate.sync.keyring import load_peppers, load_private_key, rotate_key, rotate_pepper
from gate.sync.store import FeedStore, open_store
from tests.support.region import (
    DAY_S,
    MOMENT,
    NOW,
    NOW_S,
    RED,
    People,
    Region,
    Station,
    entry,
    fill,
    key,
    parts,
    people,
    remount,
    small_disk,
    told,
)

BEFORE: People = people(range(100))
HELD: People = {**BEFORE, **people(range(5), RED)}
NEXT: People = {**HELD, **people(range(5, 9), RED)}


@dataclasses.dataclass
class World:
    """A region that published 1 as a snapshot and 2 as a delta, and a station that holds both."""

    region: Region
    station: Station
    store: FeedStore
    now: Moment = MOMENT

    def take(self, path: Path) -> Standing:
        return self.station.take(path, self.now)

    def statuses(self) -> dict[bytes, str]:
        self.store.refresh()
        return told(self.store, self.region, [key(n) for n in range(110)])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    region = Region(tmp_path / "akm", today=NOW - timedelta(days=400))
    station = Station(tmp_path / "store", region)
    for path in (region.snapshot(1, BEFORE), region.publish(2, HELD, follows=1)[1]):
        station.take(path)
    made = World(region, station, open_store(tmp_path / "store", [region.issuer]))
    yield made
    made.store.close()
    made.station.store.close()


# A case yields the wrong file; then, cured as the remedy says, what is taken instead.
Case = Callable[[World], Iterator[Path]]
CASES: list[tuple[Refusal, Case]] = []


def refused_as(why: Refusal) -> Callable[[Case], Case]:
    def add(case: Case) -> Case:
        CASES.append((why, case))
        return case

    return add


def _good(world: World) -> Path:
    """The publication that a publisher with nothing to hide makes next."""
    return world.region.publish(3, NEXT, follows=2)[1]


def _changed(path: Path, change: Callable[[bytes], bytes]) -> Path:
    path.write_bytes(change(path.read_bytes()))
    return path


@refused_as(Refusal.NOT_A_FEED)
def another_programs_file(world: World) -> Iterator[Path]:
    yield _changed(_good(world), lambda raw: b"PK\3\4" + raw)
    yield _good(world)


@refused_as(Refusal.NOT_A_FEED)
def an_empty_file(world: World) -> Iterator[Path]:
    yield _changed(_good(world), lambda raw: b"")
    yield _good(world)


@refused_as(Refusal.TRUNCATED)
def cut_in_its_header(world: World) -> Iterator[Path]:
    yield _changed(_good(world), lambda raw: raw[:300])
    yield _good(world)


@refused_as(Refusal.TRUNCATED)
def a_delta_cut_in_its_body(world: World) -> Iterator[Path]:
    yield _changed(_good(world), lambda raw: raw[:-1])
    yield _good(world)


@refused_as(Refusal.TRUNCATED)
def a_snapshot_cut_in_its_body(world: World) -> Iterator[Path]:
    yield _changed(world.region.snapshot(3, NEXT), lambda raw: raw[:-64])
    yield world.region.snapshot(3, NEXT)


@refused_as(Refusal.TRAILING_BYTES)
def a_delta_that_goes_on(world: World) -> Iterator[Path]:
    yield _changed(_good(world), lambda raw: raw + b"\0")
    yield _good(world)


@refused_as(Refusal.TRAILING_BYTES)
def a_snapshot_that_never_ends(world: World) -> Iterator[Path]:
    path = world.region.snapshot(3, NEXT)
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a hole of a terabyte: copied, it would fill any disk
    yield path
    yield world.region.snapshot(3, NEXT)


@refused_as(Refusal.WRONG_ISSUER)
def another_regions_file(world: World) -> Iterator[Path]:
    other = Region(world.region.folder / "zj", "ZJ")
    yield other.snapshot(3, NEXT)
    yield _good(world)


@refused_as(Refusal.UNKNOWN_SCHEME)
def subject_keys_of_another_scheme(world: World) -> Iterator[Path]:
    yield world.region.says(_good(world), key_scheme="gate/subject/2")
    yield _good(world)


@refused_as(Refusal.UNKNOWN_PEPPER)
def a_pepper_that_we_have_not(world: World) -> Iterator[Path]:
    region, held = world.region, world.region.pepper_file.read_bytes()
    rotate_pepper(region.pepper_file, NOW)
    new = region.pepper_file.read_bytes()
    region.pepper_file.write_bytes(held)
    path = region.snapshot(3, NEXT, pepper_id=list(_peppers(new, region))[-1])
    yield path
    region.pepper_file.write_bytes(new)
    region.pepper_id = list(_peppers(new, region))[-1]
    yield path


def _peppers(raw: bytes, region: Region) -> dict[str, bytes]:
    path = region.folder / "peppers"
    path.write_bytes(raw)
    return load_peppers(path, region.issuer)


@refused_as(Refusal.UNKNOWN_KEY)
def a_key_that_we_have_not(world: World) -> Iterator[Path]:
    region, held = world.region, world.region.keys_file.read_bytes()
    made = rotate_key(region.folder / "keys" / "akm.private", region.keys_file, NOW - timedelta(days=30))
    new = region.keys_file.read_bytes()
    region.keys_file.write_bytes(held)
    region.private = load_private_key(made["private"])
    path = _good(world)
    yield path
    region.keys_file.write_bytes(new)
    yield path


@refused_as(Refusal.KEY_NOT_VALID_THEN)
def signed_before_the_keys_first_day(world: World) -> Iterator[Path]:
    yield world.region.says(_good(world), produced_utc_s=NOW_S - 500 * DAY_S)
    yield _good(world)


@refused_as(Refusal.BAD_SIGNATURE)
def a_header_changed_after_signing(world: World) -> Iterator[Path]:
    yield _changed(_good(world), lambda raw: raw.replace(b'"sequence":3', b'"sequence":4'))
    yield _good(world)


@refused_as(Refusal.BAD_SIGNATURE)
def somebody_elses_key_under_our_keys_name(world: World) -> Iterator[Path]:
    right, other = world.region.private, Region(world.region.folder / "thief").private
    world.region.private = dataclasses.replace(other, key_id=right.key_id)
    yield _good(world)
    world.region.private = right
    yield _good(world)


def _flipped(raw: bytes) -> bytes:
    return raw[:-20] + bytes([raw[-20] ^ 1]) + raw[-19:]


@refused_as(Refusal.ALTERED)
def a_delta_with_a_flipped_bit(world: World) -> Iterator[Path]:
    yield _changed(_good(world), _flipped)
    yield _good(world)


@refused_as(Refusal.ALTERED)
def a_snapshot_with_a_flipped_bit(world: World) -> Iterator[Path]:
    yield _changed(world.region.snapshot(3, NEXT), _flipped)
    yield world.region.snapshot(3, NEXT)


@refused_as(Refusal.BAD_BODY)
def noise_rightly_signed_as_a_delta(world: World) -> Iterator[Path]:
    yield world.region.with_body(_good(world), lambda body: os.urandom(len(body)))
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.BAD_BODY)
def noise_rightly_signed_as_a_snapshot(world: World) -> Iterator[Path]:
    yield world.region.with_body(world.region.snapshot(3, NEXT), lambda body: os.urandom(len(body)))
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.BAD_BODY)
def an_old_table_under_a_new_sequence(world: World) -> Iterator[Path]:
    yield world.region.says(world.region.snapshot(3, NEXT), sequence=4)
    yield world.region.snapshot(5, NEXT)


@refused_as(Refusal.BAD_BODY)
def a_table_with_a_damaged_bucket_rightly_signed(world: World) -> Iterator[Path]:
    yield world.region.with_body(world.region.snapshot(3, NEXT), lambda body: bytes([body[0] ^ 1]) + body[1:])
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.BAD_BODY)
def fewer_changes_than_it_says(world: World) -> Iterator[Path]:
    path = _good(world)
    yield world.region.says(path, changes=parts(path)[0].changes + 1)
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.BAD_BODY)
def keys_that_are_no_hashes(world: World) -> Iterator[Path]:
    crowd = {b"\0\0\0" + n.to_bytes(13, "big"): entry(b"\0\0\0" + n.to_bytes(13, "big"), RED) for n in range(4000)}
    few = {k: crowd[k] for k in list(crowd)[:2]}
    path = world.region.delta(2, 3, {**HELD, **few})
    before = np.zeros((len(crowd), 28), np.uint8)
    keys = np.frombuffer(b"".join(crowd), np.uint8).reshape(-1, 16)
    after = np.frombuffer(b"".join(one.encode() for one in crowd.values()), np.uint8).reshape(-1, 28)
    changes = Changes(keys, before, after)
    digest = world.region.digest_after(world.station.held, changes, parts(path)[0].partitions)
    held = world.station.held
    assert held
    yield world.region.with_changes(
        path, lambda _: changes, set_digest=digest, count=held.count + 4000, exact_count=held.exact_count + 4000
    )
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.WRONG_COUNT)
def a_snapshot_of_another_number_of_people(world: World) -> Iterator[Path]:
    yield world.region.says(world.region.snapshot(3, NEXT), count=len(NEXT) + 1)
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.WRONG_COUNT)
def a_delta_to_another_number_of_people(world: World) -> Iterator[Path]:
    yield world.region.says(_good(world), count=len(NEXT) + 1)
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.WRONG_COUNT)
def a_delta_to_another_number_of_listed_people(world: World) -> Iterator[Path]:
    path = _good(world)
    yield world.region.says(path, exact_count=parts(path)[0].exact_count - 1)
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.WRONG_DIGEST)
def a_delta_to_another_set_rightly_signed(world: World) -> Iterator[Path]:
    yield world.region.says(_good(world), set_digest="c" * 64)
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.WRONG_DIGEST)
def a_change_from_a_state_that_nobody_had(world: World) -> Iterator[Path]:
    def other(changes: Changes) -> Changes:
        before = changes.before.copy()
        before[0] = np.frombuffer(ABSENT, np.uint8)
        return dataclasses.replace(changes, before=before)

    yield world.region.with_changes(_good(world), other)
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.WRONG_DIGEST)
def a_lost_change(world: World) -> Iterator[Path]:
    yield world.region.with_changes(_good(world), lambda c: Changes(c.keys[1:], c.before[1:], c.after[1:]))
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.OLDER)
def a_rollback(world: World) -> Iterator[Path]:
    """Rightly signed, and yesterday's: the station keeps what it has, and there is nothing to do."""
    yield world.region.snapshot_path(1)


@refused_as(Refusal.FORK)
def another_snapshot_of_the_held_sequence(world: World) -> Iterator[Path]:
    yield world.region.snapshot(2, NEXT)
    yield world.region.snapshot(3, NEXT)


@refused_as(Refusal.FORK)
def a_delta_from_another_state_of_the_held_sequence(world: World) -> Iterator[Path]:
    world.region.publish(2, BEFORE, follows=1)  # the publisher took it back and said something else
    yield _good(world)
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.FORK)
def a_snapshot_that_lies_about_its_set(world: World) -> Iterator[Path]:
    """Of enrolled people a table has no whole keys, so that no station can count; the next delta brings it to light."""
    _good(world)
    world.take(world.region.says(world.region.snapshot_path(3), set_digest="c" * 64))
    yield world.region.publish(4, HELD, follows=3)[1]
    yield world.region.snapshot(5, NEXT)


@refused_as(Refusal.GAP)
def a_gap_and_then_the_missing_delta(world: World) -> Iterator[Path]:
    missing = _good(world)
    last = world.region.publish(4, HELD, follows=3)[1]
    yield last
    yield missing
    yield last


@refused_as(Refusal.GAP)
def a_gap_and_then_a_snapshot(world: World) -> Iterator[Path]:
    _good(world)
    snapshot, last = world.region.publish(4, HELD, follows=3)
    yield last
    yield snapshot


@refused_as(Refusal.NO_BASE)
def a_delta_over_nothing(world: World) -> Iterator[Path]:
    empty = Station(world.region.folder / "empty", world.region)
    world.station, held = empty, world.station
    yield _good(world)
    yield world.region.snapshot_path(3)
    world.station = held
    empty.store.close()
    yield world.region.delta_path(2, 3)


@refused_as(Refusal.KIND_CHANGED)
def a_delta_of_another_kind(world: World) -> Iterator[Path]:
    yield world.region.says(_good(world), kind="FULL")
    world.region.kind = Kind.FULL
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.PEPPER_CHANGED)
def a_delta_with_the_new_pepper(world: World) -> Iterator[Path]:
    rotate_pepper(world.region.pepper_file, NOW)
    new = list(load_peppers(world.region.pepper_file, world.region.issuer))[-1]
    yield world.region.says(_good(world), pepper_id=new)
    world.region.pepper_id = new
    yield world.region.snapshot(4, NEXT)


@refused_as(Refusal.PRODUCED_EARLIER)
def a_newer_sequence_of_an_older_day(world: World) -> Iterator[Path]:
    yield world.region.snapshot(3, NEXT, produced_s=NOW_S - 60)
    yield world.region.snapshot(3, NEXT)


@refused_as(Refusal.FROM_THE_FUTURE)
def an_hour_ahead_of_our_clock(world: World) -> Iterator[Path]:
    path = world.region.publish(3, NEXT, follows=2, produced_s=NOW_S + 3600)[1]
    yield path
    world.now = MOMENT.plus(3600)
    yield path


@refused_as(Refusal.EXPIRED)
def an_archive(world: World) -> Iterator[Path]:
    yield world.region.snapshot(3, NEXT, produced_s=NOW_S - 300 * DAY_S)
    yield world.region.snapshot(3, NEXT)


@refused_as(Refusal.SNAPSHOT_NEEDED)
def more_changes_than_may_lie_over_a_snapshot(world: World) -> Iterator[Path]:
    writer_module.OVERLAY_MAX = 7
    yield _good(world)
    yield world.region.snapshot(3, NEXT)


@refused_as(Refusal.SNAPSHOT_NEEDED)
def a_delta_over_a_damaged_overlay(world: World) -> Iterator[Path]:
    (overlay,) = (world.station.folder / "AKM").glob("over-*")
    _changed(overlay, lambda raw: bytes([raw[0] ^ 1]) + raw[1:])
    yield _good(world)
    yield world.region.snapshot_path(3)


@refused_as(Refusal.SNAPSHOT_NEEDED)
def a_delta_over_an_overlay_cut_short(world: World) -> Iterator[Path]:
    (overlay,) = (world.station.folder / "AKM").glob("over-*")
    _changed(overlay, lambda raw: raw[:-9])
    yield _good(world)
    yield world.region.snapshot_path(3)


@refused_as(Refusal.SNAPSHOT_NEEDED)
def a_delta_over_an_overlay_that_is_gone(world: World) -> Iterator[Path]:
    (overlay,) = (world.station.folder / "AKM").glob("over-*")
    overlay.unlink()
    yield _good(world)
    yield world.region.snapshot_path(3)


@pytest.mark.parametrize(("why", "case"), CASES, ids=[case.__name__ for _, case in CASES])
def test_a_wrong_file_is_refused_by_name_changes_nothing_and_has_a_way_back(
    world: World, monkeypatch: pytest.MonkeyPatch, why: Refusal, case: Case
) -> None:
    """Refused twice over, with the remedy in the text; what is in service stays; then the remedy is followed."""
    monkeypatch.setattr(writer_module, "OVERLAY_MAX", writer_module.OVERLAY_MAX)
    steps = case(world)
    wrong = next(steps)
    held, files, statuses = world.station.held, _files(world), world.statuses()
    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            world.take(wrong)
        assert refused.value.why is why
        assert str(refused.value).startswith(str(why))
        assert str(refused.value).endswith(REMEDY[why])
        assert world.station.held == held
        assert _files(world) == files, "nothing is changed, and no half file is left"
        assert world.statuses() == statuses
    cures = [path for path in steps if world.take(path) is Standing.NEWER]
    if why is not Refusal.OLDER:
        assert cures
        assert world.station.held != held
        assert (world.station.held.sequence if world.station.held else 0) >= 3
    world.station.again()
    assert world.station.writer.scrub() == "", "and what is in service now is whole"


def _files(world: World) -> dict[str, bytes]:
    folder = world.station.folder / world.region.issuer
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Trouble with the station's own disk has tests of its own below.
_ELSEWHERE = {Refusal.STORE_FULL, Refusal.STORE_FAILED}


def test_every_refusal_is_published_on_purpose() -> None:
    """A new name needs its case here."""
    assert {why for why, _ in CASES} == set(Refusal) - _ELSEWHERE


# What `gate feed verify` can know without holding anything.
_SEEN_ALONE = set(Refusal) - _ELSEWHERE - {
    Refusal.OLDER, Refusal.FORK, Refusal.GAP, Refusal.NO_BASE, Refusal.KIND_CHANGED, Refusal.PEPPER_CHANGED,
    Refusal.PRODUCED_EARLIER, Refusal.FROM_THE_FUTURE, Refusal.EXPIRED, Refusal.WRONG_DIGEST, Refusal.SNAPSHOT_NEEDED,
}  # fmt: skip
_NOT_ALONE = ("keys_that_are_no_hashes", "a_delta_to_another_number_of_people", "another_number_of_listed")


@pytest.mark.parametrize(("why", "case"), CASES, ids=[case.__name__ for _, case in CASES])
def test_the_publisher_can_see_it_before_the_stations_do(
    world: World, monkeypatch: pytest.MonkeyPatch, why: Refusal, case: Case
) -> None:
    """`verify` refuses by the same name what does not depend on what a station holds."""
    monkeypatch.setattr(writer_module, "OVERLAY_MAX", writer_module.OVERLAY_MAX)
    wrong = next(case(world))
    if why in _SEEN_ALONE and not any(name in case.__name__ for name in _NOT_ALONE):
        with pytest.raises(RefusedError) as refused:
            verify(wrong, world.region.trust)
        assert refused.value.why is why
    else:
        assert verify(wrong, world.region.trust).issuer == world.region.issuer


def test_a_replay_does_no_harm(world: World) -> None:
    """Everything that was ever published, again and in the wrong order: held already, or older."""
    region = world.region
    world.take(region.publish(3, NEXT, follows=2)[1])
    held, files = world.station.held, _files(world)
    for path in (region.delta_path(1, 2), region.delta_path(2, 3), region.snapshot_path(3), region.delta_path(1, 2)):
        assert world.take(path) is Standing.HELD_ALREADY
    for path in (region.snapshot_path(1), region.snapshot_path(2)):
        with pytest.raises(RefusedError, match=r"^OLDER"):
            world.take(path)
    assert (world.station.held, _files(world)) == (held, files)


def test_a_whole_disk_is_full_and_then_has_room(tmp_path: Path) -> None:
    """ENOSPC while a snapshot is copied: STORE_FULL, the old state stays and no half file; with room it is taken."""
    region = Region(tmp_path / "akm")
    with small_disk(tmp_path / "disk") as disk:
        station = Station(disk / "store", region)
        station.take(region.snapshot(1, BEFORE))
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(900_000))
        large = region.snapshot(2, people(range(5000), RED))
        for _ in range(2):
            with pytest.raises(RefusedError, match=r"^STORE_FULL: .*make room"):
                station.take(large)
            assert station.held
            assert station.held.sequence == 1
            assert len(list((disk / "store" / "AKM").iterdir())) == 2
        store = open_store(disk / "store", ["AKM"])
        assert set(told(store, region, BEFORE).values()) == {"GREEN"}
        change = region.publish(3, people(range(100), RED), follows=1)[1]
        fill(ballast)
        with pytest.raises(RefusedError, match=r"^STORE_FULL"):
            station.take(change)
        ballast.unlink()
        assert station.take(change) is Standing.NEWER
        store.refresh()
        assert set(told(store, region, BEFORE).values()) == {"RED"}
        store.close()
        station.store.close()


def test_a_disk_that_takes_nothing_any_more_is_named(tmp_path: Path) -> None:
    """Remounted read-only, as after an error of its own: STORE_FAILED, look-ups go on; a restart says so and reads."""
    region = Region(tmp_path / "akm")
    with small_disk(tmp_path / "disk") as disk:
        station = Station(disk / "store", region)
        station.take(region.snapshot(1, BEFORE))
        change = region.publish(2, HELD, follows=1)[1]
        remount(disk, "ro")
        try:
            with pytest.raises(RefusedError, match=r"^STORE_FAILED: Read-only file system; check the disk"):
                station.take(change)
            station.again()
            assert station.held
            assert station.held.sequence == 1
            store = open_store(disk / "store", ["AKM"])
            assert told(store, region, [key(1)]) == {key(1): "GREEN"}
            with pytest.raises(writer_module.StoreError, match=r"ZJ: Read-only file system: check data_dir"):
                station.store.issuer("ZJ")
        finally:
            remount(disk, "rw")
        assert station.take(change) is Standing.NEWER
        store.refresh()
        assert told(store, region, [key(1)]) == {key(1): "RED"}
        store.close()
        station.store.close()


def test_a_file_that_may_not_grow_is_named(tmp_path: Path) -> None:
    """The kernel's limit on the size of a file: STORE_FAILED, nothing half done; without the limit it is taken."""
    region = Region(tmp_path / "akm")
    station = Station(tmp_path / "store", region)
    station.take(region.snapshot(1, BEFORE))
    large = region.snapshot(2, people(range(5000), RED))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, hard))
    try:
        refused = _refusal(station, large)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert refused.startswith("STORE_FAILED: File too large")
    assert len(list((tmp_path / "store" / "AKM").iterdir())) == 2
    assert station.take(large) is Standing.NEWER
    station.store.close()


def _refusal(station: Station, path: Path) -> str:
    try:
        station.take(path)
    except RefusedError as error:
        return str(error)
    return ""


def test_overdue_is_a_limit_and_not_yesterday(world: World) -> None:
    """A feed whose publisher was on holiday is taken and ages; an archive is not."""
    late = world.region.snapshot(3, NEXT, produced_s=NOW_S)
    world.now = MOMENT.plus(DAY_S + OVERDUE_S_MAX)
    assert world.take(late) is Standing.NEWER
    world.now = MOMENT.plus(DAY_S + OVERDUE_S_MAX + 1)
    with pytest.raises(RefusedError, match=r"^EXPIRED"):
        world.take(world.region.snapshot(4, NEXT))
