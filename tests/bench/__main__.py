"""`make bench`: print a table and write `build/bench.json` (contract.md, "Benchmarks").

`python -m tests.bench feed swap` measures some of it (decide, qr, station, feed, publish, fanout, agent, swap);
`make bench FEED=full` the feed of the whole Delta.
"""

import argparse
import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import agent, decide, feed, publish, qr, station, swap
from tests.bench.figures import Figure
from tests.simulation import fanout

OUT = Path("build/bench.json")


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table("name", "value", "unit", "peer", "ratio", "n", "note")
    for figure in figures:
        beside = "" if figure.peer_value is None else f"{figure.peer} {figure.peer_value:g}"
        ratio = "" if figure.ratio is None else f"{figure.ratio:g}"
        table.add_row(figure.name, f"{figure.value:g}", figure.unit, beside, ratio, str(figure.n), figure.note)
    Console(width=170).print(table)


def write(figures: Sequence[Figure]) -> None:
    """Put the figures into `build/bench.json`, in the place of those of the same names and notes."""
    rows = [asdict(figure) for figure in figures]
    known = json.loads(OUT.read_text("utf-8")) if OUT.exists() else []
    new = {(row["name"], row["note"]) for row in rows}
    OUT.parent.mkdir(exist_ok=True)
    kept = [row for row in known if (row["name"], row["note"]) not in new]
    OUT.write_text(json.dumps([*kept, *rows], indent=2) + "\n", "utf-8")
    print(f"written to {OUT}")


def main() -> None:
    """Measure, print, write."""
    parts: dict[str, Callable[[], list[Figure]]] = {
        "decide": decide.measure,
        "qr": qr.measure,
        "station": station.measure,
        "feed": lambda: feed.measure(given.subjects, given.pair_s, with_peers=given.subjects <= feed.DEFAULT),
        "publish": publish.measure,
        "fanout": lambda: [Figure(**row) for row in asyncio.run(fanout.measure(fanout.Plan()))],
        "agent": agent.measure,
        "swap": lambda: swap.measure(given.pair_s),
    }
    parser = argparse.ArgumentParser(prog="tests.bench")
    parser.add_argument("parts", nargs="*", help=f"some of {', '.join(parts)}; all without any")
    parser.add_argument("--subjects", type=int, default=feed.DEFAULT, help="people in the feed")
    parser.add_argument("--pair-s", type=float, default=feed.PAIR_S, help="seconds of each half of a pair")
    given = parser.parse_args()
    for name in given.parts or parts:
        print(f"{name} …")
        figures = parts[name]()
        show(figures)
        write(figures)


if __name__ == "__main__":
    main()
