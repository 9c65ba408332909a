"""Jiangsu's verification of a 苏康码 (health-codes.md 2.3): the complete text of the code and who checks it here.

The answer's name, phone and number are masked: nobody is matched by what is left of a number, and none is kept.
"""

from collections.abc import Mapping

from gate.feed.finding import Answered, Freshness, Rejection, Silence
from gate.feed.vendors import Vendor, status_of
from gate.issuers.ask import Answer, Ask, Exchange, Outgoing, Reply, rejected, unanswered
from gate.issuers.values import table
from gate.issuersettings import Query

_REJECTIONS = {
    "111": Rejection.CODE_EXPIRED,
    "112": Rejection.CODE_NOT_OURS,
    "119": Rejection.HOLDER_MUST_UPDATE,
}
_NO_PERMISSION = ("116", "118")


class JiangsuVerify:
    """POST of a form; `token` is what the province gave this verifier, not the code's."""

    def __init__(self, issuer: str, query: Query, secrets: Mapping[str, str]) -> None:
        self._issuer = issuer
        self._query = query
        self._secrets = secrets

    def subject(self, ask: Ask) -> str | None:
        """The code's complete text, to its "#/result"."""
        return (ask.code.text or None) if ask.code else None

    def exchange(self, ask: Ask) -> Exchange:
        """One request."""
        verifier = self._query.verifier
        answer = yield Outgoing(
            self._query.url,
            form={
                "url": self.subject(ask) or "",
                "source": self._secrets["source"],
                "position": verifier.position,
                "verifierDept": verifier.department,
                "verifierName": verifier.name,
                "verifierPhone": verifier.phone,
                "token": self._secrets["token"],
            },
        )
        return read(self._issuer, answer, ask.now.utc_s)


def read(issuer: str, answer: Answer, now_utc_s: float) -> Reply:
    """What an answer says. Whether resCode is a text or a number is NOT FOUND: both are read, and exactly."""
    code = answer.get("resCode")
    code = str(code) if type(code) is int and 0 <= code < 1000 else code
    if not isinstance(code, str):
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    if code in _REJECTIONS:
        return rejected(issuer, _REJECTIONS[code])
    if code in _NO_PERMISSION:
        return unanswered(issuer, Silence.NO_PERMISSION)
    res = table(answer.get("res"))
    if code != "0" or res is None or "level" not in res:
        return unanswered(issuer, Silence.UNINTELLIGIBLE)  # 1 is "other"
    status = status_of(Vendor.ZHEJIANG_JIANGSU, res["level"])
    return Reply((Answered(issuer, status, "", 0, None, Freshness(now_utc_s)),))
