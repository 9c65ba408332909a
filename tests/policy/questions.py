"""Made-up questions: whatever a lane or a till of 2020 may be asked, repeatably, in any combination."""

from collections.abc import Iterator
from datetime import datetime
from random import Random

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
from gate.policy.question import BARE_NUMBERS, AgeGroup, Circumstances, Day, Presented, Question, Warmth

DELTA = ("SSM", "ZJ", "SKM", "SCM", "XKM", "NGL", "AKM", "NATIONAL")
OTHERS = ("HEN", "HAN", "HUN", "GD", "SD", "GZ")
DELTA_REGIONS = ("310112", "330100", "320500", "320200", "320100", "340100")
REGIONS = (*DELTA_REGIONS, "440100", "430100", "410100", "460100", "370100", "520100", "110000")
_FORMS = {"SSM": ("SSM_APP", "SSM_TRANSIT", "SSM_PAPER"), "XKM": ("XKM", "XKM_PAPER"), "ZJ": ("ZJ_V2", "ZJ_V0")}
_BARE = (Presented.CODE, Presented.CERTIFICATE, *BARE_NUMBERS)  # without a document
_WITH_CODE = (Presented.CODE, Presented.CARD_AND_CODE, Presented.CARD_NUMBER_AND_CODE)
_STATUSES, _CAUSES = tuple(CredentialStatus), tuple(Cause)


def instant(text: str) -> Moment:
    """`2020-03-26T00:00+08:00` as a moment."""
    return Moment(datetime.fromisoformat(text).timestamp(), 0.0)


# Both sides of each day on which the Delta's rules changed, and days well within.
DAYS = (
    "2020-02-05T12:00+08:00",
    "2020-02-18T12:00+08:00",
    "2020-02-26T23:59:59+08:00",
    "2020-02-27T00:00+08:00",
    "2020-03-10T12:00+08:00",
    "2020-03-25T23:59:59+08:00",
    "2020-03-26T00:00+08:00",
    "2020-05-20T12:00+08:00",
)


def _freshness(random: Random, now: Moment) -> Freshness:
    age_h = random.choice([random.uniform(0, 20), random.uniform(0, 20), random.uniform(-10, 100)])
    return Freshness(now.utc_s - age_h * 3600, random.choice(["", "340100"]))


def _of_feed(random: Random, issuer: str, now: Moment) -> Finding:
    """What an issuer's feed may say of somebody; the colours by which most is decided come most often."""
    fresh, sequence = _freshness(random, now), random.randint(1, 9)
    kind = random.choice([Listed, Listed, Enrolled, NotListed, NotCovered, Unknown])
    if kind is NotListed:
        return NotListed(issuer, sequence, fresh)
    if kind is NotCovered:
        return NotCovered(issuer, sequence, fresh, random.choice(tuple(Uncovered)))
    if kind is Unknown:
        return Unknown(issuer, random.choice(tuple(Missing)))
    status = random.choice([CredentialStatus.GREEN, CredentialStatus.NOT_CLAIMED, *_STATUSES])
    since = int(now.utc_s) + random.choice([-1_000_000, -1000, -1000, 200, 400])
    until = random.choice([None, None, int(now.utc_s) + random.randint(-10_000, 10_000)])
    told = Listed if kind is Listed else Enrolled
    return told(issuer, status, random.choice(["310000", "330000", "411700"]), since, until, sequence, fresh)


def _of_issuer(random: Random, issuer: str, now: Moment) -> Finding:
    """What an issuer that was asked may have said."""
    kind = random.choice([Answered, Rejected, Unanswered])
    if kind is Rejected:
        return Rejected(issuer, random.choice(tuple(Rejection)))
    if kind is Unanswered:
        return Unanswered(issuer, random.choice(tuple(Silence)))
    until = random.choice([None, int(now.utc_s) + 60, int(now.utc_s) - 60])
    return Answered(issuer, random.choice(_STATUSES), "320000", 0, until, Freshness(now.utc_s))


def _findings(random: Random, kind: Presented, now: Moment) -> Iterator[Finding]:
    """At most one feed and one answer of each issuer; a certificate without its card leads to nobody."""
    if kind is Presented.CERTIFICATE:
        return
    for issuer in random.sample((*DELTA, *DELTA, *OTHERS), random.randint(0, 3)):
        yield _of_feed(random, issuer, now)
    for issuer in random.sample((*DELTA, *OTHERS), random.choice([0, 0, 1, 2])):
        yield _of_issuer(random, issuer, now)
    if kind is Presented.CARD_AND_CERTIFICATE:
        until = int(now.utc_s) + random.choice([-1, 3600, 3600])
        yield Certified("XIHU-1", "330106", until, Freshness(now.utc_s - 3600))


def _circumstances(random: Random, kind: Presented, region: str) -> Circumstances:
    issuer = random.choice((*DELTA, *OTHERS)) if kind in _WITH_CODE else ""
    form = random.choice(_FORMS.get(issuer, (issuer,)))
    return Circumstances(
        presented=kind,
        code_issuer=issuer,
        code_form=form,
        code_needs_card=form.endswith("_PAPER"),
        # Only a document tells somebody's age.
        age_group=AgeGroup.UNKNOWN if kind in _BARE else random.choice(tuple(AgeGroup)),
        guardian=random.random() < 0.5,
        region=region,
        day=random.choice([*[Day.CHECKING] * 8, Day.OPEN, Day.CLOSED]),
        temperature=random.choice([*[Warmth.UNKNOWN] * 6, Warmth.NORMAL, Warmth.HIGH]),
        card_scheme="shanghai-transit" if kind in BARE_NUMBERS else "",
        card_refused=kind is Presented.CARD_NUMBER and random.random() < 0.3,
    )


def question(random: Random, region: str, now: Moment) -> Question:
    """Anything that may be asked at a station of `region`."""
    kind = random.choice(tuple(Presented))
    given = _circumstances(random, kind, region)
    findings = [] if given.card_refused else list(_findings(random, kind, now))  # it is not even looked up
    random.shuffle(findings)
    causes = random.sample(_CAUSES, random.choice([0, 0, 1, 2]))
    conditions = frozenset(map(Condition, causes))
    return Question(tuple(findings), conditions, given)


def counted_green(day: str, region: str) -> set[str]:
    """Whose green opens a gate there on that day (health-codes.md 1.7, 2.1-2.4 and the memoranda of early 2020)."""
    counted: set[str] = set()
    if region[:2] in ("31", "32", "33", "34"):
        if day >= "2020-03-26":
            counted |= {"SSM", "ZJ", "SKM", "SCM", "XKM", "NGL", "AKM", "NATIONAL"}
        elif day >= "2020-02-27":
            counted |= {"SSM", "ZJ", "SKM", "AKM"}
    own = {"3301": ("ZJ", "2020-02-11"), "3205": ("SCM", "2020-02-22"), "3202": ("XKM", "2020-02-21")}
    own |= {"3201": ("NGL", "2020-02-15")}
    issuer, since = own.get(region[:4], ("", "9999"))
    if since <= day < "2020-03-26":
        counted.add(issuer)
    if region[:2] == "31" and "2020-02-17" <= day < "2020-02-27":
        counted.add("SSM")
    pairs = {"33": {"HEN", "HAN"}, "41": {"ZJ"}, "46": {"ZJ"}, "44": {"HUN"}, "43": {"GD"}, "37": {"GZ"}, "52": {"SD"}}
    begun = {"44": "2020-03-01", "43": "2020-03-01", "37": "2020-02-29", "52": "2020-02-29"}.get(
        region[:2], "2020-02-28"
    )
    return counted | (pairs.get(region[:2], set()) if day >= begun else set())
