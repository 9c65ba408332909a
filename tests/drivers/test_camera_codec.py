"""Messages and orders between the controller and the camera process."""

import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.scanners.camera.codec import (
    ORDER_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    BrokenStreamError,
    CameraSettings,
    FrameCounts,
    Kind,
    Message,
    Messages,
    Order,
    decode_counts,
    decode_order,
    encode,
    encode_counts,
    encode_order,
)

SENT = [
    Message(Kind.BEAT, 0),
    Message(Kind.UP, 3, b"zxing-cpp"),
    Message(Kind.CODE, 3, bytes(range(256))),
    Message(Kind.CODE_GB18030, 65535, b"x" * PAYLOAD_BYTES_MAX),
]
STREAM = b"".join(map(encode, SENT))


def whole(data: bytes) -> list[Message]:
    return Messages().feed(data)


def byte_by_byte(data: bytes) -> list[Message]:
    messages = Messages()
    return [message for at in range(len(data)) for message in messages.feed(data[at : at + 1])]


def with_bytes_following(data: bytes) -> list[Message]:
    return Messages().feed(data + encode(Message(Kind.CODE, 1, b"next"))[:-1])


@pytest.mark.parametrize("arrives", [whole, byte_by_byte, with_bytes_following])
def test_messages_come_out_as_they_were_sent(arrives: Callable[[bytes], list[Message]]) -> None:
    """Every kind, empty and largest bodies, however the pipe cuts them."""
    assert arrives(STREAM) == SENT


def test_the_wire_form_is_fixed() -> None:
    """Length, kind, camera, body: big-endian, as the module says."""
    assert encode(Message(Kind.CODE, 2, b"abc")) == bytes.fromhex("00000003 01 0002 616263")


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param((PAYLOAD_BYTES_MAX + 1).to_bytes(4, "big") + bytes(3), id="too long"),
        pytest.param(b"\xff" * 7, id="noise"),
        pytest.param(bytes.fromhex("00000000 06 0000"), id="unknown kind"),
        pytest.param(b"[ WARN:0@0.01] global cap.cpp", id="something printed"),
    ],
)
def test_what_is_no_message_is_refused_without_waiting_for_more(garbage: bytes) -> None:
    """A broken stream is known by its head, so that no length makes us wait or allocate."""
    with pytest.raises(BrokenStreamError):
        Messages().feed(garbage)


@pytest.mark.parametrize(("count", "body"), [(0, "00000000"), (258, "00000102"), (1 << 40, "ffffffff")])
def test_counts_are_four_bytes_each_and_never_overflow(count: int, body: str) -> None:
    """Skipped frames, then broken pictures, big-endian; more than fit are as many as fit."""
    assert encode_counts(FrameCounts(count, 7)) == bytes.fromhex(body + "00000007")
    assert encode_counts(FrameCounts(7, count)) == bytes.fromhex("00000007" + body)
    assert decode_counts(bytes.fromhex(body + "00000007")) == FrameCounts(min(count, 0xFFFFFFFF), 7)


@pytest.mark.parametrize("body", [b"", b"\0\0\1", b"\0\0\0\1", b"\0" * 9])
def test_counts_of_another_size_are_refused(body: bytes) -> None:
    """They are no message of ours."""
    with pytest.raises(BrokenStreamError):
        decode_counts(body)


def test_a_body_that_is_too_long_is_not_sent() -> None:
    """The limit holds on both ends."""
    with pytest.raises(ValueError, match="at most"):
        encode(Message(Kind.CODE, 0, b"x" * (PAYLOAD_BYTES_MAX + 1)))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_messages_do_not_depend_on_how_the_pipe_cuts(cuts: list[int]) -> None:
    """The same bytes in any portions give the same messages."""
    messages = Messages()
    edges = sorted({0, len(STREAM), *cuts})
    assert [m for start, end in itertools.pairwise(edges) for m in messages.feed(STREAM[start:end])] == SENT


@pytest.mark.parametrize(
    "order",
    [
        Order(0),
        Order(7, CameraSettings("rtsp://camera/1")),
        Order(65535, CameraSettings("/看/", 1.5, True, 0.0, False, True, 8.5, True)),
    ],
)
def test_orders_come_out_as_they_were_sent(order: Order) -> None:
    """Start and stop, one line each."""
    line = encode_order(order)
    assert line.count(b"\n") == 1
    assert decode_order(line) == order


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff\n",
        b"[]",
        b"7",
        b"{}",
        b'{"camera": true}',
        b'{"camera": -1}',
        b'{"camera": 65536}',
        b'{"camera": 1, "source": 7}',
        b'{"camera": 1, "fps": 15.0}',
        b'{"camera": 1, "source": "x", "fps": 15}',
        b'{"camera": 1, "source": "x", "colour": "green"}',
        b"[" * 5000,
    ],
)
def test_what_is_no_order_is_refused(line: bytes) -> None:
    """Unknown fields, wrong types, numbers out of range, nonsense: one named error."""
    with pytest.raises(BrokenStreamError):
        decode_order(line)


def test_an_order_has_a_largest_size() -> None:
    """A source longer than any path is refused where the order is made."""
    with pytest.raises(ValueError, match="at most"):
        encode_order(Order(0, CameraSettings("x" * ORDER_BYTES_MAX)))


def test_nothing_personal_or_secret_is_printed() -> None:
    """Neither a code nor a stream's password is in a repr."""
    shown = repr(Message(Kind.CODE, 1, b"SECRET")) + repr(Order(1, CameraSettings("rtsp://user:SECRET@camera/")))
    assert "SECRET" not in shown
    assert "SECRET" in json.loads(encode_order(Order(1, CameraSettings("SECRET"))))["source"]
