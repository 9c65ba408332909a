"""The journal of passages, written by a thread of its own so that no lane ever waits for a disk.

What a line holds is in `chain.py`, how files are kept in `chainwriter.py`, what links a day's lines in `daykeys.py`.
While the disk refuses (full, read-only, gone) the journal is JOURNAL_FULL: it keeps a bounded number of records, counts
the rest, tries again every second, and on recovery writes one line saying how many were lost.
"""

import logging
import queue
import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from gate.moment import Moment
from gate.passage.record import PassageRecord
from gate.station.chain import event_body, passage_body, read_lines, read_records, segments, verify_chain
from gate.station.chainwriter import ChainWriter
from gate.station.clock import Clock
from gate.station.daykeys import DayKeys

__all__ = ["Journal", "read_lines", "read_records", "verify_chain"]  # readers need not know where the chain's code is

log = logging.getLogger(__name__)

QUEUE_MAX = 10_000  # records: 200 s of the busiest station (50 passages a second) on a stalled disk; about 20 MB
BATCH_MAX = 64  # records in one write: keeps what a nearly full disk cannot take at once small
UNSYNCED_MAX = 500  # records that a failed fsync makes us write again
SYNC_AFTER_S = 0.5  # contract.md: fsync at most 1 s late; the other half is for the disk
RETRY_S = 1.0  # how often a refusing disk is tried again
IDLE_S = 60.0  # a station without passengers still destroys what is too old
CLOSE_S = 2.0
FULL = "JOURNAL_FULL"


class _Mark(threading.Event):
    """Stands in the queue behind the records that `flush` waits for; set when they are on the disk."""


class _Closed:
    """Stands in the queue behind the last record."""


class Journal:
    """Takes records from one thread (the station's loop) and writes them. Raises OSError when it cannot be opened."""

    def __init__(self, folder: Path, keep_days: int, clock: Clock, retry_s: float = RETRY_S) -> None:
        self._folder = folder
        self._keep_days = keep_days
        self._clock = clock
        self._retry_s = retry_s
        self._chain = ChainWriter(folder)
        self._keys = DayKeys(folder / "keys")
        self._queue: queue.SimpleQueue[PassageRecord | _Mark | _Closed] = queue.SimpleQueue()
        self._failing = threading.Event()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        # Counters with one writing thread each, so that none needs a lock: lost = dropped + unwritable - told.
        self._dropped = 0  # by append
        self._unwritable = 0  # by the writer
        self._told = self._told_synced = 0  # by the writer
        self._held: list[PassageRecord | _Mark | _Closed] = []
        self._unsynced: list[PassageRecord | _Mark | _Closed] = []
        self._sync_due_mono_s: float | None = None
        self._tidied: tuple[date, object] | None = None
        self._opening = not self._chain.recovery.clean  # the line that says so is still to be written
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def recovered_bytes(self) -> int:
        """What was cut off at start because power loss had torn it; 0 when the end was whole."""
        return self._chain.recovery.torn_bytes

    @property
    def full(self) -> bool:
        """Whether records cannot be written now, or were lost and that is not yet written down."""
        return self._failing.is_set() or self.lost > 0 or not self._thread.is_alive()

    @property
    def degraded(self) -> frozenset[str]:
        """`{"JOURNAL_FULL"}` while `full`, else empty."""
        return frozenset({FULL}) if self.full else frozenset()

    @property
    def lost(self) -> int:
        """Records lost of which no line speaks yet."""
        return self._dropped + self._unwritable - self._told

    def append(self, record: PassageRecord) -> None:
        """Take a record; never waits. What cannot be kept any more is counted, and the count is written down later."""
        if self._queue.qsize() >= QUEUE_MAX or self._stopping.is_set():
            self._dropped += 1
        else:
            self._queue.put(record)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was appended is on the disk; whether it is by then. Blocks: call it outside the loop."""
        return self._queue.qsize() < QUEUE_MAX and self._flushed(timeout_s)

    def close(self, timeout_s: float = CLOSE_S) -> bool:
        """Write what is queued, say that the end is a clean one, and stop. Whether all is on the disk."""
        if self._stopping.is_set():
            return False
        self._queue.put(_Closed())
        done = self._flushed(timeout_s)
        self._stopping.set()
        self._wake.set()
        self._queue.put(_Mark())
        self._thread.join(timeout_s)
        if not self._thread.is_alive():  # else it hangs in the disk and keeps its file and the lock
            self._chain.close()
        return done

    def _flushed(self, timeout_s: float) -> bool:
        mark = _Mark()
        self._queue.put(mark)
        self._wake.set()
        return self._thread.is_alive() and mark.wait(timeout_s)

    # --- the writer thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            idle = self._collect()
            try:
                self._put_down(idle)
            except OSError as error:
                self._refused(error)
            if self._stopping.is_set():
                return

    def _collect(self) -> bool:
        """Fill `_held` from the queue; whether nothing came for as long as an fsync may wait."""
        wait_s = self._patience_s()
        if self._failing.is_set():
            self._wake.wait(self._retry_s)
            self._wake.clear()
            wait_s = 0.0
        waited = False
        while len(self._held) < BATCH_MAX:
            try:
                self._held.append(self._queue.get(timeout=wait_s) if wait_s > 0 else self._queue.get_nowait())
            except queue.Empty:
                return waited or wait_s > 0
            wait_s = 0.0
        return waited

    def _patience_s(self) -> float:
        if self._held or self._opening:
            return 0.0
        if self._sync_due_mono_s is None:
            return IDLE_S
        return max(0.0, self._sync_due_mono_s - self._clock.now().mono_s)

    def _put_down(self, idle: bool) -> None:
        """Write what is held, and sync when it is time. Raises OSError."""
        now = self._clock.now()
        day = datetime.fromtimestamp(now.utc_s, UTC).date()
        self._tidy(day)
        lost = self.lost
        bodies = self._bodies(now, day, lost)
        if bodies:
            self._chain.write(bodies, day)
            self._told += lost
            if self._sync_due_mono_s is None:
                self._sync_due_mono_s = now.mono_s + SYNC_AFTER_S
        self._unsynced += self._held
        self._held.clear()
        if self._must_sync(idle, now):
            self._synced()

    def _must_sync(self, idle: bool, now: Moment) -> bool:
        due = self._sync_due_mono_s is not None and now.mono_s >= self._sync_due_mono_s
        asked = any(isinstance(item, _Mark) for item in self._unsynced)
        return idle or due or asked or self._opening or self._failing.is_set() or len(self._unsynced) > UNSYNCED_MAX

    def _synced(self) -> None:
        self._chain.sync()
        self._told_synced = self._told
        self._opening = False
        self._sync_due_mono_s = None
        if self._failing.is_set():
            self._failing.clear()
            log.info("the journal can be written again")
        for item in self._unsynced:
            if isinstance(item, _Mark):
                item.set()
        self._unsynced.clear()

    def _refused(self, error: OSError) -> None:
        """The disk refuses: everything since the last sync is held again."""
        self._chain.roll_back()
        self._held[:0] = self._unsynced
        self._unsynced.clear()
        self._told = self._told_synced
        self._sync_due_mono_s = None
        if not self._failing.is_set():
            self._failing.set()
            log.error(
                "the journal cannot be written (%s): make room in %s; up to %d passages are kept meanwhile",
                error.strerror,
                self._folder,
                QUEUE_MAX,
            )

    def _bodies(self, now: Moment, day: date, lost: int) -> list[str]:
        """The unlinked lines of what is held; a record that cannot be one is dropped and counted."""
        bodies = []
        if self._opening:
            bodies.append(event_body("recovered", now.utc_s, torn_bytes=self.recovered_bytes))
        if lost:
            bodies.append(event_body("lost", now.utc_s, lost=lost))
        unwritable = []
        for item in self._held:
            if isinstance(item, _Closed):
                bodies.append(event_body("closed", now.utc_s))
            elif isinstance(item, PassageRecord):
                try:
                    bodies.append(passage_body(item, self._keys.key(day)))
                except (TypeError, ValueError, OverflowError, RecursionError) as error:
                    log.error("a passage cannot be written down: %s", type(error).__name__)  # its text may name values
                    unwritable.append(item)
        if unwritable:
            self._held = [item for item in self._held if not any(item is bad for bad in unwritable)]
            self._unwritable += len(unwritable)
        return bodies

    # --- what is too old -----------------------------------------------------------------------------------------

    def _tidy(self, day: date) -> None:
        """Once for each day and file: destroy what is older than `keep_days`, but never by a clock in doubt."""
        state = (day, self._chain.segment)
        if state == self._tidied or not self._clock.state.trusted:
            return
        self._tidied = state
        first_kept = day - timedelta(days=self._keep_days)
        try:
            # The keys first: should the rest fail, the link is gone already.
            self._keys.destroy_before(first_kept)
            for gone in self._chain.retire(first_kept, day):
                log.info("the journal of %s is destroyed (%s)", gone.day, gone.path.name)
            self._keys.destroy_before(min([day, *(each.day for each in segments(self._folder))]))
        except OSError as error:
            log.error("old journal files cannot be destroyed: %s; remove them from %s", error.strerror, self._folder)
