"""Tables: what is read is what a dict says, and a damaged byte is never another answer."""

import io
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.feed import table
from gate.feed.records import (
    ABSENT,
    CredentialStatus,
    Enrolment,
    FeedError,
    State,
    StatusEntry,
    decode_state,
    encode_state,
)
from gate.feed.states import Bytes2
from gate.sync.tablefile import DamagedError, TableFile
from gate.sync.tablewriter import Hashing, TableWriter, ambiguous, bucket_numbers, fingerprints, write_overlay

SALT = b"saltsalt"
CLASSES = [Enrolment("310100", 0), Enrolment("310100", 900), Enrolment("340100", 1)]


def rows(raw: list[bytes], width: int) -> Bytes2:
    return np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), width)


def build(people: dict[bytes, State], bits: int, parts: int = 1) -> tuple[bytes, int]:
    """A table as a publisher makes it, and how many enrolled people had to be told exactly."""
    sink = io.BytesIO()
    writer = TableWriter(sink, bits, SALT)
    keys = sorted(people)
    in_full, edges = 0, [((part + 1) << bits) // parts for part in range(parts)]
    for first, until in itertools.pairwise([0, *edges]):
        here = [key for key in keys if first <= int.from_bytes(key[:3], "big") >> (24 - bits) < until]
        enrolled = [key for key in here if isinstance(people[key], Enrolment)]
        twice = ambiguous(rows(enrolled, 16), bits) if enrolled else np.zeros(0, np.bool_)
        compact = [key for key, again in zip(enrolled, twice, strict=True) if not again]
        in_full += len(enrolled) - len(compact)
        exact = [key + encode_state(people[key]) for key in here if key not in set(compact)]
        classes = np.array([CLASSES.index(people[key]) for key in compact], np.uint16)  # type: ignore[arg-type]
        writer.add(rows(exact, 44), rows(compact, 16), classes, until)
    foot = writer.finish(CLASSES)
    assert (foot.exact, foot.compact) == (len(people) - len(compact_of(people, bits)), len(compact_of(people, bits)))
    return sink.getvalue(), in_full


def compact_of(people: dict[bytes, State], bits: int) -> set[tuple[int, bytes]]:
    """Bucket and fingerprint of everybody enrolled, counted in plain Python."""
    return {
        (int.from_bytes(key[:3], "big") >> (24 - bits), key[3:7])
        for key, state in people.items()
        if isinstance(state, Enrolment)
    }


def ask(opened: TableFile, key: bytes) -> State:
    """As the store asks (gate/sync/store.py), of a single table."""
    bucket = opened.bucket(key)
    raw = table.find_exact(bucket, key)
    if raw is not None:
        return None if raw == ABSENT else decode_state(key, raw)
    number = table.find_compact(bucket, key)
    return None if number is None else opened.compact_class(number)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


def opened(folder: Path, raw: bytes, before: bytes = b"") -> TableFile:
    path = folder / "table"
    path.write_bytes(before + raw)
    return TableFile(path, len(before))


# Uniform keys; keys of few distinct buckets and fingerprints; keys that differ behind the first seven bytes only.
_UNIFORM = st.binary(min_size=16, max_size=16)
_SKEWED = st.builds(
    lambda lead, finger, tail: lead + finger + tail * 9,
    st.sampled_from([b"\0\0\0", b"\0\0\1", b"\x80\0\0", b"\xff\xff\xff"]),
    st.sampled_from([b"\0\0\0\0", b"abcd", b"bcda", b"\xff\xff\xff\xff"]),
    st.sampled_from([b"\0", b"a", b"\xff"]),
)
_STATE = st.one_of(
    st.sampled_from(CLASSES),
    st.builds(lambda status: StatusEntry(b"", status, "340100", 5), st.sampled_from(CredentialStatus)),
)
_PEOPLE = st.dictionaries(st.one_of(_SKEWED, _UNIFORM), _STATE, max_size=40)
_TWINS = {b"\0\0\0abcd" + bytes([n]) * 9: CLASSES[n % 3] for n in range(5)}


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_PEOPLE, st.integers(0, 10), st.sampled_from([1, 2, 7]), st.lists(_SKEWED, max_size=5))
@example({}, 0, 1, [b"x" * 16])
@example({}, 10, 7, [b"x" * 16])
@example(_TWINS, 0, 1, [])
@example(_TWINS, 16, 1, [])
def test_a_table_answers_what_a_dict_says(
    folder: Path, people: dict[bytes, State], bits: int, parts: int, strangers: list[bytes]
) -> None:
    """Everybody in it as published, whichever fingerprints collide; strangers only by bucket and fingerprint."""
    raw, in_full = build(people, bits, parts)
    opened_ = opened(folder, raw, b"header")
    try:
        opened_.check()
        for key, state in people.items():
            found = ask(opened_, key)
            expected = StatusEntry(key, *_fields(state)) if isinstance(state, StatusEntry) else state
            assert found == expected
        collides = compact_of(people, bits)
        for key in strangers:
            if key not in people and (int.from_bytes(key[:3], "big") >> (24 - bits), key[3:7]) not in collides:
                assert ask(opened_, key) is None
        exact = [key for key, state in people.items() if isinstance(state, StatusEntry)]
        assert len(opened_.elements()) == len(exact) + in_full
    finally:
        opened_.close()


def _fields(state: StatusEntry) -> tuple[CredentialStatus, str, int]:
    return state.status, state.asserted_by, state.effective_utc_s


def test_a_listed_twin_of_an_enrolled_is_told_exactly(folder: Path) -> None:
    """Same bucket, same fingerprint, another key: red stays red and green green; nobody is red by collision."""
    red = StatusEntry(b"", CredentialStatus.RED, "340100", 5)
    raw, _ = build({b"\0\0\0abcd" + b"1" * 9: red, b"\0\0\0abcd" + b"2" * 9: CLASSES[0]}, 0)
    opened_ = opened(folder, raw)
    assert isinstance(ask(opened_, b"\0\0\0abcd" + b"1" * 9), StatusEntry)
    assert ask(opened_, b"\0\0\0abcd" + b"2" * 9) == CLASSES[0]
    assert not isinstance(ask(opened_, b"\0\0\0abcd" + b"3" * 9), StatusEntry)
    opened_.close()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(st.one_of(_SKEWED, _UNIFORM), st.one_of(st.none(), _STATE), max_size=40))
def test_an_overlay_says_who_is_gone_too(folder: Path, people: dict[bytes, State]) -> None:
    """All told exactly, the absent as absent; in order of the keys."""
    sink = io.BytesIO()
    elements = [key + encode_state(people[key]) for key in sorted(people)]
    write_overlay(sink, rows(elements, 44), SALT)
    opened_ = opened(folder, sink.getvalue())
    for key, state in people.items():
        assert table.find_exact(opened_.bucket(key), key) == encode_state(state)
    assert [row.tobytes() for row in opened_.elements()] == elements
    opened_.close()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.one_of(_SKEWED, _UNIFORM), min_size=1, max_size=30), st.integers(0, 24))
def test_who_is_ambiguous_is_counted_alike(keys: list[bytes], bits: int) -> None:
    """Of each bucket and fingerprint the first is compact, and every later one is told in full."""
    seen: set[tuple[int, bytes]] = set()
    expected = []
    for key in keys:
        both = (int.from_bytes(key[:3], "big") >> (24 - bits), key[3:7])
        expected.append(both in seen)
        seen.add(both)
    assert ambiguous(rows(keys, 16), bits).tolist() == expected
    assert bucket_numbers(rows(keys, 16), bits).tolist() == [int.from_bytes(k[:3], "big") >> (24 - bits) for k in keys]
    assert fingerprints(rows(keys, 16)).tobytes() == b"".join(key[3:7] for key in keys)


def _every(raw: bytes) -> Iterator[tuple[int, bytes]]:
    for at in range(len(raw)):
        for bit in (0x01, 0x80, 0xFF):
            yield at, raw[:at] + bytes([raw[at] ^ bit]) + raw[at + 1 :]


PEOPLE: dict[bytes, State] = {
    bytes([n * 16, n, 7 * n % 256, *b"%04d" % n]) + b"k" * 9: (
        StatusEntry(b"", list(CredentialStatus)[n % 8], "340100", 5, partition="340100")
        if n % 3 == 0
        else CLASSES[n % 3]
    )
    for n in range(16)
}


def test_a_flipped_byte_is_damage_or_changes_nothing(folder: Path) -> None:
    """Every byte of buckets, offsets, classes and foot, three ways: the right answer or "damaged", never another."""
    raw, _ = build(PEOPLE, 2)
    whole = opened(folder, raw)
    right = {key: ask(whole, key) for key in (*PEOPLE, b"stranger" * 2)}
    whole.close()
    damaged = unharmed = 0
    for at, other in _every(raw):
        try:
            broken = opened(folder, other)
        except DamagedError:
            damaged += 1
            continue
        for key, answer in right.items():
            try:
                assert ask(broken, key) == answer, f"byte {at} of {len(raw)} gives another answer"
                unharmed += 1
            except (DamagedError, FeedError):
                damaged += 1
        with pytest.raises(DamagedError):
            broken.check()
        broken.close()
    assert damaged > len(raw)
    assert unharmed > len(raw), "only what was hit is out of service"


def test_a_table_cut_anywhere_is_damaged(folder: Path) -> None:
    """Its end is missing, so that nothing of it can be opened; no signal, no other exception."""
    raw, _ = build(PEOPLE, 2)
    for size in range(len(raw)):
        with pytest.raises(DamagedError):
            opened(folder, raw[:size])


def test_a_file_cut_while_it_is_read_is_damaged_and_no_signal(folder: Path) -> None:
    """Truncated under its reader, a mapped file would kill all lanes; here each look-up says "damaged" or is right."""
    raw, _ = build(PEOPLE, 2)
    reader = opened(folder, raw)
    right = {key: ask(reader, key) for key in PEOPLE}
    for size in range(len(raw), -1, -7):
        with reader.path.open("r+b") as file:
            file.truncate(size)
        for key, answer in right.items():
            try:
                assert ask(reader, key) == answer
            except DamagedError:
                continue
    with pytest.raises(DamagedError):
        reader.bucket(next(iter(PEOPLE)))
    reader.close()


def test_a_bucket_of_another_table_or_place_is_damaged(folder: Path) -> None:
    """The checksum is over number and salt: a stale or misdirected page is not believed."""
    raw, _ = build(PEOPLE, 2)
    one = opened(folder, raw)
    bucket = one.bucket(next(iter(PEOPLE)))
    number = next(iter(PEOPLE))[0] >> 6
    one.close()
    assert table.is_whole(bucket, SALT, number)
    assert not table.is_whole(bucket, b"SALTsalt", number)
    assert not table.is_whole(bucket, SALT, number + 1)
    assert not table.is_whole(bucket, SALT, number | table.TOKEN_FLAG)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=80), st.booleans())
def test_noise_is_no_foot(noise: bytes, with_magic: bool) -> None:
    """Only what was written decodes, and to the same bytes."""
    raw = (table.FOOT_MAGIC + noise)[:64] if with_magic else noise
    with pytest.raises(FeedError):
        table.decode_foot(raw)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.builds(
        table.Foot,
        st.integers(0, 24),
        st.integers(0, 24),
        st.integers(0, 65_536),
        *[st.integers(0, 2**63)] * 3,
        st.integers(0, 2**40).map(lambda n: n * 4),
        st.binary(min_size=8, max_size=8),
        st.integers(0, 2**32 - 1),
    )
)
def test_a_foot_comes_back_as_it_was(foot: table.Foot) -> None:
    """64 bytes and back; any other byte in them is no foot."""
    raw = foot.encode()
    assert len(raw) == table.FOOT_BYTES
    assert table.decode_foot(raw) == foot
    for at in range(64):
        with pytest.raises(FeedError):
            table.decode_foot(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])


def test_counts_that_do_not_fit_their_bucket_are_damage(folder: Path) -> None:
    """A publisher's nonsense under a right checksum is found when the file is taken, before anybody is looked up."""
    raw, _ = build(PEOPLE, 0)
    whole = opened(folder, raw)
    bucket = whole.bucket(bytes(16))
    whole.close()
    for counts in (b"\xff\xff\0\0", b"\0\0\xff\xff", b"\0\0\0\0"):
        lying = table.sealed(bytes(4) + counts + bucket[8:], SALT, 0)
        broken = opened(folder, lying + raw[len(bucket) :])
        with pytest.raises(DamagedError):
            broken.check()
        with pytest.raises(FeedError):
            table.entries(lying)
        broken.close()


def test_buckets_are_as_large_as_aimed_at() -> None:
    """At most 16 exact or 64 compact on average, whatever their number; 2^24 buckets at the most."""
    for exact, compact in ((0, 0), (1, 0), (16, 64), (17, 0), (0, 65), (2_352_000, 232_861_000), (300_000_000, 0)):
        buckets = 1 << table.bits_for(exact, compact)
        assert exact / buckets <= max(16, 300_000_000 / 2**24)
        assert compact / buckets <= 64
        assert buckets == 1 or exact / buckets > 8 or compact / buckets > 32, "nor half empty"


def test_keys_that_are_no_hashes_are_refused() -> None:
    """2,000 people whose keys begin alike do not fit one bucket: an error, not a bucket that no reader takes."""
    crowd = rows(sorted(b"\0\0\0" + n.to_bytes(13, "big") + bytes([1]) + bytes(27) for n in range(2000)), 44)
    with pytest.raises(ValueError, match="no hashes"):
        write_overlay(io.BytesIO(), crowd, SALT)


def test_what_is_hashed_is_what_was_written() -> None:
    """Digest and size of the bytes that went to the file."""
    file = io.BytesIO()
    sink = Hashing(file)
    sink.write(b"abc")
    sink.write(b"")
    assert (sink.size, file.getvalue()) == (3, b"abc")
    assert sink.sha256.hexdigest() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
