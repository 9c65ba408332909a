"""The journal: one PassageRecord a line, each line citing the hash of the one before; written off the loop.

Files are `journal-YYYY-MM-DD-NN.jsonl` (UTC), rotated by day and size, kept for `keep_days` and then destroyed together
with their day's key. A line links to a person only through HMAC(day key, subject key): without the key it links to
nobody and the chain stays whole. Hashes are written in letters a-p, so no line can hold eight digits of a number.
"""

import hashlib
import hmac
import json
import os
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

from gate.passage.record import PassageRecord, letters

QUEUE_MAX = 10_000  # 200 s of the busiest station (50 passages a second), should the disk stall; about 20 MB
FSYNC_S = 0.5  # contract.md: at most 1 s late
FILE_BYTES_MAX = 64 << 20
FILES_A_DAY_MAX = 100
RETRY_S = 1.0  # how often a full disk is tried again
GENESIS = letters(bytes(32))
FULL = "JOURNAL_FULL"


class Journal:
    """Appends records from the station's loop; a thread writes them."""

    def __init__(self, folder: Path, keep_days: int, utc_s: Callable[[], float]) -> None:
        self._folder = folder
        self._keep_days = keep_days
        self._utc_s = utc_s
        self._queue: queue.Queue[PassageRecord | threading.Event] = queue.Queue(QUEUE_MAX)
        self._lost = 0
        self._full = threading.Event()
        self._file: IO[bytes] | None = None
        self._name = ""
        self._size = 0
        self._previous = GENESIS
        self._day_key: tuple[str, bytes] = ("", b"")
        self._stop = threading.Event()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "keys").mkdir(exist_ok=True, mode=0o700)
        self.recovered_bytes = self._recover()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def full(self) -> bool:
        """Whether records cannot be written now (disk full, read-only, gone)."""
        return self._full.is_set()

    def append(self, record: PassageRecord) -> None:
        """Take a record; never waits. When nothing more can be kept it is counted as lost, and that is written down."""
        try:
            self._queue.put_nowait(record)
        except queue.Full:
            self._lost += 1
            self._full.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything appended so far is on disk, at most `timeout_s`; whether it is."""
        done = threading.Event()
        try:
            self._queue.put(done, timeout=timeout_s)
        except queue.Full:
            return False
        return done.wait(timeout_s) and not self.full

    def close(self) -> None:
        """Write what is queued and stop, within 2 s."""
        self.flush(2.0)
        self._stop.set()
        self._thread.join(timeout=2.0)

    # --- the writer thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        synced_s = time.monotonic()
        unsynced = False
        waiting: list[threading.Event] = []
        while not self._stop.is_set():
            try:
                item = self._queue.get(timeout=FSYNC_S / 2)
            except queue.Empty:
                item = None
            if isinstance(item, threading.Event):
                waiting.append(item)
            elif item is not None:
                self._write_until_written(item)
                unsynced = True
            due = time.monotonic() - synced_s >= FSYNC_S
            if (unsynced and due) or (waiting and self._queue.empty()):
                self._sync()
                synced_s, unsynced = time.monotonic(), False
                for done in waiting:
                    done.set()
                waiting.clear()
        self._sync()
        if self._file:
            self._file.close()

    def _write_until_written(self, record: PassageRecord) -> None:
        while not self._stop.is_set():
            try:
                self._open_for(record)
                if self._lost:
                    lost, self._lost = self._lost, 0
                    self._put({"event": "lost", "records": lost})
                self._put(self._fields(record))
                self._full.clear()
                return
            except OSError:
                self._full.set()
                self._undo()
                self._stop.wait(RETRY_S)
        self._lost += 1

    def _open_for(self, record: PassageRecord) -> None:
        day = f"{datetime.fromtimestamp(record.started_utc_s, UTC):%Y-%m-%d}"
        # Never back to an earlier day's file: the chain runs forward only.
        current = self._name[8:18]
        if self._file and day <= current and self._size < FILE_BYTES_MAX:
            return
        number = 0 if day > current else int(self._name[19:21]) + 1
        if number >= FILES_A_DAY_MAX:
            raise OSError("the journal's limit for one day is reached")
        if self._file:
            self._sync()
            self._file.close()
            self._file = None
        self._name = f"journal-{max(day, current)}-{number:02d}.jsonl"
        self._file = (self._folder / self._name).open("ab", buffering=0)
        self._size = self._file.tell()
        self._destroy_old(day)

    def _fields(self, record: PassageRecord) -> dict[str, Any]:
        fields = {name: _readable(name, value) for name, value in asdict(record).items()}
        fields["subject"] = self._link(record.subject)
        fields["event"] = "passage"
        return fields

    def _link(self, subject: bytes) -> str:
        """The day's mark of a subject; "" when there was none."""
        if not subject:
            return ""
        day = self._name[8:18]
        if self._day_key[0] != day:
            self._day_key = (day, self._key_of(day))
        return letters(hmac.digest(self._day_key[1], subject, "sha256")[:16])

    def _key_of(self, day: str) -> bytes:
        path = self._folder / "keys" / f"{day}.key"
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                key = secrets.token_bytes(32)
                file.write(key)
        except FileExistsError:
            key = path.read_bytes()
            if len(key) != 32:  # torn by power loss: the day's link is lost, its records are not
                key = secrets.token_bytes(32)
                path.write_bytes(key)
        return key

    def _put(self, fields: dict[str, Any]) -> None:
        assert self._file is not None  # noqa: S101 - _open_for opened it
        line = encode_line(fields, self._previous)
        written = self._file.write(line)
        if written != len(line):
            raise OSError("the disk took only part of a line")
        self._size += len(line)
        self._previous = line_hash(line)

    def _undo(self) -> None:
        """Take back a part of a line that a full disk let through."""
        if self._file:
            try:
                self._file.truncate(self._size)
            except OSError:
                self._file.close()
                self._file = None

    def _sync(self) -> None:
        if self._file:
            try:
                os.fsync(self._file.fileno())
            except OSError:
                self._full.set()

    def _destroy_old(self, day: str) -> None:
        first = f"{datetime.fromisoformat(day) - timedelta(days=self._keep_days):%Y-%m-%d}"
        for path in [*self._folder.glob("journal-*.jsonl"), *self._folder.glob("keys/*.key")]:
            if path.name.removeprefix("journal-")[:10] < first:
                path.unlink(missing_ok=True)

    def _recover(self) -> int:
        """Continue the chain of the last file; cut off a line that power loss tore. Returns the bytes cut off."""
        files = sorted(self._folder.glob("journal-*.jsonl"))
        if not files:
            return 0
        path = files[-1]
        raw = path.read_bytes()
        whole = raw[: raw.rfind(b"\n") + 1]
        torn = len(raw) - len(whole)
        if torn:
            with path.open("r+b") as file:
                file.truncate(len(whole))
        if whole:
            self._previous = line_hash(whole[whole.rfind(b"\n", 0, -1) + 1 :])
        elif len(files) > 1:
            before = files[-2].read_bytes()
            self._previous = line_hash(before[before.rfind(b"\n", 0, -1) + 1 :])
        self._name = path.name
        self._file = path.open("ab", buffering=0)
        self._size = len(whole)
        if torn:
            self._put({"event": "recovered", "torn_bytes": torn, "at": _readable("_utc_s", self._utc_s())})
        return torn


def _readable(name: str, value: Any) -> Any:
    """Instants as ISO 8601 (`…_utc_s` becomes text), everywhere in `value`; all else unchanged."""
    if isinstance(value, dict):
        return {key: _readable(key, inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_readable("", inner) for inner in value]
    if name.endswith("_utc_s") and value is not None:
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="microseconds")
    return value


def encode_line(fields: dict[str, Any], previous: str) -> bytes:
    """One line, citing the hash of the one before."""
    return json.dumps({"prev": previous, **fields}, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def line_hash(line: bytes) -> str:
    """What the next line cites."""
    return letters(hashlib.sha256(line).digest())


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal file, or of all files in a journal's folder, in order. Raises OSError, ValueError."""
    files = sorted(path.glob("journal-*.jsonl")) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{file}:{number}: is not a journal line") from error


def verify_chain(path: Path) -> list[str]:
    """What is wrong with the chain of a journal's folder or file; empty when nothing is."""
    problems = []
    previous: str | None = None
    files = sorted(path.glob("journal-*.jsonl")) if path.is_dir() else [path]
    for file in files:
        for number, line in enumerate(file.read_bytes().splitlines(keepends=True), 1):
            cited = json.loads(line).get("prev")
            if previous is not None and cited != previous:
                problems.append(f"{file.name}:{number}: does not follow the line before")
            previous = line_hash(line)
    return problems
