"""Anhui's query by ID number (health-codes.md 2.4), as gates of its cities used it.

How the request is written down is NOT FOUND: ours is JSON. The answer lies in one or two envelopes `{flag, data}`.
Where somebody lives is not kept: its jzd*Code is "residence or destination", and which of the two is not said.
"""

from collections.abc import Mapping

from gate.credential.documents import DocumentType
from gate.feed.finding import Answered, Freshness, Silence
from gate.feed.vendors import Vendor, status_of
from gate.issuers.ask import Answer, Ask, Exchange, Outgoing, Reply, unanswered
from gate.issuers.values import beijing_utc_s, resident, table
from gate.issuersettings import Query

_ENVELOPES_MAX = 2  # the gateway's and the service's own
# dataSource 1 is Anhui's own; 2 is the national platform, which does not say who told it.
_ASSERTED_BY = {"1": "340000"}


class AnhuiId:
    """POST with the number, the site and who checks there."""

    def __init__(self, issuer: str, query: Query, secrets: Mapping[str, str]) -> None:
        self._issuer = issuer
        self._query = query

    def subject(self, ask: Ask) -> str | None:
        """The number of a resident's ID; of other documents nothing is documented."""
        document = ask.document
        return document.number if document and document.type is DocumentType.RESIDENT_ID else None

    def exchange(self, ask: Ask) -> Exchange:
        """One request."""
        number = self.subject(ask) or ""
        answer = yield Outgoing(
            self._query.url,
            json={
                "idCardNo": number,
                "cityCode": self._query.city_code,
                "siteId": self._query.site_id,
                "checkUsrName": self._query.verifier.name,
            },
        )
        return read(self._issuer, answer, number, ask.now.utc_s)


def read(issuer: str, answer: Answer, number: str, now_utc_s: float) -> Reply:
    """What an answer says. `flag` false comes with a sentence only: no code tells a stranger from a fault of theirs."""
    data = _inner(answer)
    if data is None or "healthLevel" not in data or _of_another(data, number):
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    status = status_of(Vendor.ANHUI, data["healthLevel"])
    source, since_s = data.get("dataSource"), beijing_utc_s(data.get("changeTime"))
    asserted_by = _ASSERTED_BY.get(str(source), "") if type(source) in (str, int) else ""
    return Reply((Answered(issuer, status, asserted_by, since_s or 0, None, Freshness(now_utc_s)),))


def _inner(answer: Answer) -> Answer | None:
    inside: Answer | None = answer
    for _ in range(_ENVELOPES_MAX):
        if inside is not None and "flag" in inside:
            inside = table(inside.get("data")) if inside["flag"] is True else None
    return inside


def _of_another(data: Answer, number: str) -> bool:
    """Whether the answer is, in full digits, about somebody else than was asked for."""
    told = resident(data.get("idCardNo"))
    return told is not None and told.number != number
