"""The decision: what is known of one person, the rules and the instant in; one verdict out. Alike for gate and till."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gate.feed.finding import (
    FUTURE_TOLERANCE_S,
    Band,
    Enrolled,
    Finding,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Told,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.condition import Cause, Condition
from gate.policy.rules import CAUSE_REASON, Outcome, Rule, RuleSet
from gate.policy.verdict import FindingClass, Reason, Verdict, VerdictKind

# Statuses that forbid: known from an expired feed they still stop a green of somebody else, because a person must not
# become green by our holding old data; and never make red, because a person must not be red by it either.
_FORBIDDING = frozenset({CredentialStatus.RED, CredentialStatus.YELLOW})


@dataclass(frozen=True, slots=True)
class Question:
    """All that a decision depends on besides the rules and the instant; the journal keeps it for replay."""

    findings: tuple[Finding, ...]
    conditions: frozenset[Condition] = field(default_factory=frozenset)


def decide(question: Question, rules: RuleSet, now: Moment) -> Verdict:
    """The verdict at `now`. No rule in force, or nothing known: REFER, never GRANT."""
    rule = rules.on(datetime.fromtimestamp(now.utc_s, UTC).date())
    if rule is None:
        return Verdict(VerdictKind.REFER, Reason.RULE_SILENT, rule_id="")
    present = {condition.cause for condition in question.conditions}
    verdict = _by_findings(question.findings, _Bands(rule, now, Cause.CLOCK_UNTRUSTED not in present))
    if verdict.kind is VerdictKind.GRANT:
        for cause, reason in CAUSE_REASON.items():  # in the table's order, so that a replay gives the same reason
            if cause in present & rule.refusing_causes:
                return Verdict(VerdictKind.REFER, reason, rule.id)
    return verdict


_NOT_COVERED = Outcome(VerdictKind.REFER, Reason.NOT_COVERED)
_EXPIRED = Outcome(VerdictKind.REFER, Reason.FEED_EXPIRED)


@dataclass(frozen=True, slots=True)
class _Bands:
    """What findings are judged by: the rule, the instant, and whether the clock that gave it may be believed."""

    rule: Rule
    now: Moment
    clock_trusted: bool

    def of(self, finding: Told | NotListed | NotCovered) -> Band:
        freshness = finding.freshness
        limits = self.rule.limits_of(finding.issuer, freshness.partition)
        return freshness.band(limits, self.now, self.clock_trusted)

    def status(self, finding: Told) -> CredentialStatus:
        """A status past its own validity, or not yet in effect, is a lapsed report: GREY, never silently green."""
        lapsed = finding.valid_until_utc_s is not None and finding.valid_until_utc_s <= self.now.utc_s
        early = finding.effective_utc_s > self.now.utc_s + FUTURE_TOLERANCE_S
        return CredentialStatus.GREY if lapsed or early else finding.status


def _by_findings(findings: Sequence[Finding], bands: _Bands) -> Verdict:
    rule = bands.rule
    damaged = [f for f in findings if isinstance(f, Unknown) and f.why is Missing.STORE_DAMAGED]
    told = [f for f in findings if isinstance(f, Listed | Enrolled)]
    current = [f for f in told if bands.of(f) is not Band.EXPIRED]
    best = _first_by_order(current, bands)
    if best is not None and rule.by_status[bands.status(best)].kind is not VerdictKind.GRANT:
        return _verdict_of(best, bands)
    # What is left is a green or nothing: anything that could hide a red comes first.
    if damaged:
        return Verdict(VerdictKind.REFER, Reason.STORE_DAMAGED, rule.id, issuer=damaged[0].issuer)
    expired = [f for f in told if f not in current and (best is None or bands.status(f) in _FORBIDDING)]
    if expired:
        return _verdict(expired[0], bands, _EXPIRED, FindingClass.EXPIRED)
    if best is not None:
        return _verdict_of(best, bands)
    return _nobody_tells(findings, bands)


def _nobody_tells(findings: Sequence[Finding], bands: _Bands) -> Verdict:
    """Absent from a list of some colours, unknown to those who know everybody, or only known to be absent long ago."""
    absent = [f for f in findings if isinstance(f, NotListed | NotCovered)]
    current = [f for f in absent if bands.of(f) is not Band.EXPIRED]
    for finding in current:
        if isinstance(finding, NotListed):
            return _verdict(finding, bands, bands.rule.absent, FindingClass.NOT_LISTED)
    for finding in current:
        return _verdict(finding, bands, _NOT_COVERED, FindingClass.NOT_COVERED)
    for finding in absent:
        return _verdict(finding, bands, _EXPIRED, FindingClass.EXPIRED)
    return Verdict(VerdictKind.REFER, Reason.NOT_COVERED, bands.rule.id)


def _first_by_order(told: Sequence[Told], bands: _Bands) -> Told | None:
    order = bands.rule.order
    return min(told, key=lambda f: (order.index(bands.status(f)), -f.freshness.as_of_utc_s), default=None)


def _verdict_of(finding: Told, bands: _Bands) -> Verdict:
    how = FindingClass.LISTED if isinstance(finding, Listed) else FindingClass.ENROLLED
    return _verdict(finding, bands, bands.rule.by_status[bands.status(finding)], how)


def _verdict(finding: Told | NotListed | NotCovered, bands: _Bands, outcome: Outcome, how: FindingClass) -> Verdict:
    told = finding if isinstance(finding, Listed | Enrolled) else None
    return Verdict(
        outcome.kind,
        outcome.reason,
        bands.rule.id,
        credential_status=bands.status(told) if told else CredentialStatus.UNKNOWN,
        finding=how,
        issuer=finding.issuer,
        asserted_by=told.asserted_by if told else "",
        band=bands.of(finding),
        as_of_utc_s=finding.freshness.as_of_utc_s,
        feed_sequence=finding.sequence,
    )
