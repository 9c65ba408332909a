"""Lines of a QR engine: every framing setting, every way bytes can arrive."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.contract import CodeReport, ReadProblem, Unread
from drivers.scanners.line.codec import PAYLOAD_BYTES_MAX, Framing, Lines

CODE = b"https://s.sh.gov.cn/" + b"0123456789abcdef" * 4
Said = list[CodeReport | Unread]


def whole(framing: Framing, data: bytes) -> Said:
    return Lines(framing).feed(data)


def byte_by_byte(framing: Framing, data: bytes) -> Said:
    lines = Lines(framing)
    return [said for at in range(len(data)) for said in lines.feed(data[at : at + 1])]


def with_bytes_following(framing: Framing, data: bytes) -> Said:
    lines = Lines(framing)
    said = lines.feed(data + b"next")
    assert lines.partial
    return said


ARRIVALS = (whole, byte_by_byte, with_bytes_following)
Arrival = Callable[[Framing, bytes], Said]


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize("suffix", [b"\r\n", b"\r", b"\n", b"\t", b"\x03"])
def test_each_suffix_ends_a_code(arrives: Arrival, suffix: bytes) -> None:
    """A code is what stands before the suffix, however its bytes arrive."""
    assert arrives(Framing(suffix=suffix), CODE + suffix) == [CodeReport(CODE, "")]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_two_codes_in_one_write_are_two_codes(arrives: Arrival) -> None:
    """Merged lines come apart in their order."""
    assert arrives(Framing(), CODE + b"\r\nsecond\r\n") == [CodeReport(CODE, ""), CodeReport(b"second", "")]


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize(
    ("identifier", "symbology"),
    [
        (b"]Q1", "QR"),
        (b"]Q6", "QR"),
        (b"]d2", "DataMatrix"),
        (b"]L0", "PDF417"),
        (b"]zC", "Aztec"),
        (b"]C0", "Code128"),
        (b"]X0", ""),
        (b"", ""),
    ],
)
def test_aim_identifier_names_the_symbology_and_is_not_payload(
    arrives: Arrival, identifier: bytes, symbology: str
) -> None:
    """The identifiers of devices.md 2.1 become names; an unknown one is still no part of the code."""
    assert arrives(Framing(aim=True), identifier + CODE + b"\r\n") == [CodeReport(CODE, symbology)]


def test_without_aim_a_bracket_is_payload() -> None:
    """An engine that sends no identifiers may send a code that begins like one."""
    assert whole(Framing(), b"]Q1x\r\n") == [CodeReport(b"]Q1x", "")]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_noise_before_the_prefix_is_dropped(arrives: Arrival) -> None:
    """The prefix is where a code begins."""
    framing = Framing(prefix=b"\x02", aim=True)
    assert arrives(framing, b"\xff\x00zz\x02]Q1" + CODE + b"\r\n") == [CodeReport(CODE, "QR")]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_a_line_without_its_prefix_is_unreadable(arrives: Arrival) -> None:
    """The rest of a line whose beginning was lost is not taken for a code, and the passenger is told."""
    framing = Framing(prefix=b"\x02")
    said = arrives(framing, CODE[30:] + b"\r\n\x02" + CODE + b"\r\n")
    assert said == [Unread(ReadProblem.CODE_UNREADABLE), CodeReport(CODE, "")]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_padding_with_nul_is_no_payload(arrives: Arrival) -> None:
    """NUL around a code is padding, NUL inside it is kept."""
    assert arrives(Framing(), b"\0\0a\0b\0\r\n\0\r\n") == [CodeReport(b"a\0b", "")]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_empty_lines_are_nothing(arrives: Arrival) -> None:
    """Suffixes alone are no codes."""
    assert arrives(Framing(prefix=b"P"), b"\r\n\r\nP\r\n") == []


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize("size", [PAYLOAD_BYTES_MAX, PAYLOAD_BYTES_MAX + 1, 3 * PAYLOAD_BYTES_MAX])
def test_an_over_long_line_is_said_once_and_the_next_is_read(arrives: Arrival, size: int) -> None:
    """4 096 bytes are a code, more are CODE_TOO_LONG, and the suffix finds the next one."""
    first = CodeReport(b"x" * size, "") if size <= PAYLOAD_BYTES_MAX else Unread(ReadProblem.CODE_TOO_LONG)
    assert arrives(Framing(), b"x" * size + b"\r\n" + CODE + b"\r\n") == [first, CodeReport(CODE, "")]


@pytest.mark.parametrize("arrives", ARRIVALS)
def test_padding_counts_for_the_length_however_it_arrives(arrives: Arrival) -> None:
    """A code behind 5 000 NULs is over-long, whether it came whole or byte by byte."""
    assert arrives(Framing(), b"\0" * 5000 + CODE + b"\r\n") == [Unread(ReadProblem.CODE_TOO_LONG)]


def test_an_over_long_line_without_end_keeps_little_in_memory() -> None:
    """A megabyte of noise is said once, and silence ends it."""
    lines = Lines(Framing())
    for _ in range(256):
        assert lines.feed(b"x" * 4096) == []
        assert len(lines._buffer) <= PAYLOAD_BYTES_MAX + 128
    assert lines.silence() == [Unread(ReadProblem.CODE_TOO_LONG)]
    assert lines.feed(CODE + b"\r\n") == [CodeReport(CODE, "")]


def test_silence_ends_a_code_without_suffix() -> None:
    """An engine that sends no suffix is understood by its pauses."""
    lines = Lines(Framing(suffix=b""))
    assert lines.feed(CODE[:10]) == []
    assert lines.feed(CODE[10:]) == []
    assert lines.partial
    assert lines.silence() == [CodeReport(CODE, "")]
    assert not lines.partial
    assert lines.silence() == []


def test_half_a_suffix_before_silence_is_no_payload_then_or_later() -> None:
    """CR, silence, LF: one code, and the late LF does not begin the next."""
    lines = Lines(Framing())
    assert lines.feed(CODE + b"\r") == []
    assert lines.silence() == [CodeReport(CODE, "")]
    assert lines.feed(b"\nsecond\r\n") == [CodeReport(b"second", "")]


def test_an_engine_that_sends_only_cr_is_read_by_its_pauses() -> None:
    """A suffix configured too long costs the idle time-out, not the code."""
    lines = Lines(Framing())
    for payload in (CODE, b"second"):
        lines.feed(payload + b"\r")
        assert lines.silence() == [CodeReport(payload, "")]


def test_gb18030_text_passes_with_its_encoding() -> None:
    """Every GB 18030 character goes through CR LF framing unharmed; the encoding is passed on."""
    text = "".join(map(chr, range(0x4E00, 0x9FA6))).encode("gb18030")
    for at in range(0, len(text), 2000):
        piece = text[at : at + 2000]
        framing = Framing(suffix=b"\r", encoding="gb18030")
        assert whole(framing, piece + b"\r") == [CodeReport(piece, "", "gb18030")]


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize("answer", [b"\x06", b"\x15\x06", bytes.fromhex("02013030303040") + b"SCNTRG1\x06;\x03"])
def test_answers_to_commands_are_no_codes(arrives: Arrival, answer: bytes) -> None:
    """What Honeywell and Newland engines answer to a trigger command (devices.md 2.1) is taken off the next code."""
    assert arrives(Framing(answers=True), answer + CODE + b"\r\n") == [CodeReport(CODE, "")]
    lines = Lines(Framing(answers=True))
    lines.feed(answer)
    assert lines.silence() == []


def test_payload_is_never_printed() -> None:
    """What a code holds is personal: no repr shows it."""
    assert "sh.gov" not in repr(whole(Framing(), CODE + b"\r\n"))


_ALPHABET = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"\x02", b"]Q1", b"\0", b"\x06", b"a", b"\xbd\xa1", b"x" * 4200, b"\0" * 4200]
)
_FRAMINGS = st.builds(
    Framing,
    prefix=st.sampled_from([b"", b"\x02"]),
    suffix=st.sampled_from([b"\r\n", b"\r", b"\n", b""]),
    aim=st.booleans(),
    answers=st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(_FRAMINGS, st.lists(_ALPHABET, max_size=12), st.lists(st.integers(0, 9000), max_size=6))
def test_codes_do_not_depend_on_how_bytes_are_cut(framing: Framing, parts: list[bytes], cuts: list[int]) -> None:
    """The same bytes in any portions give the same codes, before and at the silence that follows."""
    data = b"".join(parts)
    at_once, in_portions = Lines(framing), Lines(framing)
    expected = at_once.feed(data)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    got = [said for start, end in itertools.pairwise(edges) for said in in_portions.feed(data[start:end])]
    assert got == expected
    assert in_portions.silence() == at_once.silence()
