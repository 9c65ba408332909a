"""terms.toml: the numbers that all rules share, from which day on, and what is refused."""

from datetime import date
from typing import Any

import pytest

from gate.feed.finding import FreshnessLimits
from gate.policy.question import AgeGroup, Warmth
from gate.policy.terms import TERMS_MAX, RuleError, parse_terms
from gate.station.rulefiles import rule_texts
from tests.policy.making import TERMS, rule_set, rule_text

_LATER = TERMS.replace("2020-02-01", "2020-03-26").replace("repeat_after_s = 120", "repeat_after_s = 60")


def test_terms_are_read_whole() -> None:
    """Every number, with hours become seconds; the closest limits that they name."""
    limits = "[terms.freshness.AKM]\naged_after_h = 2\nexpired_after_h = 5\n"
    limits += '[terms.freshness."AKM/340100"]\naged_after_h = 0.5\nexpired_after_h = 1\n'
    (terms,) = parse_terms(TERMS + limits, "terms.toml")
    assert (terms.valid_from, terms.repeat_after_s, terms.code_skew_s, terms.answers_kept_s) == (
        date(2020, 2, 1), 120, 30, 60,
    )  # fmt: skip
    assert (terms.guardian_window_s, terms.guardian_dependants_max) == (20, 3)
    assert terms.limits_of("ZJ", "330100") == FreshnessLimits(26 * 3600, 50 * 3600)
    assert terms.limits_of("AKM", "340200") == FreshnessLimits(2 * 3600, 5 * 3600)
    assert terms.limits_of("AKM", "340100") == FreshnessLimits(1800, 3600)


def test_the_shipped_terms_are_terms() -> None:
    """And the day before the first Delta code they hold already."""
    (text,) = rule_texts(None, "terms.toml").values()
    assert parse_terms(text, "terms.toml")[0].valid_from <= date(2020, 2, 11)


def test_later_terms_hold_from_their_day_on() -> None:
    """In whatever order they stand in the file; before the first ones there are none."""
    rules = rule_set(rule_text(), terms=_LATER + TERMS)
    days = {date(2020, 1, 31): None, date(2020, 2, 1): 120, date(2020, 3, 25): 120, date(2020, 3, 26): 60}
    for day, repeat_s in days.items():
        terms = rules.terms_on(day)
        assert (terms.repeat_after_s if terms else None) == repeat_s, day


def test_terms_may_say_whose_card_numbers_are_taken() -> None:
    """Silent: all that a station names. A list: those. An empty one: none. Anything else is refused."""
    for text, taken in (("", (True, True)), ('["a-1"]', (True, False)), ("[]", (False, False))):
        more = f"card_schemes = {text}\n" if text else ""
        (terms,) = parse_terms(TERMS.replace("[terms.freshness]", f"{more}[terms.freshness]"), "terms.toml")
        assert (terms.takes_card("a-1"), terms.takes_card("b")) == taken
    for wrong in ('"a"', "[1]", '["A"]', '[""]', str([f"a{n}" for n in range(101)])):
        with pytest.raises(RuleError, match="card_schemes: must be at most 100 names"):
            parse_terms(TERMS.replace("[terms.freshness]", f"card_schemes = {wrong}\n[terms.freshness]"), "terms.toml")


@pytest.mark.requirement("R19")
@pytest.mark.parametrize(
    ("years", "group"),
    [(None, "UNKNOWN"), (0, "MINOR"), (17, "MINOR"), (18, "ADULT"), (59, "ADULT"), (60, "SENIOR"), (119, "SENIOR")],
)
def test_the_terms_draw_the_lines_of_age(years: int | None, group: str) -> None:
    """Under 18 and from 60 relatives hold the code (health-codes.md 2.1, form 3)."""
    assert parse_terms(TERMS, "terms.toml")[0].age_group(years) is AgeGroup(group)


@pytest.mark.parametrize(
    ("celsius", "of_the_body", "warmth"),
    [
        (37.29, True, "NORMAL"),
        (37.3, True, "HIGH"),
        (32.0, True, "NORMAL"),
        (37.29, False, "UNKNOWN"),
        (37.3, False, "HIGH"),
        (34.0, False, "UNKNOWN"),
    ],
)
def test_the_terms_draw_the_line_of_fever(celsius: float, of_the_body: bool, warmth: str) -> None:
    """From 37.3 degrees; skin, which is cooler than the body, can be too warm and never well."""
    assert parse_terms(TERMS, "terms.toml")[0].warmth(celsius, of_the_body) is Warmth(warmth)


_WRONG: dict[str, tuple[str, str, str]] = {
    "not TOML": ("[[terms]]", "[[terms", "terms.toml: "),
    "nested too deep": ("aged_after_h = 26", f"aged_after_h = {'[' * 9000}{']' * 9000}", "terms.toml: "),
    "one table": ("[[terms]]", "[terms]", "needs 1 to 100 [[terms]] tables and nothing else"),
    "something else": ("[[terms]]", "x = 1\n[[terms]]", "needs 1 to 100 [[terms]] tables and nothing else"),
    "unknown key": ("repeat_after_s", "repeat_after", "terms 1: unknown key 'repeat_after'; needed are "),
    "missing": ("senior_from = 60\n", "", "terms 1: 'senior_from' is missing; needed are "),
    "a text": ("code_skew_s = 30", 'code_skew_s = "30"', "code_skew_s: must be a number from 0 to 600"),
    "a truth": ("code_skew_s = 30", "code_skew_s = true", "code_skew_s: must be a number from 0 to 600"),
    "no number": ("code_skew_s = 30", "code_skew_s = nan", "code_skew_s: must be a number from 0 to 600"),
    "too much": ("code_skew_s = 30", "code_skew_s = 601", "code_skew_s: must be a number from 0 to 600"),
    "less than none": ("repeat_after_s = 120", "repeat_after_s = -1", "repeat_after_s: must be a number from 0"),
    "kept for days": ("answers_kept_s = 60", "answers_kept_s = 86400", "answers_kept_s: must be a number from 0"),
    "half a child": ("dependants_max = 3", "dependants_max = 1.5", "must be a whole number from 0 to 10"),
    "half a year": ("minor_below = 18", "minor_below = 17.5", "minor_below: must be a whole number from 0 to 21"),
    "everybody ill": ("fever_from_c = 37.3", "fever_from_c = 35", "fever_from_c: must be a number from 36.0 to 42.0"),
    "the one before": ("temperature_within_s = 3", "temperature_within_s = 11", "temperature_within_s: must be a"),
    "an instant": ("2020-02-01", "2020-02-01T00:00:00Z", "valid_from: must be a day, e.g. 2020-02-01"),
    "limits no table": ("[terms.freshness]\naged_after_h = 26\nexpired_after_h = 50", "freshness = 3",
                        "terms 1: freshness: must be a table"),
    "upside down": ("expired_after_h = 50", "expired_after_h = 5", "0 < aged_after_h <= expired_after_h"),
    "endless": ("expired_after_h = 50", "expired_after_h = inf", "0 < aged_after_h <= expired_after_h"),
    "limit no number": ("expired_after_h = 50", "expired_after_h = nan", "0 < aged_after_h <= expired_after_h"),
    "limit a truth": ("aged_after_h = 26", "aged_after_h = true", "0 < aged_after_h <= expired_after_h"),
    "a third limit": ("aged_after_h = 26", "aged_after_h = 26\nfresh_after_h = 1", "freshness: needs exactly"),
    "half of two": ("expired_after_h = 50", "expired_after_h = 50\n[terms.freshness.AKM]\naged_after_h = 3",
                    "freshness.AKM: needs exactly 'aged_after_h' and 'expired_after_h'"),
    "no issuer": ("expired_after_h = 50", "expired_after_h = 50\n[terms.freshness.akm]\naged_after_h = 3",
                  "freshness: 'akm' is not ISSUER or ISSUER/partition (six digits)"),
    "no partition": ("expired_after_h = 50", 'expired_after_h = 50\n[terms.freshness."AKM/34"]\naged_after_h = 3',
                     "freshness: 'AKM/34' is not ISSUER or ISSUER/partition (six digits)"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "says"), _WRONG.values(), ids=_WRONG)
def test_terms_that_are_none_say_where_and_what_is_allowed(old: str, new: str, says: str) -> None:
    """The file, which terms, which key, what is allowed."""
    assert old in TERMS
    with pytest.raises(RuleError) as caught:
        parse_terms(TERMS.replace(old, new, 1), "a/terms.toml")
    assert str(caught.value).startswith("a/terms.toml: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs 1 to 100 [[terms]] tables"),
        ("terms = 5", "needs 1 to 100 [[terms]] tables"),
        ("terms = []", "needs 1 to 100 [[terms]] tables"),
        ("terms = [1]", "terms 1: must be a [[terms]] table"),
        (TERMS + TERMS, "two terms begin on one day: give each its own valid_from"),
        (TERMS * (TERMS_MAX + 1), "needs 1 to 100 [[terms]] tables"),
        (
            TERMS + _LATER.replace("senior_from = 60", "senior_from = 40"),
            "terms 2: senior_from: must be a whole",
        ),
    ],
)
def test_a_file_without_terms_is_no_crash(text: Any, says: str) -> None:
    """A RuleError with the file's name, whatever the TOML."""
    with pytest.raises(RuleError) as caught:
        parse_terms(text, "terms.toml")
    assert says in str(caught.value)
