"""The decision: what is known of one person, the rules and the instant in; one verdict out. Alike for gate and till.

Every rule in force is evaluated. What one that speaks overrides does not count; if the rest say one thing, that is the
verdict, and if they differ it is REFER: two rules that contradict each other are an outcome of their own, and so is no
rule speaking. Of several rules that say the same, the one whose reason stands first in `Reason` is told: what an issuer
says of the passenger before what we do not know.

A rule that speaks `instead_of` a grant is heard when the others together grant: it takes the grant, and nothing else.

Whatever a rule says, nobody is granted without a ground, and no status is told that no issuer tells now (`_grounded`).
"""

from collections.abc import Sequence
from datetime import date

from gate.feed.finding import Answered, Certified, Enrolled, Finding, Listed, NotCovered, NotListed, Unanswered
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.certlogic import Failure
from gate.policy.facts import FactBook, Weighed, weigh
from gate.policy.question import Circumstances, Day, Question
from gate.policy.rules import Rule, RuleSet
from gate.policy.verdict import FindingClass, Reason, Spoken, Verdict, VerdictKind

__all__ = ["Circumstances", "Question", "decide"]

_REASON_ORDER = {reason: number for number, reason in enumerate(Reason)}
_STATUS_OF = {Reason(f"STATUS_{status}"): status for status in CredentialStatus}
# What was shown to it where a rule does not count a green: told with its issuer, and no ground that is asked for.
_UNCOUNTED = {Reason.NOT_RECOGNISED_HERE: CredentialStatus.GREEN, Reason.LOCAL_CODE_REQUIRED: CredentialStatus.GREEN}
_SHOWN_OF = _STATUS_OF | _UNCOUNTED
# Which silence a reason tells of, as `Weighed.why` names it.
_SILENCE_OF = {
    Reason.NOT_LISTED: "NOT_LISTED",
    Reason.NOT_COVERED: "NOT_COVERED",
    Reason.FEED_EXPIRED: "EXPIRED",
    Reason.STORE_DAMAGED: "DAMAGED",
    Reason.ISSUER_UNREACHABLE: "UNANSWERED",
    Reason.CERTIFICATE_VALID: "CERTIFIED",
}


def decide(question: Question, rules: RuleSet, now: Moment, at: Moment | None = None) -> Verdict:
    """The verdict at `now`, by the rules of `at` (absent: of now). No rule, or nothing known: REFER, never GRANT."""
    at = at or now
    day = rules.day_of(at)
    terms = rules.terms_on(day)
    if terms is None:
        return Verdict(VerdictKind.REFER, Reason.RULE_SILENT, rule_id="")
    weighed = weigh(question, terms, now, at)
    speaking, failed = _speaking(question, rules.in_force(day, question.circumstances.region), weighed, day)
    spoken = tuple([Spoken(rule.id, rule.then, rule.reason) for rule in speaking])
    if failed is not None:
        # A rule that cannot be evaluated might have been the one that forbids.
        return Verdict(VerdictKind.REFER, Reason.RULE_FAILED, failed.id, spoken=spoken)
    gone = {rule_id for rule in speaking for rule_id in rules.over[rule.id]}
    looks = [rule for rule in speaking if rule.instead_of_grant and rule.id not in gone]
    standing = [rule for rule in speaking if not rule.instead_of_grant and rule.id not in gone]
    if not standing:
        return Verdict(VerdictKind.REFER, Reason.RULE_SILENT, rule_id="")
    if len({rule.then for rule in standing}) > 1:
        return Verdict(VerdictKind.REFER, Reason.RULES_CONTRADICT, rule_id="", spoken=spoken)
    rule = min(standing, key=_told_first)
    ground = _ground(rule, weighed)
    if not _grounded(rule, ground, weighed, question.circumstances):
        return Verdict(VerdictKind.REFER, Reason.RULE_FAILED, rule.id, spoken=spoken)
    if looks and rule.then is VerdictKind.GRANT:
        rule = min(looks, key=_told_first)
        ground = _ground(rule, weighed)
    return _verdict(rule, ground, spoken)


def _told_first(rule: Rule) -> tuple[int, str]:
    return _REASON_ORDER[rule.reason], rule.id


def _speaking(
    question: Question, rules: Sequence[Rule], weighed: Sequence[Weighed], day: date
) -> tuple[list[Rule], Rule | None]:
    """The rules that speak, and the first that could not be evaluated."""
    facts = FactBook(question, weighed, day)
    speaking: list[Rule] = []
    for rule in rules:
        holds = rule.holds(facts.counting(rule.counts))
        if isinstance(holds, Failure):
            return speaking, rule
        if holds:
            speaking.append(rule)
    return speaking, None


def _grounded(rule: Rule, ground: Weighed | None, weighed: Sequence[Weighed], given: Circumstances) -> bool:
    """Whether what a rule says rests on something: never green by what is missing, old or broken, never red by it."""
    reason = rule.reason
    if reason in _STATUS_OF:
        return ground is not None
    if reason is Reason.CERTIFICATE_VALID:
        return any(isinstance(one.finding, Certified) and one.current for one in weighed)
    if reason is Reason.WITH_GUARDIAN:
        forbidden = any(one.status in _FORBIDDING for one in weighed)
        return given.guardian and not forbidden
    return reason is not Reason.CHECKING_ENDED or given.day is Day.OPEN


_FORBIDDING = frozenset({CredentialStatus.RED, CredentialStatus.YELLOW})


def _verdict(rule: Rule, ground: Weighed | None, spoken: tuple[Spoken, ...]) -> Verdict:
    if ground is None:
        return Verdict(rule.then, rule.reason, rule.id, spoken=spoken, ask_first=rule.ask_first)
    finding = ground.finding
    freshness = getattr(finding, "freshness", None)
    return Verdict(
        rule.then,
        rule.reason,
        rule.id,
        credential_status=ground.status or CredentialStatus.UNKNOWN,
        finding=_class(ground),
        issuer=finding.issuer,
        asserted_by=getattr(finding, "asserted_by", ""),
        band=ground.band,
        as_of_utc_s=freshness.as_of_utc_s if freshness else None,
        feed_sequence=getattr(finding, "sequence", 0),
        spoken=spoken,
        ask_first=rule.ask_first,
    )


def _ground(rule: Rule, weighed: Sequence[Weighed]) -> Weighed | None:
    """The finding that a rule's verdict rests on: of several the one of the holder's residence, else the newest."""
    counted = _counted(rule, weighed)
    status = _SHOWN_OF.get(rule.reason)
    if status is not None:
        grounds = [one for one in counted if one.status is status and one.current]
    else:
        why = _SILENCE_OF.get(rule.reason)
        grounds = [one for one in counted if why is not None and one.why == why]
        if rule.reason is Reason.FEED_EXPIRED:  # what an old feed told comes before what it did not tell
            grounds = [one for one in counted if one.status is not None and not one.current] or grounds
    return max(grounds, key=_rank) if len(grounds) > 1 else grounds[0] if grounds else None


def _counted(rule: Rule, weighed: Sequence[Weighed]) -> list[Weighed]:
    """What the rule counts; a certificate is no issuer's word, and is there for every rule."""
    counts = rule.counts
    return [one for one in weighed if counts is None or one.finding.issuer in counts or one.why == "CERTIFIED"]


def _rank(one: Weighed) -> tuple[bool, float]:
    finding = one.finding
    residence = getattr(finding, "residence", "")
    at_home = bool(residence) and residence[:2] == getattr(finding, "asserted_by", "")[:2]
    freshness = getattr(finding, "freshness", None)
    return at_home, freshness.as_of_utc_s if freshness else 0.0


_CLASSES: dict[type[Finding], FindingClass] = {
    Listed: FindingClass.LISTED,
    Enrolled: FindingClass.ENROLLED,
    Answered: FindingClass.ISSUER_ANSWERED,
    NotListed: FindingClass.NOT_LISTED,
    NotCovered: FindingClass.NOT_COVERED,
    Unanswered: FindingClass.ISSUER_UNREACHABLE,
    Certified: FindingClass.CERTIFIED,
}


def _class(ground: Weighed) -> FindingClass:
    if not ground.current:
        return FindingClass.EXPIRED
    return _CLASSES.get(type(ground.finding), FindingClass.NOT_COVERED)
