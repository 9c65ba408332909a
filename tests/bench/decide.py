"""Decisions measured: a code's text to verdict with eight issuers' word, one rule alone, a transit code's seals."""

import statistics
import time
from collections.abc import Callable

from gate.credential.healthcode import HealthCode, judge_code, read_code
from gate.credential.transit import TransitCode, judge_seal
from gate.feed.finding import Enrolled, Finding, Freshness, NotCovered, Uncovered
from gate.feed.records import CredentialStatus
from gate.moment import Moment
from gate.policy.decide import decide
from gate.policy.facts import FactBook, Facts, weigh
from gate.policy.question import Circumstances, Presented, Question
from gate.sim.codes import code_text, make_seal_keys
from gate.station.rulefiles import read_issuers, read_rules
from tests.bench.figures import Figure, quantile, timed

NOW = Moment(1_590_000_000.0, 0.0)
DECISIONS = 20_000
RULE_CALLS = 2_000  # of each rule
SEALS = 200
_OTHERS = ("ZJ", "SKM", "SCM", "XKM", "NGL", "NATIONAL", "SSM")
TOKEN = "0123456789abcdef" * 2


def measure() -> list[Figure]:
    """All figures."""
    return [*_decisions(), *_rules(), *_seals()]


def _findings() -> tuple[Finding, ...]:
    """What a card of an enrolled green finds: one issuer knows the person, seven do not."""
    freshness = Freshness(NOW.utc_s - 3600)
    others = (NotCovered(issuer, 7, freshness, Uncovered.UNKNOWN_PERSON) for issuer in _OTHERS)
    return (Enrolled("AKM", CredentialStatus.GREEN, "340000", 0, None, 7, freshness), *others)


def _question(code: HealthCode, findings: tuple[Finding, ...]) -> Question:
    given = Circumstances(Presented.CARD_AND_CODE, code.issuer, code.form, region="330100")
    return Question(findings, frozenset(), given)


def _decisions() -> list[Figure]:
    rules, issuers, findings = read_rules(None), read_issuers(None), _findings()

    def present(payload: bytes) -> None:
        code = read_code(payload, issuers)
        assert isinstance(code, HealthCode)
        assert judge_code(code, {}, NOW, clock_trusted=True) is None
        decide(_question(code, findings), rules, NOW)

    payloads = [code_text("AKM", f"{n:032x}", NOW.utc_s).encode() + b"\r\n" for n in range(DECISIONS)]
    timed(present, payloads[:500])  # closures and caches are warm in a running station
    spent = timed(present, payloads)
    in_force = len(rules.in_force(NOW.beijing_day, "330100"))
    note = f"code's text to verdict, 8 issuers, {in_force} rules in force"
    return [Figure(f"decide_p{q}_us", round(quantile(spent, q / 100), 1), "us", DECISIONS, note) for q in (50, 99)]


def _rules() -> list[Figure]:
    """Of each shipped rule's median: the median over all, and the dearest."""
    rules, question = read_rules(None), Question(_findings(), frozenset(), Circumstances(region="330100"))
    terms = rules.terms_on(NOW.beijing_day)
    assert terms is not None
    book = FactBook(question, weigh(question, terms, NOW, NOW), NOW.beijing_day)
    medians = []
    for rule in rules.rules:
        facts = book.counting(rule.counts)
        holds = rule.holds

        def once(_: bytes, holds: Callable[[Facts], object] = holds, facts: Facts = facts) -> object:
            return holds(facts)

        medians.append(statistics.median(timed(once, [b""] * RULE_CALLS)))
    calls = RULE_CALLS * len(medians)
    return [
        Figure("rule_eval_p50_us", round(statistics.median(medians), 2), "us", calls, "median of the shipped rules"),
        Figure("rule_eval_dearest_us", round(max(medians), 2), "us", calls, "the dearest of the shipped rules"),
    ]


def _seals() -> list[Figure]:
    """Both SM2 signatures of a transit code; nothing where SM2 is not installed."""
    try:
        keys = make_seal_keys()
        code = read_code(code_text("SSM_TRANSIT", TOKEN, NOW.utc_s, keys).encode(), read_issuers(None))
    except Exception as error:  # an optional extra of the service
        print(f"sm2_verify_ms is left out: {error}")
        return []
    assert isinstance(code, HealthCode)
    assert isinstance(code.seal, TransitCode)
    verifiers, spent = keys.verifiers(), []
    for _ in range(SEALS):
        started = time.perf_counter()
        assert judge_seal(code.seal, verifiers) is None
        spent.append((time.perf_counter() - started) * 1000)
    note = "both signatures of one Shanghai transit code"
    return [Figure("sm2_verify_ms", round(statistics.median(spent), 3), "ms", SEALS, note)]
