"""Zhejiang's level query (health-codes.md 1.5, 2.2), with the two signatures seen.

md5 (the province's service bus): a fresh `requestSecret` and `app_key` are fetched for every question, then the ID
number is asked for as multipart/form-data. hmac-sha256 (Shaoxing): the code's text is asked for as JSON. Whether the
MD5 is in small letters is NOT FOUND; ours is, as Java's usual helpers give it.
"""

import hashlib
import hmac
import json
import uuid
from collections.abc import Mapping

from gate.credential.documents import DocumentType
from gate.feed.finding import Answered, Freshness, Silence
from gate.feed.vendors import Vendor, status_of
from gate.issuers.ask import Answer, Ask, Exchange, Outgoing, Reply, unanswered
from gate.issuers.values import beijing_utc_s, region, resident, table
from gate.issuersettings import Query

_FIELD_MAX = 256  # a key or a secret of theirs; what is longer is not sent back to them


class ZhejiangLevel:
    """By ID number, signed by MD5 with a secret of its own for each call: two requests within one deadline."""

    def __init__(self, issuer: str, query: Query, secrets: Mapping[str, str]) -> None:
        self._issuer = issuer
        self._query = query

    def subject(self, ask: Ask) -> str | None:
        """The number of a resident's ID: `IDENTITY_CARD` is the only idcardType seen."""
        document = ask.document
        return document.number if document and document.type is DocumentType.RESIDENT_ID else None

    def exchange(self, ask: Ask) -> Exchange:
        """The secret, then the question."""
        keys = fresh_keys((yield Outgoing(self._query.secret_url)))
        if keys is None:
            return unanswered(self._issuer, Silence.UNINTELLIGIBLE)
        app_key, secret = keys
        number, time = self.subject(ask) or "", str(int(ask.now.utc_s * 1000))
        fields = {"appKey": app_key, "sign": md5_sign(app_key, secret, time), "requestTime": time, "idcardNo": number}
        answer = yield Outgoing(self._query.url, multipart=fields)
        if answer.get("resultCode") != "00":
            return unanswered(self._issuer, Silence.UNINTELLIGIBLE)
        return read(self._issuer, answer, ask.now.utc_s, number)


class ShaoxingLevel:
    """By the code's text, signed by HMAC-SHA-256."""

    def __init__(self, issuer: str, query: Query, secrets: Mapping[str, str]) -> None:
        self._issuer = issuer
        self._query = query
        self._secrets = secrets

    def subject(self, ask: Ask) -> str | None:
        """The code's whole text."""
        return (ask.code.text or None) if ask.code else None

    def exchange(self, ask: Ask) -> Exchange:
        """One request. Beside its code "200" the answer's fields are NOT FOUND: they are read as the province's."""
        fields: dict[str, str | int] = {
            "appKey": self._secrets["app_key"],
            "bizData": json.dumps({"qrCode": self.subject(ask)}, separators=(",", ":"), ensure_ascii=False),
            "deviceId": self._query.device_id,
            "format": "json",
            "requestId": uuid.uuid4().hex,
            "timestamp": int(ask.now.utc_s * 1000),
            "version": "1.0",
        }
        signed = fields | {"sign": hmac_sign(fields, self._secrets["secret"])}
        answer = yield Outgoing(self._query.url, json=signed)
        if answer.get("code") != "200":
            return unanswered(self._issuer, Silence.UNINTELLIGIBLE)
        return read(self._issuer, answer, ask.now.utc_s)


def fresh_keys(answer: Answer) -> tuple[str, str] | None:
    """app_key and requestSecret out of `{"data": [{…}]}`."""
    rows = answer.get("data")
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    app_key, secret = _short(row.get("app_key")), _short(row.get("requestSecret"))
    return (app_key, secret) if app_key and secret else None


def _short(value: object) -> str:
    """A short printable text, "" for anything else."""
    return value if isinstance(value, str) and value.isprintable() and len(value) <= _FIELD_MAX else ""


def md5_sign(app_key: str, secret: str, time: str) -> str:
    """MD5(appKey + requestSecret + requestTime): theirs; it proves nothing to us, TLS does."""
    return hashlib.md5(f"{app_key}{secret}{time}".encode(), usedforsecurity=False).hexdigest()


_SIGNED = ("appKey", "bizData", "deviceId", "format", "requestId", "timestamp", "version")


def hmac_sign(fields: Mapping[str, str | int], secret: str) -> str:
    """HMAC-SHA-256, keyed by the appKey, over the values in this order and the secret; small hex."""
    text = "".join(str(fields[key]) for key in _SIGNED) + secret
    return hmac.digest(str(fields["appKey"]).encode(), text.encode(), "sha256").hex()


def read(issuer: str, answer: Answer, now_utc_s: float, number: str = "") -> Reply:
    """What an answer says: about `number`, or, where a code was asked for, about whom it names in full."""
    data = table(answer.get("data"))
    wrong = type(answer.get("errCode", 0)) is not int or answer.get("errCode", 0) != 0
    if wrong or answer.get("success", True) is not True or data is None or "level" not in data:
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    whose = resident(data.get("idcardNo")) if data.get("idcardType") == "IDENTITY_CARD" else None
    if number and whose is not None and whose.number != number:
        return unanswered(issuer, Silence.UNINTELLIGIBLE)
    status = status_of(Vendor.ZHEJIANG_JIANGSU, data["level"])
    since_s = beijing_utc_s(data.get("zjgxsj")) or 0
    found = Answered(issuer, status, region(data.get("cityNo")), since_s, None, Freshness(now_utc_s))
    return Reply((found,), None if number else whose)
