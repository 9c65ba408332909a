"""Correction references: what a passenger reads over the phone, and who can do something with it."""

import itertools
from datetime import date, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.subject import correction_reference, read_reference

PEPPER = bytes(range(32))
KEY = bytes(range(50, 66))
DAY = date(2020, 4, 1)
REFERENCE = "AKM-9Y5S-1H1Y-6TWD"  # computed apart from the code under test in the first test


@pytest.mark.requirement("R12")
def test_the_reference_is_the_one_of_the_description() -> None:
    """HMAC-SHA-256 written out with hashlib alone (RFC 2104), base 32 and ISO 7064's hybrid system by hand."""
    from hashlib import sha256

    pads = [bytes(each ^ pad for each in PEPPER.ljust(64, b"\0")) for pad in (0x36, 0x5C)]
    message = b"gate/correction/1\0AKM\x002020-04-01\0" + KEY[:7]
    digest = sha256(pads[1] + sha256(pads[0] + message).digest()).digest()
    bits = "".join(f"{byte:08b}" for byte in digest)[:55]
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    code = "".join(letters[int(bits[at : at + 5], 2)] for at in range(0, 55, 5))
    product = 32
    for each in code:  # ISO 7064, 7.2, with M = 32
        product = ((product + letters.index(each)) % 32 or 32) * 2 % 33
    code += letters[(1 - product) % 32]
    assert "-".join(("AKM", code[:4], code[4:8], code[8:])) == REFERENCE
    assert correction_reference(PEPPER, "AKM", KEY, DAY) == REFERENCE


@pytest.mark.requirement("R12")
def test_it_links_nobody_across_days_issuers_or_peppers() -> None:
    """Each of the four changes all of it: no group of four characters stays in its place."""
    other = [
        correction_reference(PEPPER, "AKM", KEY, DAY + timedelta(days=1)),
        correction_reference(PEPPER, "SSM", KEY, DAY),
        correction_reference(bytes(32), "AKM", KEY, DAY),
        correction_reference(PEPPER, "AKM", b"\0" + KEY[1:], DAY),
    ]
    for one, two in itertools.combinations([REFERENCE, *other], 2):
        assert not set(one.split("-")[1:]) & set(two.split("-")[1:])


def test_the_enrolled_have_one_too() -> None:
    """The seven bytes that a feed keeps of them are enough, and what follows does not matter."""
    assert correction_reference(PEPPER, "AKM", KEY[:7], DAY) == REFERENCE


@pytest.mark.requirement("R12")
@pytest.mark.parametrize(
    "typed",
    [
        REFERENCE.lower(),
        f"  {REFERENCE}\n",
        REFERENCE.replace("-", " "),
        "AKM-9Y5S1H1Y6TWD",
        REFERENCE.replace("1", "I"),
    ],
)
def test_it_is_read_as_people_type_it(typed: str) -> None:
    """Small letters, spaces, no hyphens, I for 1."""
    assert read_reference(typed) == REFERENCE


@settings(deadline=None, derandomize=True)
@given(st.binary(min_size=16, max_size=16), st.integers(0, 11), st.integers(1, 31))
def test_a_wrong_character_is_noticed(key: bytes, place: int, by: int) -> None:
    """Every one, at every place; and a missing one."""
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    right = correction_reference(PEPPER, "AKM", key, DAY)
    at = 4 + place + place // 4
    wrong = letters[(letters.index(right[at]) + by) % 32]
    assert read_reference(right) == right
    assert read_reference(right[:at] + wrong + right[at + 1 :]) is None
    assert read_reference(right[:at] + right[at + 1 :]) is None


@pytest.mark.parametrize(
    "text", ["", "AKM", "AKM-", "-9Y5S-1H1Y-6TWD", "AKM-9Y5S-1H1Y-6TWU", "9Y5S-1H1Y-6TWD", "安康码"]
)
def test_what_is_no_reference_is_none(text: str) -> None:
    """Without issuer, with a letter that is not in the alphabet, or nothing like it."""
    assert read_reference(text) is None
