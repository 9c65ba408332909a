"""Rules as data: `rule.toml` text in, checked values out. Which file they come from is the caller's business.

id = "delta/green"                  # the folder that it stands in
version = "1.0.0"
issuer = "…"                        # who made the rule
source = "…"                        # where it is written
valid_from = 2020-03-26
valid_until = 2022-12-07            # exclusive; absent: until it is taken away
regions = ["31", "32"]              # stations where it holds, GB/T 2260 prefixes; absent: everywhere
counts = ["SSM", "ZJ"]              # issuers whose word it counts; absent: everybody's
when = '{"var": "says.GREEN"}'      # CertLogic over the facts of `facts.py`
then = "GRANT"                      # GRANT | DENY | REFER
reason = "STATUS_GREEN"
overrides = ["common/grey"]         # rules that do not count where this one speaks; "common/*": a whole folder,
                                    # "*": all that do not name this rule and are no "*" rules themselves
instead_of = "GRANT"                # speaks only where all others together grant, and then alone; absent: always
ask_first = ["ISSUER", "CODE"]      # what is tried before a REFER stands
[holder]                            # what the passenger is told; zh and en
[staff]                             # what staff are told
[next_step]
"""

import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gate.moment import Moment
from gate.policy import certlogic
from gate.policy.facts import Facts, path_problem
from gate.policy.terms import RuleError, Terms, parse_terms
from gate.policy.verdict import Ask, Reason, VerdictKind

__all__ = ["Rule", "RuleError", "RuleSet", "Words", "parse_rules"]

RULES_MAX = 1_000  # 30 provinces with 30 rules each; what a day's rules cost is in README, "What it measured"
LANGUAGES = ("zh", "en")
_TEXT_MAX = 200  # characters: what a sign shows and a voice says
_KEYS = {
    "id", "version", "issuer", "source", "valid_from", "valid_until", "regions", "counts", "when", "then", "reason",
    "overrides", "instead_of", "ask_first", "holder", "staff", "next_step",
}  # fmt: skip
_ID = re.compile(r"[a-z0-9-]{1,40}/[a-z0-9-]{1,60}")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_ISSUER = re.compile(r"[A-Z][A-Z0-9_]{1,15}")
_REGION = re.compile(r"(?:[0-9]{2}){1,3}")
# What concerns our knowledge or our machines is never a "no" to the passenger: these cannot be denied.
_NEVER_DENIED = frozenset(
    {
        Reason.NOT_LISTED, Reason.NOT_COVERED, Reason.FEED_EXPIRED, Reason.STORE_DAMAGED, Reason.LOOKUP_LATE,
        Reason.RULE_SILENT, Reason.RULES_CONTRADICT, Reason.RULE_FAILED, Reason.CLOCK_UNTRUSTED, Reason.JOURNAL_FULL,
        Reason.ISSUER_UNREACHABLE, Reason.STATUS_UNKNOWN, Reason.CODE_KEY_MISSING, Reason.CODE_TIME_UNCHECKED,
        Reason.TEMPERATURE_HIGH, Reason.CARD_NOT_KNOWN,
    }
)  # fmt: skip
# All that a rule may grant for. `decide` refuses each of them without its ground, whatever a rule's `when` says.
GRANTED_FOR = frozenset({Reason.STATUS_GREEN, Reason.CERTIFICATE_VALID, Reason.WITH_GUARDIAN, Reason.CHECKING_ENDED})


@dataclass(frozen=True, slots=True)
class Words:
    """What people are told, by language ("zh", "en")."""

    holder: Mapping[str, str]
    staff: Mapping[str, str]
    next_step: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule in force from `valid_from` (inclusive) until `valid_until` (exclusive; None: until taken away)."""

    id: str
    version: str
    issuer: str
    source: str
    valid_from: date
    valid_until: date | None
    regions: tuple[str, ...]
    counts: frozenset[str] | None
    when: Any = field(repr=False)  # the CertLogic expression, as it is written
    holds: Callable[[Facts], bool | certlogic.Failure] = field(repr=False, compare=False)  # the same, compiled
    then: VerdictKind
    reason: Reason
    overrides: frozenset[str]
    instead_of_grant: bool  # a second look at whoever would pass; it refers, and touches nothing else
    ask_first: tuple[Ask, ...]
    words: Words

    @property
    def issuers_read(self) -> frozenset[str]:
        """The issuers that its expression names, as `issuer.SSM`."""
        paths = (path for path, _ in _paths(self.when, False))
        return frozenset(path.removeprefix("issuer.") for path in paths if path.startswith("issuer."))

    def in_force(self, day: date, region: str) -> bool:
        """Whether the rule speaks on `day` (in China) at a station of `region`; a station that says none has all."""
        begun = self.valid_from <= day and (self.valid_until is None or day < self.valid_until)
        return begun and (not self.regions or not region or region.startswith(self.regions))


class RuleSet:
    """All rules and terms of a station."""

    def __init__(self, rules: Sequence[Rule], terms: Sequence[Terms]) -> None:
        """Raises RuleError when overrides name no rule here, or lead in a ring."""
        self.rules = tuple(sorted(rules, key=lambda rule: rule.id))
        self.over = _overriding(self.rules)
        self.terms = tuple(terms)
        self._by_id = {rule.id: rule for rule in self.rules}
        self._pinned: date | None = None
        self._in_force: dict[tuple[date, str], tuple[Rule, ...]] = {}

    def as_of(self, day: date) -> "RuleSet":
        """The same rules, speaking as on `day` whatever day is asked about."""
        rules = RuleSet(self.rules, self.terms)
        rules._pinned = day
        return rules

    def day_of(self, at: Moment) -> date:
        """The day in China whose rules speak at that instant."""
        return self._pinned or at.beijing_day

    def in_force(self, day: date, region: str) -> tuple[Rule, ...]:
        """The rules that speak on `day` at `region`, by their id."""
        key = (self._pinned or day, region)
        rules = self._in_force.get(key)
        if rules is None:
            if len(self._in_force) >= _REMEMBERED_MAX:
                self._in_force.clear()
            rules = self._in_force[key] = tuple(rule for rule in self.rules if rule.in_force(*key))
        return rules

    def terms_on(self, day: date) -> Terms | None:
        """The terms in force; None before the first ones."""
        day = self._pinned or day
        return next((one for one in reversed(self.terms) if one.valid_from <= day), None)

    def rule(self, rule_id: str) -> Rule | None:
        """A rule by its id."""
        return self._by_id.get(rule_id)


_REMEMBERED_MAX = 64  # days and regions asked about: today's at the gate, journeys of the next weeks at the till


def parse_rules(texts: Mapping[str, str], terms: Mapping[str, str]) -> RuleSet:
    """Rules from `rule.toml` texts and the one `terms.toml`, by path. Raises RuleError naming file and place."""
    if not texts:
        raise RuleError("no rule.toml found: without a rule every passenger is referred to staff")
    if len(texts) > RULES_MAX:
        raise RuleError(f"{len(texts)} rules: at most {RULES_MAX}")
    if len(terms) != 1:
        raise RuleError(f"{len(terms)} files terms.toml found: exactly one says how old a feed may be, and the like")
    rules = []
    for name, text in texts.items():
        try:
            rules.append(_rule(tomllib.loads(text), name))
        except (RuleError, tomllib.TOMLDecodeError, RecursionError) as error:
            raise RuleError(f"{name}: {error}") from error
    name, text = next(iter(terms.items()))
    return RuleSet(rules, parse_terms(text, name))


def _rule(raw: dict[str, Any], name: str) -> Rule:
    unknown = sorted(set(raw) - _KEYS)
    if unknown:
        raise RuleError(f"unknown key {unknown[0]!r}; allowed are {', '.join(sorted(_KEYS))}")
    rule_id = _text(raw, "id", _ID, "folder/rule in small letters, digits and '-'")
    if not f"/{name}".endswith(f"/{rule_id}/rule.toml"):
        raise RuleError(f"id: {rule_id!r} must be the folder that it stands in")
    valid_from, valid_until = _day(raw, "valid_from"), _day(raw, "valid_until") if "valid_until" in raw else None
    if valid_until is not None and valid_until <= valid_from:
        raise RuleError("valid_until: must be after valid_from")
    when = _when(raw)
    then, reason = _member(VerdictKind, raw, "then"), _member(Reason, raw, "reason")
    _check_outcome(then, reason)
    ask_first = tuple(_members(Ask, raw, "ask_first"))
    if ask_first and then is not VerdictKind.REFER:
        raise RuleError("ask_first: only a REFER may wait for something else")
    overrides = frozenset(_texts(raw, "overrides", _OVERRIDE, "rules, folders as common/*, or *"))
    return Rule(
        id=rule_id,
        version=_text(raw, "version", _VERSION, "three numbers, e.g. 1.0.0"),
        issuer=_text(raw, "issuer"),
        source=_text(raw, "source"),
        valid_from=valid_from,
        valid_until=valid_until,
        regions=tuple(_texts(raw, "regions", _REGION, "GB/T 2260 prefixes of 2, 4 or 6 digits")),
        counts=frozenset(_texts(raw, "counts", _ISSUER, "issuers in capitals")) if "counts" in raw else None,
        when=when,
        holds=certlogic.condition(when),
        then=then,
        reason=reason,
        overrides=overrides,
        instead_of_grant=_instead_of_grant(raw, then, overrides),
        ask_first=ask_first,
        words=Words(*(_words(raw, key) for key in ("holder", "staff", "next_step"))),
    )


def _instead_of_grant(raw: dict[str, Any], then: VerdictKind, overrides: frozenset[str]) -> bool:
    if "instead_of" not in raw:
        return False
    if raw["instead_of"] != VerdictKind.GRANT:
        raise RuleError(f"instead_of: {raw['instead_of']!r} is not GRANT: leave it out for a rule that always counts")
    if then is not VerdictKind.REFER or overrides:
        raise RuleError("instead_of: only a REFER without overrides may stand in place of a grant")
    return True


_OVERRIDE = re.compile(rf"(?:{_ID.pattern}|[a-z0-9-]{{1,40}}/\*|\*)")


def _check_outcome(then: VerdictKind, reason: Reason) -> None:
    if (then is VerdictKind.GRANT) != (reason in GRANTED_FOR):
        raise RuleError(f"reason: {', '.join(sorted(GRANTED_FOR))} are for GRANT, and nothing else is")
    if then is VerdictKind.DENY and reason in _NEVER_DENIED:
        raise RuleError(f"reason: {reason} is about us, not about the passenger: use REFER")


def _when(raw: dict[str, Any]) -> Any:
    text = _text(raw, "when", limit=10_000)
    try:
        when = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RuleError(f"when: is not JSON: {error}") from error
    problems = certlogic.validate(when) or [
        p for path, inner in _paths(when, False) if (p := path_problem(path, inner))
    ]
    if problems:
        raise RuleError(f"when: {problems[0]}")
    return when


def _paths(expression: Any, inner: bool) -> Iterator[tuple[str, bool]]:
    """All paths that a valid expression reads, and whether inside a `reduce`, where other names are known."""
    if isinstance(expression, dict):
        if isinstance(expression.get("var"), str):
            yield expression["var"], inner
        for operation, operands in expression.items():
            for number, operand in enumerate(operands if isinstance(operands, list) else [operands]):
                yield from _paths(operand, inner or (operation == "reduce" and number == 1))
    elif isinstance(expression, list):
        for value in expression:
            yield from _paths(value, inner)


def _overriding(rules: Sequence[Rule]) -> Mapping[str, frozenset[str]]:
    """By each rule's id those that it overrides. Every one is there, and none overrides itself by way of others."""
    by_id = {rule.id: rule for rule in rules}
    if len(by_id) < len(rules):
        raise RuleError("two rules have one id")
    for rule in rules:
        for name in rule.overrides - {"*"}:
            if not any(_names(name, other) for other in by_id):
                raise RuleError(f"{rule.id}: overrides {name!r}, which is no rule here")
    over = {rule.id: frozenset(other.id for other in rules if _overrides(rule, other)) for rule in rules}
    done: set[str] = set()
    for rule_id in over:
        _check_ring(rule_id, over, done, ())
    return over


def _names(name: str, rule_id: str) -> bool:
    """Whether `name`, an id or a folder as "common/*", names the rule."""
    return name == rule_id or (name.endswith("/*") and rule_id.startswith(name[:-1]))


def _overrides(rule: Rule, other: Rule) -> bool:
    if rule.id == other.id:
        return False
    if any(_names(name, other.id) for name in rule.overrides):
        return True
    named_by_other = any(_names(name, rule.id) for name in other.overrides)
    return "*" in rule.overrides and "*" not in other.overrides and not named_by_other


def _check_ring(rule_id: str, over: Mapping[str, frozenset[str]], done: set[str], path: tuple[str, ...]) -> None:
    """A ring of rules, each over the next, would decide nothing."""
    if rule_id in path:
        raise RuleError(f"{rule_id}: overrides itself by way of {', '.join(path[path.index(rule_id) + 1 :])}")
    if rule_id not in done:
        for other in sorted(over[rule_id]):
            _check_ring(other, over, done, (*path, rule_id))
        done.add(rule_id)


# --- fields --------------------------------------------------------------------------------------------------------


def _text(
    raw: dict[str, Any], key: str, form: re.Pattern[str] | None = None, allowed: str = "", limit: int = _TEXT_MAX
) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not 1 <= len(value) <= limit:
        raise RuleError(f"{key}: must be a text of 1 to {limit} characters")
    if form is not None and not form.fullmatch(value):
        raise RuleError(f"{key}: must be {allowed}")
    return value


def _texts(raw: dict[str, Any], key: str, form: re.Pattern[str], allowed: str) -> list[str]:
    values = raw.get(key, [])
    if not isinstance(values, list) or not all(isinstance(v, str) and form.fullmatch(v) for v in values):
        raise RuleError(f"{key}: must be a list of {allowed}")
    if key in raw and not values:
        raise RuleError(f"{key}: is empty: leave it out instead")
    return values


def _day(raw: dict[str, Any], key: str) -> date:
    value = raw.get(key)
    if type(value) is not date:
        raise RuleError(f"{key}: must be a day, e.g. 2020-03-26")
    return value


def _member(kind: Any, raw: dict[str, Any], key: str) -> Any:
    return _one_of(kind, raw.get(key), key)


def _members(kind: Any, raw: dict[str, Any], key: str) -> list[Any]:
    values = raw.get(key, [])
    if not isinstance(values, list):
        raise RuleError(f"{key}: must be a list")
    return [_one_of(kind, value, key) for value in values]


def _one_of(kind: Any, name: object, key: str) -> Any:
    try:
        return kind(name)
    except ValueError:
        raise RuleError(f"{key}: {name!r} is not one of {', '.join(kind)}") from None


def _words(raw: dict[str, Any], key: str) -> dict[str, str]:
    words = raw.get(key)
    if not isinstance(words, dict) or set(words) != set(LANGUAGES):
        raise RuleError(f"[{key}]: needs exactly zh and en")
    return {language: _text(words, language) for language in LANGUAGES}
