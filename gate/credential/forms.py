"""Issuers and the forms of their codes, as data: `issuer.toml` text in, checked values out (health-codes.md section 2).

Which file a text comes from is the caller's business. A form says how its QR text is recognised, whether it carries a
time, and what decides about its holder. A form whose string is not publicly known is `known = false`: its issuer
exists, and nothing is recognised as it until a station's configuration gives a pattern (`Issuers.with_pattern`).
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from gate.credential.patterns import Pattern, PatternError, accept

FORMS_MAX = 16  # of one issuer; Shanghai, with the most, has 3. All forms of a host are tried for every code of it
HOSTS_MAX = 8  # of one form; Zhejiang has 2
MAX_AGE_DEFAULT_S = 60.0  # health-codes.md 2.5: no official figure exists, so it is configuration, and this its default
EPOCH_MS_SUFFIX = "epoch-ms-suffix"  # the token ends in 13 digits: milliseconds since 1970 (health-codes.md 2.1 (1))
SSM_TRANSIT = "ssm-transit"  # gate/credential/transit.py
CTID = "ctid"  # health-codes.md 1.6: recognised, not read
LAYOUTS = (SSM_TRANSIT, CTID)
DECIDES = ("token-index", "issuer", "card")

_ISSUER_ID = re.compile(r"[A-Z][A-Z0-9_]{1,15}")  # as feeds have it
_FORM_ID = re.compile(r"[A-Z][A-Z0-9_]{1,31}")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(?:\.[a-z0-9-]+)+")
_T = TypeVar("_T")


class FormError(ValueError):
    """An issuer.toml cannot be used; the text says the file, the place in it, what is wrong and what is allowed."""


@dataclass(frozen=True, slots=True)
class Form:
    """One form of an issuer's code."""

    id: str
    issuer: str
    region: str  # of the issuer, where the text itself names none
    decides: str  # one of DECIDES: what the holder's status is found by, when no card stands beside the code
    hosts: tuple[str, ...] = ()  # lower case; empty: a text that is no URL
    pattern: Pattern | None = None  # over everything behind the host
    layout: str = ""  # one of LAYOUTS: decoded by code instead of a pattern
    dynamic: bool = False  # carries the time of its showing
    max_age_s: float | None = None  # of a dynamic form
    needs_card: bool = False  # paper: it counts only beside the card of the person
    known: bool = True


@dataclass(frozen=True, slots=True)
class IssuerInfo:
    """Who issues a code, and in which forms."""

    id: str
    name: Mapping[str, str]  # by language
    region: str  # GB/T 2260, six digits
    hotline: str
    source: str
    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Issuers:
    """All issuers of a station, and their forms by host."""

    by_id: Mapping[str, IssuerInfo]
    by_host: Mapping[str, tuple[Form, ...]] = field(init=False)  # "": forms that are no URL

    def __post_init__(self) -> None:
        """Sort the forms by host. Raises FormError when two forms could be taken for each other."""
        object.__setattr__(self, "by_host", _by_host(self.by_id.values()))

    def with_pattern(self, issuer: str, host: str, pattern: str, form: str = "") -> "Issuers":
        """With a form that was not publicly known: what a station's configuration says of it. Raises FormError.

        `host` "" means a text that is no URL; `form` may be left out when the issuer has one unknown form.
        """
        if issuer not in self.by_id:
            raise FormError(f"issuer {issuer!r} is not known; known are {', '.join(sorted(self.by_id))}")
        info = self.by_id[issuer]
        unknown = [each for each in info.forms if not each.known and form in ("", each.id)]
        if len(unknown) != 1:
            names = [each.id for each in info.forms if not each.known]
            raise FormError(f"{issuer}: name one form that lacks a pattern: {', '.join(names) or 'it has none'}")
        hosts = _hosts([host] if host else [], f"{issuer}: host")
        known = replace(unknown[0], hosts=hosts, pattern=_pattern(pattern, f"{issuer}: pattern"), known=True)
        forms = tuple(known if each.id == known.id else each for each in info.forms)
        return Issuers({**self.by_id, issuer: replace(info, forms=forms)})


def parse_issuers(texts: Mapping[str, str]) -> Issuers:
    """Issuers from `issuer.toml` texts by file name. Raises FormError."""
    by_id: dict[str, IssuerInfo] = {}
    for name, text in texts.items():
        info = parse_issuer(text, name)
        if info.id in by_id:
            raise FormError(f"{name}: id: {info.id} is said by another file as well: keep one of them")
        by_id[info.id] = info
    return Issuers(by_id)


def parse_issuer(text: str, name: str) -> IssuerInfo:
    """The issuer in one `issuer.toml`. Raises FormError, naming the file and the place in it."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FormError(f"{name}: {error}") from error
    fields = _Fields(raw, f"{name}: ")
    issuer = _matching(fields, "id", _ISSUER_ID, "2 to 16 of A-Z, 0-9 and _, a letter first")
    region = _matching(fields, "region", re.compile(r"[0-9]{6}"), "six digits of GB/T 2260")
    info = IssuerInfo(
        id=issuer,
        name=_name(fields.get("name", dict), fields.at("name")),
        region=region,
        hotline=_filled(fields, "hotline"),
        source=_filled(fields, "source"),
        forms=_forms(fields, issuer, region),
    )
    fields.done()
    return info


class _Fields:
    """One table being read: hands out checked values, and refuses what nobody asked for."""

    def __init__(self, raw: dict[str, Any], place: str) -> None:
        self._raw = raw
        self._place = place
        self._asked: set[str] = set()

    def at(self, key: str) -> str:
        """The place of `key`."""
        return f"{self._place}{key}"

    def get(self, key: str, kind: type[_T], default: _T | None = None) -> _T:
        """The value of `key`, of just this type; without a default it must be there. Raises FormError."""
        self._asked.add(key)
        value = self._raw.get(key, default)
        if value is None:
            raise FormError(f"{self.at(key)}: is missing: give a {_KIND[kind]}")
        if type(value) is not kind:
            raise FormError(f"{self.at(key)}: must be a {_KIND[kind]}")
        return value

    def has(self, key: str) -> bool:
        """Whether `key` is given."""
        return key in self._raw

    def done(self) -> None:
        """Nothing more is asked for. Raises FormError for what is left."""
        for key in self._raw:
            if key not in self._asked:
                raise FormError(f"{self.at(key)}: is not known; allowed here: {', '.join(sorted(self._asked))}")


_KIND: Mapping[type, str] = {str: "string", int: "whole number", bool: "true or false", dict: "table", list: "list"}


def _matching(fields: _Fields, key: str, allowed: re.Pattern[str], meaning: str) -> str:
    value = fields.get(key, str)
    if not allowed.fullmatch(value):
        raise FormError(f"{fields.at(key)}: must be {meaning}")
    return value


def _filled(fields: _Fields, key: str) -> str:
    value = fields.get(key, str)
    if not value.strip():
        raise FormError(f"{fields.at(key)}: must not be empty")
    return value


def _name(raw: dict[str, Any], place: str) -> Mapping[str, str]:
    fields = _Fields(raw, f"{place}.")
    name = {language: _filled(fields, language) for language in ("zh", "en")}
    fields.done()
    return name


def _forms(fields: _Fields, issuer: str, region: str) -> tuple[Form, ...]:
    rows = fields.get("form", list)
    place = fields.at("form")
    if not 1 <= len(rows) <= FORMS_MAX or not all(isinstance(row, dict) for row in rows):
        raise FormError(f"{place}: must be 1 to {FORMS_MAX} tables, each written as [[form]]")
    return tuple(_form(_Fields(row, f"{place}[{index}]."), issuer, region) for index, row in enumerate(rows))


def _form(fields: _Fields, issuer: str, region: str) -> Form:
    form = Form(
        id=_matching(fields, "id", _FORM_ID, "2 to 32 of A-Z, 0-9 and _, a letter first"),
        issuer=issuer,
        region=region,
        decides=_one_of(fields, "decides", DECIDES),
        hosts=_hosts(fields.get("hosts", list, []), fields.at("hosts")),
        pattern=_pattern(fields.get("pattern", str), fields.at("pattern")) if fields.has("pattern") else None,
        layout=_one_of(fields, "layout", LAYOUTS) if fields.has("layout") else "",
        dynamic=fields.get("dynamic", bool, False),
        max_age_s=_max_age(fields),
        needs_card=fields.get("needs_card", bool, False),
        known=fields.get("known", bool, True),
    )
    issued = _one_of(fields, "issued", (EPOCH_MS_SUFFIX,)) if fields.has("issued") else ""
    fields.done()
    _check_recognition(form, fields)
    _check_time(form, issued, fields)
    if form.needs_card and form.decides != "card":
        raise FormError(f"{fields.at('decides')}: must be 'card' where needs_card is true")
    return form


def _check_recognition(form: Form, fields: _Fields) -> None:
    ways = (form.pattern is not None) + bool(form.layout)
    if not form.known and (ways or form.hosts):
        raise FormError(f"{fields.at('known')}: is false, so it has no hosts, pattern or layout: drop one or the other")
    if form.known and ways != 1:
        raise FormError(f"{fields.at('pattern')}: give either a pattern or a layout, or say known = false")
    if form.layout and bool(form.hosts) != (form.layout == SSM_TRANSIT):
        raise FormError(f"{fields.at('hosts')}: {SSM_TRANSIT} needs hosts, {CTID} has none")


def _check_time(form: Form, issued: str, fields: _Fields) -> None:
    needed = EPOCH_MS_SUFFIX if form.dynamic and form.layout != SSM_TRANSIT else ""
    if form.layout and form.dynamic != (form.layout == SSM_TRANSIT):
        raise FormError(f"{fields.at('dynamic')}: {SSM_TRANSIT} is dynamic, {CTID} is not")
    if issued != needed:
        says = f"must be {needed!r} in a dynamic form" if needed else "belongs to a dynamic form with a pattern"
        raise FormError(f"{fields.at('issued')}: {says}")
    if not form.dynamic and form.max_age_s is not None:
        raise FormError(f"{fields.at('max_age_s')}: belongs to a dynamic form: a static one is never judged by time")


def _max_age(fields: _Fields) -> float | None:
    if not fields.has("max_age_s"):
        return MAX_AGE_DEFAULT_S if fields.get("dynamic", bool, False) else None
    seconds = fields.get("max_age_s", int)
    if not 1 <= seconds <= 86_400:  # a code that holds longer than a day is static
        raise FormError(f"{fields.at('max_age_s')}: must be 1 to 86400 seconds")
    return float(seconds)


def _one_of(fields: _Fields, key: str, allowed: tuple[str, ...]) -> str:
    value = fields.get(key, str)
    if value not in allowed:
        raise FormError(f"{fields.at(key)}: must be one of {', '.join(map(repr, allowed))}")
    return value


def _hosts(given: list[Any], place: str) -> tuple[str, ...]:
    if len(given) > HOSTS_MAX:
        raise FormError(f"{place}: has {len(given)} entries: at most {HOSTS_MAX}")
    hosts = tuple(host.lower() if isinstance(host, str) else "" for host in given)
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise FormError(f"{place}: must be host names alone, as s.sh.gov.cn is: no scheme, port or path")
    return hosts


def _pattern(text: str, place: str) -> Pattern:
    try:
        return accept(text)
    except PatternError as error:
        raise FormError(f"{place}: {error}") from None


def _by_host(infos: Iterable[IssuerInfo]) -> Mapping[str, tuple[Form, ...]]:
    ids: set[str] = set()
    by_host: dict[str, tuple[Form, ...]] = {}
    for form in (form for info in infos for form in info.forms):
        if form.id in ids:
            raise FormError(f"{form.issuer}: form id {form.id} is used twice: each form has an id of its own")
        ids.add(form.id)
        for host in form.hosts or ("",) * form.known:
            for other in by_host.get(host, ()):
                _check_apart(form, other, host)
            by_host[host] = (*by_host.get(host, ()), form)
    if "" in by_host:  # a CTID code is told by its bytes, so no pattern comes before it
        by_host[""] = tuple(sorted(by_host[""], key=lambda form: form.layout != CTID))
    return by_host


def _check_apart(form: Form, other: Form, host: str) -> None:
    """Codes of two issuers on one host (DingTalk's) must differ in their literal beginning, else one is the other."""
    if form.issuer == other.issuer or CTID in (form.layout, other.layout):
        return  # one issuer's forms are tried in its order
    mine, theirs = (each.pattern.head if each.pattern else "" for each in (form, other))
    if mine.startswith(theirs) or theirs.startswith(mine):
        raise FormError(
            f"{form.issuer}: form {form.id} and {other.id} of {other.issuer} share"
            f" {f'the host {host}' if host else 'no host'} and could match the same text:"
            " let their patterns begin with different characters"
        )
