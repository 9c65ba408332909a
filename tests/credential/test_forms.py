"""`issuer.toml`: an issuer joins by adding a folder of data; a wrong file says where, what, and what is allowed."""

from pathlib import Path

import pytest

from gate.credential.forms import FormError, Issuers, parse_issuer, parse_issuers
from gate.credential.healthcode import HealthCode, read_code
from gate.station.rulefiles import read_issuers
from tests.credential.shipped import HEX, shipped, texts

HEAD = """id = "QX"
name = { zh = "虚省健康码", en = "Health Code of Nowhere" }
region = "990000"
hotline = "12345"
source = "made up"
"""
FORM = """[[form]]
id = "QX_APP"
hosts = ["qx.example"]
pattern = '/q\\?c=(?P<token>[0-9a-f]{32})&r=(?P<region>[0-9]{6,12})'
decides = "token-index"
"""
DYNAMIC = FORM + 'dynamic = true\nissued = "epoch-ms-suffix"\n'
UNKNOWN = '[[form]]\nid = "QX_APP"\nknown = false\ndecides = "card"\n'


def test_what_is_shipped() -> None:
    """The Delta's eight, and the parties to the agreements of early 2020; each folder is its issuer's id."""
    eight = {"SSM", "ZJ", "SKM", "SCM", "XKM", "NGL", "AKM", "NATIONAL"}
    assert set(shipped().by_id) == eight | {"HEN", "HAN", "HUN", "GD", "SD", "GZ"}
    assert {name.split("/")[0].upper() for name in texts()} == set(shipped().by_id)
    regions = {info.id: info.region for info in shipped().by_id.values()}
    assert regions["SSM"] == "310000"
    assert [regions[each] for each in ("HEN", "HAN", "HUN", "GD", "SD", "GZ")] == [
        "410000", "460000", "430000", "440000", "370000", "520000",
    ]  # fmt: skip


def test_a_province_joins_by_adding_a_folder(tmp_path: Path) -> None:
    """A made-up province: a folder with one file, and no line of code, makes a station recognise its code."""
    text = f"https://qx.example/q?c={HEX}&r=990100000000".encode()
    assert not isinstance(read_code(text, read_issuers(None)), HealthCode)
    (tmp_path / "qx").mkdir()
    (tmp_path / "qx" / "issuer.toml").write_text(HEAD + FORM, "utf-8")
    code = read_code(text, read_issuers(tmp_path))
    assert isinstance(code, HealthCode)
    assert (code.issuer, code.form, code.token, code.region) == ("QX", "QX_APP", HEX, "990100")
    assert set(read_issuers(tmp_path).by_id) == set(shipped().by_id) | {"QX"}


@pytest.mark.requirement("R16")
@pytest.mark.parametrize("digits", ["9901001", "99010000000"])
def test_a_region_has_six_or_twelve_digits(digits: str) -> None:
    """R16: whatever a pattern lets through, nothing between is a region."""
    issuers = parse_issuers({"qx": HEAD + FORM})
    assert not isinstance(read_code(f"https://qx.example/q?c={HEX}&r={digits}".encode(), issuers), HealthCode)


def test_a_text_that_is_no_url_can_be_a_form() -> None:
    """A form without hosts is compared with the whole text, and never with a URL of a host of ours."""
    form = FORM.replace('hosts = ["qx.example"]\n', "").replace(r"/q\?c=", "QX:")
    code = read_code(f"QX:{HEX}&r=990100".encode(), parse_issuers({"qx": HEAD + form}))
    assert isinstance(code, HealthCode)
    greedy = HEAD + '[[form]]\nid = "QX_ALL"\npattern = "(?P<token>.*)"\ndecides = "card"\n'
    assert not isinstance(read_code(b"https://s.sh.gov.cn/x", parse_issuers({"qx": greedy, **texts()})), HealthCode)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id = ", "qx: "),
        (HEAD.replace('id = "QX"\n', "") + FORM, "qx: id: is missing: give a string"),
        (HEAD.replace('"QX"', '"qx"') + FORM, "qx: id: must be 2 to 16 of A-Z"),
        (HEAD.replace("990000", "9900") + FORM, "qx: region: must be six digits"),
        (HEAD.replace('"990000"', "990000") + FORM, "qx: region: must be a string"),
        (HEAD.replace('"made up"', '" "') + FORM, "qx: source: must not be empty"),
        (HEAD.replace(', en = "Health Code of Nowhere"', "") + FORM, "qx: name.en: is missing"),
        (HEAD.replace("{ zh", '{ fr = "x", zh') + FORM, "qx: name.fr: is not known; allowed here: en, zh"),
        (HEAD + 'colour = "green"\n' + FORM, "qx: colour: is not known; allowed here: form, hotline"),
        (HEAD, "qx: form: is missing"),
        (HEAD + "form = []\n", "qx: form: must be 1 to 16 tables"),
        (HEAD + "form = [1]\n", "qx: form: must be 1 to 16 tables"),
        (HEAD + FORM + 'colour = "green"\n', "qx: form[0].colour: is not known"),
        (HEAD + FORM.replace("QX_APP", "qx-app"), "qx: form[0].id: must be 2 to 32"),
        (HEAD + FORM.replace('"token-index"', '"colour"'), "qx: form[0].decides: must be one of 'token-index'"),
        (HEAD + FORM.replace("qx.example", "https://qx.example"), "qx: form[0].hosts: must be host names alone"),
        (HEAD + FORM.replace("qx.example", "qx.example:443"), "qx: form[0].hosts: must be host names alone"),
        (HEAD + FORM.replace('["qx.example"]', "[1]"), "qx: form[0].hosts: must be host names alone"),
        (HEAD + FORM.replace('["qx.example"]', str(["a.b"] * 9)), "qx: form[0].hosts: has 9 entries: at most 8"),
        (HEAD + FORM.replace("[0-9a-f]{32}", "(?:a+)+"), "qx: form[0].pattern: repeats a group"),
        (HEAD + FORM + 'layout = "ctid"\n', "qx: form[0].pattern: give either a pattern or a layout"),
        (HEAD + UNKNOWN.replace("known = false\n", ""), "qx: form[0].pattern: give either a pattern or a layout"),
        (HEAD + FORM + "known = false\n", "qx: form[0].known: is false, so it has no hosts"),
        (HEAD + UNKNOWN + "needs_card = 1\n", "qx: form[0].needs_card: must be a true or false"),
        (HEAD + FORM + "needs_card = true\n", "qx: form[0].decides: must be 'card'"),
        (HEAD + FORM + "dynamic = true\n", "qx: form[0].issued: must be 'epoch-ms-suffix'"),
        (HEAD + FORM + 'issued = "epoch-ms-suffix"\n', "qx: form[0].issued: belongs to a dynamic form"),
        (HEAD + FORM + "max_age_s = 60\n", "qx: form[0].max_age_s: belongs to a dynamic form"),
        (HEAD + DYNAMIC + "max_age_s = 0\n", "qx: form[0].max_age_s: must be 1 to 86400"),
        (HEAD + DYNAMIC + "max_age_s = 1.5\n", "qx: form[0].max_age_s: must be a whole number"),
        (
            HEAD + '[[form]]\nid = "QX_T"\nlayout = "ssm-transit"\ndecides = "issuer"\n',
            "qx: form[0].hosts: ssm-transit",
        ),
        (HEAD + '[[form]]\nid = "QX_T"\nlayout = "qx"\ndecides = "issuer"\n', "qx: form[0].layout: must be one of"),
        (
            HEAD + '[[form]]\nid = "QX_T"\nlayout = "ctid"\ndynamic = true\ndecides = "issuer"\n',
            "qx: form[0].dynamic: ssm-transit is dynamic, ctid is not",
        ),
    ],
)
def test_a_wrong_file_says_where_and_what_is_allowed(text: str, said: str) -> None:
    """Unknown keys, wrong kinds, and settings that contradict each other."""
    with pytest.raises(FormError) as caught:
        parse_issuer(text, "qx")
    assert str(caught.value).startswith(said)


def other(text: str) -> str:
    return text.replace('"QX"', '"QY"').replace("QX_APP", "QY_APP")


def test_two_issuers_may_share_a_host_only_where_their_codes_part() -> None:
    """DingTalk's host carries Zhejiang's and Jiangsu's; but one text must never be two issuers' code."""
    mine = HEAD + FORM
    with pytest.raises(FormError, match=r"QY_APP and QX_APP of QX share the host qx\.example"):
        parse_issuers({"qx": mine, "qy": other(mine)})
    apart = other(mine).replace(r"/q\?c=", r"/q\?d=")
    assert len(parse_issuers({"qx": mine, "qy": apart}).by_host["qx.example"]) == 2
    longer = other(mine).replace(r"/q\?c=", r"/q\?c=V1")
    with pytest.raises(FormError, match="could match the same text"):
        parse_issuers({"qx": mine, "qy": longer})
    plain = mine.replace('hosts = ["qx.example"]\n', "")
    with pytest.raises(FormError, match="no host"):
        parse_issuers({"qx": plain, "qy": other(plain)})


def test_an_id_is_given_once() -> None:
    """Of an issuer and of a form."""
    with pytest.raises(FormError, match="b: id: QX is said by another file"):
        parse_issuers({"a": HEAD + FORM, "b": HEAD + FORM})
    with pytest.raises(FormError, match="form id QX_APP is used twice"):
        parse_issuers({"a": HEAD + FORM + FORM})


def test_a_station_can_tell_a_string_that_is_not_public() -> None:
    """`with_pattern`: its form keeps what the issuer's file says of it; the issuers before stay as they were."""
    issuers = parse_issuers({"qx": HEAD + UNKNOWN})
    told = issuers.with_pattern("QX", "QX.example", "/(?P<token>[0-9]{9})")
    code = read_code(b"https://qx.example/123456789", told)
    assert isinstance(code, HealthCode)
    assert (code.form, code.decides, code.region) == ("QX_APP", "card", "990000")
    assert issuers.by_host == {}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ZZ", "a.example", "(?P<token>a)"), "issuer 'ZZ' is not known; known are AKM, GD"),
        (("XKM", "a.example", "(?P<token>a)"), "XKM: name one form that lacks a pattern: XKM, XKM_PAPER"),
        (("ZJ", "a.example", "(?P<token>a)"), "ZJ: name one form that lacks a pattern: it has none"),
        (("NGL", "https://a.example", "(?P<token>a)"), "NGL: host: must be host names alone"),
        (("NGL", "a.example", "a"), "NGL: pattern: has no (?P<token>"),
        (("NGL", "s.sh.gov.cn", "/(?P<token>a)"), "and could match the same text"),
        (("SSM", "a.example", "(?P<token>a)", "SSM_APP"), "SSM: name one form that lacks a pattern: SSM_PAPER"),
    ],
)
def test_a_station_s_own_pattern_is_checked_alike(arguments: tuple[str, ...], said: str) -> None:
    """The issuer, the form, the host, the pattern, and that no other issuer's code can be taken for it."""
    with pytest.raises(FormError) as caught:
        shipped().with_pattern(*arguments)
    assert said in str(caught.value)


def test_no_issuers_is_a_table_too() -> None:
    """Without any, nothing is recognised, and nothing raised."""
    assert not isinstance(read_code(b"https://s.sh.gov.cn/x", Issuers({})), HealthCode)
