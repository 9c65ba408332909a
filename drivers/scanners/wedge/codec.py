"""Key strokes of a keyboard-wedge scanner (Linux input events) and the text they type. No IO and no clock.

An event is `struct input_event` of the kernel's input interface: seconds, microseconds, type, code, value, in the
machine's own sizes and byte order. Keys are those of a US keyboard; whatever such a keyboard cannot type is lost in the
scanner already (GS, every character outside ASCII), so a code that needed another key is unreadable, never shortened.
"""

import struct
from dataclasses import dataclass

from drivers.contract import CodeReport, ReadProblem, Unread

EVENT = struct.Struct("@llHHi")  # 24 bytes on 64-bit machines
PAYLOAD_BYTES_MAX = 4096  # a QR symbol holds at most 2,953 bytes
# linux/input-event-codes.h
EV_SYN, EV_KEY, EV_MAX = 0x00, 0x01, 0x1F
SYN_REPORT, SYN_DROPPED = 0, 3
KEY_MAX = 0x2FF
PRESSED = 1  # 0 is released, 2 repeated while held: a held key types no second character
KEY_TAB, KEY_ENTER, KEY_KPENTER = 15, 28, 96
SHIFTS = frozenset({42, 54})
_MODIFIERS = frozenset({29, 97, 56, 100, 125, 126})  # Ctrl, Alt, Meta, both sides
_CAPS_LOCK = 58

# (first key code, unshifted, shifted): rows of a US keyboard.
_ROWS = (
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (57, " ", " "),
)
KEYS = {
    first + at: (plain, shifted)
    for first, row, shift_row in _ROWS
    for at, (plain, shifted) in enumerate(zip(row, shift_row, strict=True))
}
_KEYPAD = {55: "*", 71: "7", 72: "8", 73: "9", 74: "-", 75: "4", 76: "5", 77: "6", 78: "+", 79: "1", 80: "2", 81: "3"}
KEYS |= {code: (sign, sign) for code, sign in (_KEYPAD | {82: "0", 83: ".", 98: "/"}).items()}


class NotInputError(ValueError):
    """These bytes are no input events: another device, or events of another machine."""


@dataclass(frozen=True, slots=True)
class Event:
    """One input event without its time: when it was typed is the receiver's to say."""

    type: int
    code: int
    value: int


def encode(event: Event) -> bytes:
    """An event as the kernel writes it, at time 0."""
    return EVENT.pack(0, 0, event.type, event.code, event.value)


class Events:
    """Cuts what is read into events."""

    def __init__(self) -> None:
        self._buffer = b""

    @property
    def partial(self) -> bool:
        """Whether a part of an event waits for its rest."""
        return bool(self._buffer)

    def drop(self) -> None:
        """Forget that part: the rest of an event does not come later, and everything after would be cut wrongly."""
        self._buffer = b""

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes in any portions; the events that are complete. Raises NotInputError."""
        data = self._buffer + data
        whole = len(data) - len(data) % EVENT.size
        self._buffer = data[whole:]
        found = [Event(*fields[2:]) for fields in EVENT.iter_unpack(data[:whole])]
        for event in found:
            if event.type > EV_MAX or event.code > KEY_MAX or (event.type == EV_KEY and not 0 <= event.value <= 2):
                raise NotInputError
        return found


class Typing:
    """The text that key strokes make, cut into codes by Enter (or Tab)."""

    def __init__(self, end_keys: frozenset[int] = frozenset({KEY_ENTER, KEY_KPENTER})) -> None:
        self._end_keys = end_keys  # empty: only silence ends a code
        self._text = bytearray()
        self._held: set[int] = set()  # shifts and modifiers that are down
        self._lost = False  # this code holds a key that types nothing we know
        self._caps = False
        self._dropping = False  # between SYN_DROPPED and the next SYN_REPORT

    def feed(self, event: Event) -> CodeReport | Unread | None:
        """An event; the code when it was its last key."""
        if event.type == EV_SYN:
            self._synchronise(event.code)
            return None
        if event.type != EV_KEY or self._dropping:
            return None
        if event.code in SHIFTS | _MODIFIERS:
            (self._held.add if event.value else self._held.discard)(event.code)
            return None
        if event.value != PRESSED:
            return None
        if event.code in self._end_keys:
            return self._end()
        self._press(event.code)
        return None

    def silence(self) -> CodeReport | Unread | None:
        """Nothing was typed for long: what is there is a whole code, and no scanner keeps a key down so long."""
        self._held.clear()
        return self._end()

    def _end(self) -> CodeReport | Unread | None:
        text, lost = bytes(self._text), self._lost
        self._text.clear()
        self._lost = False
        if lost:
            return Unread(ReadProblem.CODE_UNREADABLE)
        if len(text) > PAYLOAD_BYTES_MAX:
            return Unread(ReadProblem.CODE_TOO_LONG)
        return CodeReport(text, "") if text else None

    @property
    def partial(self) -> bool:
        """Whether a code has begun, or a key is down."""
        return bool(self._text) or self._lost or bool(self._held)

    def _press(self, code: int) -> None:
        if code == _CAPS_LOCK:
            self._caps = not self._caps
            return
        if code not in KEYS or self._held & _MODIFIERS:
            self._lost = True  # Ctrl+] for GS, Alt with digits for other characters, function keys
            return
        plain, shifted = KEYS[code]
        upper = bool(self._held & SHIFTS) ^ (self._caps and plain.isalpha())
        if len(self._text) <= PAYLOAD_BYTES_MAX:  # one more than allowed is enough to know that it is too long
            self._text += (shifted if upper else plain).encode("ascii")

    def _synchronise(self, code: int) -> None:
        if code == SYN_DROPPED:  # the kernel's buffer ran over: which keys were missed is unknown
            self._dropping = self._lost = True
            self._held.clear()
        elif code == SYN_REPORT:
            self._dropping = False


def strokes(text: str) -> list[Event]:
    """What a keyboard says while it types `text`; a newline is Enter. Raises KeyError for what it cannot type."""
    signs = {sign: (code, shifted) for code, pair in reversed(KEYS.items()) for shifted, sign in enumerate(pair)}
    signs |= {sign: (code, 0) for code, (sign, _) in reversed(KEYS.items())}
    signs |= {"\n": (KEY_ENTER, 0), "\t": (KEY_TAB, 0)}
    events = []
    for character in text:
        code, shifted = signs[character]
        keys = [42, code] if shifted else [code]
        for key, value in [(key, 1) for key in keys] + [(key, 0) for key in reversed(keys)]:
            events += [Event(EV_KEY, key, value), Event(EV_SYN, SYN_REPORT, 0)]
    return events
