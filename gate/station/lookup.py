"""What is known of one presentation: the same for a lane's passenger and for a ticket system's query.

A card is looked up with every issuer's feed. A code alone leads to its own issuer's word, when that issuer's feed knows
the token (subject keys of other issuers cannot be made from it), or to the issuer itself. The number of a transit card
leads to the word of every issuer whose index has it, and to nobody's else. Card and code, number and code, or card and
certificate, must be of one person.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gate.credential.cardnumber import CardNumber
from gate.credential.certificate import Certificate, CertificateProblem, CertifyingKey, judge
from gate.credential.documents import Document, age_on
from gate.credential.healthcode import HealthCode
from gate.credential.presentation import Presentation
from gate.credential.subject import card_key, correction_reference, subject_key, token_key
from gate.feed.finding import (
    Answered,
    Band,
    Certified,
    Finding,
    Freshness,
    Missing,
    NotListed,
    Silence,
    Told,
    Unanswered,
    Unknown,
)
from gate.feed.records import CredentialStatus
from gate.issuers.desk import IssuerDesk
from gate.moment import Moment
from gate.policy.condition import Cause, Condition
from gate.policy.question import AgeGroup, Circumstances, Day, Presented, Question, Warmth
from gate.policy.rules import RuleSet
from gate.policy.terms import Terms
from gate.policy.verdict import Reason, Verdict, VerdictKind
from gate.sync.store import StatusStore

_DAY_S = 86_400.0
_MARK_BYTES = 7  # of a subject key: what a token tells of somebody enrolled (gate/feed/table.py)


@dataclass(frozen=True, slots=True)
class Found:
    """What `decide` is given, and the person's marks. Holds no number, name or token."""

    question: Question
    travellers: tuple[bytes, ...] = field(default=(), repr=False)
    subject: bytes = field(default=b"", repr=False)
    askable: tuple[str, ...] = ()
    problem: Reason | None = None
    references: Mapping[str, str] = field(default_factory=dict)  # issuer -> correction reference of its record (R12)

    def reference_for(self, verdict: Verdict) -> str:
        """The reference of the record that decided, for whoever is not let through; "" without one."""
        return "" if verdict.kind is VerdictKind.GRANT else self.references.get(verdict.issuer, "")


@dataclass(frozen=True, slots=True)
class Scene:
    """What surrounds a presentation: where it is, when, and what the station is doing."""

    region: str
    day: Day
    conditions: frozenset[Condition]
    guardian: bool = False
    temperature: Warmth = Warmth.UNKNOWN


class Lookup:
    """Looks presentations up. One a station; holds the peppers in use."""

    def __init__(
        self,
        store: StatusStore,
        rules: RuleSet,
        desk: IssuerDesk,
        peppers: Mapping[str, Mapping[str, bytes]],
        certifying_keys: Mapping[str, CertifyingKey],
    ) -> None:
        self._store = store
        self._rules = rules
        self._desk = desk
        self._by_id = peppers  # issuer -> pepper_id -> pepper
        self._peppers: dict[str, bytes] = {}  # issuer -> the pepper that its applied snapshot names
        self._certifying_keys = certifying_keys
        self._process_key = secrets.token_bytes(32)

    def use_held_peppers(self) -> None:
        """Take, for every issuer, the pepper that its applied snapshot names."""
        held = self._store.held()
        for issuer, by_id in self._by_id.items():
            pepper = by_id.get(held[issuer].pepper_id) if issuer in held else None
            if pepper is None:
                self._peppers.pop(issuer, None)
            else:
                self._peppers[issuer] = pepper

    def token_mark(self, code: HealthCode) -> bytes:
        """The mark of one showing of a dynamic code within this process; b"" for a static one."""
        return self._mark(code.issuer.encode(), code.token.encode()) if code.dynamic else b""

    def find(self, shown: Presentation, scene: Scene, now: Moment) -> Found:
        """What every subscribed issuer's feed says of this presentation at `now`."""
        document = shown.document
        if shown.number:
            return self._of_number(shown, shown.number, scene, now)
        if document is None:
            return self._of_code(shown, scene, now) if shown.code else self._of_certificate_alone(shown, scene, now)
        keys = {issuer: subject_key(pepper, document) for issuer, pepper in self._peppers.items()}
        findings = self._store.find(keys, now)
        marks = (*self._marks(document, keys, findings), *self._bearer(shown))
        subject = next(iter(keys.values()), b"")
        problem = self._code_problem(shown.code, keys) if shown.code else None
        if shown.certificate:
            wrong = self._certificate_problem(shown.certificate, document, scene, now)
            problem = wrong or problem
            findings = findings if wrong else (*findings, _certified(shown, now))
        found = self._found(shown, findings, scene, now, marks, subject, problem)
        return replace(found, references=self._references(keys, findings, now))

    def _references(self, keys: Mapping[str, bytes], findings: Iterable[Finding], now: Moment) -> dict[str, str]:
        """For every issuer that says other than green of this person: what the person may ask 12345 about."""
        issuers = [f.issuer for f in findings if isinstance(f, Told) and f.status is not CredentialStatus.GREEN]
        return {
            issuer: correction_reference(self._peppers[issuer], issuer, keys[issuer], now.beijing_day)
            for issuer in issuers
            if issuer in keys
        }

    def _of_code(self, shown: Presentation, scene: Scene, now: Moment) -> Found:
        code = shown.code
        assert code is not None  # noqa: S101 - the caller looked
        key = self._subject_of(code)
        if key is None:
            return self._found(shown, (), scene, now, self._bearer(shown))
        finding = self._store.find_one(code.issuer, key, now)
        mark = self._mark(code.issuer.encode(), key[:_MARK_BYTES])
        found = self._found(shown, (finding,), scene, now, (mark, *self._bearer(shown)), key)
        return replace(found, references=self._references({code.issuer: key}, (finding,), now))

    def _of_number(self, shown: Presentation, number: CardNumber, scene: Scene, now: Moment) -> Found:
        """Of every issuer whose index has the number; who has it not may know the holder all the same: Unknown."""
        terms = self._rules.terms_on(now.beijing_day)
        refused = terms is not None and not terms.takes_card(number.scheme)
        told = {} if refused else self._holders(number)
        keys = {issuer: key for issuer, key in told.items() if isinstance(key, bytes)}
        if not keys and shown.code:
            return self._of_code(replace(shown, number=None), scene, now)
        code_key = self._subject_of(shown.code) if shown.code else None
        problem = None
        if shown.code and code_key is not None:
            theirs = keys.setdefault(shown.code.issuer, code_key)
            problem = None if _one_subject(theirs, code_key) else Reason.CODE_OF_ANOTHER
        unknown = [
            Unknown(issuer, why) for issuer, why in told.items() if isinstance(why, Missing) and issuer not in keys
        ]
        findings = [*(self._store.find_one(issuer, key, now) for issuer, key in keys.items()), *unknown]
        marks = tuple(self._mark(issuer.encode(), key[:_MARK_BYTES]) for issuer, key in keys.items())
        subject = next(iter(keys.values()), b"")
        found = self._found(shown, findings, scene, now, (*marks, *self._bearer(shown)), subject, problem)
        given = replace(found.question.circumstances, card_refused=refused)
        references = self._references(keys, findings, now)
        return replace(found, question=replace(found.question, circumstances=given), references=references)

    def _holders(self, number: CardNumber) -> dict[str, bytes | Missing]:
        """Whose card it is by each subscribed issuer's index: a subject key or its first 7 bytes, or why not."""
        return {
            issuer: self._store.holder_of(issuer, card_key(self._peppers[issuer], issuer, number))
            if issuer in self._peppers
            else Missing.PEPPER_MISSING
            for issuer in self._by_id
        }

    def _of_certificate_alone(self, shown: Presentation, scene: Scene, now: Moment) -> Found:
        assert shown.certificate is not None  # noqa: S101 - the caller looked
        wrong = self._certificate_problem(shown.certificate, None, scene, now)
        problem = None if wrong is Reason.CERTIFICATE_NEEDS_CARD else wrong  # the rules ask for the card
        return Found(Question((), scene.conditions, _circumstances(shown, scene, AgeGroup.UNKNOWN)), problem=problem)

    def _certificate_problem(
        self, paper: Certificate, document: Document | None, scene: Scene, now: Moment
    ) -> Reason | None:
        # Whether a clock in doubt costs a paper of today is the rules' business (degraded/clock-and-paper).
        wrong = judge(paper, document, self._certifying_keys, now, clock_trusted=True)
        if wrong is CertificateProblem.CERTIFICATE_EXPIRED and Condition(Cause.CLOCK_UNTRUSTED) in scene.conditions:
            return Reason.CLOCK_UNTRUSTED  # R18: by such a clock nothing has expired
        return Reason[wrong.name] if wrong else None

    def _subject_of(self, code: HealthCode) -> bytes | None:
        """The subject key that the issuer's feed has for this code's token, or its first 7 bytes."""
        pepper = self._peppers.get(code.issuer)
        if pepper is None or code.dynamic:  # no feed can list a token that is made for one showing
            return None
        return self._store.subject_of(code.issuer, token_key(pepper, code.issuer, code.token))

    def _code_problem(self, code: HealthCode, keys: Mapping[str, bytes]) -> Reason | None:
        subject, key = self._subject_of(code), keys.get(code.issuer)
        another = subject is not None and key is not None and not key.startswith(subject)
        return Reason.CODE_OF_ANOTHER if another else None

    def _found(
        self,
        shown: Presentation,
        findings: Sequence[Finding],
        scene: Scene,
        now: Moment,
        marks: tuple[bytes, ...] = (),
        subject: bytes = b"",
        problem: Reason | None = None,
    ) -> Found:
        terms = self._rules.terms_on(now.beijing_day)
        years = age_on(shown.document, now.beijing_day) if shown.document else None
        group = terms.age_group(years) if terms else AgeGroup.UNKNOWN
        wanted = _askable(shown, _wanted(shown, findings, terms, now))
        # An issuer that is down is asked again when its circuit lets a probe through: that question is somebody's.
        resting = [issuer for issuer in wanted if issuer in self._desk.unreachable() and not self._desk.asks(issuer)]
        down = tuple(Unanswered(issuer, Silence.UNREACHABLE) for issuer in resting)
        question = Question((*findings, *down), scene.conditions, _circumstances(shown, scene, group))
        askable = tuple(issuer for issuer in wanted if self._desk.asks(issuer))
        return Found(question, marks, subject, askable, problem)

    async def ask(
        self, shown: Presentation, found: Question, issuers: Sequence[str], within_s: float, now: Moment
    ) -> Found:
        """What is known once these issuers were asked, at most `within_s`. Raises nothing."""
        terms = self._rules.terms_on(now.beijing_day)
        kept_s = terms.answers_kept_s if terms else 0.0
        replies = await asyncio.gather(
            *(self._desk.ask(issuer, shown.document, _code_of(shown, issuer), within_s, kept_s) for issuer in issuers)
        )
        told = tuple(finding for reply in replies for finding in reply.findings)
        named = next((reply.document for reply in replies if reply.document), None)
        if named and self._is_of_another(shown, named):
            return Found(found, problem=Reason.CODE_OF_ANOTHER)
        known = shown.document or named
        if known is None:
            question = replace(found, findings=(*found.findings, *told))
            return Found(question, (*self._token_subject(shown), *self._bearer(shown)))
        # The issuer told whose code it is: what every feed says of that person counts too.
        keys = {issuer: subject_key(pepper, known) for issuer, pepper in self._peppers.items()}
        findings = (*_beside_answers(self._store.find(keys, now), found.findings, told), *told)
        marks = (*self._marks(known, keys, findings), *self._bearer(shown))
        subject = next(iter(keys.values()), b"")
        question = replace(found, findings=findings)
        return Found(question, marks, subject, references=self._references(keys, findings, now))

    def _is_of_another(self, shown: Presentation, named: Document) -> bool:
        """Whether the holder that an issuer named is not the one of the card, or of its number."""
        if shown.document:
            return named != shown.document
        held = self._holders(shown.number) if shown.number else {}
        return any(
            isinstance(key, bytes) and not _one_subject(key, subject_key(self._peppers[issuer], named))
            for issuer, key in held.items()
        )

    def _marks(self, document: Document, keys: Mapping[str, bytes], findings: Iterable[Finding]) -> tuple[bytes, ...]:
        """The person's marks: of the document, and of the subject of each issuer that a code alone may lead to."""
        own = self._mark(document.type.encode(), document.number.encode())
        # Where a feed lists only some colours, a code alone leads to the same subject by the issuer's answer.
        named = dict.fromkeys(f.issuer for f in findings if isinstance(f, Told | NotListed) and f.issuer in keys)
        return (own, *[self._mark(issuer.encode(), keys[issuer][:_MARK_BYTES]) for issuer in named])

    def _token_subject(self, shown: Presentation) -> tuple[bytes, ...]:
        """The marks of the subjects that feeds have for a code's token and for a card's number."""
        keys = self._holders(shown.number) if shown.number else {}
        token = self._subject_of(shown.code) if shown.code else None
        named = [(issuer, key) for issuer, key in keys.items() if isinstance(key, bytes)]
        named += [(shown.code.issuer, token)] if shown.code and token else []
        return tuple(self._mark(issuer.encode(), key[:_MARK_BYTES]) for issuer, key in named)

    def _bearer(self, shown: Presentation) -> tuple[bytes, ...]:
        """The marks of what was shown itself: one code, even a printed one, and one card open for one person."""
        code, card = shown.code, shown.number
        of_code = (self._mark(b"token " + code.issuer.encode(), code.token.encode()),) if code else ()
        of_card = (self._mark(b"card " + card.scheme.encode(), card.number.encode()),) if card else ()
        return (*of_code, *of_card)

    def _mark(self, kind: bytes, name: bytes) -> bytes:
        """A mark within this process; worthless outside it."""
        return hashlib.blake2b(kind + b"\0" + name, key=self._process_key, digest_size=16).digest()


def _wanted(shown: Presentation, findings: Sequence[Finding], terms: Terms | None, now: Moment) -> tuple[str, ...]:
    """The issuers who may know more than their feed told: a list of some colours, old or broken data are no answer.

    Where somebody's word counts today, only a broken record is asked about: it could hide a red.
    """
    damaged = [f.issuer for f in findings if isinstance(f, Unknown) and f.why is Missing.STORE_DAMAGED]
    if any(isinstance(finding, Told) and _current(finding, terms, now) for finding in findings):
        return tuple(damaged)
    unsure = [f.issuer for f in findings if isinstance(f, NotListed | Unknown | Told)]
    code = [shown.code.issuer] if shown.code else []
    return tuple(dict.fromkeys((*code, *unsure)))


def _askable(shown: Presentation, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `wanted` that there is something to ask by: a document, or a code of their own, but no card's number."""
    if shown.document:
        return wanted
    return tuple(issuer for issuer in wanted if shown.code and issuer == shown.code.issuer)


def _one_subject(one: bytes, other: bytes) -> bool:
    """Whether two keys of one issuer name one subject; either may be the short form."""
    size = min(len(one), len(other))
    return one[:size] == other[:size]


def _current(told: Told, terms: Terms | None, now: Moment) -> bool:
    freshness = told.freshness
    return terms is None or freshness.band(terms.limits_of(told.issuer, freshness.partition), now) is not Band.EXPIRED


def _beside_answers(feeds: Iterable[Finding], before: Iterable[Finding], told: Iterable[Finding]) -> Iterator[Finding]:
    """What is known besides the issuers' answers: what feeds say now, and of before what no feed says.

    Whoever answered with a status has told what our broken or missing record of its feed could not.
    """
    answered = {finding.issuer for finding in told if isinstance(finding, Answered)}
    yield from (f for f in feeds if not (isinstance(f, Unknown) and f.issuer in answered))
    yield from (f for f in before if isinstance(f, Certified | Unanswered))


def _code_of(shown: Presentation, issuer: str) -> HealthCode | None:
    """The code, if it is this issuer's: another region learns nothing of it."""
    return shown.code if shown.code and shown.code.issuer == issuer else None


def _certified(shown: Presentation, now: Moment) -> Certified:
    certificate = shown.certificate
    assert certificate is not None  # noqa: S101 - the caller judged it
    begin_s = _beijing_midnight(now)
    return Certified(certificate.key_id, certificate.region, int(begin_s + _DAY_S), Freshness(begin_s))


def _beijing_midnight(now: Moment) -> float:
    """The instant at which the day in China began."""
    return (now.utc_s + 8 * 3600) // _DAY_S * _DAY_S - 8 * 3600


def _circumstances(shown: Presentation, scene: Scene, group: AgeGroup) -> Circumstances:
    code = shown.code
    return Circumstances(
        presented=Presented(shown.kind),
        code_issuer=code.issuer if code else "",
        code_form=code.form if code else "",
        code_needs_card=code.needs_card if code else False,
        age_group=group,
        guardian=scene.guardian,
        region=scene.region,
        day=scene.day,
        temperature=scene.temperature,
        card_scheme=shown.number.scheme if shown.number else "",
    )
