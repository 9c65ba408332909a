"""The soak of issue 5 in small, and its judge: what is not accounted for is named."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.passage.record import PassageRecord
from tests.simulation.soak.audit import audit, compare_metrics
from tests.simulation.soak.lanes import MIX, lane_id
from tests.simulation.soak.run import Settings, report, soak
from tests.simulation.soak.yard import Plan

SMALL = Settings(lanes=16, per_s=12.0, windows=2, window_s=13.0, faulty=5, seed=7, yards=1)
AT_S = 1_000.0
_GRANT = PassageRecord(
    "a", "A1", "entry", AT_S + 0.05, AT_S + 0.05, "CARD", "GRANT", "STATUS_GREEN", "common/green", "GREEN", "LISTED",
    "ZJ", "ZJ", "FRESH", 1, "PASSED", {},
)  # fmt: skip
_DENY = replace(
    _GRANT, passage_id="d", started_utc_s=AT_S + 20, verdict="DENY", reason="STATUS_RED", outcome="NOT_RELEASED"
)


@pytest.mark.timeout(180)
def test_a_small_soak_is_accounted_for(tmp_path: Path) -> None:
    """Every driver once, lanes near and far, five lanes failing: no passage twice or never, no opening ungranted."""
    found = asyncio.run(soak(SMALL, tmp_path))
    assert found.good, report(found)
    assert found.faults, "nothing was broken"
    counts = found.audit.counts
    assert counts["passages"] > SMALL.lanes, report(found)
    assert counts["visits with a fault"] > 0


def test_the_small_soak_has_every_kind_of_the_large_one() -> None:
    """Its lanes' drivers are those of all 48."""
    kinds = [(kind.reader[0], kind.gate[0]) for kind in MIX]
    small = kinds[: SMALL.lanes]
    assert {getattr(gate, "func", gate) for _, gate in kinds} == {getattr(gate, "func", gate) for _, gate in small}
    assert {getattr(read, "func", read) for read, _ in kinds} == {getattr(read, "func", read) for read, _ in small}
    assert {kind.far for kind in MIX[: SMALL.lanes]} == {True, False}


def test_lanes_fail_in_every_second_window_and_others_each_time() -> None:
    """None before the first fault; as many as asked for; the same for the same seed."""
    plan = Plan(1, 48, 2, 50.0, 6, 50.0, 12, "")
    assert [len(plan.faulty_lanes(window)) for window in range(4)] == [0, 12, 0, 12]
    assert plan.faulty_lanes(1) != plan.faulty_lanes(3)
    assert plan.faulty_lanes(1) == replace(plan, number=1).faulty_lanes(1)
    assert set(plan.faulty_lanes(1)) <= {lane_id(number) for number in range(48)}


# --- the judge -----------------------------------------------------------------------------------------------------


def _visit(at_s: float, due: str = "GRANT", walked: bool = True) -> dict[str, Any]:
    return {"lane": "A1", "due": due, "at": at_s, "until": at_s + 0.5, "walked": walked}


def _ledger(**changed: Any) -> dict[str, Any]:
    """One who passes, and one who is refused."""
    return {
        "visits": [_visit(AT_S), _visit(AT_S + 20, "DENY", walked=False)],
        "faults": [],
        "openings": {"A1": [AT_S + 0.06]},
        "tells": {"A1": True},
        "within_s": {"A1": 5.0},
    } | changed


def _fault(name: str = "late", of_s: float = AT_S) -> dict[str, Any]:
    return {"lane": "A1", "device": "samv", "name": name, "from": of_s - 1, "to": of_s + 1}


def test_what_is_as_due_is_no_problem() -> None:
    """One record for each, one opening, one passage."""
    done = audit([_ledger()], [_GRANT, _DENY])
    assert done.problems == []
    assert (done.counts["passages"], done.counts["passages counted"], done.counts["openings"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("ledger", "records", "said"),
    [
        (_ledger(), [_DENY], "opened without a grant"),
        (_ledger(), [replace(_GRANT, outcome="RELEASE_REFUSED"), _DENY], "opened without a grant"),
        (_ledger(openings={"A1": [AT_S + 0.06, AT_S + 0.1]}), [_GRANT, _DENY], "opened without a grant"),
        (_ledger(openings={"A1": [AT_S + 12.0]}), [_GRANT, _DENY], "opened without a grant"),
        (_ledger(), [_GRANT, replace(_GRANT, passage_id="b"), _DENY], "records [('GRANT', 'PASSED'), ('GRANT'"),
        (_ledger(), [replace(_GRANT, outcome="LAPSED"), _DENY], "('GRANT', 'LAPSED')"),
        (_ledger(), [_GRANT], "due DENY and no fault"),
        (_ledger(), [_GRANT, replace(_DENY, verdict="GRANT", outcome="LAPSED")], "due DENY and no fault"),
        (_ledger(visits=[_visit(AT_S), _visit(AT_S + 20)]), [_GRANT, _DENY], "due GRANT and no fault"),
        (_ledger(visits=[_visit(AT_S + 9)], openings={"A1": []}), [_GRANT], "a record of nobody"),
        (_ledger(), [_GRANT, _DENY, replace(_GRANT, lane="Z9")], "lanes that are not there"),
        (
            _ledger(),
            [_GRANT, _DENY, replace(_GRANT, passage_id="i", credential="NONE", verdict="NONE", outcome="INTRUDED")],
            "INTRUDED and no fault",
        ),
    ],
)
def test_what_is_not_as_due_is_named(ledger: dict[str, Any], records: list[PassageRecord], said: str) -> None:
    """An opening more, a record more or less, another end, a passage of nobody: each is a problem."""
    problems = audit([ledger], records).problems
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize("outcome", ["PASSED", "LAPSED", "BARRIER_FAULTED"])
def test_a_fault_excuses_a_passage_that_was_not_told(outcome: str) -> None:
    """The record is there once and says what the station could know; which fault it was is said."""
    done = audit([_ledger(faults=[_fault()])], [replace(_GRANT, outcome=outcome), _DENY])
    assert done.problems == []
    assert dict(done.not_told) == ({} if outcome == "PASSED" else {"late": 1})


@pytest.mark.parametrize(
    ("ledger", "records", "said"),
    [
        (_ledger(faults=[_fault()]), [_DENY], "opened without a grant"),
        (_ledger(faults=[_fault()], openings={"A1": []}), [_GRANT, _DENY], "walked without a grant"),
        (_ledger(faults=[_fault()]), [_GRANT, replace(_GRANT, passage_id="b"), _DENY], "was counted 2 times"),
        (
            _ledger(faults=[_fault(of_s=AT_S + 20)]),
            [_GRANT, replace(_DENY, verdict="GRANT", outcome="LAPSED")],
            "status is red",
        ),
        (_ledger(faults=[_fault(of_s=AT_S + 10)]), [replace(_GRANT, outcome="LAPSED"), _DENY], "no fault"),
    ],
)
def test_a_fault_excuses_nothing_else(ledger: dict[str, Any], records: list[PassageRecord], said: str) -> None:
    """No opening without a grant, nobody counted twice, nobody red granted; nor a fault at another time anything."""
    problems = audit([ledger], records).problems
    assert any(said in problem for problem in problems), problems


def test_a_machine_without_a_core_to_spare_is_a_fault_of_every_lane() -> None:
    """It excuses what a late device's passage is; it excuses no opening without a grant."""
    late = _fault() | {"lane": "", "device": "machine", "name": "no core"}
    assert audit([_ledger(faults=[late])], [replace(_GRANT, outcome="LAPSED"), _DENY]).problems == []
    assert audit([_ledger(faults=[late])], [_DENY]).problems


def test_metrics_that_say_otherwise_are_named() -> None:
    """One more, one less, one of another lane."""
    assert compare_metrics({("A1", "PASSED"): 1}, [_GRANT]) == []
    assert compare_metrics({}, [_GRANT]) == ["lane A1: 0 PASSED in the metrics, 1 written"]
    assert compare_metrics({("A2", "LAPSED"): 2}, []) == ["lane A2: 2 LAPSED in the metrics, 0 written"]
