"""SSI packets: vectors of devices.md 2.1, every way bytes can arrive, repetitions and continuations."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import CodeReport, ReadProblem, Unread
from drivers.scanners.ssi.codec import (
    CONTINUED,
    PAYLOAD_BYTES_MAX,
    RETRANSMIT,
    RETRANSMIT_S,
    SCANNER,
    Broken,
    Cause,
    Codes,
    Layout,
    Opcode,
    Packet,
    Packets,
    encode,
)

CODE = b"https://s.sh.gov.cn/" + b"0123456789abcdef" * 4
QR = b"\x1c"
Found = list[Packet | Broken]


def decode(data: bytes = QR + CODE, status: int = 0) -> bytes:
    return encode(Opcode.DECODE, data, status, SCANNER)


@pytest.mark.parametrize(
    ("opcode", "data", "frame"),
    [
        (Opcode.START_SESSION, b"", "04E40400FF14"),
        (Opcode.STOP_SESSION, b"", "04E50400FF13"),
        (Opcode.ACK, b"", "04D00400FF28"),
        (Opcode.SCAN_ENABLE, b"", "04E90400FF0F"),
        (Opcode.SCAN_DISABLE, b"", "04EA0400FF0E"),
        (Opcode.REQUEST_REVISION, b"", "04A30400FF55"),
        (Opcode.SLEEP, b"", "04EB0400FF0D"),
        (Opcode.RESET, b"", "04FA0400FEFE"),
        (Opcode.LED_ON, b"\x01", "05E7040001FF0F"),
        (Opcode.LED_OFF, b"\x01", "05E8040001FF0E"),
        (Opcode.NAK, bytes([Cause.RESEND]), "05D1040001FF25"),
        (Opcode.NAK, bytes([Cause.BAD_CONTEXT]), "05D1040002FF24"),
        (Opcode.NAK, bytes([Cause.DENIED]), "05D1040006FF20"),
    ],
)
def test_a_command_is_its_published_frame(opcode: Opcode, data: bytes, frame: str) -> None:
    """devices.md 2.1, and the driver of an SSI engine that it names (id 34518958233)."""
    assert encode(opcode, data) == bytes.fromhex(frame)


def test_a_permanent_parameter_is_its_published_frame() -> None:
    """Host trigger as that driver sends it: bit 3 of the status is a permanent change."""
    assert encode(Opcode.PARAM_SEND, bytes.fromhex("008A08"), 8) == bytes.fromhex("07C60408008A08FE95")


def test_a_scanners_acknowledgement_is_its_published_frame() -> None:
    """The same source: 04 D0 00 00 FF 2C."""
    assert Packets().feed(bytes.fromhex("04D00000FF2C")) == [Packet(Opcode.ACK, 0, b"")]


def whole(data: bytes) -> Found:
    return Packets().feed(data)


def byte_by_byte(data: bytes) -> Found:
    packets = Packets()
    return [found for at in range(len(data)) for found in packets.feed(data[at : at + 1])]


def with_bytes_following(data: bytes) -> Found:
    packets = Packets()
    found = packets.feed(data + decode()[:9])
    assert packets.partial
    return found


ARRIVALS = (whole, byte_by_byte, with_bytes_following)
Arrival = Callable[[bytes], Found]


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize("noise", [b"", b"\0", b"\xff\xf3", b"\x06\xf3\0", b"\r\n", CODE])
def test_a_packet_is_found_behind_noise(arrives: Arrival, noise: bytes) -> None:
    """Wake bytes, text and false heads before a packet cost nothing but a Broken."""
    found = arrives(noise + decode())
    assert [one for one in found if isinstance(one, Packet)] == [Packet(Opcode.DECODE, 0, QR + CODE)]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_two_packets_in_one_write_are_two(arrives: Arrival) -> None:
    """Merged packets come apart in their order."""
    found = arrives(decode() + encode(Opcode.ACK, b"", 0, SCANNER))
    assert found == [Packet(Opcode.DECODE, 0, QR + CODE), Packet(Opcode.ACK, 0, b"")]


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize("at", [4, 5, 20, -2, -1])
def test_a_changed_byte_makes_it_broken(arrives: Arrival, at: int) -> None:
    """Type, code or checksum: what was spoiled is said to be broken, once, and no code comes of it."""
    packet = bytearray(decode())
    packet[at] ^= 0x01
    assert arrives(bytes(packet)) == [Broken()]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_a_packet_that_was_cut_short_hides_the_next_not(arrives: Arrival) -> None:
    """The beginning of one, then a whole one: broken, then the code."""
    assert arrives(decode()[:30] + decode() + decode()) == [Broken(), *[Packet(Opcode.DECODE, 0, QR + CODE)] * 2]


def test_silence_frees_a_packet_behind_a_false_head() -> None:
    """A head that promises 255 bytes holds a whole packet back only until the silence."""
    packets = Packets()
    assert packets.feed(b"\xff\xf3\0\0" + decode()) == []
    assert packets.silence() == [Broken(), Packet(Opcode.DECODE, 0, QR + CODE)]
    assert not packets.partial
    assert packets.feed(decode()[:20]) == []
    assert packets.silence() == [Broken()]


def test_a_hosts_packet_is_no_scanners() -> None:
    """An echo of our own commands on the line is nothing."""
    packets = Packets()
    assert packets.feed(encode(Opcode.ACK) + encode(Opcode.NAK, b"\1") + encode(Opcode.SCAN_ENABLE)) == []


def codes(layout: Layout | None = None) -> Codes:
    return Codes(layout or Layout(), b"key")


@pytest.mark.parametrize(
    ("kind", "symbology"),
    [(0x1C, "QR"), (0x1B, "DataMatrix"), (0x11, "PDF417"), (0x2D, "Aztec"), (0x03, "Code128"), (0x77, "")],
)
def test_the_type_names_the_symbology(kind: int, symbology: str) -> None:
    """The byte before the code; an unknown one has no name and is still no payload."""
    packet = Packet(Opcode.DECODE, 0, bytes([kind]) + CODE)
    assert codes().take(packet, 0.0) == CodeReport(CODE, symbology)


def test_what_is_sent_again_is_not_scanned_again() -> None:
    """Status bit 0 and the same data within three response time-outs: the acknowledgement was lost, not a new scan."""
    joined = codes()
    assert joined.take(Packet(Opcode.DECODE, 0, QR + CODE), 0.0) == CodeReport(CODE)
    assert joined.take(Packet(Opcode.DECODE, RETRANSMIT, QR + CODE), 2.0) is None
    assert joined.take(Packet(Opcode.DECODE, RETRANSMIT, QR + CODE), 4.0) is None
    assert joined.take(Packet(Opcode.DECODE, 0, QR + CODE), 5.0) == CodeReport(CODE)


def test_what_is_sent_again_is_new_where_the_first_was_never_heard() -> None:
    """A repetition of a packet that was garbled, or lost, is the only one that counts."""
    joined = codes()
    assert joined.take(Packet(Opcode.DECODE, 0, QR + b"another"), 0.0) == CodeReport(b"another")
    assert joined.take(Packet(Opcode.DECODE, RETRANSMIT, QR + CODE), 1.0) == CodeReport(CODE)
    late_s = 1.0 + RETRANSMIT_S
    assert joined.take(Packet(Opcode.DECODE, RETRANSMIT, QR + CODE), late_s) == CodeReport(CODE)


def test_continuations_are_joined_and_a_repeated_one_counts_once() -> None:
    """Bit 1: more follows. A part whose acknowledgement was lost is not joined twice."""
    joined = codes()
    assert joined.take(Packet(Opcode.DECODE, CONTINUED, QR + CODE[:30]), 0.0) is None
    assert joined.take(Packet(Opcode.DECODE, CONTINUED | RETRANSMIT, QR + CODE[:30]), 2.0) is None
    assert joined.partial
    assert joined.take(Packet(Opcode.DECODE, CONTINUED, QR + CODE[30:60]), 2.1) is None
    assert joined.take(Packet(Opcode.DECODE, 0, QR + CODE[60:]), 2.2) == CodeReport(CODE)
    assert not joined.partial


def test_a_code_whose_rest_never_comes_is_unreadable() -> None:
    """Half a code is no code, and does not stand before the next."""
    joined = codes()
    joined.take(Packet(Opcode.DECODE, CONTINUED, QR + CODE[:30]), 0.0)
    assert joined.drop() == Unread(ReadProblem.CODE_UNREADABLE)
    assert joined.drop() is None
    joined.take(Packet(Opcode.DECODE, CONTINUED, b"\x11" + CODE[:30]), 7.0)
    assert joined.take(Packet(Opcode.DECODE, 0, QR + CODE), 8.0) == CodeReport(CODE)


@pytest.mark.parametrize("size", [PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, 100 * PAYLOAD_BYTES_MAX])
def test_joining_has_a_limit(size: int) -> None:
    """4 096 bytes are a code, more are CODE_TOO_LONG, and endless continuations take no memory."""
    joined = codes()
    for _ in range(size // 128):
        assert joined.take(Packet(Opcode.DECODE, CONTINUED, QR + b"x" * 128), 0.0) is None
        assert len(joined._joined or b"") <= PAYLOAD_BYTES_MAX + 8
    said = joined.take(Packet(Opcode.DECODE, 0, QR + b"x" * (size % 128)), 0.0)
    too_long = size > PAYLOAD_BYTES_MAX
    assert said == (Unread(ReadProblem.CODE_TOO_LONG) if too_long else CodeReport(b"x" * size))


def test_suffix_and_aim_identifier_are_no_payload() -> None:
    """A scanner set to send CR and AIM identifiers puts them into its packets."""
    packet = Packet(Opcode.DECODE, 0, QR + b"]Q1" + CODE + b"\r")
    assert codes(Layout(b"\r", aim=True, encoding="gb18030")).take(packet, 0.0) == CodeReport(CODE, "QR", "gb18030")


@pytest.mark.parametrize("data", [b"", QR])
def test_an_empty_decode_is_nothing(data: bytes) -> None:
    """A packet without a code, or even without a type."""
    assert codes().take(Packet(Opcode.DECODE, 0, data), 0.0) is None


def test_payload_is_never_printed() -> None:
    """What a code holds is personal: no repr shows it."""
    assert "sh.gov" not in repr(whole(decode())) + repr(codes().take(Packet(Opcode.DECODE, 0, QR + CODE), 0.0))


_PARTS = st.lists(
    st.sampled_from([decode(), decode(b"\x1cA"), decode()[:11], b"\0", b"\xff\xf3\0\0", encode(Opcode.ACK, b"", 0, 0)]),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(_PARTS, st.lists(st.integers(0, 600), max_size=6))
def test_packets_do_not_depend_on_how_bytes_are_cut(parts: list[bytes], cuts: list[int]) -> None:
    """The same bytes in any portions give the same packets, before and at the silence that follows."""
    data = b"".join(parts)
    at_once, in_portions = Packets(), Packets()
    expected = at_once.feed(data)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert [one for a, b in itertools.pairwise(edges) for one in in_portions.feed(data[a:b])] == expected
    assert in_portions.silence() == at_once.silence()
