"""CertLogic's values: which are true, which are equal, which are integers, and how an answer leaves as JSON."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from gate.policy.certlogic.datetimes import DateTime, text_of

Json: TypeAlias = bool | int | float | str | list["Json"] | dict[str, "Json"] | None
# A compiled part: the data context and the steps that are left ([n]) in, a value out. May raise EvaluationError.
Code: TypeAlias = Callable[[Any, list[int]], Any]

# JavaScript's Number.MAX_SAFE_INTEGER: the specification's integers are "a subset of JavaScript's Number type".
INTEGER_MAX = 2**53 - 1
# The deepest of the suite's expressions has 5 levels; 64 are some 200 Python frames of the 1,000 allowed.
DEPTH_MAX = 64
# One step is one operation or literal, one array item searched or one value handed out: 0.1 to 2 µs, so that the worst
# rule holds a lane for some 20 ms. A list of China's 2,900 counties in a rule needs a third of it.
WORK_MAX = 10_000
# Types whose Python truth is CertLogic's truth.
PLAIN = frozenset({bool, type(None), str, int, list, dict})


class EvaluationError(ValueError):
    """What the specification calls an error; the text names a place of the expression and never quotes data."""


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer, and why; false like a rule that does not speak. `why` never quotes data."""

    why: str

    def __bool__(self) -> bool:
        return False


def truth(value: Any, at: str) -> bool:
    """Truthy or falsy. Numbers with decimals, date-times and what is no JSON are neither: an error."""
    if type(value) in PLAIN or isinstance(value, str) or (isinstance(value, float) and value.is_integer()):
        return bool(value)
    raise EvaluationError(f"{at}: a condition is neither truthy nor falsy (a number with decimals, a date-time)")


def integer(value: Any, at: str) -> int:
    """The integer that a value is; booleans are none, 1.0 is 1."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise EvaluationError(f"{at}: all operands must be integers")


def same(left: Any, right: Any, at: str) -> bool:
    """`===`, without coercion: "reliable on strings and integers", null and booleans; of two composites an error."""
    kinds = _scalar(left), _scalar(right)
    if kinds == ("", ""):
        raise EvaluationError(f"{at}: two arrays, objects or date-times cannot be compared")
    return kinds[0] == kinds[1] and bool(left == right)


def _scalar(value: Any) -> str:
    """The JSON type of a scalar, "" for all else."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "null" if value is None else ""


def spend(work: list[int], steps: int, at: str) -> None:
    """Takes steps from what is left; an error when there are none."""
    work[0] -= steps
    if work[0] < 0:
        raise EvaluationError(f"{at}: takes more than {WORK_MAX} steps")


def answer(value: Any, work: list[int], depth: int = 0) -> Json:
    """A copy that shares nothing with expression or data, date-times as text; an error when it is no JSON."""
    spend(work, 1, "$")
    if depth > DEPTH_MAX:
        raise EvaluationError(f"$: the answer is nested deeper than {DEPTH_MAX} levels")
    if type(value) is list:
        return [answer(each, work, depth + 1) for each in value]
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return {str.__str__(key): answer(each, work, depth + 1) for key, each in value.items()}
    return _scalar_answer(value)


def _scalar_answer(value: Any) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # also of a StrEnum
    if type(value) is DateTime:
        return text_of(value)
    if isinstance(value, float) and math.isfinite(value):
        return float(value)
    if isinstance(value, int) and abs(value) <= INTEGER_MAX:
        return int(value)
    raise EvaluationError("$: the answer is no JSON value, or an integer beyond 2^53 - 1")
