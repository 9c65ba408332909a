"""The `[[issuer]]` tables of station.toml: how an issuer's codes look where that is not public, and how it is asked.

    [[issuer]]
    id = "SKM"                       # as the rules name it
    code_keys_file = "ssm-code.keys" # public keys of signed codes (SSM transit)
    [[issuer.code]]                  # a code whose string is not public, one table a form
    host = "code.example.cn"         # exact; absent: the code is no URL
    pattern = '/q/(?P<token>[0-9a-f]{32})'          # over everything behind the host
    form = "XKM_PAPER"               # which form of its issuer.toml; absent: its only one that is not public
    [issuer.query]                   # absent: this issuer is never asked
    interface = "jiangsu-verify"     # guangdong-decode | jiangsu-verify | hubei-validate | anhui-id | zhejiang-level
    url = "https://…"                # http:// to loopback only
    secret_file = "skm.secret"       # TOML of mode 0600, keys below; never in station.toml
    timeout_ms = 800                 # 50 to 800
    verifier = { department = "…", name = "…", phone = "…", position = "…" }   # Jiangsu: all four; Anhui: the name
    ca_file = "…"                    # whom the issuer must be; absent: the system's authorities
    certificate = "…"                # who we are to it, with private_key
    private_key = "…"

| interface        | secret_file             | of its own                                                          |
|------------------|-------------------------|---------------------------------------------------------------------|
| guangdong-decode | app_id, secret_key      | send_secret_key: one version of its page has it in the request too  |
| jiangsu-verify   | source, token           |                                                                     |
| hubei-validate   | none                    | region_field: what names the province in a report (NOT FOUND)       |
| anhui-id         | none                    | city_code (12 digits), site_id                                      |
| zhejiang-level   | none; app_key, secret   | sign = "md5" with secret_url | "hmac-sha256" (Shaoxing) with device_id |
"""

import ipaddress
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gate.tomltable import ConfigError, Table, shown

ISSUER = re.compile(r"[A-Z][A-Z0-9_]{1,15}")
ISSUERS_MAX = 64  # as many as feeds: 34 provinces and the cities that had codes of their own
TIMEOUT_MS_MAX = 800  # health-codes.md 3.1: a lane never waits longer for a network
TIMEOUT_MS_MIN = 50  # below it no far server answers, and the circuit would open by our impatience
TEXT_MAX = 128  # a name, a department, an id
SECRET_BYTES_MAX = 4096  # two short keys
CODES_MAX = 16  # as many forms as an issuer may have (credential/forms.py)
PATTERN_MAX = 512  # the longest shipped has 90 characters
_INTERFACES = ("guangdong-decode", "jiangsu-verify", "hubei-validate", "anhui-id", "zhejiang-level")
_HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,252}[a-z0-9])?")
_CITY = re.compile(r"[0-9]{12}")
_FORM = re.compile(r"[A-Z][A-Z0-9_]{1,31}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class Verifier:
    """Who checks here: Jiangsu demands it with every question. A name and a number are nobody else's business."""

    department: str = ""
    name: str = field(default="", repr=False)
    phone: str = field(default="", repr=False)
    position: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """How one issuer is asked."""

    interface: str
    url: str
    timeout_s: float = TIMEOUT_MS_MAX / 1000
    secret_file: Path | None = None
    verifier: Verifier = Verifier()
    ca_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    send_secret_key: bool = False  # guangdong-decode
    region_field: str = ""  # hubei-validate
    city_code: str = ""  # anhui-id
    site_id: str = ""  # anhui-id
    sign: str = "md5"  # zhejiang-level
    secret_url: str = ""  # zhejiang-level by md5
    device_id: str = ""  # zhejiang-level by hmac-sha256


@dataclass(frozen=True, slots=True)
class CodePattern:
    """How one form of an issuer's code is recognised, where its string is not public."""

    pattern: str
    host: str = ""  # "": the code is no URL
    form: str = ""  # "": the issuer's only form whose string is not public


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """One `[[issuer]]`: what only this station's operator can tell of it."""

    id: str
    codes: tuple[CodePattern, ...] = ()
    code_keys_file: Path | None = None
    query: Query | None = None


def read_issuer(table: Table) -> IssuerSettings:
    """One `[[issuer]]` table. Raises ConfigError."""
    issuer = _text(table, "id", ISSUER, "2 to 16 capitals, digits or '_', as the rules name it")
    codes = tuple(_code(row) for row in table.tables("code", CODES_MAX))
    keys = table.file("code_keys_file", must_exist=True, default=None)
    query = _query(table.table("query")) if "query" in table.raw else None
    table.get("query", dict, {})
    table.done()
    return IssuerSettings(issuer, codes, keys, query)


def _code(table: Table) -> CodePattern:
    host: str = table.get("host", str, "").lower()
    if host and not _HOST.fullmatch(host):
        raise ConfigError(table.at("host"), f"is {shown(host)}: must be a host alone, without https:// and path")
    form = _optional(table, "form", _FORM, "a form of its issuer.toml, e.g. SSM_PAPER")
    code = CodePattern(_pattern(table), host, form)
    table.done()
    return code


def read_secrets(query: Query) -> Mapping[str, str]:
    """The keys in the query's secret file, all there and no other. Raises ConfigError, which quotes none of them."""
    wanted = _secret_keys(query)
    if query.secret_file is None:
        return {}
    values = _secret_table(query.secret_file)
    for key in wanted:
        value = values.get(key)
        if not isinstance(value, str) or not value or len(value) > TEXT_MAX:
            raise ConfigError(str(query.secret_file), f"{key} must be a text of 1 to {TEXT_MAX} characters")
    if unknown := sorted(values.keys() - set(wanted)):
        raise ConfigError(
            str(query.secret_file), f"{shown(unknown[0])} is not known; allowed here: {', '.join(wanted)}"
        )
    return values


def _secret_table(path: Path) -> dict[str, str]:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(str(path), "may be read by others: chmod 600 it, and give the keys up if they were seen")
        with path.open("rb") as file:
            raw = file.read(SECRET_BYTES_MAX + 1)
        if len(raw) > SECRET_BYTES_MAX:
            raise ConfigError(str(path), f"is larger than {SECRET_BYTES_MAX} bytes: give the issuer's secret file")
        return tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise ConfigError(str(path), f"{error.strerror}: make it readable for the service alone") from error
    except ValueError as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(str(path), 'is not TOML: write lines of key = "value"') from None  # its text would be quoted


def _secret_keys(query: Query) -> tuple[str, ...]:
    if query.interface == "guangdong-decode":
        return ("app_id", "secret_key")
    if query.interface == "jiangsu-verify":
        return ("source", "token")
    return ("app_key", "secret") if query.sign == "hmac-sha256" else ()


def _query(table: Table) -> Query:
    interface: str = table.get("interface", str, one_of=_INTERFACES)
    tls = {key: table.file(key, must_exist=True, default=None) for key in ("ca_file", "certificate", "private_key")}
    if (tls["certificate"] is None) != (tls["private_key"] is None):
        raise ConfigError(table.at("certificate"), "and private_key go together: give both, or none")
    timeout_ms: int = table.get("timeout_ms", int, TIMEOUT_MS_MAX)
    if not TIMEOUT_MS_MIN <= timeout_ms <= TIMEOUT_MS_MAX:
        raise ConfigError(table.at("timeout_ms"), f"is {timeout_ms}: must be {TIMEOUT_MS_MIN} to {TIMEOUT_MS_MAX} ms")
    query = Query(
        interface,
        _url(table, "url"),
        timeout_ms / 1000,
        table.file("secret_file", must_exist=True, default=None),
        _verifier(table, interface),
        tls["ca_file"],
        tls["certificate"],
        tls["private_key"],
        **_own(table, interface),
    )
    table.done()
    _check_secrets(table, query)
    return query


def _check_secrets(table: Table, query: Query) -> None:
    wanted = _secret_keys(query)
    if wanted and query.secret_file is None:
        raise ConfigError(table.at("secret_file"), f"is missing: give a file with {' and '.join(wanted)}")
    if not wanted and query.secret_file is not None:
        raise ConfigError(table.at("secret_file"), f"is not used by {query.interface}: leave it out")
    try:
        read_secrets(query)
    except ConfigError as error:
        raise ConfigError(table.at("secret_file"), str(error)) from error


def _own(table: Table, interface: str) -> dict[str, Any]:
    """What only this interface has."""
    if interface == "guangdong-decode":
        return {"send_secret_key": table.get("send_secret_key", bool, False)}
    if interface == "hubei-validate":
        return {"region_field": _optional(table, "region_field", _FIELD, "the name of a JSON field")}
    if interface == "anhui-id":
        return {
            "city_code": _text(table, "city_code", _CITY, "12 digits, as 340100000000"),
            "site_id": _plain(table, "site_id"),
        }
    return _zhejiang(table) if interface == "zhejiang-level" else {}


def _zhejiang(table: Table) -> dict[str, Any]:
    sign: str = table.get("sign", str, "md5", ("md5", "hmac-sha256"))
    if sign == "md5":
        return {"sign": sign, "secret_url": _url(table, "secret_url")}
    return {"sign": sign, "device_id": _plain(table, "device_id")}


def _verifier(table: Table, interface: str) -> Verifier:
    needed = {"jiangsu-verify": ("department", "name", "phone", "position"), "anhui-id": ("name",)}.get(interface, ())
    if not needed:
        return Verifier()
    inner = table.table("verifier")
    values = {key: _plain(inner, key) for key in needed}
    inner.done()
    return Verifier(**values)


def _pattern(table: Table) -> str:
    pattern: str = table.get("pattern", str)
    try:
        good = len(pattern) <= PATTERN_MAX and "token" in re.compile(pattern).groupindex
    except re.error:
        good = False
    if not good:
        raise ConfigError(
            table.at("pattern"),
            f"must be a regular expression of at most {PATTERN_MAX} characters with a group (?P<token>…)",
        )
    return pattern


def _text(table: Table, key: str, form: re.Pattern[str], allowed: str) -> str:
    value: str = table.get(key, str)
    if not form.fullmatch(value):
        raise ConfigError(table.at(key), f"is {shown(value)}: must be {allowed}")
    return value


def _optional(table: Table, key: str, form: re.Pattern[str], allowed: str) -> str:
    return _text(table, key, form, allowed) if key in table.raw else str(table.get(key, str, ""))


def _plain(table: Table, key: str) -> str:
    """A short printable text; an error does not quote it, for it may be a person's."""
    value: str = table.get(key, str)
    if not value or not value.isprintable() or len(value) > TEXT_MAX:
        raise ConfigError(table.at(key), f"must be a printable text of 1 to {TEXT_MAX} characters")
    return value


def _url(table: Table, key: str) -> str:
    value: str = table.get(key, str)
    try:
        url = urlsplit(value)
        host, port_is_right = url.hostname or "", (url.port or 443) <= 65_535
    except ValueError:
        raise ConfigError(table.at(key), "is no URL: give https://HOST/PATH") from None
    if "@" in url.netloc or url.query or url.fragment or not value.isprintable() or not value.isascii():
        raise ConfigError(table.at(key), "must be https://HOST/PATH alone: a login or a query would show in logs")
    if url.scheme != "https" and not (url.scheme == "http" and _is_loopback(host)):
        raise ConfigError(table.at(key), f"is not https://: give https://{host}/…; http:// is for loopback only")
    if not host or not port_is_right:
        raise ConfigError(table.at(key), "names no host: give https://HOST/PATH")
    return value


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine, without asking a name server."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
