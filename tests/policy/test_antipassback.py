"""The same traveller again, too soon: by any of their marks, in one direction, in bounded memory."""

import pytest

from gate.moment import Moment
from gate.policy.antipassback import CLAIMS_MAX, AntiPassback

NOW = Moment(1_590_000_000.0, 0.0)
CARD, CODE, OTHER = b"card", b"code", b"other"


def test_claims_are_taken_kept_and_given_back() -> None:
    """Claimed at release, kept at passage, given back at a lapse; both directions apart."""
    passback = AntiPassback()
    assert passback.claim([CARD], "entry", NOW, 120)
    assert not passback.claim([CARD], "entry", NOW.plus(60), 120)
    assert passback.claim([CARD], "exit", NOW.plus(60), 120)
    passback.give_back([CARD], "entry")
    assert passback.claim([CARD], "entry", NOW.plus(61), 120)
    passback.keep([CARD], "entry", NOW.plus(100))
    assert not passback.claim([CARD], "entry", NOW.plus(219.9), 120)
    assert passback.claim([CARD], "entry", NOW.plus(220), 120)


@pytest.mark.requirement("R14")
def test_any_of_a_traveller_s_marks_is_the_traveller() -> None:
    """Through by card and code, back by the code alone; a code that somebody else used is nobody's card."""
    passback = AntiPassback()
    assert passback.claim([CARD, CODE], "entry", NOW, 120)
    assert not passback.claim([CODE], "entry", NOW.plus(1), 120)
    assert not passback.claim([CARD], "entry", NOW.plus(1), 120)
    assert not passback.claim([OTHER, CODE], "entry", NOW.plus(1), 120)
    assert passback.claim([OTHER], "entry", NOW.plus(1), 120), "a refused claim takes nothing"


def test_all_marks_are_given_back_and_all_are_kept() -> None:
    """A lapse frees each; a passage counts each from the passage on."""
    passback = AntiPassback()
    assert passback.claim([CARD, CODE], "entry", NOW, 120)
    passback.give_back([CARD, CODE], "entry")
    assert passback.claim([CODE], "entry", NOW.plus(1), 120)
    passback.give_back([CODE], "entry")
    assert passback.claim([CARD, CODE], "entry", NOW.plus(2), 120)
    passback.keep([CARD, CODE], "entry", NOW.plus(100))
    for mark in (CARD, CODE):
        assert not passback.claim([mark], "entry", NOW.plus(219), 120)


def test_who_has_no_mark_is_never_the_same() -> None:
    """A certificate alone, a code that leads to nobody: nothing to remember, nothing refused."""
    passback = AntiPassback()
    assert passback.claim([], "entry", NOW, 120)
    assert passback.claim([], "entry", NOW, 120)
    passback.keep([], "entry", NOW)
    passback.give_back([], "entry")


def test_giving_back_what_was_never_claimed_is_nothing() -> None:
    """After the cap has forgotten it, for example."""
    passback = AntiPassback()
    passback.give_back([CARD], "entry")
    assert passback.claim([CARD], "entry", NOW, 120)


def test_the_oldest_are_forgotten_first_and_memory_is_bounded() -> None:
    """A day's crowd in one minute: the newest are all held, the first of all may come again."""
    passback = AntiPassback()
    for number in range(CLAIMS_MAX + 10):
        assert passback.claim([b"%d" % number], "entry", NOW.plus(1), 120)
    assert len(passback._claimed) <= CLAIMS_MAX
    assert not passback.claim([b"%d" % (CLAIMS_MAX + 9)], "entry", NOW.plus(2), 120)
    assert not passback.claim([b"%d" % (CLAIMS_MAX // 2)], "entry", NOW.plus(2), 120)
    assert passback.claim([b"0"], "entry", NOW.plus(2), 120)


def test_what_is_past_its_time_is_forgotten() -> None:
    """Memory follows the last two minutes, not the day."""
    passback = AntiPassback()
    for number in range(1000):
        assert passback.claim([b"%d" % number, b"c%d" % number], "entry", NOW.plus(number), 120)
    assert len(passback._claimed) <= 2 * 121
