"""Bare card numbers: one normal form within a scheme, one key in the index, and no number in what is printed."""

import hmac

import pytest

from gate.credential.cardnumber import NUMBER_CHARACTERS_MAX, CardNumber, CardNumberError, card_number
from gate.credential.subject import card_key, token_key

PEPPER = b"p" * 32


@pytest.mark.parametrize(
    "written", ["11259375", "0011259375", "1125 9375", "1125-9375", "１１２５９３７５", " 11259375\n"]
)
def test_one_number_has_one_form_however_it_is_written(written: str) -> None:
    """A reader's bits know no zeros before a number; rows may have them, and spaces, and full width."""
    assert card_number("shanghai-transit", written) == CardNumber("shanghai-transit", "11259375")


def test_letters_are_capitals_and_keep_their_zeros() -> None:
    """A hexadecimal text is what it is: only a plain number has zeros that say nothing."""
    assert card_number("s", "00abcdef").number == "00ABCDEF"


@pytest.mark.parametrize(
    "wrong", ["", "   ", "0", "00000000", "12.3", "1/2", "12¼", "x" * (NUMBER_CHARACTERS_MAX + 1), "卡1"]
)
def test_what_is_no_number_is_refused_and_not_quoted(wrong: str) -> None:
    """An empty chip's zeros are nobody's number."""
    with pytest.raises(CardNumberError) as caught:
        card_number("shanghai-transit", wrong)
    assert not wrong.strip() or wrong == "0" or wrong not in str(caught.value)


@pytest.mark.parametrize("scheme", ["", "Shanghai", "a b", "-a", "a-", "a" * 33, "a\0b", "上海"])
def test_a_scheme_is_a_short_plain_name(scheme: str) -> None:
    """So that no scheme and number can be read as another scheme and number."""
    with pytest.raises(CardNumberError, match="scheme"):
        card_number(scheme, "1")


def test_the_number_is_in_no_repr() -> None:
    """Of the number itself; what holds it shows as little."""
    assert "11259375" not in repr(card_number("shanghai-transit", "11259375"))


def test_the_key_is_of_scheme_and_number_and_no_code_has_it() -> None:
    """Byte for byte as documented; other scheme, issuer or number: another key; no code's text gives the same."""
    one = card_number("shanghai-transit", "11259375")
    text = b"gate/card/1\0SSM\0shanghai-transit\x0011259375"
    key = card_key(PEPPER, "SSM", one)
    assert key == hmac.digest(PEPPER, text, "sha256")[:16]
    others = [
        card_key(PEPPER, "SSM", card_number("suzhou-citizen", "11259375")),
        card_key(PEPPER, "ZJ", one),
        card_key(PEPPER, "SSM", card_number("shanghai-transit", "11259376")),
        card_key(b"q" * 32, "SSM", one),
        *(token_key(PEPPER, "SSM", shown) for shown in ("11259375", "shanghai-transit\x0011259375")),
    ]
    assert key not in others
    assert len(set(others)) == len(others)
