"""Headers and partitions: one canonical form, and nothing else is read."""

import json

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gate.feed import envelope
from gate.feed.envelope import (
    HEADER_BYTES_MAX,
    MAGIC,
    NO_DIGEST,
    PREFIX_BYTES,
    Header,
    decode_header,
    encode_prefix,
    lengths,
)
from gate.feed.partitions import (
    DEFAULTS_MAX,
    PARTITIONS_MAX,
    Default,
    Partition,
    canonical,
    decode_partitions,
    encode_partitions,
)
from gate.feed.records import CredentialStatus, FeedError
from gate.moment import Moment
from tests.feed.strategies import PARTITIONS, headers

SNAPSHOT = Header(
    "SNAPSHOT",
    "AKM",
    7,
    0,
    "FULL",
    1_600_000_000,
    1_600_086_400,
    3,
    1,
    0,
    0,
    100,
    "a" * 64,
    NO_DIGEST,
    "b" * 64,
    "gate/subject/1",
    "2020-04",
    "akm-2020-04",
    (Partition("340100", 1_600_000_000, (Default(0, CredentialStatus.GREEN), Default(5, CredentialStatus.RED, 7))),),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(headers())
@example(SNAPSHOT)
def test_a_header_comes_back_as_it_was(header: Header) -> None:
    """Canonical JSON and back; the prefix tells the lengths of both parts."""
    raw = header.encode()
    assert decode_header(raw) == header
    prefix = encode_prefix(header, b"s" * 71)
    assert lengths(prefix[:PREFIX_BYTES]) == (71, len(raw))
    assert prefix == MAGIC + len(raw).to_bytes(4, "big") + b"\0\x47" + b"s" * 71 + raw
    assert header.signed_bytes() == MAGIC + raw


@settings(max_examples=300, deadline=None, derandomize=True)
@given(headers(), st.data())
def test_one_byte_more_less_or_other_is_another_header_or_none(header: Header, data: st.DataObject) -> None:
    """Whatever decodes has exactly one spelling, or two files could have one signature."""
    raw = header.encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    for other in (raw[:at] + byte + raw[at:], raw[:at] + raw[at + 1 :], raw[:at] + byte + raw[at + 1 :]):
        try:
            assert decode_header(other).encode() == other
        except FeedError:
            continue


def _values() -> dict[str, object]:
    values: dict[str, object] = json.loads(SNAPSHOT.encode())
    return values


def _dump(values: object) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode("ascii")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        SNAPSHOT.encode() + b" ",
        SNAPSHOT.encode()[:-1],
        SNAPSHOT.encode().replace(b",", b", "),
        SNAPSHOT.encode().replace(b'"count":3', b'"count":3,"count":3'),
        SNAPSHOT.encode().replace(b'"count":3', b'"count":3.0'),
        SNAPSHOT.encode().replace(b'"count":3', b'"count":"3"'),
        SNAPSHOT.encode().replace(b'"count":3', b'"count":true'),
        SNAPSHOT.encode().replace(b'"count":3', b'"count":-3'),
        SNAPSHOT.encode().replace(b'"count":3', b'"count":' + b"9" * 5000),
        SNAPSHOT.encode().replace(b'"count":3', b'"count":NaN'),
        SNAPSHOT.encode().replace(b'"AKM"', b'"\\u0041KM"'),
        _dump(_values() | {"more": 1}),
        _dump({name: value for name, value in _values().items() if name != "tokens"}),
    ],
)
def test_another_spelling_is_no_header(raw: bytes) -> None:
    """Spaces, doubles, other types, escapes, fields more or less, depth without end."""
    with pytest.raises(FeedError):
        decode_header(raw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"form": "PATCH"},
        {"kind": "GREEN"},
        {"issuer": ""},
        {"issuer": "A M"},
        {"issuer": "A" * 65},
        {"sequence": 1 << 63},
        {"count": 300_000_001, "exact_count": 0},
        {"exact_count": 4},
        {"changes": 300_000_001},
        {"tokens": 300_000_001},
        {"content_digest": "A" * 64},
        {"set_digest": "a" * 63},
        {"from_sequence": 6},
        {"from_set_digest": "c" * 64},
        {"form": "DELTA"},
        {"form": "DELTA", "from_sequence": 6},
        {"form": "DELTA", "from_sequence": 7, "from_set_digest": "c" * 64},
        {"form": "DELTA", "from_sequence": 8, "from_set_digest": "c" * 64},
        {"form": "DELTA", "from_sequence": 0, "from_set_digest": "c" * 64},
        {"partitions": None},
        {"partitions": [["340100", 0, [[0, "GREEN", 0]]], ["310100", 0, [[0, "GREEN", 0]]]]},
        {"partitions": [["340100", 0, [[0, "GREEN", 0]]], ["340100", 0, [[0, "GREEN", 0]]]]},
        {"partitions": [["340100", 0, [[0, "GREEN", 0, 0]]]]},
    ],
)
def test_what_no_publisher_says_is_refused(wrong: dict[str, object]) -> None:
    """In canonical form, and still nothing that may be said."""
    with pytest.raises(FeedError):
        decode_header(_dump(_values() | wrong))


def test_the_refusals_above_are_for_what_they_name() -> None:
    """The unchanged values are a header: it is the change that is refused."""
    assert decode_header(_dump(_values())) == SNAPSHOT


@pytest.mark.parametrize(
    "prefix",
    [
        b"",
        MAGIC,
        b"GATESNP1" + bytes(6),
        MAGIC + (HEADER_BYTES_MAX + 1).to_bytes(4, "big") + b"\0\x40",
        MAGIC + b"\0\0\0\x01\0\x40",
        MAGIC + b"\0\0\1\0\0\0",
        MAGIC + b"\0\0\1\0\xff\xff",
    ],
)
def test_lengths_are_bounded_before_anything_is_read(prefix: bytes) -> None:
    """Nobody makes a station read gigabytes of header."""
    with pytest.raises(FeedError):
        lengths(prefix)


def test_the_magic_is_ours() -> None:
    """Files of the first form are named as no feed, not misread."""
    assert envelope.MAGIC == b"GATEFED2"


@settings(max_examples=300, deadline=None, derandomize=True)
@given(PARTITIONS)
def test_partitions_come_back_in_their_order(partitions: tuple[Partition, ...]) -> None:
    """Written in any order they have one canonical form, and decode to themselves."""
    assert decode_partitions(json.loads(canonical(partitions))) == partitions
    assert canonical(partitions[::-1]) == canonical(partitions)


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(["340100", "GREEN", "x", ""])),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from("ab"), inner, max_size=3)),
    max_leaves=20,
)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(_JSON)
def test_any_json_is_partitions_or_an_error_of_ours(values: object) -> None:
    """Never another exception."""
    try:
        assert encode_partitions(decode_partitions(values)) is not None
    except FeedError:
        return


def test_partitions_and_their_dates_are_bounded() -> None:
    """4,096 partitions, 64 dates each, oldest first and each once; at least one."""
    step = [0, "GREEN", 0]
    assert len(decode_partitions([[f"{n:06d}", 0, [step]] for n in range(PARTITIONS_MAX)])) == PARTITIONS_MAX
    assert len(decode_partitions([["340100", 0, [[n, "RED", 0] for n in range(DEFAULTS_MAX)]]])[0].defaults) == 64
    for rows in (
        [[f"{n:06d}", 0, [step]] for n in range(PARTITIONS_MAX + 1)],
        [["340100", 0, [[n, "RED", 0] for n in range(DEFAULTS_MAX + 1)]]],
        [["340100", 0, []]],
        [["340100", 0, [step, step]]],
        [["340100", 0, [[1, "GREEN", 0], [0, "RED", 0]]]],
        [["340100", 1 << 32, [step]]],
        [["340100", 0, [[0, "GREEN", 256]]]],
        [["34010", 0, [step]]],
        [[340100, 0, [step]]],
        [["340100", 0, [[0, "green", 0]]]],
    ):
        with pytest.raises(FeedError):
            decode_partitions(rows)


def test_a_city_turns_at_its_instant() -> None:
    """Nothing before the first date; the new status from its second on, not a moment earlier."""
    city = Partition("340100", 0, (Default(100, CredentialStatus.GREEN), Default(200, CredentialStatus.YELLOW, 7)))
    at = {utc_s: city.default_at(Moment(utc_s, 0.0)) for utc_s in (99.9, 100.0, 199.9, 200.0, 1e9)}
    assert at[99.9] is None
    assert at[100.0] == at[199.9] == Default(100, CredentialStatus.GREEN)
    assert at[200.0] == at[1e9] == Default(200, CredentialStatus.YELLOW, 7)
