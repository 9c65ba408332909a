"""Health codes as phones and papers show them: made up, in every form of health-codes.md section 2.

Tokens are drawn by the caller, never taken from anywhere. Where the real string is not publicly known, one is made up
under `.example`, a name that belongs to nobody, and a station must be told its pattern (`MADE_UP`).
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gate.credential.forms import Issuers
from gate.credential.transit import LAYOUT, SUISHENMA, TRANSPORT, TransitCode, Verifier, transit_text
from gate.sync.signing import Algorithm, SigningKey, generate

_DINGTALK = "https://h5.dingtalk.com/healthAct/index.html?qrCode="
_AKM = "https://akm.ahzwfw.gov.cn/akm-sj-mgr/index.html#/myAkm?isScan=1&id=akm:qrcode:"
_BEIJING_AHEAD = timedelta(hours=8)
VALID_DAY = timedelta(days=1)  # between a transit code's making and its valid_until
VALID_SECONDS = 60  # what a made transit code says; the real figure is NOT FOUND
SUISHENMA_KEY_INDEX = 1
TRANSPORT_KEY_INDEX = 2


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A string that we made up for a form whose real one is not known."""

    issuer: str
    host: str
    path: str

    @property
    def pattern(self) -> str:
        """What a station's configuration says of it."""
        return f"/{self.path}/(?P<token>[0-9a-f]{{32}})"


MADE_UP: Mapping[str, MadeUp] = {
    "SSM_PAPER": MadeUp("SSM", "ssm.example", "paper"),
    "SCM": MadeUp("SCM", "scm.example", "code"),
    "XKM": MadeUp("XKM", "xkm.example", "code"),
    "XKM_PAPER": MadeUp("XKM", "xkm.example", "paper"),
    "NGL": MadeUp("NGL", "ngl.example", "code"),
} | {issuer: MadeUp(issuer, f"{issuer.lower()}.example", "code") for issuer in ("HEN", "HAN", "HUN", "GD", "SD", "GZ")}


def with_made_up(issuers: Issuers) -> Issuers:
    """The same issuers, and the made-up strings recognised."""
    for form, made in MADE_UP.items():
        issuers = issuers.with_pattern(made.issuer, made.host, made.pattern, form)
    return issuers


@dataclass(frozen=True, slots=True)
class SealKeys:
    """The private keys of both seals of the transit code."""

    suishenma: SigningKey
    transport: SigningKey

    def verifiers(self) -> Mapping[tuple[str, int], Verifier]:
        """The public halves, as `judge_seal` takes them."""
        return {
            (SUISHENMA, SUISHENMA_KEY_INDEX): self.suishenma.public(),
            (TRANSPORT, TRANSPORT_KEY_INDEX): self.transport.public(),
        }


def make_seal_keys() -> SealKeys:
    """New SM2 keys. Raises KeyFileError where SM2 is not installed."""
    return SealKeys(generate(Algorithm.SM2), generate(Algorithm.SM2))


def code_text(form: str, token: str, utc_s: float, seals: SealKeys | None = None) -> str:
    """The text of a code of `form` shown at `utc_s`; `token`: 32 lower-case hex digits. SSM_TRANSIT needs `seals`."""
    if form == "SSM_TRANSIT":
        if seals is None:
            raise ValueError("SSM_TRANSIT carries two seals: give the keys to make them with")
        return "https://s.sh.gov.cn" + transit_text(transit_body(token, utc_s, seals))
    if form in MADE_UP:
        return f"https://{MADE_UP[form].host}/{MADE_UP[form].path}/{token}"
    return _TEXT[form](token, utc_s)


def indexed_token(form: str, token: str) -> str:
    """What a feed's token index has of it; "" for forms that cannot be indexed (health-codes.md (a), token_index)."""
    return {"ZJ_V2": f"V2{token}", "SKM_V5": f"V5{token}320000", "AKM": token}.get(form, "")


def transit_body(token: str, utc_s: float, seals: SealKeys, **changed: bytes) -> bytes:
    """The 211 bytes with both seals; `changed` sets fields of the layout before they are sealed."""
    until = datetime.fromtimestamp(utc_s, UTC) + VALID_DAY + _BEIJING_AHEAD
    parts = {name: bytes(length) for name, length in LAYOUT} | {
        "uuid": token.encode("ascii"),
        "special": b"\x40\0",
        "client": b"06",
        "valid_until": f"{until:%Y%m%d%H%M%S}".encode("ascii"),
        "key_index": bytes([SUISHENMA_KEY_INDEX]),
        "flags": b"\x80\0",
        "user_type": b"\1",
        "valid_seconds": VALID_SECONDS.to_bytes(2, "big"),
        "generated_at": int(utc_s).to_bytes(4, "big"),
        "transport_key_index": bytes([TRANSPORT_KEY_INDEX]),
        **changed,
    }
    parts["transport_sign"] = seals.transport.sign(_joined(parts).sealed_inside)
    parts["sign"] = seals.suishenma.sign(_joined(parts).sealed_outside)
    return _joined(parts).body


def _joined(parts: Mapping[str, bytes]) -> TransitCode:
    return TransitCode(b"".join(parts[name] for name, _ in LAYOUT), 0.0)


def _national(token: str) -> str:
    """As the sample of health-codes.md 1.6: 200 bytes, with the marks at 28 and 39."""
    head = bytes.fromhex("0018FE01") + bytes.fromhex(token) + bytes(8) + b"JKM1110000" + b"\0" + b"GBGS"
    return base64.b64encode(head.ljust(200, b"\0")).decode("ascii")


# The forms whose string is known, by what makes a token and a time into it.
_TEXT: Mapping[str, Callable[[str, float], str]] = {
    "SSM_APP": lambda token, utc_s: f"https://s.sh.gov.cn/{token[:30]}{round(utc_s * 1000):013d}",
    "ZJ_V2": lambda token, _: f"{_DINGTALK}V2{token}#/result",
    "ZJ_V0": lambda token, _: f"{_DINGTALK}V0ding{token}&stateCouncilBarCode={token[::-1]}&cityCode=#/result",
    "SKM_V5": lambda token, _: f"{_DINGTALK}V5{token}320000&b={token}{token[::-1]}#/result",
    "AKM": lambda token, _: f"{_AKM}{token}&cityNo=340000000000",
    "NATIONAL": lambda token, _: _national(token),
}
FORMS = (*_TEXT, "SSM_TRANSIT", *MADE_UP)
