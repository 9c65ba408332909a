"""What the demonstration and the tests show at a gate is read back as what it was made as."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.codeproblem import CodeProblem
from gate.credential.healthcode import HealthCode, UnusableCode, judge_code, read_code
from gate.moment import Moment
from gate.sim.codes import FORMS, code_text, indexed_token
from gate.sim.people import make_people
from tests.credential.shipped import HEX, seal_keys, shipped, with_all

_NAMED = [form for form in FORMS if form not in ("NATIONAL", "SSM_TRANSIT")]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(_NAMED), st.integers(0, 2**128 - 1), st.integers(0, 2**32 - 1))
def test_a_made_code_is_read_as_its_form(form: str, token: int, utc_s: int) -> None:
    """Any token, any second of the transit code's clock; the token index names the very token that is read."""
    code = read_code(code_text(form, f"{token:032x}", utc_s).encode(), with_all())
    assert isinstance(code, HealthCode)
    assert code.form == form
    assert code.issued_utc_s == (utc_s if code.dynamic else None)
    assert indexed_token(form, f"{token:032x}") == (code.token if code.decides == "token-index" else "")


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 2**128 - 1), st.integers(0, 2**32 - 1))
def test_a_made_transit_code_is_sealed_for_its_second(token: int, utc_s: int) -> None:
    """Any second that its four bytes can say, up to 2106: both seals hold, and it is of just then."""
    code = read_code(code_text("SSM_TRANSIT", f"{token:032x}", utc_s, seal_keys()).encode(), shipped())
    assert isinstance(code, HealthCode)
    assert judge_code(code, seal_keys().verifiers(), Moment(utc_s, 0.0), clock_trusted=True) is None


def test_a_made_national_code_is_one() -> None:
    """And is not read."""
    assert read_code(code_text("NATIONAL", HEX, 0).encode(), shipped()) == UnusableCode(CodeProblem.CODE_NATIONAL)


def test_a_transit_code_needs_its_keys() -> None:
    """Said at once, before an unsealed code reaches a gate."""
    with pytest.raises(ValueError, match="two seals"):
        code_text("SSM_TRANSIT", HEX, 0)


def test_people_show_codes_of_their_issuers() -> None:
    """Each its own issuer's; dynamic ones new at each showing; the index has the token that is read; no repr does."""
    for person in make_people(200, seed=4):
        code = read_code(person.code_at(1_585_200_000.0), with_all())
        assert person.token not in repr(person)
        if person.issuer == "NATIONAL":
            assert code == UnusableCode(CodeProblem.CODE_NATIONAL)
            continue
        assert isinstance(code, HealthCode)
        assert code.issuer == person.issuer
        assert person.indexed_token == ("" if code.dynamic else code.token)
        assert (person.code_at(1.0) != person.code_at(2.0)) == code.dynamic
