"""OSDP frames as libosdp 3.2.9 sent them, and card bits worked out by hand."""

import pytest

from drivers.contract import CardNumberReport, ReadProblem, Unread
from drivers.readers.osdp.codec import (
    EVERYBODY,
    FORMAT_ASCII,
    FORMAT_RAW,
    FORMAT_WIEGAND,
    NAK,
    OUT,
    Frame,
    Frames,
    ask_identity,
    card_report,
    crc16,
    read_frame,
    said_identity,
)
from drivers.simulated.osdp import wiegand26
from drivers.turnstiles.osdp_output.codec import OutputMap

ID = bytes.fromhex("ff53650900046100d97a")
PDID = bytes.fromhex("53e514000445feca00010107000000000001fd08")
CHALLENGE = bytes.fromhex("ff536513000e03110176d764c8cce93255c4f105")
SECURE_ACK = bytes.fromhex("53e50e000d021640798ff999303c")
CHECKSUM_ACK = bytes.fromhex("538007000040e6")


def arrives(data: bytes) -> list[Frame]:
    """Whole, byte by byte, and with bytes following: the same frames."""
    whole = Frames().feed(data)
    cut = Frames()
    assert [frame for at in range(len(data)) for frame in cut.feed(data[at : at + 1])] == whole
    assert Frames().feed(data + PDID[:9]) == whole
    return whole


@pytest.mark.parametrize(
    ("raw", "address", "reply", "code"),
    [(ID, 0x65, False, 0x61), (PDID, 0x65, True, 0x45), (CHALLENGE, 0x65, False, 0x76), (SECURE_ACK, 0x65, True, 0x40)],
    ids=["ID", "PDID", "CHLNG with a security block", "ACK on a secure channel"],
)
def test_a_frame_is_told_by_address_and_code(raw: bytes, address: int, reply: bool, code: int) -> None:
    """However it arrives, and with the FF of a driver that wakes the line or without."""
    assert arrives(raw) == [Frame(address, reply, code, raw.lstrip(b"\xff"))]
    assert read_frame(raw) == arrives(raw)[0]


def test_the_crc_is_the_standards() -> None:
    """Poly 1021, initial 1D0F: the published check value."""
    assert crc16(b"123456789") == 0xE5CC


def test_a_checksum_of_one_byte_is_right_too() -> None:
    """Old devices have no CRC: the sum of all bytes is 0."""
    assert [frame.code for frame in arrives(CHECKSUM_ACK)] == [0x40]
    assert read_frame(CHECKSUM_ACK[:-1] + b"\xe7") is None


def test_noise_and_spoiled_frames_are_skipped() -> None:
    """Every single-bit error in a frame is seen; the frame behind it is found."""
    for at in range(len(PDID)):
        for bit in range(8):
            spoiled = bytearray(PDID)
            spoiled[at] ^= 1 << bit
            assert read_frame(bytes(spoiled)) is None
    found = arrives(b"\x00\x53\x07\xffS\x00\x00\x00" + PDID + b"\x53\x53" + SECURE_ACK + SECURE_ACK)
    assert [frame.raw for frame in found] == [PDID, SECURE_ACK, SECURE_ACK]


def test_what_is_broken_off_does_not_hide_what_follows() -> None:
    """The rest of a frame never came; after `drop` the next is heard."""
    frames = Frames()
    assert frames.feed(PDID[:12]) == []
    frames.drop()
    assert [frame.code for frame in frames.feed(PDID)] == [0x45]


def test_codes_are_those_of_the_standard() -> None:
    """OUT is 68, NAK is 41."""
    assert (OUT, NAK) == (0x68, 0x41)


@pytest.mark.parametrize(
    ("bits", "data", "number"),
    [
        # 1 00000001 0000000000000001 0: facility 1, card 1
        (26, "80800080", "65537"),
        # 0 01020304 0
        (34, "0081018200", "16909060"),
        # 0, 34 zeros, 1, 0
        (37, "0000000010", "1"),
    ],
)
def test_bits_with_right_parities_lose_them(bits: int, data: str, number: str) -> None:
    """26, 34 and 37 bits, whichever of the two raw formats the reader names; padding does not count."""
    for form in (FORMAT_RAW, FORMAT_WIEGAND):
        said = card_report(form, bits, bytes.fromhex(data))
        assert said == CardNumberReport(number, bits, f"wiegand-{bits}")
    assert said == card_report(FORMAT_RAW, bits, bytes.fromhex(data) + b"\xff")


def test_wrong_parities_are_a_bad_read_only_where_the_reader_names_wiegand() -> None:
    """Without the name the bits may be of another layout, and are passed on whole."""
    assert card_report(FORMAT_WIEGAND, 26, bytes.fromhex("00800080")) == Unread(ReadProblem.CARD_UNREADABLE)
    assert card_report(FORMAT_RAW, 26, bytes.fromhex("00800080")) == CardNumberReport("131074", 26, "raw")


def test_other_lengths_are_one_number() -> None:
    """35 bits of a layout that nobody published, 56 bits of a chip."""
    assert card_report(FORMAT_WIEGAND, 35, b"\x00\x00\x00\x00\x20") == CardNumberReport("1", 35, "raw")
    assert card_report(FORMAT_RAW, 56, bytes.fromhex("04a1b2c3d4e5f6")) == CardNumberReport(
        "1303689068602870", 56, "raw"
    )


def test_a_chips_number_may_come_last_byte_first() -> None:
    """The same chip gives the same number behind readers of either habit."""
    assert card_report(FORMAT_WIEGAND, 34, bytes.fromhex("0081018200"), True).number == "67305985"  # type: ignore[union-attr]


def test_text_is_taken_as_it_is() -> None:
    """Letters and digits; anything else is a bad read."""
    assert card_report(FORMAT_ASCII, 0, b"A12345\r\n") == CardNumberReport("A12345", 48, "ascii")
    for bad in (b"", b"\0\0", b"12 34", b"\xff\xfe", b"1" * 65):
        assert card_report(FORMAT_ASCII, 0, bad) == Unread(ReadProblem.CARD_UNREADABLE)


@pytest.mark.parametrize(("bits", "data"), [(0, b""), (26, b"\x80\x80\x00"), (9, b"\x01")])
def test_fewer_bytes_than_bits_are_a_bad_read(bits: int, data: bytes) -> None:
    """Nothing is made up."""
    assert card_report(FORMAT_WIEGAND, bits, data) == Unread(ReadProblem.CARD_UNREADABLE)


def test_no_number_shows() -> None:
    """Neither in a report nor in a frame."""
    assert "65537" not in repr(card_report(FORMAT_WIEGAND, 26, bytes.fromhex("80800080")))
    assert "raw" not in repr(read_frame(PDID))


def test_the_simulated_reader_sends_what_was_worked_out() -> None:
    """Its parities are not those of the codec under test by accident."""
    assert wiegand26(65537) == bytes.fromhex("80800080")


def test_an_output_is_switched_for_a_time_or_for_good() -> None:
    """Release: code 5 with the timer in 100 ms; hold: codes 2 and 1 (IEC 60839-11-5, output control)."""
    outputs = OutputMap.of(
        {"release_output": 2, "hold_output": 3, "pulse_ms": 300, "fire_input": 1, "fire_active": "low"}
    )
    assert outputs.pulse(next(iter(outputs.release))) == {"output_no": 2, "control_code": 5, "timer_count": 3}
    assert outputs.holding(on=True) == {"output_no": 3, "control_code": 2, "timer_count": 0}
    assert outputs.holding(on=False) == {"output_no": 3, "control_code": 1, "timer_count": 0}
    assert outputs.decode((1, 0)) == {"fire": True}
    with pytest.raises(IndexError):
        outputs.decode((1,))


def test_the_question_who_is_there_and_its_answer() -> None:
    """Command 61 at address 0 and at everybody's, and reply 45, byte for byte; in any portions, bytes following."""
    assert ask_identity(0).hex(" ") == "53 00 09 00 04 61 00 " + crc16(bytes.fromhex("53000900046100")).to_bytes(
        2, "little"
    ).hex(" ")
    asked = read_frame(ask_identity(EVERYBODY))
    assert asked is not None
    assert (asked.address, asked.reply, asked.code) == (EVERYBODY, False, 0x61)
    body = bytes.fromhex("53 85 14 00 04 45 ca 00 00 01 02 07 00 00 00 01 02 03")
    raw = body + crc16(body).to_bytes(2, "little")
    for pieces in ([raw], [raw[n : n + 1] for n in range(len(raw))], [raw + b"S\x00"]):
        frames = Frames()
        (frame,) = [one for piece in pieces for one in frames.feed(piece)]
        assert said_identity(frame) == "unit 5, vendor 0000CA, model 1, serial 00000007, firmware 1.2.3"


def test_who_refuses_to_say_is_there_all_the_same() -> None:
    """A refusal (41), and an answer that ends too early."""
    for text in ("53 85 09 00 04 41 05", "53 85 0a 00 04 45 ca 00"):
        body = bytes.fromhex(text)
        frame = read_frame(body + crc16(body).to_bytes(2, "little"))
        assert frame is not None
        assert said_identity(frame) == "unit 5, which does not say what it is: does it want a key?"
