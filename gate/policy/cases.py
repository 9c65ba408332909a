"""Cases beside a rule: what is known, the clock as input, and what must be decided. `gate check-rules` runs them.

    [[case]]
    says = "a green of any Delta issuer passes"
    at = 2020-04-01T08:00:00Z
    findings = [{ issuer = "SSM", status = "GREEN", age_h = 1 }]
    verdict = "GRANT"
    reason = "STATUS_GREEN"

A finding is Listed with `status`, Enrolled with `enrolled = true` as well, NotListed with `absent = true`, NotCovered
with `uncovered`, or Unknown with `missing`; `partition` names whose age it is. Hours may be fractions.
"""

import tomllib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gate.feed.finding import (
    Enrolled,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.condition import Cause, Condition
from gate.policy.decide import Question, decide
from gate.policy.rules import RuleError, RuleSet
from gate.policy.verdict import Reason, VerdictKind

_HOUR_S = 3600.0
_CASE = frozenset({"says", "at", "findings", "conditions", "verdict", "reason"})
_FINDING = frozenset(
    {"issuer", "status", "age_h", "valid_for_h", "enrolled", "absent", "uncovered", "missing", "partition"}
)


@dataclass(frozen=True, slots=True)
class Case:
    """One expectation, with the sentence that it stands for."""

    says: str
    at: Moment
    question: Question
    verdict: VerdictKind
    reason: Reason

    def problem(self, rules: RuleSet) -> str:
        """What is decided otherwise; "" when it is as expected."""
        decided = decide(self.question, rules, self.at)
        if (decided.kind, decided.reason) == (self.verdict, self.reason):
            return ""
        return f"{self.says}: decided {decided.kind} {decided.reason}, expected {self.verdict} {self.reason}"


def parse_cases(text: str, name: str) -> list[Case]:
    """The cases in a `cases.toml`. Raises RuleError naming the case and what is wrong."""
    cases = []
    try:
        rows = tomllib.loads(text).get("case", [])
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"{name}: {error}") from error
    if not isinstance(rows, list):
        raise RuleError(f"{name}: 'case' must be [[case]] tables")
    for number, row in enumerate(rows, 1):
        try:
            cases.append(_case(row))
        except (KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
            raise RuleError(f"{name}: case {number}: {type(error).__name__}: {error}") from error
    return cases


def _case(row: dict[str, Any]) -> Case:
    _only(row, _CASE)
    at: datetime = row["at"]
    if at.tzinfo is None:
        raise ValueError("'at' needs its offset, e.g. 2020-04-01T08:00:00Z")
    now = Moment(at.timestamp(), 0.0)
    findings = tuple(_finding(finding, now) for finding in row.get("findings", ()))
    conditions = frozenset(Condition(Cause(cause)) for cause in row.get("conditions", ()))
    question = Question(findings, conditions)
    return Case(row["says"], now, question, VerdictKind(row["verdict"]), Reason(row["reason"]))


def _only(row: dict[str, Any], allowed: frozenset[str]) -> None:
    """A mistyped key would be another case than the one its sentence promises."""
    unknown = sorted(set(row) - allowed)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; allowed are {', '.join(sorted(allowed))}")


def _finding(row: dict[str, Any], now: Moment) -> Finding:
    _only(row, _FINDING)
    issuer = str(row["issuer"])
    if "missing" in row:
        return Unknown(issuer, Missing(row["missing"]))
    freshness = Freshness(now.utc_s - float(row["age_h"]) * _HOUR_S, row.get("partition", ""))
    if row.get("absent"):
        return NotListed(issuer, 1, freshness)
    if "uncovered" in row:
        return NotCovered(issuer, 1, freshness, Uncovered(row["uncovered"]))
    until = row.get("valid_for_h")
    return (Enrolled if row.get("enrolled") else Listed)(
        issuer,
        CredentialStatus(row["status"]),
        "000000",
        int(freshness.as_of_utc_s),
        None if until is None else int(now.utc_s + float(until) * _HOUR_S),
        1,
        freshness,
    )
