"""Frames of the serial turnstile controllers, byte for byte as devices.md 3.2 and the makers' manuals print them."""

from collections.abc import Callable
from typing import Any

import pytest

from drivers.contract import Direction, Passed
from drivers.simulated import digicon as simulated_digicon
from drivers.simulated import machpower as simulated_machpower
from drivers.simulated import tpw as simulated_tpw
from drivers.turnstiles.digicon import codec as digicon
from drivers.turnstiles.digicon.codec import Code
from drivers.turnstiles.machpower import codec as machpower
from drivers.turnstiles.machpower.codec import Order, Reply
from drivers.turnstiles.tpw import codec as tpw
from drivers.turnstiles.tpw.codec import Frame, Kind

ENTRY, EXIT = Direction.ENTRY, Direction.EXIT


@pytest.mark.parametrize(
    ("commands", "frame"),
    [
        ((Code.FREE_H,), "02 02 00 48 48"),
        ((Code.ALWAYS_FREE, Code.FREE_H), "02 03 00 4C 48 05"),
        ((Code.ACK,), "02 02 00 06 06"),
    ],
)
def test_digicon_s_printed_frames(commands: tuple[int, ...], frame: str) -> None:
    """Devices.md 3.2: free one passage, always free, ACK."""
    assert digicon.encode(*commands) == bytes.fromhex(frame)
    assert digicon.Frames().feed(bytes.fromhex(frame)) == [bytes(commands)]


def test_digicon_takes_one_or_two_commands() -> None:
    """The manual's "one or two bytes"; anything else is our own mistake, or noise."""
    for commands in ((), (1, 2, 3)):
        with pytest.raises(ValueError, match="1 or 2"):
            digicon.encode(*commands)
    assert digicon.Frames().feed(bytes.fromhex("02 04 00 01 02 03 06")) == []


@pytest.mark.parametrize(
    ("order", "frame"),
    [
        (Order.OPEN_LEFT, "EB 01 40 00 AA"),
        (Order.OPEN_RIGHT, "EB 01 41 00 AB"),
        (Order.DROP_ARM, "EB 01 42 00 A8"),
        (Order.RAISE_ARM, "EB 01 43 00 A9"),
        (Order.FORBID, "EB 01 4A 00 A0"),
        (Order.RESTORE, "EB 01 4B 00 A1"),
    ],
)
def test_mach_power_s_frames_by_its_rule(order: Order, frame: str) -> None:
    """Pages 12 and 13 print these; for 42 and 43 they print AB, against their own rule (devices.md 3.2: A8, A9)."""
    assert machpower.encode(1, order) == bytes.fromhex(frame)


def test_mach_power_s_answers_name_order_and_unit() -> None:
    """Page 13: an order comes back as code + 80, 00; another unit's, an echo and a wrong check are left out."""
    taken = bytes.fromhex("EB 01 C0 00 2A")
    assert machpower.encode_reply(Reply(1, 0xC0, 0)) == taken
    replies = machpower.Frames(1).feed(
        machpower.encode(1, Order.OPEN_LEFT) + machpower.encode_reply(Reply(2, 0xC0, 0)) + taken
    )
    assert replies == [Reply(1, 0xC0, 0)]
    assert replies[0].takes(Order.OPEN_LEFT)
    assert not replies[0].takes(Order.OPEN_RIGHT)
    assert machpower.Frames(1).feed(bytes.fromhex("EB 01 C0 00 2B")) == []


@pytest.mark.parametrize(
    ("frame", "raw"),
    [
        (tpw.CONNECT, "02 FF 00 04"),
        (tpw.DONE, "02 44 00 04"),
        (tpw.FAILED, "02 F4 00 04"),
        (tpw.read_count(ENTRY), "02 28 01 30 04"),
        (tpw.read_count(EXIT), "02 28 01 31 04"),
        (tpw.passing(frozenset()), "02 14 02 30 30 04"),
        (tpw.passing(frozenset({ENTRY})), "02 14 02 31 30 04"),
        (tpw.passing(frozenset({EXIT})), "02 14 02 30 31 04"),
    ],
)
def test_tpw_s_frames(frame: Frame, raw: str) -> None:
    """Devices.md 3.2 and appendix C: 02, type, length, content, 04; with an address before it where there is one."""
    assert tpw.encode(frame) == bytes.fromhex(raw)
    assert tpw.encode(frame, 7) == b"\x07" + bytes.fromhex(raw)
    assert tpw.Frames().feed(bytes.fromhex(raw)) == [frame]
    assert tpw.Frames(7).feed(bytes.fromhex(raw)) == [], "not for us"
    assert tpw.Frames(7).feed(b"\x07" + bytes.fromhex(raw)) == [frame]


def test_tpw_s_counts_are_digits() -> None:
    """Anything else in a count's frame is no count."""
    assert Frame(Kind.ENTRY_COUNT, b"00042").count == 42
    for content in (b"", b"4a", b"-1", b"\xb2", b"1" * 11):
        assert Frame(Kind.ENTRY_COUNT, content).count is None
    with pytest.raises(ValueError, match="65"):
        tpw.encode(Frame(Kind.PANEL, bytes(65)))


def test_tpw_s_modes_read_back() -> None:
    """The handshake tells them; a mode that is neither controlled nor free is not free."""
    for free in (frozenset(), frozenset({ENTRY}), frozenset({EXIT}), frozenset(Direction)):
        assert tpw.freed(tpw.passing(free)) == free
    assert tpw.freed(Frame(Kind.PASSING, b"23")) == frozenset()


@pytest.mark.parametrize(("before", "now", "passages"), [(5, 5, 0), (5, 7, 2), (5, 0, 0), (5, 300, 0), (None, 9, 0)])
def test_a_count_that_was_set_anew_is_no_crowd(before: int | None, now: int, passages: int) -> None:
    """Two people between two looks are two; a power cycle, a jump and the first look are nobody."""
    assert tpw.counted(ENTRY, before, now) == [Passed(ENTRY)] * passages


READERS: dict[str, tuple[Callable[[], Any], list[bytes], list[Any]]] = {
    "digicon": (
        digicon.Frames,
        [digicon.encode(code) for code in (Code.ACK, Code.PASSED_1, Code.PASSED_2)],
        [b"\x06", b"\x1a", b"\x1b"],
    ),
    "machpower": (
        lambda: machpower.Frames(1),
        [machpower.encode_reply(Reply(1, order | 0x80, 0)) for order in Order],
        [Reply(1, order | 0x80, 0) for order in Order],
    ),
    "tpw": (
        tpw.Frames,
        [tpw.encode(frame) for frame in (tpw.CONNECT, tpw.DONE, Frame(Kind.ENTRY_COUNT, b"12"))],
        [tpw.CONNECT, tpw.DONE, Frame(Kind.ENTRY_COUNT, b"12")],
    ),
    "tpw with address": (
        lambda: tpw.Frames(2),  # an address that looks like a start
        [tpw.encode(frame, 2) for frame in (tpw.CONNECT, tpw.DONE, Frame(Kind.ENTRY_COUNT, b"12"))],
        [tpw.CONNECT, tpw.DONE, Frame(Kind.ENTRY_COUNT, b"12")],
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_frames_are_found_whole_byte_by_byte_and_with_bytes_following(name: str) -> None:
    """And after noise that a frame's beginning stands in; a frame that never ended is forgotten."""
    make, frames, values = READERS[name]
    stream = b"".join(frames)
    assert make().feed(stream) == values
    reader = make()
    assert [value for byte in stream for value in reader.feed(bytes([byte]))] == values
    assert make().feed(stream + frames[0][:-1]) == values
    for noise in (b"\xff\x00", frames[0][:-1] + b"\x99", b"\x02\x03", b"\xeb"):
        reader = make()
        reader.feed(noise)
        reader.reset()
        assert reader.feed(stream) == values


@pytest.mark.parametrize("name", READERS)
def test_a_wrong_last_byte_is_no_frame(name: str) -> None:
    """A check or an end that is not right: nothing is found, and the next frame is."""
    make, frames, values = READERS[name]
    for frame in frames:
        reader = make()
        assert reader.feed(frame[:-1] + bytes([frame[-1] ^ 0x40])) == []
        reader.reset()
        assert reader.feed(frames[0]) == values[:1]


def test_the_simulated_controllers_find_requests_in_noise() -> None:
    """Our peers' own readers: noise before, a wrong check, two at once."""
    one = bytes.fromhex("02 02 00 48 48")
    buffer = bytearray(b"\x02\xff" + one[:-1] + b"\x00" + one + one)
    assert [simulated_digicon._take(buffer) for _ in range(3)] == [b"H", b"H", b""]
    two = bytes.fromhex("EB 01 40 00 AA")
    buffer = bytearray(b"\xeb" + two[:-1] + b"\x00" + two + two)
    assert [simulated_machpower.take(buffer) for _ in range(3)] == [two, two, b""]
    three = bytes.fromhex("02 28 01 30 04")
    buffer = bytearray(b"\x00" + three[:-1] + b"\x09" + three + three)
    assert [simulated_tpw.take(buffer, None) for _ in range(3)] == [b"\x280", b"\x280", None]
