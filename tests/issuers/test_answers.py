"""What answers mean, without a line: any JSON is a reply, signatures by vectors, times and values in every form."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.documents import Document, DocumentType
from gate.feed.finding import Answered, Rejected, Unanswered
from gate.feed.records import CredentialStatus as Status
from gate.issuers import anhui, guangdong, hubei, jiangsu, zhejiang
from gate.issuers.ask import Adapter, Ask, Reply
from gate.issuers.cache import ENTRIES_MAX, AnswerCache
from gate.issuers.values import beijing_utc_s, read_json, region, resident
from gate.moment import Moment
from tests.issuers.support import DOCUMENT, HEALTH_CODE, INTERFACES, NUMBER, query

NOW = Moment(1_585_200_000.5, 1000.0)
ASK = Ask(DOCUMENT, HEALTH_CODE, NOW)
SECRETS = {
    "app_id": "A1",
    "secret_key": "s3cret",
    "source": "station",
    "token": "t0ken",
    "app_key": "key",
    "secret": "s3cret",
}
_MAKE: dict[str, Callable[..., Adapter]] = {
    "guangdong-decode": guangdong.GuangdongDecode,
    "jiangsu-verify": jiangsu.JiangsuVerify,
    "hubei-validate": hubei.HubeiValidate,
    "anhui-id": anhui.AnhuiId,
    "zhejiang-level": zhejiang.ZhejiangLevel,
    "shaoxing-level": zhejiang.ShaoxingLevel,
}


def adapter(interface: str, **more: Any) -> Adapter:
    return _MAKE[interface]("X", query(interface, "https://issuer.example", None, **more), SECRETS)


# The words of all interfaces, so that made-up answers get deep into each of them.
_WORDS = st.sampled_from(
    [
        *("errcode", "data", "qrcode_expired", "report_expired", "risk_assessment_grade", "report_date"),
        *("report_valid_date", "resCode", "res", "level", "content", "healthyReport", "healthyStaus", "province"),
        *("flag", "healthLevel", "dataSource", "changeTime", "idCardNo", "resultCode", "errCode", "success"),
        *("zjgxsj", "cityNo", "idcardNo", "idcardType", "code", "app_key", "requestSecret"),
    ]
)
_VALUES = st.sampled_from(
    [
        *("0", "1", "00", "01", "10", "111", "200", "green", "red", "IDENTITY_CARD", NUMBER, "330300", ""),
        *("2020-02-30 00:00:00", "20200216161741", 0, 1, 10, 200, True, False, None, 10**30, -1, float("nan")),
    ]
)
_JSON = st.recursive(
    _VALUES | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_WORDS, inner, max_size=6)
        | st.dictionaries(_WORDS, inner, max_size=4).map(json.dumps)
    ),
    max_leaves=25,
)
_ANSWERS = st.dictionaries(_WORDS, _JSON, max_size=8)


def drive(interface: str, answers: list[dict[str, Any]]) -> Reply:
    """The reply after these answers; the last one again and again if more is asked."""
    steps = adapter(interface).exchange(ASK)
    next(steps)
    for answer in answers * 3:
        try:
            steps.send(answer)
        except StopIteration as end:
            reply: Reply = end.value
            return reply
    raise AssertionError("an exchange without an end")


@pytest.mark.parametrize("interface", INTERFACES)
@settings(max_examples=150, deadline=None)
@given(answers=st.lists(_ANSWERS, min_size=1, max_size=2))
def test_any_answer_is_a_reply(interface: str, answers: list[dict[str, Any]]) -> None:
    """No JSON object raises; each becomes findings of this issuer, at least one and of the known kinds."""
    reply = drive(interface, answers)
    assert reply.findings
    for found in reply.findings:
        assert isinstance(found, Answered | Rejected | Unanswered)
        assert found.issuer == "X"
        if isinstance(found, Answered):
            assert found.asserted_by == region(found.asserted_by)
            assert found.effective_utc_s >= 0


@settings(max_examples=300, deadline=None)
@given(body=st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_an_object_or_nothing(body: bytes | str) -> None:
    """What is no JSON object is None, and nothing raises."""
    value = read_json(body)
    assert value is None or isinstance(value, dict)


@pytest.mark.parametrize("body", [b"[" * 100_000, b"1" * 10_000, b'{"a":' + b"9" * 10_000 + b"}", b"\xff", b"", b"[]"])
def test_bombs_are_nothing(body: bytes) -> None:
    """Deep nesting and numbers without end, as a broken or hostile server sends them."""
    assert read_json(body) is None


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("value", "utc_s"),
    [
        ("2020-02-16 16:17:41", 1_581_841_061),
        ("20200216161741", 1_581_841_061),
        (1_581_841_061, 1_581_841_061),
        (1_581_841_061_000, 1_581_841_061),
        ("1581841061", 1_581_841_061),
        ("1581841061999", 1_581_841_061),
        ("2020-02-30 16:17:41", None),
        ("2020-02-16 24:00:00", None),
        ("2020-02-16T16:17:41", None),
        (" 2020-02-16 16:17:41", None),
        ("２０２０-02-16 16:17:41", None),
        ("2020-02-16", None),
        ("0001-01-01 00:00:00", None),
        ("", None),
        (True, None),
        (1.5e9, None),
        (-1, None),
        (0, None),
        (10**40, None),
        (None, None),
        ([], None),
    ],
)
def test_issuers_times_in_every_form(value: object, utc_s: int | None) -> None:
    """R18: Beijing time in both texts, since 1970 in seconds and milliseconds; anything else is no time."""
    assert beijing_utc_s(value) == utc_s


def test_a_masked_number_is_nobodys() -> None:
    """Only a whole number with its check digit is a document; residence permits tell their own type."""
    assert resident(NUMBER) == Document(DocumentType.RESIDENT_ID, NUMBER)
    for masked in ("1101**********002X", "110105", NUMBER[:-1] + "1", "*" * 18, "1" * 10_000, None, 110105194912310029):
        assert resident(masked) is None


def test_guangdongs_sign_by_a_vector() -> None:
    """Upper-case hex SHA-256 of the sorted k=v, computed once with sha256sum."""
    fields = {"timestamp": "1585200000500", "appId": "A1", "code_content": "CODE", "secretKey": "s3cret"}
    assert guangdong.sign(fields) == "4318B8540BE0E8D8B3EEEB847D527F544ABCBB06F927287BF02E5461D6D646DB"


def test_zhejiangs_sign_by_a_vector() -> None:
    """MD5 of "key" + "fresh" + "1585200000500", computed once with md5sum."""
    assert zhejiang.md5_sign("key", "fresh", "1585200000500") == "1e13c8e4ef1bc4910c103829ae9bbd42"


def test_shaoxings_sign_by_a_vector() -> None:
    """HMAC-SHA-256 keyed "key" over the values in the documented order and the secret, computed once with openssl."""
    fields: dict[str, str | int] = {
        "version": "1.0",
        "timestamp": 1_585_200_000_500,
        "requestId": "0" * 32,
        "format": "json",
        "deviceId": "D001",
        "bizData": '{"qrCode":"CODE"}',
        "appKey": "key",
    }
    assert zhejiang.hmac_sign(fields, "s3cret") == "f2888c74b8dbb6a4ea19ec068bf9e48f38f768d38e70a3ba4372b62ec47d3c5c"


def test_the_requests_have_the_documented_fields() -> None:
    """Names and places of every field of every interface, as health-codes.md has them."""
    first = {name: next(adapter(name).exchange(ASK)) for name in INTERFACES}
    assert first["guangdong-decode"].form is not None
    assert list(first["guangdong-decode"].form) == ["appId", "timestamp", "code_content", "sign"]
    assert first["guangdong-decode"].form["timestamp"] == "1585200000500"
    assert first["jiangsu-verify"].form == {
        "url": HEALTH_CODE.text,
        "source": "station",
        "position": "出站口",
        "verifierDept": "客运部",
        "verifierName": "钱核验",
        "verifierPhone": "13800005678",
        "token": "t0ken",
    }
    assert first["hubei-validate"].json == {"bizExtData": HEALTH_CODE.token}
    assert first["anhui-id"].json == {
        "idCardNo": NUMBER,
        "cityCode": "340100000000",
        "siteId": "SITE1",
        "checkUsrName": "钱核验",
    }
    assert first["zhejiang-level"].url == "https://issuer.example/secret"
    assert first["shaoxing-level"].json is not None
    assert json.loads(first["shaoxing-level"].json["bizData"]) == {"qrCode": HEALTH_CODE.text}
    for outgoing in first.values():
        assert not any(value in repr(outgoing) for value in (NUMBER, HEALTH_CODE.text, "t0ken", "s3cret"))


def test_the_secret_key_goes_over_the_line_only_where_it_must() -> None:
    """One version of Guangdong's page wants secretKey among the fields; the sign is the same with it and without."""
    plain = next(adapter("guangdong-decode").exchange(ASK)).form
    shown = next(adapter("guangdong-decode", send_secret_key=True).exchange(ASK)).form
    assert plain is not None
    assert shown == plain | {"secretKey": "s3cret"}


@pytest.mark.requirement("R17")
@pytest.mark.parametrize("raw", [10, 1, "2", "11", "green ", "GREEN", "", None, True, ["00"]])
def test_a_value_in_another_form_is_never_a_colour(raw: object) -> None:
    """R17: "10" is red and 10 is nothing; no case folding, no stripping, no number read out of a text."""
    report = {"data": {"healthyReport": [{"healthyStaus": raw}]}}
    (hub,) = drive("hubei-validate", [{"errcode": 0, "data": {"content": json.dumps(report)}}]).findings
    (ska,) = drive("jiangsu-verify", [{"resCode": "0", "res": {"level": raw}}]).findings
    assert isinstance(hub, Answered)
    assert isinstance(ska, Answered)
    assert (hub.status, ska.status) == (Status.UNKNOWN, Status.UNKNOWN)


@pytest.mark.parametrize("code", ["0", 0])
def test_jiangsus_code_and_its_res_may_be_texts(code: object) -> None:
    """Java services write objects as texts and numbers as either; True is not 1 and "00" is not 0."""
    for res in ({"level": "green"}, '{"level": "green"}'):
        (found,) = drive("jiangsu-verify", [{"resCode": code, "res": res}]).findings
        assert isinstance(found, Answered)
    for other in ("00", False, 0.0, None):
        (found,) = drive("jiangsu-verify", [{"resCode": other, "res": {"level": "green"}}]).findings
        assert isinstance(found, Unanswered)


def test_a_number_of_success_in_another_type_is_none() -> None:
    """errcode false and 0.0 are equal to 0 in Python, and are not the interface's answer."""
    content = json.dumps({"data": {"healthyReport": [{"healthyStaus": "00"}]}})
    data = {"risk_assessment_grade": "00", "report_expired": False, "content": content}
    data |= {"report_date": "2020-02-16 16:17:41", "report_valid_date": "2099-02-16 16:17:41"}
    for interface in ("guangdong-decode", "hubei-validate"):
        assert isinstance(drive(interface, [{"errcode": 0, "data": data}]).findings[0], Answered)
        for wrong in (False, 0.0, "0", None):
            assert isinstance(drive(interface, [{"errcode": wrong, "data": data}]).findings[0], Unanswered)


def test_more_reports_than_there_are_provinces_are_no_answer() -> None:
    """A list without end would become findings without end, and a decision that takes as long."""
    for count, kind in ((hubei.REPORTS_MAX, Answered), (hubei.REPORTS_MAX + 1, Unanswered)):
        report = {"data": {"healthyReport": [{"healthyStaus": "00"}] * count}}
        found = drive("hubei-validate", [{"errcode": 0, "data": {"content": json.dumps(report)}}]).findings
        assert isinstance(found[0], kind)


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("grades", [["00", "10"], ["00", "01"], ["00", "?"], ["10"]])
def test_one_report_that_is_not_green_keeps_all_of_them_out_of_the_cache(grades: list[str]) -> None:
    """R6: beside one province's green another's red is not held longer than it is told."""
    report = {"data": {"healthyReport": [{"healthyStaus": grade} for grade in grades]}}
    reply = drive("hubei-validate", [{"errcode": 0, "data": {"content": json.dumps(report)}}])
    cache = AnswerCache()
    cache.keep(b"key", reply, NOW, 60.0)
    assert cache.find(b"key", NOW) is None


def test_the_cache_is_bounded_and_its_keys_say_nothing() -> None:
    """The oldest goes first; the same subject has another key in every process."""
    cache, other = AnswerCache(), AnswerCache()
    (green,) = drive("jiangsu-verify", [{"resCode": "0", "res": {"level": "green"}}]).findings
    reply = Reply((green,))
    keys = [cache.key("X", str(number)) for number in range(ENTRIES_MAX + 1)]
    for key in keys:
        cache.keep(key, reply, NOW, 60.0)
    assert cache.find(keys[0], NOW) is None
    assert cache.find(keys[1], NOW) == reply
    assert cache.find(keys[-1], NOW) == reply
    assert cache.key("X", NUMBER) != other.key("X", NUMBER)
    assert cache.key("X", NUMBER) != cache.key("Y", NUMBER)
