"""States as values and as bytes, one by one and many at once; the set's digest."""

import hashlib
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.feed import states
from gate.feed.digest import SetDigest
from gate.feed.records import (
    ABSENT,
    DAY_ZERO_UTC_S,
    STATE_BYTES,
    CredentialStatus,
    Enrolment,
    FeedError,
    State,
    StatusEntry,
    decode_state,
    encode_state,
    enrolment_day,
)
from gate.feed.states import Bytes2
from tests.feed.strategies import KEY, KEYS, RAW_STATES, STATES


def table(raw: list[bytes], width: int) -> Bytes2:
    """Rows of bytes as numpy has them."""
    return np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), width)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(STATES)
def test_a_state_comes_back_as_it_was(state: State) -> None:
    """28 bytes and back, whatever is said; and the key is in no repr."""
    raw = encode_state(state)
    assert len(raw) == STATE_BYTES
    assert decode_state(KEY, raw) == state
    assert "kkkk" not in repr(state)


_FIELD = st.sampled_from([0, 1, 16, 255, 0xFFFF, 0x10000, 340_100, 999_999, 1_000_000, 2**32 - 1])
_NEAR = st.builds(
    lambda status, reason, zero, rest: (
        bytes([status, reason]) + zero.to_bytes(2, "big") + b"".join(n.to_bytes(4, "big") for n in rest)
    ),
    st.sampled_from([0, 1, 7, 8, 9, 15, 16, 17, 255]),
    st.sampled_from([0, 0, 1]),
    st.sampled_from([0, 0, 0, 1]),
    st.lists(_FIELD, min_size=6, max_size=6),
)
_MOSTLY_ZERO = st.tuples(st.sampled_from([0, 1, 16, 17]), st.integers(1, 27), st.integers(0, 255)).map(
    lambda t: bytes([t[0]]) + bytes(t[1] - 1) + bytes([t[2]]) + bytes(27 - t[1])
)


@settings(max_examples=2000, deadline=None, derandomize=True)
@given(st.one_of(_NEAR, _MOSTLY_ZERO, st.binary(min_size=28, max_size=28), RAW_STATES))
@example(ABSENT)
@example(bytes([16]) + bytes(27))
def test_many_are_judged_as_one_is(raw: bytes) -> None:
    """`valid` says of bytes what `decode_state` says; what decodes is exactly what was encoded."""
    try:
        good = encode_state(decode_state(KEY, raw)) == raw
        assert good, "two ways to write one state would be two digests of one set"
    except FeedError:
        good = False
    assert bool(states.valid(table([raw], STATE_BYTES))[0]) is good


@pytest.mark.parametrize("size", [0, 1, 27, 29, 56])
def test_a_state_has_28_bytes(size: int) -> None:
    """Cut or prolonged is no state."""
    with pytest.raises(FeedError):
        decode_state(KEY, bytes([1]) + bytes(size - 1) if size else b"")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(RAW_STATES, max_size=20))
def test_what_a_state_is_is_seen_alike(raw: list[bytes]) -> None:
    """There, exact, enrolled: the arrays' answers are those of the values."""
    many = table(raw, STATE_BYTES)
    values = [decode_state(KEY, one) for one in raw]
    assert states.is_there(many).tolist() == [value is not None for value in values]
    assert states.is_exact(many).tolist() == [isinstance(value, StatusEntry) for value in values]
    assert states.is_enrolled(many).tolist() == [isinstance(value, Enrolment) for value in values]


# Keys that differ late, early or not at all: numbers of 64 bits must not lose a bit of them.
_SKEWED = st.builds(
    lambda a, b: a * 8 + b * 8,
    st.sampled_from([b"\0", b"\x7f", b"\x80", b"\xff"]),
    st.sampled_from([b"\0", b"\x7f", b"\x80", b"\xff"]),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.one_of(_SKEWED, KEYS), max_size=30))
def test_keys_are_ordered_as_bytes_are(keys: list[bytes]) -> None:
    """`order` is Python's stable sort, `ascending` its strictness."""
    many = table(keys, 16)
    assert states.order(many).tolist() == sorted(range(len(keys)), key=lambda n: keys[n])
    assert states.ascending(many) is all(a < b for a, b in itertools.pairwise(keys))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.dictionaries(st.one_of(_SKEWED, KEYS), RAW_STATES, max_size=12), min_size=1, max_size=4))
def test_of_layers_the_newest_word_counts(layers: list[dict[bytes, bytes]]) -> None:
    """Merged overlays say what a look-up from the newest to the oldest would have found."""
    expected: dict[bytes, bytes] = {}
    for layer in reversed(layers):
        expected |= layer
    arrays = [table([key + state for key, state in layer.items()], 44) for layer in layers]
    merged = states.newest(arrays)
    assert [row.tobytes() for row in merged] == [key + expected[key] for key in sorted(expected)]


_ELEMENTS = st.dictionaries(KEYS, RAW_STATES, max_size=20)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_ELEMENTS, st.lists(st.tuples(KEYS, RAW_STATES), max_size=20), st.randoms(use_true_random=False))
def test_the_kept_digest_is_that_of_a_fresh_count(
    first: dict[bytes, bytes], changes: list[tuple[bytes, bytes]], random: object
) -> None:
    """Added and taken away in any order, the sum is that of the resulting set: SHA-256 each, modulo 2^256."""
    kept = SetDigest()
    kept.add(key + state for key, state in first.items())
    now = dict(first)
    for key, state in changes:
        kept.remove([key + now.get(key, ABSENT)])
        kept.add([key + state])
        now[key] = state
    there = [key + state for key, state in now.items() if state != ABSENT]
    random.shuffle(there)  # type: ignore[attr-defined]
    by_hand = sum(int.from_bytes(hashlib.sha256(one).digest(), "big") for one in there) % 2**256
    assert kept.hexadecimal == f"{by_hand:064x}"


def test_partitions_are_part_of_the_set() -> None:
    """The same people under another table of partitions is another set, and taking it away gives the first again."""
    kept = SetDigest()
    kept.add([KEY + StatusEntry(KEY, CredentialStatus.RED, "340100", 1).encode()])
    before = kept.hexadecimal
    kept.add_partitions(b"[]")
    assert kept.hexadecimal != before
    kept.remove_partitions(b"[]")
    assert kept.hexadecimal == before
    other = SetDigest()
    other.add([b"partitions\0[]"])
    assert other.hexadecimal != SetDigest().hexadecimal


@pytest.mark.parametrize(
    ("until", "day"),
    [
        (None, 0),
        (DAY_ZERO_UTC_S, None),
        (DAY_ZERO_UTC_S + 86_400, 1),
        (DAY_ZERO_UTC_S + 86_401, None),
        (DAY_ZERO_UTC_S - 86_400, None),
        (DAY_ZERO_UTC_S + 65_535 * 86_400, 65_535),
        (DAY_ZERO_UTC_S + 65_536 * 86_400, None),
    ],
)
def test_an_end_of_validity_is_kept_whole_or_not_at_all(until: int | None, day: int | None) -> None:
    """An enrolment keeps Beijing midnights of 2020 to 2199; every other end is told exactly, never rounded."""
    assert enrolment_day(until) == day
    if day is not None:
        assert Enrolment("340100", day).valid_until_utc_s == until
