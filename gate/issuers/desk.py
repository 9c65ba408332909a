"""Where the station asks issuers: each question once, within the lane's time, and none while an issuer is down.

No retry and no queue: behind the passenger stands the next one, and a storm of retries is what kept Xi'an's platform
down (health-codes.md 2.7). Whatever happens on the line, a question ends in a `Reply`.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from gate.credential.documents import Document
from gate.credential.healthcode import HealthCode
from gate.feed.finding import Silence, Unanswered
from gate.issuers.anhui import AnhuiId
from gate.issuers.ask import Adapter, Ask, Reply, unanswered
from gate.issuers.cache import AnswerCache
from gate.issuers.circuit import DRAW, Circuit
from gate.issuers.guangdong import GuangdongDecode
from gate.issuers.hubei import HubeiValidate
from gate.issuers.jiangsu import JiangsuVerify
from gate.issuers.link import Link, LinkError
from gate.issuers.zhejiang import ShaoxingLevel, ZhejiangLevel
from gate.issuersettings import IssuerSettings, Query, read_secrets
from gate.moment import Moment

log = logging.getLogger(__name__)

# Under way to one issuer at once: 48 lanes at one passenger in 2 s (health-codes.md 3.1) and 0.8 s each are 19.
QUESTIONS_MAX = 32
# A question that was given less of its usual time than this share proves nothing against the issuer.
_FAIR_SHARE = 0.5
_ADAPTERS: dict[str, Callable[[str, Query, Any], Adapter]] = {
    "guangdong-decode": GuangdongDecode,
    "jiangsu-verify": JiangsuVerify,
    "hubei-validate": HubeiValidate,
    "anhui-id": AnhuiId,
}
# What speaks against the issuer as a whole. A refused or odd answer to one question does not: a party of strangers whom
# it does not know must not close it to everybody.
_FAILURES = frozenset({Silence.LATE, Silence.UNREACHABLE, Silence.BUSY})


class _Counter:
    """One issuer that may be asked."""

    def __init__(self, issuer: str, query: Query, draw: Callable[[], float]) -> None:
        make = _ADAPTERS.get(query.interface, ShaoxingLevel if query.sign == "hmac-sha256" else ZhejiangLevel)
        self.issuer = issuer
        self.query = query
        self.adapter = make(issuer, query, read_secrets(query))
        self.link = Link(query, QUESTIONS_MAX)
        self.circuit = Circuit(draw)
        self.under_way = 0
        self.permitted = True

    async def exchange(self, ask: Ask) -> Reply:
        """The whole exchange. Raises LinkError."""
        steps = self.adapter.exchange(ask)
        outgoing = next(steps)
        while True:
            answer = await self.link.post(outgoing)
            try:
                outgoing = steps.send(answer)
            except StopIteration as end:
                reply: Reply = end.value
                return reply


class IssuerDesk:
    """All issuers that may be asked. Lives on the controller's event loop."""

    def __init__(
        self, issuers: Sequence[IssuerSettings], now: Callable[[], Moment], draw: Callable[[], float] = DRAW
    ) -> None:
        """Raises ConfigError when an issuer's secrets or certificates cannot be used. `draw`: the back-off's chance."""
        self._now = now
        self._counters = {
            settings.id: _Counter(settings.id, settings.query, draw) for settings in issuers if settings.query
        }
        self._cache = AnswerCache()
        self._closed = False

    def asks(self, issuer: str) -> bool:
        """Whether a question to this issuer would go out: it is configured and its circuit lets one through."""
        counter = self._counters.get(issuer)
        return counter is not None and not self._closed and counter.circuit.lets(self._now().mono_s)

    def unreachable(self) -> frozenset[str]:
        """The issuers whose circuit is open, until a question to them has been answered again."""
        return frozenset(issuer for issuer, counter in self._counters.items() if counter.circuit.is_open)

    async def ask(
        self, issuer: str, document: Document | None, code: HealthCode | None, within_s: float, cache_s: float = 0.0
    ) -> Reply:
        """What this issuer says of one presentation, within `within_s`. Raises nothing but CancelledError.

        `cache_s`: for how long the rule lets a green answer serve again.
        """
        ask = Ask(document, code, self._now())
        counter = self._counters.get(issuer)
        if counter is None or self._closed:
            return unanswered(issuer, Silence.UNREACHABLE)
        subject = counter.adapter.subject(ask)
        if subject is None:
            return Reply(())
        key = self._cache.key(issuer, subject)
        kept = self._cache.find(key, ask.now) if cache_s > 0 else None
        if kept is not None:
            return kept
        reply = await self._admitted(counter, ask, within_s)
        self._cache.keep(key, reply, ask.now, cache_s)
        return reply

    async def close(self) -> None:
        """Ask nobody any more and end the connections."""
        self._closed = True
        for counter in self._counters.values():
            await counter.link.close()

    async def _admitted(self, counter: _Counter, ask: Ask, within_s: float) -> Reply:
        """The question, if it may go out at all; the circuit learns how it ended."""
        if not counter.circuit.lets(ask.now.mono_s):
            return unanswered(counter.issuer, Silence.UNREACHABLE)
        if counter.under_way >= QUESTIONS_MAX:
            return unanswered(counter.issuer, Silence.BUSY)
        probe = counter.circuit.begin()
        counter.under_way += 1
        try:
            reply, failed = await _timed(counter, ask, within_s)
        except asyncio.CancelledError:
            counter.circuit.abandoned(probe)
            raise
        finally:
            counter.under_way -= 1
        self._learn(counter, probe, failed, reply)
        return reply

    def _learn(self, counter: _Counter, probe: bool, failed: bool | None, reply: Reply) -> None:
        if failed is None:
            counter.circuit.abandoned(probe)
        elif failed:
            if counter.circuit.failed(probe, self._now().mono_s):
                log.warning("issuer %s: unreachable (%s); asked again now and then", counter.issuer, _why(reply))
        else:
            if counter.circuit.worked(probe):
                log.info("issuer %s: answers again", counter.issuer)
            _notice_permission(counter, reply)


async def _timed(counter: _Counter, ask: Ask, within_s: float) -> tuple[Reply, bool | None]:
    """The reply, and whether it speaks against the issuer as a whole; None: it had too little time to say."""
    limit_s = min(within_s, counter.query.timeout_s)
    try:
        async with asyncio.timeout(limit_s):
            reply = await counter.exchange(ask)
    except TimeoutError:
        fair = limit_s >= _FAIR_SHARE * counter.query.timeout_s
        return unanswered(counter.issuer, Silence.LATE), True if fair else None
    except LinkError as error:
        return unanswered(counter.issuer, error.why), error.why is not Silence.NO_PERMISSION
    except Exception as error:
        # A fault of ours or of a library must not stop the lane; its text may quote the passenger, its type cannot.
        log.error("issuer %s: %s while asking: please report this", counter.issuer, type(error).__name__)
        return unanswered(counter.issuer, Silence.UNINTELLIGIBLE), True
    return reply, _why(reply) in _FAILURES


def _why(reply: Reply) -> Silence | None:
    first = reply.findings[0] if reply.findings else None
    return first.why if isinstance(first, Unanswered) else None


def _notice_permission(counter: _Counter, reply: Reply) -> None:
    """Say once when the issuer refuses this verifier, and once when it no longer does."""
    permitted = _why(reply) is not Silence.NO_PERMISSION
    if permitted != counter.permitted:
        counter.permitted = permitted
        if permitted:
            log.info("issuer %s: lets this station ask again", counter.issuer)
        else:
            log.warning("issuer %s: refuses this station: check its secret_file and verifier", counter.issuer)
