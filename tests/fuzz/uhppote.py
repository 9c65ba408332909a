"""UHPPOTE messages: only those of our controller are found, no passage is made of what is none, no event is a crowd."""

from types import SimpleNamespace

from drivers.contract import Direction, Emergency, Passed, Ready
from drivers.turnstiles.uhppote import codec
from drivers.turnstiles.uhppote.codec import (
    DOOR_EVENT,
    DOOR_OPENED,
    EVENTS_MAX,
    SIZE,
    START,
    DoorMap,
    Frames,
    Function,
    first_states,
    is_event,
    look,
    new_events,
    number_of,
    numbered,
    serial_of,
    states,
)
from tests.fuzz.mutate import altered

REACHES = codec
_SERIAL = 405419896
_SENT = [
    bytes([START, function, 0, 0]) + _SERIAL.to_bytes(4, "little") + bytes(SIZE - 8)
    for function in (Function.STATUS, Function.OPEN_DOOR, Function.GET_EVENT)
]


def fuzz(data: bytes) -> None:
    for serial in (0, _SERIAL):
        for stream in (data, altered(_SENT, data), data + altered(_SENT, data) + _SENT[0]):
            whole = _reader(serial).feed(stream)
            pieces = _reader(serial)
            assert [message for byte in stream for message in pieces.feed(bytes([byte]))] == whole
            for message in whole:
                assert len(message) == SIZE
                assert message in stream
                assert serial in (0, serial_of(message))
            pieces.reset()
            assert pieces.feed(_SENT[0]) == [_SENT[0]]
    assert not is_event(data, _SERIAL) or data[1] == Function.STATUS
    assert is_event(_SENT[0], _SERIAL)
    assert number_of(numbered(_SENT[1], len(data))) == len(data)
    _looks((data + bytes(8))[:8])


def _reader(serial: int) -> Frames:
    reader = Frames()
    reader.serial = serial
    return reader


def _looks(data: bytes) -> None:
    before = look(SimpleNamespace(relays=data[0], inputs=data[1], event_index=data[2]))
    now = look(SimpleNamespace(relays=data[3], inputs=data[4], event_index=data[5]))
    assert len(new_events(before, now)) <= EVENTS_MAX
    assert all(before.last_event < index <= now.last_event for index in new_events(before, now))
    for state in (*states(before, now), *first_states(before, now), *first_states(None, now)):
        assert state in (Emergency(now.fire), Ready(not now.locked))
    wired = DoorMap.of({"unit": 1, "exit_door": 2, "passed_sensor": 1, "passed_exit_sensor": 2})
    event = SimpleNamespace(index=1, event_type=data[5] % 4, door=data[6], reason=data[7] % 32)
    for report in wired.reports(event):
        assert (event.event_type, event.reason) == (DOOR_EVENT, DOOR_OPENED)
        assert report == Passed(Direction.ENTRY if event.door == 1 else Direction.EXIT)
    assert {door for door in range(1, 5) if now.is_open(door)} <= set(wired.doors.values()) | {3, 4}
