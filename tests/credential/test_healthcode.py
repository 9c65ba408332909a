"""QR texts: each form of health-codes.md section 2 is recognised, everything else has its own reason."""

import base64
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.codeproblem import CodeProblem
from gate.credential.forms import Issuers
from gate.credential.healthcode import HealthCode, UnusableCode, read_code
from gate.policy.verdict import Reason
from gate.sim.codes import MADE_UP
from tests.credential.shipped import HEX, shipped, with_all

UP = HEX.upper()
DINGTALK = "https://h5.dingtalk.com/healthAct/index.html?qrCode="
LATER = DINGTALK.replace("h5", "healthcode")
AKM = "https://akm.ahzwfw.gov.cn/akm-sj-mgr/index.html#/myAkm?isScan=1&id=akm:qrcode:"
# Made up: a body with a date where one belongs. Its seals are not good, which is another module's question.
BODY = bytes(100) + b"20200327052000" + bytes(97)
TRANSIT = base64.urlsafe_b64encode(BODY).decode()
NATIONAL = base64.b64encode(bytes.fromhex("0018FE01") + bytes(24) + b"JKM1110000" + bytes(162)).decode()

# text -> issuer, form, token, region
RIGHT = {
    f"https://s.sh.gov.cn/{HEX[:30]}1585000000000": ("SSM", "SSM_APP", f"{HEX[:30]}1585000000000", "310000"),
    f"https://s.sh.gov.cn/{UP[:30]}0000000000000": ("SSM", "SSM_APP", f"{UP[:30]}0000000000000", "310000"),
    f"https://s.sh.gov.cn/{'a' * 115}1585000000000": ("SSM", "SSM_APP", f"{'a' * 115}1585000000000", "310000"),
    f"https://s.sh.gov.cn/{len(TRANSIT):04d}{TRANSIT}##": ("SSM", "SSM_TRANSIT", TRANSIT[:-2], "310000"),
    f"https://s.sh.gov.cn/0282{TRANSIT.rstrip('=')}##": ("SSM", "SSM_TRANSIT", TRANSIT[:-2], "310000"),
    f"https://S.SH.gov.cn/0284{TRANSIT}##": ("SSM", "SSM_TRANSIT", TRANSIT[:-2], "310000"),
    f"{DINGTALK}V2{HEX}#/result": ("ZJ", "ZJ_V2", f"V2{HEX}", "330000"),
    f"{DINGTALK}V2{UP}#/result": ("ZJ", "ZJ_V2", f"V2{UP}", "330000"),
    f"{LATER}V2{HEX}#/result": ("ZJ", "ZJ_V2", f"V2{HEX}", "330000"),
    f"{DINGTALK}V0ding{HEX}#/result": ("ZJ", "ZJ_V0", f"V0ding{HEX}", "330000"),
    f"{LATER}V0ding{HEX}&stateCouncilBarCode={HEX}#/result": ("ZJ", "ZJ_V0", f"V0ding{HEX}", "330000"),
    f"{DINGTALK}V0ding{HEX}&stateCouncilBarCode={HEX}&cityCode=&jk={HEX}{HEX}:0:{HEX}:{HEX[:17]}#/result": (
        "ZJ",
        "ZJ_V0",
        f"V0ding{HEX}",
        "330000",
    ),
    f"{DINGTALK}V5{HEX}320000&b={HEX}{UP}#/result": ("SKM", "SKM_V5", f"V5{HEX}320000", "320000"),
    f"{LATER}V5{HEX}320500&b={HEX}{UP}#/result": ("SKM", "SKM_V5", f"V5{HEX}320500", "320500"),
    f"{DINGTALK}V5{UP}320000&b={'%2B' * 20}abcd#/result": ("SKM", "SKM_V5", f"V5{UP}320000", "320000"),
    f"{AKM}{HEX}&cityNo=340000000000": ("AKM", "AKM", HEX, "340000"),
    f"{AKM}{HEX}&cityNo=340100": ("AKM", "AKM", HEX, "340100"),
    f"{AKM}{UP}&cityNo=341800000000": ("AKM", "AKM", UP, "341800"),
}
NOT_WHOLE = {
    "SSM_APP": [
        "https://s.sh.gov.cn/",
        f"https://s.sh.gov.cn/{HEX[:30]}158500000000",  # twelve digits of time, a letter before them
        f"https://s.sh.gov.cn/{HEX[:30]}1585000000000?color=green",
        f"https://s.sh.gov.cn//{HEX[:30]}1585000000000",
        f"https://s.sh.gov.cn/{HEX[:30]}-1585000000000",
        f"https://s.sh.gov.cn/{'a' * 116}1585000000000",
    ],
    "SSM_TRANSIT": [
        f"https://s.sh.gov.cn/0100{TRANSIT}##",
        f"https://s.sh.gov.cn/0284{TRANSIT}#",
        f"https://s.sh.gov.cn/0284{base64.urlsafe_b64encode(BODY + bytes(1)).decode()}##",
        f"https://s.sh.gov.cn/0282{TRANSIT[:-3]}B##",  # the same bytes, spare bits set: a second text of a shown code
        f"https://s.sh.gov.cn/0280{TRANSIT[:280]}##",
        f"https://s.sh.gov.cn/0284{base64.urlsafe_b64encode(BODY.replace(b'20200327', b'20201327')).decode()}##",
        f"https://s.sh.gov.cn/0281{TRANSIT[:281]}##",  # no multiple that base64 knows
    ],
    "ZJ_V2": [
        f"{DINGTALK}V2{HEX}",
        f"{DINGTALK}V2{HEX}#",
        f"{DINGTALK}V2{HEX[:-1]}#/result",
        f"{DINGTALK}V2{HEX}0#/result",
        f"{DINGTALK}V2{HEX[:-1]}g#/result",
        f"{DINGTALK}V2{HEX}&color=green#/result",
        f"{DINGTALK}V3{HEX}#/result",
    ],
    "ZJ_V0": [
        f"{DINGTALK}V0ding{HEX}",
        f"{DINGTALK}V0ding{HEX[:-1]}#/result",
        f"{DINGTALK}V0{HEX}#/result",
        f"{DINGTALK}V0ding{HEX}&a=b#/other",
        f"{DINGTALK}V0ding{HEX}#/result&stateCouncilBarCode={HEX}",
    ],
    "SKM_V5": [
        f"{DINGTALK}V5{HEX}320000&b={HEX}{HEX}",
        f"{DINGTALK}V5{HEX}",
        f"{DINGTALK}V5{HEX}#/result",
        f"{DINGTALK}V5{HEX}320000&b={HEX}#/result",
        f"{DINGTALK}V5{HEX}32000&b={HEX}{HEX}#/result",
        f"{DINGTALK}V5{HEX}320000&c={HEX}{HEX}#/result",
    ],
    "AKM": [
        "https://akm.ahzwfw.gov.cn/",
        f"{AKM}{HEX}",
        f"{AKM}{HEX}&cityNo=3400000",
        f"{AKM}{HEX[:-1]}&cityNo=340000",
        f"{AKM.replace('#', '')}{HEX}&cityNo=340000",
        f"{AKM}{HEX}&cityNo=340000&level=green",
    ],
}


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("text", RIGHT)
def test_every_form_is_recognised(text: str) -> None:
    """R16: issuer, form, token and region; with line ends, capital hosts and full width, as scanners send them."""
    host = text.split("/")[2]
    wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)
    for written in (text, f"{text}\r\n", f"\ufeff{text}\0", text.replace(host, host.upper()), wide):
        code = read_code(written.encode(), shipped())
        assert isinstance(code, HealthCode), written
        assert (code.issuer, code.form, code.token, code.region) == RIGHT[text]


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("text", [text for texts in NOT_WHOLE.values() for text in texts])
def test_a_part_of_a_code_is_incomplete(text: str) -> None:
    """R16: on a host of ours, what is not exactly one of its forms is no code, and the sign says to show all of it."""
    assert read_code(text.encode(), with_all()) == UnusableCode(CodeProblem.CODE_INCOMPLETE)


def test_every_shipped_form_has_vectors() -> None:
    """At least three right and five wrong ones, so that a form added as data alone is not thereby tested."""
    forms = {form.id for info in shipped().by_id.values() for form in info.forms if form.known} - {"NATIONAL"}
    assert set(NOT_WHOLE) == forms
    for form in forms:
        assert sum(right[1] == form for right in RIGHT.values()) >= 3
        assert len(NOT_WHOLE[form]) >= 5


@pytest.mark.requirement("R16")
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"https://s.sh.gov.cn.evil/{HEX}", "CODE_LOOK_ALIKE"),
        (f"https://s.sh.gov.cn@evil.com/{HEX}", "CODE_LOOK_ALIKE"),
        (f"https://evil-s.sh.gov.cn/{HEX}", "CODE_LOOK_ALIKE"),
        (f"https://s.sh.gov.cn:444/{HEX}", "CODE_LOOK_ALIKE"),
        (f"https://s.sh.gov.cn./{HEX}", "CODE_LOOK_ALIKE"),
        (f"http://s.sh.gov.cn/{HEX}", "CODE_LOOK_ALIKE"),
        (f"https://ѕ.sh.gov.cn/{HEX}", "CODE_LOOK_ALIKE"),  # a Cyrillic letter
        ("https://h5.dingtalk.com.evil.cn/healthAct/", "CODE_LOOK_ALIKE"),
        ("https://h5.dingta1k.com/healthAct/", "CODE_LOOK_ALIKE"),
        ("https://akm.ahzwfw.gov.cn\\@evil.com/", "CODE_INCOMPLETE"),  # to a browser this is ours, so no form fits
        ("https:///s.sh.gov.cn", "CODE_LOOK_ALIKE"),
        (f"https://evil.com/?next=https://s.sh.gov.cn/{HEX}", "CODE_NOT_HEALTH"),
        ("https://example.com/menu", "CODE_NOT_HEALTH"),
        ("https://", "CODE_NOT_HEALTH"),
        ("hello", "CODE_NOT_HEALTH"),
        ("", "CODE_NOT_HEALTH"),
        ("a\x00b\x07c", "CODE_NOT_TEXT"),
        ("x" * 4097, "CODE_TOO_LONG"),
        ("x" * 4096, "CODE_NOT_HEALTH"),
        ("\ufdfa" * 1000, "CODE_TOO_LONG"),  # 3,000 bytes that NFKC makes 18,000 characters of
    ],
)
def test_everything_else_has_its_own_reason(text: str, problem: str) -> None:
    """R16: look-alikes, other worlds, binaries, giants."""
    assert read_code(text.encode(), with_all()) == UnusableCode(CodeProblem(problem))


@pytest.mark.parametrize(
    "written", [NATIONAL, f"{NATIONAL}\r\n", base64.b64encode(b"\0\x18\xfe\1".ljust(200)).decode()]
)
def test_a_national_code_asks_for_the_card(written: str) -> None:
    """health-codes.md 1.6: recognised by its bytes, and not read."""
    assert read_code(written.encode(), shipped()) == UnusableCode(CodeProblem.CODE_NATIONAL)


def test_no_pattern_comes_before_the_national_code() -> None:
    """A station's own pattern for texts that are no URL, however wide, does not make the national code its issuer's."""
    wide = shipped().with_pattern("NGL", "", "(?P<token>[0-9A-Za-z+/=]{1,400})")
    assert read_code(NATIONAL.encode(), wide) == UnusableCode(CodeProblem.CODE_NATIONAL)
    # The issuer before it in the files' order as well.
    first = Issuers({"NGL": wide.by_id["NGL"], **wide.by_id})
    assert read_code(NATIONAL.encode(), first) == UnusableCode(CodeProblem.CODE_NATIONAL)
    assert isinstance(read_code(b"hello", wide), HealthCode)


@pytest.mark.parametrize(
    "written",
    [
        NATIONAL[:-4],
        NATIONAL.replace("A", "!", 1),
        base64.b64encode(bytes(200)).decode(),
        base64.b64encode(bytes.fromhex("0018FE01") + bytes(197)).decode(),
        f"https://example.com/{NATIONAL}",
    ],
)
def test_what_is_no_national_code(written: str) -> None:
    """Another length, another beginning, other letters, or inside a URL."""
    assert read_code(written.encode(), shipped()) == UnusableCode(CodeProblem.CODE_NOT_HEALTH)


@pytest.mark.requirement("R2")
@pytest.mark.parametrize("form", MADE_UP)
def test_a_string_not_publicly_known_is_nobody_s_until_configured(form: str) -> None:
    """R2: the same made-up text is no health code as shipped, and that form once a station has its pattern."""
    made = MADE_UP[form]
    text = f"https://{made.host}/{made.path}/{HEX}".encode()
    assert read_code(text, shipped()) == UnusableCode(CodeProblem.CODE_NOT_HEALTH)
    code = read_code(text, with_all())
    assert isinstance(code, HealthCode)
    assert (code.issuer, code.form, code.token) == (made.issuer, form, HEX)
    assert code.needs_card == form.endswith("_PAPER")
    for wrong in (
        text[:-1],
        text + b"0",
        text + b"?level=green",
        text.upper(),
        text.replace(b".example", b".example.cn"),
    ):
        assert isinstance(read_code(wrong, with_all()), UnusableCode)


def test_bytes_of_another_encoding_are_no_text() -> None:
    """A GBK scanner set to UTF-8 is a setting to correct, not a code."""
    assert read_code("健康码".encode("gbk"), shipped()) == UnusableCode(CodeProblem.CODE_NOT_TEXT)
    assert read_code("健康码".encode("gbk"), shipped(), "gb18030") == UnusableCode(CodeProblem.CODE_NOT_HEALTH)


@pytest.mark.requirement("R5")
def test_a_code_has_no_colour() -> None:
    """R5: no field can hold one, and a text full of colours reads field by field as one without."""
    assert not {field.name for field in fields(HealthCode)} & {"colour", "color", "level", "status", "type"}
    plain = f"{DINGTALK}V0ding{HEX}&cityCode=#/result"
    colours = "&type=00&level=green&qrColor=green&color=绿码&healthLevel=1&risk_assessment_grade=00"
    painted = plain.replace("&cityCode=", colours)
    codes = [read_code(text.encode(), shipped()) for text in (plain, painted)]
    assert all(isinstance(code, HealthCode) for code in codes)
    without_text = [{f.name: getattr(code, f.name) for f in fields(HealthCode) if f.name != "text"} for code in codes]
    assert without_text[0] == without_text[1]


def test_no_repr_shows_a_token() -> None:
    """Neither the token nor the text nor the seal's bytes."""
    for text in RIGHT:
        code = read_code(text.encode(), shipped())
        assert isinstance(code, HealthCode)
        assert code.token not in repr(code)
        assert code.text not in repr(code)
        assert "2020" not in repr(code.seal)


def test_the_complete_text_is_kept_normalised() -> None:
    """Jiangsu must be sent all of it, `#/result` included (health-codes.md 2.3), without the scanner's line end."""
    text = f"{DINGTALK}V5{HEX}320000&b={HEX}{HEX}#/result"
    code = read_code(f"{text}\r\n".encode(), shipped())
    assert isinstance(code, HealthCode)
    assert code.text == text


def test_problems_are_reasons() -> None:
    """The sign, the journal and the metrics know every one of them."""
    assert {problem.name for problem in CodeProblem} <= set(Reason.__members__)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(RIGHT)), st.integers(0, 400), st.binary(max_size=6), st.booleans())
def test_a_changed_code_is_never_another_issuers(text: str, at: int, noise: bytes, replace: bool) -> None:
    """Bytes put in or put over: still the same issuer's, or a reason."""
    raw = text.encode()
    read = read_code(raw[:at] + noise + raw[at + (len(noise) if replace else 0) :], with_all())
    allowed = {RIGHT[text][0]} | ({"ZJ", "SKM"} if "dingtalk" in text else set())
    assert isinstance(read, UnusableCode) or read.issuer in allowed


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=200), st.sampled_from(["utf-8", "gb18030", "no-such-encoding"]))
def test_any_bytes_have_an_answer(payload: bytes, encoding: str) -> None:
    """Nothing is raised."""
    assert isinstance(read_code(payload, with_all(), encoding), HealthCode | UnusableCode)
