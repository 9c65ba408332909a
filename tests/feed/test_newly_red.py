"""Who turned how many red, counted at once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.records import STATE_BYTES, CredentialStatus, State, StatusEntry, encode_state
from gate.feed.states import Bytes2, newly_red
from tests.feed.strategies import STATES

_COLOURS = st.builds(
    lambda status, by: StatusEntry(bytes(16), status, by, 1),
    st.sampled_from([CredentialStatus.RED, CredentialStatus.RED, CredentialStatus.GREEN]),
    st.sampled_from(["410100", "340100", "000000", "999999"]),
)
_ANY = st.one_of(_COLOURS, STATES)


def table(states: list[State]) -> Bytes2:
    return np.frombuffer(b"".join(map(encode_state, states)), np.uint8).reshape(len(states), STATE_BYTES)


def _is_red(state: State) -> bool:
    return isinstance(state, StatusEntry) and state.status is CredentialStatus.RED


@pytest.mark.requirement("R8")
@settings(deadline=None, derandomize=True)
@given(st.lists(st.tuples(_ANY, _ANY), max_size=30))
def test_it_counts_as_one_would_by_hand(pairs: list[tuple[State, State]]) -> None:
    """Red after and not before, by the authority of the state after, most first; absent and enrolled are not red."""
    by_hand = Counter(
        after.asserted_by
        for before, after in pairs
        if isinstance(after, StatusEntry) and _is_red(after) and not _is_red(before)
    )
    counted = newly_red(table([before for before, _ in pairs]), table([after for _, after in pairs]))
    assert counted == by_hand
    assert list(counted.values()) == sorted(by_hand.values(), reverse=True)
