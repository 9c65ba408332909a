"""The station's side of the store: read only, in microseconds, and "we do not know" for what is damaged.

The feed process alone writes (`writer.py`). `refresh` takes over what it has put in service: called when it says so,
and once a second in case it died in between. What is in service stays open, so that nothing the writer removes is
missed.
"""

import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from gate.feed import table
from gate.feed.finding import (
    Enrolled,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Uncovered,
    Unknown,
)
from gate.feed.ledger import Held
from gate.feed.partitions import by_code
from gate.feed.records import ABSENT, Enrolment, FeedError, Kind, State, StatusEntry, decode_state
from gate.moment import Moment
from gate.sync.manifest import NAME, ManifestError, read_manifest
from gate.sync.tablefile import DamagedError, TableFile

log = logging.getLogger(__name__)

_REFRESH_TRIES = 3  # the writer may have gone on between manifest and files; twice in a row is a busy publisher


_NEVER: tuple[Finding, float, float] = (Unknown("", Missing.NO_FEED), math.inf, -math.inf)  # in force at no instant


class StatusStore(Protocol):
    """What the station needs of a store."""

    def find(self, keys: Mapping[str, bytes], now: Moment) -> tuple[Finding, ...]:
        """What every subscribed issuer says of one subject; `keys`: its subject key by issuer, where there is one."""

    def find_one(self, issuer: str, key: bytes, now: Moment) -> Finding:
        """What one issuer says of one subject; `key`: 16 bytes, or the 7 that a token gives."""

    def subject_of(self, issuer: str, token: bytes) -> bytes | None:
        """The subject (16 or 7 bytes of its key) of a static code token's key; None when not known or not readable."""

    def holder_of(self, issuer: str, card: bytes) -> bytes | Missing:
        """The subject of a card's number by its key, as `subject_of`, or why this issuer's index does not tell it."""

    def held(self) -> Mapping[str, Held]:
        """What is in service, by issuer."""

    def refresh(self) -> None:
        """Take over what was put in service since."""

    def close(self) -> None:
        """Release the files."""


class Shelf:
    """One issuer's feed in service: the base and what lies over it. Raises DamagedError, OSError."""

    def __init__(self, folder: Path) -> None:
        manifest = read_manifest(folder)
        if manifest is None:
            raise FileNotFoundError(folder / NAME)
        self.held = held = manifest.held
        self._overlays: list[TableFile] = []
        self._freshness = Freshness(held.produced_utc_s)
        self._partitions = by_code(held.partitions)
        self._as_of = {code: Freshness(one.as_of_utc_s, code) for code, one in self._partitions.items()}
        self._absent: Finding = NotListed(held.issuer, held.sequence, self._freshness)
        if Kind(held.kind).knows_everybody:
            self._absent = NotCovered(held.issuer, held.sequence, self._freshness, Uncovered.UNKNOWN_PERSON)
        self._of_class: dict[int, tuple[Finding, float, float]] = {}  # at most 65,536 classes
        try:
            self._base = TableFile(folder / manifest.base, manifest.base_at)
            for name in manifest.overlays:
                self._overlays.append(TableFile(folder / name))
        except BaseException:
            self.close()
            raise

    def find(self, key: bytes, now: Moment) -> Finding:
        """What the feed says of `key` (16 bytes, or the 7 that a token gives)."""
        for overlay in self._overlays:
            raw = table.find_exact(overlay.bucket(key), key)
            if raw is not None:
                return self._finding(self._decoded(key, raw), now)
        bucket = self._base.bucket(key)
        raw = table.find_exact(bucket, key)
        if raw is not None:
            return self._finding(self._decoded(key, raw), now)
        number = table.find_compact(bucket, key)
        if number is None:
            return self._absent
        finding, begin_s, end_s = self._of_class.get(number) or _NEVER
        return finding if begin_s <= now.utc_s < end_s else self._learned(number, now)

    def _learned(self, number: int, now: Moment) -> Finding:
        """What all enrolled people of a class have in common, kept until their partition's default changes."""
        enrolment = self._base.compact_class(number)
        finding = self._enrolled(enrolment, now)
        partition = self._partitions.get(enrolment.partition)
        begin_s, end_s = partition.unchanged_at(now) if partition else (-math.inf, math.inf)
        self._of_class[number] = finding, begin_s, end_s
        return finding

    def _decoded(self, key: bytes, raw: bytes) -> State:
        try:
            return None if raw == ABSENT else decode_state(key, raw)
        except FeedError as error:
            raise DamagedError(str(error)) from error

    def subject_of(self, token: bytes) -> bytes | None:
        """The subject key of a token key, or its first 7 bytes; None when the feed does not know the token."""
        for opened in (*self._overlays, self._base):
            subject = opened.subject_of(token)
            if subject is not None:
                return subject if any(subject) else None
        return None

    def _finding(self, state: State, now: Moment) -> Finding:
        held = self.held
        match state:
            case StatusEntry():
                return Listed(
                    held.issuer,
                    state.status,
                    state.asserted_by,
                    state.effective_utc_s,
                    state.valid_until_utc_s,
                    held.sequence,
                    self._as_of.get(state.partition, self._freshness),
                    state.reason,
                    state.residence,
                )
            case Enrolment():
                return self._enrolled(state, now)
        return self._absent

    def _enrolled(self, state: Enrolment, now: Moment) -> Finding:
        held = self.held
        partition = self._partitions.get(state.partition)
        default = partition.default_at(now) if partition else None
        if default is None:
            return NotCovered(held.issuer, held.sequence, self._freshness, Uncovered.UNKNOWN_PARTITION)
        return Enrolled(
            held.issuer,
            default.status,
            state.partition,
            default.from_utc_s,
            state.valid_until_utc_s,
            held.sequence,
            self._as_of[state.partition],
            default.reason,
        )

    def close(self) -> None:
        """Release the files."""
        for opened in (*self._overlays, *([self._base] if hasattr(self, "_base") else ())):
            opened.close()


class FeedStore:
    """All subscribed issuers' feeds."""

    def __init__(self, folder: Path, issuers: Sequence[str]) -> None:
        self._folder = folder
        self._issuers = tuple(issuers)
        self._shelves: dict[str, Shelf] = {}
        self._missing = dict.fromkeys(self._issuers, Missing.NO_FEED)
        self._stamps: dict[str, tuple[int, int]] = {}
        self._failing: set[str] = set()
        self.refresh()

    def find(self, keys: Mapping[str, bytes], now: Moment) -> tuple[Finding, ...]:
        """See `StatusStore.find`; a few microseconds an issuer."""
        return tuple([self._find_one(issuer, keys.get(issuer), now) for issuer in self._issuers])

    def find_one(self, issuer: str, key: bytes, now: Moment) -> Finding:
        """See `StatusStore.find_one`."""
        return self._find_one(issuer, key, now)

    def _find_one(self, issuer: str, key: bytes | None, now: Moment) -> Finding:
        shelf = self._shelves.get(issuer)
        if shelf is None:
            return Unknown(issuer, self._missing.get(issuer, Missing.NO_FEED))
        if key is None:
            return Unknown(issuer, Missing.PEPPER_MISSING)
        try:
            found = shelf.find(key, now)
        except DamagedError as error:
            self._fails(issuer, error)
            return Unknown(issuer, Missing.STORE_DAMAGED)
        except OSError as error:
            self._fails(issuer, error)
            return Unknown(issuer, Missing.STORE_UNREADABLE)
        return found

    def _fails(self, issuer: str, error: Exception) -> None:
        if issuer not in self._failing:
            log.error("feed %s: its store cannot be read (%s): check the disk of data_dir", issuer, error)
        self._failing.add(issuer)

    def subject_of(self, issuer: str, token: bytes) -> bytes | None:
        """See `StatusStore.subject_of`."""
        shelf = self._shelves.get(issuer)
        try:
            return shelf.subject_of(token) if shelf else None
        except (DamagedError, OSError) as error:
            self._fails(issuer, error)
            return None

    def holder_of(self, issuer: str, card: bytes) -> bytes | Missing:
        """See `StatusStore.holder_of`. An index that cannot be read could hide whom it names."""
        shelf = self._shelves.get(issuer)
        if shelf is None:
            return self._missing.get(issuer, Missing.NO_FEED)
        try:
            return shelf.subject_of(card) or Missing.CARD_NOT_LINKED
        except DamagedError as error:
            self._fails(issuer, error)
            return Missing.STORE_DAMAGED
        except OSError as error:
            self._fails(issuer, error)
            return Missing.STORE_UNREADABLE

    def held(self) -> Mapping[str, Held]:
        """See `StatusStore.held`."""
        return {issuer: shelf.held for issuer, shelf in self._shelves.items()}

    def refresh(self) -> None:
        """See `StatusStore.refresh`. A new state that cannot be read leaves the one in service."""
        for issuer in self._issuers:
            stamp = _stamp(self._folder / issuer / NAME)
            if stamp is not None and stamp != self._stamps.get(issuer):
                self._renew(issuer, stamp)

    def _renew(self, issuer: str, stamp: tuple[int, int]) -> None:
        try:
            shelf = _opened(self._folder / issuer)
        except ManifestError as error:
            why = Missing.STORE_OTHER_VERSION if error.other_version else Missing.STORE_DAMAGED
            self._not_renewed(issuer, why, error)
        except DamagedError as error:
            self._not_renewed(issuer, Missing.STORE_DAMAGED, error)
        except OSError as error:
            self._not_renewed(issuer, Missing.STORE_UNREADABLE, error)
        else:
            before = self._shelves.get(issuer)
            self._shelves[issuer] = shelf
            if issuer in self._failing:
                log.warning("feed %s: its store can be read again", issuer)
            self._failing.discard(issuer)
            self._stamps[issuer] = stamp  # what could not be read is tried again with the next refresh
            if before:
                before.close()

    def _not_renewed(self, issuer: str, why: Missing, error: Exception) -> None:
        self._missing[issuer] = why
        self._fails(issuer, error)

    def close(self) -> None:
        """See `StatusStore.close`."""
        for shelf in self._shelves.values():
            shelf.close()
        self._shelves.clear()


def _opened(folder: Path) -> Shelf:
    for _ in range(_REFRESH_TRIES - 1):
        try:
            return Shelf(folder)
        except FileNotFoundError:
            continue  # the writer went on to the next state and removed a file of this one
    return Shelf(folder)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def open_store(folder: Path, issuers: Sequence[str]) -> FeedStore:
    """The station's store; before the feed process has made it, nothing is known."""
    return FeedStore(folder, issuers)
