"""CertLogic: the specification's own suites, and that no expression and no data make it raise, run on or tell."""

import copy
import itertools
import json
import operator
import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.policy.certlogic import Failure, compiled, condition, evaluate, validate
from gate.policy.certlogic.expression import PATH_MAX, TEXT_MAX
from gate.policy.certlogic.operations import OPERATIONS, UVCI_MAX
from gate.policy.certlogic.values import DEPTH_MAX, INTEGER_MAX, WORK_MAX
from gate.policy.verdict import VerdictKind
from tests.support import certlogic

ASSERTIONS = certlogic.assertions()
JUDGEMENTS = certlogic.judgements()
NOT_JSON = "$: the data holds something that is no JSON value"
NEVER_TOLD = "LI MEI 310105199001010018"


# The specification's suites


def test_the_suites_are_whole() -> None:
    """218 active assertions and 23 validator cases are there: a lost file is noticed."""
    if not certlogic.SUITES.is_dir():
        reason = f"{certlogic.SUITES} is not there: set GATE_TEST_DATA to the folder of shared test data"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    assert (len(ASSERTIONS), len(JUDGEMENTS)) == (218, 23)
    assert certlogic.counts() == {"assertions": (218, 218), "validator": (23, 23)}


@pytest.mark.parametrize("assertion", ASSERTIONS, ids=lambda each: each.name)
def test_an_assertion_of_the_suite_holds(assertion: certlogic.Assertion) -> None:
    """The expression has the value that the specification's suite expects, of the same JSON type."""
    assert json.dumps(evaluate(assertion.expression, assertion.data)) == json.dumps(assertion.expected)
    assert validate(assertion.expression) == []


@pytest.mark.parametrize("assertion", ASSERTIONS, ids=lambda each: each.name)
def test_a_condition_is_the_truth_of_the_value(assertion: certlogic.Assertion) -> None:
    """True and False as the specification has truthy and falsy; what is neither, a date-time, is a Failure."""
    value = evaluate(assertion.expression, assertion.data)
    told = condition(assertion.expression)(assertion.data)
    if isinstance(told, Failure):
        assert isinstance(value, str | float)
        assert "truthy" in told.why
    else:
        assert told is bool(value)


@pytest.mark.parametrize("case", JUDGEMENTS, ids=lambda each: each.name)
def test_the_validator_judges_as_the_suite_does(case: certlogic.Judgement) -> None:
    """As many problems as the suite names, each with its place; what is invalid has no value."""
    problems = validate(case.expression)
    assert len(problems) == len(case.issues)
    assert all(problem.startswith("$") for problem in problems)
    if problems:
        assert evaluate(case.expression, {}) == Failure(problems[0])


# Any JSON


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc01") | st.text(max_size=3), inner),
    max_leaves=12,
)
paths = st.sampled_from(["", "a", "b", "a.b", "a.0", "0", "1", "a.b.c", "current", "accumulator", "current.a"])
dates = st.sampled_from(["2020", "2020-02", "2020-02-29", "2020-03-26T08:00:00+8", "9999-12-31", "0001-01-01", "x"])


def _operations(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Valid operations on valid operands; also of types that they do not fit."""
    dated = inner | dates.filter(lambda text: text != "x")
    rows = [
        st.tuples(dated, st.integers(-30, 30), st.sampled_from(["year", "month", "day", "hour"])).map(
            lambda row: {"plusTime": list(row)}
        ),
        st.tuples(inner, st.integers(-1, 5)).map(lambda row: {"extractFromUVCI": list(row)}),
        inner.filter(lambda part: type(part) is not str).map(lambda part: {"dccDateOfBirth": [part]}),
    ]
    for name, row in OPERATIONS.items():
        if name not in ("plusTime", "extractFromUVCI", "dccDateOfBirth"):
            operands = st.lists(inner, min_size=row.least, max_size=min(row.most, 4))
            rows.append(operands.map(lambda parts, name=name: {name: parts}))
    return st.one_of(rows) | st.lists(inner, max_size=4)


literals = st.booleans() | st.integers(-9, 9) | st.text(max_size=4) | paths.map(lambda path: {"var": path})
expressions = st.recursive(literals, _operations, max_leaves=15).filter(lambda each: validate(each) == [])
# Operators with any JSON behind them: expressions that are nearly right.
nearly = st.recursive(
    json_values,
    lambda inner: st.dictionaries(
        st.sampled_from(["var", *OPERATIONS]), inner | st.lists(inner, max_size=4), max_size=1
    ),
    max_leaves=15,
)


def _is_json(value: Any) -> bool:
    return json.loads(json.dumps(value, allow_nan=False)) == value


@given(expressions, json_values)
@settings(max_examples=400, deadline=None)
def test_a_valid_expression_has_a_json_value_or_fails(expression: Any, data: Any) -> None:
    """No exception inside either, inputs unchanged, the same answer twice from one compiled function."""
    before = copy.deepcopy((expression, data))
    function = compiled(expression)
    answer = function(data)
    assert (expression, data) == before
    if isinstance(answer, Failure):
        assert answer.why != NOT_JSON
        assert answer == function(data)
    else:
        assert _is_json(answer)
        assert json.dumps(answer) == json.dumps(function(data))


@given(nearly, json_values)
@settings(max_examples=400, deadline=None)
def test_any_json_as_expression_is_judged_without_an_exception(expression: Any, data: Any) -> None:
    """The validator finds a problem, and the evaluator fails with it, or there is a JSON value or a failure."""
    problems, answer = validate(expression), evaluate(expression, data)
    if problems:
        assert answer == Failure(problems[0])
    else:
        assert isinstance(answer, Failure) or _is_json(answer)


class Hostile(str):
    """A text with methods that raise."""

    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError(NEVER_TOLD)


class HostileList(list[Any]):
    """No list: its length raises."""

    def __len__(self) -> int:
        raise RuntimeError(NEVER_TOLD)


NOT_JSON_VALUES = [
    float("nan"), float("inf"), -float("inf"), 10**5000, 1e300, object(), Decimal(1), b"x", (1, 2), {1: 2}, {(): 1},
    datetime(2020, 1, 1, tzinfo=UTC), Hostile("x"), HostileList([1]), [Hostile("x")], {"a": Hostile("x")}, "\ud800",
    {"a": object()}, [float("nan")], lambda: 1, Failure("x"),
]  # fmt: skip


@pytest.mark.parametrize("value", NOT_JSON_VALUES, ids=lambda each: type(each).__name__)
def test_what_is_no_json_never_raises(value: Any) -> None:
    """As expression, as data and below every operation: a value or a failure, and never what it says."""
    probes: list[Any] = [{"var": ""}, {"var": "a"}, {"var": "0"}, {"var": value}, value, [value]]
    for name, row in OPERATIONS.items():
        operand: dict[str, Any] = {"var": ""}
        probes.append({name: [*[operand] * (row.least - len(row.fixed)), 1, "day"][: row.least]})
        probes.append({name: [value] * row.least})
        probes.append({name: value})
    probes.append({"in": ["x", [{"var": ""}, 1]]})
    for probe in probes:
        for data in (value, [value], {"a": value}):
            answer = evaluate(probe, data)
            assert isinstance(answer, Failure) or json.dumps(answer, allow_nan=False)
            assert NEVER_TOLD not in repr(answer)
        assert isinstance(validate(probe), list)


@pytest.mark.parametrize(
    "expression",
    [
        {"+": [{"var": "name"}, 1]},
        {"<": [{"var": "name"}, 1]},
        {"after": [{"var": "name"}, {"plusTime": ["2020-01-01", 0, "day"]}]},
        {"in": [1, {"var": "name"}]},
        {"plusTime": [{"var": "name"}, 0, "day"]},
        {"dccDateOfBirth": [{"var": "name"}]},
        {"reduce": [{"var": "name"}, 1, 2]},
        {"!": [{"var": "share"}]},
        {"===": [{"var": "many"}, {"var": "many"}]},
        {"extractFromUVCI": [{"var": "many"}, 0]},
        {"var": "thing"},
    ],
)
def test_a_failure_never_quotes_data(expression: Any) -> None:
    """Why there is no answer names a place of the rule; nobody's name or number stands in it."""
    data = {"name": NEVER_TOLD, "share": 0.5, "many": [NEVER_TOLD], "thing": {NEVER_TOLD: float("nan")}}
    answer = evaluate(expression, data)
    assert isinstance(answer, Failure)
    assert answer.why.startswith("$")
    assert not any(part in answer.why for part in NEVER_TOLD.split())


def test_a_failure_is_false_and_a_text_of_an_enum_is_a_text() -> None:
    """`if when(data)` does not speak on a failure; statuses may be handed in as the enums that they are."""
    assert not Failure("why")
    answer = evaluate([{"var": "kind"}, {"in": [{"var": "kind"}, ["GRANT"]]}], {"kind": VerdictKind.GRANT})
    assert answer == ["GRANT", True]
    assert type(answer) is list
    assert type(answer[0]) is str


def test_an_answer_shares_nothing_with_rule_or_data() -> None:
    """Whoever changes an answer changes neither the data nor the next answer."""
    data = {"a": [1]}
    function = compiled([{"var": "a"}, ["b"]])
    first = function(data)
    assert isinstance(first, list)
    for part in first:
        assert isinstance(part, list)
        part.append("changed")
    assert data == {"a": [1]}
    assert function(data) == [[1], ["b"]]


# Conditions, equality, comparison


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (False, "F"), (None, "F"), ("", "F"), (0, "F"), ([], "F"), ({}, "F"), (0.0, "F"),
        (True, "T"), ("0", "T"), (-1, "T"), ([0], "T"), ({"a": None}, "T"), (1.0, "T"), (10**30, "T"),
    ],
)  # fmt: skip
def test_truthy_and_falsy(value: Any, expected: str) -> None:
    """`if`, `!` and `and` agree on the values of section "Truthy and falsy values"."""
    assert evaluate({"if": [{"var": ""}, "T", "F"]}, value) == expected
    assert evaluate({"!": [{"var": ""}]}, value) is (expected == "F")
    assert evaluate({"and": [{"var": ""}, True]}, value) == (True if expected == "T" else value)


@pytest.mark.parametrize("condition", [{"var": "share"}, {"plusTime": ["2020", 0, "day"]}])
def test_what_is_neither_truthy_nor_falsy_is_an_error(condition: Any) -> None:
    """A number with decimals and a date-time: for every operation that asks, also as the last operand of `and`."""
    for expression in (
        {"if": [condition, 1, 2]},
        {"!": [condition]},
        {"and": [condition, True]},
        {"and": [True, condition]},
    ):
        assert isinstance(evaluate(expression, {"share": 0.5}), Failure), expression


def test_if_and_and_are_lazy() -> None:
    """Of `if` one branch is evaluated, of `and` nothing after the first falsy: the other would fail."""
    fails = {"in": [1, {"var": "nothing"}]}
    assert isinstance(evaluate(fails, {}), Failure)
    assert evaluate({"if": [True, "then", fails]}, {}) == "then"
    assert evaluate({"if": [False, fails, "else"]}, {}) == "else"
    assert evaluate({"and": [True, 0, fails]}, {}) == 0
    assert isinstance(evaluate({"and": [True, 1, fails]}, {}), Failure)


SCALARS = [None, True, False, 0, 1, 2, "", "0", "1", "true"]


@pytest.mark.parametrize("left", SCALARS, ids=repr)
def test_equality_and_membership_do_not_coerce(left: Any) -> None:
    """`===` and `in` hold for the same value of the same JSON type only: 1 is not true, 0 is not ""."""
    for right in SCALARS:
        is_same = json.dumps(left) == json.dumps(right)
        assert evaluate({"===": [{"var": "0"}, {"var": "1"}]}, [left, right]) is is_same
        assert evaluate({"in": [{"var": "0"}, {"var": "1"}]}, [left, [right]]) is is_same
    assert evaluate({"===": [{"var": "0"}, {"var": "1"}]}, [left, [left]]) is False
    assert evaluate({"in": [{"var": "0"}, {"var": "1"}]}, [left, [[left]]]) is False


def test_equality_of_composites_is_an_error() -> None:
    """ "Reliable on strings and integers": platforms differ on arrays and date-times, so that a rule may not ask."""
    moment = {"plusTime": ["2020", 0, "day"]}
    for pair in (["a"], ["a"]), ({"var": ""}, {"var": ""}), (moment, moment):
        assert isinstance(evaluate({"===": list(pair)}, {"x": 1}), Failure)


ORDERS = {
    (">", "after"): operator.gt, ("<", "before"): operator.lt,
    (">=", "not-before"): operator.ge, ("<=", "not-after"): operator.le,
}  # fmt: skip


@pytest.mark.parametrize("names", ORDERS)
def test_comparisons_of_two_and_three(names: tuple[str, str]) -> None:
    """(1 op 2) and (2 op 3), for integers and for date-times, over every arrangement of equal and unequal."""
    for numbers in (*itertools.product((1, 2, 3), repeat=2), *itertools.product((1, 2, 3), repeat=3)):
        expected = all(ORDERS[names](one, other) for one, other in itertools.pairwise(numbers))
        assert evaluate({names[0]: list(numbers)}, None) is expected
        days = [{"plusTime": [{"var": ""}, number, "day"]} for number in numbers]
        assert evaluate({names[1]: days}, "2020-01-01") is expected


@pytest.mark.parametrize("wrong", [True, "1", None, 0.5, [1]], ids=repr)
def test_comparisons_want_integers_and_nothing_else(wrong: Any) -> None:
    """One operand of another type is an error wherever it stands, also where the answer would be false without it."""
    for name in (">", "<", ">=", "<="):
        assert isinstance(evaluate({name: [{"var": ""}, 1]}, wrong), Failure)
        assert isinstance(evaluate({name: [1, 1, {"var": ""}]}, wrong), Failure)
    assert isinstance(evaluate({"+": [1, {"var": ""}]}, wrong), Failure)
    assert isinstance(evaluate({"after": [{"plusTime": ["2020", 0, "day"]}, {"var": ""}]}, wrong), Failure)


# Data access, reduce, UVCI


def test_data_access() -> None:
    """Names, indices, and null wherever there is nothing, into whatever the path leads."""
    data = {"a": {"b": {"c": 1}, "0": "name"}, "list": [[10, 11], 12], "text": "abc", "": 5}
    for path, expected in {
        "a.b.c": 1, "a.b.x": None, "a.0": "name", "list.0.1": 11, "list.1": 12, "list.2": None, "list.-1": None,
        "list.x": None, "list.99999999999999999999": None, "text.0": None, "text.length": None, "a.b.c.d.e": None,
        "list.00001": 12, "x.y": None,
    }.items():  # fmt: skip
        assert evaluate({"var": path}, data) == expected, path
    assert evaluate({"var": ""}, data) == data


def test_reduce_sees_its_own_context_only() -> None:
    """The function's data are `accumulator` and `current`, whatever the data outside call so; inner shadows outer."""
    data = {"items": [1, 2, 3], "current": "outside", "accumulator": "outside", "x": 7}
    seen = {"reduce": [{"var": "items"}, [{"var": "accumulator"}, {"var": "current"}, {"var": "x"}], "start"]}
    assert evaluate(seen, data) == [[["start", 1, None], 2, None], 3, None]
    inner = {"reduce": [[10], {"var": "current"}, 0]}
    assert evaluate({"reduce": [{"var": "items"}, [{"var": "current"}, inner], 0]}, data) == [3, 10]
    assert evaluate({"reduce": [{"var": "items"}, 1, {"var": "x"}]}, {"items": [], "x": 7}) == 7
    assert isinstance(evaluate({"reduce": [{"var": "x"}, 1, 2]}, data), Failure)


def test_uvci_fragments() -> None:
    """The specification's string of 6 fragments, with and without the prefix; what is no text is an error."""
    for prefix in ("", "URN:UVCI:"):
        found = [evaluate({"extractFromUVCI": [{"var": ""}, index]}, prefix + "a::c/#/f") for index in range(-1, 7)]
        assert found == [None, "a", "", "c", "", "", "f", None]
    for wrong in (1, ["a"], {}, False, "a" * (UVCI_MAX + 1)):
        assert isinstance(evaluate({"extractFromUVCI": [{"var": ""}, 0]}, wrong), Failure)


# Limits


def nested(levels: int) -> Any:
    """An expression of so many levels, made without recursion."""
    expression: Any = True
    for _ in range(levels - 1):
        expression = {"!": [expression]}
    return expression


def test_depth_is_bounded() -> None:
    """64 levels are evaluated, 65 are a problem, and 100,000 as well: no recursion reaches Python's limit."""
    assert isinstance(evaluate(nested(DEPTH_MAX), {}), bool)
    for levels in (DEPTH_MAX + 1, 100_000):
        (problem,) = validate(nested(levels))
        assert "nested deeper than 64 levels" in problem
        assert isinstance(evaluate(nested(levels), {}), Failure)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for expression in ({"var": ""}, {"===": [{"var": ""}, {"var": ""}]}, {"in": [{"var": ""}, {"var": ""}]}):
        assert isinstance(evaluate(expression, deep), Failure)


def test_an_expression_that_contains_itself_is_refused() -> None:
    """Reading ends, after as many parts as an expression may have."""
    wide: list[Any] = []
    wide += [wide, wide]
    loop: dict[str, Any] = {"and": [True]}
    loop["and"] += [loop] * 1000
    for expression in (wide, loop):
        assert validate(expression)
        assert isinstance(evaluate(expression, {}), Failure)
        assert isinstance(evaluate({"var": ""}, expression), Failure)


def test_size_is_bounded() -> None:
    """The largest text, path, integer and list are valid, one more of each is a problem that names the limit."""
    for largest, more, limit in (
        ("a" * TEXT_MAX, "a" * (TEXT_MAX + 1), TEXT_MAX),
        ({"var": "a" * PATH_MAX}, {"var": "a" * (PATH_MAX + 1)}, PATH_MAX),
        (INTEGER_MAX, INTEGER_MAX + 1, INTEGER_MAX),
        (-INTEGER_MAX, -(10**5000), INTEGER_MAX),
        ([1] * (WORK_MAX - 1), [1] * WORK_MAX, WORK_MAX),
    ):
        assert validate(largest) == []
        (problem,) = validate(more)
        assert str(limit) in problem
    assert evaluate({"+": [{"var": ""}, 1]}, INTEGER_MAX - 1) == INTEGER_MAX
    assert isinstance(evaluate({"+": [{"var": ""}, 1]}, INTEGER_MAX), Failure)
    assert isinstance(evaluate({"<": [0, {"+": [{"var": ""}, 1]}]}, INTEGER_MAX), Failure)


ITEMS = {"var": "items"}
BOMBS: dict[str, Any] = {
    "a sum over too many items": {"reduce": [ITEMS, {"+": [{"var": "accumulator"}, {"var": "current"}]}, 0]},
    "three reductions inside each other": {
        "reduce": [
            ITEMS,
            {"reduce": [[1] * 100, {"reduce": [[1] * 100, {"+": [1, {"var": "accumulator"}]}, 0]}, 0]},
            0,
        ]
    },
    "an accumulator that doubles": {"reduce": [ITEMS, [{"var": "accumulator"}, {"var": "accumulator"}], 0]},
    "an accumulator that deepens": {"reduce": [ITEMS, {"var": ""}, 0]},
    "a search for each item": {"reduce": [ITEMS, {"in": [1, {"var": "current"}]}, 0]},
    "fragments for each item": {"reduce": [ITEMS, {"extractFromUVCI": [":" * 4000, 1]}, 0]},
}


@pytest.mark.parametrize(
    ("name", "items"),
    [
        ("a sum over too many items", [1] * 5000),
        ("three reductions inside each other", [1] * 50),
        ("an accumulator that doubles", [1] * 22),
        ("an accumulator that deepens", [1] * 100),
        ("a search for each item", [[0] * 1000] * 20),
        ("fragments for each item", [1] * 20),
    ],
)
def test_work_is_bounded(name: str, items: list[Any]) -> None:
    """An expression that would run on, or whose answer would fill memory, fails instead; the next call is fresh."""
    assert validate(BOMBS[name]) == []
    function = compiled(BOMBS[name])
    answer = function({"items": items})
    assert isinstance(answer, Failure)
    assert "steps" in answer.why or "deeper" in answer.why
    assert function({"items": []}) == 0


# The validator


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_its_number_of_operands(name: str) -> None:
    """One operand too few or too many is a problem at the operation, and only there."""
    row = OPERATIONS[name]
    operands: list[Any] = [{"var": "a"}, 1, "day"] if row.fixed else [{"var": "a"}] * row.least
    assert validate({name: operands[: row.least]}) == []
    for wrong in (operands[: row.least - 1], [{"var": "a"}] * (row.most + 1)):
        (problem,) = validate({name: wrong})
        assert problem.startswith(f"$.{name}")
        assert f"has {len(wrong)}" in problem


def test_problems_name_their_place_and_what_is_allowed() -> None:
    """All of them in one go, in the order of the text."""
    expression = {
        "and": [
            {"or": [True, False]},
            {"plusTime": [{"var": "a..b"}, "1", "week"]},
            {"if": [True, [1, 2.5], {"plusTime": ["2021-02-29", 0, "day"]}]},
            {"!": {"var": "a"}},
            {"x" * 5000: []},
        ]
    }
    problems = validate(expression)
    places = ["$.and[0]", "$.and[1].plusTime[0].var", "$.and[1].plusTime[1]", "$.and[1].plusTime[2]"]
    places += ["$.and[2].if[1][1]", "$.and[2].if[2].plusTime", "$.and[3]", "$.and[4]"]
    assert [problem.split(": ")[0] for problem in problems] == places
    assert "reduce" in problems[0]
    assert "year, month, day, hour" in problems[3]
    assert max(map(len, problems)) < 300
