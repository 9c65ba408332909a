"""The local store of all feeds: read by the station in microseconds, written by the feed process alone.

LMDB until the Feed issue: readers never wait for the writer, and a snapshot becomes visible in one commit. A bit that
flips in its file was seen to turn one status into another silently, so every value carries a checksum over itself, its
key and its issuer, and what does not match is not known.
"""

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import lmdb

from gate.feed.finding import Finding, Listed, Missing, NotListed, Unknown
from gate.feed.ledger import Held, Refusal
from gate.feed.records import ENTRY_BYTES, KEY_BYTES, SnapshotError, decode_entry
from gate.moment import Moment
from gate.sync.snapshot import OpenSnapshot, SnapshotRefusedError

log = logging.getLogger(__name__)

# Address space, not disk: room for two generations of the Delta (235.2 M entries of about 80 B in the B-tree).
MAP_BYTES = 40 << 30
ISSUERS_MAX = 64
_META = b"held"
_BATCH = 10_000  # entries a putmulti call: bounds memory, and lets the process be stopped
_SUM_BYTES = 4
_COMMITS_MAX = 10  # the feed process commits at most a few times a second; a look takes microseconds


class StatusStore(Protocol):
    """What the station needs of a store."""

    def find(self, keys: Mapping[str, bytes], now: Moment) -> tuple[Finding, ...]:
        """What every subscribed issuer says of one subject; `keys`: its subject key by issuer, where there is one."""

    def held(self) -> Mapping[str, Held]:
        """What is in service, by issuer."""

    def close(self) -> None:
        """Release the files."""


class LmdbStore:
    """The station's side: read only."""

    def __init__(self, folder: Path, issuers: Sequence[str]) -> None:
        self._folder = folder
        self._issuers = tuple(issuers)
        self._environment: Any = None
        self._databases: dict[str, tuple[Held, Any, bytes]] = {}
        self._handles: dict[bytes, Any] = {}
        self._transaction: int | None = None
        self._failing = False

    def find(self, keys: Mapping[str, bytes], now: Moment) -> tuple[Finding, ...]:
        """See `StatusStore.find`; a few microseconds an issuer."""
        if not self._open():
            return tuple(Unknown(issuer, Missing.NO_FEED) for issuer in self._issuers)
        try:
            with self._current() as transaction:
                found = tuple(self._find_one(transaction, issuer, keys.get(issuer)) for issuer in self._issuers)
            self._works()
            return found
        except lmdb.Error as error:
            self._fails(error)
            return tuple(Unknown(issuer, Missing.STORE_UNREADABLE) for issuer in self._issuers)

    def _find_one(self, transaction: Any, issuer: str, key: bytes | None) -> Finding:
        if issuer not in self._databases:
            return Unknown(issuer, Missing.NO_FEED)
        held, database, salt = self._databases[issuer]
        if key is None:
            return Unknown(issuer, Missing.PEPPER_MISSING)
        value = transaction.get(key, db=database)
        if value is None:
            return NotListed(issuer, held.sequence, held.freshness)
        if len(value) != ENTRY_BYTES - KEY_BYTES + _SUM_BYTES or _checksum(salt, key, value[:-4]) != value[-4:]:
            return Unknown(issuer, Missing.STORE_DAMAGED)
        try:
            entry = decode_entry(key + value[:-4])
        except SnapshotError:
            return Unknown(issuer, Missing.STORE_DAMAGED)
        return Listed(
            issuer,
            entry.status,
            entry.asserted_by,
            entry.effective_utc_s,
            entry.valid_until_utc_s,
            held.sequence,
            held.freshness,
        )

    def held(self) -> Mapping[str, Held]:
        """See `StatusStore.held`."""
        if self._open():
            try:
                self._current().abort()
            except lmdb.Error as error:
                self._fails(error)
        return {issuer: held for issuer, (held, _, _) in self._databases.items()}

    def _fails(self, error: Exception) -> None:
        if not self._failing:
            log.error("the store cannot be read (%s): check the disk of data_dir", type(error).__name__)
        self._failing = True

    def _works(self) -> None:
        if self._failing:
            log.warning("the store can be read again")
        self._failing = False

    def close(self) -> None:
        """See `StatusStore.close`."""
        if self._environment:
            self._environment.close()
            self._environment = None
            self._databases = {}
            self._handles = {}
            self._transaction = None

    def _open(self) -> bool:
        if self._environment is None:
            try:
                self._environment = lmdb.open(
                    str(self._folder), readonly=True, max_dbs=2 * ISSUERS_MAX + 1, map_size=MAP_BYTES, create=False
                )
            except lmdb.Error:
                return False  # the feed process has not made it yet
        return True

    def _current(self) -> Any:
        """A read transaction for which `_databases` is true. A commit in between is rare, two in a row rarer."""
        for _ in range(_COMMITS_MAX):
            transaction = self._environment.begin()
            if transaction.id() == self._transaction:
                return transaction
            number, meta = transaction.id(), _meta(transaction)
            transaction.abort()
            self._databases = {
                issuer: (held, self._handle(_name(issuer, generation)), _salt(issuer, generation))
                for issuer, (held, generation) in meta.items()
                if issuer in self._issuers
            }
            self._transaction = number
        raise lmdb.Error("the store is committed to faster than it can be looked at")

    def _handle(self, name: bytes) -> Any:
        # Outside of any transaction: one that began earlier does not know the handle (lmdb, mdb_dbi_open).
        if name not in self._handles:
            self._handles[name] = self._environment.open_db(name, create=False)
        return self._handles[name]


class StoreWriter:
    """The feed process's side: applies verified snapshots, each in one commit."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._environment = lmdb.open(str(folder), max_dbs=2 * ISSUERS_MAX + 1, map_size=MAP_BYTES, mode=0o600)

    def held(self) -> dict[str, Held]:
        """What is in service, by issuer."""
        with self._environment.begin() as transaction:
            return {issuer: held for issuer, (held, _) in _meta(transaction).items()}

    def apply(self, snapshot: OpenSnapshot, tick: Callable[[], None] = lambda: None) -> Held:
        """Replace the issuer's feed in one commit; on any trouble nothing has changed. Raises SnapshotRefusedError."""
        issuer = snapshot.header.issuer
        held = Held.of(snapshot.header)
        try:
            with self._environment.begin(write=True) as transaction:
                meta = _meta(transaction)
                before = meta[issuer][1] if issuer in meta else 0
                generation = before + 1
                # Only the generation in service is needed: two alternate, so handles stay few.
                database = self._environment.open_db(_name(issuer, generation), txn=transaction)
                transaction.drop(database, delete=False)
                self._fill(transaction, database, _salt(issuer, generation), snapshot.entries(), tick)
                rows = {name: (one, number) for name, (one, number) in meta.items()}
                rows[issuer] = (held, generation)
                _put_meta(transaction, rows)
        except lmdb.MapFullError as error:
            raise SnapshotRefusedError(Refusal.STORE_FULL, "the store has reached its size limit") from error
        except (lmdb.Error, OSError) as error:
            raise SnapshotRefusedError(Refusal.STORE_FAILED, f"{error}: check the disk of data_dir") from error
        return held

    def _fill(
        self, transaction: Any, database: Any, salt: bytes, entries: Iterable[bytes], tick: Callable[[], None]
    ) -> None:
        with transaction.cursor(database) as cursor:
            batch: list[tuple[bytes, bytes]] = []
            for raw in entries:
                try:
                    decode_entry(raw)
                except SnapshotError as error:
                    raise SnapshotRefusedError(Refusal.BAD_ENTRY, str(error)) from error
                key, value = raw[:KEY_BYTES], raw[KEY_BYTES:]
                batch.append((key, value + _checksum(salt, key, value)))
                if len(batch) >= _BATCH:
                    cursor.putmulti(batch, append=True)
                    batch.clear()
                    tick()
            cursor.putmulti(batch, append=True)

    def close(self) -> None:
        """Release the files."""
        self._environment.close()


def open_store(folder: Path, issuers: Sequence[str]) -> StatusStore:
    """The station's store; before the feed process has made it, nothing is known."""
    return LmdbStore(folder, issuers)


def _name(issuer: str, generation: int) -> bytes:
    return f"{issuer}/{generation % 2}".encode("ascii")


def _salt(issuer: str, generation: int) -> bytes:
    """Makes a value of another issuer or of an earlier generation fail its checksum."""
    return f"{issuer}/{generation}/".encode("ascii")


def _checksum(salt: bytes, key: bytes, value: bytes) -> bytes:
    return zlib.crc32(value, zlib.crc32(key, zlib.crc32(salt))).to_bytes(_SUM_BYTES, "big")


def _meta(transaction: Any) -> dict[str, tuple[Held, int]]:
    """What is held, and in which generation. A damaged record means: nothing is held."""
    raw = transaction.get(_META)
    if raw is None:
        return {}
    if _checksum(b"", _META, raw[:-_SUM_BYTES]) != raw[-_SUM_BYTES:]:
        log.error("the store's table of contents is damaged: feeds are applied again")
        return {}
    rows = json.loads(raw[:-_SUM_BYTES])
    return {issuer: (Held(**row["held"]), row["generation"]) for issuer, row in rows.items()}


def _put_meta(transaction: Any, rows: Mapping[str, tuple[Held, int]]) -> None:
    values = {issuer: {"held": asdict(held), "generation": number} for issuer, (held, number) in rows.items()}
    raw = json.dumps(values, sort_keys=True).encode()
    transaction.put(_META, raw + _checksum(b"", _META, raw))
