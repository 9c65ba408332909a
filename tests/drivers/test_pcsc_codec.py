"""Answers, names and codes of PC/SC readers."""

import io

import pytest

from drivers.contract import CardNumberReport, CardReport, DeviceFault, ReadProblem, Unread
from drivers.readers.pcsc import worker
from drivers.readers.pcsc.codec import (
    COMMANDS,
    EXCLUSIVE,
    PRESENT,
    Code,
    Kind,
    PcscSettings,
    Read,
    ReaderError,
    card_problem,
    card_report,
    choose_reader,
    decode_answer,
    encode_answer,
    reader_error,
    serial_number,
    wanted_reader,
)
from drivers.readers.pcsc.service import UNAWARE, CardError, Service
from drivers.simulated.cards import card_text, made_up_number
from drivers.worker.child import Voice
from drivers.worker.codec import Message, Messages, Order, decode_order, encode_order

TEXT = card_text(" ", name="测试", number=made_up_number(3), valid_from="20200101", valid_until="20300101")
SIZES = bytes.fromhex("01000400")
GOOD = bytes.fromhex("9000")
UNREADABLE, UNKNOWN = Unread(ReadProblem.CARD_UNREADABLE), Unread(ReadProblem.CARD_UNKNOWN_TYPE)
NAMES = (
    "ACS ACR122U PICC Interface 00 00",
    "HID Global OMNIKEY 5022 Smart Card Reader [OMNIKEY 5022 Smart Card Reader] (KW-0001) 01 00",
    "HID Global OMNIKEY 5022 Smart Card Reader [OMNIKEY 5022 Smart Card Reader] (KW-0002) 02 00",
)


def test_the_commands_are_those_of_the_page() -> None:
    """devices.md 1.8 and 4.4, byte for byte."""
    assert {Read.ID_CARD: bytes.fromhex("FFB0000000"), Read.UID: bytes.fromhex("FFCA000000")} == COMMANDS


def test_an_identity_card_is_four_bytes_of_size_and_its_text() -> None:
    """devices.md 1.8; each layout of section 6 is handed on whole, with a photo or without."""
    for flag in " JYI":
        text = TEXT[:248] + flag.encode("utf-16-le") + TEXT[250:]
        for sizes in (SIZES, bytes.fromhex("01000000")):
            assert card_report(Read.ID_CARD, sizes + text + GOOD) == CardReport(text)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\x90", id="half a status"),
        pytest.param(GOOD, id="a status only"),
        pytest.param(TEXT + GOOD, id="no sizes"),
        pytest.param(SIZES + TEXT[:-1] + GOOD, id="a byte short"),
        pytest.param(SIZES + TEXT + b"\0" + GOOD, id="a byte too much"),
        pytest.param(bytes.fromhex("00010400") + TEXT + GOOD, id="low byte first"),
        pytest.param(bytes.fromhex("01000401") + TEXT + GOOD, id="a photo larger than any"),
        pytest.param(SIZES + TEXT, id="no status"),
        pytest.param(SIZES + TEXT + bytes.fromhex("6282"), id="a warning"),
    ],
)
def test_an_answer_of_another_size_is_unread(answer: bytes) -> None:
    """No byte more or less than the page says is taken for a card's text, nor anything without 90 00."""
    assert card_report(Read.ID_CARD, answer) == UNREADABLE


@pytest.mark.parametrize(
    ("uid", "number"),
    [
        ("01020304", 0x01020304),
        ("04A1B2C3D4E5F6", 0x04A1B2C3D4E5F6),
        ("E004010012345678", 0xE004010012345678),
        ("08112233445566778899", 0x08112233445566778899),
        ("0101060108000000FFFFFFFF", 0x0101060108000000FFFFFFFF),
    ],
)
def test_a_chip_number_is_a_number_of_its_bits(uid: str, number: int) -> None:
    """4, 7, 8, 10 and 12 bytes, high byte first, or the other way round for readers that send it so."""
    raw = bytes.fromhex(uid)
    assert card_report(Read.UID, raw + GOOD) == CardNumberReport(str(number), 8 * len(raw), "uid")
    turned = card_report(Read.UID, raw[::-1] + GOOD, chip_reversed=True)
    assert turned == CardNumberReport(str(number), 8 * len(raw), "uid")


@pytest.mark.parametrize("uid", ["", "04", "040506", "0405060708", "08" + "00" * 12])
def test_a_chip_number_of_another_length_is_unread(uid: str) -> None:
    """There is no chip of so many bytes."""
    assert card_report(Read.UID, bytes.fromhex(uid) + GOOD) == UNREADABLE


def test_a_number_that_is_drawn_anew_is_no_number() -> None:
    """ISO/IEC 14443-3: 4 bytes that begin with 08; in readers that turn it, too. Longer ones may begin so."""
    assert card_report(Read.UID, bytes.fromhex("08A1B2C3") + GOOD) == UNKNOWN
    assert card_report(Read.UID, bytes.fromhex("C3B2A108") + GOOD, chip_reversed=True) == UNKNOWN


@pytest.mark.parametrize("read", Read)
@pytest.mark.parametrize(
    ("status", "says"),
    [("6A81", UNKNOWN), ("6D00", UNKNOWN), ("6E00", UNKNOWN), ("6300", UNREADABLE), ("6C07", UNREADABLE)],
)
def test_a_refusal_is_unread(read: Read, status: str, says: Unread) -> None:
    """What the reader does not support is no card for it; all else may go better the next time."""
    assert card_report(read, bytes.fromhex(status)) == says


def test_nothing_of_a_card_is_printed() -> None:
    """Neither text nor number, in the report nor in the message that carries it."""
    body = encode_answer(0.1, SIZES + TEXT + GOOD)
    shown = repr(card_report(Read.ID_CARD, SIZES + TEXT + GOOD)) + repr(Message(Kind.ANSWER, 1, body))
    shown += repr(card_report(Read.UID, bytes.fromhex("01020304") + GOOD))
    assert made_up_number(3) not in shown
    assert str(0x01020304) not in shown
    assert "\\x" not in shown


@pytest.mark.parametrize(
    ("wanted", "name"),
    [("ACR122U", NAMES[0]), ("acs", NAMES[0]), ("KW-0001", NAMES[1]), ("kw-0002", NAMES[2]), (NAMES[2], NAMES[2])],
)
def test_a_reader_is_found_by_a_part_of_its_name(wanted: str, name: str) -> None:
    """Model, serial number or the whole name, which wins over parts of others."""
    assert choose_reader(NAMES, wanted) == name
    assert choose_reader([NAMES[0] + " more", NAMES[0]], NAMES[0]) == NAMES[0]


def test_the_only_reader_needs_no_name() -> None:
    """`pcsc:` alone."""
    assert wanted_reader("pcsc:") == ""
    assert choose_reader(NAMES[:1], "") == NAMES[0]


@pytest.mark.parametrize(
    ("names", "wanted", "fault"),
    [
        (NAMES, "OMNIKEY", DeviceFault.WRONG_DEVICE),
        (NAMES, "", DeviceFault.WRONG_DEVICE),
        (NAMES, "SCL3711", DeviceFault.PORT_MISSING),
        ((), "", DeviceFault.PORT_MISSING),
    ],
)
def test_none_or_several_are_an_error_that_names_all(names: tuple[str, ...], wanted: str, fault: DeviceFault) -> None:
    """The right name can be copied from it."""
    with pytest.raises(ReaderError) as error:
        choose_reader(names, wanted)
    assert error.value.fault is fault
    assert ("; ".join(names) or "there are none") in str(error.value)


def test_a_serial_number_stands_in_the_name() -> None:
    """Where pcscd writes it; a reader without one has none."""
    assert [serial_number(name) for name in NAMES] == ["", "KW-0001", "KW-0002"]


@pytest.mark.parametrize("port", ["", "pcsc", "/dev/x", "tcp:pcsc:1", "pcsc:\n", "PCSC:x"])
def test_what_is_no_readers_name_is_refused(port: str) -> None:
    """The text says how one looks."""
    with pytest.raises(ValueError, match="pcsc:NAME"):
        wanted_reader(port)


def test_codes_speak_of_the_card_or_of_the_reader() -> None:
    """A card of whatever making takes no reader down; a dead pcscd is no fault of a card."""
    assert card_problem(Code.REMOVED_CARD) is card_problem(Code.NO_SMARTCARD) is ReadProblem.CARD_REMOVED
    for code in (0x80100066, 0x8010000F, 0x80100016, 0x80100001, 1):
        assert card_problem(code) is ReadProblem.CARD_UNREADABLE
    faults = {
        Code.NO_SERVICE: DeviceFault.PORT_MISSING,
        Code.COMM_ERROR: DeviceFault.PORT_LOST,
        Code.READER_UNAVAILABLE: DeviceFault.PORT_LOST,
        Code.SECURITY_VIOLATION: DeviceFault.PORT_DENIED,
    }
    for code, fault in faults.items():
        assert card_problem(code) is None
        assert reader_error(code, "it").fault is fault


def test_an_answer_and_its_time_travel_in_one_message() -> None:
    """Microseconds, then the answer, however the pipe cuts it; one that is too short is refused."""
    body = encode_answer(0.0441, SIZES + TEXT + GOOD)
    assert body[:4] == (44100).to_bytes(4, "big")
    assert decode_answer(body) == (0.0441, SIZES + TEXT + GOOD)
    assert decode_answer(encode_answer(1e9, b"")) == (0xFFFFFFFF / 1e6, b"")
    with pytest.raises(ValueError, match="3 bytes"):
        decode_answer(b"abc")


def test_its_orders_come_out_as_they_were_sent() -> None:
    """A reader's name in any script."""
    order = Order(3, PcscSettings("读卡器 (1) 00 00", "uid"))
    assert decode_order(encode_order(order), PcscSettings) == order


class Scripted:
    """pyscard's plain functions, answering what a test says: for states that vpcd cannot be in."""

    SCARD_SCOPE_SYSTEM = SCARD_SHARE_SHARED = SCARD_LEAVE_CARD = SCARD_PROTOCOL_T0 = SCARD_PCI_T0 = 0
    SCARD_PROTOCOL_T1 = SCARD_PCI_T1 = 1

    def __init__(self, *states: tuple[int, int], connect: int = 0) -> None:
        self._states = list(states)
        self._connect = connect

    def SCardEstablishContext(self, scope: int) -> tuple[int, int]:  # noqa: N802 - its name
        return 0, 1

    def SCardReleaseContext(self, context: int) -> None:  # noqa: N802 - its name
        pass

    def SCardGetStatusChange(  # noqa: N802 - its name
        self, context: int, wait_ms: int, known: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        code, state = self._states.pop(0)
        return code, [(known[0][0], state, [])]

    def SCardConnect(self, context: int, name: str, share: int, protocols: int) -> tuple[int, int, int]:  # noqa: N802
        return self._connect, 0, 0


def test_a_reader_that_is_unplugged_while_it_is_looked_at_is_lost() -> None:
    """SCARD_STATE_UNAVAILABLE, and the code for it: PORT_LOST that names the reader."""
    for states in ([(0, 0x0E)], [(Code.READER_UNAVAILABLE, 0)], [(Code.TIMEOUT, 0), (Code.UNKNOWN_READER, 0)]):
        with Service(Scripted(*states)) as service, pytest.raises(ReaderError, match="it is gone") as error:
            service.state("it", 0x10)
        assert error.value.fault is DeviceFault.PORT_LOST


def test_a_change_that_was_not_told_is_seen_all_the_same() -> None:
    """After each wait without news the reader is asked how it is."""
    with Service(Scripted((Code.TIMEOUT, 0x10), (0, 0x10022))) as service:
        assert service.state("it", 0x10) == 0x10020


def test_a_code_is_the_same_where_longs_are_signed() -> None:
    """-2146435060 is 8010000C."""
    with Service(Scripted(connect=Code.NO_SMARTCARD - (1 << 32))) as service, pytest.raises(CardError) as error:
        service.ask("it", b"")
    assert error.value.problem is ReadProblem.CARD_REMOVED


@pytest.mark.parametrize(
    ("states", "due", "said"),
    [
        pytest.param([0x10], False, [Kind.LEFT], id="empty at the start"),
        pytest.param([0x10020], True, [], id="a card at the start"),
        pytest.param([0x10, 0x10020], True, [Kind.LEFT], id="a card comes"),
        pytest.param([0x10, 0x10020, 0x20010], False, [Kind.LEFT, Kind.LEFT], id="it leaves"),
        pytest.param([0x10, 0x20010], False, [Kind.LEFT, Kind.UNREAD, Kind.LEFT], id="it came and went unseen"),
        pytest.param([0x10020, 0x30020], True, [], id="another one, its change unseen"),
        pytest.param([0x10020, 0x10120], False, [], id="another program uses it"),
    ],
)
def test_what_a_change_means(states: list[int], due: bool, said: list[Kind]) -> None:
    """Whether a card is to be read, and what is told: by presence and by how often it changed."""
    out = io.BytesIO()
    reader = worker.Reader(1, PcscSettings("", "uid"), Voice(out), None)
    before, wanted = UNAWARE, False
    for known in states:
        wanted = reader._changed(before, known, False)
        before = known
    assert wanted is due
    assert [message.kind for message in Messages(Kind).feed(out.getvalue())] == said
    assert not any(state & EXCLUSIVE for state in states)
    assert PRESENT == 0x20
