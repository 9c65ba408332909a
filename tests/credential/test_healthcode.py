"""QR texts: each form of health-codes.md section 2 is recognised, everything else has its own reason."""

import base64
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.healthcode import CodeForm, CodeProblem, HealthCode, UnusableCode, read_code

HEX = "0123456789abcdef0123456789ABCDEF"
DINGTALK = "https://h5.dingtalk.com/healthAct/index.html?qrCode="
BODY = base64.urlsafe_b64encode(bytes(range(211))).decode()
NATIONAL = base64.b64encode(bytes.fromhex("0018FE01") + bytes(24) + b"JKM1110000" + bytes(162)).decode()
CODES = {
    f"https://s.sh.gov.cn/{HEX[:30]}1585000000000": ("SSM", CodeForm.SSM_APP),
    f"https://s.sh.gov.cn/{len(BODY):04d}{BODY}##": ("SSM", CodeForm.SSM_TRANSIT),
    f"{DINGTALK}V2{HEX}#/result": ("ZJ", CodeForm.ZJ_V2),
    f"{DINGTALK}V0ding{HEX}&stateCouncilBarCode={HEX}&cityCode=&jk=a:0:b:c#/result": ("ZJ", CodeForm.ZJ_V0),
    f"{DINGTALK.replace('h5', 'healthcode')}V2{HEX}#/result": ("ZJ", CodeForm.ZJ_V2),
    f"{DINGTALK}V5{HEX}320000&b={HEX}{HEX}#/result": ("SKM", CodeForm.SKM_V5),
    f"https://akm.ahzwfw.gov.cn/akm-sj-mgr/index.html#/myAkm?isScan=1&id=akm:qrcode:{HEX}&cityNo=340000000000": (
        "AKM",
        CodeForm.AKM,
    ),
    f"https://akm.ahzwfw.gov.cn/akm-sj-mgr/index.html#/myAkm?isScan=1&id=akm:qrcode:{HEX}&cityNo=340000": (
        "AKM",
        CodeForm.AKM,
    ),
}


@pytest.mark.parametrize("text", CODES)
def test_every_form_is_recognised(text: str) -> None:
    """Issuer and form, with line ends, capitals in the host and full-width letters as scanners and phones send them."""
    issuer, form = CODES[text]
    host = text.split("/")[2]
    for written in (text, f"{text}\r\n", text.replace(host, host.upper()), text.replace("https:", "ｈｔｔｐｓ：")):
        code = read_code(written.encode())
        assert isinstance(code, HealthCode), written
        assert (code.issuer, code.form) == (issuer, form)
        assert code.token not in repr(code)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("https://s.sh.gov.cn.evil/" + HEX, "CODE_LOOK_ALIKE"),
        ("https://s.sh.gov.cn@evil.com/" + HEX, "CODE_LOOK_ALIKE"),
        ("https://evil-s.sh.gov.cn/" + HEX, "CODE_LOOK_ALIKE"),
        ("https://s.sh.gov.cn:444/" + HEX, "CODE_LOOK_ALIKE"),
        ("https://s.sh.gov.cn./" + HEX, "CODE_LOOK_ALIKE"),
        ("http://s.sh.gov.cn/" + HEX, "CODE_LOOK_ALIKE"),
        ("https://ѕ.sh.gov.cn/" + HEX, "CODE_LOOK_ALIKE"),  # a Cyrillic letter
        ("https://h5.dingtalk.com.evil.cn/healthAct/", "CODE_LOOK_ALIKE"),
        ("https://h5.dingta1k.com/healthAct/", "CODE_LOOK_ALIKE"),
        ("https://evil.com/?next=https://s.sh.gov.cn/" + HEX, "CODE_NOT_HEALTH"),
        ("https://example.com/menu", "CODE_NOT_HEALTH"),
        ("hello", "CODE_NOT_HEALTH"),
        ("", "CODE_NOT_HEALTH"),
        (f"{DINGTALK}V5{HEX}320000&b={HEX}{HEX}", "CODE_INCOMPLETE"),
        (f"{DINGTALK}V5{HEX}", "CODE_INCOMPLETE"),
        ("https://s.sh.gov.cn/", "CODE_INCOMPLETE"),
        (f"https://s.sh.gov.cn/0100{BODY}##", "CODE_INCOMPLETE"),
        ("https://akm.ahzwfw.gov.cn/", "CODE_INCOMPLETE"),
        (NATIONAL, "CODE_NATIONAL"),
        ("a\x00b\x07c", "CODE_NOT_TEXT"),
        ("x" * 4097, "CODE_TOO_LONG"),
        ("x" * 4096, "CODE_NOT_HEALTH"),
    ],
)
def test_everything_else_has_its_own_reason(text: str, problem: str) -> None:
    """Look-alikes, other worlds, halves, binaries, giants."""
    assert read_code(text.encode()) == UnusableCode(CodeProblem(problem))


def test_bytes_of_another_encoding_are_no_text() -> None:
    """A GBK scanner set to UTF-8 is a setting to correct, not a code."""
    assert read_code("健康码".encode("gbk")) == UnusableCode(CodeProblem.CODE_NOT_TEXT)
    assert read_code("健康码".encode("gbk"), "gb18030") == UnusableCode(CodeProblem.CODE_NOT_HEALTH)


def test_a_code_has_no_colour() -> None:
    """Whatever a text says of colours, there is no place to keep it (R5)."""
    assert {field.name for field in fields(HealthCode)} == {"issuer", "form", "token"}
    assert read_code(f"{DINGTALK}V2{HEX}&color=green#/result".encode()) == UnusableCode(CodeProblem.CODE_INCOMPLETE)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(CODES)), st.integers(0, 400), st.binary(max_size=6), st.booleans())
def test_a_changed_code_is_never_another_issuers(text: str, at: int, noise: bytes, replace: bool) -> None:
    """Bytes put in or put over: still the same issuer's, or a reason."""
    raw = text.encode()
    read = read_code(raw[:at] + noise + raw[at + (len(noise) if replace else 0) :])
    allowed = {CODES[text][0]} | ({"ZJ", "SKM"} if "dingtalk" in text else set())
    assert isinstance(read, UnusableCode) or read.issuer in allowed


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from(["utf-8", "gb18030", "no-such-encoding"]))
def test_any_bytes_have_an_answer(payload: bytes, encoding: str) -> None:
    """Nothing is raised."""
    assert isinstance(read_code(payload, encoding), HealthCode | UnusableCode)
