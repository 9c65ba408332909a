"""Key and pepper files of an issuer. Both are JSON; only the private key and the pepper are secret (mode 0600).

akm.keys    {"issuer": "AKM", "keys": [{"key_id", "ed25519" (base64), "not_before", "not_after"}]}
akm.pepper  {"issuer": "AKM", "peppers": {"2020-04": "64 hexadecimal digits"}}        two during a rotation
akm.private {"issuer": "AKM", "key_id": …, "ed25519": base64}                          the publisher's alone
"""

import base64
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gate.feed.ledger import Refusal
from gate.feed.records import SnapshotHeader

PEPPERS_MAX = 8
KEYS_MAX = 16
KEY_YEARS = 2


class KeyFileError(ValueError):
    """A key or pepper file cannot be used; the text names path, place and remedy, never a secret."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One verifying key with its days."""

    key_id: str
    key: Ed25519PublicKey
    not_before_utc_s: float
    not_after_utc_s: float


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """The publisher's signing key."""

    issuer: str
    key_id: str
    key: Ed25519PrivateKey = field(repr=False)


def load_public_keys(path: Path, issuer: str) -> dict[str, PublicKey]:
    """Verifying keys by key id. Raises KeyFileError."""
    rows = _load(path, issuer, "keys", list)
    keys = {}
    for index, row in enumerate(rows[:KEYS_MAX]):
        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(row["ed25519"], validate=True))
            days = [datetime.fromisoformat(row[name]).timestamp() for name in ("not_before", "not_after")]
            keys[str(row["key_id"])] = PublicKey(str(row["key_id"]), key, *days)
        except (KeyError, TypeError, ValueError) as error:
            raise KeyFileError(
                f"{path}: keys[{index}] is not a key: {type(error).__name__}; see gate feed keygen"
            ) from error
    if not keys:
        raise KeyFileError(f"{path}: holds no key: make one with gate feed keygen")
    return keys


def load_peppers(path: Path, issuer: str) -> dict[str, bytes]:
    """Peppers by pepper id. Raises KeyFileError."""
    rows = _load(path, issuer, "peppers", dict)
    if not 0 < len(rows) <= PEPPERS_MAX:
        raise KeyFileError(f"{path}: holds {len(rows)} peppers: 1 to {PEPPERS_MAX} are allowed")
    for pepper_id, value in rows.items():
        if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
            raise KeyFileError(f"{path}: peppers.{pepper_id} is not 64 hexadecimal digits")
    return {pepper_id: bytes.fromhex(value) for pepper_id, value in rows.items()}


def load_private_key(path: Path) -> PrivateKey:
    """The publisher's key. Raises KeyFileError."""
    raw = _load(path, None, "ed25519", str)
    values = json.loads(path.read_text("utf-8"))
    try:
        key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(raw, validate=True))
        return PrivateKey(str(values["issuer"]), str(values["key_id"]), key)
    except (KeyError, ValueError) as error:
        raise KeyFileError(f"{path}: is not a private key file: make one with gate feed keygen") from error


def _load(path: Path, issuer: str | None, name: str, kind: type) -> Any:
    try:
        raw = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}: make it with gate feed keygen") from error
    except ValueError as error:
        raise KeyFileError(f"{path}: is not JSON: make it with gate feed keygen") from error
    if not isinstance(raw, dict) or not isinstance(raw.get(name), kind):
        raise KeyFileError(f"{path}: has no {name!r}: is it the right file?")
    if issuer is not None and raw.get("issuer") != issuer:
        raise KeyFileError(f"{path}: belongs to issuer {raw.get('issuer')!r}, not to {issuer!r}")
    return raw[name]


def verify_signature(keys: dict[str, PublicKey], header: SnapshotHeader, signature: bytes) -> Refusal | None:
    """Why this header is not signed by one of `keys` that was valid when it was produced; None when it is."""
    key = keys.get(header.key_id)
    if key is None:
        return Refusal.UNKNOWN_KEY
    if not key.not_before_utc_s <= header.produced_utc_s < key.not_after_utc_s:
        return Refusal.KEY_NOT_VALID_THEN
    try:
        key.key.verify(signature, header.signed_bytes())
    except InvalidSignature:
        return Refusal.BAD_SIGNATURE
    return None


def keygen(directory: Path, issuer: str, today: datetime) -> dict[str, Path]:
    """Make an issuer's private, public and pepper files in `directory`; never overwrites. Raises KeyFileError."""
    stem = issuer.lower()
    paths = {what: directory / f"{stem}.{what}" for what in ("private", "keys", "pepper")}
    for path in paths.values():
        if path.exists():
            raise KeyFileError(f"{path}: is there already: move it away, or rotate by hand")
    directory.mkdir(parents=True, exist_ok=True)
    private = Ed25519PrivateKey.generate()
    key_id = f"{stem}-{today:%Y-%m}"
    start = today.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    public = {
        "key_id": key_id,
        "ed25519": base64.b64encode(private.public_key().public_bytes_raw()).decode(),
        "not_before": (start - timedelta(days=1)).isoformat(),
        "not_after": (start + timedelta(days=365 * KEY_YEARS)).isoformat(),
    }
    secret = base64.b64encode(private.private_bytes_raw()).decode()
    _write(paths["private"], {"issuer": issuer, "key_id": key_id, "ed25519": secret}, 0o600)
    _write(paths["keys"], {"issuer": issuer, "keys": [public]}, 0o644)
    _write(paths["pepper"], {"issuer": issuer, "peppers": {f"{today:%Y-%m}": secrets.token_hex(32)}}, 0o600)
    return paths


def _write(path: Path, values: dict[str, Any], mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
        file.write("\n")
