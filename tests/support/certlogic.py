"""The specification's suites: what they claim, and how much of it holds. `make conformance` prints `counts()`."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.policy.certlogic import evaluate, validate

_SHARED = Path(__file__).parents[3] / "shared" / "data"
SUITES = Path(os.environ.get("GATE_TEST_DATA") or _SHARED) / "certlogic"


@dataclass(frozen=True, slots=True)
class Assertion:
    """An expression, its data, and what the suite expects: a value, or (validator) how many issues."""

    name: str
    expression: Any
    data: Any
    expected: Any

    def holds(self) -> bool:
        """Whether evaluating gives the very value: 1 is not true."""
        return json.dumps(evaluate(self.expression, self.data), default=repr) == json.dumps(self.expected)


@dataclass(frozen=True, slots=True)
class Judgement:
    """An expression and the issues that the suite finds in it."""

    name: str
    expression: Any
    issues: list[Any]

    def holds(self) -> bool:
        """Whether our validator finds as many; the wording is ours."""
        return len(validate(self.expression)) == len(self.issues)


def assertions() -> list[Assertion]:
    """All active assertions; those under `"directive": "skip"` are not claimed by the specification."""
    return [each for path in sorted((SUITES / "testSuite").glob("*.json")) for each in _assertions(path)]


def _assertions(path: Path) -> Iterator[Assertion]:
    suite = json.loads(path.read_text("utf-8"))
    for case in suite["cases"]:
        for index, row in enumerate(case["assertions"]):
            if "skip" not in (suite.get("directive"), case.get("directive"), row.get("directive")):
                expression = row["certLogicExpression"] if "certLogicExpression" in row else case["certLogicExpression"]
                yield Assertion(f"{path.stem}: {case['name']} {index}", expression, row["data"], row["expected"])


def judgements() -> list[Judgement]:
    """All validator cases."""
    return [
        Judgement(f"{path.stem} {index}", case["certLogicExpression"], case["issues"])
        for path in sorted((SUITES / "validation-testSuite").glob("*.json"))
        for index, case in enumerate(json.loads(path.read_text("utf-8"))["cases"])
    ]


def counts() -> dict[str, tuple[int, int]]:
    """(passed, all) of the assertions and of the validator's cases; (0, 0) where the suites are not there."""
    return {
        name: (sum(each.holds() for each in rows), len(rows))
        for name, rows in {"assertions": assertions(), "validator": judgements()}.items()
    }
