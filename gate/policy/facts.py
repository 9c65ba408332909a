"""What rules are told: findings, weighed by age, and circumstances, as the JSON that a rule's `when` reads.

    today       "2020-04-01", the day in China
    station     region "330106", city "3301", province "33"
    day         CHECKING | OPEN | CLOSED
    presented   kind CARD | CODE | CARD_AND_CODE | CERTIFICATE | CARD_AND_CERTIFICATE | CARD_NUMBER |
                CARD_NUMBER_AND_CODE, code_issuer, code_form, needs_card (a printed code), card_scheme (of a number),
                card_refused (the terms do not take it)
    holder      age MINOR | ADULT | SENIOR | UNKNOWN
    temperature NORMAL | HIGH | UNKNOWN, measured at the lane a moment ago
    guardian    whether somebody has just been released here who may take dependants along
    says        status -> issuers who say so now, e.g. {"GREEN": ["SSM"]}; nobody: absent
    issuer      issuer -> the status that it says now; of its feed's and its answer's the newer
    expired     status -> issuers who said so before their feed became too old to build on
    silent      why -> issuers: NOT_LISTED, NOT_COVERED, EXPIRED, DAMAGED, UNKNOWN, UNANSWERED
    rejected    why -> issuers who were asked and have no status: CODE_EXPIRED, CODE_NOT_OURS, PERSON_UNKNOWN
    certified   authorities whose paper certificate was presented with its holder's card
    degraded    causes of degraded mode, e.g. ["CLOCK_UNTRUSTED"]

`says`, `issuer`, `expired`, `silent` and `rejected` hold only the issuers that the rule `counts`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from gate.feed.finding import (
    FUTURE_TOLERANCE_S,
    Answered,
    Band,
    Certified,
    Enrolled,
    Finding,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Rejected,
    Rejection,
    Told,
    Unanswered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.condition import Cause
from gate.policy.question import Question
from gate.policy.terms import Terms

Facts = dict[str, Any]


class Weighed(NamedTuple):
    """A finding with its age judged. `status` is None for whoever tells none; `why` then says why, as facts name it."""

    finding: Finding
    band: Band | None
    status: CredentialStatus | None = None
    why: str = ""

    @property
    def current(self) -> bool:
        """Whether it is young enough to build on."""
        return self.band is not Band.EXPIRED


def weigh(question: Question, terms: Terms, now: Moment, at: Moment) -> tuple[Weighed, ...]:
    """All findings, judged at `now`; `at` is the instant that validities must reach: later for a planned journey."""
    trusted = all(condition.cause is not Cause.CLOCK_UNTRUSTED for condition in question.conditions)
    return tuple([_weighed(finding, terms, now, at, trusted) for finding in question.findings])


def _weighed(finding: Finding, terms: Terms, now: Moment, at: Moment, trusted: bool) -> Weighed:
    match finding:
        case Listed() | Enrolled() | Answered():
            return Weighed(finding, _band(finding, terms, now, trusted), _status(finding, now, at))
        case NotListed() | NotCovered():
            band = _band(finding, terms, now, trusted)
            absent = "NOT_LISTED" if isinstance(finding, NotListed) else "NOT_COVERED"
            return Weighed(finding, band, None, "EXPIRED" if band is Band.EXPIRED else absent)
        case Unknown(why=why):
            return Weighed(finding, None, why="DAMAGED" if why is Missing.STORE_DAMAGED else "UNKNOWN")
        case Unanswered():
            return Weighed(finding, None, why="UNANSWERED")
        case Rejected(why=Rejection.HOLDER_MUST_UPDATE):
            return Weighed(finding, Band.FRESH, CredentialStatus.GREY)  # the issuer says: this report has lapsed
        case Rejected(why=why):
            return Weighed(finding, None, why=str(why))
        case Certified(valid_until_utc_s=until):
            return Weighed(finding, Band.FRESH if at.utc_s < until else Band.EXPIRED, why="CERTIFIED")


def _band(finding: Told | NotListed | NotCovered, terms: Terms, now: Moment, trusted: bool) -> Band:
    freshness = finding.freshness
    return freshness.band(terms.limits_of(finding.issuer, freshness.partition), now, trusted)


def _status(finding: Told, now: Moment, at: Moment) -> CredentialStatus:
    """A status past its own validity, or not yet in effect, is a lapsed report: GREY, never silently green."""
    lapsed = finding.valid_until_utc_s is not None and finding.valid_until_utc_s <= at.utc_s
    early = finding.effective_utc_s > max(at.utc_s, now.utc_s) + FUTURE_TOLERANCE_S
    return CredentialStatus.GREY if lapsed or early else finding.status


class FactBook:
    """The facts of one question; one reading for each group of issuers that rules count."""

    def __init__(self, question: Question, weighed: Sequence[Weighed], day: date) -> None:
        self._told = [_told(one) for one in weighed if not isinstance(one.finding, Certified)]
        self._shared = _shared(question, weighed, day)
        self._readings: dict[frozenset[str] | None, Facts] = {}

    def counting(self, issuers: frozenset[str] | None) -> Facts:
        """What a rule is told that counts these issuers (None: all)."""
        facts = self._readings.get(issuers)
        if facts is None:
            told = self._told if issuers is None else [one for one in self._told if one.issuer in issuers]
            facts = self._readings[issuers] = self._shared | _said(told)
        return facts


class _Told(NamedTuple):
    """One finding as facts tell it: `fact` of `issuer` under the key `what`."""

    issuer: str
    fact: str
    what: str
    as_of_utc_s: float  # of what is said now


def _told(one: Weighed) -> _Told:
    finding = one.finding
    if one.status is None:
        return _Told(finding.issuer, "rejected" if isinstance(finding, Rejected) else "silent", one.why, 0.0)
    # A rejection that is a status comes from an answer, and nothing is newer.
    as_of_utc_s = finding.freshness.as_of_utc_s if isinstance(finding, Told) else math.inf
    return _Told(finding.issuer, "says" if one.current else "expired", one.status.value, as_of_utc_s)


def _shared(question: Question, weighed: Sequence[Weighed], day: date) -> Facts:
    given = question.circumstances
    return {
        "today": day.isoformat(),
        "station": {"region": given.region, "city": given.region[:4], "province": given.region[:2]},
        "day": given.day.value,
        "presented": {
            "kind": given.presented.value,
            "code_issuer": given.code_issuer,
            "code_form": given.code_form,
            "needs_card": given.code_needs_card,
            "card_scheme": given.card_scheme,
            "card_refused": given.card_refused,
        },
        "holder": {"age": given.age_group.value},
        "temperature": given.temperature.value,
        "guardian": given.guardian,
        "certified": [w.finding.asserted_by for w in weighed if isinstance(w.finding, Certified) and w.current],
        "degraded": sorted({condition.cause.value for condition in question.conditions}),
    }


def _said(told: Sequence[_Told]) -> Facts:
    facts: Facts = {"says": {}, "issuer": {}, "expired": {}, "silent": {}, "rejected": {}}
    newest: dict[str, tuple[float, str]] = {}
    for issuer, fact, what, as_of_utc_s in told:
        facts[fact].setdefault(what, []).append(issuer)
        if fact == "says":
            newest[issuer] = max(newest.get(issuer, (as_of_utc_s, what)), (as_of_utc_s, what))
    facts["issuer"] = {issuer: status for issuer, (_, status) in newest.items()}
    return facts


_STATUSES = frozenset(CredentialStatus)
# First word of a path -> its second words; None: it has none.
_PATHS: Mapping[str, frozenset[str] | None] = {
    "today": None,
    "station": frozenset({"region", "city", "province"}),
    "day": None,
    "presented": frozenset({"kind", "code_issuer", "code_form", "needs_card", "card_scheme", "card_refused"}),
    "holder": frozenset({"age"}),
    "temperature": None,
    "guardian": None,
    "certified": None,
    "degraded": None,
    "says": _STATUSES,
    "expired": _STATUSES,
    "silent": frozenset({"NOT_LISTED", "NOT_COVERED", "EXPIRED", "DAMAGED", "UNKNOWN", "UNANSWERED"}),
    "rejected": frozenset(Rejection) - {Rejection.HOLDER_MUST_UPDATE},
}
_ISSUER_PATH = re.compile(r"issuer\.[A-Z][A-Z0-9_]{1,15}")
_OF_REDUCE = frozenset({"current", "accumulator"})


def path_problem(path: str, inside_reduce: bool = False) -> str:
    """What is wrong with a path that a `when` reads, "" if nothing: a mistyped one would be null for ever."""
    first, _, rest = path.partition(".")
    if inside_reduce and (first in _OF_REDUCE or not path):
        return ""
    if path in _PATHS or _ISSUER_PATH.fullmatch(path):
        return ""
    if first == "issuer" or first not in _PATHS:
        return f"{path!r} is no fact: known are issuer.ISSUER, {', '.join(_PATHS)}"
    allowed = _PATHS[first]
    if allowed is None:
        return "" if not rest or rest.isdecimal() else f"{path!r}: {first} has no parts"
    second, _, index = rest.partition(".")
    if second not in allowed or not (not index or index.isdecimal()):
        return f"{path!r} is no fact: {first} has {', '.join(sorted(allowed))}"
    return ""
