"""The publishing side: the same input gives the same bytes, everybody as told, deltas that are the difference."""

import dataclasses
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.feed import delta as delta_body
from gate.feed import table
from gate.feed.digest import SetDigest
from gate.feed.finding import Enrolled, Freshness, Listed, NotCovered, NotListed
from gate.feed.ledger import Standing
from gate.feed.partitions import Default, Partition, canonical
from gate.feed.records import (
    ABSENT,
    DAY_ZERO_UTC_S,
    KEY_SCHEME,
    CredentialStatus,
    Enrolment,
    Kind,
    StatusEntry,
    encode_state,
)
from gate.sync.publisher import Edition, Output, PublishError, compacted, publish, publish_elements
from gate.sync.rows import Row
from gate.sync.state import OldState, StateError
from gate.sync.store import open_store
from gate.sync.tablefile import TableFile
from tests.support.region import (
    DAY_S,
    GREEN,
    NOW_S,
    RED,
    REGION,
    YELLOW,
    Region,
    Station,
    entry,
    found,
    key,
    parts,
    people,
    told,
)

DAY_ONE = DAY_ZERO_UTC_S + 3000 * DAY_S  # a Beijing midnight


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "akm")


def _entries(many: int, seed: int = 1) -> dict[bytes, StatusEntry]:
    """People of every status, with every optional field there or not."""
    chance = random.Random(seed)
    made = {}
    for number in range(many):
        made[key(number)] = StatusEntry(
            key(number),
            chance.choice([GREEN, GREEN, GREEN, *CredentialStatus]),
            chance.choice([REGION, "340200", "000000"]),
            NOW_S - chance.randrange(10**7),
            chance.choice([None, DAY_ONE, DAY_ONE + DAY_S, DAY_ONE + 5]),
            chance.choice([0, 0, 0, 7]),
            chance.choice(["", REGION, "340200"]),
            chance.choice([0, 0, 0, 2**32 - 1]),
            chance.choice(["", "", "310100"]),
        )
    return made


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("many", [0, 1, 30, 6000])
def test_everybody_is_found_as_published(tmp_path: Path, kind: Kind, many: int) -> None:
    """All of them, in every field that the kind promises; of a stranger what absence means in this kind."""
    region, station = Region(tmp_path / "r", kind=kind), Station(tmp_path / "store", Region(tmp_path / "other"))
    station = Station(tmp_path / "s", region)
    subjects = _entries(many)
    station.take(region.snapshot(3, subjects))
    store = open_store(tmp_path / "s", [region.issuer])
    enrolled = 0
    for subject, one in subjects.items():
        finding = found(store, region, subject)
        if isinstance(finding, Enrolled):
            enrolled += 1
            assert kind is Kind.NON_GREEN_WITH_ENROLMENT
            assert one.status is GREEN
            assert (one.reason, one.revision, one.residence) == (0, 0, ""), "what an enrolment cannot say is listed"
            assert (finding.status, finding.asserted_by) == (GREEN, one.asserted_by)
            assert finding.valid_until_utc_s == one.valid_until_utc_s
            continue
        assert finding == Listed(
            region.issuer,
            one.status,
            one.asserted_by,
            one.effective_utc_s,
            one.valid_until_utc_s,
            3,
            Freshness(NOW_S, "" if kind is not Kind.NON_GREEN_WITH_ENROLMENT else finding.freshness.partition),
            one.reason,
            one.residence,
        )
    assert (enrolled > many // 50) is (kind is Kind.NON_GREEN_WITH_ENROLMENT and many > 30)
    stranger = found(store, region, b"?" * 16)
    assert isinstance(stranger, NotListed if kind is Kind.RED_YELLOW else NotCovered)
    store.close()


def test_the_same_rows_give_the_same_bytes_in_any_order(region: Region) -> None:
    """Snapshot, state and delta alike; the order of rows and their line numbers are not published."""
    before, after = _entries(500), _entries(600, seed=2)
    region.publish(1, before)
    first = [path.read_bytes() for path in region.publish(2, after, follows=1)]
    shuffled = list(after.items())
    random.Random(3).shuffle(shuffled)
    assert [path.read_bytes() for path in region.publish(2, dict(shuffled), follows=1)] == first
    assert [path.read_bytes() for path in region.publish(2, after, follows=1, produced_s=NOW_S + 1)] != first


def test_bulk_elements_give_the_bytes_of_rows(region: Region, tmp_path: Path) -> None:
    """`publish_elements` is `publish` for those who have millions."""
    subjects = _entries(700)
    by_rows = region.snapshot(4, subjects)
    raw = b"".join(subject + encode_state(compacted(one, NOW_S)) for subject, one in subjects.items())
    elements = np.frombuffer(raw, np.uint8).reshape(-1, 44)
    edition = Edition(region.issuer, 4, NOW_S, NOW_S + DAY_S, KEY_SCHEME, region.pepper_id, region.kind)
    out = tmp_path / "bulk.snapshot"
    publish_elements([elements[:300], elements[300:]], edition, region.private, Output(out))
    assert out.read_bytes() == by_rows.read_bytes()
    for wrong in (ABSENT, bytes([9]) + bytes(27)):
        with pytest.raises(PublishError, match="cannot be published"):
            publish_elements(
                [np.frombuffer(key(1) + wrong, np.uint8).reshape(1, 44)], edition, region.private, Output(out)
            )


def test_one_person_twice(region: Region) -> None:
    """The same words twice are one person; two different words are refused with both lines and nobody's number."""
    rows = [Row(2, entry(key(1))), Row(9, entry(key(1))), Row(11, entry(key(2)))]
    edition = Edition(region.issuer, 1, NOW_S, NOW_S + 1, KEY_SCHEME, region.pepper_id)
    (header,) = publish(rows, edition, region.private, Output(region.snapshot_path(1)))
    assert header.count == 2
    there = sorted(region.outbox.iterdir())
    rows.append(Row(700_000, entry(key(2), RED)))
    with pytest.raises(PublishError, match="lines 11 and 700000") as refused:
        publish(rows, edition, region.private, Output(region.snapshot_path(2), region.outbox / "state"))
    assert key(2).hex() not in str(refused.value)
    assert sorted(region.outbox.iterdir()) == there, "no file, half a file or temporary file is left"


def _colliding(tail: int) -> bytes:
    return b"\x10\x20\x30abcd" + bytes([tail]) * 9


def test_colliding_people_are_stored_in_full(region: Region, tmp_path: Path) -> None:
    """Same bucket and fingerprint: each has his own last day and region; the second costs 44 bytes instead of 6."""
    subjects = {
        _colliding(1): entry(_colliding(1), until=DAY_ONE),
        _colliding(2): entry(_colliding(2), region="340200", until=DAY_ONE + DAY_S),
        _colliding(3): entry(_colliding(3), RED),
        _colliding(4): entry(_colliding(4)),
        **people(range(50)),
    }
    station = Station(tmp_path / "s", region)
    path = region.snapshot(1, subjects)
    station.take(path)
    store = open_store(tmp_path / "s", [region.issuer])
    told_ = [found(store, region, _colliding(n)) for n in (1, 2, 3, 4)]
    assert [(f.status, f.asserted_by, f.valid_until_utc_s) for f in told_ if isinstance(f, Listed | Enrolled)] == [
        (GREEN, REGION, DAY_ONE),
        (GREEN, "340200", DAY_ONE + DAY_S),
        (RED, REGION, None),
        (GREEN, REGION, None),
    ]
    opened = TableFile(path, len(path.read_bytes()) - parts(path)[0].body_bytes)
    assert (opened.foot.exact, opened.foot.compact) == (3, 51), "of three that collide one is compact"
    assert parts(path)[0].exact_count == 1, "and in the set they are enrolled as before"
    opened.close()
    store.close()


# A dozen subjects, four of whom share bucket and fingerprint; each absent, enrolled or listed, before and after.
_POOL = [*(_colliding(n) for n in range(4)), *(key(n) for n in range(8))]
_WORDS = st.one_of(
    st.none(),
    st.builds(
        lambda status, region, until: entry(b"", status, region, until),
        st.sampled_from([GREEN, GREEN, YELLOW, RED]),
        st.sampled_from([REGION, "340200"]),
        st.sampled_from([None, DAY_ONE, DAY_ONE + 1]),
    ),
)
_SETS = st.tuples(*[_WORDS] * len(_POOL)).map(
    lambda words: {k: dataclasses.replace(w, subject_key=k) for k, w in zip(_POOL, words, strict=True) if w}
)
_TABLES = st.sampled_from([(), (Partition(REGION, NOW_S - 60, (Default(0, GREEN), Default(NOW_S - 30, YELLOW, 3))),)])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(before=_SETS, after=_SETS, tables=st.tuples(_TABLES, _TABLES), kind=st.sampled_from(Kind))
@example({}, {}, ((), ()), Kind.FULL)
def test_a_delta_is_the_difference(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[bytes, StatusEntry],
    after: dict[bytes, StatusEntry],
    tables: tuple[tuple[Partition, ...], tuple[Partition, ...]],
    kind: Kind,
) -> None:
    """Counted by hand; and the old snapshot with it is the new snapshot: digest, counts and every look-up."""
    folder = tmp_path_factory.mktemp("difference")
    region = Region(folder / "r", kind=kind)
    first = region.snapshot(1, before, partitions=tables[0])
    second, change = region.publish(2, after, follows=1, partitions=tables[1])
    _is_the_difference(parts(change), before, after, kind)
    by_delta, by_snapshot = Station(folder / "d", region), Station(folder / "s", region)
    assert by_delta.take(first) is by_delta.take(change) is by_snapshot.take(second) is Standing.NEWER
    assert by_delta.held is not None
    assert by_delta.held == by_snapshot.held
    assert by_delta.held.set_digest == _by_hand(after, by_delta.held.partitions, kind)
    stores = [open_store(station.folder, [region.issuer]) for station in (by_delta, by_snapshot)]
    for subject in (*_POOL, key(99)):
        if subject not in after and subject in _POOL[:4]:
            continue  # a stranger with an enrolled person's bucket and fingerprint: what a table cannot tell
        one, other = (found(store, region, subject) for store in stores)
        assert one == other
    for each in (*stores, by_delta.store, by_snapshot.store):
        each.close()


def _state(one: StatusEntry | None, kind: Kind) -> bytes:
    return encode_state(compacted(one, NOW_S) if one and kind is Kind.NON_GREEN_WITH_ENROLMENT else one)


def _is_the_difference(
    file: tuple[object, bytes], before: dict[bytes, StatusEntry], after: dict[bytes, StatusEntry], kind: Kind
) -> None:
    header, body = file
    changes = delta_body.decode(body, header.changes)  # type: ignore[attr-defined]
    expected = {
        k: (_state(before.get(k), kind), _state(after.get(k), kind))
        for k in sorted({*before, *after})
        if _state(before.get(k), kind) != _state(after.get(k), kind)
    }
    rows = zip(changes.keys, changes.before, changes.after, strict=True)
    assert {k.tobytes(): (b.tobytes(), a.tobytes()) for k, b, a in rows} == expected


def _by_hand(subjects: dict[bytes, StatusEntry], partitions: tuple[Partition, ...], kind: Kind) -> str:
    digest = SetDigest()
    digest.add(k + _state(one, kind) for k, one in subjects.items())
    digest.add_partitions(canonical(partitions))
    return digest.hexadecimal


def test_a_thousand_changes_among_many_are_a_small_file(region: Region, tmp_path: Path) -> None:
    """20,000 people over many buckets, 1,000 of them changed, gone or new: the delta has those and no more."""
    before = people(range(20_000))
    after = {**before, **people(range(500), RED), **people(range(30_000, 30_200))}
    for number in range(600, 900):
        del after[key(number)]
    region.publish(1, before)
    snapshot, change = region.publish(2, after, follows=1)
    header, body = parts(change)
    assert header.changes == 1000
    assert len(body) < 1000 * 24, "a key is 16 bytes of chance, and the rest is alike"
    assert change.stat().st_ctime_ns <= snapshot.stat().st_ctime_ns, "who looks in between takes the small one"
    station = Station(tmp_path / "s", region)
    station.take(region.snapshot_path(1))
    station.take(change)
    store = open_store(tmp_path / "s", [region.issuer])
    numbers = [0, 499, 500, 599, 600, 899, 900, 19_999, 30_000, 30_199, 30_200]
    assert list(told(store, region, map(key, numbers)).values()) == [
        "RED",
        "RED",
        "GREEN",
        "GREEN",
        "UNKNOWN_PERSON",
        "UNKNOWN_PERSON",
        "GREEN",
        "GREEN",
        "GREEN",
        "GREEN",
        "UNKNOWN_PERSON",
    ]
    store.close()


def test_a_mass_change_costs_bytes(region: Region, tmp_path: Path) -> None:
    """ "This city is yellow from 14:00" for 5,000 people is a delta without a single change."""
    subjects = people(range(5000))
    at_two = NOW_S + 3600
    city = Partition(REGION, NOW_S, (Default(0, GREEN), Default(at_two, YELLOW, 7)))
    region.publish(1, subjects)
    change = region.delta(1, 2, subjects, partitions=[city])
    assert parts(change)[0].changes == 0
    assert change.stat().st_size < 1000
    assert region.publish(3, subjects, follows=2, partitions=[city])[1].exists()


@pytest.mark.parametrize(
    ("edition", "says"),
    [
        ({"sequence": 1}, "sequence 1 does not follow 1"),
        ({"kind": Kind.FULL}, "kind 'NON_GREEN_WITH_ENROLMENT', not 'FULL'"),
        ({"pepper_id": "other"}, "pepper"),
        ({"issuer": "ZJ"}, "belongs to issuer 'AKM'"),
    ],
)
def test_a_publication_that_cannot_follow_is_refused(region: Region, edition: dict[str, object], says: str) -> None:
    """The state before is of another issuer, kind, pepper or later; nothing is written."""
    region.publish(1, people(range(3)))
    state = region.folder / "1.state"
    there = {path: path.read_bytes() for path in region.outbox.iterdir()}
    values = {
        "issuer": region.issuer,
        "sequence": 2,
        "produced_utc_s": NOW_S,
        "next_due_utc_s": NOW_S,
        "key_scheme": KEY_SCHEME,
        "pepper_id": region.pepper_id,
        "kind": region.kind,
    }
    output = Output(region.snapshot_path(2), None, region.delta_path(1, 2), state)
    with pytest.raises(PublishError, match=r"publish|follow|belongs") as refused:
        publish([], Edition(**(values | edition)), region.private, output)  # type: ignore[arg-type]
    assert says in str(refused.value)
    assert {path: path.read_bytes() for path in region.outbox.iterdir()} == there


@pytest.mark.parametrize(
    "change",
    [lambda raw: b"", lambda raw: raw[:-1], lambda raw: raw[1:], lambda raw: raw + b"x", lambda raw: b"x" * 500],
)
def test_a_state_file_that_is_none_says_what_to_do(region: Region, change: object) -> None:
    """Empty, cut at either end, prolonged, another file: its path and the remedy."""
    region.publish(1, people(range(3)))
    path = region.folder / "1.state"
    path.write_bytes(change(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(StateError, match=r"1\.state: .*(--state|--delta-from)"):
        OldState(path)


def test_a_state_is_for_the_publisher_alone(region: Region) -> None:
    """It lists everybody's key: 0600."""
    region.publish(1, people(range(3)))
    assert (region.folder / "1.state").stat().st_mode & 0o777 == 0o600


def test_too_many_changes_are_refused_before_they_are_gathered(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a delta is the publisher's too, and it says what to do; no file is left."""
    monkeypatch.setattr(delta_body, "CHANGES_MAX", 99)
    region.publish(1, {})
    there = sorted(region.outbox.iterdir())
    with pytest.raises(PublishError, match="more than 99 changes: publish a snapshot without a delta"):
        region.publish(2, people(range(100)), follows=1)
    assert sorted(region.outbox.iterdir()) == there
    assert region.publish(2, people(range(99)), follows=1)[1].exists()


def test_too_many_pairs_of_region_and_day_are_refused(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are numbered by 16 bits."""
    monkeypatch.setattr(table, "CLASSES_MAX", 2)
    subjects = {key(n): entry(key(n), until=DAY_ONE + n * DAY_S) for n in range(3)}
    with pytest.raises(PublishError, match="more than 2 pairs"):
        region.publish(1, subjects)


@pytest.mark.parametrize(
    ("change", "enrolled"),
    [
        ({}, True),
        ({"partition": ""}, True),
        ({"valid_until_utc_s": DAY_ONE}, True),
        ({"effective_utc_s": NOW_S}, True),
        ({"effective_utc_s": NOW_S + 1}, False),
        ({"valid_until_utc_s": DAY_ONE + 1}, False),
        ({"status": RED}, False),
        ({"reason": 1}, False),
        ({"revision": 1}, False),
        ({"residence": "310100"}, False),
        ({"asserted_by": "340200"}, False),
        ({"asserted_by": "000000", "partition": ""}, False),
    ],
)
def test_only_what_an_enrolment_says_whole_is_one(change: dict[str, object], enrolled: bool) -> None:
    """A green from tomorrow, a green until noon, a green of another authority: told exactly, at 44 bytes."""
    one = dataclasses.replace(entry(key(1)), **change)  # type: ignore[arg-type]
    kept = compacted(one, NOW_S)
    assert isinstance(kept, Enrolment) is enrolled
    assert enrolled or kept == one


_MEASURED = """
import sys
from pathlib import Path
from gate.sync import spill
from gate.sync.publisher import Edition, Output, publish
from gate.sync.rows import Row
from tests.support.region import Region, entry, key
spill._BUFFER_BYTES = 4096  # a part, so that a small test fills them all
folder, many = Path(sys.argv[1]), int(sys.argv[2])
region = Region(folder)
edition = Edition("AKM", 1, 1_600_000_000, 1_600_086_400, "gate/subject/1", region.pepper_id, region.kind)
most = 0
def measure():
    global most
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    most = max(most, int(lines["RssAnon"].split()[0]))
def rows():
    for number in range(many):
        one = key(number)
        yield Row(number, entry(one), one[::-1])
    measure()
publish(rows(), edition, region.private, Output(folder / "x", folder / "state", progress=lambda count: measure()))
measure()
print(most)
"""


def test_memory_is_bounded_however_many_rows(tmp_path: Path) -> None:
    """20,000 rows and 400,000, with tokens and state: 36 MB more of rows cost less than 12 MB more of memory."""

    def anonymous_kb(many: int) -> int:
        child = [sys.executable, "-c", _MEASURED, str(tmp_path / str(many)), str(many)]
        return int(subprocess.run(child, capture_output=True, check=True, text=True).stdout)

    few, many = anonymous_kb(20_000), anonymous_kb(400_000)
    assert many - few < 12_000, f"{few} kB for 20,000 rows and {many} kB for 400,000"
