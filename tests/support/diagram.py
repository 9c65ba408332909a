"""Draws a lane's two tables as Mermaid diagrams: `python -m tests.support.diagram`; the README holds its output."""

from collections.abc import Mapping
from enum import StrEnum

from gate.passage.barrier import TABLE
from gate.passage.pairing import FRONT


def draw(table: Mapping[StrEnum, Mapping[StrEnum, tuple[StrEnum, StrEnum]]]) -> str:
    """One diagram: every trigger that changes the state or does something."""
    lines = ["stateDiagram-v2"]
    for state, row in table.items():
        arrows: dict[str, list[str]] = {}
        for trigger, (target, action) in row.items():
            if target is not state or action != "nothing":
                label = trigger.lower() if action == "nothing" else f"{trigger.lower()} / {action}"
                arrows.setdefault(str(target), []).append(label)
        lines += [f"    {state} --> {target}: {label}" for target, labels in arrows.items() for label in labels]
    return "\n".join(lines)


def page() -> str:
    """What stands between the README's diagram marks."""
    blocks = []
    for title, table in (("Front: what is presented", FRONT), ("Barrier: who may walk", TABLE)):
        blocks.append(f"**{title}**\n\n```mermaid\n{draw(table)}\n```")
    return "\n\n".join(blocks)


if __name__ == "__main__":
    print(page())
