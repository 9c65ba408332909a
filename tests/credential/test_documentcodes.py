"""Certificate types of other systems: texts, exactly, and nothing guessed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.documentcodes import SCHEMES, document_type
from gate.credential.documents import DocumentType


@pytest.mark.requirement("R17")
@pytest.mark.parametrize(
    ("scheme", "code", "expected"),
    [
        ("guangdong", "10", "RESIDENT_ID"),
        ("guangdong", "14", "HOME_RETURN_PERMIT"),
        ("guangdong", "15", "TAIWAN_TRAVEL_PERMIT"),
        ("guangdong", "16", "TAIWAN_TRAVEL_PERMIT"),
        ("guangdong", "20", "PASSPORT"),
        ("guangdong", "34", "FOREIGN_PERMANENT_RESIDENCE"),
        ("guangdong", "99", None),
        ("guangdong", "1", None),
        ("guangdong", "010", None),
        ("airport-gate", "NI", "RESIDENT_ID"),
        ("airport-gate", "PP", "PASSPORT"),
        ("airport-gate", "PPOCR", "PASSPORT"),
        ("airport-gate", "TP", None),
        ("airport-gate", "TW", None),
        ("airport-gate", "HM", "HOME_RETURN_PERMIT"),
        ("airport-gate", "TB", "TAIWAN_TRAVEL_PERMIT"),
        ("airport-gate", "HMT", "HMT_RESIDENCE_PERMIT"),
        ("airport-gate", "FR", "FOREIGN_PERMANENT_RESIDENCE"),
        ("airport-gate", "ID", None),
        ("airport-gate", "ni", None),
        ("zhejiang", "IDENTITY_CARD", "RESIDENT_ID"),
        ("zhejiang", "identity_card", None),
        ("jiangsu", "1", "RESIDENT_ID"),
        ("jiangsu", "10", None),
        ("cidtype", "1000", "RESIDENT_ID"),
        ("cidtype", "1", None),
    ],
)
def test_a_code_means_what_its_own_system_says(scheme: str, code: str, expected: str | None) -> None:
    """R17: "1" is one thing in Jiangsu and nothing in Guangdong; "other" and unknown codes are nobody's guess."""
    assert document_type(scheme, code) == (expected and DocumentType(expected))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(SCHEMES), st.text(max_size=6))
def test_any_text_has_an_answer(scheme: str, code: str) -> None:
    """A type of ours, or None."""
    assert document_type(scheme, code) in (None, *DocumentType)
