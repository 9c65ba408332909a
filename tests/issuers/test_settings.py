"""The [[issuer]] tables of station.toml and the secret files they name."""

import re
from pathlib import Path

import pytest

from gate.config import Config, ConfigError, parse
from gate.issuers.desk import IssuerDesk
from gate.issuersettings import Query, Verifier, read_secrets
from gate.moment import Moment
from tests.issuers.support import secret_file

STATION = '[station]\nid = "s"\nregion = "330100"\ndata_dir = "data"\n'
JIANGSU = """
[[issuer]]
id = "SKM"
[issuer.query]
interface = "jiangsu-verify"
url = "https://issuer.example/verify"
secret_file = "issuer.secret"
timeout_ms = 600
verifier = { department = "客运部", name = "钱核验", phone = "13800005678", position = "出站口" }
"""
OTHERS = """
[[issuer]]
id = "GD"
query = { interface = "guangdong-decode", url = "https://issuer.example/health/decode", secret_file = "gd.secret" }
[[issuer]]
id = "HUB"
query = { interface = "hubei-validate", url = "http://[::1]:80/v", region_field = "province" }
[[issuer]]
id = "AKM"
[issuer.query]
interface = "anhui-id"
url = "http://127.0.0.1/id"
city_code = "340100000000"
site_id = "S1"
verifier = { name = "A1 闸机" }
[[issuer]]
id = "ZJ"
query = { interface = "zhejiang-level", url = "https://zj.example/q", secret_url = "https://zj.example/s" }
[[issuer]]
id = "NGL"
[[issuer.code]]
host = "Code.Example.CN"
pattern = '/q/(?P<token>[0-9a-f]{32})'
"""


def station(text: str, folder: Path) -> Config:
    secret_file(folder, 'source = "station"\ntoken = "made-up-token"\n')
    gd = folder / "gd.secret"
    gd.write_text('app_id = "a"\nsecret_key = "b"\n')
    gd.chmod(0o600)
    return parse(STATION + text, folder)


def test_every_interface_loads_and_a_desk_can_be_made_of_it(tmp_path: Path) -> None:
    """What the module's own table shows, and the secrets that each needs."""
    issuers = {issuer.id: issuer for issuer in station(JIANGSU + OTHERS, tmp_path).issuers}
    query = issuers["SKM"].query
    assert query is not None
    assert (query.interface, query.timeout_s) == ("jiangsu-verify", 0.6)
    assert query.verifier == Verifier("客运部", "钱核验", "13800005678", "出站口")
    assert read_secrets(query) == {"source": "station", "token": "made-up-token"}
    assert [code.host for code in issuers["NGL"].codes] == ["code.example.cn"]
    assert issuers["NGL"].query is None
    desk = IssuerDesk(tuple(issuers.values()), lambda: Moment(0.0, 0.0))
    assert [issuer for issuer in issuers if desk.asks(issuer)] == ["SKM", "GD", "HUB", "AKM", "ZJ"]


def test_a_repr_shows_no_verifiers_name_and_phone(tmp_path: Path) -> None:
    """Settings end in logs and errors; whoever checks here is a person too."""
    text = repr(station(JIANGSU, tmp_path))
    assert "客运部" in text
    assert "钱核验" not in text
    assert "13800005678" not in text


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ('"jiangsu-verify"', '"jiangsu"', "issuer[0].query.interface", "must be one of 'guangdong-decode'"),
        ("timeout_ms = 600", "timeout_ms = 801", "issuer[0].query.timeout_ms", "50 to 800 ms"),
        ("timeout_ms = 600", "timeout_ms = 49", "issuer[0].query.timeout_ms", "50 to 800 ms"),
        ("timeout_ms = 600", "timeout = 600", "issuer[0].query.timeout", "did you mean 'timeout_ms'"),
        ("timeout_ms = 600", 'site_id = "S"', "issuer[0].query.site_id", "is not known"),
        ("timeout_ms = 600", 'certificate = "gd.secret"', "issuer[0].query.certificate", "go together"),
        ("timeout_ms = 600", 'ca_file = "none.pem"', "issuer[0].query.ca_file", "is not there"),
        (
            '"https://issuer.example/verify"',
            '"http://issuer.example/verify"',
            "issuer[0].query.url",
            "for loopback only",
        ),
        (
            '"https://issuer.example/verify"',
            '"https://me:pw@issuer.example/"',
            "issuer[0].query.url",
            "would show in logs",
        ),
        (
            '"https://issuer.example/verify"',
            '"https://issuer.example/?k=v"',
            "issuer[0].query.url",
            "would show in logs",
        ),
        ('"https://issuer.example/verify"', '"https:///verify"', "issuer[0].query.url", "names no host"),
        ('"https://issuer.example/verify"', '"https://h:99999/"', "issuer[0].query.url", "is no URL"),
        ('"issuer.secret"', '"none.secret"', "issuer[0].query.secret_file", "is not there"),
        ('secret_file = "issuer.secret"\n', "", "issuer[0].query.secret_file", "give a file with source and token"),
        ('"issuer.secret"', '"gd.secret"', "issuer[0].query.secret_file", "source must be a text"),
        (', position = "出站口"', "", "issuer[0].query.verifier.position", "is missing"),
        ('name = "钱核验"', 'name = ""', "issuer[0].query.verifier.name", "printable text"),
        ('position = "出站口"', 'position = "出站口", age = 3', "issuer[0].query.verifier.age", "is not known"),
        ('id = "SKM"', 'id = "skm"', "issuer[0].id", "capitals"),
        ('id = "SKM"', 'id = "SKM"\ncode = [{ host = "a.cn/b" }]', "issuer[0].code[0].host", "a host alone"),
        ('id = "SKM"', 'id = "SKM"\ncode = [{ host = "a.cn" }]', "issuer[0].code[0].pattern", "is missing"),
        ('id = "SKM"', 'id = "SKM"\ncode = [{ pattern = "(a)" }]', "issuer[0].code[0].pattern", "(?P<token>"),
        ('id = "SKM"', 'id = "SKM"\ncode = [{ pattern = "(" }]', "issuer[0].code[0].pattern", "(?P<token>"),
        ('id = "SKM"', 'id = "SKM"\ncode = { pattern = "x" }', "issuer[0].code", "[[issuer.code]]"),
        ('id = "SKM"', 'id = "SKM"\nurl = "x"', "issuer[0].url", "is not known"),
        ("[[issuer]]", '[[issuer]]\nid = "SKM"\n[[issuer]]', "issuer[1].id", "stands twice"),
        ("[[issuer]]", "[issuer]", "issuer", "write each as [[issuer]]"),
        (
            '"jiangsu-verify"',
            '"zhejiang-level"\nsign = "md5"',
            "issuer[0].query.secret_url",
            "is missing",
        ),
        ('"jiangsu-verify"', '"hubei-validate"', "issuer[0].query.verifier", "is not known"),
    ],
)
def test_what_is_wrong_is_named_with_place_and_remedy(
    tmp_path: Path, old: str, new: str, place: str, says: str
) -> None:
    """One thing wrong, one error: the path inside the file, and what is allowed."""
    assert old in JIANGSU
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        station(JIANGSU.replace(old, new, 1), tmp_path)
    assert place in str(caught.value)
    assert "钱核验" not in str(caught.value)
    assert "made-up-token" not in str(caught.value)


@pytest.mark.requirement("R10")
@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        ('source = "s"\ntoken = "made-up-token"\n', 0o640, "chmod 600"),
        ('source = "s"\ntoken = "made-up-token"\n', 0o604, "chmod 600"),
        ('source = "s"\ntoken = made-up-token\n', 0o600, "is not TOML"),
        ('source = "s"\ntoken = "made-up-token"\nmore = "made-up-token"\n', 0o600, "'more' is not known"),
        ('source = "s"\n', 0o600, "token must be a text"),
        ('source = "s"\ntoken = ["made-up-token"]\n', 0o600, "token must be a text"),
        (f'source = "s"\ntoken = "made-up-token{"x" * 5000}"\n', 0o600, "is larger than"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_named_and_not_quoted(
    tmp_path: Path, text: str, mode: int, says: str
) -> None:
    """R10: others may not read it, and no error shows what is in it, not even the first cause."""
    query = Query("jiangsu-verify", "https://issuer.example/", secret_file=secret_file(tmp_path, text, mode))
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        read_secrets(query)
    assert "issuer.secret" in str(caught.value)
    assert "made-up-token" not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """At the start of the station, with what to give, and not at the first passenger."""
    bad = tmp_path / "bad.pem"
    bad.write_text("nothing")
    text = JIANGSU.replace("timeout_ms = 600", 'ca_file = "bad.pem"')
    with pytest.raises(ConfigError, match=r"bad\.pem.*give PEM files"):
        IssuerDesk(station(text, tmp_path).issuers, lambda: Moment(0.0, 0.0))
