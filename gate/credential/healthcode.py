"""A QR's text becomes a `HealthCode` or a reason why not. It has no colour: a colour on a phone decides nothing (R5).

Forms: health-codes.md section 2, "QR forms seen". Hosts are matched exactly; whatever only resembles one is named so.
"""

import base64
import binascii
import enum
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

PAYLOAD_BYTES_MAX = 4096  # R16 asks for 512 bytes and more; a QR symbol holds at most 2,953


class CodeForm(enum.StrEnum):
    """Which of the forms seen in the field a code has."""

    SSM_APP = "SSM_APP"
    SSM_TRANSIT = "SSM_TRANSIT"
    ZJ_V2 = "ZJ_V2"
    ZJ_V0 = "ZJ_V0"
    SKM_V5 = "SKM_V5"
    AKM = "AKM"


class CodeProblem(enum.StrEnum):
    """Why a scanned text is of no use; names of `policy.verdict.Reason`."""

    CODE_NATIONAL = "CODE_NATIONAL"
    CODE_INCOMPLETE = "CODE_INCOMPLETE"
    CODE_LOOK_ALIKE = "CODE_LOOK_ALIKE"
    CODE_NOT_HEALTH = "CODE_NOT_HEALTH"
    CODE_NOT_TEXT = "CODE_NOT_TEXT"
    CODE_TOO_LONG = "CODE_TOO_LONG"


@dataclass(frozen=True, slots=True)
class HealthCode:
    """A recognised health code: who issued it, in which form, and its opaque token."""

    issuer: str
    form: CodeForm
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class UnusableCode:
    """What was scanned is no code that we can use."""

    problem: CodeProblem


@dataclass(frozen=True, slots=True)
class _Form:
    issuer: str
    form: CodeForm
    whole: re.Pattern[str]  # over everything behind the host; group 1 is the token


_HEX32 = r"[0-9A-Fa-f]{32}"
_DINGTALK = (
    # Parameters stand before '#': the usual URL libraries would cut them off or hide them (health-codes.md 2.2).
    _Form("ZJ", CodeForm.ZJ_V2, re.compile(rf"/healthAct/index\.html\?qrCode=(V2{_HEX32})#/result")),
    _Form("ZJ", CodeForm.ZJ_V0, re.compile(rf"/healthAct/index\.html\?qrCode=(V0ding{_HEX32})(?:&[^#\s]*)?#/result")),
    _Form(
        "SKM",
        CodeForm.SKM_V5,
        re.compile(rf"/healthAct/index\.html\?qrCode=(V5{_HEX32}[0-9]{{6}})&b=[^&#\s]{{64}}#/result"),
    ),
)
_FORMS: Mapping[str, tuple[_Form, ...]] = {
    "s.sh.gov.cn": (
        # 4 decimal digits, the length of the base64url body, and '##' (health-codes.md 2.1, transit combined code).
        _Form("SSM", CodeForm.SSM_TRANSIT, re.compile(r"/([0-9]{4}[A-Za-z0-9_\-]{64,}={0,2})##")),
        _Form("SSM", CodeForm.SSM_APP, re.compile(r"/([0-9A-Za-z]{20,128})")),
    ),
    "h5.dingtalk.com": _DINGTALK,
    "healthcode.dingtalk.com": _DINGTALK,
    "akm.ahzwfw.gov.cn": (
        # Parameters stand behind '#' (health-codes.md 2.4); region codes have 6 or 12 digits.
        _Form(
            "AKM",
            CodeForm.AKM,
            re.compile(
                r"/akm-sj-mgr/index\.html#/myAkm\?isScan=1&id=akm:qrcode:"
                rf"({_HEX32})&cityNo=[0-9]{{6}}(?:[0-9]{{6}})?"
            ),
        ),
    ),
}
_URL = re.compile(r"https://([^/?#\\]*)(.*)", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*:/*([^/?#\\\s]*)", re.IGNORECASE)
# health-codes.md 1.6: base64 of 200 bytes that begin so, decoded only by licensed reader heads.
_NATIONAL_BYTES = 200
_NATIONAL_HEAD = bytes.fromhex("0018FE01")


def read_code(payload: bytes, encoding: str = "utf-8") -> HealthCode | UnusableCode:
    """What a scanned payload is. Raises nothing: every input has an answer."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        return UnusableCode(CodeProblem.CODE_TOO_LONG)
    try:
        text = payload.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return UnusableCode(CodeProblem.CODE_NOT_TEXT)
    text = unicodedata.normalize("NFKC", text).strip(" \r\n\t\0\ufeff")
    if not text.isprintable():
        return UnusableCode(CodeProblem.CODE_NOT_TEXT)
    url = _URL.fullmatch(text)
    forms = _FORMS.get(url[1].lower()) if url else None
    if url is None or forms is None:
        return UnusableCode(_not_ours(text))
    return _of_host(forms, url[2])


def _of_host(forms: tuple[_Form, ...], rest: str) -> HealthCode | UnusableCode:
    for form in forms:
        match = form.whole.fullmatch(rest)
        if match and (form.form is not CodeForm.SSM_TRANSIT or _length_is_true(match[1])):
            return HealthCode(form.issuer, form.form, match[1])
    return UnusableCode(CodeProblem.CODE_INCOMPLETE)


def _length_is_true(token: str) -> bool:
    return int(token[:4]) == len(token) - 4


def _not_ours(text: str) -> CodeProblem:
    if _is_national(text):
        return CodeProblem.CODE_NATIONAL
    # Only the part a browser could take for the host may make it a look-alike; confusable letters count as theirs.
    url = _OTHER_SCHEME.match(text)
    authority = _plain(url[1] if url else text.split("/", 1)[0])
    if any(_plain(host) in authority for host in _FORMS):
        return CodeProblem.CODE_LOOK_ALIKE
    return CodeProblem.CODE_NOT_HEALTH


# Letters of other scripts that look like the Latin ones of our hosts, and digits that look like letters.
_CONFUSABLE = str.maketrans("асеорхуѕіһԁɡո1l0", "aceopxysihdgniio")


def _plain(host: str) -> str:
    return host.lower().translate(_CONFUSABLE).replace("l", "i")


def _is_national(text: str) -> bool:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(raw) == _NATIONAL_BYTES and raw.startswith(_NATIONAL_HEAD)
