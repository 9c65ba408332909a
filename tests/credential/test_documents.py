"""Documents have one normal form, and their subject keys are those of the contract."""

import hashlib
import hmac
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.documents import Document, DocumentError, DocumentProblem, DocumentType, age_on, document
from gate.credential.subject import subject_key

PEPPER = bytes(range(32))


def with_check_digit(body: str) -> str:
    """GB 11643: weights and letters of health-codes.md section 4, apart from the library the code uses."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]


RESIDENT = with_check_digit("31010519900101001")
ENDS_IN_X = next(n for n in (with_check_digit(f"11010519491231{i:03d}") for i in range(1000)) if n.endswith("X"))


@pytest.mark.parametrize(
    ("kind", "written", "type_", "normal"),
    [
        ("RESIDENT_ID", RESIDENT, "RESIDENT_ID", RESIDENT),
        ("RESIDENT_ID", f" {RESIDENT[:6]} {RESIDENT[6:14]}-{RESIDENT[14:]} ", "RESIDENT_ID", RESIDENT),
        ("RESIDENT_ID", "".join(chr(ord(c) + 0xFEE0) for c in RESIDENT), "RESIDENT_ID", RESIDENT),
        ("RESIDENT_ID", ENDS_IN_X.lower(), "RESIDENT_ID", ENDS_IN_X),
        ("RESIDENT_ID", "310105900101001", "RESIDENT_ID", RESIDENT),
        ("HMT_RESIDENCE_PERMIT", with_check_digit("81000019900101001"), "HMT_RESIDENCE_PERMIT", None),
        ("RESIDENT_ID", with_check_digit("83000019900101001"), "HMT_RESIDENCE_PERMIT", None),
        ("FOREIGN_PERMANENT_RESIDENCE", with_check_digit("91101019900101001"), "FOREIGN_PERMANENT_RESIDENCE", None),
        ("FOREIGN_PERMANENT_RESIDENCE", "usa310199001011", "FOREIGN_PERMANENT_RESIDENCE", "USA310199001011"),
        ("HOME_RETURN_PERMIT", "H1234567801", "HOME_RETURN_PERMIT", "H12345678"),
        ("HOME_RETURN_PERMIT", "m12345678", "HOME_RETURN_PERMIT", "M12345678"),
        ("TAIWAN_TRAVEL_PERMIT", "1234567801", "TAIWAN_TRAVEL_PERMIT", "12345678"),
        ("PASSPORT", "e12345678", "PASSPORT", "E12345678"),
    ],
)
def test_one_document_has_one_form(kind: str, written: str, type_: str, normal: str | None) -> None:
    """However it is typed: spaces, full width, small letters, fifteen digits, renewal numbers."""
    found = document(DocumentType(kind), written)
    assert (found.type, found.number) == (type_, normal or written)


@pytest.mark.parametrize(
    ("kind", "written", "problem"),
    [
        ("RESIDENT_ID", RESIDENT[:-1] + "9", DocumentProblem.CHECK_DIGIT),
        ("RESIDENT_ID", with_check_digit("31010519901301001"), DocumentProblem.BIRTH_DATE),
        ("RESIDENT_ID", with_check_digit("31010517000101001"), DocumentProblem.BIRTH_DATE),
        ("RESIDENT_ID", "12345", DocumentProblem.FORM),
        ("RESIDENT_ID", "", DocumentProblem.FORM),
        ("HMT_RESIDENCE_PERMIT", "H12345678", DocumentProblem.FORM),
        ("HOME_RETURN_PERMIT", "X12345678", DocumentProblem.FORM),
        ("TAIWAN_TRAVEL_PERMIT", "123456789", DocumentProblem.FORM),
        ("PASSPORT", "E1", DocumentProblem.FORM),
    ],
)
def test_what_is_no_number_is_named_and_never_quoted(kind: str, written: str, problem: DocumentProblem) -> None:
    """The problem, and not a digit of the number."""
    with pytest.raises(DocumentError) as caught:
        document(DocumentType(kind), written)
    assert caught.value.problem is problem
    assert not written or written not in f"{caught.value} {caught.value.args}"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(DocumentType), st.text(max_size=30))
def test_any_text_is_a_document_or_an_error(kind: DocumentType, text: str) -> None:
    """Nothing else is raised, a normal form stays what it is, and no repr shows a number."""
    try:
        found = document(kind, text)
    except DocumentError:
        return
    assert document(found.type, found.number) == found
    assert found.number not in repr(found)


@pytest.mark.requirement("R13")
def test_the_region_of_a_number_changes_nothing() -> None:
    """R13: any region of first registration is accepted alike."""
    for region in ("110101", "420106", "654321", "659001"):
        assert document(DocumentType.RESIDENT_ID, with_check_digit(f"{region}19900101001")).type == "RESIDENT_ID"


@pytest.mark.parametrize(
    ("number", "day", "years"),
    [
        (RESIDENT, date(2020, 1, 1), 30),
        (RESIDENT, date(2019, 12, 31), 29),
        (RESIDENT, date(1990, 1, 1), 0),
        (RESIDENT, date(1989, 12, 31), None),
        (with_check_digit("81000020040229001"), date(2022, 2, 28), 17),
        (with_check_digit("81000020040229001"), date(2022, 3, 1), 18),
        (with_check_digit("91101019900101001"), date(2020, 1, 1), None),
    ],
)
def test_an_age_is_that_of_the_birth_date_inside(number: str, day: date, years: int | None) -> None:
    """To the day, leap days too; not of somebody yet to be born, and not from the unverified digits of a 9-number."""
    assert age_on(document(DocumentType.RESIDENT_ID, number), day) == years


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("PASSPORT", "E12345678"),
        ("PASSPORT", RESIDENT[:17]),
        ("HOME_RETURN_PERMIT", "H12345678"),
        ("TAIWAN_TRAVEL_PERMIT", "12345678"),
        ("FOREIGN_PERMANENT_RESIDENCE", "USA310199001011"),
    ],
)
def test_other_documents_tell_no_age(kind: str, number: str) -> None:
    """Digits that could be a date are not one."""
    assert age_on(document(DocumentType(kind), number), date(2020, 1, 1)) is None


@pytest.mark.requirement("R13")
def test_an_age_is_the_same_whatever_the_region() -> None:
    """R13: only the birth date is read."""
    numbers = [with_check_digit(f"{region}19900101001") for region in ("110101", "420106", "654321", "810000")]
    assert {age_on(document(DocumentType.RESIDENT_ID, number), date(2020, 6, 1)) for number in numbers} == {30}


# Five vectors (contract.md, "Subject key"), computed once by hmac and hashlib alone, with PEPPER.
VECTORS = [
    ("RESIDENT_ID", RESIDENT, "1f7d1ffb953fbd644d9a386c00ba9e79"),
    ("HMT_RESIDENCE_PERMIT", with_check_digit("81000019900101001"), "412239959a5ecc777ccce4e9d2ffd520"),
    ("FOREIGN_PERMANENT_RESIDENCE", "USA310199001011", "ebc785f3d2566d14dc1c21a60ea1d228"),
    ("HOME_RETURN_PERMIT", "H12345678", "7e84be182f8dd3a4315bf44b61ddd3c1"),
    ("PASSPORT", "E12345678", "e1f8b48ec52887ae7b5e26385b7be796"),
]


@pytest.mark.parametrize(("kind", "number", "frozen"), VECTORS)
def test_the_subject_key_is_the_contract_s(kind: str, number: str, frozen: str) -> None:
    """HMAC-SHA-256(pepper, "gate/subject/1" 00 type 00 number), its first 16 bytes; frozen, so that it never drifts."""
    message = b"gate/subject/1\x00" + kind.encode() + b"\x00" + number.encode()
    expected = hmac.new(PEPPER, message, hashlib.sha256).digest()[:16]
    key = subject_key(PEPPER, Document(DocumentType(kind), number))
    assert key == expected
    assert key.hex() == frozen
