"""Guangdong-family decode (health-codes.md 1.5): the code's text goes in, grade and dates of the report come out.

The answer's name, phone and certificate number are masked and its certificate_token is sealed: none of them is kept.
"""

import hashlib
from collections.abc import Mapping

from gate.feed.finding import Answered, Freshness, Rejection, Silence
from gate.feed.records import CredentialStatus
from gate.feed.vendors import Vendor, status_of
from gate.issuers.ask import Answer, Ask, Exchange, Outgoing, Reply, rejected, unanswered
from gate.issuers.values import beijing_utc_s, table
from gate.issuersettings import Query


class GuangdongDecode:
    """POST of a form to …/health/decode."""

    def __init__(self, issuer: str, query: Query, secrets: Mapping[str, str]) -> None:
        self._issuer = issuer
        self._query = query
        self._secrets = secrets

    def subject(self, ask: Ask) -> str | None:
        """The code's whole text."""
        return (ask.code.text or None) if ask.code else None

    def exchange(self, ask: Ask) -> Exchange:
        """One request."""
        answer = yield Outgoing(self._query.url, form=self._fields(self.subject(ask) or "", ask.now.utc_s))
        return read(self._issuer, answer, ask.now.utc_s)

    def _fields(self, text: str, now_utc_s: float) -> dict[str, str]:
        fields = {"appId": self._secrets["app_id"], "timestamp": str(int(now_utc_s * 1000)), "code_content": text}
        secret = {"secretKey": self._secrets["secret_key"]}
        shown = fields | secret if self._query.send_secret_key else fields
        return shown | {"sign": sign(fields | secret)}


def sign(fields: Mapping[str, str]) -> str:
    """Upper-case hex SHA-256 of `k=v` in order of the keys, joined by "&"; the page's Java cuts off the last "&"."""
    text = "&".join(f"{key}={fields[key]}" for key in sorted(fields))
    return hashlib.sha256(text.encode()).hexdigest().upper()


def read(issuer: str, answer: Answer, now_utc_s: float) -> Reply:
    """What an answer says. Codes of errors are NOT FOUND: anything but 0 tells nothing of the passenger."""
    data = table(answer.get("data"))
    if answer.get("errcode") != 0 or type(answer.get("errcode")) is not int or data is None:
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    if data.get("qrcode_expired", False) is not False:
        # An expired code is no error here: errcode 0, and no grade beside it.
        expired = data["qrcode_expired"] is True
        return rejected(issuer, Rejection.CODE_EXPIRED) if expired else unanswered(issuer, Silence.UNINTELLIGIBLE)
    told = _report(data)
    if told is None:
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    status, since_s, until_s = told
    return Reply((Answered(issuer, status, "", since_s, until_s, Freshness(now_utc_s)),))


def _report(data: Answer) -> tuple[CredentialStatus, int, int | None] | None:
    """Status, since and until when; None where a field is missing that the page promises: half an answer is none."""
    grade, expired = data.get("risk_assessment_grade"), data.get("report_expired")
    if data.get("report_date") == "":  # "empty: never declared"
        return CredentialStatus.NOT_CLAIMED, 0, None
    since_s, until_s = beijing_utc_s(data.get("report_date")), beijing_utc_s(data.get("report_valid_date"))
    if grade is None or type(expired) is not bool or since_s is None or until_s is None:
        return None
    return CredentialStatus.GREY if expired else status_of(Vendor.CROSS_SYSTEM, grade), since_s, until_s
