"""Whom a presentation leads to, whom the station asks about it, and by which marks its bearer is known again."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import cast

import pytest

from gate.credential.documents import DocumentType, document
from gate.credential.healthcode import HealthCode
from gate.credential.idcard import IdCard
from gate.credential.presentation import Presentation
from gate.feed.finding import Answered, Finding, Freshness, Listed, Missing, NotListed, Silence, Unanswered, Unknown
from gate.feed.records import CredentialStatus
from gate.issuers.ask import Reply
from gate.issuers.desk import IssuerDesk
from gate.moment import Moment
from gate.policy.decide import decide
from gate.policy.question import Day
from gate.policy.verdict import Reason, VerdictKind
from gate.station.lookup import Found, Lookup, Scene
from gate.station.rulefiles import read_rules
from gate.sync.store import StatusStore

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
