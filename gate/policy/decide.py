"""The decision: what is known of one person, the rules and the instant in; one verdict out. Alike for gate and till."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from gate.feed.finding import Band, Finding, Listed, Missing, NotListed, Unknown
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.condition import Condition
from gate.policy.rules import CAUSE_REASON, Rule, RuleSet
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
    verdict = _by_findings(question.findings, rule, now)
    if verdict.kind is VerdictKind.GRANT:
        present = {condition.cause for condition in question.conditions}
        for cause, reason in CAUSE_REASON.items():  # in the table's order, so that a replay gives the same reason
            if cause in present & rule.refusing_causes:
                return Verdict(VerdictKind.REFER, reason, rule.id)
    return verdict


def _by_findings(findings: Sequence[Finding], rule: Rule, now: Moment) -> Verdict:
    damaged = [f for f in findings if isinstance(f, Unknown) and f.why is Missing.STORE_DAMAGED]
    listed = [f for f in findings if isinstance(f, Listed)]
    current = [f for f in listed if _band(f, rule, now) is not Band.EXPIRED]
    best = _first_by_order(current, rule, now)
    if best is not None and rule.by_status[_status(best, now)].kind is not VerdictKind.GRANT:
        return _verdict_of(best, rule, now)
    # What is left is a green or nothing: anything that could hide a red comes first.
    if damaged:
        return Verdict(VerdictKind.REFER, Reason.STORE_DAMAGED, rule.id, issuer=damaged[0].issuer)
    expired = [f for f in listed if f not in current and (best is None or _status(f, now) in _FORBIDDING)]
    if expired:
        return _verdict(expired[0], rule, now, VerdictKind.REFER, Reason.FEED_EXPIRED, FindingClass.EXPIRED)
    if best is not None:
        return _verdict_of(best, rule, now)
    return _nobody_lists(findings, rule, now)


def _nobody_lists(findings: Sequence[Finding], rule: Rule, now: Moment) -> Verdict:
    absent = [f for f in findings if isinstance(f, NotListed)]
    current = [f for f in absent if _band(f, rule, now) is not Band.EXPIRED]
    if current:
        outcome = rule.absent
        return _verdict(current[0], rule, now, outcome.kind, outcome.reason, FindingClass.NOT_LISTED)
    if absent:
        return _verdict(absent[0], rule, now, VerdictKind.REFER, Reason.FEED_EXPIRED, FindingClass.EXPIRED)
    return Verdict(VerdictKind.REFER, Reason.NOT_COVERED, rule.id)


def _first_by_order(listed: Sequence[Listed], rule: Rule, now: Moment) -> Listed | None:
    return min(listed, key=lambda f: (rule.order.index(_status(f, now)), -f.freshness.as_of_utc_s), default=None)


def _status(finding: Listed, now: Moment) -> CredentialStatus:
    """A green or other status past its own validity is a lapsed report: GREY, never silently green."""
    lapsed = finding.valid_until_utc_s is not None and finding.valid_until_utc_s <= now.utc_s
    return CredentialStatus.GREY if lapsed else finding.status


def _band(finding: Listed | NotListed, rule: Rule, now: Moment) -> Band:
    return finding.freshness.band(rule.limits, now)


def _verdict_of(finding: Listed, rule: Rule, now: Moment) -> Verdict:
    outcome = rule.by_status[_status(finding, now)]
    return _verdict(finding, rule, now, outcome.kind, outcome.reason, FindingClass.LISTED)


def _verdict(
    finding: Listed | NotListed, rule: Rule, now: Moment, kind: VerdictKind, reason: Reason, how: FindingClass
) -> Verdict:
    listed = finding if isinstance(finding, Listed) else None
    return Verdict(
        kind,
        reason,
        rule.id,
        credential_status=_status(listed, now) if listed else CredentialStatus.UNKNOWN,
        finding=how,
        issuer=finding.issuer,
        asserted_by=listed.asserted_by if listed else "",
        band=_band(finding, rule, now),
        as_of_utc_s=finding.freshness.as_of_utc_s,
        feed_sequence=finding.sequence,
    )
