"""A QR's text becomes a `HealthCode` or a reason why not. It has no colour: a colour on a phone decides nothing (R5).

The forms are data (forms.py; health-codes.md section 2, "QR forms seen"). Hosts are matched exactly; whatever only
resembles one is named so.
"""

import base64
import binascii
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field

from gate.credential.codeproblem import CodeProblem as CodeProblem  # read_code answers with it
from gate.credential.forms import CTID, SSM_TRANSIT, Form, Issuers
from gate.credential.transit import TransitCode, Verifier, judge_seal, read_transit
from gate.moment import Moment

PAYLOAD_BYTES_MAX = 4096  # R16 asks for 512 bytes and more; a QR symbol holds at most 2,953
# How far a phone's clock and ours may differ. No source gives a figure; phones keep seconds, and a code shown before
# walking up to the gate is a few seconds old. A station's configuration says otherwise where it is known better.
SKEW_DEFAULT_S = 30.0


@dataclass(frozen=True, slots=True)
class HealthCode:
    """A recognised health code: who issued it, in which form, its opaque token, and what it says of its own time."""

    issuer: str
    form: str
    token: str = field(repr=False)
    text: str = field(default="", repr=False)  # all of it: some issuers must be sent the complete string
    dynamic: bool = False
    issued_utc_s: float | None = None
    valid_until_utc_s: float | None = None
    max_age_s: float | None = None
    needs_card: bool = False
    decides: str = "issuer"
    region: str = ""  # GB/T 2260, six digits
    seal: TransitCode | None = field(default=None, repr=False)

    @property
    def ends_utc_s(self) -> float:
        """When a dynamic code says that it ends, without any skew; of a static one there is no such instant."""
        aged = (self.issued_utc_s or 0.0) + (self.max_age_s or 0.0)
        return aged if self.valid_until_utc_s is None else min(aged, self.valid_until_utc_s)


@dataclass(frozen=True, slots=True)
class UnusableCode:
    """What was scanned is no code that we can use."""

    problem: CodeProblem


_URL = re.compile(r"https://([^/?#\\]*)(.*)", re.IGNORECASE)
_OTHER_SCHEME = re.compile(r"[a-z][a-z0-9+.\-]*:/*([^/?#\\\s]*)", re.IGNORECASE)
_EPOCH_MS = re.compile(r"[0-9]{13}$")
_REGION = re.compile(r"([0-9]{6})(?:[0-9]{6})?")
# health-codes.md 1.6: base64 of 200 bytes that begin so, decoded only by licensed reader heads.
_NATIONAL_BYTES = 200
_NATIONAL_HEAD = bytes.fromhex("0018FE01")


def read_code(payload: bytes, issuers: Issuers, encoding: str = "utf-8") -> HealthCode | UnusableCode:
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
    if len(text) > PAYLOAD_BYTES_MAX:  # one character can become eighteen, and patterns count on this limit
        return UnusableCode(CodeProblem.CODE_TOO_LONG)
    url = _URL.fullmatch(text)
    host, rest = (url[1].lower(), url[2]) if url else ("", text)
    forms = () if url and not host else issuers.by_host.get(host, ())
    for form in forms:
        code = _read_as(form, rest, text)
        if code:
            return code
    known_host = url is not None and bool(forms)
    return UnusableCode(CodeProblem.CODE_INCOMPLETE if known_host else _not_ours(text, issuers))


def judge_code(
    code: HealthCode,
    keys: Mapping[tuple[str, int], Verifier],
    now: Moment,
    clock_trusted: bool,
    skew_s: float = SKEW_DEFAULT_S,
) -> CodeProblem | None:
    """The first thing that is wrong with a recognised code. The seal comes first: an unproven time is no time."""
    return (judge_seal(code.seal, keys) if code.seal else None) or judge_time(code, now, clock_trusted, skew_s)


def judge_time(
    code: HealthCode, now: Moment, clock_trusted: bool, skew_s: float = SKEW_DEFAULT_S
) -> CodeProblem | None:
    """Whether a dynamic code is of just now; a static one is never judged by time. `skew_s`: see SKEW_DEFAULT_S."""
    if not code.dynamic:
        return None
    if not clock_trusted or code.issued_utc_s is None:  # R18: no expiry by a clock that nobody vouches for
        return CodeProblem.CODE_TIME_UNCHECKED
    if code.issued_utc_s > now.utc_s + skew_s:
        return CodeProblem.CODE_FROM_FUTURE
    return CodeProblem.CODE_EXPIRED if now.utc_s > code.ends_utc_s + skew_s else None


def _read_as(form: Form, rest: str, text: str) -> HealthCode | UnusableCode | None:
    """`text` as a code of `form`; None when it is not one."""
    if form.layout == SSM_TRANSIT:
        seal = read_transit(rest)
        return _transit(form, seal, rest, text) if seal else None
    if form.layout == CTID:
        return UnusableCode(CodeProblem.CODE_NATIONAL) if _is_national(rest) else None
    match = form.pattern.compiled.fullmatch(rest) if form.pattern else None
    if match is None:
        return None
    token = match["token"] or ""
    issued_utc_s = _issued(token) if form.dynamic else None
    region = _region(match, form)
    if not token or not region or (form.dynamic and issued_utc_s is None):
        return None
    return _code(form, token, text, issued_utc_s, region)


def _code(form: Form, token: str, text: str, issued_utc_s: float | None, region: str) -> HealthCode:
    return HealthCode(
        issuer=form.issuer,
        form=form.id,
        token=token,
        text=text,
        dynamic=form.dynamic,
        issued_utc_s=issued_utc_s,
        max_age_s=form.max_age_s,
        needs_card=form.needs_card,
        decides=form.decides,
        region=region,
    )


def _transit(form: Form, seal: TransitCode, rest: str, text: str) -> HealthCode:
    return HealthCode(
        issuer=form.issuer,
        form=form.id,
        token=rest[5:].rstrip("#="),  # without length and padding: the same code, padded or not, is one code (replay)
        text=text,
        dynamic=True,
        issued_utc_s=seal.generated_utc_s,
        valid_until_utc_s=seal.valid_until_utc_s,
        max_age_s=float(seal.number("valid_seconds")) or form.max_age_s,  # health-codes.md 2.5: 0 says nothing
        needs_card=form.needs_card,
        decides=form.decides,
        region=form.region,
        seal=seal,
    )


def _issued(token: str) -> float | None:
    match = _EPOCH_MS.search(token)
    return int(match[0]) / 1000 if match else None


def _region(match: re.Match[str], form: Form) -> str:
    """Six digits (R16: they travel as 6 or 12); the issuer's where the text names none, "" where it names nonsense."""
    said = match.groupdict().get("region")
    if said is None:
        return form.region
    whole = _REGION.fullmatch(said)
    return whole[1] if whole else ""


def _not_ours(text: str, issuers: Issuers) -> CodeProblem:
    # Only the part a browser could take for the host may make it a look-alike; confusable letters count as theirs.
    url = _OTHER_SCHEME.match(text)
    authority = _plain(url[1] if url else text.split("/", 1)[0])
    if any(_plain(host) in authority for host in issuers.by_host if host):
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
