"""CertLogic's operations as one table: how many operands, which of them stand as written, and the code they become.

Operands arrive compiled. Closures run for every passenger, so their common case comes first and calls nothing of ours.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from gate.policy.certlogic import datetimes
from gate.policy.certlogic.datetimes import DateTime
from gate.policy.certlogic.values import (
    INTEGER_MAX,
    PLAIN,
    WORK_MAX,
    Code,
    EvaluationError,
    integer,
    same,
    spend,
    truth,
)

UVCI_MAX = 4096  # characters: no code or certificate that a scanner hands on is longer (issue 4, "up to 4 KB")
_INDEX = re.compile("[0-9]{1,9}")  # nine digits are more items than fit in memory


class Part(NamedTuple):
    """A compiled operand: its code, how many steps it takes once, and its value if that is the same for all data."""

    code: Code
    steps: int
    constant: bool = False
    value: Any = None


Build: TypeAlias = Callable[[list[Part], str], Code]


@dataclass(frozen=True, slots=True)
class Operation:
    """One row of the table."""

    least: int
    most: int
    build: Build  # raises ValueError or OverflowError when constant operands can have no value
    fixed: Mapping[int, str] = field(default_factory=dict)  # position -> "integer" or "unit": never evaluated


def var(path: str) -> Code:
    """Data access. One or two names into objects is what rules do, and goes without a loop."""
    parts = path.split(".") if path else []
    if not parts:
        return lambda data, work: data
    steps = tuple((part, int(part) if _INDEX.fullmatch(part) else -1) for part in parts)
    first, second = parts[0], parts[-1]

    def one(data: Any, work: list[int]) -> Any:
        return data.get(first) if type(data) is dict else _walk(data, steps)

    def two(data: Any, work: list[int]) -> Any:
        if type(data) is dict:
            inner = data.get(first)
            if type(inner) is dict:
                return inner.get(second)
        return _walk(data, steps)

    return {1: one, 2: two}.get(len(parts), lambda data, work: _walk(data, steps))


def _walk(value: Any, steps: tuple[tuple[str, int], ...]) -> Any:
    """Drills down; null where there is nothing."""
    for name, index in steps:
        if type(value) is dict:
            value = value.get(name)
        elif type(value) is list and 0 <= index < len(value):
            value = value[index]
        else:
            return None
    return value


def _if(parts: list[Part], at: str) -> Code:
    guard, then, otherwise = (part.code for part in parts)

    def run(data: Any, work: list[int]) -> Any:
        value = guard(data, work)
        return (then if (value if type(value) in PLAIN else truth(value, at)) else otherwise)(data, work)

    return run


def _and(parts: list[Part], at: str) -> Code:
    codes = tuple(part.code for part in parts)

    def run(data: Any, work: list[int]) -> Any:
        value = None
        for code in codes:
            value = code(data, work)
            if not (value if type(value) in PLAIN else truth(value, at)):
                return value
        return value

    return run


def _not(parts: list[Part], at: str) -> Code:
    operand = parts[0].code

    def run(data: Any, work: list[int]) -> bool:
        value = operand(data, work)
        return not (value if type(value) in PLAIN else truth(value, at))

    return run


def _equal(parts: list[Part], at: str) -> Code:
    left, right = (part.code for part in parts)

    def run(data: Any, work: list[int]) -> bool:
        one, other = left(data, work), right(data, work)
        return one == other if type(one) is str and type(other) is str else same(one, other, at)

    return run


def _in(parts: list[Part], at: str) -> Code:
    member, array = (part.code for part in parts)

    def run(data: Any, work: list[int]) -> bool:
        one, items = member(data, work), array(data, work)
        if type(items) is not list:
            raise EvaluationError(f"{at}: the second operand must be an array")
        work[0] -= len(items)
        if work[0] < 0:
            spend(work, 0, at)
        return one in items if type(one) is str else any(same(one, each, at) for each in items)

    return run


def _sum(parts: list[Part], at: str) -> Code:
    left, right = (part.code for part in parts)

    def run(data: Any, work: list[int]) -> int:
        total = integer(left(data, work), at) + integer(right(data, work), at)
        if abs(total) > INTEGER_MAX:
            raise EvaluationError(f"{at}: the sum is beyond 2^53 - 1")
        return total

    return run


def _moment(value: Any, at: str) -> DateTime:
    if type(value) is DateTime:
        return value
    raise EvaluationError(f"{at}: all operands must be date-times, as plusTime and dccDateOfBirth make them")


def _ordered(compare: Callable[[Any, Any], bool], kind: type, checked: Callable[[Any, str], Any]) -> Operation:
    """A comparison of two, or of three: (1 op 2) and (2 op 3)."""

    def build(parts: list[Part], at: str) -> Code:
        left, right = parts[0].code, parts[1].code

        def two(data: Any, work: list[int]) -> bool:
            one, other = left(data, work), right(data, work)
            if type(one) is kind and type(other) is kind:
                return compare(one, other)
            return compare(checked(one, at), checked(other, at))

        def three(data: Any, work: list[int]) -> bool:
            first, middle, last = (checked(part.code(data, work), at) for part in parts)
            return compare(first, middle) and compare(middle, last)

        return two if len(parts) == 2 else three

    return Operation(2, 3, build)


def _dated(convert: Callable[[str], DateTime], part: Part, at: str) -> Code:
    """Code of an operation on a date's text; a constant text is converted now, and a wrong one refused now."""
    if type(part.value) is str:
        moment = convert(part.value)
        return lambda data, work: moment
    operand = part.code

    def run(data: Any, work: list[int]) -> DateTime:
        text = operand(data, work)
        if not isinstance(text, str):
            raise EvaluationError(f"{at}: the date must be a string")
        try:
            return convert(text)
        except (ValueError, OverflowError):
            # The cause quotes the text, which may be a date of birth.
            raise EvaluationError(f"{at}: not an allowed date, or outside the years 1 to 9999") from None

    return run


def _plus_time(parts: list[Part], at: str) -> Code:
    amount, unit = int(parts[1].value), str(parts[2].value)
    return _dated(lambda text: datetimes.plus(datetimes.parse(text), amount, unit), parts[0], at)


def _birth(parts: list[Part], at: str) -> Code:
    return _dated(datetimes.birth, parts[0], at)


def _reduce(parts: list[Part], at: str) -> Code:
    operand, function, initial = parts
    price = function.steps

    def run(data: Any, work: list[int]) -> Any:
        items = operand.code(data, work)
        accumulator = initial.code(data, work)
        if items is None:
            return accumulator
        if type(items) is not list:
            raise EvaluationError(f"{at}: the first operand must be an array or null")
        for item in items:
            spend(work, price, at)
            accumulator = function.code({"accumulator": accumulator, "current": item}, work)
        return accumulator

    return run


def _extract(parts: list[Part], at: str) -> Code:
    operand, index = parts[0].code, int(parts[1].value)

    def run(data: Any, work: list[int]) -> str | None:
        text = operand(data, work)
        if text is None:
            return None
        if not isinstance(text, str) or len(text) > UVCI_MAX:
            raise EvaluationError(f"{at}: needs null or a string of at most {UVCI_MAX} characters")
        fragments = re.split("[/#:]", text.removeprefix("URN:UVCI:"))
        spend(work, len(fragments), at)
        return fragments[index] if 0 <= index < len(fragments) else None

    return run


OPERATIONS: Mapping[str, Operation] = {
    "if": Operation(3, 3, _if),
    "===": Operation(2, 2, _equal),
    "and": Operation(2, WORK_MAX, _and),
    ">": _ordered(operator.gt, int, integer),
    "<": _ordered(operator.lt, int, integer),
    ">=": _ordered(operator.ge, int, integer),
    "<=": _ordered(operator.le, int, integer),
    "in": Operation(2, 2, _in),
    "+": Operation(2, 2, _sum),
    "after": _ordered(operator.gt, DateTime, _moment),
    "before": _ordered(operator.lt, DateTime, _moment),
    "not-after": _ordered(operator.le, DateTime, _moment),
    "not-before": _ordered(operator.ge, DateTime, _moment),
    "!": Operation(1, 1, _not),
    "plusTime": Operation(3, 3, _plus_time, {1: "integer", 2: "unit"}),
    "dccDateOfBirth": Operation(1, 1, _birth),
    "reduce": Operation(3, 3, _reduce),
    "extractFromUVCI": Operation(2, 2, _extract, {1: "integer"}),
}
