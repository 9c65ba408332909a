"""Signature algorithms behind one small interface: Ed25519 by default, SM2 with SM3 for issuers who must.

A key says which algorithm it is for, a signed header does not: nobody can ask us to check a signature some other way.
All bytes have one length and one form, so that what is signed has one signature field and no second spelling:

    ed25519    public 32 bytes, private 32 bytes, signature 64 bytes (RFC 8032); the same input gives the same bytes
    sm2        public 65 bytes: 04, x, y; private 32 bytes; signature 64 bytes: r, s (GB/T 32918.2, big-endian)

The signer's identity in SM2 is `1234567812345678`, the default of GB/T 35276, and the digest is always SM3. GB/T 35276
also knows the signature as DER, SEQUENCE of r and s; we keep the bare numbers, as the Shanghai transit code does
(health-codes.md 2.1), because DER has several lengths. An HSM's DER is converted with `cryptography`'s
decode_dss_signature. SM2 signatures hold a random number: the same input gives other bytes each time.

SM2 is computed by tongsuopy, the optional extra `sm`, and only when such a key signs or checks something. Measured on
one of 2 cores at 2.6 GHz, 400 bytes, median: check 0.43 ms, half of it loading the point (Ed25519 0.08 ms), sign
0.49 ms (0.05 ms). gmssl, pure Python, took 12.9 ms to check; `cryptography` has SM3 but no SM2.
"""

import enum
from dataclasses import dataclass, field
from typing import Any, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

SIGNATURE_BYTES = 64  # of either algorithm

# The curve of GB/T 32918.5: y² = x³ + ax + b over the field of P, of order N.
_P = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF00000000FFFFFFFFFFFFFFFF
_A = _P - 3
_B = 0x28E9FA9E9D9F5E344D5A9E4BCF6509A7F39789F515AB8F92DDBCBD414D940E93
_N = 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123
_NUMBER_BYTES = 32
_UNCOMPRESSED = 4  # the first byte of a point written as x and y


class KeyFileError(ValueError):
    """A key or pepper file cannot be used; the text names path, place and remedy, never a secret."""


class Algorithm(enum.StrEnum):
    """What a key is for; also the name of the field that holds it in the key files."""

    ED25519 = "ed25519"
    SM2 = "sm2"


class VerifyingKey(Protocol):
    """The public half."""

    @property
    def algorithm(self) -> Algorithm:
        """What it is for."""

    @property
    def raw(self) -> bytes:
        """Its bytes, as the module's table says."""

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's owner signed `message`. Raises KeyFileError when this machine cannot compute it."""


class SigningKey(Protocol):
    """The private half."""

    @property
    def algorithm(self) -> Algorithm:
        """What it is for."""

    @property
    def raw(self) -> bytes:
        """Its secret bytes, as the module's table says."""

    def public(self) -> VerifyingKey:
        """The public half of it. Raises KeyFileError when this machine cannot compute it."""

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes. Raises KeyFileError when this machine cannot compute them."""


@dataclass(frozen=True, slots=True)
class Ed25519Verifying:
    """RFC 8032."""

    raw: bytes
    algorithm: Algorithm = field(default=Algorithm.ED25519, init=False)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's owner signed `message`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Ed25519Signing:
    """RFC 8032."""

    raw: bytes = field(repr=False)
    algorithm: Algorithm = field(default=Algorithm.ED25519, init=False)

    def public(self) -> Ed25519Verifying:
        """The public half."""
        return Ed25519Verifying(Ed25519PrivateKey.from_private_bytes(self.raw).public_key().public_bytes_raw())

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes, always the same."""
        return Ed25519PrivateKey.from_private_bytes(self.raw).sign(message)


@dataclass(frozen=True, slots=True)
class Sm2Verifying:
    """GB/T 32918.2 with SM3 and the default identity."""

    raw: bytes
    algorithm: Algorithm = field(default=Algorithm.SM2, init=False)

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether this key's owner signed `message`. Raises KeyFileError without tongsuopy."""
        ec, hashes, invalid = _tongsuo()
        if len(signature) != SIGNATURE_BYTES:
            return False
        der = encode_dss_signature(*_numbers(signature))
        try:
            point = ec.EllipticCurvePublicNumbers(*_numbers(self.raw[1:]), ec.SM2())
            point.public_key().verify(der, message, ec.ECDSA(hashes.SM3()))
        except invalid:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Sm2Signing:
    """GB/T 32918.2 with SM3 and the default identity."""

    raw: bytes = field(repr=False)
    algorithm: Algorithm = field(default=Algorithm.SM2, init=False)

    def public(self) -> Sm2Verifying:
        """The public half. Raises KeyFileError without tongsuopy."""
        numbers = self._key().public_key().public_numbers()
        x, y = (number.to_bytes(_NUMBER_BYTES, "big") for number in (numbers.x, numbers.y))
        return Sm2Verifying(bytes([_UNCOMPRESSED]) + x + y)

    def sign(self, message: bytes) -> bytes:
        """The 64 bytes, others each time. Raises KeyFileError without tongsuopy."""
        ec, hashes, _ = _tongsuo()
        pair = decode_dss_signature(self._key().sign(message, ec.ECDSA(hashes.SM3())))
        return b"".join(number.to_bytes(_NUMBER_BYTES, "big") for number in pair)

    def _key(self) -> Any:
        ec, _, _ = _tongsuo()
        return ec.derive_private_key(int.from_bytes(self.raw, "big"), ec.SM2())


def verifying_key(algorithm: Algorithm, raw: bytes) -> VerifyingKey:
    """The public key in these bytes. Raises ValueError when they are none."""
    if algorithm is Algorithm.SM2:
        if len(raw) != 1 + 2 * _NUMBER_BYTES or raw[0] != _UNCOMPRESSED or not _on_curve(*_numbers(raw[1:])):
            raise ValueError("is no point of the SM2 curve: 65 bytes, 04 and x and y")
        return Sm2Verifying(raw)
    Ed25519PublicKey.from_public_bytes(raw)
    return Ed25519Verifying(raw)


def signing_key(algorithm: Algorithm, raw: bytes) -> SigningKey:
    """The private key in these bytes. Raises ValueError when they are none."""
    if len(raw) != _NUMBER_BYTES:
        raise ValueError("is no private key: 32 bytes are needed")
    if algorithm is Algorithm.SM2:
        if not 0 < int.from_bytes(raw, "big") < _N - 1:  # GB/T 32918.1, 6.1: 1 to n-2
            raise ValueError("is no private key of SM2")
        return Sm2Signing(raw)
    return Ed25519Signing(raw)


def generate(algorithm: Algorithm) -> SigningKey:
    """A new key. Raises KeyFileError when this machine cannot make one."""
    if algorithm is Algorithm.SM2:
        ec, _, _ = _tongsuo()
        number = ec.generate_private_key(ec.SM2()).private_numbers().private_value
        return signing_key(algorithm, number.to_bytes(_NUMBER_BYTES, "big"))
    return Ed25519Signing(Ed25519PrivateKey.generate().private_bytes_raw())


def _numbers(pair: bytes) -> tuple[int, int]:
    return int.from_bytes(pair[:_NUMBER_BYTES], "big"), int.from_bytes(pair[_NUMBER_BYTES:], "big")


def _on_curve(x: int, y: int) -> bool:
    return x < _P and y < _P and (y * y - (x * x * x + _A * x + _B)) % _P == 0


def _tongsuo() -> tuple[Any, Any, type[Exception]]:
    """Its curves, its digests and its "no". Imported here, because stations without SM2 issuers do without it."""
    try:
        from tongsuopy.crypto import hashes
        from tongsuopy.crypto.asymciphers import ec
        from tongsuopy.crypto.exceptions import InvalidSignature as No
    except ImportError as error:
        raise KeyFileError(
            "this is an SM2 key, and SM2 is not installed: install the extra sm,"
            " e.g. pip install 'station-smart-gate[sm]'"
        ) from error
    return ec, hashes, No
