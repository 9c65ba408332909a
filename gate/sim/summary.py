"""What a demonstration showed: passages, verdicts by reason, stage times, and whether everybody got their due."""

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gate.sim.passengers import Habit, Result
from gate.station.chain import read_lines, verify_chain


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts from both sides: what passengers did, and what the station wrote down."""

    results: Sequence[Result]
    records: Sequence[dict[str, Any]]
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether every passage ended as that passenger's true status demands."""
        return not self.problems


def summarise(results: Sequence[Result], journal: Path) -> Summary:
    """Compare what passengers met with the journal. Raises OSError, ValueError when that cannot be read."""
    records = [line for line in read_lines(journal) if line["event"] == "passage"]
    problems = [f"lane {r.lane}, {r.habit}: {r.note}" for r in results if not r.as_due]
    problems += verify_chain(journal)
    outcomes = Counter(record["outcome"] for record in records)
    for outcome, expected in {
        "PASSED": sum(r.passed for r in results),
        "LAPSED": sum(r.released and not r.passed for r in results),
        "TAILGATED": sum(r.passed and r.habit is Habit.TAILGATED for r in results),
        "INTRUDED": 0,
        "RELEASE_REFUSED": 0,
        "BARRIER_FAULTED": 0,
    }.items():
        if outcomes[outcome] != expected:
            problems.append(f"the journal has {outcomes[outcome]} {outcome}, passengers made {expected}")
    return Summary(results, records, tuple(problems))


def show(summary: Summary, console: Console) -> None:
    """Print the summary."""
    outcomes = Counter(record["outcome"] for record in summary.records)
    passed = outcomes["PASSED"]
    console.print(f"\n[bold]{passed} passages[/bold] of {len(summary.results)} passengers")
    verdicts = Table("verdict", "reason", "count", title="verdicts by reason", title_justify="left")
    counted = Counter((r["verdict"], r["reason"]) for r in summary.records if r["verdict"] != "NONE")
    for (verdict, reason), count in sorted(counted.items()):
        verdicts.add_row(verdict, reason, str(count))
    console.print(verdicts)
    endings = Table("outcome", "count", title="how attempts ended", title_justify="left")
    for outcome, count in sorted(outcomes.items()):
        endings.add_row(outcome, str(count))
    console.print(endings)
    console.print(_stages(summary.records))
    for problem in summary.problems[:20]:
        console.print(f"[bold]NOT AS DUE[/bold] {problem}")
    console.print(
        "every passage ended as that passenger's status demands" if summary.good else "NOT every passage was due"
    )


# Stage names of a PassageRecord, and what they are to a reader of the table.
_STAGES = {
    "pairing": "code to card",
    "lookup": "card to status",
    "asking": "question to an issuer's answer",
    "release": "status to release",
    "passage": "release to passage",
}


def _stages(records: Sequence[dict[str, Any]]) -> Table:
    table = Table("stage", "n", "p50 ms", "p99 ms", title="stages", title_justify="left")
    for stage, text in _STAGES.items():
        spent = sorted(r["stages_us"][stage] / 1000 for r in records if stage in r["stages_us"])
        if spent:
            table.add_row(f"{stage} ({text})", str(len(spent)), *(f"{quantile(spent, q):.2f}" for q in (0.5, 0.99)))
    return table


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of sorted values, by the nearest rank above."""
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))] if q != 0.5 else statistics.median(ordered)
