"""Which keys of a keys file are believed, and what a file from the issuer may add. No files, no clock.

Keys stand in order of age. The first is the root: it was installed by hand, and believed for that. Every other one is
signed by an older one of the file whose days its own first day lies in, so that the chain ends at a root. A revocation
is signed by an older key and is never taken back; with a key fall all that it signed, since a thief chooses the dates
of what he signs.

`merge_keys` takes a file from the issuer into the station's: what it adds must be signed by a key that we hold and that
is valid today. It adds all of it or, by name, nothing. The first key, lost or stolen, is replaced by hand.
"""

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from gate.sync.signing import KeyFileError, VerifyingKey

KEYS_MAX = 16  # a root and seven years of half-yearly keys; each costs one check of a signature at every load
VALID_S_MAX = 3 * 366 * 86_400  # a key that a station takes over the network lives at most three years
_KEY_SIGNED = b"gate/key/1\0"  # so that no signature means two things
_REVOCATION_SIGNED = b"gate/key-revocation/1\0"


class KeyRefusal(enum.StrEnum):
    """Why keys are not believed; those held stay as they are."""

    WRONG_ISSUER = "WRONG_ISSUER"
    UNSIGNED = "UNSIGNED"
    UNKNOWN_SIGNER = "UNKNOWN_SIGNER"
    SIGNER_NOT_VALID_NOW = "SIGNER_NOT_VALID_NOW"
    SIGNER_REVOKED = "SIGNER_REVOKED"
    NO_OVERLAP = "NO_OVERLAP"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    CHANGED_KEY = "CHANGED_KEY"
    VALID_TOO_LONG = "VALID_TOO_LONG"
    BAD_REVOCATION = "BAD_REVOCATION"
    TOO_MANY_KEYS = "TOO_MANY_KEYS"


_SAYS = {
    KeyRefusal.WRONG_ISSUER: "the file belongs to another issuer",
    KeyRefusal.UNSIGNED: 'no older key signed it: have the issuer sign it, or mark it "root": true by hand',
    KeyRefusal.UNKNOWN_SIGNER: "the key that signed it is not among the older ones: install it by hand",
    KeyRefusal.SIGNER_NOT_VALID_NOW: "the key that signed it is not valid today: install it by hand",
    KeyRefusal.SIGNER_REVOKED: "the key that signed it is revoked: have the issuer sign it with another",
    KeyRefusal.NO_OVERLAP: "its first day is not among the days of the key that signed it",
    KeyRefusal.BAD_SIGNATURE: "its signature is not that of the key that it names",
    KeyRefusal.CHANGED_KEY: "a key of this id with other bytes or days is held: new keys need new ids",
    KeyRefusal.VALID_TOO_LONG: "it is valid for more than three years",
    KeyRefusal.BAD_REVOCATION: "its revocation is not signed by an older key that is believed",
    KeyRefusal.TOO_MANY_KEYS: f"more than {KEYS_MAX} keys: install a new file by hand",
}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One verifying key with its days, as a station believes it."""

    key_id: str
    key: VerifyingKey
    not_before_utc_s: float
    not_after_utc_s: float
    revoked: bool = False  # itself, or a key in its chain

    def verify(self, signature: bytes, message: bytes) -> bool:
        """Whether this key signed `message` and is not revoked; its days are judged by `verify_signature`."""
        return not self.revoked and self.key.verifies(signature, message)


@dataclass(frozen=True, slots=True)
class Revocation:
    """An older key's word that a key is not to be believed."""

    signed_by: str
    signature: bytes


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One key of a keys file as it is written there; whether it is believed is for `trusted_keys` to say."""

    key_id: str
    key: VerifyingKey
    not_before_utc_s: int
    not_after_utc_s: int
    root: bool = False
    signed_by: str = ""
    signature: bytes = b""
    revocation: Revocation | None = None

    def same_key(self, other: "KeyRow") -> bool:
        """Whether id, algorithm, bytes and days are the same."""
        return key_statement("", self, "") == key_statement("", other, "")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A keys file, oldest key first."""

    issuer: str
    rows: tuple[KeyRow, ...]


@dataclass(frozen=True, slots=True)
class KeyRefused:
    """Why a keys file was not merged, and at which key."""

    why: KeyRefusal
    key_id: str = ""

    def __str__(self) -> str:
        at = f" at key {self.key_id!r}" if self.key_id else ""
        return f"{self.why}{at}: {_SAYS[self.why]}"


def trusted_keys(file: KeyFile) -> dict[str, PublicKey]:
    """The keys of an installed file, by key id; one fault in the chain refuses it all. Raises KeyFileError."""
    if len(file.rows) > KEYS_MAX:
        raise KeyFileError(str(KeyRefused(KeyRefusal.TOO_MANY_KEYS)))
    for index, row in enumerate(file.rows):
        older = file.rows[:index]
        fault = _chain_fault(file.issuer, row, older) or _revocation_fault(file.issuer, row, older)
        if fault:
            raise KeyFileError(f"keys[{index}]: {KeyRefused(fault, row.key_id)}")
    down = fallen(file.rows)
    return {
        row.key_id: PublicKey(
            row.key_id, row.key, row.not_before_utc_s, row.not_after_utc_s, revoked=row.key_id in down
        )
        for row in file.rows
    }


def merge_keys(held: KeyFile, offered: KeyFile, now_utc_s: float) -> KeyFile | KeyRefused:
    """What is held with all that `offered` adds, or why nothing is added. `held` is a file that was believed."""
    if offered.issuer != held.issuer:
        return KeyRefused(KeyRefusal.WRONG_ISSUER)
    rows = list(held.rows)
    for row in offered.rows:
        at = next((i for i, each in enumerate(rows) if each.key_id == row.key_id), len(rows))
        known = rows[at] if at < len(rows) else None
        fault = _known_fault(known, row) if known else _new_fault(held.issuer, row, rows, now_utc_s)
        if not fault and (known is None or not known.revocation):
            fault = _new_revocation_fault(held.issuer, row, rows[:at])
        if fault:
            return KeyRefused(fault, row.key_id)
        if known is None:
            rows.append(replace(row, root=False))
        elif not known.revocation:
            rows[at] = replace(known, revocation=row.revocation)
        if len(rows) > KEYS_MAX:
            return KeyRefused(KeyRefusal.TOO_MANY_KEYS, row.key_id)
    return KeyFile(held.issuer, tuple(rows))


def _known_fault(known: KeyRow, row: KeyRow) -> KeyRefusal | None:
    return None if known.same_key(row) else KeyRefusal.CHANGED_KEY


def _new_fault(issuer: str, row: KeyRow, older: list[KeyRow], now_utc_s: float) -> KeyRefusal | None:
    """Why a key that came over the network is not believed, whatever it says of itself: there, nobody is a root."""
    fault = _chain_fault(issuer, replace(row, root=False), older)
    if fault:
        return fault
    signer = _by_id(older)[row.signed_by]
    if signer.key_id in fallen(older):
        return KeyRefusal.SIGNER_REVOKED
    if not signer.not_before_utc_s <= now_utc_s < signer.not_after_utc_s:  # or a thief's finds would never age
        return KeyRefusal.SIGNER_NOT_VALID_NOW
    return KeyRefusal.VALID_TOO_LONG if row.not_after_utc_s - row.not_before_utc_s > VALID_S_MAX else None


def _new_revocation_fault(issuer: str, row: KeyRow, older: list[KeyRow]) -> KeyRefusal | None:
    """As for an installed one, and a revoked key revokes nobody. An expired one may: it only takes trust away."""
    if row.revocation and row.revocation.signed_by in fallen(older):
        return KeyRefusal.BAD_REVOCATION
    return _revocation_fault(issuer, row, older)


def _chain_fault(issuer: str, row: KeyRow, older: Iterable[KeyRow]) -> KeyRefusal | None:
    if row.root:
        return None
    if not row.signed_by or not row.signature:
        return KeyRefusal.UNSIGNED
    signer = _by_id(older).get(row.signed_by)
    if signer is None:
        return KeyRefusal.UNKNOWN_SIGNER
    if not signer.not_before_utc_s <= row.not_before_utc_s < signer.not_after_utc_s:
        return KeyRefusal.NO_OVERLAP
    signed = signer.key.verifies(row.signature, key_statement(issuer, row, row.signed_by))
    return None if signed else KeyRefusal.BAD_SIGNATURE


def _revocation_fault(issuer: str, row: KeyRow, older: Iterable[KeyRow]) -> KeyRefusal | None:
    if row.revocation is None:
        return None
    signer = _by_id(older).get(row.revocation.signed_by)
    statement = revocation_statement(issuer, row.key_id, row.revocation.signed_by)
    if signer and signer.key.verifies(row.revocation.signature, statement):
        return None
    return KeyRefusal.BAD_REVOCATION


def fallen(rows: Iterable[KeyRow]) -> set[str]:
    """Ids of keys that are revoked, or whose chain leads through one that is."""
    down: set[str] = set()
    for row in rows:
        if row.revocation or (not row.root and row.signed_by in down):
            down.add(row.key_id)
    return down


def _by_id(rows: Iterable[KeyRow]) -> dict[str, KeyRow]:
    return {row.key_id: row for row in rows}


def key_statement(issuer: str, row: KeyRow, signed_by: str) -> bytes:
    """What the older key signs: whose key this is, what it is and when it is valid."""
    return _KEY_SIGNED + _canonical(
        {
            "issuer": issuer,
            "key_id": row.key_id,
            "algorithm": row.key.algorithm.value,
            "public": row.key.raw.hex(),
            "not_before_utc_s": row.not_before_utc_s,
            "not_after_utc_s": row.not_after_utc_s,
            "signed_by": signed_by,
        }
    )


def revocation_statement(issuer: str, key_id: str, signed_by: str) -> bytes:
    """What the older key signs to take a key out of service."""
    return _REVOCATION_SIGNED + _canonical({"issuer": issuer, "key_id": key_id, "signed_by": signed_by})


def _canonical(values: dict[str, Any]) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode("ascii")
