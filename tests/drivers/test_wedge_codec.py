"""Key strokes of a keyboard-wedge scanner: events as the kernel writes them, and the text that they type."""

import string
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import CodeReport, ReadProblem, Unread
from drivers.scanners.wedge.codec import (
    EVENT,
    KEY_TAB,
    KEYS,
    PAYLOAD_BYTES_MAX,
    Event,
    Events,
    NotInputError,
    Typing,
    encode,
    strokes,
)

CODE = "https://s.sh.gov.cn/0123456789abcdefXYZ?a=1&b=_-"
Said = list[CodeReport | Unread]


def typed(events: list[Event], typing: Typing | None = None) -> Said:
    typing = typing or Typing()
    return [said for event in events if (said := typing.feed(event))]


def press(*codes: int) -> list[Event]:
    return [Event(1, code, value) for code in codes for value in (1, 0)]


@pytest.mark.skipif(struct.calcsize("@l") != 8, reason="the vector is that of a 64-bit machine")
def test_an_event_is_24_bytes_as_the_kernel_has_them() -> None:
    """struct input_event of linux/input.h, little-endian, 64-bit: KEY_A pressed at 1.000002 s."""
    frame = bytes.fromhex("0100000000000000 0200000000000000 0100 1E00 01000000")
    assert EVENT.size == 24
    assert Events().feed(frame) == [Event(1, 30, 1)]
    assert encode(Event(1, 30, 1)) == bytes(16) + frame[16:]


def test_events_come_however_their_bytes_are_cut() -> None:
    """Whole, byte by byte, and with the next one begun."""
    events = strokes(CODE + "\n")
    data = b"".join(map(encode, events))
    assert Events().feed(data) == events
    cut = Events()
    assert [event for at in range(len(data)) for event in cut.feed(data[at : at + 1])] == events
    assert Events().feed(data + data[:7]) == events


@pytest.mark.parametrize("event", [Event(0x20, 0, 0), Event(1, 0x300, 1), Event(1, 30, 3), Event(1, 30, -1)])
def test_what_no_kernel_says_is_refused(event: Event) -> None:
    """A type, key or value beyond the kernel's own limits: another device, or bytes out of step."""
    with pytest.raises(NotInputError):
        Events().feed(encode(event))


def test_every_printable_ascii_sign_can_be_typed() -> None:
    """The US layout has them all, each by its key and shift."""
    signs = "".join(sorted(set(string.printable) - set("\t\n\r\x0b\x0c")))
    assert len(signs) == 95
    assert typed(strokes(signs + "\n")) == [CodeReport(signs.encode(), "")]


@pytest.mark.parametrize(
    ("code", "signs"),
    [(2, "1!"), (11, "0)"), (12, "-_"), (13, "=+"), (16, "qQ"), (30, "aA"), (39, ";:"), (40, "'\""), (41, "`~"),
     (43, "\\|"), (44, "zZ"), (51, ",<"), (52, ".>"), (53, "/?"), (57, "  ")],
)  # fmt: skip
def test_keys_are_where_the_kernel_puts_them(code: int, signs: str) -> None:
    """linux/input-event-codes.h: KEY_1 is 2, KEY_Q 16, KEY_A 30, KEY_BACKSLASH 43, KEY_SLASH 53 …"""
    assert "".join(KEYS[code]) == signs


def test_keypad_digits_and_enter_count() -> None:
    """A scanner that types digits on the keypad."""
    events = press(82, 79, 80, 81, 75, 76, 77, 71, 72, 73, 96)
    assert typed(events) == [CodeReport(b"0123456789", "")]


def test_caps_lock_turns_letters_only() -> None:
    """Caps Lock and Shift undo each other for letters; digits stay."""
    shifted = [Event(1, 42, 1), *press(30), Event(1, 42, 0)]
    assert typed([*press(58, 30, 2), *shifted, *press(58, 30, 28)]) == [CodeReport(b"A1aa", "")]


def test_a_held_key_types_once() -> None:
    """The kernel's repeats (value 2) are no second character."""
    assert typed([Event(1, 30, 1), Event(1, 30, 2), Event(1, 30, 2), *press(28)]) == [CodeReport(b"a", "")]


@pytest.mark.parametrize("keys", [(29, 27), (56, 72), (125, 30)], ids=["Ctrl ] for GS", "Alt digits", "Meta"])
def test_a_code_with_a_sign_beyond_the_layout_is_unreadable(keys: tuple[int, int]) -> None:
    """GS and characters outside ASCII are lost: the passenger is told, and no shortened code is taken for another."""
    modifier, key = keys
    lost = [Event(1, modifier, 1), *press(key), Event(1, modifier, 0)]
    said = typed([*press(30), *lost, *press(48, 28), *press(46, 28)])
    assert said == [Unread(ReadProblem.CODE_UNREADABLE), CodeReport(b"c", "")]


def test_an_unknown_key_makes_it_unreadable() -> None:
    """F8, as some scanners type GS."""
    assert typed(press(30, 66, 28)) == [Unread(ReadProblem.CODE_UNREADABLE)]


def test_a_buffer_that_ran_over_makes_the_code_unreadable_and_no_other() -> None:
    """SYN_DROPPED: what follows up to the next SYN_REPORT is ignored, a shift that was down is forgotten."""
    overrun = [Event(1, 42, 1), Event(0, 3, 0), *press(48), Event(0, 0, 0)]
    said = typed([*press(30), *overrun, *press(46, 28), *press(32, 28)])
    assert said == [Unread(ReadProblem.CODE_UNREADABLE), CodeReport(b"d", "")]


def test_other_events_are_nothing() -> None:
    """Scan codes (EV_MSC), LEDs and Enter alone."""
    assert typed([Event(4, 4, 458756), Event(0x11, 0, 1), *press(28, 96)]) == []


def test_tab_or_silence_ends_a_code_where_it_is_set_so() -> None:
    """With Tab, Enter is no sign that can be read; without an end key only the pause ends it."""
    assert typed(strokes("ab\tcd\t"), Typing(frozenset({KEY_TAB}))) == [CodeReport(b"ab", ""), CodeReport(b"cd", "")]
    typing = Typing(frozenset())
    assert typed(strokes("abc"), typing) == []
    assert typing.partial
    assert typing.silence() == CodeReport(b"abc", "")
    assert typing.silence() is None


@pytest.mark.parametrize("size", [PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, 3 * PAYLOAD_BYTES_MAX])
def test_an_over_long_code_is_said_once_and_the_next_is_read(size: int) -> None:
    """4 096 signs are a code, more are CODE_TOO_LONG and take no memory."""
    typing = Typing()
    first = CodeReport(b"x" * size, "") if size <= PAYLOAD_BYTES_MAX else Unread(ReadProblem.CODE_TOO_LONG)
    said = typed(press(*[45] * size), typing)
    assert len(typing._text) <= PAYLOAD_BYTES_MAX + 1
    assert said + typed([*press(28), *strokes("next\n")], typing) == [first, CodeReport(b"next", "")]


def test_a_sign_that_no_keyboard_types_cannot_be_simulated() -> None:
    """The simulator refuses what a real scanner could not say either."""
    with pytest.raises(KeyError):
        strokes("\x1d")


def test_payload_is_never_printed() -> None:
    """What a code holds is personal: no repr shows it."""
    assert "sh.gov" not in repr(typed(strokes(CODE + "\n")))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40), max_size=5))
def test_what_is_typed_is_what_is_read(texts: list[str]) -> None:
    """Any ASCII codes, one after the other."""
    assert typed(strokes("".join(text + "\n" for text in texts))) == [CodeReport(t.encode(), "") for t in texts]
