"""Every requirement that issue 4 assigns has tests that name it, and no test names one that nobody demands."""

from pathlib import Path

from tests.support import requirements

MODULE = """
import pytest

pytestmark = pytest.mark.requirement("R1")


@pytest.mark.requirement("R2")
def test_one() -> None: ...


@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.requirement("R3")), 2])
async def test_two(x: int) -> None: ...


@pytest.mark.requirement("R4")
class TestThree:
    @pytest.mark.requirement("R5")
    def test_in_it(self) -> None: ...


@pytest.mark.requirement("R6")
def helper() -> None: ...
"""


def test_everything_assigned_is_proven() -> None:
    """R1-R8, R13, R14, R16-R19 and each system of health-codes.md (b); what lacks a test is named."""
    assert requirements.missing(requirements.proofs()) == []


def test_no_test_proves_what_nobody_demands() -> None:
    """A mistyped mark would be a proof of nothing."""
    assert requirements.unknown(requirements.proofs()) == []


def test_marks_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """At the module, the class, the function and a parameter; a function that is no test proves nothing."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_x.py").write_text(MODULE)
    found = requirements.proofs(tmp_path / "tests")
    one, two, three = (f"tests/test_x.py::{name}" for name in ("test_one", "test_two", "TestThree::test_in_it"))
    assert found == {"R1": [one, two, three], "R2": [one], "R3": [two], "R4": [three], "R5": [three]}


def test_what_lacks_and_what_is_mistyped_is_named() -> None:
    """The two complaints that make `make conformance` fail."""
    found = {each: ["a test"] for each in requirements.ASSIGNED - {"R2", "row:SSM"}} | {"R99": ["a test"]}
    assert requirements.missing(found) == ["R2", "row:SSM"]
    assert requirements.unknown(found) == ["R99"]
