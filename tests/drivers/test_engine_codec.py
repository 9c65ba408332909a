"""Orders and answers of QR engines: vectors of devices.md 2.1 and of the makers' pages, every way bytes can arrive."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.scanners.engine.codec import Answer, Answers, Profile, Status, answers, crc, parse_profile
from drivers.scanners.engine.device import profiles

CODE = b"https://s.sh.gov.cn/0123456789\r\n"
ALL = profiles()


@pytest.mark.parametrize(
    ("profile", "order", "frame"),
    [
        ("newland", "@SCNTRG1", bytes.fromhex("7E0130303030 40") + b"SCNTRG1" + bytes.fromhex("3B03")),
        ("newland", "@SCNTRG0", bytes.fromhex("7E0130303030 40") + b"SCNTRG0" + bytes.fromhex("3B03")),
        ("newland", "@SCNMOD2", bytes.fromhex("7E0130303030 40") + b"SCNMOD2" + bytes.fromhex("3B03")),
        ("newland", "@RRDDUR1000", bytes.fromhex("7E0130303030 40") + b"RRDDUR1000" + bytes.fromhex("3B03")),
        ("newland-legacy", "015404", bytes.fromhex("015404")),
        ("honeywell", "\x16T\r", bytes.fromhex("16540D")),
        ("honeywell", "\x16U\r", bytes.fromhex("16550D")),
        ("honeywell", "232BAD?!", bytes.fromhex("164D0D") + b"232BAD?!"),
        ("gm65", "000A=3E", bytes.fromhex("7E000801000A3E4CCF")),
        ("gm65", "000A?", bytes.fromhex("7E000701000A01EE8A")),
    ],
)
def test_an_order_is_its_published_frame(profile: str, order: str, frame: bytes) -> None:
    """devices.md 2.1; for Honeywell's menu commands the N431X guide p. 9-1, for the GM65 its manual p. 31-32."""
    assert ALL[profile].dialect.encode(order) == frame


def test_profiles_start_and_stop_with_the_documented_orders() -> None:
    """What devices.md 2.1 lists as start and stop is what the profiles hold."""
    sent = {name: (p.dialect.encode(p.start), p.dialect.encode(p.stop)) for name, p in ALL.items() if p.stop}
    assert sent["newland"] == (b"\x7e\x010000@SCNTRG1;\x03", b"\x7e\x010000@SCNTRG0;\x03")
    assert sent["honeywell"] == (b"\x16T\r", b"\x16U\r")
    assert sent["gm65"][0] == bytes.fromhex("7E000801000201") + crc(bytes.fromhex("0801000201")).to_bytes(2, "big")
    assert ALL["newland-legacy"].dialect.encode(ALL["newland-legacy"].start) == b"\x01T\x04"
    stx = ALL["honeywell-stx"]
    assert (stx.prefix, stx.suffix, stx.acknowledge) == (b"\x02", b"\x03", b"\x06")


def test_the_crc_is_that_of_the_manuals_examples() -> None:
    """GM65 manual p. 31-32, and the save order that public drivers send (7E 00 09 01 00 00 00 DE C8)."""
    assert crc(bytes.fromhex("00013E")) == 0xE4AC
    assert crc(bytes.fromhex("000100")) == 0x3331
    assert crc(bytes.fromhex("0901000000")) == 0xDEC8


Heard = tuple[list[Answer], bytes]


def whole(profile: Profile, data: bytes) -> Heard:
    return Answers(profile.dialect).feed(data)


def byte_by_byte(profile: Profile, data: bytes) -> Heard:
    reader = Answers(profile.dialect)
    parts = [reader.feed(data[at : at + 1]) for at in range(len(data))]
    return [one for found, _ in parts for one in found], b"".join(text for _, text in parts)


def with_bytes_following(profile: Profile, data: bytes) -> Heard:
    found, text = Answers(profile.dialect).feed(data + CODE)
    assert text.endswith(CODE)
    return found, text[: -len(CODE)]


ARRIVALS = (whole, byte_by_byte, with_bytes_following)
Arrival = Callable[[Profile, bytes], Heard]
ANSWERS = [
    ("newland", b"\x02\x010000@SCNTRG1\x06;\x03", Answer(Status.DONE, "@SCNTRG1")),
    ("newland", b"\x02\x010000@DEVQRY0\x06;\x03", Answer(Status.DONE, "@DEVQRY0")),
    ("newland", b"\x02\x010000#ORTSET99999999\x15;\x03", Answer(Status.OUT_OF_RANGE, "#ORTSET99999999")),
    ("newland", b"\x02\x010000#NOSUCH1\x05;\x03", Answer(Status.UNKNOWN, "#NOSUCH1")),
    ("honeywell", b"232BAD9\x06!", Answer(Status.DONE, "232BAD9")),
    ("honeywell", b"\x16M\r232bad9\x06!", Answer(Status.DONE, "232BAD9")),
    ("honeywell", b"232BAD\x05.", Answer(Status.UNKNOWN, "232BAD")),
    ("gm65", bytes.fromhex("02000001003331"), Answer(Status.DONE)),
    ("gm65", bytes.fromhex("020000013EE4AC"), Answer(Status.DONE)),
]


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize(("profile", "frame", "answer"), ANSWERS)
@pytest.mark.parametrize("before", [b"", CODE, b"\0", b"https://half"])
def test_an_answer_is_told_from_codes(
    arrives: Arrival, profile: str, frame: bytes, answer: Answer, before: bytes
) -> None:
    """Wherever it stands it is taken out whole, and the text around it is untouched."""
    assert arrives(ALL[profile], before + frame + CODE) == ([answer], before + CODE)


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize(
    ("profile", "frame"),
    [("newland", b"\x02\x010000@SCNTRG1\x16;\x03"), ("newland", b"\x02\x010000;\x03"), ("gm65", b"\2\0\0\1\0\x33\x30")],
)
def test_a_spoiled_answer_is_neither_answer_nor_code(arrives: Arrival, profile: str, frame: bytes) -> None:
    """A wrong status byte or CRC: not believed, and no passenger's code either."""
    assert arrives(ALL[profile], frame + CODE) == ([], CODE)


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize("profile", list(ALL))
@pytest.mark.parametrize(
    "code", [CODE, b"232BADGE-0123456789-and-so-on-and-on-and-on\r\n", b"\2\1code\3\r\n", b"\2\0\0\0\r\n"]
)
def test_a_code_that_looks_like_an_answer_stays_a_code(arrives: Arrival, profile: str, code: bytes) -> None:
    """The beginning of an answer's form is not enough to swallow a passenger's code."""
    assert arrives(ALL[profile], code + b"-") == ([], code + b"-")


def test_what_was_held_comes_out_at_silence() -> None:
    """A code that ends as an answer begins is whole once the engine pauses."""
    reader = Answers(ALL["newland"].dialect)
    assert reader.feed(b"code\x02\x01") == ([], b"code")
    assert reader.partial
    assert reader.silence() == b"\x02\x01"
    assert not reader.partial


def test_an_answer_without_end_is_text_at_last() -> None:
    """A head that never ends holds less than a hundred bytes."""
    reader = Answers(ALL["newland"].dialect)
    _, text = reader.feed(b"\x02\x010000" + b"x" * 5000)
    assert len(text) > 4800


@pytest.mark.parametrize(
    ("answer", "order", "fits"),
    [
        (Answer(Status.DONE, "#SCNMOD2"), "#SCNMOD2", True),
        (Answer(Status.DONE, "@DEVQRY0"), "@DEVQRY*", True),
        (Answer(Status.DONE, "232BAD9"), "232BAD?!", True),
        (Answer(Status.DONE), "0000=7F", True),
        (Answer(Status.DONE, "@SCNTRG1"), "#SCNMOD2", False),
    ],
)
def test_a_late_answer_to_another_order_does_not_count(answer: Answer, order: str, fits: bool) -> None:
    """The answer names its order where the maker's protocol has it so."""
    assert answers(answer, order) is fits


def test_a_profile_with_an_unknown_dialect_is_named() -> None:
    """A wrong data file is refused with what is allowed."""
    with pytest.raises(ValueError, match="dialect 'x' is none of newland"):
        parse_profile({"dialect": "x"})


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(ALL)),
    st.lists(st.sampled_from([*(frame for _, frame, _ in ANSWERS), CODE, b"\x02", b"\x16M\r", b"232"]), max_size=8),
    st.lists(st.integers(0, 300), max_size=6),
)
def test_answers_and_text_do_not_depend_on_how_bytes_are_cut(name: str, parts: list[bytes], cuts: list[int]) -> None:
    """The same bytes in any portions give the same answers and the same text, before and at the silence."""
    data = b"".join(parts)
    at_once, in_portions = Answers(ALL[name].dialect), Answers(ALL[name].dialect)
    expected = at_once.feed(data)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    got = [in_portions.feed(data[start:end]) for start, end in itertools.pairwise(edges)]
    assert ([one for found, _ in got for one in found], b"".join(text for _, text in got)) == expected
    assert in_portions.silence() == at_once.silence()
