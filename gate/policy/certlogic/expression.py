"""Reading a CertLogic expression: once over it, noting what is wrong with it and compiling what is right."""

from collections.abc import Callable
from typing import Any, TypeVar

from gate.policy.certlogic.datetimes import UNITS
from gate.policy.certlogic.operations import OPERATIONS, Operation, Part, var
from gate.policy.certlogic.values import DEPTH_MAX, INTEGER_MAX, WORK_MAX, EvaluationError, Failure, Json, answer, truth

TEXT_MAX = 4096  # characters of a literal: as long as the longest code that could be compared with it
PATH_MAX = 256  # characters of a data access: the suite's longest has 24
_SHOWN = 40  # characters of a wrong name that a problem quotes
_NOT_JSON = Failure("$: the data holds something that is no JSON value")


def evaluate(expression: object, data: object) -> Json | Failure:
    """The value of an expression in a data context. Never raises, whatever it is given."""
    return compiled(expression)(data)


def validate(expression: object) -> list[str]:
    """What is wrong with an expression: where, what, and what is allowed; [] when it is valid."""
    reading = _Reading()
    reading.part(expression, "$", 1)
    return reading.problems


def compiled(expression: object) -> Callable[[object], Json | Failure]:
    """The function that an expression is; of an invalid one, a function that always fails. It never raises."""
    return _guarded(expression, _value)


def condition(expression: object) -> Callable[[object], bool | Failure]:
    """Whether an expression is truthy in a data context, as a function; nothing is copied out. It never raises."""
    return _guarded(expression, _truth)


def _value(value: Any, work: list[int]) -> Json:
    return value if value is True or value is False else answer(value, work)


def _truth(value: Any, work: list[int]) -> bool:
    return value if value is True or value is False else truth(value, "$")


_T = TypeVar("_T")


def _guarded(expression: object, out: Callable[[Any, list[int]], _T]) -> Callable[[object], _T | Failure]:
    reading = _Reading()
    code = reading.part(expression, "$", 1).code
    if reading.problems:
        failure = Failure(reading.problems[0])
        return lambda data: failure

    def run(data: object) -> _T | Failure:
        work = [WORK_MAX]
        try:
            return out(code(data, work), work)
        except EvaluationError as error:
            return Failure(str(error))
        except Exception:  # JSON raises nothing else (a test proves it); an object with methods of its own may
            return _NOT_JSON

    return run


def _constant(value: Any, steps: int = 1) -> Part:
    return Part(lambda data, work: value, steps, True, value)


_NOTHING = _constant(None)  # stands where a problem was noted


class _Reading:
    """One expression being read, by exact type: tomllib and json make no others, and these run no code of others."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._parts = 0

    def part(self, expression: Any, at: str, depth: int) -> Part:
        """The compiled part at a place."""
        self._parts += 1
        if self._parts > WORK_MAX:
            # Said once; an expression that contains itself would otherwise be read for ever.
            return self._wrong(at, f"the expression has more than {WORK_MAX} parts", self._parts == WORK_MAX + 1)
        if depth > DEPTH_MAX:
            return self._wrong(at, f"nested deeper than {DEPTH_MAX} levels")
        if type(expression) is list:
            return self._array(expression, at, depth)
        if type(expression) is dict:
            return self._operation(expression, at, depth)
        return self._literal(expression, at)

    def _wrong(self, at: str, what: str, say: bool = True) -> Part:
        if say:
            self.problems.append(f"{at}: {what}")
        return _NOTHING

    def _literal(self, value: Any, at: str) -> Part:
        if type(value) is str:
            if len(value) > TEXT_MAX:
                return self._wrong(at, f"a string of more than {TEXT_MAX} characters")
            return _constant(value)
        if type(value) is bool:
            return _constant(value)
        if _is_integer(value):
            return _constant(int(value))
        allowed = f"integers up to 2^53 - 1 ({INTEGER_MAX}), strings, booleans, arrays and operations are"
        return self._wrong(at, f"{_name(value)} is not allowed; {allowed}")

    def _array(self, items: list[Any], at: str, depth: int) -> Part:
        parts = []
        for index, each in enumerate(items):
            parts.append(self.part(each, f"{at}[{index}]", depth + 1))
            if self._parts > WORK_MAX:
                break
        steps = 1 + sum(part.steps for part in parts)
        if all(part.constant for part in parts):
            return _constant([part.value for part in parts], steps)
        codes = [part.code for part in parts]
        return Part(lambda data, work: [code(data, work) for code in codes], steps)

    def _operation(self, expression: dict[Any, Any], at: str, depth: int) -> Part:
        if len(expression) != 1:
            return self._wrong(at, f"an operation has exactly one key, this has {len(expression)}")
        ((name, operands),) = expression.items()
        if type(name) is str and name == "var":
            return self._var(operands, at)
        if type(operands) is not list:
            return self._wrong(at, 'an operation has the form { "<operator>": [ <values...> ] }')
        row = OPERATIONS.get(name) if type(name) is str else None
        if row is None:
            known = ", ".join(["var", *OPERATIONS])
            return self._wrong(at, f"{_name(name)} is no operator; allowed are {known}")
        return self._row(row, operands, f"{at}.{name}", depth)

    def _var(self, path: Any, at: str) -> Part:
        if type(path) is not str:
            return self._wrong(at, 'data access has the form { "var": "<path>" }')
        if len(path) > PATH_MAX or (path and not all(path.split("."))):
            return self._wrong(f"{at}.var", f"a path is up to {PATH_MAX} characters, names with single dots between")
        return Part(var(path), 1)

    def _row(self, row: Operation, operands: list[Any], at: str, depth: int) -> Part:
        if not row.least <= len(operands) <= row.most:
            count = str(row.least) if row.least == row.most else f"{row.least} to {row.most}"
            return self._wrong(at, f"takes {count} operands, has {len(operands)}")
        before = len(self.problems)
        parts = [
            self._fixed(row.fixed[index], each, f"{at}[{index}]")
            if index in row.fixed
            else self.part(each, f"{at}[{index}]", depth + 1)
            for index, each in enumerate(operands)
        ]
        if len(self.problems) > before or self._parts > WORK_MAX:
            return _NOTHING
        try:
            return Part(row.build(parts, at), 1 + sum(part.steps for part in parts))
        except (ValueError, OverflowError):
            return self._wrong(at, "not an allowed date, or outside the years 1 to 9999")

    def _fixed(self, kind: str, value: Any, at: str) -> Part:
        """An operand that stands as written."""
        if kind == "integer" and not _is_integer(value):
            return self._wrong(at, "must be an integer, written as such")
        if kind == "unit" and not (type(value) is str and value in UNITS):
            return self._wrong(at, f"must be one of {', '.join(UNITS)}")
        return _constant(value)


def _is_integer(value: Any) -> bool:
    return (type(value) is int or (type(value) is float and value.is_integer())) and abs(value) <= INTEGER_MAX


def _name(value: Any) -> str:
    """What a wrong thing is called; a text is quoted, shortened."""
    if type(value) is str:
        return repr(value[:_SHOWN])
    names = {type(None): "null", float: "a number with decimals", int: "a larger integer"}
    return names.get(type(value), "what is no JSON value")
