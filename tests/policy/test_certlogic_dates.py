"""CertLogic's date-times: every form of a date, JavaScript's sums, and no guess where there is no date."""

from datetime import UTC, datetime
from typing import Any

import pytest

from gate.policy.certlogic import Failure, evaluate
from gate.policy.certlogic.values import INTEGER_MAX


def plus(text: str, amount: int, unit: str) -> Any:
    """A sum of which the text is data; as a literal of the rule it is the same, or a problem of the rule."""
    answer = evaluate({"plusTime": [{"var": ""}, amount, unit]}, text)
    written = evaluate({"plusTime": [text, amount, unit]}, None)
    assert written == answer or (isinstance(written, Failure) and isinstance(answer, Failure))
    return answer


@pytest.mark.parametrize(
    ("text", "amount", "unit", "expected"),
    [
        ("2020-02-29", 1, "day", "2020-03-01"),
        ("2020-02-29", 1, "month", "2020-03-29"),
        ("2020-02-29", 1, "year", "2021-03-01"),
        ("2020-02-29", -1, "year", "2019-03-01"),
        ("2020-02-29", 4, "year", "2024-02-29"),
        ("2020-01-31", 1, "month", "2020-03-02"),
        ("2021-01-31", 1, "month", "2021-03-03"),
        ("2020-03-31", -1, "month", "2020-03-02"),
        ("2020-12-31", 1, "month", "2021-01-31"),
        ("2020-01-15", -13, "month", "2018-12-15"),
        ("2020-03-01", -1, "day", "2020-02-29"),
        ("2020-02-28", 24, "hour", "2020-02-29"),
    ],
)
def test_leap_days_and_month_ends(text: str, amount: int, unit: str, expected: str) -> None:
    """The specification's table, and what JavaScript's setUTC… do where a month lacks the day."""
    assert plus(text, amount, unit) == f"{expected}T00:00:00.000Z"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020", "2020-12-31T00:00:00.000Z"),
        ("2020-02", "2020-02-29T00:00:00.000Z"),
        ("2020-03-26", "2020-03-26T00:00:00.000Z"),
        ("2020-03-26T08:09:10", "2020-03-26T08:09:10.000Z"),
        ("2020-03-26T08:09:10Z", "2020-03-26T08:09:10.000Z"),
        ("2020-03-26T08:09:10+8", "2020-03-26T00:09:10.000Z"),
        ("2020-03-26T08:09:10+08", "2020-03-26T00:09:10.000Z"),
        ("2020-03-26T08:09:10-130", "2020-03-26T09:39:10.000Z"),
        ("2020-03-26T08:09:10-0130", "2020-03-26T09:39:10.000Z"),
        ("2020-03-26T08:09:10+8:00", "2020-03-26T00:09:10.000Z"),
        ("2020-03-26T08:09:10+08:00", "2020-03-26T00:09:10.000Z"),
        ("2020-03-26T08:09:10.5", "2020-03-26T08:09:10.500Z"),
        ("2020-03-26T08:09:10.0425Z", "2020-03-26T08:09:10.042Z"),
        ("2020-03-26T08:09:10.999999999+8", "2020-03-26T00:09:10.999Z"),
        ("2020-03-26T08:09:10.1-10", "2020-03-26T18:09:10.100Z"),
        ("2020-03-26T08:09:10.1+800", "2020-03-26T00:09:10.100Z"),
        ("2020-03-26T08:09:10.1+0800", "2020-03-26T00:09:10.100Z"),
        ("2020-03-26T00:09:10.1+8:00", "2020-03-25T16:09:10.100Z"),
        ("2020-03-26T08:09:10.1-08:00", "2020-03-26T16:09:10.100Z"),
    ],
)
def test_every_form_of_a_date(text: str, expected: str) -> None:
    """The 19 forms of the specification, always to the millisecond and rounded down."""
    assert plus(text, 0, "hour") == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "20", "2020-",
        "2020-13", "2020-00", "2021-02-29", "2021-09-99", "2022-13", "0000", "0000-01-01", "2020-1-1",
        "2020-03-26T08:09", "2020-03-26 08:09:10", "2020-03-26T08:09:10z", "2020-03-26T25:00:00", "2020-03-26T08:61:00",
        "2020-03-26T08:09:10.", "2020-03-26T08:09:10+", "2020-03-26T08:09:10+08:", "2020-03-26T08:09:10+24:00",
        "2020-03-26T08:09:10+08:60", "2020-03-26\n", "２０２０", "2020-03-26T08:09:10." + "1" * 99,
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00",
    ],
)  # fmt: skip
def test_what_is_no_date_fails(text: str) -> None:
    """Undefined in the specification, an error here: no date is guessed."""
    assert isinstance(plus(text, 0, "day"), Failure)


@pytest.mark.parametrize("unit", ["year", "month", "day", "hour"])
@pytest.mark.parametrize("amount", [10**8, -(10**8), INTEGER_MAX, -INTEGER_MAX])
def test_dates_beyond_the_years_1_to_9999_fail(unit: str, amount: int) -> None:
    """The sum has no date; nothing overflows."""
    assert isinstance(plus("2020-03-26", amount, unit), Failure)


def test_date_of_birth() -> None:
    """The last day consistent with the data; a time is no date of birth."""
    for text, expected in {
        "2004": "2004-12-31", "2004-02": "2004-02-29", "2003-02": "2003-02-28", "1900-02": "1900-02-28",
        "2004-01": "2004-01-31", "2004-04": "2004-04-30", "2004-11": "2004-11-30", "9999-12": "9999-12-31",
    }.items():  # fmt: skip
        assert evaluate({"dccDateOfBirth": [{"var": ""}]}, text) == f"{expected}T00:00:00.000Z"
    for wrong in ("2004-01-01T00:00:00Z", "", None, 2004):
        assert isinstance(evaluate({"dccDateOfBirth": [{"var": ""}]}, wrong), Failure)


def test_a_sum_of_a_sum_is_no_date_text() -> None:
    """`plusTime` takes texts only (the specification's own example), and data hold no date-times."""
    inner = {"plusTime": ["2020-01-01", 0, "hour"]}
    assert isinstance(evaluate({"plusTime": [inner, 10, "day"]}, None), Failure)
    assert isinstance(evaluate({"after": [inner, {"var": ""}]}, datetime(2019, 1, 1, tzinfo=UTC)), Failure)
