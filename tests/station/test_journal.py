"""The journal: chain, restarts, power loss, a disk that refuses, and the end of what is too old."""

import json
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from gate.passage.record import letters
from gate.station import chainwriter, journal
from gate.station.chain import GENESIS, line_hash, subject_mark
from gate.station.clock import Clock
from gate.station.journal import Journal, read_lines, read_records, verify_chain
from tests.support.records import STARTED_UTC_S, passage_record

DAY_S = 86_400.0
LIMIT_S = 10.0  # how long a test waits for a condition before it fails


class Days:
    """A clock whose date is set by hand; its monotonic side is the machine's."""

    def __init__(self, utc_s: float = STARTED_UTC_S) -> None:
        self.utc_s = utc_s
        self._begun_s = time.monotonic()
        self.clock = Clock("kernel", wall=self._wall, kernel_synchronised=lambda: True)

    def _wall(self) -> float:
        return self.utc_s + time.monotonic() - self._begun_s

    def step(self, seconds: float) -> None:
        self.utc_s += seconds
        self.clock.check()


@contextmanager
def opened(folder: Path, days: Days | None = None, keep_days: int = 14) -> Iterator[Journal]:
    made = Journal(folder, keep_days, (days or Days()).clock, retry_s=0.02)
    try:
        yield made
    finally:
        made.close()


def written(folder: Path, numbers: range, days: Days | None = None) -> None:
    with opened(folder, days) as made:
        for number in numbers:
            made.append(passage_record(number))
        assert made.flush(LIMIT_S)


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail after LIMIT_S."""
    ends_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < ends_s, "the condition never came true"
        time.sleep(0.005)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("journal-*.jsonl"))


def events(folder: Path) -> list[str]:
    return [line["event"] for line in read_lines(folder)]


# --- what a line is ----------------------------------------------------------------------------------------------


def test_records_come_back_as_they_were(tmp_path: Path) -> None:
    """A replay reads the very values that `decide` was given; only the subject has become the day's mark."""
    written(tmp_path, range(3))
    records = list(read_records(tmp_path))
    key = next((tmp_path / "keys").iterdir()).read_bytes()
    for number, record in enumerate(records):
        given = passage_record(number)
        assert letters(record.subject) == subject_mark(given.subject, key)
        assert record.findings == given.findings
        assert passage_record(number, subject=record.subject) == record


def test_each_line_cites_the_one_before(tmp_path: Path) -> None:
    """`prev` is the SHA-256 of the line before; the first line of all cites nothing."""
    written(tmp_path, range(3))
    (file,) = files(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    assert [json.loads(line)["prev"] for line in lines] == [GENESIS, *map(line_hash, lines[:-1])]


def test_no_line_holds_eight_digits_in_a_row_nor_the_subject(tmp_path: Path) -> None:
    """Hashes, instants and marks are written so that nothing can look like a part of an ID number."""
    written(tmp_path, range(200))
    text = files(tmp_path)[0].read_text()
    digits = "".join(character if character.isdigit() else " " for character in text).split()
    assert max(map(len, digits)) < 8
    assert passage_record(77).subject.hex() not in text
    assert letters(passage_record(77).subject) not in text.replace(passage_record(77).passage_id, "")


def test_the_same_subject_has_one_mark_a_day_and_another_tomorrow(tmp_path: Path) -> None:
    """Within a day a staff member can follow a subject; over days nobody can."""
    days = Days()
    with opened(tmp_path, days) as made:
        for step_s in (0.0, 0.0, DAY_S):
            days.step(step_s)
            made.append(passage_record(5))
            assert made.flush(LIMIT_S)
    first, second, tomorrow = (record.subject for record in read_records(tmp_path))
    assert first == second != tomorrow


def nested(depth: int) -> Any:
    return [nested(depth - 1)] if depth else "deep"


@pytest.mark.parametrize("bad", [b"\0", nested(600)], ids=["bytes", "nested"])
def test_a_record_that_json_cannot_hold_is_counted_and_harms_no_other(tmp_path: Path, bad: Any) -> None:
    """One bad record is lost by count; those around it are written, and the writer lives on."""
    with opened(tmp_path) as made:
        made.append(passage_record(1))
        made.append(passage_record(2, findings=({"bad": bad},)))
        made.append(passage_record(3))
        assert made.flush(LIMIT_S)
        made.append(passage_record(4))
        assert made.flush(LIMIT_S)
        assert not made.full
    assert [record.passage_id for record in read_records(tmp_path)] == [passage_record(n).passage_id for n in (1, 3, 4)]
    assert [line["lost"] for line in read_lines(tmp_path) if line["event"] == "lost"] == [1]


def test_files_and_keys_are_for_the_service_alone(tmp_path: Path) -> None:
    """Folder 0700, files and keys 0600."""
    folder = tmp_path / "journal"
    written(folder, range(1))
    assert [path.stat().st_mode & 0o777 for path in (folder, folder / "keys")] == [0o700, 0o700]
    assert {path.stat().st_mode & 0o777 for path in folder.rglob("*.*")} == {0o600}


# --- chain over files, days and restarts -------------------------------------------------------------------------


def test_the_chain_goes_on_over_restarts_sizes_and_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three controllers, two days and files of 4 kB make one unbroken chain with every record once."""
    monkeypatch.setattr(chainwriter, "SEGMENT_BYTES_MAX", 4_096)
    days = Days()
    for start in (0, 70, 140):
        written(tmp_path, range(start, start + 70), days)
        days.step(DAY_S)
    assert len(files(tmp_path)) > 6
    assert verify_chain(tmp_path) == []
    ids = [record.passage_id for record in read_records(tmp_path)]
    assert ids == [passage_record(number).passage_id for number in range(210)]
    assert "recovered" not in events(tmp_path)


def test_a_date_set_back_starts_a_later_file_and_keeps_the_order(tmp_path: Path) -> None:
    """When a wrong date is set right, lines go to a new file behind the others, and the chain is whole."""
    days = Days(STARTED_UTC_S + 400 * DAY_S)
    written(tmp_path, range(2), days)
    days.step(-400 * DAY_S)
    written(tmp_path, range(2, 4), days)
    assert verify_chain(tmp_path) == []
    assert [r.passage_id for r in read_records(tmp_path)] == [passage_record(n).passage_id for n in range(4)]


def test_two_controllers_cannot_write_one_journal(tmp_path: Path) -> None:
    """The second is refused with a sentence, and may begin once the first has ended."""
    with opened(tmp_path), pytest.raises(OSError, match="another controller writes this journal"):
        Journal(tmp_path, 14, Days().clock)
    written(tmp_path, range(1))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [lines[0], lines[1].replace(b"GRANT", b"DENY"), *lines[2:]], ":3: does not follow"),
        (lambda lines: [lines[0], *lines[2:]], ":2: does not follow"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], ":2: does not follow"),
        (lambda lines: [lines[0], b"noise\n", *lines[2:]], ":2: is not a whole journal line"),
        (lambda lines: [*lines, lines[-1][:40]], "is not a whole journal line"),
    ],
    ids=["altered", "removed", "swapped", "noise", "torn"],
)
def test_tampering_is_found(tmp_path: Path, change: Callable[[list[bytes]], list[bytes]], problem: str) -> None:
    """A line altered, removed, moved, made unreadable or torn is reported with file and line."""
    written(tmp_path, range(5))
    (file,) = files(tmp_path)
    assert verify_chain(tmp_path) == []
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))
    assert any(problem in each and each.startswith(file.name) for each in verify_chain(tmp_path))


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    """A file taken out of the middle breaks the chain."""
    days = Days()
    for number in range(3):
        written(tmp_path, range(number, number + 1), days)
        days.step(DAY_S)
    files(tmp_path)[1].unlink()
    assert verify_chain(tmp_path) == [f"{files(tmp_path)[1].name}:1: does not follow the line before"]


# --- power loss --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", range(1, 400, 57))
def test_a_torn_last_line_is_cut_off_and_said(tmp_path: Path, cut: int) -> None:
    """Wherever power loss tears the last line, the next start cuts it off, says so, and the chain goes on."""
    written(tmp_path, range(3))
    (file,) = files(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)[:3]  # power was lost: no "closed" line
    file.write_bytes(b"".join(lines[:2]) + lines[2][:cut])
    with opened(tmp_path) as made:
        assert made.recovered_bytes == cut
        made.append(passage_record(9))
        assert made.flush(LIMIT_S)
    assert verify_chain(tmp_path) == []
    assert events(tmp_path) == ["passage", "passage", "recovered", "passage", "closed"]
    assert [line["torn_bytes"] for line in read_lines(tmp_path) if line["event"] == "recovered"] == [cut]


def test_a_hole_of_zeros_is_cut_off_with_what_follows(tmp_path: Path) -> None:
    """Blocks that never reached the disk read as zeros; whole lines behind them belong to the lost second too."""
    written(tmp_path, range(6))
    (file,) = files(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    hole = bytes(len(lines[2]) + 50) + lines[3][50:]
    file.write_bytes(b"".join(lines[:2]) + hole + lines[4])
    written(tmp_path, range(9, 10))
    assert verify_chain(tmp_path) == []
    assert events(tmp_path) == ["passage", "passage", "recovered", "passage", "closed"]


def test_an_end_without_closing_is_said_though_nothing_is_torn(tmp_path: Path) -> None:
    """After a killed controller whole lines may be missing: the next start says that the end was not clean."""
    written(tmp_path, range(2))
    (file,) = files(tmp_path)
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:2]))
    written(tmp_path, range(0))
    assert events(tmp_path) == ["passage", "passage", "recovered", "closed"]


@pytest.mark.parametrize("content", [b"", b"\0" * 4096, b'{"prev":'], ids=["empty", "zeros", "torn"])
def test_a_new_file_without_a_whole_line_continues_the_one_before(tmp_path: Path, content: bytes) -> None:
    """Power loss right after a rotation: the chain goes on from the last file that has a line."""
    written(tmp_path, range(2))
    (file,) = files(tmp_path)
    file.with_name("journal-000002-2026-05-28.jsonl").write_bytes(content)
    written(tmp_path, range(2, 3))
    assert verify_chain(tmp_path) == []
    assert len(list(read_records(tmp_path))) == 3


def test_a_torn_day_key_is_replaced(tmp_path: Path) -> None:
    """A key that power loss left empty costs the day's link, not the journal."""
    written(tmp_path, range(1))
    key = next((tmp_path / "keys").iterdir())
    key.write_bytes(b"")
    written(tmp_path, range(1, 2))
    assert len(key.read_bytes()) == 32
    assert len(list(read_records(tmp_path))) == 2


# --- a disk that refuses -----------------------------------------------------------------------------------------


class Disk:
    """Makes os.write and os.fsync of the chain's writer refuse while it is full; half a line still goes through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self.refusals = 0
        self.refuses_sync = False
        self.hangs = threading.Event()
        self.hangs.set()
        write, fsync = os.write, os.fsync

        def limited(fd: int, data: memoryview) -> int:
            assert self.hangs.wait(LIMIT_S)
            if not self.full:
                return write(fd, data)
            if len(data) < 100:
                self.refusals += 1
                raise OSError(28, "No space left on device")
            return write(fd, data[: len(data) - 60])

        def sync(fd: int) -> None:
            if self.refuses_sync:
                raise OSError(5, "Input/output error")
            fsync(fd)

        monkeypatch.setattr(chainwriter.os, "write", limited)
        monkeypatch.setattr(chainwriter.os, "fsync", sync)


def test_a_full_disk_degrades_loses_nothing_it_can_keep_and_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JOURNAL_FULL while the disk refuses; afterwards every record is there once and the chain is whole."""
    disk = Disk(monkeypatch)
    with opened(tmp_path) as made:
        made.append(passage_record(0))
        assert made.flush(LIMIT_S)
        assert made.degraded == frozenset()
        disk.full = True
        for number in range(1, 300):
            made.append(passage_record(number))
        wait_for(lambda: made.degraded == {"JOURNAL_FULL"})
        assert not made.flush(0.1)
        disk.full = False
        wait_for(lambda: not made.full)
        assert made.flush(LIMIT_S)
    assert verify_chain(tmp_path) == []
    assert [r.passage_id for r in read_records(tmp_path)] == [passage_record(n).passage_id for n in range(300)]


def test_what_cannot_be_kept_is_counted_and_one_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bounded number is kept; the rest is dropped, and exactly one line tells how many, however long it lasted."""
    monkeypatch.setattr(journal, "QUEUE_MAX", 100)
    disk = Disk(monkeypatch)
    disk.full = True
    with opened(tmp_path) as made:
        for number in range(1_000):
            made.append(passage_record(number))
        lost, refusals = made.lost, disk.refusals
        wait_for(lambda: disk.refusals > refusals + 3)
        assert 1_000 - 100 - journal.BATCH_MAX <= lost <= 900
        disk.full = False
        wait_for(lambda: not made.full)
        assert made.flush(LIMIT_S)
    assert verify_chain(tmp_path) == []
    assert [line["lost"] for line in read_lines(tmp_path) if line["event"] == "lost"] == [lost]
    assert len(list(read_records(tmp_path))) == 1_000 - lost


def test_a_failed_fsync_writes_the_second_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync the kernel may have dropped the pages: the lines since the last are written anew, once."""
    disk = Disk(monkeypatch)
    with opened(tmp_path) as made:
        made.append(passage_record(0))
        assert made.flush(LIMIT_S)
        disk.refuses_sync = True
        made.append(passage_record(1))
        assert not made.flush(0.2)
        assert made.full
        disk.refuses_sync = False
        wait_for(lambda: not made.full)
    assert verify_chain(tmp_path) == []
    assert [r.passage_id for r in read_records(tmp_path)] == [passage_record(n).passage_id for n in range(2)]


def test_appending_never_waits_for_a_hanging_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a write hangs, records are taken up to the bound and then counted; the lane is never held up."""
    monkeypatch.setattr(journal, "QUEUE_MAX", 50)
    disk = Disk(monkeypatch)
    disk.hangs.clear()
    with opened(tmp_path) as made:
        for number in range(500):
            made.append(passage_record(number))
        assert made.lost >= 500 - 50 - journal.BATCH_MAX
        assert made.degraded == {"JOURNAL_FULL"}
        disk.hangs.set()
        wait_for(lambda: not made.full)
    assert verify_chain(tmp_path) == []


def test_a_file_removed_under_the_writer_is_not_refilled_with_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the file vanishes during an outage, writing goes on in an empty one and every line is readable."""
    disk = Disk(monkeypatch)
    with opened(tmp_path) as made:
        made.append(passage_record(0))
        assert made.flush(LIMIT_S)
        disk.full = True
        made.append(passage_record(1))
        wait_for(lambda: made.full)
        files(tmp_path)[0].unlink()
        disk.full = False
        wait_for(lambda: not made.full)
    assert [record.passage_id for record in read_records(tmp_path)] == [passage_record(1).passage_id]


def test_closing_during_an_outage_ends_in_time_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`close` reports that not all is on the disk, frees the folder, and the next start knows the end was not clean."""
    disk = Disk(monkeypatch)
    made = Journal(tmp_path, 14, Days().clock, retry_s=0.02)
    made.append(passage_record(0))
    assert made.flush(LIMIT_S)
    disk.full = True
    made.append(passage_record(1))
    assert not made.close(0.2)
    disk.full = False
    written(tmp_path, range(2, 3))
    assert verify_chain(tmp_path) == []
    assert events(tmp_path)[-3:] == ["recovered", "passage", "closed"]


def test_records_are_on_disk_without_being_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """fsync follows by itself: nobody has to flush."""
    synced: queue.SimpleQueue[int] = queue.SimpleQueue()
    fsync = os.fsync
    with opened(tmp_path) as made:
        made.append(passage_record(0))
        assert made.flush(LIMIT_S)
        monkeypatch.setattr(chainwriter.os, "fsync", lambda fd: (fsync(fd), synced.put(fd)))
        made.append(passage_record(1))
        synced.get(timeout=LIMIT_S)
    assert len(list(read_records(tmp_path))) == 2


# --- the end of what is too old ----------------------------------------------------------------------------------


def test_old_days_are_destroyed_with_their_keys(tmp_path: Path) -> None:
    """After `keep_days` a day's file and key are gone, younger ones stay, and the chain that is left is whole."""
    days = Days()
    for number in range(6):
        with opened(tmp_path, days, keep_days=2) as made:
            made.append(passage_record(number))
            assert made.flush(LIMIT_S)
        days.step(DAY_S)
    today = datetime.fromtimestamp(days.utc_s - DAY_S, UTC).date()
    kept = [date.fromordinal(today.toordinal() - ago).isoformat() for ago in (2, 1, 0)]
    assert [file.name[15:25] for file in files(tmp_path)] == kept
    assert sorted(key.stem for key in (tmp_path / "keys").iterdir()) == kept
    assert verify_chain(tmp_path) == []


def test_a_start_after_weeks_destroys_the_last_file_too(tmp_path: Path) -> None:
    """Even the file that would be continued is destroyed when it is too old; new lines still continue its chain."""
    days = Days()
    written(tmp_path, range(1), days)
    last = line_hash(files(tmp_path)[0].read_bytes().splitlines(keepends=True)[-1])
    days.step(100 * DAY_S)
    written(tmp_path, range(1, 2), days)
    assert len(files(tmp_path)) == len(list((tmp_path / "keys").iterdir())) == 1
    assert next(iter(read_lines(tmp_path)))["prev"] == last


def test_a_doubtful_clock_destroys_nothing(tmp_path: Path) -> None:
    """While the clock is untrusted, old files stay: a wrong date must not cost the evidence."""
    days = Days()
    written(tmp_path, range(1), days)
    utc_s = STARTED_UTC_S + 100 * DAY_S
    doubtful = Clock("kernel", wall=lambda: utc_s, kernel_synchronised=lambda: False)
    made = Journal(tmp_path, 14, doubtful)
    made.append(passage_record(1))
    assert made.flush(LIMIT_S)
    assert made.close()
    assert len(list(read_records(tmp_path))) == 2


def test_all_files_together_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the total the oldest files go, keys of days without files with them, whatever keep_days says."""
    monkeypatch.setattr(chainwriter, "SEGMENT_BYTES_MAX", 4_096)
    monkeypatch.setattr(chainwriter, "TOTAL_BYTES_MAX", 20_000)
    days = Days()
    for start in range(0, 100, 25):
        with opened(tmp_path, days) as made:
            for number in range(start, start + 25):
                made.append(passage_record(number))
                assert made.flush(LIMIT_S)
        days.step(DAY_S)
    assert len(files(tmp_path)) > 2
    assert sum(file.stat().st_size for file in files(tmp_path)) <= 20_000 + 4_096 + 2_000
    assert {file.name[15:25] for file in files(tmp_path)} >= {key.stem for key in (tmp_path / "keys").iterdir()}
    assert verify_chain(tmp_path) == []
    assert list(read_records(tmp_path))[-1].passage_id == passage_record(99).passage_id


def test_destroying_a_day_key_ends_the_link_and_leaves_the_chain(tmp_path: Path) -> None:
    """Without the key nobody can say which lines a known subject has; the chain is as whole as before."""
    written(tmp_path, range(3))
    key_file = next((tmp_path / "keys").iterdir())
    mark = subject_mark(passage_record(1).subject, key_file.read_bytes())
    assert [line["subject"] == mark for line in read_lines(tmp_path) if line["event"] == "passage"] == [
        False,
        True,
        False,
    ]
    key_file.unlink()
    written(tmp_path, range(1, 2))
    again = [line["subject"] for line in read_lines(tmp_path) if line["event"] == "passage"][-1]
    assert again != mark
    assert verify_chain(tmp_path) == []
