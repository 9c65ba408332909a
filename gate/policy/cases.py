"""Cases beside a rule: what is known, the clock as input, and what must be decided. `gate check-rules` runs them.

    [[case]]
    says = "a green of any Delta issuer passes"
    at = 2020-04-01T08:00:00Z
    region = "330100"                    # of the station; absent: one of Hangzhou
    presented = "CODE"                   # absent: CARD; beside it code_issuer, code_form, …
    findings = [{ issuer = "SSM", status = "GREEN", age_h = 1 }]
    conditions = ["CLOCK_UNTRUSTED"]
    verdict = "GRANT"
    reason = "STATUS_GREEN"
    rule = "delta/green"                 # which rule must have decided; absent: any

A finding is Listed with `status`, Enrolled with `enrolled = true` as well, Answered with `answered = true`, NotListed
with `absent = true`, NotCovered with `uncovered`, Unknown with `missing`, Rejected with `rejected`, Unanswered with
`unanswered`, Certified with `certified = true`; `partition` names whose age it is. Hours may be fractions.
"""

import tomllib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gate.feed.finding import (
    Answered,
    Certified,
    Enrolled,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Rejected,
    Rejection,
    Silence,
    Unanswered,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.condition import Cause, Condition
from gate.policy.decide import decide
from gate.policy.question import Circumstances, Question, circumstances_from
from gate.policy.rules import RuleError, RuleSet
from gate.policy.verdict import Reason, Verdict, VerdictKind

_HOUR_S = 3600.0
_REGION = "330100"
_GIVEN = frozenset(
    {
        "presented", "code_issuer", "code_form", "code_needs_card", "age_group", "guardian", "region", "day",
        "temperature", "card_scheme", "card_refused",
    }
)  # fmt: skip
_CASE = frozenset({"says", "at", "findings", "conditions", "verdict", "reason", "rule"}) | _GIVEN
_FINDING = frozenset(
    {
        "issuer", "status", "age_h", "valid_for_h", "enrolled", "answered", "absent", "uncovered", "missing",
        "rejected", "unanswered", "certified", "partition", "asserted_by", "residence",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One expectation, with the sentence that it stands for."""

    says: str
    at: Moment
    question: Question
    verdict: VerdictKind
    reason: Reason
    rule_id: str  # "": any

    def decided(self, rules: RuleSet) -> Verdict:
        """What the rules make of it."""
        return decide(self.question, rules, self.at)

    def problem(self, rules: RuleSet) -> str:
        """What is decided otherwise; "" when it is as expected."""
        decided = self.decided(rules)
        by = decided.rule_id if self.rule_id else ""
        if (decided.kind, decided.reason, by) == (self.verdict, self.reason, self.rule_id):
            return ""
        spoken = ", ".join(map(str, decided.spoken))
        return (
            f"{self.says}: decided {decided.kind} {decided.reason} by {decided.rule_id or 'no rule'}, expected "
            f"{self.verdict} {self.reason}{f' by {self.rule_id}' if self.rule_id else ''}; spoke: {spoken or 'none'}"
        )


def parse_cases(text: str, name: str) -> list[Case]:
    """The cases in a `cases.toml`. Raises RuleError naming the case and what is wrong."""
    cases = []
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RuleError(f"{name}: {error}") from error
    rows = raw.get("case")
    if set(raw) != {"case"} or not isinstance(rows, list):  # a mistyped [[cases]] would check nothing
        raise RuleError(f"{name}: needs [[case]] tables and nothing else")
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
    question = Question(findings, conditions, _given(row))
    return Case(row["says"], now, question, VerdictKind(row["verdict"]), Reason(row["reason"]), row.get("rule", ""))


def _given(row: dict[str, Any]) -> Circumstances:
    return circumstances_from({"region": _REGION} | {key: row[key] for key in _GIVEN & row.keys()})


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
    if "rejected" in row:
        return Rejected(issuer, Rejection(row["rejected"]))
    if "unanswered" in row:
        return Unanswered(issuer, Silence(row["unanswered"]))
    freshness = Freshness(now.utc_s - float(row["age_h"]) * _HOUR_S, row.get("partition", ""))
    if row.get("absent"):
        return NotListed(issuer, 1, freshness)
    if "uncovered" in row:
        return NotCovered(issuer, 1, freshness, Uncovered(row["uncovered"]))
    hours = row.get("valid_for_h")
    until = None if hours is None else int(now.utc_s + float(hours) * _HOUR_S)
    if row.get("certified"):
        return Certified(issuer, str(row.get("asserted_by", "330106")), until or 0, freshness)
    return _told(row, issuer, until, freshness)


def _told(row: dict[str, Any], issuer: str, until: int | None, freshness: Freshness) -> Finding:
    kind = Answered if row.get("answered") else Enrolled if row.get("enrolled") else Listed
    return kind(
        issuer=issuer,
        status=CredentialStatus(row["status"]),
        asserted_by=str(row.get("asserted_by", "000000")),
        effective_utc_s=int(freshness.as_of_utc_s),
        valid_until_utc_s=until,
        sequence=1,
        freshness=freshness,
        residence=str(row.get("residence", "")),
    )
