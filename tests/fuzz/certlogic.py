"""Any expression and any data have a JSON value or fail; a text is a date in the years 1 to 9999 or none."""

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from gate.policy.certlogic import Failure, compiled, evaluate, operations, validate
from gate.policy.certlogic.operations import OPERATIONS
from tests.fuzz.mutate import altered

REACHES = operations
LEVELS = 6
EXPRESSIONS_MAX = 40  # of one input; each takes microseconds
_NOT_JSON = "$: the data holds something that is no JSON value"
_DATES = [b"2020-03-26T08:09:10.5+08:00", b"2020-02-29", b"2020-02", b"9999-12-31T23:59:59Z", b"0001-01-01"]
_SCALARS = [True, False, 0, 1, -1, 2**53 - 1, "", "ZJ", "URN:UVCI:01:NL:187/37512422923", "2020-02-29", "2020"]
_PATHS = ["", "a", "a.0", "says.GREEN", "says.RED", "items", "items.1", "current", "accumulator", "date", "a.b.c"]
_DATA: dict[str, Any] = {
    "a": {"b": {"c": 1}, "0": None},
    "says": {"GREEN": ["ZJ", "SSM", 1, None, [1]]},
    "items": [1, 2, 3],
    "date": "2020-03-26T08:09:10Z",
    "born": "2020-02",
    "share": 0.5,
}
_MOMENTS = tuple({"plusTime": [{"var": "date"}, days, "day"]} for days in (-1, 0, 1))
_INTEGERS = (1, 2, {"var": "items.0"}, 1.0, 2**53 - 1)
_TEXTS = ({"var": "date"}, {"var": "born"}, "2020-02", "2021-02-29")
_FITTING: dict[str, Sequence[Any]] = {
    **dict.fromkeys(("<", ">", "<=", ">=", "+"), _INTEGERS),
    **dict.fromkeys(("after", "before", "not-after", "not-before"), _MOMENTS),
    **dict.fromkeys(("plusTime", "dccDateOfBirth"), _TEXTS),
    "extractFromUVCI": [{"var": "date"}, {"var": "nothing"}],
    "reduce": [{"var": "items"}, {"+": [{"var": "accumulator"}, {"var": "current"}]}, 0],
    "in": [1, {"var": "says.GREEN"}, {"var": "items"}, ["ZJ"]],
}


def fuzz(data: bytes) -> None:
    chosen = iter(data)
    for _ in range(EXPRESSIONS_MAX):
        if next(chosen, None) is None:
            break
        _judged(_expression(chosen, LEVELS), _DATA if next(chosen, 0) % 8 else _scalar(chosen))
    _date(altered(_DATES, data).decode("latin-1"), data)


def _judged(expression: Any, context: Any) -> None:
    problems, answer = validate(expression), compiled(expression)(context)
    if isinstance(answer, Failure):
        assert answer.why != _NOT_JSON
        assert not problems or answer.why == problems[0]
    else:
        assert not problems
        json.dumps(answer, allow_nan=False)


def _date(text: str, data: bytes) -> None:
    amount = int.from_bytes(data[:2], "big", signed=True)
    for unit in ("year", "month", "day", "hour"):
        moved = evaluate({"plusTime": [{"var": ""}, amount, unit]}, text)
        assert isinstance(moved, Failure) or (isinstance(moved, str) and len(moved) == 24)


def _expression(chosen: Iterator[int], levels: int) -> Any:
    """An expression as the bytes choose: mostly a right one, whose operands are of any type."""
    kind = next(chosen, 0)
    if levels == 0 or kind < 90:
        return {"var": _PATHS[kind % len(_PATHS)]} if kind % 3 else _scalar(chosen)
    if kind < 110:
        return [_expression(chosen, levels - 1) for _ in range(kind % 4)]
    name = list(OPERATIONS)[kind % len(OPERATIONS)]
    row = OPERATIONS[name]
    count = min(row.most, row.least + next(chosen, 0) % 2)
    operands = [_operand(name, chosen, levels - 1) for _ in range(count)]
    for index, what in row.fixed.items():
        operands[index] = next(chosen, 0) % 7 - 1 if what == "integer" else ["year", "month", "day", "hour"][kind % 4]
    return {name: operands[:-1] if kind == 255 else operands}


def _operand(name: str, chosen: Iterator[int], levels: int) -> Any:
    """Half of them of a type that the operation takes."""
    if next(chosen, 0) % 2 and name in _FITTING:
        return _FITTING[name][next(chosen, 0) % len(_FITTING[name])]
    return _expression(chosen, levels)


def _scalar(chosen: Iterator[int]) -> Any:
    kind = next(chosen, 0)
    return [*_SCALARS, None, 0.5, math.pi, 10**30][kind % (len(_SCALARS) + 4)]
