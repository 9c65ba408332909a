"""The store: what is in service is whole, damage is "we do not know", and there is a way back from everything."""

import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.finding import Enrolled, Finding, Freshness, Listed, Missing, NotCovered, Uncovered, Unknown
from gate.feed.ledger import Standing
from gate.feed.partitions import Default, Partition
from gate.feed.records import DAY_ZERO_UTC_S, CredentialStatus, Kind, StatusEntry
from gate.moment import Moment
from gate.policy.decide import Question, decide
from gate.policy.verdict import Reason, VerdictKind
from gate.station.rulefiles import read_rules
from gate.sync import writer as writer_module
from gate.sync.feedfile import RefusedError
from gate.sync.manifest import NAME, ManifestError, read_manifest
from gate.sync.store import open_store
from gate.sync.writer import StoreError, StoreWriter
from tests.support.region import (
    DAY_S,
    GREEN,
    MOMENT,
    NOW,
    NOW_S,
    RED,
    REGION,
    YELLOW,
    Region,
    Station,
    entry,
    found,
    key,
    people,
    told,
)

BEFORE = people(range(2000))
AFTER = {**BEFORE, **people(range(100), RED)}


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "akm", today=NOW - timedelta(days=400))


@pytest.fixture
def station(tmp_path: Path, region: Region) -> Iterator[Station]:
    made = Station(tmp_path / "store", region)
    yield made
    made.store.close()


def _issuer_folder(station: Station) -> Path:
    return station.folder / station.region.issuer


# --- what a reader says -----------------------------------------------------------------------------------------------


def test_a_reader_that_was_there_first_sees_the_store_appear(tmp_path: Path, region: Region) -> None:
    """No folder, no feed, no pepper and an unknown person are four answers."""
    store = open_store(tmp_path / "store", ["AKM", "ZJ"])
    assert store.find({"AKM": key(1)}, MOMENT) == (Unknown("AKM", Missing.NO_FEED), Unknown("ZJ", Missing.NO_FEED))
    assert store.held() == {}
    station = Station(tmp_path / "store", region)
    station.take(region.snapshot(1, BEFORE))
    assert store.find({"AKM": key(1)}, MOMENT)[0] == Unknown("AKM", Missing.NO_FEED), "until it is told to look"
    store.refresh()
    akm, zj = store.find({"AKM": key(1), "ZJ": key(1)}, MOMENT)
    assert akm == Enrolled("AKM", GREEN, REGION, 0, None, 1, Freshness(NOW_S, REGION))
    assert zj == Unknown("ZJ", Missing.NO_FEED)
    assert store.find({}, MOMENT)[0] == Unknown("AKM", Missing.PEPPER_MISSING)
    stranger = store.find({"AKM": key(5000)}, MOMENT)[0]
    assert stranger == NotCovered("AKM", 1, Freshness(NOW_S), Uncovered.UNKNOWN_PERSON)
    assert store.held()["AKM"] == station.held
    store.close()
    station.store.close()


def test_a_reader_keeps_what_it_has_until_it_looks_again(region: Region, station: Station) -> None:
    """Files that the writer has removed stay readable; one refresh changes all of it at once."""
    station.take(region.snapshot(1, BEFORE))
    store = open_store(station.folder, ["AKM"])
    station.take(region.snapshot(2, people(range(2000), RED)))
    assert set(told(store, region, BEFORE).values()) == {"GREEN"}
    assert [path.name for path in _issuer_folder(station).glob("base-1-*")] == []
    store.refresh()
    assert set(told(store, region, BEFORE).values()) == {"RED"}
    store.close()


def test_a_refresh_with_nothing_new_opens_nothing(region: Region, station: Station) -> None:
    """It is called once a second on the lanes' own loop: one stat an issuer."""
    station.take(region.snapshot(1, BEFORE))
    store = open_store(station.folder, ["AKM"])
    before = store.held()["AKM"]
    store.refresh()
    assert store.held()["AKM"] is before
    station.take(region.publish(2, AFTER, follows=1)[1])
    store.refresh()
    assert store.held()["AKM"] is not before
    store.close()


def test_a_reader_leaks_no_file(region: Region, station: Station) -> None:
    """Fifty states later it holds open what is in service, and nothing else."""
    station.take(region.snapshot(1, BEFORE))
    store = open_store(station.folder, ["AKM"])
    before = len(os.listdir("/proc/self/fd"))
    for sequence in range(2, 52):
        region.publish(sequence, people(range(10 + sequence)), follows=sequence - 1)
        station.take(region.delta_path(sequence - 1, sequence))
        store.refresh()
    assert len(os.listdir("/proc/self/fd")) <= before + 2
    store.close()


# --- regions and dates ------------------------------------------------------------------------------------------------


def test_a_city_turns_yellow_at_its_hour(region: Region, station: Station) -> None:
    """Announced ahead by a delta of no changes: green until the second, yellow from it; the listed stay as they are."""
    subjects = {**BEFORE, key(0): entry(key(0), RED), key(1): entry(key(1), GREEN, "340200")}
    station.take(region.snapshot(1, subjects))
    city = Partition(REGION, NOW_S - 60, (Default(0, GREEN), Default(NOW_S + 3600, YELLOW, 7)))
    station.take(region.publish(2, subjects, follows=1, partitions=[city])[1])
    store = open_store(station.folder, ["AKM"])
    for after_s, status in ((0, "GREEN"), (3599, "GREEN"), (3600, "YELLOW"), (DAY_S, "YELLOW")):
        now = MOMENT.plus(after_s)
        assert told(store, region, map(key, (0, 1, 2, 1999)), now) == {
            key(0): "RED",
            key(1): "GREEN",
            key(2): status,
            key(1999): status,
        }
    finding = found(store, region, key(2), MOMENT.plus(3600))
    assert finding == Enrolled("AKM", YELLOW, REGION, NOW_S + 3600, None, 2, Freshness(NOW_S - 60, REGION), 7)
    store.close()


def test_a_region_of_which_nothing_is_said_covers_nobody(region: Region, station: Station) -> None:
    """Its first default lies ahead: NOT_COVERED, which is no error and no green; from that second on it is."""
    later = Partition(REGION, NOW_S, (Default(NOW_S + 3600, GREEN),))
    station.take(region.snapshot(1, BEFORE, partitions=[later]))
    store = open_store(station.folder, ["AKM"])
    silent = NotCovered("AKM", 1, Freshness(NOW_S), Uncovered.UNKNOWN_PARTITION)
    assert found(store, region, key(1)) == silent
    assert decide(Question((silent,)), read_rules(None), MOMENT).reason is Reason.NOT_COVERED
    assert told(store, region, [key(1)], MOMENT.plus(3600)) == {key(1): "GREEN"}
    store.close()


def test_a_region_that_reported_long_ago_is_as_old_as_that(region: Region, station: Station) -> None:
    """The feed is fresh and one region in it is not: its people, enrolled and listed, are judged by its own time."""
    old = Partition(REGION, NOW_S - 3 * DAY_S, (Default(0, GREEN),))
    subjects = {**BEFORE, key(0): entry(key(0), RED), key(1): entry(key(1), GREEN, "340200")}
    station.take(region.snapshot(1, subjects, partitions=[old]))
    store = open_store(station.folder, ["AKM"])
    rules = read_rules(None)
    said = [decide(Question((found(store, region, key(n)),)), rules, MOMENT) for n in (0, 1, 2)]
    assert [(v.kind, v.reason) for v in said] == [
        (VerdictKind.REFER, Reason.FEED_EXPIRED),
        (VerdictKind.GRANT, Reason.STATUS_GREEN),
        (VerdictKind.REFER, Reason.FEED_EXPIRED),
    ]
    store.close()


@pytest.mark.parametrize("kind", [Kind.FULL, Kind.NON_GREEN_WITH_ENROLMENT])
def test_a_green_that_lapses_is_not_green(tmp_path: Path, kind: Kind) -> None:
    """Enrolled or listed, by snapshot or by delta: until its last second, and not at the next."""
    region = Region(tmp_path / "r", kind=kind, today=NOW - timedelta(days=400))
    station = Station(tmp_path / "store", region)
    midnight = DAY_ZERO_UTC_S + (NOW_S - DAY_ZERO_UTC_S) // DAY_S * DAY_S  # the Beijing midnight before now
    soon = midnight + DAY_S
    until = {key(0): midnight, key(1): soon, key(2): soon, key(3): soon - 1, key(4): None}
    before = {k: entry(k, until=t) for k, t in until.items() if k != key(2)}
    station.take(region.snapshot(1, before))
    station.take(region.publish(2, {k: entry(k, until=t) for k, t in until.items()}, follows=1)[1])
    store = open_store(station.folder, ["AKM"])

    def granted(utc_s: float) -> list[int]:
        now = Moment(utc_s, 0.0)
        asked = [decide(Question((found(store, region, key(n), now),)), read_rules(None), now) for n in range(5)]
        assert all(v.kind is VerdictKind.GRANT or v.reason is Reason.STATUS_GREY for v in asked)
        return [n for n, verdict in enumerate(asked) if verdict.kind is VerdictKind.GRANT]

    assert granted(NOW_S) == [1, 2, 3, 4]
    assert granted(soon - 1.5) == [1, 2, 3, 4]
    assert granted(soon - 1) == [1, 2, 4]
    assert granted(soon) == [4]
    store.close()
    station.store.close()


# --- many deltas ------------------------------------------------------------------------------------------------------

_WORD = st.one_of(st.none(), st.sampled_from([GREEN, GREEN, RED, YELLOW]))
_STEP = st.dictionaries(st.integers(0, 60), _WORD, max_size=25)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(_STEP, min_size=1, max_size=14), st.sets(st.integers(0, 13)))
def test_after_any_deltas_the_store_says_what_a_dict_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[int, CredentialStatus | None]], bases: set[int]
) -> None:
    """People come, change, go and come again; overlays merge; now and then a snapshot of the held sequence is taken."""
    folder = tmp_path_factory.mktemp("tiers")
    region, subjects = Region(folder / "r"), people(range(20))
    station = Station(folder / "store", region)
    station.take(region.snapshot(1, subjects))
    store = open_store(folder / "store", ["AKM"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writer_module, "SMALL", 2)  # so that a handful of elements is enough for tiers
        patch.setattr(writer_module, "WELCOME", 0)
        for sequence, step in enumerate(steps, 2):
            subjects = _changed(subjects, step)
            snapshot, change = region.publish(sequence, subjects, follows=sequence - 1)
            assert station.take(change) is Standing.NEWER
            if sequence - 2 in bases:
                welcome = station.writer.wants_base
                assert station.take(snapshot) is (Standing.NEW_BASE if welcome else Standing.HELD_ALREADY)
                assert station.writer.overlay_elements == 0
            if sequence % 5 == 0:
                station.again()
            store.refresh()
            manifest = read_manifest(folder / "store" / "AKM")
            assert manifest
            assert len(manifest.overlays) <= 6
            assert told(store, region, map(key, range(62))) == {
                key(n): str(subjects[key(n)].status) if key(n) in subjects else "UNKNOWN_PERSON" for n in range(62)
            }
    assert station.writer.scrub() == ""
    store.close()
    station.store.close()


def _changed(subjects: dict[bytes, StatusEntry], step: dict[int, CredentialStatus | None]) -> dict[bytes, StatusEntry]:
    changed = {**subjects, **{key(n): entry(key(n), status) for n, status in step.items() if status}}
    return {k: one for k, one in changed.items() if k not in {key(n) for n, status in step.items() if status is None}}


def test_a_snapshot_of_the_held_sequence_ends_the_overlays(
    region: Region, station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only when so many lie over the base that copying pays; nobody's answer changes."""
    station.take(region.snapshot(1, BEFORE))
    snapshot, change = region.publish(2, AFTER, follows=1)
    station.take(change)
    store = open_store(station.folder, ["AKM"])
    before = told(store, region, AFTER)
    assert station.take(snapshot) is Standing.HELD_ALREADY
    assert station.writer.overlay_elements == 100
    monkeypatch.setattr(writer_module, "WELCOME", 99)
    assert station.writer.wants_base
    assert station.take(snapshot) is Standing.NEW_BASE
    assert station.writer.overlay_elements == 0
    assert not station.writer.wants_base
    store.refresh()
    assert told(store, region, AFTER) == before
    store.close()


# --- damage -----------------------------------------------------------------------------------------------------------


def test_a_manifest_with_any_byte_flipped_is_never_another_state(region: Region, station: Station) -> None:
    """A reader that starts on it knows nothing and says why; one that has a state keeps it."""
    station.take(region.snapshot(1, BEFORE))
    path = _issuer_folder(station) / NAME
    raw = path.read_bytes()
    keeps = open_store(station.folder, ["AKM"])
    right = found(keeps, region, key(1))
    whys = set()
    for at in range(len(raw)):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ 0x04]) + raw[at + 1 :])
        starts = open_store(station.folder, ["AKM"])
        finding = found(starts, region, key(1))
        if finding != right:
            assert isinstance(finding, Unknown)
            whys.add(finding.why)
        starts.close()
        if at % 10 == 0:
            keeps.refresh()
            assert found(keeps, region, key(1)) == right
    assert whys <= {Missing.STORE_DAMAGED, Missing.STORE_OTHER_VERSION}
    assert Missing.STORE_DAMAGED in whys
    keeps.close()


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff", b'{"version": 2}', b'{"version": 2, "check": 0, "body": 5}', b"[" * 90_000],
)
def test_a_manifest_that_is_none_is_damaged_and_a_snapshot_heals_it(
    region: Region, station: Station, text: bytes
) -> None:
    """After a restart the writer holds nothing and refuses deltas by name; the snapshot of before is taken again."""
    first = region.snapshot(1, BEFORE)
    station.take(first)
    folder = _issuer_folder(station)
    (folder / NAME).write_bytes(text)
    (folder / ".base-9.snapshot").write_bytes(bytes(1000))  # what a kill left, and a full disk would keep
    with pytest.raises(ManifestError, match="is damaged"):
        read_manifest(folder)
    station.again()
    assert station.held is None
    assert "the manifest is damaged" in station.writer.damaged
    assert list(folder.glob("base-1-*")), "as long as nobody knows what is in use, nothing in use is removed"
    assert not (folder / ".base-9.snapshot").exists()
    with pytest.raises(RefusedError, match=r"^NO_BASE"):
        station.take(region.publish(2, AFTER, follows=1)[1])
    assert station.take(first) is Standing.NEWER
    assert station.writer.damaged == ""
    assert station.take(region.delta_path(1, 2)) is Standing.NEWER


def test_a_store_of_another_release_is_named_and_replaced(region: Region, station: Station) -> None:
    """STORE_OTHER_VERSION at the gate; the feed process takes a snapshot over it."""
    first = region.snapshot(1, BEFORE)
    station.take(first)
    path = _issuer_folder(station) / NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 3}))
    store = open_store(station.folder, ["AKM"])
    assert found(store, region, key(1)) == Unknown("AKM", Missing.STORE_OTHER_VERSION)
    station.again()
    assert "is of version 3, this release reads 2" in station.writer.damaged
    station.take(first)
    store.refresh()
    assert told(store, region, [key(1)]) == {key(1): "GREEN"}
    store.close()


def _flip_all(path: Path, begin: int) -> None:
    raw = bytearray(path.read_bytes())
    for at in range(begin, len(raw) - 5000):
        raw[at] ^= 0x02
    path.write_bytes(raw)


def test_a_damaged_base_is_said_and_the_same_snapshot_heals_it(region: Region, station: Station) -> None:
    """Look-ups in it are "damaged", never a colour; the scrub says so; deltas wait; that snapshot ends it."""
    first = region.snapshot(1, BEFORE)
    station.take(first)
    (base,) = _issuer_folder(station).glob("base-*")
    store = open_store(station.folder, ["AKM"])
    manifest = read_manifest(_issuer_folder(station))
    assert manifest
    _flip_all(base, manifest.base_at)
    answers = [found(store, region, subject) for subject in BEFORE]
    assert Unknown("AKM", Missing.STORE_DAMAGED) in answers
    assert {type(answer) for answer in answers} <= {Unknown, Enrolled}
    assert not station.writer.wants_base
    assert "damaged" in station.writer.scrub()
    assert station.writer.wants_base
    with pytest.raises(RefusedError, match=r"^SNAPSHOT_NEEDED: .*damaged"):
        station.take(region.publish(2, AFTER, follows=1)[1])
    assert station.take(first) is Standing.NEW_BASE
    assert station.writer.scrub() == ""
    store.refresh()
    assert set(told(store, region, BEFORE).values()) == {"GREEN"}
    assert station.take(region.delta_path(1, 2)) is Standing.NEWER
    store.close()


@pytest.mark.parametrize("what", ["flipped", "cut", "empty", "gone"])
@pytest.mark.parametrize("which", ["base", "over"])
def test_a_file_of_the_store_that_is_not_as_it_was(region: Region, station: Station, what: str, which: str) -> None:
    """At a restart of either side: a named state, no crash, no colour that was not published; a snapshot ends it."""
    station.take(region.snapshot(1, BEFORE))
    snapshot, change = region.publish(2, AFTER, follows=1)
    station.take(change)
    (path,) = _issuer_folder(station).glob(f"{which}-*")
    raw = path.read_bytes()
    wrong = {"flipped": raw[:-100] + bytes([raw[-100] ^ 1]) + raw[-99:], "cut": raw[: len(raw) // 2], "empty": b""}
    if what == "gone":
        path.unlink()
    else:
        path.write_bytes(wrong[what])
    store = open_store(station.folder, ["AKM"])
    allowed = {"STORE_DAMAGED", "STORE_UNREADABLE"}
    for subject in AFTER:
        (answer,) = told(store, region, [subject]).values()
        assert answer in allowed or answer == str(AFTER[subject].status)
    station.again()
    assert station.writer.scrub()
    assert station.held
    assert station.held.sequence == 2
    with pytest.raises(RefusedError, match=r"^SNAPSHOT_NEEDED"):
        station.take(region.publish(3, BEFORE, follows=2)[1])
    assert station.take(snapshot) is Standing.NEW_BASE
    store.refresh()
    assert told(store, region, AFTER) == {k: str(one.status) for k, one in AFTER.items()}
    store.close()


def test_what_could_not_be_read_is_read_again_without_a_new_state(region: Region, station: Station) -> None:
    """Trouble that passes (too many open files, a slow disk) must not outlast itself until the next publication."""
    station.take(region.snapshot(1, BEFORE))
    (base,) = _issuer_folder(station).glob("base-*")
    base.rename(base.with_name("away"))
    store = open_store(station.folder, ["AKM"])
    assert found(store, region, key(1)) == Unknown("AKM", Missing.STORE_UNREADABLE)
    base.with_name("away").rename(base)
    store.refresh()
    assert told(store, region, [key(1)]) == {key(1): "GREEN"}
    store.close()


def test_one_issuers_trouble_is_not_anothers(tmp_path: Path, region: Region, station: Station) -> None:
    """Two issuers in one store: the damaged one is unknown, the other answers."""
    other = Region(tmp_path / "zj", "ZJ", today=NOW - timedelta(days=400))
    station.take(region.snapshot(1, BEFORE))
    second = Station.__new__(Station)
    second.folder, second.region, second.store = station.folder, other, station.store
    second.writer = station.store.issuer("ZJ")
    second.take(other.snapshot(1, people(range(5), RED)))
    (_issuer_folder(station) / NAME).write_bytes(b"{")
    store = open_store(station.folder, ["AKM", "ZJ"])
    akm, zj = store.find({"AKM": key(1), "ZJ": key(1)}, MOMENT)
    assert akm == Unknown("AKM", Missing.STORE_DAMAGED)
    assert isinstance(zj, Listed)
    store.close()


# --- one writer, many readers -----------------------------------------------------------------------------------------


def test_one_process_writes(tmp_path: Path) -> None:
    """The second is told whose it is and what to do; when the first is gone it may."""
    first = StoreWriter(tmp_path / "store")
    with pytest.raises(StoreError, match=r"store is written by another feed process: stop it"):
        StoreWriter(tmp_path / "store")
    first.close()
    StoreWriter(tmp_path / "store").close()


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_can_be_no_store_is_named(tmp_path: Path, place: str) -> None:
    """data_dir is a file: a line that says so, not a traceback."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="check data_dir"):
        StoreWriter(tmp_path / place)


def test_a_reader_beside_a_busy_writer_sees_whole_states(region: Region, station: Station) -> None:
    """Sixty publications, a base every tenth: each answer is that of the sequence it names, and none fails."""
    states = {1: BEFORE}
    station.take(region.snapshot(1, BEFORE))
    files: list[Path] = []
    for sequence in range(2, 62):
        states[sequence] = {**BEFORE, **people(range(sequence * 30), RED if sequence % 2 else YELLOW)}
        files.append(region.publish(sequence, states[sequence], follows=sequence - 1)[sequence % 10 > 0])
    store = open_store(station.folder, ["AKM"])
    failed: list[BaseException] = []

    def write() -> None:
        try:
            for path in files:
                station.take(path)
        except BaseException as error:
            failed.append(error)

    writing = threading.Thread(target=write)
    writing.start()
    seen: dict[int, int] = {}
    while writing.is_alive() or 61 not in seen:
        store.refresh()
        answers = [found(store, region, key(n)) for n in range(0, 2000, 40)]
        sequences = {_sequence(answer) for answer in answers}
        assert len(sequences) == 1, "never a mixture"
        (sequence,) = sequences
        for number, answer in zip(range(0, 2000, 40), answers, strict=True):
            assert isinstance(answer, Listed | Enrolled)
            assert answer.status is states[sequence][key(number)].status
        seen[sequence] = seen.get(sequence, 0) + 1
    writing.join()
    assert not failed
    assert list(seen) == sorted(seen), "nor back"
    assert len(seen) > 3
    store.close()


def _sequence(finding: Finding) -> int:
    assert not isinstance(finding, Unknown)
    return finding.sequence


@pytest.mark.parametrize(
    "stops",
    ["fsync of the copy", "rename of the base", "fsync of the manifest", "rename of the manifest", "removal"],
)
def test_wherever_the_writer_stops_one_whole_state_is_in_service(
    region: Region, station: Station, monkeypatch: pytest.MonkeyPatch, stops: str
) -> None:
    """The disk fails at each step in turn: readers and a restarted writer have the old state or the new one."""
    station.take(region.snapshot(1, BEFORE))
    snapshot = region.snapshot(2, people(range(2000), RED))
    steps: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
        "fsync of the copy": lambda patch: _fails(patch, os, "fsync", 1),
        "rename of the base": lambda patch: _fails(patch, Path, "rename", 1),
        "fsync of the manifest": lambda patch: _fails(patch, os, "fsync", 3),
        "rename of the manifest": lambda patch: _fails(patch, Path, "rename", 2),
        "removal": lambda patch: _fails(patch, Path, "unlink", 1),
    }
    with monkeypatch.context() as patch:
        steps[stops](patch)
        if stops == "removal":
            station.take(snapshot)
        else:
            with pytest.raises(RefusedError, match=r"^STORE_FAILED: Input/output error"):
                station.take(snapshot)
    store = open_store(station.folder, ["AKM"])
    expected = "RED" if stops == "removal" else "GREEN"
    assert set(told(store, region, BEFORE).values()) == {expected}
    station.again()
    assert station.writer.scrub() == ""
    assert len(list(_issuer_folder(station).iterdir())) == 2, "leftovers are swept"
    station.take(snapshot)
    store.refresh()
    assert set(told(store, region, BEFORE).values()) == {"RED"}
    store.close()


def _fails(patch: pytest.MonkeyPatch, owner: object, name: str, at: int) -> None:
    """The `at`th call ends as on a disk that is dying, as do all after it."""
    original, calls = getattr(owner, name), [0]

    def call(*arguments: object, **more: object) -> object:
        calls[0] += 1
        if calls[0] >= at:
            raise OSError(5, "Input/output error")
        return original(*arguments, **more)

    patch.setattr(owner, name, call)


def test_two_states_of_one_instant_are_told_apart(region: Region, station: Station) -> None:
    """On a kernel with coarse times, and with the inode used again, a reader sees that the sequence is another."""
    for sequence in (1, 2, 3):
        station.take(region.snapshot(sequence, people(range(3))))
        assert (_issuer_folder(station) / NAME).stat().st_mtime_ns % 1_000_000 == sequence
