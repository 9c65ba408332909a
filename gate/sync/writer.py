"""The feed process's side of the store: takes verified files, and puts each new state in service in one rename.

A snapshot becomes the base as it is. A delta's elements become an overlay, merged with the small ones before it: a
handful at most lie over a base, each several times larger than the newer one, so that a look-up stays short and a
change is written a few times only. A snapshot, of the held sequence or later, ends them all.
"""

import fcntl
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

from gate.feed.delta import Changes
from gate.feed.digest import SetDigest
from gate.feed.envelope import Form, Header
from gate.feed.ledger import Held, Refusal, Standing, judge
from gate.feed.partitions import canonical
from gate.feed.states import Bytes2, newest, newly_red
from gate.moment import Moment
from gate.sync.feedfile import FeedFile, RefusedError, check_table, copy_verified, decoded
from gate.sync.manifest import NAME, Manifest, ManifestError, read_manifest, sync_folder, write_manifest
from gate.sync.tablefile import DamagedError, TableFile
from gate.sync.tablewriter import salt_of, write_overlay

log = logging.getLogger(__name__)

SMALL = 32_768  # elements: 1.4 MB, rewritten with each delta in milliseconds
FACTOR = 4  # an overlay is merged unless it is this much larger than what lies over it
# Elements over one base: four days of the Delta's changes at a million a day. Merging them takes about 1.5 GB at most.
OVERLAY_MAX = 4_000_000
WELCOME = 100_000  # so many over the base make a snapshot of the held sequence worth taking


class StoreError(Exception):
    """The store cannot be used; the text says why and what to do."""


class StoreWriter:
    """The whole store, for one process at a time. Raises StoreError when another has it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_fd = _locked(folder)
        except OSError as error:
            raise _unusable(folder, error) from error

    def issuer(self, issuer: str) -> "IssuerWriter":
        """One issuer's part. Raises StoreError."""
        try:
            return IssuerWriter(self._folder / issuer)
        except OSError as error:
            raise _unusable(self._folder / issuer, error) from error

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock_fd)


class IssuerWriter:
    """One issuer's feed: what is held, and how the next file becomes it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True, mode=0o700)
        self.damaged = ""  # why the held state cannot be relied on; a snapshot ends it
        self.reds: Mapping[str, int] = {}  # newly red by the delta taken last; those of a snapshot are not new
        self._manifest = self._read()
        self._over = self._sizes()
        self._sweep()

    def _read(self) -> Manifest | None:
        try:
            return read_manifest(self._folder)
        except ManifestError as error:
            self.damaged = f"the manifest {error}"
            return None

    @property
    def held(self) -> Held | None:
        """What is in service."""
        return self._manifest.held if self._manifest else None

    @property
    def wants_base(self) -> bool:
        """Whether a snapshot of the held sequence is welcome."""
        return bool(self.damaged) or sum(self._over) > WELCOME

    @property
    def overlay_elements(self) -> int:
        """How many elements lie over the base."""
        return sum(self._over)

    def scrub(self) -> str:
        """Read everything in service once; what is damaged, "" when nothing is."""
        manifest = self._manifest
        if manifest:
            try:
                for name, at in self._files(manifest):
                    _checked(self._folder / name, at)
            except (DamagedError, OSError) as error:
                if self._manifest is manifest:  # else a newer state has replaced what was being read
                    self.damaged = str(error)
        return self.damaged

    def take(self, feed: FeedFile, now: Moment) -> Standing:
        """Put the state that `feed` leads to in service, or change nothing. Raises RefusedError, UnreadableError."""
        standing = judge(self.held, feed.header, now)
        if isinstance(standing, Refusal):
            raise RefusedError(standing, f"sequence {feed.header.sequence}")
        if standing is Standing.HELD_ALREADY or (standing is Standing.NEW_BASE and not self.wants_base):
            return Standing.HELD_ALREADY
        try:
            if feed.header.form == Form.SNAPSHOT:
                self._take_snapshot(feed)
            else:
                self._take_delta(feed)
        except OSError as error:
            full = error.errno in (28, 122)  # ENOSPC, EDQUOT
            why = Refusal.STORE_FULL if full else Refusal.STORE_FAILED
            raise RefusedError(why, error.strerror or type(error).__name__) from error
        finally:
            self._sweep()
        return standing

    # --- a snapshot ----------------------------------------------------------------------------------------------

    def _take_snapshot(self, feed: FeedFile) -> None:
        header = feed.header
        name = f"base-{header.sequence}-{header.content_digest[:8]}.snapshot"
        unfinished = self._folder / f".{name}"
        copy_verified(feed, unfinished)
        check_table(unfinished, feed)
        unfinished.rename(self._folder / name)
        sync_folder(self._folder)
        self._serve(Manifest(Held.of(header), name, feed.body_at, ()), [])
        self.damaged, self.reds = "", {}

    # --- a delta -------------------------------------------------------------------------------------------------

    def _take_delta(self, feed: FeedFile) -> None:
        manifest = self._manifest
        assert manifest is not None  # noqa: S101 - `judge` refuses a delta over nothing
        header = feed.header
        if self.damaged:
            raise RefusedError(Refusal.SNAPSHOT_NEEDED, self.damaged)
        changes = decoded(feed)
        _agree(manifest.held, header, changes)
        if self.overlay_elements + len(changes.keys) > OVERLAY_MAX:
            raise RefusedError(Refusal.SNAPSHOT_NEEDED, f"{self.overlay_elements} changes lie over the last one")
        merged, left, sizes = self._merged(manifest.overlays, changes)
        overlays = left
        if len(merged):
            overlays = (self._write_overlay(header, merged), *left)
            sizes = [len(merged), *sizes]
        held = replace(Held.of(header), tokens=manifest.held.tokens)  # tokens come with snapshots only
        self._serve(Manifest(held, manifest.base, manifest.base_at, overlays), sizes)
        self.reds = newly_red(changes.before, changes.after)

    def _merged(self, names: Sequence[str], changes: Changes) -> tuple[Bytes2, tuple[str, ...], list[int]]:
        """The new elements with the overlays they swallow; the names and sizes of those that stay."""
        arrays = [changes.after_elements()]
        count, swallowed = len(arrays[0]), 0
        while swallowed < len(names) and self._over[swallowed] <= max(SMALL, FACTOR * count) and count:
            arrays.append(self._elements(names[swallowed]))
            count += self._over[swallowed]
            swallowed += 1
        return newest(arrays), tuple(names[swallowed:]), self._over[swallowed:]

    def _elements(self, name: str) -> Bytes2:
        try:
            with closing(TableFile(self._folder / name)) as opened:
                return opened.elements()
        except (DamagedError, FileNotFoundError) as error:
            self.damaged = str(error)
            raise RefusedError(Refusal.SNAPSHOT_NEEDED, self.damaged) from error

    def _write_overlay(self, header: Header, elements: Bytes2) -> str:
        name = f"over-{header.sequence}-{header.content_digest[:8]}.table"
        unfinished = self._folder / f".{name}"
        with unfinished.open("wb") as file:
            try:
                write_overlay(file, elements, salt_of(header.issuer, header.sequence, Form.DELTA))
            except ValueError as error:
                raise RefusedError(Refusal.BAD_BODY, str(error)) from error
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(self._folder / name)
        return name

    # --- the folder ----------------------------------------------------------------------------------------------

    def _serve(self, manifest: Manifest, over: list[int]) -> None:
        write_manifest(self._folder, manifest)
        self._manifest, self._over = manifest, over

    def _files(self, manifest: Manifest) -> Iterable[tuple[str, int]]:
        return ((manifest.base, manifest.base_at), *((name, 0) for name in manifest.overlays))

    def _sizes(self) -> list[int]:
        sizes = []
        for name in self._manifest.overlays if self._manifest else ():
            try:
                opened = TableFile(self._folder / name)
                sizes.append(opened.foot.exact)
                opened.close()
            except (DamagedError, OSError) as error:
                self.damaged = str(error)
                sizes.append(0)
        return sizes

    def _sweep(self) -> None:
        """Remove what no manifest names: leftovers of a kill, states that are over. Readers keep what they opened."""
        used = {NAME, *(name for name, _ in (self._files(self._manifest) if self._manifest else ()))}
        nobody_knows = self._manifest is None and bool(self.damaged)  # what is in use
        for path in self._folder.iterdir():
            unfinished = path.name.startswith(".")
            if unfinished or (path.name not in used and not nobody_knows):
                with suppress(OSError):
                    path.unlink()


def _agree(held: Held, header: Header, changes: Changes) -> None:
    """Whether the changes lead to the set that the header names. Raises RefusedError."""
    digest = SetDigest(held.set_digest)
    digest.remove(changes.elements(changes.before))
    digest.add(changes.elements(changes.after))
    if header.partitions != held.partitions:
        digest.remove_partitions(canonical(held.partitions))
        digest.add_partitions(canonical(header.partitions))
    if digest.hexadecimal != header.set_digest:
        raise RefusedError(Refusal.WRONG_DIGEST, f"sequence {header.sequence} does not follow from {held.sequence}")
    subjects, exact = changes.growth
    if (held.count + subjects, held.exact_count + exact) != (header.count, header.exact_count):
        raise RefusedError(Refusal.WRONG_COUNT, f"sequence {header.sequence} has another number of people than it says")


def _unusable(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"{folder}: {error.strerror}: check data_dir, its disk and its owner")


def _checked(path: Path, at: int) -> None:
    opened = TableFile(path, at)
    try:
        opened.check()
    finally:
        opened.close()


def _locked(folder: Path) -> int:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise StoreError(
            f"{folder} is written by another feed process: stop it, or give each its own data_dir"
        ) from None
    return fd
