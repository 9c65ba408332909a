"""The circuit breaker, with time as an argument."""

import pytest

from gate.issuers.circuit import FAILURES_MAX, FIRST_S, MOST_S, Circuit


def opened(draw: float = 0.0, now_s: float = 0.0) -> Circuit:
    circuit = Circuit(lambda: draw)
    for _ in range(FAILURES_MAX):
        circuit.failed(circuit.begin(), now_s)
    return circuit


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    """One success in between starts the count again."""
    circuit = Circuit(lambda: 0.0)
    for _ in range(FAILURES_MAX - 1):
        assert not circuit.failed(circuit.begin(), 0.0)
    circuit.worked(circuit.begin())
    for _ in range(FAILURES_MAX - 1):
        assert not circuit.failed(circuit.begin(), 0.0)
    assert not circuit.is_open
    assert circuit.failed(circuit.begin(), 0.0)
    assert circuit.is_open
    assert not circuit.lets(0.0)


def test_one_probe_goes_out_and_its_success_closes() -> None:
    """While the probe is under way nobody else is let through."""
    circuit = opened()
    assert not circuit.lets(FIRST_S / 2 - 0.01)
    assert circuit.lets(FIRST_S / 2)
    probe = circuit.begin()
    assert probe
    assert not circuit.lets(FIRST_S * 100)
    assert circuit.is_open
    assert circuit.worked(probe)
    assert not circuit.is_open


@pytest.mark.requirement("R7")
@pytest.mark.parametrize("draw", [0.0, 0.5, 1.0])
def test_the_waits_double_up_to_a_cap_and_carry_chance(draw: float) -> None:
    """R7, no retry storm: each failed probe waits longer, between half the limit and all of it."""
    circuit, now_s, waits = opened(draw), 0.0, []
    for _ in range(12):
        begin_s = now_s
        while not circuit.lets(now_s):
            now_s += 0.125
        waits.append(now_s - begin_s)
        circuit.failed(circuit.begin(), now_s)
    share = (1 + draw) / 2
    assert waits[:3] == [FIRST_S * share, 2 * FIRST_S * share, 4 * FIRST_S * share]
    assert waits[-1] == MOST_S * share


def test_a_straggler_of_before_the_opening_changes_nothing() -> None:
    """Neither its success closes nor its failure puts the probe off."""
    circuit = opened()
    assert not circuit.worked(probe=False)
    assert circuit.is_open
    assert not circuit.failed(probe=False, now_s=FIRST_S)
    assert circuit.lets(FIRST_S)


def test_a_probe_that_we_broke_off_frees_the_place() -> None:
    """A lane that stops waiting must not leave the issuer closed for ever."""
    circuit = opened()
    circuit.abandoned(circuit.begin())
    assert circuit.lets(FIRST_S)
    assert circuit.is_open
