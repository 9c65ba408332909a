"""Key and pepper files of an issuer. All are JSON; only the private key and the pepper are secret (mode 0600).

akm.keys    {"issuer": "AKM", "keys": [{"key_id", "algorithm", "ed25519" or "sm2" (base64), "not_before", "not_after",
            "root": true | "signed_by" and "signature" (base64), "revoked": {"signed_by", "signature"}}]}
akm.pepper  {"issuer": "AKM", "peppers": {"2020-04": "64 hexadecimal digits"}}        two during a rotation
akm.private {"issuer": "AKM", "key_id": …, "algorithm": …, "ed25519" or "sm2": base64}    the publisher's alone

Which keys are believed is in `keychain.py`. A missing `algorithm` is ed25519. A file of old form, in which no key is
signed and none marked as root, was installed by hand as a whole: all its keys are roots.
"""

import base64
import json
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from gate.feed.ledger import Refusal
from gate.sync.keychain import (
    KEYS_MAX,
    KeyFile,
    KeyRefused,
    KeyRow,
    PublicKey,
    Revocation,
    fallen,
    key_statement,
    merge_keys,
    revocation_statement,
    trusted_keys,
)
from gate.sync.signing import Algorithm, KeyFileError, SigningKey, generate, signing_key, verifying_key

__all__ = [
    "KeyFile", "KeyFileError", "KeyRefused", "PrivateKey", "PublicKey", "install_keys", "keygen", "load_peppers",
    "load_private_key", "load_public_keys", "merge_keys", "parse_key_file", "read_key_file", "revoke_key", "rotate_key",
    "rotate_pepper", "trusted_keys", "verify_signature",
]  # fmt: skip

PEPPERS_MAX = 8
PEPPERS_KEPT = 2  # the new one and the one before it: stations change over in between
KEY_YEARS = 2
FILE_BYTES_MAX = 65_536  # sixteen keys have about 10,000; a file from the network is refused before it is parsed
_KEY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """The publisher's signing key."""

    issuer: str
    key_id: str
    key: SigningKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """The signature. Raises KeyFileError when this machine cannot compute it."""
        return self.key.sign(message)


class SignedHeader(Protocol):
    """What a snapshot's and a delta's header have in common here."""

    @property
    def key_id(self) -> str:
        """Who signed."""

    @property
    def produced_utc_s(self) -> int:
        """When."""

    def signed_bytes(self) -> bytes:
        """What is signed."""


def verify_signature(keys: dict[str, PublicKey], header: SignedHeader, signature: bytes) -> Refusal | None:
    """Why this header is not signed by one of `keys` that was valid when it was produced; None when it is."""
    key = keys.get(header.key_id)
    if key is None:
        return Refusal.UNKNOWN_KEY
    if key.revoked or not key.not_before_utc_s <= header.produced_utc_s < key.not_after_utc_s:
        return Refusal.KEY_NOT_VALID_THEN
    return None if key.verify(signature, header.signed_bytes()) else Refusal.BAD_SIGNATURE


def load_public_keys(path: Path, issuer: str) -> dict[str, PublicKey]:
    """The keys that a station believes, by key id. Raises KeyFileError."""
    file = read_key_file(path, issuer)
    with _named(path):
        return trusted_keys(file)


def read_key_file(path: Path, issuer: str | None = None) -> KeyFile:
    """What a keys file says, believed or not. Raises KeyFileError."""
    raw = _read(path)
    with _named(path):
        return parse_key_file(raw, issuer)


def parse_key_file(raw: bytes, issuer: str | None = None) -> KeyFile:
    """What the bytes of a keys file say, believed or not. Raises KeyFileError."""
    values = _parse(raw, issuer, "keys", list)
    rows = values["keys"]
    if not rows:
        raise KeyFileError("holds no key: make one with gate feed keygen")
    old_form = not any(isinstance(row, dict) and ("root" in row or "signed_by" in row) for row in rows)
    keys: dict[str, KeyRow] = {}
    for index, row in enumerate(rows[: KEYS_MAX + 1]):  # one more than may be, so that it is refused by name
        try:
            key = _row(row, root=old_form or (index == 0 and "signed_by" not in row))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise KeyFileError(f"keys[{index}] is not a key: {_what(error)}; see gate feed keygen") from error
        if key.key_id in keys:
            raise KeyFileError(f"keys[{index}]: key id {key.key_id!r} is there twice: remove the wrong one")
        keys[key.key_id] = key
    return KeyFile(str(values["issuer"]), tuple(keys.values()))


def _what(error: Exception) -> str:
    """A missing field's name, or what is wrong; never a value of the file."""
    return f"has no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__


def _row(row: Any, root: bool) -> KeyRow:
    if not isinstance(row, dict) or not _KEY_ID.fullmatch(str(row["key_id"])):
        raise ValueError("key_id must have 1 to 64 letters, digits, '.', '_' or '-'")
    algorithm = _algorithm(row)
    first, end = _seconds(row, "not_before"), _seconds(row, "not_after")
    if first >= end:
        raise ValueError("not_after is not later than not_before")
    revoked = row.get("revoked")
    return KeyRow(
        str(row["key_id"]),
        verifying_key(algorithm, _bytes(row, algorithm.value)),
        first,
        end,
        root or row.get("root") is True,
        str(row.get("signed_by", "")),
        _bytes(row, "signature") if "signature" in row else b"",
        None if revoked is None else Revocation(str(revoked["signed_by"]), _bytes(revoked, "signature")),
    )


def _algorithm(values: dict[str, Any]) -> Algorithm:
    name = values.get("algorithm", Algorithm.ED25519.value)
    if name not in set(Algorithm):
        raise ValueError(f"algorithm must be {' or '.join(Algorithm)}: a newer publisher? update the station")
    return Algorithm(name)


def _bytes(values: dict[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(values[name], validate=True)
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not base64") from None


def _seconds(values: dict[str, Any], name: str) -> int:
    try:
        moment = datetime.fromisoformat(values[name])
    except (TypeError, ValueError):
        raise ValueError(f"{name} is not an ISO 8601 time") from None
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no offset: write e.g. 2020-04-01T00:00:00+08:00")
    return int(moment.timestamp())


def install_keys(path: Path, issuer: str, offered: bytes, now_utc_s: float) -> tuple[str, ...] | KeyRefused:
    """Merge the bytes of the issuer's keys file into the station's; ids that are new or newly revoked.

    Raises KeyFileError when one of the two is no keys file, OSError when the station's cannot be written.
    """
    held = read_key_file(path, issuer)
    with _named(path):
        trusted_keys(held)
    merged = merge_keys(held, parse_key_file(offered), now_utc_s)
    if isinstance(merged, KeyRefused):
        return merged
    changed = tuple(row.key_id for row in merged.rows if row not in held.rows)
    if changed:
        _replace_keys(path, merged)
    return changed


def load_peppers(path: Path, issuer: str) -> dict[str, bytes]:
    """Peppers by pepper id, the newest last. Raises KeyFileError."""
    with _named(path):
        rows = _parse(_read(path), issuer, "peppers", dict)["peppers"]
        if not 0 < len(rows) <= PEPPERS_MAX:
            raise KeyFileError(f"holds {len(rows)} peppers: 1 to {PEPPERS_MAX} are allowed")
        for pepper_id, value in rows.items():
            if not isinstance(value, str) or not re.fullmatch(r"[0-9a-f]{64}", value):
                raise KeyFileError(f"peppers.{pepper_id} is not 64 hexadecimal digits")
    return {pepper_id: bytes.fromhex(value) for pepper_id, value in rows.items()}


def load_private_key(path: Path) -> PrivateKey:
    """The publisher's key. Raises KeyFileError."""
    with _named(path):
        values = _parse(_read(path), None, "key_id", str)
        try:
            algorithm = _algorithm(values)
            key = signing_key(algorithm, _bytes(values, algorithm.value))
            return PrivateKey(str(values["issuer"]), values["key_id"], key)
        except (KeyError, ValueError) as error:
            raise KeyFileError("is not a private key file: make one with gate feed keygen") from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Puts the path before what is wrong in the file."""
    try:
        yield
    except KeyFileError as error:
        text = str(error)
        raise KeyFileError(text if text.startswith(f"{path}:") else f"{path}: {text}") from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}: make it with gate feed keygen") from error


def _parse(raw: bytes, issuer: str | None, name: str, kind: type) -> dict[str, Any]:
    if len(raw) > FILE_BYTES_MAX:
        raise KeyFileError(f"has more than {FILE_BYTES_MAX} bytes: is it the right file?")
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):  # its error would carry the text, and the text may be a secret
        raise KeyFileError("is not JSON: make it with gate feed keygen") from None
    if not isinstance(values, dict) or not isinstance(values.get(name), kind):
        raise KeyFileError(f"has no {name!r}: is it the right file?")
    if not isinstance(values.get("issuer"), str):
        raise KeyFileError("names no issuer: make it with gate feed keygen")
    if issuer is not None and values["issuer"] != issuer:
        raise KeyFileError(f"belongs to issuer {values['issuer']!r}, not to {issuer!r}")
    return values


def keygen(directory: Path, issuer: str, today: datetime, algorithm: Algorithm = Algorithm.ED25519) -> dict[str, Path]:
    """Make an issuer's private, public and pepper files in `directory`; never overwrites. Raises KeyFileError."""
    stem = issuer.lower()
    paths = {what: directory / f"{stem}.{what}" for what in ("private", "keys", "pepper")}
    for path in paths.values():
        if path.exists():
            raise KeyFileError(f"{path}: is there already: move it away, or rotate its key or pepper")
    private = PrivateKey(issuer, f"{stem}-{today:%Y-%m}", generate(algorithm))
    first, end = _days(today)
    root = KeyRow(private.key_id, private.key.public(), first, end, root=True)
    directory.mkdir(parents=True, exist_ok=True)
    _write_new(paths["private"], _private_values(private), 0o600)
    _write_new(paths["keys"], _key_values(KeyFile(issuer, (root,))), 0o644)
    _write_new(paths["pepper"], {"issuer": issuer, "peppers": {f"{today:%Y-%m}": secrets.token_hex(32)}}, 0o600)
    return paths


def rotate_key(
    private_old: Path, keys: Path, today: datetime, algorithm: Algorithm = Algorithm.ED25519
) -> dict[str, Path]:
    """Make a new private key beside the old one and put its public half, signed by the old one, into `keys`.

    Stations take `keys` first; the issuer signs with the new key once they have. Raises KeyFileError.
    """
    old, file = _signer(private_old, keys, today)
    if len(file.rows) >= KEYS_MAX:
        raise KeyFileError(f"{keys}: holds {KEYS_MAX} keys: make a new root with gate feed keygen, install it by hand")
    signer = next(row for row in file.rows if row.key_id == old.key_id)
    key = generate(algorithm)
    # Never an id again that was once dropped: a station that still holds that one would refuse the file.
    key_id = f"{old.issuer.lower()}-{today:%Y-%m}-{key.public().raw[-4:].hex()}"
    private = PrivateKey(old.issuer, key_id, key)
    first, end = _days(today)
    row = KeyRow(key_id, key.public(), max(first, signer.not_before_utc_s), end, signed_by=old.key_id)
    row = replace(row, signature=old.sign(key_statement(old.issuer, row, old.key_id)))
    path = private_old.with_name(f"{key_id}.private")
    _write_new(path, _private_values(private), 0o600)
    _replace_keys(keys, KeyFile(file.issuer, (*file.rows, row)))
    return {"private": path, "keys": keys}


def revoke_key(private: Path, keys: Path, key_id: str, today: datetime) -> tuple[str, ...]:
    """Revoke `key_id` in `keys` by an older key; ids of those that fall with it, and are dropped from the file.

    A station that holds a dropped one finds out by itself that it fell. Raises KeyFileError.
    """
    by, file = _signer(private, keys, today, expired=True)
    ids = [row.key_id for row in file.rows]
    if key_id not in ids or ids.index(key_id) <= ids.index(by.key_id):
        raise KeyFileError(f"{keys}: {key_id!r} is not a key younger than {by.key_id!r}: only those it can revoke")
    rows = [_revoked(row, by) if row.key_id == key_id else row for row in file.rows]
    down = fallen(rows)
    dropped = tuple(row.key_id for row in rows if not row.root and row.signed_by in down)
    kept = (row for row in rows if row.key_id not in dropped)
    # What a fallen key had revoked stays revoked, by word of one that newcomers believe.
    signed = tuple(_revoked(row, by) if row.revocation and row.revocation.signed_by in down else row for row in kept)
    _replace_keys(keys, KeyFile(file.issuer, signed))
    return dropped


def _revoked(row: KeyRow, by: PrivateKey) -> KeyRow:
    signature = by.sign(revocation_statement(by.issuer, row.key_id, by.key_id))
    return replace(row, revocation=Revocation(by.key_id, signature))


def _signer(private: Path, keys: Path, today: datetime, expired: bool = False) -> tuple[PrivateKey, KeyFile]:
    """The private key, checked to be one that stations with this keys file believe today."""
    old = load_private_key(private)
    file = read_key_file(keys, old.issuer)
    with _named(keys):
        public = trusted_keys(file).get(old.key_id)
    if public is None or public.key.raw != old.key.public().raw:
        raise KeyFileError(f"{keys}: does not hold the public half of {private}: are they of the same issuer and id?")
    if public.revoked:
        raise KeyFileError(f"{keys}: {old.key_id!r} is revoked: sign with another key")
    if not expired and not public.not_before_utc_s <= today.timestamp() < public.not_after_utc_s:
        raise KeyFileError(f"{keys}: {old.key_id!r} is not valid today, no station would believe what it signs now")
    return old, file


def rotate_pepper(path: Path, today: datetime) -> str:
    """Add a new pepper, drop all but the one before it, and say the new one's id. Raises KeyFileError.

    Publish with the old one until every station holds the new file: it is secret, and carried like the first.
    """
    raw = _read(path)
    with _named(path):
        issuer = str(_parse(raw, None, "peppers", dict)["issuer"])
    held = load_peppers(path, issuer)
    # Never an id again that was once dropped: with another pepper behind it, everybody would be unknown.
    pepper_id = f"{today:%Y-%m}-{secrets.token_hex(4)}"
    kept = {name: held[name].hex() for name in list(held)[1 - PEPPERS_KEPT :]}
    _replace(path, {"issuer": issuer, "peppers": {**kept, pepper_id: secrets.token_hex(32)}}, 0o600)
    return pepper_id


def _days(today: datetime) -> tuple[int, int]:
    """From yesterday, since a station's clock may be behind, for `KEY_YEARS`."""
    start = today.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    first, end = start - timedelta(days=1), start + timedelta(days=365 * KEY_YEARS)
    return int(first.timestamp()), int(end.timestamp())


def _private_values(private: PrivateKey) -> dict[str, Any]:
    algorithm = private.key.algorithm.value
    secret = base64.b64encode(private.key.raw).decode()
    return {"issuer": private.issuer, "key_id": private.key_id, "algorithm": algorithm, algorithm: secret}


def _key_values(file: KeyFile) -> dict[str, Any]:
    return {"issuer": file.issuer, "keys": [_row_values(row) for row in file.rows]}


def _row_values(row: KeyRow) -> dict[str, Any]:
    algorithm = row.key.algorithm.value
    values: dict[str, Any] = {
        "key_id": row.key_id,
        "algorithm": algorithm,
        algorithm: base64.b64encode(row.key.raw).decode(),
        "not_before": datetime.fromtimestamp(row.not_before_utc_s, UTC).isoformat(),
        "not_after": datetime.fromtimestamp(row.not_after_utc_s, UTC).isoformat(),
    }
    if row.root:
        values["root"] = True
    else:
        values |= {"signed_by": row.signed_by, "signature": base64.b64encode(row.signature).decode()}
    if row.revocation:
        signature = base64.b64encode(row.revocation.signature).decode()
        values["revoked"] = {"signed_by": row.revocation.signed_by, "signature": signature}
    return values


def _write_new(path: Path, values: dict[str, Any], mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyFileError(f"{path}: is there already: move it away") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def _replace_keys(path: Path, file: KeyFile) -> None:
    _replace(path, _key_values(file), 0o644)


def _replace(path: Path, values: dict[str, Any], mode: int) -> None:
    """Whole or not at all, also when the power goes."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # ours, from a process that died with the same number
    try:
        _write_new(temporary, values, mode)
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
