"""What each simulated issuer's interface takes and answers, byte for byte as far as health-codes.md has it.

Signatures are computed here anew, not with the code under test. Where an error's number is NOT FOUND, one is made up
that is at least not the number of success.
"""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from typing import Any
from urllib.parse import parse_qsl

from gate.feed.records import CredentialStatus as Status

Json = dict[str, Any]
_BEIJING = timedelta(hours=8)
CLOCK_SKEW_S = 300.0  # how far a caller's timestamp may be off; NOT FOUND, five minutes are usual
MADE_UP_ERROR = 10006
SECRETS_MAX = 1000  # handed out and not used yet; the oldest go first


@dataclass(frozen=True, slots=True)
class Post:
    """One request."""

    path: str
    content_type: str
    body: bytes = field(repr=False)

    def form(self) -> dict[str, str]:
        """Fields of application/x-www-form-urlencoded."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True, strict_parsing=bool(self.body)))

    def multipart(self) -> dict[str, str]:
        """Fields of multipart/form-data."""
        whole = message_from_bytes(f"content-type: {self.content_type}\r\n\r\n".encode() + self.body)
        parts = whole.get_payload() if whole.is_multipart() else []
        return {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True).decode()  # type: ignore[union-attr]
            for part in parts
        }

    def json(self) -> Json:
        """The object of application/json."""
        value = json.loads(self.body)
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True, slots=True)
class Access:
    """What a caller must know and say."""

    app_id: str = "gate-app"
    secret_key: str = field(default="made-up-secret-key", repr=False)
    source: str = "station"
    token: str = field(default="made-up-token", repr=False)
    app_key: str = "made-up-app-key"
    secret: str = field(default="made-up-secret", repr=False)
    city_code: str = "340100000000"
    site_id: str = "SITE1"


@dataclass(frozen=True, slots=True)
class Holder:
    """One made-up person."""

    number: str = field(repr=False)
    name: str = field(default="张三", repr=False)
    phone: str = field(default="13900000000", repr=False)
    code: str = field(default="", repr=False)  # the whole text of the code
    token: str = field(default="", repr=False)  # Hubei: the bizExtData that it carries
    status: Status = Status.GREEN
    since_utc_s: int = 1_582_000_000
    until_utc_s: int = 4_000_000_000
    region: str = "330300"
    national: bool = False  # Anhui: told by the national platform
    code_expired: bool = False
    report_expired: bool = False
    must_update: bool = False
    reports: Mapping[str, Status] = field(default_factory=dict)  # Hubei: province -> status


def masked(text: str, keep: int = 4) -> str:
    """A number or name with its middle hidden."""
    return text[:keep] + "*" * max(1, len(text) - 2 * keep) + text[-keep:]


def beijing(utc_s: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A time as issuers write it."""
    return (datetime.fromtimestamp(utc_s, UTC) + _BEIJING).strftime(form)


_GRADE = {Status.GREEN: "00", Status.YELLOW: "01", Status.RED: "10"}
_COLOUR = {Status.GREEN: "green", Status.YELLOW: "yellow", Status.RED: "red"}
_ANHUI = {Status.GREEN: "1", Status.YELLOW: "2", Status.RED: "3", Status.IN_REVIEW: ""}
STRANGE = "blue"  # a value that no list has; Nanjing's back office once used it


def _by(holders: Sequence[Holder], key: str, value: object) -> Holder | None:
    return next((holder for holder in holders if value and getattr(holder, key) == value), None)


def _now_ish(text: object) -> bool:
    return isinstance(text, str) and text.isdecimal() and abs(int(text) / 1000 - time.time()) <= CLOCK_SKEW_S


# Guangdong-family decode (health-codes.md 1.5).


def guangdong(post: Post, access: Access, holders: Sequence[Holder], refused: list[str]) -> Json:
    """POST /health/decode: a form, signed over the fields and the secret key."""
    form = post.form()
    wanted = {"appId", "timestamp", "sign", "code_content"}
    signed = {key: value for key, value in form.items() if key != "sign"} | {"secretKey": access.secret_key}
    text = "&".join(f"{key}={value}" for key, value in sorted(signed.items()))
    if form.keys() - {"secretKey"} != wanted or form["appId"] != access.app_id or not _now_ish(form["timestamp"]):
        refused.append("fields")
        return {"errcode": 40001, "errmsg": "bad request"}
    if form["sign"] != hashlib.sha256(text.encode()).hexdigest().upper():
        refused.append("sign")
        return {"errcode": MADE_UP_ERROR, "errmsg": "sign error"}
    holder = _by(holders, "code", form["code_content"])
    if holder is None:
        return {"errcode": 40008, "errmsg": "code not found"}
    if holder.code_expired:
        expired = {"qrcode_expired": True, "report_expired": holder.report_expired}
        return {"errcode": 0, "errmsg": "SUCCESS", "data": expired}
    return {"errcode": 0, "errmsg": "SUCCESS", "data": _guangdong_data(holder)}


def _guangdong_data(holder: Holder) -> Json:
    claimed = holder.status is not Status.NOT_CLAIMED
    return {
        "name": masked(holder.name, 1),
        "phone": masked(holder.phone, 3),
        "certificate_id": masked(holder.number),
        "certificate_type": "10",
        "risk_assessment_grade": _GRADE.get(holder.status, STRANGE) if claimed else "00",
        "reason": "",
        "guide": "",
        "report_date": beijing(holder.since_utc_s) if claimed else "",
        "report_valid_date": beijing(holder.until_utc_s) if claimed else "",
        "report_expired": holder.report_expired,
        "certificate_token": "c2VhbGVk",
    }


# Jiangsu's verification (health-codes.md 2.3).


def jiangsu(post: Post, access: Access, holders: Sequence[Holder], refused: list[str]) -> Json:
    """POST of a form that names the verifier."""
    form = post.form()
    wanted = {"url", "source", "position", "verifierDept", "verifierName", "verifierPhone", "token"}
    if form.keys() != wanted or not all(form.values()):
        refused.append("fields")
        return {"resCode": "1", "resMsg": "请求失败，其他异常"}
    if (form["source"], form["token"]) != (access.source, access.token):
        refused.append("token")
        return {"resCode": "116", "resMsg": "没有访问权限"}
    if not form["url"].endswith("result"):
        return {"resCode": "112", "resMsg": "健康码不匹配"}
    holder = _by(holders, "code", form["url"])
    if holder is None:
        return {"resCode": "112", "resMsg": "健康码不匹配"}
    if holder.code_expired:
        return {"resCode": "111", "resMsg": "健康码二维码已失效"}
    if holder.must_update:
        return {"resCode": "119", "resMsg": "请先更新信息"}
    res = {"name": masked(holder.name, 1), "phone": masked(holder.phone, 3), "idcardNo": masked(holder.number)}
    return {"resCode": "0", "res": res | {"level": _COLOUR.get(holder.status, STRANGE)}}


# Hubei's validateInfo (health-codes.md 1.2).


def hubei(post: Post, access: Access, holders: Sequence[Holder], refused: list[str]) -> Json:
    """POST of JSON; the answer's content is JSON in a text."""
    sent = post.json()
    if sent.keys() != {"bizExtData"}:
        refused.append("fields")
        return {"errcode": 1, "errmsg": "bad request"}
    holder = _by(holders, "token", sent["bizExtData"])
    reports = holder.reports.items() if holder else ()
    told = [{"healthyStaus": _GRADE.get(status, STRANGE), "province": region} for region, status in reports]
    person = holder or Holder("")
    who = {"desensitizeName": masked(person.name, 1), "desensitizeCardId": masked(person.number)}
    content = {"data": {"person": who, "healthyReport": told, "yqReports": []}}
    data = {"content": json.dumps(content, ensure_ascii=False), "hsjc": {}, "ktjc": {}, "hasWarm": "未见异常"}
    return {"errcode": 0, "data": data}


# Anhui's query by ID number (health-codes.md 2.4).


def anhui(post: Post, access: Access, holders: Sequence[Holder], refused: list[str]) -> Json:
    """POST of JSON with the number and the site."""
    sent = post.json()
    wanted = {"idCardNo", "cityCode", "siteId", "checkUsrName"}
    if sent.keys() != wanted or (sent["cityCode"], sent["siteId"]) != (access.city_code, access.site_id):
        refused.append("fields")
        return {"flag": True, "data": {"flag": False, "errMsg": "核验站点不存在"}}
    holder = _by(holders, "number", sent["idCardNo"])
    if holder is None:
        return {"flag": True, "data": {"flag": False, "errMsg": "健康码未申领"}}
    data = {
        "idCardNo": holder.number,
        "userPhone": holder.phone,
        "name": holder.name,
        "healthLevel": _ANHUI.get(holder.status, STRANGE),
        "colourReason": "",
        "changeTime": beijing(holder.since_utc_s, "%Y%m%d%H%M%S"),
        "jzdSjCode": "340100000000",
        "dataSource": "2" if holder.national else "1",
    }
    return {"flag": True, "data": {"flag": True, "data": data}}


# Zhejiang's level query (health-codes.md 1.5, 2.2), by MD5 with a fresh secret, and Shaoxing's by HMAC.


class _Secrets:
    """Secrets handed out and good for one call."""

    def __init__(self) -> None:
        self._count = 0
        self._open: dict[str, None] = {}

    def fresh(self) -> str:
        """One more."""
        self._count += 1
        secret = f"fresh-{self._count}"
        self._open[secret] = None
        while len(self._open) > SECRETS_MAX:
            del self._open[next(iter(self._open))]
        return secret

    def spend(self, app_key: str, time_ms: str, sign: str) -> bool:
        """Whether `sign` was made with one that is still good; it is not any more."""
        for secret in self._open:
            if hashlib.md5(f"{app_key}{secret}{time_ms}".encode(), usedforsecurity=False).hexdigest() == sign:
                del self._open[secret]
                return True
        return False


_FRESH = _Secrets()


def zhejiang(post: Post, access: Access, holders: Sequence[Holder], refused: list[str]) -> Json:
    """POST without a body for a secret at …/secret; a POST of multipart/form-data to ask."""
    if post.path.endswith("/secret"):
        row = {"app_key": access.app_key, "requestSecret": _FRESH.fresh()}
        return {"resultCode": "00", "resultMsg": "成功", "data": [row]}
    sent = post.multipart()
    if sent.keys() != {"appKey", "sign", "requestTime", "idcardNo"} or sent["appKey"] != access.app_key:
        refused.append("fields")
        return {"resultCode": "01", "resultMsg": "参数错误"}
    if not _now_ish(sent["requestTime"]) or not _FRESH.spend(sent["appKey"], sent["requestTime"], sent["sign"]):
        refused.append("sign")
        return {"resultCode": "04", "resultMsg": "签名错误"}
    holder = _by(holders, "number", sent["idcardNo"])
    return {"resultCode": "00", "resultMsg": "成功"} | _zhejiang_data(holder)


def shaoxing(post: Post, access: Access, holders: Sequence[Holder], refused: list[str]) -> Json:
    """POST of JSON, signed by HMAC-SHA-256 keyed by the appKey."""
    sent = post.json()
    order = ("appKey", "bizData", "deviceId", "format", "requestId", "timestamp", "version")
    if sent.keys() != {*order, "sign"} or not _now_ish(str(sent["timestamp"])):
        refused.append("fields")
        return {"code": "400", "msg": "bad request"}
    text = "".join(str(sent[key]) for key in order) + access.secret
    if sent["sign"] != hmac.new(access.app_key.encode(), text.encode(), hashlib.sha256).hexdigest():
        refused.append("sign")
        return {"code": "401", "msg": "sign error"}
    holder = _by(holders, "code", json.loads(sent["bizData"]).get("qrCode"))
    return {"code": "200", "msg": "success"} | _zhejiang_data(holder)


def _zhejiang_data(holder: Holder | None) -> Json:
    if holder is None:
        return {"data": None, "errCode": 1, "errMsg": "not found", "success": False}
    data = {
        "cityNo": holder.region,
        "idcardType": "IDENTITY_CARD",
        "idcardNo": holder.number,
        "level": _COLOUR.get(holder.status, STRANGE),
        "name": holder.name,
        "phone": holder.phone,
        "qrCodeText": holder.code,
        "temperature": {"currentHealth": []},
        "zjgxsj": beijing(holder.since_utc_s),
    }
    return {"data": data, "errCode": 0, "errMsg": "success", "success": True}


@dataclass(frozen=True, slots=True)
class Face:
    """One interface: how it answers, refuses, and what its half answers lack."""

    answer: Callable[[Post, Access, Sequence[Holder], list[str]], Json]
    refusals: tuple[Json, Json]  # without permission; for "other" reasons
    status_key: str

    def refusal(self, no_permission: bool) -> Json:
        """What it answers to nobody in particular."""
        return dict(self.refusals[0 if no_permission else 1])

    def halve(self, answer: Json) -> None:
        """Take the status out of an answer, as a table does that was joined with an empty one."""
        for key, value in list(answer.items()):
            if key == self.status_key:
                del answer[key]
            elif isinstance(value, dict):
                self.halve(value)


FACES: Mapping[str, Face] = {
    "guangdong-decode": Face(guangdong, ({"errcode": 40001}, {"errcode": 40019}), "risk_assessment_grade"),
    "jiangsu-verify": Face(jiangsu, ({"resCode": "118"}, {"resCode": "1"}), "level"),
    "hubei-validate": Face(hubei, ({"errcode": 403}, {"errcode": 1}), "content"),
    "anhui-id": Face(anhui, ({"flag": False}, {"flag": False}), "healthLevel"),
    "zhejiang-level": Face(zhejiang, ({"resultCode": "03"}, {"resultCode": "99"}), "level"),
    "shaoxing-level": Face(shaoxing, ({"code": "403"}, {"code": "500"}), "level"),
}
