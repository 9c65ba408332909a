"""The numbers that all rules share from a date on: `terms.toml` text in, checked values out.

[[terms]]
valid_from = 2020-02-01
repeat_after_s = 120
…
card_schemes = ["shanghai-transit"]   # absent: all that the station names; []: no card numbers
[terms.freshness]
aged_after_h = 26
expired_after_h = 50
[terms.freshness."AKM/340100"]
…
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from gate.credential.cardnumber import SCHEME
from gate.feed.finding import FreshnessLimits
from gate.policy.question import AgeGroup, Warmth

_HOUR_S = 3600.0
CODE_SKEW_MAX_S = 600  # more would make every screenshot good
TERMS_MAX = 100  # a change a week for two years


class RuleError(ValueError):
    """A rule file is not a rule; the text says where in it, what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Terms:
    """In force from `valid_from` until the next ones."""

    valid_from: date
    limits: Mapping[str, FreshnessLimits]  # by "ISSUER/partition", by "ISSUER", and "" for all others
    repeat_after_s: float  # anti-passback: the same traveller in the same direction sooner is refused
    code_skew_s: float  # how far a phone's clock or an issuer's may be from ours
    answers_kept_s: float  # how long an issuer's answer may be used again
    guardian_window_s: float  # how soon after a release its dependants must follow
    guardian_dependants_max: int
    minor_below: int  # years
    senior_from: int  # years
    fever_from_c: float  # body temperature, degrees Celsius
    temperature_within_s: float  # how old a thermometer's word about the person at the lane may be
    card_schemes: frozenset[str] | None = None  # whose card numbers are taken; None: all that the station names

    def limits_of(self, issuer: str, partition: str) -> FreshnessLimits:
        """When what this issuer's partition said counts as aged and as expired; the closest that the terms name."""
        own = self.limits.get(f"{issuer}/{partition}") if partition else None
        return own or self.limits.get(issuer) or self.limits[""]

    def age_group(self, years: int | None) -> AgeGroup:
        """The group of somebody of so many years; None: the document does not tell."""
        if years is None:
            return AgeGroup.UNKNOWN
        return (
            AgeGroup.MINOR
            if years < self.minor_below
            else AgeGroup.SENIOR
            if years >= self.senior_from
            else AgeGroup.ADULT
        )

    def takes_card(self, scheme: str) -> bool:
        """Whether numbers of this scheme's cards are looked up."""
        return self.card_schemes is None or scheme in self.card_schemes

    def warmth(self, celsius: float, of_the_body: bool) -> Warmth:
        """What a measured temperature means. Skin is cooler than the body: it can be too warm, and never well."""
        if celsius >= self.fever_from_c:
            return Warmth.HIGH
        return Warmth.NORMAL if of_the_body else Warmth.UNKNOWN


# Name -> smallest and largest value, with what is beyond.
_NUMBERS: Mapping[str, tuple[float, float]] = {
    "repeat_after_s": (0, 3_600),  # an hour would refuse an honest second journey
    "code_skew_s": (0, CODE_SKEW_MAX_S),
    "answers_kept_s": (0, 3_600),  # R6: no colour is kept for long
    "guardian_window_s": (0, 120),  # longer is another passenger's family
    "guardian_dependants_max": (0, 10),
    "minor_below": (0, 21),
    "senior_from": (50, 120),
    "fever_from_c": (36.0, 42.0),  # below lies nearly everybody, above nobody
    "temperature_within_s": (0, 10),  # longer is the passenger before
}
_SCHEMES = "card_schemes"
SCHEMES_MAX = 100  # about as many cities issue a transit card of their own
_WHOLE = frozenset({"guardian_dependants_max", "minor_below", "senior_from"})  # people and years, not parts of them


def parse_terms(text: str, name: str) -> tuple[Terms, ...]:
    """All terms, the earliest first. Raises RuleError naming file and place."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise RuleError(f"{name}: {error}") from error
    rows = raw.get("terms")
    if set(raw) != {"terms"} or not isinstance(rows, list) or not 1 <= len(rows) <= TERMS_MAX:
        raise RuleError(f"{name}: needs 1 to {TERMS_MAX} [[terms]] tables and nothing else")
    terms = []
    for number, row in enumerate(rows, 1):
        try:
            terms.append(_terms(row))
        except RuleError as error:
            raise RuleError(f"{name}: terms {number}: {error}") from error
    if len({one.valid_from for one in terms}) < len(terms):
        raise RuleError(f"{name}: two terms begin on one day: give each its own valid_from")
    return tuple(sorted(terms, key=lambda one: one.valid_from))


def _terms(row: Any) -> Terms:
    if not isinstance(row, dict):
        raise RuleError("must be a [[terms]] table")
    allowed = {"valid_from", "freshness", *_NUMBERS}
    unknown, missing = sorted(set(row) - allowed - {_SCHEMES}), sorted(allowed - set(row))
    if unknown or missing:
        wrong = f"unknown key {unknown[0]!r}" if unknown else f"{missing[0]!r} is missing"
        raise RuleError(f"{wrong}; needed are {', '.join(sorted(allowed))}; {_SCHEMES} may stand beside them")
    for key, (low, high) in _NUMBERS.items():
        kind, kinds = ("whole number", (int,)) if key in _WHOLE else ("number", (int, float))
        if type(row[key]) not in kinds or not low <= row[key] <= high:
            raise RuleError(f"{key}: must be a {kind} from {low} to {high}")
    if type(row["valid_from"]) is not date:
        raise RuleError("valid_from: must be a day, e.g. 2020-02-01")
    if not isinstance(row["freshness"], dict):
        raise RuleError("freshness: must be a table")
    numbers = {key: row[key] for key in _NUMBERS}
    return Terms(row["valid_from"], _limits(row["freshness"]), **numbers, card_schemes=_schemes(row.get(_SCHEMES)))


def _schemes(raw: Any) -> frozenset[str] | None:
    if raw is None:
        return None
    if not isinstance(raw, list) or len(raw) > SCHEMES_MAX or not all(_is_scheme(one) for one in raw):
        raise RuleError(f'{_SCHEMES}: must be at most {SCHEMES_MAX} names such as "shanghai-transit"; [] takes none')
    return frozenset(raw)


def _is_scheme(one: Any) -> bool:
    return isinstance(one, str) and SCHEME.fullmatch(one) is not None


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
