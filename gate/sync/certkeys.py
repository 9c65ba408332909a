"""Key files of the communities that certify people on paper (`gate/credential/certificate.py`).

They are key files of the feed's form (`keyring.py`): a root installed by hand, later keys signed by older ones,
revocations. `gate feed rotate-key`, `revoke-key` and `install-keys` work on them as they are. What makes one a
community's is its issuer, REGION_NAME: a community's key can never speak for a feed, nor a feed's key on paper, and the
region that it certifies for is inside every signed statement about its keys.

    330106_xihu.keys       {"issuer": "330106_XIHU", "keys": [...]}     to the stations
    330106_xihu.private    {"issuer": "330106_XIHU", "key_id": ...}     the community's alone, mode 0600
"""

import base64
import json
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gate.sync.keychain import PublicKey
from gate.sync.keyring import KEY_YEARS, PrivateKey, load_private_key, load_public_keys, read_key_file
from gate.sync.signing import Algorithm, KeyFileError, generate

AUTHORITY = re.compile(r"[A-Z][A-Z0-9_]{0,8}")  # with its region and '_' no longer than an issuer's code may be
REGION = re.compile(r"[0-9]{6}")
# The Delta has about 300 districts and counties; one file for each street office of a large city is 200 more. Each
# key costs at most 0.5 ms to check, so a full folder is read in seconds.
FILES_MAX = 1000
_ISSUER = re.compile(rf"({REGION.pattern})_({AUTHORITY.pattern})")


@dataclass(frozen=True, slots=True)
class CommunityKey:
    """A key whose owner may certify people, as a station believes it."""

    authority: str
    region: str
    public: PublicKey

    @property
    def not_before_utc_s(self) -> float:
        """Its first instant."""
        return self.public.not_before_utc_s

    @property
    def not_after_utc_s(self) -> float:
        """The first instant at which it is no longer valid."""
        return self.public.not_after_utc_s

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether its owner signed `message`, and it is not revoked."""
        return self.public.verify(signature, message)


@dataclass(frozen=True, slots=True)
class CommunitySigner:
    """A community's private key."""

    authority: str
    region: str
    private: PrivateKey


def load_community_keys(path: Path) -> dict[str, CommunityKey]:
    """The keys of one file, or of all `*.keys` in a folder, by key id. Raises KeyFileError."""
    if not path.exists():
        raise KeyFileError(f"{path}: is not there: make one with gate certificate keygen")
    files = sorted(path.glob("*.keys")) if path.is_dir() else [path]
    if not 0 < len(files) <= FILES_MAX:
        raise KeyFileError(f"{path}: holds {len(files)} files NAME.keys: 1 to {FILES_MAX} are allowed")
    keys: dict[str, CommunityKey] = {}
    for file in files:
        for key_id, key in _file(file).items():
            if key_id in keys:
                raise KeyFileError(f"{file}: key id {key_id!r} is in another file too: remove one of the two")
            keys[key_id] = key
    return keys


def _file(path: Path) -> dict[str, CommunityKey]:
    issuer = read_key_file(path).issuer
    region, authority = _named(path, issuer)
    keys = load_public_keys(path, issuer)
    for key in keys.values():
        _can_compute(path, key)
    return {key_id: CommunityKey(authority, region, key) for key_id, key in keys.items()}


def _named(path: Path, issuer: str) -> tuple[str, str]:
    match = _ISSUER.fullmatch(issuer)
    if match is None:
        raise KeyFileError(f"{path}: is no community's: its issuer must be REGION_NAME, see gate certificate keygen")
    return match[1], match[2]


def _can_compute(path: Path, key: PublicKey) -> None:
    """An algorithm that is not installed must stop the start, not the first passenger with a paper."""
    try:
        key.key.verifies(bytes(64), b"")
    except KeyFileError as error:
        raise KeyFileError(f"{path}: {error}") from error


def load_signer(path: Path) -> CommunitySigner:
    """A community's private key file. Raises KeyFileError."""
    private = load_private_key(path)
    region, authority = _named(path, private.issuer)
    return CommunitySigner(authority, region, private)


def make_community_keys(
    folder: Path, authority: str, region: str, today: datetime, algorithm: Algorithm = Algorithm.ED25519
) -> dict[str, Path]:
    """Make a community's private and public key files in `folder`; never overwrites. Raises KeyFileError."""
    if not AUTHORITY.fullmatch(authority) or not REGION.fullmatch(region):
        raise KeyFileError(
            f"{authority!r} of {region!r}: must be 1 to 9 capitals, digits or '_', and six digits of GB/T 2260"
        )
    issuer = f"{region}_{authority}"
    paths = {what: folder / f"{issuer.lower()}.{what}" for what in ("private", "keys")}
    for path in paths.values():
        if path.exists():
            raise KeyFileError(f"{path}: is there already: move it away, or rotate its key with gate feed rotate-key")
    key_id, key = f"{issuer.lower()}-{today:%Y-%m}", generate(algorithm)
    folder.mkdir(parents=True, exist_ok=True)
    secret = {"issuer": issuer, "key_id": key_id, "algorithm": algorithm, algorithm: _base64(key.raw)}
    _write_new(paths["private"], secret, 0o600)
    row = {"key_id": key_id, "algorithm": algorithm, algorithm: _base64(key.public().raw), **_days(today), "root": True}
    _write_new(paths["keys"], {"issuer": issuer, "keys": [row]}, 0o644)
    return paths


def _days(today: datetime) -> dict[str, str]:
    """From yesterday, since a day in China begins before that of UTC."""
    midnight = today.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = midnight + timedelta(days=365 * KEY_YEARS)
    return {"not_before": (midnight - timedelta(days=1)).isoformat(), "not_after": end.isoformat()}


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _write_new(path: Path, values: dict[str, Any], mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
