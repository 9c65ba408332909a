"""The desk without any line: what is not configured, and what cannot be asked."""

import asyncio

from gate.feed.finding import Silence, Unanswered
from gate.issuers.ask import Reply
from gate.issuers.desk import IssuerDesk
from gate.issuersettings import IssuerSettings, Query
from gate.moment import Moment

NOW = Moment(1_585_200_000.0, 100.0)


def test_an_issuer_without_a_query_is_never_asked() -> None:
    """Nor one that is not configured at all; each says so at once."""

    async def story() -> None:
        desk = IssuerDesk([IssuerSettings("SKM")], lambda: NOW)
        assert not desk.asks("SKM")
        assert await desk.ask("SKM", None, None, 0.8) == Reply((Unanswered("SKM", Silence.UNREACHABLE),))
        assert desk.unreachable() == frozenset()
        await desk.close()

    asyncio.run(story())


def test_a_presentation_that_the_interface_cannot_ask_by_asks_nobody() -> None:
    """No findings, and nothing that speaks against the issuer."""

    async def story() -> None:
        desk = IssuerDesk([IssuerSettings("HUB", query=Query("hubei-validate", "http://127.0.0.1:9/"))], lambda: NOW)
        assert desk.asks("HUB")
        assert await desk.ask("HUB", None, None, 0.8) == Reply(())
        await desk.close()
        assert not desk.asks("HUB")

    asyncio.run(story())
