"""`make readme`: puts into the README what is made elsewhere, the lanes' tables and the figures of the bench."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support import diagram

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BENCH = ROOT / "build" / "bench.json"


def between(text: str, mark: str, new: str) -> str:
    """`text` with what stands between the comments of `mark` replaced."""
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{new}\n{end}{after}"


def bench_table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures as a table."""
    lines = ["| figure | value | beside | ratio | n | note |", "|---|---|---|---|---|---|"]
    for row in rows:
        beside = "" if row["peer_value"] is None else f"{row['peer']} {row['peer_value']:g}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:g}"
        value = f"{row['value']:,.6g} {row['unit']}"
        lines.append(f"| `{row['name']}` | {value} | {beside} | {ratio} | {row['n']:,} | {row['note']} |")
    return "\n".join(lines)


def main() -> None:
    """Rewrite the README's made parts."""
    text = between(README.read_text("utf-8"), "diagram", diagram.page())
    if BENCH.exists():
        text = between(text, "bench", bench_table(json.loads(BENCH.read_text("utf-8"))))
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
