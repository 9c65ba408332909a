"""`make readme`: puts into the README what is made elsewhere: lanes' tables, codes and outcomes, bench figures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gate.station.rulefiles import read_issuers, read_rules
from tests.support import diagram, outcomes

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BENCH = ROOT / "build" / "bench.json"
SHOWN_RULE = "delta/green"  # the one that everybody asks about


def between(text: str, mark: str, new: str) -> str:
    """`text` with what stands between the comments of `mark` replaced."""
    begin, end = f"<!-- {mark}:begin -->", f"<!-- {mark}:end -->"
    if not text.count(begin) == text.count(end) == 1:
        raise ValueError(f"{README.name}: needs {begin} and {end} once each")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{new}\n{end}{after}"


def made(text: str) -> str:
    """`text` with all parts made anew that the code and its data determine."""
    rules, issuers = read_rules(None), read_issuers(None)
    rule = ROOT / "gate" / "policy" / "recognition" / SHOWN_RULE / "rule.toml"
    parts = {
        "diagram": diagram.page(),
        "rule": f"`{rule.relative_to(ROOT)}`, whole:\n\n```toml\n{rule.read_text('utf-8').strip()}\n```",
        "forms": outcomes.form_table(issuers),
        "outcomes": outcomes.outcome_table(rules, issuers),
    }
    for mark, part in parts.items():
        text = between(text, mark, part)
    return text


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
    text = made(README.read_text("utf-8"))
    if BENCH.exists():
        text = between(text, "bench", bench_table(json.loads(BENCH.read_text("utf-8"))))
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
