"""Key strokes: however bytes are cut, the same events and codes come out, all ASCII, and none longer than any code."""

from contextlib import suppress

from drivers.contract import CodeReport, Unread
from drivers.scanners.wedge import codec
from drivers.scanners.wedge.codec import (
    KEY_TAB,
    PAYLOAD_BYTES_MAX,
    Event,
    Events,
    NotInputError,
    Typing,
    encode,
    strokes,
)
from tests.fuzz.mutate import altered

REACHES = codec
_TYPED = b"".join(map(encode, strokes("https://s.sh.gov.cn/0Aa~|?\n")))
_HELD = b"".join(encode(Event(1, key, 1)) for key in (58, 30, 29, 27, 59, 28))
_DROPPED = encode(Event(0, 3, 0)) + encode(Event(1, 30, 1)) + encode(Event(0, 0, 0)) + encode(Event(1, 28, 1))
_STREAMS = [_TYPED, _HELD + _TYPED, _TYPED[:96] + _DROPPED + _TYPED, encode(Event(1, 30, 1)) * (PAYLOAD_BYTES_MAX + 2)]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_STREAMS, data), altered(_STREAMS, data) + data):
        _read(stream)
    text = bytes(32 + byte % 95 for byte in data)  # what can be typed is read as it was typed
    typing, typed = Typing(), b"".join(map(encode, strokes(text.decode("ascii") + "\n")))
    said = [one for event in Events().feed(typed) if (one := typing.feed(event))]
    assert said == ([CodeReport(text, "")] if 0 < len(text) <= PAYLOAD_BYTES_MAX else said)
    # Any keys at all, as a keyboard would press them.
    keys = [Event(1, byte, 1) for byte in data] + [Event(1, byte, 0) for byte in data]
    _type(Typing(frozenset({KEY_TAB})), keys)


def _read(data: bytes) -> None:
    whole, cut = Events(), Events()
    events: list[Event] = []
    with suppress(NotInputError):
        events = whole.feed(data)
        assert events == [event for at in range(len(data)) for event in cut.feed(data[at : at + 1])]
    assert not (cut.partial and whole.partial) or len(data) % codec.EVENT.size
    cut.drop()
    assert not cut.partial
    _type(Typing(), events)
    _type(Typing(frozenset()), events)


def _type(typing: Typing, events: list[Event]) -> None:
    said: list[CodeReport | Unread | None] = [typing.feed(event) for event in events]
    said.append(typing.silence())
    assert not typing.partial
    for one in said:
        if isinstance(one, CodeReport):
            assert 0 < len(one.payload) <= min(PAYLOAD_BYTES_MAX, len(events))
            assert one.payload.isascii()
            assert one.payload.decode().isprintable()
