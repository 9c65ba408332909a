"""Times of dynamic codes: a screenshot fails by time, a static form never does."""

from collections.abc import Mapping

import pytest

from gate.credential.codeproblem import CodeProblem
from gate.credential.healthcode import SKEW_DEFAULT_S, HealthCode, judge_code, judge_time, read_code
from gate.credential.transit import Verifier
from gate.moment import Moment
from gate.sim.codes import FORMS, MADE_UP, code_text
from tests.credential.shipped import HEX, NOW_S, seal_keys, with_all

STATIC = ["ZJ_V2", "ZJ_V0", "SKM_V5", "AKM", *MADE_UP]
DYNAMIC = ["SSM_APP", "SSM_TRANSIT"]
NOW = Moment(NOW_S, 0.0)


def shown(form: str, utc_s: float) -> HealthCode:
    code = read_code(code_text(form, HEX, utc_s, seal_keys() if form == "SSM_TRANSIT" else None).encode(), with_all())
    assert isinstance(code, HealthCode)
    return code


def keys_for(form: str) -> Mapping[tuple[str, int], Verifier]:
    return seal_keys().verifiers() if form == "SSM_TRANSIT" else {}


def test_every_form_is_static_or_dynamic() -> None:
    """None is forgotten below; the national code is never read."""
    assert {*STATIC, *DYNAMIC, "NATIONAL"} == set(FORMS)
    assert [form for form in FORMS if form != "NATIONAL" and shown(form, NOW_S).dynamic] == DYNAMIC


@pytest.mark.requirement("R5")
@pytest.mark.parametrize("form", DYNAMIC)
@pytest.mark.parametrize(
    ("age_s", "expected"),
    [
        (0, None),
        (60 + 30, None),
        (60 + 31, CodeProblem.CODE_EXPIRED),
        (86_400 * 800, CodeProblem.CODE_EXPIRED),
        (-30, None),
        (-31, CodeProblem.CODE_FROM_FUTURE),
    ],
)
def test_a_screenshot_fails_by_time(form: str, age_s: int, expected: CodeProblem | None) -> None:
    """R5: 60 s of validity and 30 s for the difference of clocks, to the second."""
    code = shown(form, NOW_S - age_s)
    assert judge_code(code, keys_for(form), NOW, clock_trusted=True) is expected


def test_the_skew_is_the_station_s() -> None:
    """The default is one configuration's value, not a constant of the judgement."""
    assert SKEW_DEFAULT_S == 30.0
    assert judge_time(shown("SSM_APP", NOW_S - 61), NOW, clock_trusted=True, skew_s=0.0) is CodeProblem.CODE_EXPIRED
    assert judge_time(shown("SSM_APP", NOW_S + 1), NOW, clock_trusted=True, skew_s=0.0) is CodeProblem.CODE_FROM_FUTURE
    assert judge_time(shown("SSM_APP", NOW_S - 120), NOW, clock_trusted=True, skew_s=60.0) is None


@pytest.mark.requirement("R18")
@pytest.mark.parametrize("form", DYNAMIC)
@pytest.mark.parametrize("age_s", [0, 1000, -1000])
def test_no_expiry_by_a_clock_that_is_not_trusted(form: str, age_s: int) -> None:
    """R18: neither "good" nor "expired": unchecked, and said so."""
    code = shown(form, NOW_S - age_s)
    judged = judge_code(code, keys_for(form), NOW, clock_trusted=False)
    assert judged is CodeProblem.CODE_TIME_UNCHECKED


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("form", STATIC)
@pytest.mark.parametrize("trusted", [True, False])
def test_a_static_code_is_never_judged_by_time(form: str, trusted: bool) -> None:
    """R16: shown years ago or years ahead, by any clock."""
    for now_s in (0.0, NOW_S, 4e9):
        assert judge_time(shown(form, NOW_S), Moment(now_s, 0.0), clock_trusted=trusted) is None


def test_a_dynamic_code_without_a_time_is_unchecked() -> None:
    """Not one that our forms make; but none must pass for lack of a time."""
    code = HealthCode("SSM", "SSM_APP", HEX, dynamic=True, max_age_s=60.0)
    assert judge_time(code, NOW, clock_trusted=True) is CodeProblem.CODE_TIME_UNCHECKED
