"""Patterns from a station's configuration: what could take for ever in a lane is refused before it gets there."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.patterns import SUBJECT_MAX, WAYS_MAX, PatternError, accept


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("(?P<token>(?:a+)+)", "repeats a group"),
        ("(?P<token>(?:a|a)*)", "repeats a group"),
        ("(?P<token>(?:a?){30})", "repeats a group"),
        ("(?P<token>.*.*.*x)", "more than 65536 ways"),
        ("(?P<token>a*)a*", "more than 65536 ways"),
        ("(?P<token>a{0,300}a{0,300})", "more than 65536 ways"),
        ("(?P<token>a)" + "(?:a|a)" * 17, "more than 65536 ways"),
        ("(?P<token>(a))", "character 10"),
        ("(?=a)(?P<token>a)", "character 0"),
        ("(?P<token>a)\\1", "character 12"),
        ("^(?P<token>a)$", "without ^ and $"),
        ("(?P<token>a*?)", "character 12"),
        ("(?P<token>a++)", "character 12"),
        ("(?i)(?P<token>a)", "character 0"),
        ("a)", "not opened"),
        ("(?P<token>a", "not closed"),
        ("(?P<token>|*)", "without anything before it at character 10"),
        ("(?P<token>a{3,1})", "downwards"),
        ("(?P<token>a{99999999999999})", "counts beyond 4096"),
        ("(?P<token>a{0,99999999999999})", "counts beyond 4096"),
        ("(?P<token>a)?", "token optional"),
        ("a", "(?P<token>"),
        ("(?P<colour>a)(?P<token>a)", "group 'colour'"),
        ("(?P<token>[z-a])", "no regular expression"),
        ("(?P<token>a)(?P<token>a)", "no regular expression"),
        ("x" * 513, "at most 512"),
    ],
)
def test_a_pattern_that_is_refused_says_why(pattern: str, said: str) -> None:
    """Nested and multiplied repetition, everything that `re` has beyond the accepted part, and plain mistakes."""
    with pytest.raises(PatternError, match=re.escape(said)):
        accept(pattern)


@pytest.mark.parametrize(
    ("pattern", "head"),
    [
        (r"/a\.b\?c=(?P<token>V2[0-9a-f]{32})#", "/a.b?c=V2"),
        ("/a(?P<token>b|c)", "/a"),
        ("/a|(?P<token>b)", ""),
        ("/a?(?P<token>b)", "/"),
        ("/(?:x)?(?P<token>b)", "/"),
        ("/(?P<region>b)?(?P<token>c)", "/"),
        (r"/\d(?P<token>b)", "/"),
        ("/.(?P<token>b)", "/"),
        ("/[ab](?P<token>b)", "/"),
    ],
)
def test_the_head_is_what_every_match_begins_with(pattern: str, head: str) -> None:
    """Nothing that a pattern could do without or do otherwise counts as its beginning."""
    assert accept(pattern).head == head


_ATOMS = st.sampled_from(["a", "b", "[ab]", "[^a]", r"\.", ".", r"\d"])
_TIMES = st.sampled_from(["", "", "", "?", "*", "+", "{3}", "{1,4}", "{2,}"])
_PIECES = st.recursive(
    st.builds(str.__add__, _ATOMS, _TIMES),
    lambda inner: st.builds(
        lambda branches, times: f"(?:{'|'.join(branches)}){times}",
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from(["", "?", "*"]),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(_PIECES, max_size=6), st.text("ab.1", max_size=12))
def test_an_accepted_pattern_keeps_its_head_and_its_count(pieces: list[str], subject: str) -> None:
    """Any built pattern is refused or compiled; a match begins with the head, and no accepted one repeats a group."""
    pattern = "".join(pieces) + "(?P<token>b?)"
    try:
        accepted = accept(pattern)
    except PatternError:
        return
    assert not re.search(r"\)[*+{]", pattern)
    assert sum(pattern.count(many) for many in ("*", "+", ",}")) <= 1 or "|" in pattern
    if accepted.compiled.fullmatch(subject):
        assert subject.startswith(accepted.head)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.text(max_size=60) | st.text("()[]{}?P<token>:|*+\\a1,", max_size=60))
def test_any_text_is_a_pattern_or_an_error(text: str) -> None:
    """Nothing but PatternError is raised."""
    try:
        accept(text)
    except PatternError:
        return


def test_the_limit_is_one_unbounded_repetition() -> None:
    """One passes with four optional parts; a fifth, or a second repetition, does not."""
    assert WAYS_MAX == SUBJECT_MAX * 16
    accept("(?P<token>[a]*)" + "b?" * 4)
    for more in ("b?" * 5, "b*", "(?:bc)?" * 5, "(?:b|c)" * 5):
        with pytest.raises(PatternError):
            accept("(?P<token>[a]*)" + more)
