"""PURE: the paper certificate of a community, a QR that somebody without a phone shows together with an ID card.

It says "the holder of this document is certified healthy for this one day", and carries no colour and no name:

    "GATECERT1:" + base64url, no padding, of
    region of the authority u32 | day of issue u16 | valid day u16 | salt 16 | binding 16 | key id u8 + n | signature 64

All numbers are big-endian; days are days in China, counted from 2020-01-01. The signature is over "gate/certificate/1",
a zero byte and all bytes before it, so that a new version is a new prefix and a new signature.

The binding is HMAC-SHA-256(salt, "gate/certificate/1" 00 type 00 number)[:16], and the salt stands beside it, as
every gate must compute it offline. Document numbers are few (about 10^11 of residents): whoever photographs the
paper can try them all in minutes. The salt, other for each paper, only makes sure that no table made before helps and
that two papers of one person look unrelated. What protects the number is that the paper lies in the holder's pocket
beside the ID card which bears that number in print, that it is worth nothing after its day, and that we never keep it.
"""

import base64
import binascii
import enum
import hmac
import re
import struct
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from gate.credential.documents import Document
from gate.credential.healthcode import PAYLOAD_BYTES_MAX
from gate.moment import Moment

SALT_BYTES = 16
AHEAD_DAYS_MAX = 1  # "valid for the day": made on it, or the evening before for who travels before the office opens
_BINDING_BYTES = 16  # as a subject key: a second number with the same binding is not to be found among 10^11
_SIGNATURE_BYTES = 64  # Ed25519 and SM2 alike (gate/sync/signing.py)
_CONTEXT = b"gate/certificate/1\0"  # so that no signature or binding means two things
_VERSION = "1"
_PREFIX = re.compile(r"GATECERT([0-9]{1,3}):(.*)", re.DOTALL)
# The longest key id has 64 characters (gate/sync/keyring.py): 169 bytes are 226 characters.
_TEXT_MAX = 240
_BASE64 = re.compile(rf"[A-Za-z0-9_-]{{1,{_TEXT_MAX}}}")
_FIXED = struct.Struct(f">IHH{SALT_BYTES}s{_BINDING_BYTES}sB")
_KEY_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_REGION_MAX = 999_999  # GB/T 2260: six digits
_DAY_ZERO = date(2020, 1, 1)
_DAY_LAST = _DAY_ZERO + timedelta(days=0xFFFF)  # in 2199
_BEIJING_S = 8 * 3600  # China has one time zone and no summer time


class CertificateProblem(enum.StrEnum):
    """Why a certificate is of no use; names of `policy.verdict.Reason`."""

    CERTIFICATE_UNREADABLE = "CERTIFICATE_UNREADABLE"
    CERTIFICATE_NOT_AUTHENTIC = "CERTIFICATE_NOT_AUTHENTIC"
    CLOCK_UNTRUSTED = "CLOCK_UNTRUSTED"  # R18: its day cannot be judged
    CERTIFICATE_EXPIRED = "CERTIFICATE_EXPIRED"  # of another day, past or to come
    CERTIFICATE_NEEDS_CARD = "CERTIFICATE_NEEDS_CARD"  # good so far; whose it is, only a document can tell
    CERTIFICATE_OF_ANOTHER = "CERTIFICATE_OF_ANOTHER"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate as it reads; nothing of it is believed before `judge`."""

    key_id: str
    region: str  # of the authority, six digits
    issued_on: date
    valid_on: date
    salt: bytes = field(repr=False)
    binding: bytes = field(repr=False)
    signed: bytes = field(repr=False)
    signature: bytes = field(repr=False)


class CertifyingKey(Protocol):
    """A community authority's public key, as `gate/sync/certkeys.py` loads it."""

    @property
    def region(self) -> str:
        """The GB/T 2260 region that it certifies for."""

    @property
    def not_before_utc_s(self) -> float:
        """Its first instant."""

    @property
    def not_after_utc_s(self) -> float:
        """The first instant at which it is no longer valid."""

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether its owner signed `message`, and it is not revoked."""


def read_certificate(payload: bytes, encoding: str = "utf-8") -> Certificate | CertificateProblem | None:
    """What a scanned payload says; None when it is no certificate at all. Raises nothing."""
    if len(payload) > PAYLOAD_BYTES_MAX:
        return None
    try:
        text = payload.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None
    match = _PREFIX.fullmatch(unicodedata.normalize("NFKC", text).strip(" \r\n\t\0\ufeff"))
    if match is None:
        return None
    body = _from_base64(match[2])
    if match[1] != _VERSION or body is None:
        return CertificateProblem.CERTIFICATE_UNREADABLE
    return _decoded(body) or CertificateProblem.CERTIFICATE_UNREADABLE


def judge(
    certificate: Certificate,
    document: Document | None,
    keys: Mapping[str, CertifyingKey],
    now: Moment,
    clock_trusted: bool,
) -> CertificateProblem | None:
    """What is wrong with it for this document now; None when nothing is.

    Authenticity first, so that a forger learns nothing of days and people; the document last, so that nobody is asked
    to tap a card for a paper that is of no use.
    """
    if not _authentic(certificate, keys):
        return CertificateProblem.CERTIFICATE_NOT_AUTHENTIC
    if not clock_trusted:
        return CertificateProblem.CLOCK_UNTRUSTED
    if now.beijing_day != certificate.valid_on:
        return CertificateProblem.CERTIFICATE_EXPIRED
    if document is None:
        return CertificateProblem.CERTIFICATE_NEEDS_CARD
    if not hmac.compare_digest(_binding(certificate.salt, document), certificate.binding):
        return CertificateProblem.CERTIFICATE_OF_ANOTHER
    return None


def issue(
    document: Document,
    *,
    key_id: str,
    region: str,
    issued_on: date,
    valid_on: date,
    salt: bytes,
    sign: Callable[[bytes], bytes],
) -> str:
    """The text of a new certificate's QR. `salt` is 16 random bytes, never used before. Raises ValueError."""
    named = key_id.encode("ascii", "replace")
    if not _KEY_ID.fullmatch(named) or not re.fullmatch(r"[0-9]{6}", region):
        raise ValueError("key id or region is none: 1 to 64 of A-Z a-z 0-9 . _ -, and six digits of GB/T 2260")
    if len(salt) != SALT_BYTES or not _in_time(issued_on, valid_on):
        raise ValueError(f"needs {SALT_BYTES} bytes of salt, and an issue on its day or {AHEAD_DAYS_MAX} before")
    days = ((day - _DAY_ZERO).days for day in (issued_on, valid_on))
    body = _FIXED.pack(int(region), *days, salt, _binding(salt, document), len(named)) + named
    whole = body + sign(_CONTEXT + body)
    text = f"GATECERT{_VERSION}:" + base64.urlsafe_b64encode(whole).rstrip(b"=").decode("ascii")
    if not isinstance(read_certificate(text.encode()), Certificate):
        raise ValueError(f"no gate would read it: a signature has {_SIGNATURE_BYTES} bytes")
    return text


def _from_base64(text: str) -> bytes | None:
    """The bytes; None for what is no base64url, or is another spelling of the same bytes."""
    if not _BASE64.fullmatch(text):
        return None
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return None
    return raw if base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii") == text else None


def _decoded(raw: bytes) -> Certificate | None:
    body, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if len(body) < _FIXED.size:
        return None
    region, issued, valid, salt, binding, length = _FIXED.unpack_from(body)
    key_id = body[_FIXED.size :]
    if region > _REGION_MAX or len(key_id) != length or not _KEY_ID.fullmatch(key_id):
        return None
    issued_on, valid_on = (_DAY_ZERO + timedelta(days=day) for day in (issued, valid))
    if not _in_time(issued_on, valid_on):
        return None
    text = key_id.decode("ascii")
    return Certificate(text, f"{region:06d}", issued_on, valid_on, salt, binding, _CONTEXT + body, signature)


def _in_time(issued_on: date, valid_on: date) -> bool:
    return _DAY_ZERO <= issued_on <= valid_on <= _DAY_LAST and (valid_on - issued_on).days <= AHEAD_DAYS_MAX


def _authentic(certificate: Certificate, keys: Mapping[str, CertifyingKey]) -> bool:
    """By a key that was valid when the day of issue began, of the region that the certificate names.

    A thief of an old key gains nothing by an old day of issue: the paper would be of an old day.
    """
    key = keys.get(certificate.key_id)
    if key is None or key.region != certificate.region:
        return False
    day = certificate.issued_on
    began_utc_s = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() - _BEIJING_S
    if not key.not_before_utc_s <= began_utc_s < key.not_after_utc_s:
        return False
    return key.verify(certificate.signature, certificate.signed)


def _binding(salt: bytes, document: Document) -> bytes:
    text = _CONTEXT + document.type.encode("ascii") + b"\0" + document.number.encode()
    return hmac.digest(salt, text, "sha256")[:_BINDING_BYTES]
