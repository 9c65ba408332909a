"""A dynamic token at two gates: what a station remembers, for how long, and how much."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.moment import Moment
from gate.policy.seen import SeenTokens

MARK = b"m" * 16
UNTIL = 300.0


def at(utc_s: float) -> Moment:
    return Moment(utc_s, 0.0)


@pytest.mark.requirement("R5")
def test_a_token_at_a_second_lane_is_a_replay() -> None:
    """While the first lane has it, and after it released; at the first lane too once it released."""
    seen = SeenTokens()
    assert seen.present(MARK, "A1", at(0), UNTIL)
    assert seen.present(MARK, "A1", at(1), UNTIL), "a scanner reads the same code many times a second"
    assert not seen.present(MARK, "A2", at(2), UNTIL)
    seen.spend(MARK)
    assert not seen.present(MARK, "A2", at(3), UNTIL)
    assert not seen.present(MARK, "A1", at(3), UNTIL), "a screenshot passed back over the barrier"


def test_an_honest_second_try_at_another_lane_is_right() -> None:
    """After an attempt without release, and after a release that lapsed."""
    seen = SeenTokens()
    seen.present(MARK, "A1", at(0), UNTIL)
    seen.give_back(MARK, "A1")
    assert seen.present(MARK, "A2", at(1), UNTIL)
    seen.spend(MARK)
    seen.give_back(MARK, "A2")
    assert seen.present(MARK, "A1", at(2), UNTIL)


def test_only_who_has_it_gives_it_back() -> None:
    """The lane that refused a replay ends its attempt; that frees nothing."""
    seen = SeenTokens()
    seen.present(MARK, "A1", at(0), UNTIL)
    assert not seen.present(MARK, "A2", at(1), UNTIL)
    seen.give_back(MARK, "A2")
    assert not seen.present(MARK, "A2", at(2), UNTIL)


def test_it_is_remembered_as_long_as_its_time_is_believed() -> None:
    """To the end of its validity and the skew, that instant included; then it fails by time, and costs no memory."""
    seen = SeenTokens(skew_s=30.0)
    seen.present(MARK, "A1", at(0), UNTIL)
    seen.spend(MARK)
    assert not seen.present(MARK, "A2", at(UNTIL + 30), UNTIL)
    seen.present(b"another", "A2", at(UNTIL + 31), 999.0)
    assert len(seen) == 1


def test_memory_has_its_limit_and_the_oldest_pay() -> None:
    """At the limit the first shown is forgotten, and only it; what is unknown can be spent and given back in peace."""
    seen = SeenTokens(limit=3)
    for mark in (b"1", b"2", b"3", b"4"):
        assert seen.present(mark, "A1", at(0), UNTIL)
    assert len(seen) == 3
    seen.spend(b"1")
    seen.give_back(b"1", "A1")
    assert [seen.present(mark, "A2", at(1), UNTIL) for mark in (b"2", b"3", b"4", b"1")] == [False, False, False, True]
    with pytest.raises(ValueError, match="at least 1"):
        SeenTokens(limit=0)


def test_short_tokens_do_not_pile_up_behind_a_long_one() -> None:
    """As soon as the oldest is dead, more are forgotten than come in."""
    seen = SeenTokens()
    seen.present(b"long", "A1", at(0), 500.0)
    for number in range(100):
        seen.present(b"%d" % number, "A1", at(0), 10.0)
    assert seen.present(b"7", "A2", at(11), 30.0), "dead, though not forgotten yet"
    for number in range(51):
        seen.present(b"later %d" % number, "A1", at(501), 900.0)
    assert len(seen) == 51


Step = tuple[str, int, str, int]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["present", "present", "spend", "give_back"]),
        st.integers(0, 3),
        st.sampled_from(["A1", "A2", "A3"]),
        st.integers(0, 4),
    ),
    max_size=60,
)


@settings(deadline=None, derandomize=True)
@given(STEPS)
def test_it_agrees_with_a_book_that_forgets_nothing(steps: list[Step]) -> None:
    """Below its limit: who has a token, was it spent, till when, as a plain dict with dates says it."""
    seen = SeenTokens(skew_s=1.0)
    book: dict[bytes, tuple[str, bool, float]] = {}
    now = 0.0
    for what, number, lane, later in steps:
        now += later
        mark, until = b"%d" % number, 5.0 * (number + 1)
        lane_of, spent, _ = book.get(mark, ("", False, 0.0))
        alive = mark in book and now <= book[mark][2]
        if what == "present":
            right = not alive or (lane_of == lane and not spent)
            assert seen.present(mark, lane, at(now), until) is right
            if not alive:
                book[mark] = (lane, False, until + 1.0)
        elif what == "spend":
            seen.spend(mark)
            if mark in book:
                book[mark] = (lane_of, True, book[mark][2])
        else:
            seen.give_back(mark, lane)
            if lane_of == lane:
                book.pop(mark, None)
