"""Signature algorithms: the vectors of their standards, another implementation, and everything that is no signature."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from gate.sync.signing import Algorithm, generate, signing_key, verifying_key

ED25519, SM2 = Algorithm.ED25519, Algorithm.SM2

needs_sm2 = pytest.mark.skipif(
    importlib.util.find_spec("tongsuopy") is None, reason="tongsuopy (the extra sm) has no wheel for this machine"
)
both = pytest.mark.parametrize("algorithm", [ED25519, pytest.param(SM2, marks=needs_sm2)])


@both
def test_only_the_signed_bytes_verify(algorithm: Algorithm) -> None:
    """Each algorithm takes its own signature and none with a flipped bit, of another key, or of another length."""
    key, other = generate(algorithm), generate(algorithm)
    signature = key.sign(b"header")
    assert len(signature) == 64
    assert verifying_key(algorithm, key.public().raw).verifies(signature, b"header")
    assert signing_key(algorithm, key.raw).public() == key.public()
    for at in range(0, 512, 5):
        flipped = bytearray(signature)
        flipped[at // 8] ^= 1 << at % 8
        assert not key.public().verifies(bytes(flipped), b"header")
    for wrong in (b"", signature[:-1], signature + b"\0", bytes(64), b"\xff" * 64):
        assert not key.public().verifies(wrong, b"header")
    assert not key.public().verifies(signature, b"headers")
    assert not other.public().verifies(signature, b"header")


def test_ed25519_gives_the_bytes_of_rfc_8032() -> None:
    """RFC 8032, 7.1, TEST 2: the same key and message give that signature."""
    key = signing_key(ED25519, bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"))
    assert key.public().raw.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert key.sign(b"\x72").hex() == (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )


# GB/T 32918.5-2017, Annex A.2: signature over "message digest" with the default identity.
_GBT_D = "3945208F7B2144B13F36E38AC6D39F95889393692860B51A42FB81EF4DF7C5B8"
_GBT_P = (
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)
_GBT_RS = (
    "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3"
    "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA"
)


@needs_sm2
def test_sm2_takes_the_signature_of_the_standard() -> None:
    """GB/T 32918.5-2017, Annex A.2: key pair and signature of the worked example."""
    key = signing_key(SM2, bytes.fromhex(_GBT_D))
    assert key.public().raw.hex().upper() == _GBT_P
    assert key.public().verifies(bytes.fromhex(_GBT_RS), b"message digest")
    assert not key.public().verifies(bytes.fromhex(_GBT_RS), b"message digesT")


@needs_sm2
def test_sm2_numbers_out_of_range_and_der_are_no_signature() -> None:
    """r and s are 1 to n-1 and stand bare: zero, n, n + s and DER are refused, not errors."""
    public = verifying_key(SM2, bytes.fromhex(_GBT_P))
    good = bytes.fromhex(_GBT_RS)
    n = bytes.fromhex("FFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54123")
    for wrong in (bytes(32) + good[32:], good[:32] + bytes(32), n + good[32:], good[:32] + n, n + n):
        assert not public.verifies(wrong, b"message digest")
    r, s = int.from_bytes(good[:32], "big"), int.from_bytes(good[32:], "big")
    assert not public.verifies(encode_dss_signature(r, s), b"message digest")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(65),
        bytes.fromhex(_GBT_P)[1:],
        b"\x02" + bytes.fromhex(_GBT_P)[1:33],
        bytes.fromhex(_GBT_P)[:-1] + b"\x12",
    ],
)
def test_bytes_that_are_no_point_are_no_sm2_key(raw: bytes) -> None:
    """Empty, zero, without its 04, compressed and off the curve: refused when the file is read, without tongsuopy."""
    with pytest.raises(ValueError, match="no point of the SM2 curve"):
        verifying_key(SM2, raw)


@pytest.mark.parametrize(
    "number", [0, int(_GBT_RS, 16), 0xFFFFFFFEFFFFFFFFFFFFFFFFFFFFFFFF7203DF6B21C6052B53BBF40939D54122]
)
def test_numbers_out_of_range_are_no_sm2_private_key(number: int) -> None:
    """0, two numbers' worth, and n-1 (whose signatures would divide by zero)."""
    with pytest.raises(ValueError, match="no private key"):
        signing_key(SM2, number.to_bytes(32 if number < 1 << 256 else 64, "big"))


def _openssl(*arguments: str, folder: Path) -> bytes:
    return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=20).stdout


@needs_sm2
@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_sm2_agrees_with_openssl_both_ways(tmp_path: Path) -> None:
    """OpenSSL with the identity 1234567812345678 takes ours, and we take its; with no identity neither does."""
    _openssl("genpkey", "-algorithm", "SM2", "-out", "key.pem", folder=tmp_path)
    _openssl("pkey", "-in", "key.pem", "-pubout", "-out", "public.pem", folder=tmp_path)
    text = _openssl("pkey", "-in", "key.pem", "-text", "-noout", folder=tmp_path).decode()
    digits = re.sub(r"[\s:]", "", text.partition("priv:")[2].partition("pub:")[0])
    key = signing_key(SM2, int(digits, 16).to_bytes(32, "big"))
    (tmp_path / "message").write_bytes(b"header")
    how = ["-rawin", "-in", "message", "-digest", "sm3"]
    who = ["-pkeyopt", "distid:1234567812345678"]
    _openssl("pkeyutl", "-sign", "-inkey", "key.pem", *how, *who, "-out", "theirs", folder=tmp_path)
    _openssl("pkeyutl", "-sign", "-inkey", "key.pem", *how, "-out", "nobody", folder=tmp_path)
    assert key.public().verifies(_bare((tmp_path / "theirs").read_bytes()), b"header")
    assert not key.public().verifies(_bare((tmp_path / "nobody").read_bytes()), b"header")
    ours = key.sign(b"header")
    (tmp_path / "ours").write_bytes(
        encode_dss_signature(int.from_bytes(ours[:32], "big"), int.from_bytes(ours[32:], "big"))
    )
    check = ["pkeyutl", "-verify", "-pubin", "-inkey", "public.pem", *how, "-sigfile", "ours"]
    assert b"Verified" in _openssl(*check, *who, folder=tmp_path)
    with pytest.raises(subprocess.CalledProcessError):
        _openssl(*check, folder=tmp_path)


def _bare(der: bytes) -> bytes:
    return b"".join(number.to_bytes(32, "big") for number in decode_dss_signature(der))
