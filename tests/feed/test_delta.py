"""The body of a delta: there and back, and everything that is none."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed import delta
from gate.feed.delta import CHANGES_MAX, Changes
from gate.feed.records import ABSENT, CredentialStatus, Enrolment, FeedError, StatusEntry
from tests.feed.strategies import KEYS, RAW_STATES

RED = StatusEntry(b"", CredentialStatus.RED, "340100", 1).encode()
ENROLLED = Enrolment("340100", 9).encode()

_CHANGES = st.dictionaries(KEYS, st.tuples(RAW_STATES, RAW_STATES).filter(lambda pair: pair[0] != pair[1]), max_size=30)


def changes(pairs: dict[bytes, tuple[bytes, bytes]]) -> Changes:
    """The changes in order of their keys."""
    keys = sorted(pairs)
    return Changes(_rows(keys, 16), _rows([pairs[k][0] for k in keys], 28), _rows([pairs[k][1] for k in keys], 28))


def _rows(raw: list[bytes], width: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.frombuffer(b"".join(raw), np.uint8).reshape(len(raw), width)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_CHANGES)
def test_changes_come_back_as_they_were(pairs: dict[bytes, tuple[bytes, bytes]]) -> None:
    """Keys, states before and after; growth is what the pairs say one by one."""
    body = delta.encode(changes(pairs))
    back = delta.decode(body, len(pairs))
    assert [row.tobytes() for row in back.keys] == sorted(pairs)
    assert list(back.elements(back.before)) == [key + pairs[key][0] for key in sorted(pairs)]
    assert list(back.elements(back.after)) == [key + pairs[key][1] for key in sorted(pairs)]
    assert [row.tobytes() for row in back.after_elements()] == list(back.elements(back.after))
    subjects = sum((after != ABSENT) - (before != ABSENT) for before, after in pairs.values())
    exact = sum((0 < after[0] < 16) - (0 < before[0] < 16) for before, after in pairs.values())
    assert back.growth == (subjects, exact)
    assert repr(back) == "Changes()", "no key and no state is in it"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.binary(max_size=400), st.integers(0, 5))
def test_noise_is_no_delta(noise: bytes, many: int) -> None:
    """Random bytes, bare or well compressed, are an error of ours or whole changes."""
    for body in (noise, zlib.compress(noise), zlib.compress((noise * 10)[: many * 72])):
        try:
            assert len(delta.decode(body, many).keys) == many
        except FeedError:
            continue


PAIRS = {bytes([n]) * 16: (ABSENT if n % 2 else ENROLLED, RED) for n in range(10)}
BODY = delta.encode(changes(PAIRS))
RAW = zlib.decompress(BODY)


def _zip(raw: bytes) -> bytes:
    return zlib.compress(raw)


@pytest.mark.parametrize(
    ("body", "many"),
    [
        (b"", 10),
        (b"", 0),
        (BODY[:-1], 10),
        (BODY[: len(BODY) // 2], 10),
        (BODY + b"\0", 10),
        (BODY + BODY, 10),
        (BODY, 9),
        (BODY, 11),
        (BODY, 0),
        (RAW, 10),
        (_zip(RAW[:-1]), 10),
        (_zip(RAW + b"\0"), 10),
        (_zip(RAW[16:32] + RAW[:16] + RAW[32:]), 10),
        (_zip(RAW[:16] + RAW[:16] + RAW[32:]), 10),
        (_zip(b""), 1),
        (BODY, CHANGES_MAX + 1),
    ],
)
def test_what_is_no_body_is_refused(body: bytes, many: int) -> None:
    """Cut, prolonged, doubled, another number, unordered, a key twice, more than may be."""
    with pytest.raises(FeedError):
        delta.decode(body, many)


@pytest.mark.parametrize(
    "pair",
    [
        (RED, RED),
        (ABSENT, ABSENT),
        (RED, bytes([9]) + RED[1:]),
        (bytes([9]) + RED[1:], RED),
        (ABSENT, bytes([0, 1]) + bytes(26)),
        (ABSENT, bytes([16]) + bytes(27)),
    ],
)
def test_a_change_changes_something_into_something(pair: tuple[bytes, bytes]) -> None:
    """Nothing for nothing, and states that no publisher writes, are refused though well packed."""
    body = delta.encode(changes({**PAIRS, b"z" * 16: pair}))
    with pytest.raises(FeedError):
        delta.decode(body, len(PAIRS) + 1)


def test_a_bomb_does_not_burst() -> None:
    """A gigabyte packed into a megabyte: no more is unpacked than the header says."""
    import tracemalloc

    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()
    tracemalloc.start()
    try:
        for many in (0, 1, 1000):
            with pytest.raises(FeedError):
                delta.decode(bomb, many)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
