"""What people and devices saw of a soak against what the station wrote down: every passage exactly once.

Of a visit that no fault could have met everything must be as due: one record, one opening, one passage. Whatever was
broken, three things hold for every opening and passage: a grant before it that had neither lapsed nor been reported
failed, one grant an opening, and never more people counted than walked.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gate.passage.record import PassageRecord
from tests.simulation.soak.yard import RECOVERY_S

CLOCKS_S = 0.05  # between a card laid down and its record's instant: two processes' roundings of one clock
SLACK_S = 0.5  # a command that was sent within its lifetime is carried out a little later
COUNTED = ("PASSED", "INTRUDED", "TAILGATED")  # each says that one person went through
FAILED = ("RELEASE_REFUSED", "NOT_RELEASED")  # after these nothing may open


@dataclass(slots=True)
class Audit:
    """What was found. `problems` is empty when all is accounted for."""

    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    not_told: Counter[str] = field(default_factory=Counter)  # passages without PASSED, by the fault that hid them

    def wrong(self, lane: str, at_s: float, text: str) -> None:
        """Something is not accounted for."""
        self.problems.append(f"lane {lane} at {at_s:.3f}: {text}")


def audit(ledgers: Sequence[Mapping[str, Any]], records: Sequence[PassageRecord]) -> Audit:
    """Compare. `records` are the journal's passages."""
    done = Audit()
    for ledger in ledgers:
        for lane in ledger["openings"]:
            mine = [record for record in records if record.lane == lane]
            _lane(done, lane, ledger, sorted(mine, key=lambda record: record.started_utc_s))
    known = {lane for ledger in ledgers for lane in ledger["openings"]}
    strays = sum(record.lane not in known for record in records)
    if strays:
        done.problems.append(f"{strays} records of lanes that are not there")
    return done


def _lane(done: Audit, lane: str, ledger: Mapping[str, Any], records: Sequence[PassageRecord]) -> None:
    visits = sorted((visit for visit in ledger["visits"] if visit["lane"] == lane), key=lambda visit: visit["at"])
    faults = [fault for fault in ledger["faults"] if fault["lane"] in (lane, "")]  # "": the machine's, of all lanes
    openings, tells = ledger["openings"][lane], ledger["tells"][lane]
    presented = [record for record in records if record.credential != "NONE"]
    opened_by = _openings(done, lane, openings, presented, ledger["within_s"][lane])
    starts = [visit["at"] - CLOCKS_S for visit in visits]
    of_visit: list[list[PassageRecord]] = [[] for _ in visits]
    for record in presented:
        at = bisect_right(starts, record.started_utc_s) - 1
        if at < 0:
            done.wrong(lane, record.started_utc_s, "a record of nobody")
        else:
            of_visit[at].append(record)
    for number, (visit, its) in enumerate(zip(visits, of_visit, strict=True)):
        ends_s = visits[number + 1]["at"] if number + 1 < len(visits) else float("inf")
        its_openings = sum(visit["at"] <= opening < ends_s for opening in openings)
        fault = _met(visit, faults)
        if fault:
            _troubled(done, lane, visit, its, opened_by, str(fault["name"]))
        else:
            _untroubled(done, lane, visit, its, its_openings, tells)
    _counted(done, lane, visits, records, faults)


def _openings(
    done: Audit, lane: str, openings: Sequence[float], records: Sequence[PassageRecord], within_s: float
) -> dict[str, float]:
    """Each opening's own grant, by the record's id: the latest before it, since a grant opens at once or never."""
    grants = [record for record in reversed(records) if record.verdict == "GRANT"]
    taken: dict[str, float] = {}
    for opening in openings:
        free = (
            grant
            for grant in grants
            if grant.passage_id not in taken
            and grant.outcome not in FAILED
            # One that waited behind a walking person was granted twice its lifetime ago at most.
            and grant.started_utc_s - CLOCKS_S <= opening <= grant.started_utc_s + 2 * within_s + SLACK_S
        )
        grant = next(free, None)
        if grant is None:
            done.wrong(lane, opening, "opened without a grant, or after it was reported failed")
        else:
            taken[grant.passage_id] = opening
    done.counts["openings"] += len(openings)
    return taken


def _met(visit: Mapping[str, Any], faults: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The latest fault that may have met a visit."""
    met = [fault for fault in faults if fault["from"] <= visit["until"] and fault["to"] + RECOVERY_S >= visit["at"]]
    return met[-1] if met else None


def _untroubled(
    done: Audit, lane: str, visit: Mapping[str, Any], its: Sequence[PassageRecord], openings: int, tells: bool
) -> None:
    due = ("PASSED" if tells else "LAPSED") if visit["due"] == "GRANT" else "NOT_RELEASED"
    told = [(record.verdict, record.outcome) for record in its]
    opens = int(visit["due"] == "GRANT")
    if told != [(visit["due"], due)] or openings != opens or visit["walked"] != bool(opens):
        reasons = [record.reason for record in its]
        seen = f"{openings} openings, {'walked' if visit['walked'] else 'did not walk'}, records {told} {reasons}"
        done.wrong(lane, visit["at"], f"due {visit['due']} and no fault: {seen}")
    done.counts["visits without a fault"] += 1
    done.counts["passages"] += visit["walked"]
    done.counts["passages told"] += visit["walked"] and tells


def _troubled(
    done: Audit,
    lane: str,
    visit: Mapping[str, Any],
    its: Sequence[PassageRecord],
    opened_by: Mapping[str, float],
    fault: str,
) -> None:
    grants = [record for record in its if record.verdict == "GRANT"]
    if visit["due"] == "DENY" and grants:
        done.wrong(lane, visit["at"], "granted to somebody whose status is red")
    opened = [record for record in grants if record.passage_id in opened_by]
    if visit["walked"] and not opened:
        done.wrong(lane, visit["at"], f"walked without a grant ({fault})")
    passed = sum(record.outcome == "PASSED" for record in grants)
    if passed > 1:
        done.wrong(lane, visit["at"], f"one person was counted {passed} times ({fault})")
    done.counts["visits with a fault"] += 1
    done.counts["passages"] += visit["walked"]
    if visit["walked"] and not passed:
        done.not_told[fault] += 1


def _counted(
    done: Audit,
    lane: str,
    visits: Sequence[Mapping[str, Any]],
    records: Sequence[PassageRecord],
    faults: Sequence[Mapping[str, Any]],
) -> None:
    """Never more people than walked; and one without a grant only where a fault can have hidden the grant's end."""
    counted = sum(record.outcome in COUNTED for record in records)
    walked = sum(visit["walked"] for visit in visits)
    if counted > walked:
        done.wrong(lane, visits[-1]["until"], f"{counted} people counted, {walked} walked")
    for record in records:
        if record.outcome in ("INTRUDED", "TAILGATED"):
            at_s = record.started_utc_s
            if not any(fault["from"] <= at_s <= fault["to"] + RECOVERY_S for fault in faults):
                done.wrong(lane, at_s, f"{record.outcome} and no fault")
    done.counts["passages counted"] += counted


def compare_metrics(page: Mapping[tuple[str, str], int], records: Sequence[PassageRecord]) -> list[str]:
    """Where `gate_passages_total` by lane and outcome says otherwise than the journal."""
    written = Counter((record.lane, record.outcome) for record in records)
    return [
        f"lane {lane}: {page.get((lane, outcome), 0)} {outcome} in the metrics, {written[lane, outcome]} written"
        for lane, outcome in sorted({*page, *written})
        if page.get((lane, outcome), 0) != written[lane, outcome]
    ]
