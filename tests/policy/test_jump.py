"""Sudden reds of one authority: Henan's list is told, an ordinary day is not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.policy.jump import HOUR_S, Jump, RedWatch

DAY_S = 86_400
START = 1_654_473_600.0  # Monday 6 June 2022, 00:00 UTC
ZHENGZHOU = "410100"


def a_week(watch: RedWatch, authority: str, by_hour: list[int], days: int = 7) -> list[Jump]:
    """The same day again and again; what was told."""
    told = [
        watch.add(authority, by_hour[hour], START + day * DAY_S + hour * HOUR_S)
        for day in range(days)
        for hour in range(24)
        if by_hour[hour]
    ]
    return [jump for jump in told if jump]


@pytest.mark.requirement("R8")
@pytest.mark.parametrize("pieces", [1, 4, 12], ids=["at once", "in four hours", "in a working day"])
def test_henan_is_told(pieces: int) -> None:
    """1,317 people on one day of June 2022, by an authority with a case an hour: told in the first hour, and once."""
    watch = RedWatch(START)
    assert a_week(watch, ZHENGZHOU, [1] * 24) == []
    begin = START + 7 * DAY_S + 9 * HOUR_S
    told = [watch.add(ZHENGZHOU, 1317 // pieces, begin + piece * HOUR_S) for piece in range(pieces)]
    assert told == [Jump(ZHENGZHOU, int(begin), 1317 // pieces, 1)] + [None] * (pieces - 1)


@pytest.mark.requirement("R8")
@pytest.mark.parametrize(
    "by_hour",
    [
        [0] * 8 + [20_000] + [0] * 15,
        [800] * 24,
        [5, 0, 0, 0, 0, 0, 40, 120, 300, 420, 380, 260, 200, 310, 330, 280, 240, 190, 150, 120, 80, 60, 30, 10],
    ],
    ids=["one upload a day", "the same all day", "busy mornings"],
)
def test_a_provinces_ordinary_days_are_not_told(by_hour: list[int]) -> None:
    """From the station's first day on, in whichever way its reds come."""
    assert a_week(RedWatch(START), "330000", by_hour) == []


@pytest.mark.requirement("R8")
def test_a_weekends_silence_is_not_told() -> None:
    """Three days' reds in Monday's upload: not more than thrice the busiest hour, less one."""
    watch = RedWatch(START)
    for day in range(5):
        watch.add("330000", 1000, START + day * DAY_S)
    assert watch.add("330000", 2999, START + 7 * DAY_S) is None
    assert watch.add("330000", 1, START + 7 * DAY_S) == Jump("330000", int(START + 7 * DAY_S), 3000, 1000)


def test_who_never_set_a_red_is_told_at_the_fiftieth() -> None:
    """The limit itself; the hour's smaller pieces are added up, and an hour is told once."""
    watch = RedWatch(START)
    now = START + 2 * DAY_S
    assert [watch.add("410105", 49, now), watch.add("410105", 0, now + 3599)] == [None, None]
    assert watch.add("410105", 1, now + 3599) == Jump("410105", int(now), 50, 0)
    assert watch.add("410105", 500, now + 3599) is None
    assert watch.current(now + 3599) == (Jump("410105", int(now), 550, 0),)
    assert watch.add("410106", 49, now + 3600) is None, "another authority's count is its own"


def test_nothing_is_sudden_in_the_first_day() -> None:
    """Until a daily upload has come once, late ones too; and what was produced before the start is history only."""
    watch = RedWatch(START)
    assert watch.add("330000", 20_000, START - 3 * DAY_S) is None
    assert watch.add("340000", 20_000, START + 26 * HOUR_S - 1) is None
    assert watch.add("320000", 20_000, START + 26 * HOUR_S) is not None
    assert watch.add("330000", 20_000, START + 26 * HOUR_S) is None


def test_a_cut_lines_deltas_are_counted_in_their_own_hours() -> None:
    """A day's deltas that arrive together, an old one last: no jump of ours."""
    watch = RedWatch(START)
    a_week(watch, "330000", [30] * 24)
    late = [START + 7 * DAY_S + hour * HOUR_S for hour in (3, 1, 2, 0)]
    assert [watch.add("330000", 30, when) for when in late] == [None] * 4
    assert watch.add("330000", 10_000, START + 7 * DAY_S + 3 * HOUR_S - 168 * HOUR_S) is None, "older than the week"
    assert watch.add("330000", 90, START + 7 * DAY_S + 4 * HOUR_S) is not None, "and no part of its normal"


def test_a_week_later_the_week_is_forgotten() -> None:
    """An outbreak is the normal of seven days, and of no more."""
    watch = RedWatch(START)
    watch.add(ZHENGZHOU, 1000, START)
    assert watch.add(ZHENGZHOU, 100, START + 167 * HOUR_S) is None
    assert watch.add(ZHENGZHOU, 300, START + 168 * HOUR_S) == Jump(ZHENGZHOU, int(START + 168 * HOUR_S), 300, 100)


def test_a_jump_is_current_for_a_day() -> None:
    """From its hour on; the newest of each authority."""
    watch = RedWatch(START)
    now = START + 2 * DAY_S
    watch.add(ZHENGZHOU, 60, now)
    watch.add("410105", 70, now + HOUR_S)
    assert [jump.authority for jump in watch.current(now + DAY_S - 1)] == [ZHENGZHOU, "410105"]
    assert [jump.authority for jump in watch.current(now + DAY_S)] == ["410105"]
    assert watch.current(now + 2 * DAY_S) == ()


def test_the_longest_silent_is_forgotten_first() -> None:
    """And not the one that was heard of first: its normal counts on."""
    watch = RedWatch(START, authorities_max=2)
    now = START + 2 * DAY_S
    for authority in ("330000", "310000", "330000", "320000"):
        watch.add(authority, 40, now)
    assert watch.add("330000", 60, now + HOUR_S) is None
    assert watch.add("310000", 60, now + HOUR_S) is not None


def test_made_up_authorities_fill_no_memory_and_silence_no_jump() -> None:
    """Beyond the limit the longest silent is forgotten; a jump stays told, one that comes again is told again."""
    watch = RedWatch(START, authorities_max=3)
    now = START + 2 * DAY_S
    watch.add(ZHENGZHOU, 60, now)
    for number in range(100):
        watch.add(f"{number:06d}", 1, now)
    assert watch.current(now) == (Jump(ZHENGZHOU, int(now), 60, 0),)
    assert watch.add("999999", 60, now + HOUR_S)
    for number in range(5):
        assert watch.add(f"{number:06d}", 60, now + HOUR_S)
    assert len(watch.current(now + HOUR_S)) == 3


@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 200)), max_size=40))
def test_it_agrees_with_a_plain_list(adds: list[tuple[int, int]]) -> None:
    """In time order: told once an hour, when it reaches 50 and thrice the busiest of the 167 before it."""
    watch = RedWatch(START, learning_s=0.0)
    counts: dict[int, int] = {}
    told: set[int] = set()
    for hour, count in sorted(adds, key=lambda each: each[0]):
        counts[hour] = counts.get(hour, 0) + count
        busiest = max((counts[h] for h in counts if hour - 168 < h < hour), default=0)
        jump = counts[hour] >= max(50, 3 * busiest) and hour not in told
        assert (watch.add("310000", count, START + hour * HOUR_S) is not None) is jump
        told |= {hour} if jump else set()
