"""Findings as the journal keeps them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.finding import (
    Enrolled,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Uncovered,
    Unknown,
)
from gate.feed.noted import from_note, note
from gate.feed.records import CredentialStatus

_FRESHNESS = st.builds(Freshness, st.floats(0, 2e9), st.sampled_from(["", "340100"]))
_TOLD = (
    st.just("AKM"),
    st.sampled_from(CredentialStatus),
    st.just("340100"),
    st.integers(0, 2**32),
    st.one_of(st.none(), st.integers(0, 2**32)),
    st.integers(0, 2**40),
    _FRESHNESS,
    st.integers(0, 255),
    st.sampled_from(["", "310100"]),
)
FINDINGS = st.one_of(
    st.builds(Listed, *_TOLD),
    st.builds(Enrolled, *_TOLD),
    st.builds(NotListed, st.just("AKM"), st.integers(0, 9), _FRESHNESS),
    st.builds(NotCovered, st.just("AKM"), st.integers(0, 9), _FRESHNESS, st.sampled_from(Uncovered)),
    st.builds(Unknown, st.just("AKM"), st.sampled_from(Missing)),
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(FINDINGS)
def test_a_note_gives_back_the_finding(finding: Finding) -> None:
    """Through JSON and back, of every kind: a replay decides on what the gate decided on."""
    assert from_note(json.loads(json.dumps(note(finding)))) == finding


@pytest.mark.parametrize(
    "noted",
    [{}, {"kind": "SEEN"}, {"kind": "UNKNOWN", "issuer": "AKM"}, {"kind": "UNKNOWN", "issuer": "AKM", "why": "x"}],
)
def test_what_was_never_noted_is_an_error(noted: dict[str, object]) -> None:
    """One of the three errors that a replay expects."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        from_note(noted)
