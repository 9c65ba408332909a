"""Rules as data: `rule.toml` text in, checked values out. Which file they come from is the caller's business.

A rule says, from a date on, how statuses of different issuers are ranked, what each costs the passenger, when a feed
counts as aged or expired, and what each degraded cause does.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from gate.feed.finding import FreshnessLimits
from gate.feed.records import CredentialStatus
from gate.policy.condition import Cause
from gate.policy.verdict import Reason, VerdictKind

_KEYS = {"id", "source", "sentence", "valid_from", "valid_until", "repeat_after_s", "order"}
_TABLES = {"freshness", "status", "absent", "conditions"}
_HOUR_S = 3600.0


class RuleError(ValueError):
    """A rule file is not a rule; the text says where in it, what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a status costs: a verdict and the reason the passenger is given."""

    kind: VerdictKind
    reason: Reason


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in force from `valid_from` (inclusive) until `valid_until` (exclusive; None: until replaced)."""

    id: str
    valid_from: date
    valid_until: date | None
    limits: Mapping[str, FreshnessLimits]  # by "ISSUER/partition", by "ISSUER", and "" for all others
    order: tuple[CredentialStatus, ...]  # the first one found decides
    by_status: Mapping[CredentialStatus, Outcome]
    absent: Outcome  # every issuer's feed is there and none lists the subject
    refusing_causes: frozenset[Cause]  # present: GRANT becomes REFER with the cause as reason
    repeat_after_s: float  # anti-passback: the same traveller in the same direction sooner is refused

    def limits_of(self, issuer: str, partition: str) -> FreshnessLimits:
        """When what this issuer's partition said counts as aged and as expired; the closest that the rule names."""
        return self.limits.get(f"{issuer}/{partition}") or self.limits.get(issuer) or self.limits[""]

    def in_force(self, day: date) -> bool:
        """Whether the rule speaks on `day`."""
        return self.valid_from <= day and (self.valid_until is None or day < self.valid_until)


@dataclass(frozen=True, slots=True)
class RuleSet:
    """All rules of a station. At most one is in force on a day."""

    rules: tuple[Rule, ...]

    def on(self, day: date) -> Rule | None:
        """The rule in force, the latest first; None when no rule speaks."""
        speaking = [rule for rule in self.rules if rule.in_force(day)]
        return max(speaking, key=lambda rule: rule.valid_from, default=None)


def parse_rules(texts: Mapping[str, str]) -> RuleSet:
    """Rules from `rule.toml` texts by name. Raises RuleError naming the file and the place in it."""
    if not texts:
        raise RuleError("no rule.toml found: without a rule every passenger is referred to staff")
    rules = []
    for name, text in texts.items():
        try:
            rules.append(_parse_rule(tomllib.loads(text)))
        except (RuleError, tomllib.TOMLDecodeError) as error:
            raise RuleError(f"{name}: {error}") from error
    return RuleSet(tuple(rules))


def _parse_rule(raw: dict[str, Any]) -> Rule:
    unknown = set(raw) - _KEYS - _TABLES
    if unknown:
        raise RuleError(f"unknown key {sorted(unknown)[0]!r}; allowed are {', '.join(sorted(_KEYS | _TABLES))}")
    order = tuple(_member(CredentialStatus, name, "order") for name in _need(raw, "order", list))
    statuses = {
        _member(CredentialStatus, name, "status"): _outcome(fields, f"status.{name}")
        for name, fields in _need(raw, "status", dict).items()
    }
    missing = [status for status in CredentialStatus if status not in order or status not in statuses]
    if missing:
        raise RuleError(f"{missing[0]} must stand in both 'order' and 'status': no status may be left undecided")
    for status, outcome in statuses.items():
        if outcome.kind is VerdictKind.GRANT and status is not CredentialStatus.GREEN:
            raise RuleError(f"status.{status}: only GREEN may be granted")
    absent = _outcome(_need(raw, "absent", dict), "absent")
    if absent.kind is VerdictKind.GRANT:
        raise RuleError("absent: absence from a feed is never granted")
    freshness = _need(raw, "freshness", dict)
    return Rule(
        id=_need(raw, "id", str),
        valid_from=_need(raw, "valid_from", date),
        valid_until=raw.get("valid_until"),
        limits=_limits(freshness),
        order=order,
        by_status=statuses,
        absent=absent,
        refusing_causes=_refusing(raw.get("conditions", {})),
        repeat_after_s=float(_need(raw, "repeat_after_s", int)),
    )


def _need(raw: dict[str, Any], key: str, kind: type) -> Any:
    value = raw.get(key)
    if not isinstance(value, kind):
        raise RuleError(f"{key!r} must be given as a {kind.__name__}")
    return value


def _member(kind: Any, name: object, where: str) -> Any:
    try:
        return kind(name)
    except ValueError:
        raise RuleError(f"{where}: {name!r} is not one of {', '.join(kind)}") from None


def _outcome(fields: dict[str, Any], where: str) -> Outcome:
    if set(fields) != {"verdict", "reason"}:
        raise RuleError(f"{where}: needs exactly 'verdict' and 'reason'")
    return Outcome(_member(VerdictKind, fields["verdict"], where), _member(Reason, fields["reason"], where))


def _limits(raw: dict[str, Any]) -> dict[str, FreshnessLimits]:
    """[freshness] for all, [freshness.AKM] for an issuer, [freshness."AKM/340100"] for one of its partitions."""
    limits = {"": _two_limits("freshness", {name: value for name, value in raw.items() if not isinstance(value, dict)})}
    for name, of_one in raw.items():
        if isinstance(of_one, dict):
            if not re.fullmatch(r"[A-Z][A-Z0-9_]{1,15}(/[0-9]{6})?", name):
                raise RuleError(f"freshness: {name!r} is not ISSUER or ISSUER/partition (six digits)")
            limits[name] = _two_limits(f"freshness.{name}", of_one)
    return limits


def _two_limits(where: str, raw: dict[str, Any]) -> FreshnessLimits:
    if set(raw) != {"aged_after_h", "expired_after_h"}:
        raise RuleError(f"{where}: needs exactly 'aged_after_h' and 'expired_after_h'")
    aged, expired = raw["aged_after_h"], raw["expired_after_h"]
    if {type(aged), type(expired)} - {int, float} or not 0 < aged <= expired < math.inf:
        raise RuleError(f"{where}: needs hours 0 < aged_after_h <= expired_after_h")
    return FreshnessLimits(aged * _HOUR_S, expired * _HOUR_S)


def _refusing(raw: dict[str, Any]) -> frozenset[Cause]:
    refusing = set()
    for name, effect in raw.items():
        cause = _member(Cause, name, "conditions")
        if effect not in ("note", "refer"):
            raise RuleError(f"conditions.{name}: {effect!r} is not 'note' or 'refer'")
        if effect == "refer" and cause not in CAUSE_REASON:
            raise RuleError(f"conditions.{name}: only {', '.join(CAUSE_REASON)} can refer")
        if effect == "refer":
            refusing.add(cause)
    return frozenset(refusing)


# The causes that can cost a grant, and what the passenger is told then. The others concern one issuer or one device
# and reach the decision through its findings.
CAUSE_REASON: Mapping[Cause, Reason] = {
    Cause.CLOCK_UNTRUSTED: Reason.CLOCK_UNTRUSTED,
    Cause.JOURNAL_FULL: Reason.JOURNAL_FULL,
}
