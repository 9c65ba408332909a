"""One question to an issuer, what goes over the line, and what comes of it. No IO here: an adapter is a generator.

An adapter yields each request of its exchange and is sent the JSON object that came back; what it returns at the end is
the `Reply`. The desk (desk.py) owns the connection, the time and the trouble. Whatever an issuer sends, an adapter
raises nothing.
"""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from gate.credential.documents import Document
from gate.credential.healthcode import HealthCode
from gate.feed.finding import Finding, Rejected, Rejection, Silence, Unanswered
from gate.moment import Moment

Answer = Mapping[str, Any]  # the JSON object of one response; nothing in it is believed to have a type


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question. No findings: this interface cannot ask by what was presented, so nobody was asked."""

    findings: tuple[Finding, ...]
    document: Document | None = field(default=None, repr=False)  # whose code it is, when the issuer tells it in full


@dataclass(frozen=True, slots=True)
class Ask:
    """One question; lives for one exchange."""

    document: Document | None = field(repr=False)
    code: HealthCode | None = field(repr=False)
    now: Moment


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One POST: exactly one of the three bodies. Its fields name somebody, so no repr and no log shows them."""

    url: str
    form: Mapping[str, str] | None = field(default=None, repr=False)  # application/x-www-form-urlencoded
    multipart: Mapping[str, str] | None = field(default=None, repr=False)  # multipart/form-data
    json: Mapping[str, Any] | None = field(default=None, repr=False)  # application/json


Exchange = Generator[Outgoing, Answer, Reply]


class Adapter(Protocol):
    """One interface of one issuer."""

    def subject(self, ask: Ask) -> str | None:
        """What would be asked about, as text; None when this interface cannot ask by what was presented."""

    def exchange(self, ask: Ask) -> Exchange:
        """The exchange about a subject that is not None. Raises nothing, whatever is sent in."""


def rejected(issuer: str, why: Rejection) -> Reply:
    """The issuer has no status for what was presented."""
    return Reply((Rejected(issuer, why),))


def unanswered(issuer: str, why: Silence) -> Reply:
    """The issuer said nothing of use."""
    return Reply((Unanswered(issuer, why),))
