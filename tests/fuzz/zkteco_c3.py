"""C3 frames: whatever comes, only frames with a right CRC are found, and no event is made of what is none."""

from drivers.contract import DeviceReport, Direction, Emergency, Passed
from drivers.turnstiles.zkteco_c3 import codec
from drivers.turnstiles.zkteco_c3.codec import (
    DATA_MAX,
    HELD,
    RECORD,
    Command,
    DoorMap,
    Event,
    Frame,
    Frames,
    Kind,
    RefusedError,
    Reply,
    Session,
    encode,
    move,
    parameters,
    records,
    text_records,
)
from tests.fuzz.mutate import altered

REACHES = codec
_LINES = b"time=2023-12-06 22:33:15\teventaddr=1\tevent=200\r\ntime=2023-12-09 15:09:33\tsensor=24"
_SENT = [
    encode(Reply.DONE, bytes.fromhex("fefefefe")),
    encode(Reply.DONE, bytes.fromhex("fefefffe") + bytes(8) + bytes([200, 1, 220, 2]) + bytes(4)),
    encode(Reply.REFUSED, bytes([0xF3])),
    encode(Reply.DONE, b"LockCount=4,AuxInCount=4"),
]
_WIRED = {"unit": 1, "exit_door": 2, "passed_sensor": 1, "passed_exit_input": 2, "fire_input": 1}
_SETTINGS = {**_WIRED, "passed_active": "shorted", "fire_active": "open"}
_SAID: list[DeviceReport] = [Passed(Direction.ENTRY), Passed(Direction.EXIT), Emergency(True), Emergency(False)]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_SENT, data), data + altered(_SENT, data) + _SENT[0]):
        whole = Frames().feed(stream)
        pieces = Frames()
        assert [frame for byte in stream for frame in pieces.feed(bytes([byte]))] == whole
        assert all(encode(frame.reply, frame.data)[2:5] in stream for frame in whole)
        for sessions in (True, False):
            session = Session()
            if not sessions:
                session.id = None
            for frame in (*whole, Frame(Reply.DONE, data)):
                session.request(Command.LOG)
                try:
                    answer = session.answer(frame)
                except RefusedError:
                    assert frame.reply == Reply.REFUSED
                else:
                    assert answer is None or frame.data.endswith(answer)
                    parameters(answer or b"")
    assert parameters(b"LockCount=4,x")["LockCount"] == "4"
    _events(data)
    try:
        assert Frames().feed(encode(Reply.DONE, data)) == [Frame(Reply.DONE, data)]
        encode(Command.CONTROL, bytes(DATA_MAX + (len(data) > 13)))
    except ValueError:
        assert len(data) > 13
    assert move(1, HELD)[:2] == b"\x01\x01"


def _events(data: bytes) -> None:
    wired = DoorMap.of(_SETTINGS)
    events = text_records(data) + text_records(altered([_LINES], data))
    try:
        events += records(data) + records(data[: len(data) - len(data) % RECORD])
    except ValueError:
        assert len(data) % RECORD
    for event in (*events, Event(Kind.OPENED, 1), Event(Kind.INPUT_OPEN, 1)):
        assert 0 <= event.kind < 0x100
        assert 0 <= event.number < 0x100
        assert all(report in _SAID for report in wired.reports(event))
    assert wired.last_door == 2
