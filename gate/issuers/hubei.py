"""Hubei's validateInfo (health-codes.md 1.2): one report for each province that says something, and all are kept.

How a report names its province is NOT FOUND; where an operator knows, `region_field` says it. Names and numbers come
masked and are not kept, nor is anything of a person's tests, trips and symptoms.
"""

from collections.abc import Mapping

from gate.feed.finding import Answered, Freshness, Rejection, Silence
from gate.feed.vendors import Vendor, status_of
from gate.issuers.ask import Answer, Ask, Exchange, Outgoing, Reply, rejected, unanswered
from gate.issuers.values import region, table
from gate.issuersettings import Query

REPORTS_MAX = 64  # 34 provinces and the national platform; more is no such answer


class HubeiValidate:
    """POST of JSON to …/userHealth/validateInfo. It names no key and no signature: the line must prove who asks."""

    def __init__(self, issuer: str, query: Query, secrets: Mapping[str, str]) -> None:
        self._issuer = issuer
        self._query = query

    def subject(self, ask: Ask) -> str | None:
        """The bizExtData that the code carries."""
        return (ask.code.token or None) if ask.code else None

    def exchange(self, ask: Ask) -> Exchange:
        """One request."""
        answer = yield Outgoing(self._query.url, json={"bizExtData": self.subject(ask)})
        return read(self._issuer, answer, ask.now.utc_s, self._query.region_field)


def read(issuer: str, answer: Answer, now_utc_s: float, region_field: str = "") -> Reply:
    """What an answer says."""
    if type(answer.get("errcode")) is not int:
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    if answer["errcode"] != 0:
        return unanswered(issuer, Silence.BUSY)  # their own page says "too many users, try again later" for every other
    reports = _reports(answer)
    if reports is None or len(reports) > REPORTS_MAX:
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    if not reports:
        return rejected(issuer, Rejection.PERSON_UNKNOWN)
    return Reply(tuple(_finding(issuer, report, now_utc_s, region_field) for report in reports))


def _reports(answer: Answer) -> list[object] | None:
    """`data.content` is a text that holds JSON, in which `data.healthyReport` is the list."""
    data = table(answer.get("data"))
    content = table(data.get("content")) if data else None
    inner = table(content.get("data")) if content else None
    reports = inner.get("healthyReport") if inner else None
    return reports if isinstance(reports, list) else None


def _finding(issuer: str, report: object, now_utc_s: float, region_field: str) -> Answered:
    """One province's report. Their page takes all but 00 and 01 for high risk; to us it is unknown, and says so."""
    fields = report if isinstance(report, dict) else {}
    status = status_of(Vendor.CROSS_SYSTEM, fields.get("healthyStaus"))  # sic
    return Answered(issuer, status, region(fields.get(region_field)), 0, None, Freshness(now_utc_s))
