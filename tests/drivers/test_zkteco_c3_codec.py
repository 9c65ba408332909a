"""Frames of C3 panels: captured ones byte for byte, in one piece and in many, and what events mean."""

import pytest

from drivers.contract import Direction, Emergency, Passed
from drivers.simulated import zkteco_c3 as simulated
from drivers.turnstiles.zkteco_c3.codec import (
    DATA_MAX,
    HELD,
    Command,
    DoorMap,
    Event,
    Frame,
    Frames,
    Kind,
    RefusedError,
    Reply,
    Session,
    crc16,
    encode,
    move,
    parameters,
    records,
    text_records,
)

# Captured between a program and real panels. zp: vwout/zkaccess-c3-py, hz: vwout/hass-zkaccess_c3; the number is the
# issue's. Requests:
SENT = {
    "zp 2, C3-400: begin a session": ("aa01760400fefefefe467755", 0x76, "fefefefe"),
    "zp 5, inBio 460: begin a session with a password": (
        "aa01760c00fefefefe41646d696e313233260955",
        0x76,
        "fefefefe41646d696e313233",
    ),
    "zp 2, C3-400: connect without one": ("aa01010000503c55", 0x01, ""),
    "zp 5, inBio 460: the same with a password": ("aa0101080041646d696e313233d40955", 0x01, "41646d696e313233"),
    "zp 1, C3-100: disconnect": ("aa01020000a03c55", 0x02, ""),
    "hz 7, C3-400: read the log": ("aa010b0000703e55", 0x0B, ""),
    "hz 3, inBio 460: read the log in a session": ("aa010b0400d2fe183aa81355", 0x0B, "d2fe183a"),
}
# Answers:
HEARD = {
    "zp 2, C3-400: no sessions here": ("aa01c90100f313d955", 0xC9, "f3"),
    "zp 2, C3-400: done": ("aa01c80000800255", 0xC8, ""),
    "zp 5, inBio 460: wrong password": ("aa01c90100f2d21955", 0xC9, "f2"),
    "hz 3, inBio 460: wrong password, in a session": ("aa01c905005a39fefef2602e55", 0xC9, "5a39fefef2"),
    "hz 7, C3-400: how doors stand": (
        "aa01c810000000000001010101c800ff00deaf042ed32255",
        0xC8,
        "0000000001010101c800ff00deaf042e",
    ),
    "hz 3, inBio 460: the same in a session": (
        "aa01c81400d2fe183a01000000010002020001ff00cc89da2dc0ff55",
        0xC8,
        "d2fe183a01000000010002020001ff00cc89da2d",
    ),
    "hz 3, inBio 460: door 2 was closed remotely": (
        "aa01c81400d2fe173a0000000000000000c8020902cb89da2d25c555",
        0xC8,
        "d2fe173a0000000000000000c8020902cb89da2d",
    ),
    "zp tests: auxiliary input 2 was shorted": (
        "aa01c81400eb663c000000000000000000c802dd02f5c3ca2c0abe55",
        0xC8,
        "eb663c000000000000000000c802dd02f5c3ca2c",
    ),
    "zp tests: protocol version 0": ("aa00c804004ac70100ee3d55", 0xC8, "4ac70100"),
}
TEXT = (
    b"time=2023-12-06 22:33:15\tpin=0\tcardno=0\teventaddr=0\tevent=206\tinoutstatus=2\tverifytype=200\tindex=8\r\n"
    b"time=2023-12-06 22:57:54\tpin=0\tcardno=0\teventaddr=1\tevent=8\tinoutstatus=2\tverifytype=200\tindex=9"
)
WIRED = {"unit": 1, "passed_active": "shorted", "fire_active": "open"}


def heard(data: bytes) -> list[Frame]:
    return Frames().feed(data)


def test_the_crc_is_the_one_of_the_panels() -> None:
    """Check value of CRC-16/ARC, and vectors of vwout/zkaccess-c3-py tests/test_crc16.py."""
    assert crc16(b"123456789") == 0xBB3D
    assert crc16(b"abcdefg") == 0xE9D9
    assert crc16(b"0123456789ABCDEF") == 0x0F65
    assert crc16(bytes.fromhex("0176040000000000")) == 0x8FD7
    assert crc16(bytes.fromhex("01c80400d6cd0000")) == 0x3320
    assert crc16(bytes.fromhex("010b04003ee30200")) == 0xF687
    assert crc16(bytes.fromhex("01c8140054f10200030000001100000000 01ff00da3e7521")) == 0x4F24


@pytest.mark.parametrize("name", SENT)
def test_requests_are_those_captured(name: str) -> None:
    """Byte for byte, and the simulated panel understands them."""
    raw, command, data = SENT[name]
    assert encode(command, bytes.fromhex(data)) == bytes.fromhex(raw)
    assert simulated.take(bytearray(bytes.fromhex(raw))) == (command, bytes.fromhex(data))


@pytest.mark.parametrize("name", HEARD)
def test_captured_answers_are_read_in_one_piece_and_in_many(name: str) -> None:
    """Whole, byte by byte, with bytes before and behind; one altered byte and it is no answer."""
    raw, reply, data = HEARD[name]
    frame = bytes.fromhex(raw)
    wanted = [Frame(reply, bytes.fromhex(data))]
    assert heard(frame) == wanted
    pieces = Frames()
    assert [one for byte in frame for one in pieces.feed(bytes([byte]))] == wanted
    assert heard(b"\x00\xaa\x01" + frame + b"\xaa\x55") == wanted
    assert heard(frame + frame) == wanted * 2
    for at in range(len(frame)):
        assert heard(frame[:at] + bytes([frame[at] ^ 0x04]) + frame[at + 1 :]) != wanted


def test_a_length_that_no_answer_has_is_noise() -> None:
    """It does not make the reader wait for 60 kB; the frame behind it is found at once."""
    good = encode(Reply.DONE, b"")
    assert heard(b"\xaa\x01\xc8\xff\xff" + good) == [Frame(Reply.DONE, b"")]
    with pytest.raises(ValueError, match="at most 2048"):
        encode(Command.CONTROL, bytes(DATA_MAX + 1))


def test_a_session_is_taken_and_numbered() -> None:
    """Its first request is FEFE FEFE, later ones carry the panel's id and one number more each."""
    session = Session()
    assert session.request(Command.CONNECT_SESSION) == bytes.fromhex("aa01760400fefefefe467755")
    assert session.answer(Frame(Reply.DONE, bytes.fromhex("4d9cfefe"))) == b""
    request = session.request(Command.PARAMETERS, b"LockCount")
    assert request == encode(Command.PARAMETERS, bytes.fromhex("4d9cfffe") + b"LockCount")
    assert session.answer(Frame(Reply.DONE, bytes.fromhex("4d9cfffe") + b"LockCount=2")) == b"LockCount=2"


def test_another_request_s_answer_is_none() -> None:
    """The capture of hz 3 shows a panel one answer behind: number, or session, tell."""
    session = Session()
    session.request(Command.CONNECT_SESSION)
    session.answer(Frame(Reply.DONE, bytes.fromhex("d2fefefe")))
    session.request(Command.LOG)
    late = bytes.fromhex("d2fefefe0000000000000000c8020902cb89da2d")
    assert session.answer(Frame(Reply.DONE, late)) is None
    assert session.answer(Frame(Reply.DONE, b"\xd3\xfe\xff\xfe" + late[4:])) is None
    assert session.answer(Frame(Reply.DONE, b"\xd2\xfe")) is None
    assert session.answer(Frame(Reply.DONE, b"\xd2\xfe\xff\xfe" + late[4:])) == late[4:]


@pytest.mark.parametrize("data", ["f3", "5a39fefef3"])
def test_a_refusal_carries_its_code(data: str) -> None:
    """In one byte or behind the session's head: F3 is -13."""
    session = Session()
    session.request(Command.CONNECT_SESSION)
    with pytest.raises(RefusedError) as caught:
        session.answer(Frame(Reply.REFUSED, bytes.fromhex(data)))
    assert caught.value.code == -13


def test_operations_are_the_readme_s() -> None:
    """Output operation: door, door output, seconds; vwout/zkaccess-c3-py tests/test_controldevice.py."""
    assert move(1, 200) == bytes.fromhex("010101c800")
    assert move(3, 200) == bytes.fromhex("010301c800")
    assert move(2, HELD) == bytes.fromhex("010201ff00")


def test_parameters_are_read() -> None:
    """The captured answer of zp 2; what is no pair is left out."""
    told = b"~SerialNumber=DDG8130016092200401,LockCount=4,AuxInCount=4,AuxOutCount=4"
    assert parameters(told)["LockCount"] == "4"
    assert parameters(told)["~SerialNumber"] == "DDG8130016092200401"
    assert parameters(b"a\x07=b\x00,c,d=\xff") == {"a\x07": "b", "d": ""}


def test_records_become_events_without_a_card() -> None:
    """Kind and door; card number and PIN are left in the bytes; a status record is no event."""
    card = bytes.fromhex("17306412e2b1040004010000742caf21")
    event = bytes.fromhex("0000000000000000c802dd02f5c3ca2c")
    status = bytes.fromhex("01000000010002020001ff00cc89da2d")
    assert records(card + status + event) == [Event(0, 1), Event(Kind.INPUT_SHORTED, 2)]
    assert records(b"") == []
    assert "1964" not in repr(records(card))
    with pytest.raises(ValueError, match="360"):
        records(bytes(360))


def test_lines_of_text_become_events() -> None:
    """The captured answer of a panel that logs in text; a line that tells how doors stand is no event."""
    assert text_records(TEXT) == [Event(206, 0), Event(8, 1)]
    assert text_records(b"time=2023-12-09 15:09:33\tsensor=24\trelay=04\talarm=00000000") == []
    assert text_records(b"event=1\teventaddr=999\r\nevent=x\teventaddr=1\r\nevent=\xb2\teventaddr=1") == []


def test_a_door_s_sensor_tells_passages_of_its_direction() -> None:
    """Opened after a release and opened by force are both a person; closed is none; another door is another's."""
    wired = DoorMap.of({**WIRED, "passed_sensor": 1, "passed_exit_sensor": 3})
    assert wired.reports(Event(200, 1)) == [Passed(Direction.ENTRY)]
    assert wired.reports(Event(102, 3)) == [Passed(Direction.EXIT)]
    assert [wired.reports(Event(kind, door)) for kind, door in ((201, 1), (200, 2), (220, 1), (221, 1))] == [[]] * 4


@pytest.mark.parametrize(("active", "passing", "resting"), [("shorted", 221, 220), ("open", 220, 221)])
def test_an_auxiliary_input_tells_passages(active: str, passing: int, resting: int) -> None:
    """At the edge that the settings name."""
    wired = DoorMap.of({**WIRED, "passed_active": active, "passed_input": 2})
    assert wired.reports(Event(passing, 2)) == [Passed(Direction.ENTRY)]
    assert wired.reports(Event(resting, 2)) == []
    assert wired.reports(Event(passing, 1)) == []


@pytest.mark.parametrize(("active", "burning", "quiet"), [("open", 220, 221), ("shorted", 221, 220)])
def test_a_fire_input_tells_an_emergency_and_its_end(active: str, burning: int, quiet: int) -> None:
    """A closed loop burns when it opens."""
    wired = DoorMap.of({**WIRED, "fire_active": active, "fire_input": 4})
    assert wired.reports(Event(burning, 4)) == [Emergency(True)]
    assert wired.reports(Event(quiet, 4)) == [Emergency(False)]
    assert DoorMap.of(WIRED).reports(Event(burning, 4)) == []


def test_one_door_serves_both_directions_unless_told() -> None:
    """The highest door is the one the panel must have."""
    assert DoorMap.of(WIRED).doors == {Direction.ENTRY: 1, Direction.EXIT: 1}
    both = DoorMap.of({**WIRED, "exit_door": 4})
    assert (both.doors[Direction.EXIT], both.last_door) == (4, 4)
