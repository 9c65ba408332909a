"""Card texts of all four layouts, built by the table of devices.md section 6 and apart from the parser."""

import contextlib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.idcard import CardError, CardProblem, IdCard, parse_card
from tests.credential.test_documents import with_check_digit

NAME = "欧阳测试"


def block(flag: str, fields: dict[int, str]) -> bytes:
    """256 bytes: spaces, the fields at their offsets, the flag at byte 248."""
    text = bytearray(b" \0" * 128)
    for at, value in {**fields, 248: flag}.items():
        raw = value.encode("utf-16-le")
        text[at : at + len(raw)] = raw
    return bytes(text)


def resident(number: str = with_check_digit("31010519900101001"), until: str = "20300101", flag: str = " ") -> bytes:
    return block(flag, {0: NAME, 30: "1", 32: "01", 36: "19900101", 122: number, 188: "20100101", 204: until})


PERMIT = with_check_digit("81000019900101001")
FOREIGN_2023 = with_check_digit("91101019900101001")
LAYOUTS = {
    "resident": (resident(), "RESIDENT_ID", with_check_digit("31010519900101001")),
    "residence permit": (resident(PERMIT, flag="J"), "HMT_RESIDENCE_PERMIT", PERMIT),
    "foreigner 2023": (
        block("Y", {0: NAME, 52: "TEST PERSON", 122: FOREIGN_2023, 188: "20231201", 204: "20331201", 242: "USA"}),
        "FOREIGN_PERMANENT_RESIDENCE",
        FOREIGN_2023,
    ),
    "foreigner 2017": (
        block("I", {0: "TEST PERSON", 122: "USA310199001011", 152: "USA", 188: "20170601", 204: "20270601"}),
        "FOREIGN_PERMANENT_RESIDENCE",
        "USA310199001011",
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_layout_gives_its_document(name: str) -> None:
    """Document and validity, and nothing else of the person."""
    text, kind, number = LAYOUTS[name]
    card = parse_card(text)
    assert (card.document.type, card.document.number) == (kind, number)
    assert IdCard.__slots__ == ("document", "valid_from", "valid_until")
    assert number not in repr(card)


def test_a_long_term_card_never_expires_and_the_last_day_counts() -> None:
    """长期 is a validity, not a crash (devices.md 1.2, HslCommunication)."""
    assert parse_card(resident(until="长期")).valid_until is None
    card = parse_card(resident(until="20300101"))
    assert not card.expired_on(date(2030, 1, 1))
    assert card.expired_on(date(2030, 1, 2))
    assert not parse_card(resident(until="长期")).expired_on(date(2999, 1, 1))


def test_nul_padding_is_padding() -> None:
    """Some readers pad with NUL instead of spaces."""
    assert parse_card(resident().replace(b" \0", b"\0\0")).document.type == "RESIDENT_ID"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (resident(flag="Z"), CardProblem.CARD_UNKNOWN_TYPE),
        (resident(with_check_digit("31010519900101001")[:-1] + "0"), CardProblem.CARD_NUMBER_INVALID),
        (resident(""), CardProblem.CARD_NUMBER_INVALID),
        (resident(PERMIT), CardProblem.CARD_NUMBER_INVALID),  # a permit's number on a resident's card
        (resident(until="20301301"), CardProblem.CARD_UNREADABLE),
        (resident(until=""), CardProblem.CARD_UNREADABLE),
        (resident()[:-1], CardProblem.CARD_UNREADABLE),
        (b"", CardProblem.CARD_UNREADABLE),
        (resident()[:122] + b"\x00\xd8" + resident()[124:], CardProblem.CARD_UNREADABLE),  # half a surrogate pair
    ],
)
def test_what_is_no_card_is_named_and_never_quoted(text: bytes, problem: CardProblem) -> None:
    """Its own reason, and not a character of the text."""
    with pytest.raises(CardError) as caught:
        parse_card(text)
    assert caught.value.problem is problem
    assert str(caught.value) == problem.value
    assert caught.value.__cause__ is None


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(min_size=250, max_size=260), st.sampled_from([b" \0", b"J\0", b"I\0", b"Y\0"]))
def test_any_bytes_are_a_card_or_an_error(noise: bytes, flag: bytes) -> None:
    """Nothing else is raised."""
    with contextlib.suppress(CardError):
        assert isinstance(parse_card(noise[:248] + flag + noise[250:]), IdCard)
