"""Whom a presentation leads to, whom the station asks about it, and by which marks its bearer is known again."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import pytest

from gate.credential.cardnumber import card_number
from gate.credential.documents import DocumentType, document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.credential.presentation import Presentation
from gate.credential.subject import subject_key
from gate.feed.finding import Answered, Finding, Freshness, Listed, Missing, NotListed, Silence, Unanswered, Unknown
from gate.feed.records import CredentialStatus
from gate.issuers.ask import Reply
from gate.issuers.desk import IssuerDesk
from gate.moment import Moment
from gate.policy.decide import decide
from gate.policy.question import AgeGroup, Day, Presented
from gate.policy.verdict import Reason, VerdictKind
from gate.station.lookup import Found, Lookup, Scene
from gate.station.rulefiles import read_rules
from gate.sync.store import StatusStore

PEPPERS = {"p": b"p" * 32}
TRANSIT = Presentation(number=card_number("shanghai-transit", "11259375"))
NOW = Moment(1_590_000_000.0, 0.0)
RULES = read_rules(None)
SCENE = Scene("330100", Day.CHECKING, frozenset())
PRINTED = HealthCode("ZJ", "ZJ_V2", "V2-token")
FRESH, OLD = Freshness(NOW.utc_s - 60), Freshness(NOW.utc_s - 60 * 3600)


def _card(person: int) -> Presentation:
    return Presentation(card=IdCard(document(DocumentType.PASSPORT, f"E1234567{person}"), None, None))


def _told(issuer: str, status: CredentialStatus, freshness: Freshness = FRESH) -> Listed:
    return Listed(issuer, status, "330000", 0, None, 1, freshness)


class _Feeds:
    """What every card finds, and no token."""

    def __init__(self, *findings: Finding) -> None:
        self._findings = findings

    def held(self) -> Mapping[str, object]:
        return {}

    def subject_of(self, issuer: str, token: bytes) -> bytes | None:
        return None

    def find(self, keys: Mapping[str, bytes], now: Moment) -> tuple[Finding, ...]:
        return self._findings


@dataclass(frozen=True)
class _Held:
    pepper_id: str


class _Indexes:
    """What each issuer's index names by card and by code, and what its feed says of whoever that is."""

    def __init__(
        self, cards: Mapping[str, bytes | Missing], tokens: Mapping[str, bytes], said: Sequence[Finding]
    ) -> None:
        self._cards, self._tokens = cards, tokens
        self._said = {finding.issuer: finding for finding in said}
        self.asked: list[str] = []

    def held(self) -> Mapping[str, _Held]:
        return dict.fromkeys(self._said, _Held("p"))

    def holder_of(self, issuer: str, card: bytes) -> bytes | Missing:
        self.asked.append(issuer)
        return self._cards.get(issuer, Missing.CARD_NOT_LINKED)

    def subject_of(self, issuer: str, token: bytes) -> bytes | None:
        return self._tokens.get(issuer)

    def find_one(self, issuer: str, key: bytes, now: Moment) -> Finding:
        return self._said[issuer]

    def find(self, keys: Mapping[str, bytes], now: Moment) -> tuple[Finding, ...]:
        return tuple(self._said.values())


class _Counters:
    """Issuers that can be asked, and the answer of each, which names nobody."""

    def __init__(self, answers: Mapping[str, Finding]) -> None:
        self._answers = answers

    def asks(self, issuer: str) -> bool:
        return issuer in self._answers

    def unreachable(self) -> frozenset[str]:
        return frozenset()

    async def ask(self, issuer: str, *_: object) -> Reply:
        return Reply((self._answers[issuer],))


def _lookup(feeds: Sequence[Finding] = (), answers: Mapping[str, Finding] | None = None) -> Lookup:
    store, desk = cast(StatusStore, _Feeds(*feeds)), cast(IssuerDesk, _Counters(answers or {}))
    return Lookup(store, RULES, desk, {}, {})


def _indexed(
    cards: Mapping[str, bytes | Missing],
    *said: Finding,
    tokens: Mapping[str, bytes] | None = None,
    answers: Mapping[str, Finding] | None = None,
) -> Lookup:
    store = cast(StatusStore, _Indexes(cards, tokens or {}, said))
    lookup = Lookup(store, RULES, cast(IssuerDesk, _Counters(answers or {})), {f.issuer: PEPPERS for f in said}, {})
    lookup.use_held_peppers()
    return lookup


def _asked(lookup: Lookup, shown: Presentation) -> tuple[Found, Found]:
    found = lookup.find(shown, SCENE, NOW)
    return found, asyncio.run(lookup.ask(shown, found.question, found.askable, 0.1, NOW))


def _green(issuer: str) -> Answered:
    return Answered(issuer, CredentialStatus.GREEN, "", 0, None, Freshness(NOW.utc_s))


@pytest.mark.requirement("R14")
def test_a_printed_code_opens_for_one_person_whatever_cards_are_shown_with_it() -> None:
    """An issuer's answer that names nobody leaves the code's own mark: alone and with two people's cards it is one."""
    lookup = _lookup(answers={"ZJ": _green("ZJ")})
    shown = [Presentation(code=PRINTED), *[_card(n).with_more(Presentation(code=PRINTED)) for n in (1, 2)]]
    travellers = [_asked(lookup, one)[1].travellers for one in shown]
    common = set(travellers[0]).intersection(*travellers[1:])
    assert len(common) == 1
    other = _asked(lookup, Presentation(code=HealthCode("ZJ", "ZJ_V2", "V2-another")))[1].travellers
    assert not common & set(other)


@pytest.mark.requirement("R6")
def test_an_issuer_is_asked_where_its_own_word_is_too_old() -> None:
    """Data older than its limit is no answer: the issuer's own of now is, and opens."""
    lookup = _lookup([_told("AKM", CredentialStatus.GREEN, OLD)], {"AKM": _green("AKM")})
    found, asked = _asked(lookup, _card(1))
    assert (found.askable, decide(found.question, RULES, NOW).reason) == (("AKM",), Reason.FEED_EXPIRED)
    assert decide(asked.question, RULES, NOW).kind is VerdictKind.GRANT


@pytest.mark.requirement("R2")
def test_a_damaged_record_hides_nothing_once_its_issuer_has_answered() -> None:
    """Beside another's green a broken record could hide a red: its issuer's answer decides, its silence not."""
    feeds = [_told("SSM", CredentialStatus.GREEN), Unknown("AKM", Missing.STORE_DAMAGED)]
    red = Answered("AKM", CredentialStatus.RED, "", 0, None, Freshness(NOW.utc_s))
    silent = Unanswered("AKM", Silence.LATE)
    said = []
    for answer in (_green("AKM"), red, silent):
        found, asked = _asked(_lookup(feeds, {"AKM": answer}), _card(1))
        assert (found.askable, decide(found.question, RULES, NOW).reason) == (("AKM",), Reason.STORE_DAMAGED)
        said.append(decide(asked.question, RULES, NOW).reason)
    assert said == [Reason.STATUS_GREEN, Reason.STATUS_RED, Reason.STORE_DAMAGED]


def test_nobody_is_asked_about_whom_a_word_of_today_is_known() -> None:
    """Beside a current word absence from other lists asks no one: no storm of questions."""
    lookup = _lookup([_told("SSM", CredentialStatus.GREEN), NotListed("ZJ", 1, FRESH)], {"ZJ": _green("ZJ")})
    assert lookup.find(_card(1), SCENE, NOW).askable == ()


# --- card numbers --------------------------------------------------------------------------------------------------


def _decided(found: Found) -> tuple[VerdictKind, Reason]:
    verdict = decide(found.question, RULES, NOW)
    return verdict.kind, verdict.reason


def test_a_card_number_leads_to_whoever_the_indexes_name_and_to_nobody_else() -> None:
    """Both issuers that have it are heard; the third may know the holder all the same, and is "we cannot say"."""
    cards: dict[str, bytes | Missing] = {"SSM": b"s" * 7, "ZJ": b"z" * 16}
    green, red = _told("SSM", CredentialStatus.GREEN), _told("ZJ", CredentialStatus.RED)
    found = _indexed(cards, green, red, _told("AKM", CredentialStatus.GREEN)).find(TRANSIT, SCENE, NOW)
    assert found.question.findings == (green, red, Unknown("AKM", Missing.CARD_NOT_LINKED))
    assert _decided(found) == (VerdictKind.DENY, Reason.STATUS_RED)
    assert found.references.keys() == {"ZJ"}
    given = found.question.circumstances
    assert (given.presented, given.card_scheme, given.age_group) == (
        Presented.CARD_NUMBER, "shanghai-transit", AgeGroup.UNKNOWN,
    )  # fmt: skip
    assert "11259375" not in repr(found)


def test_a_broken_index_beside_a_green_goes_to_staff() -> None:
    """It could hide that a red is the holder's."""
    cards: dict[str, bytes | Missing] = {"SSM": b"s" * 7, "ZJ": Missing.STORE_DAMAGED}
    lookup = _indexed(cards, _told("SSM", CredentialStatus.GREEN), _told("ZJ", CredentialStatus.GREEN))
    assert _decided(lookup.find(TRANSIT, SCENE, NOW)) == (VerdictKind.REFER, Reason.STORE_DAMAGED)


def test_no_issuer_is_asked_about_a_bare_number() -> None:
    """There is nothing to ask by: unlisted, unlinked or too old, none is questioned."""
    for said in (NotListed("SSM", 1, FRESH), _told("SSM", CredentialStatus.GREEN, OLD)):
        lookup = _indexed({"SSM": b"s" * 7}, said, answers={"SSM": _green("SSM")})
        assert lookup.find(TRANSIT, SCENE, NOW).askable == ()


@pytest.mark.requirement("R3", "R5")
@pytest.mark.parametrize("size", [7, 16])
def test_number_and_code_must_be_of_one_person(size: int) -> None:
    """Where one issuer's index names the holders of both: another's code is CODE_OF_ANOTHER, the own one passes."""
    both = Presentation(code=PRINTED).with_more(TRANSIT)
    assert both.kind == "CARD_NUMBER_AND_CODE"
    for owner, problem in ((b"z" * 16, None), (b"y" * 16, Reason.CODE_OF_ANOTHER)):
        lookup = _indexed({"ZJ": b"z" * size}, _told("ZJ", CredentialStatus.GREEN), tokens={"ZJ": owner})
        assert lookup.find(both, SCENE, NOW).problem is problem


def test_a_number_that_nobody_knows_leaves_the_code_alone() -> None:
    """It binds nothing to anybody, so it is as if only the code had been shown."""
    both = Presentation(code=PRINTED).with_more(TRANSIT)
    found = _indexed({}, _told("ZJ", CredentialStatus.GREEN), tokens={"ZJ": b"z" * 7}).find(both, SCENE, NOW)
    assert found.question.circumstances.presented is Presented.CODE
    assert _decided(found) == (VerdictKind.GRANT, Reason.STATUS_GREEN)


@pytest.mark.requirement("R14")
def test_number_card_and_code_of_one_person_have_a_mark_in_common() -> None:
    """So that whichever passes first, the others have passed; another person's card shares none."""
    lookup = _indexed({}, _told("ZJ", CredentialStatus.GREEN))
    holder = _card(1)
    assert holder.document is not None
    key = subject_key(PEPPERS["p"], holder.document)
    for known in (key, key[:7]):
        lookup = _indexed({"ZJ": known}, _told("ZJ", CredentialStatus.GREEN), tokens={"ZJ": known})
        shown = (TRANSIT, Presentation(code=PRINTED), TRANSIT.with_more(Presentation(code=PRINTED)), holder)
        marks = [set(lookup.find(one, SCENE, NOW).travellers) for one in shown]
        assert all(one & other for one in marks for other in marks)
        assert not marks[0] & set(lookup.find(_card(2), SCENE, NOW).travellers)


class _Tells(_Counters):
    """An issuer that also tells whose code it is."""

    def __init__(self, holder: Presentation) -> None:
        super().__init__({"ZJ": _green("ZJ")})
        self._holder = holder.document

    async def ask(self, issuer: str, *_: object) -> Reply:
        return Reply((self._answers[issuer],), self._holder)


@pytest.mark.requirement("R3", "R5")
def test_an_issuer_that_names_another_holder_than_the_cards_index_opens_nothing() -> None:
    """The number is of one person and the code of another: CODE_OF_ANOTHER; of the same, its word counts."""
    holder, another = _card(1), _card(2)
    assert holder.document is not None
    key = subject_key(PEPPERS["p"], holder.document)
    both = Presentation(code=PRINTED).with_more(TRANSIT)
    for named, problem in ((holder, None), (another, Reason.CODE_OF_ANOTHER)):
        store = cast(StatusStore, _Indexes({"ZJ": key[:7]}, {}, [NotListed("ZJ", 1, FRESH)]))
        lookup = Lookup(store, RULES, cast(IssuerDesk, _Tells(named)), {"ZJ": PEPPERS}, {})
        lookup.use_held_peppers()
        found, asked = _asked(lookup, both)
        assert (found.askable, asked.problem) == (("ZJ",), problem)
        assert problem or _decided(asked) == (VerdictKind.GRANT, Reason.STATUS_GREEN)
