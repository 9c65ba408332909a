"""The journal on a disk that is really full: the kernel's own refusals, not ours."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gate.station.clock import Clock
from gate.station.journal import Journal, read_lines, read_records, verify_chain
from tests.support.records import passage_record

LIMIT_S = 10.0

# A file-size limit is a disk that ends in the middle of a line (EFBIG), and needs no privilege.
_LIMITED_CHILD = """
import resource, sys, time
from pathlib import Path
from gate.station.clock import Clock
from gate.station.journal import Journal
from tests.support.records import passage_record

def wait_for(condition):
    ends_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends_s
        time.sleep(0.005)

_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
made = Journal(Path(sys.argv[1]), 14, Clock("stepped-only"), retry_s=0.02)
for number in range(100):
    made.append(passage_record(number))
wait_for(lambda: made.full)
assert made.degraded == {"JOURNAL_FULL"} and not made.flush(0.05)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
wait_for(lambda: not made.full)
assert made.close()
"""


def wait_for(condition: Callable[[], bool]) -> None:
    """Return once `condition` holds; fail after LIMIT_S."""
    ends_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < ends_s, "the condition never came true"
        time.sleep(0.005)


def test_a_limit_of_the_kernel_degrades_and_recovers(tmp_path: Path) -> None:
    """The kernel lets half a line through and refuses the rest: all 100 records are there once room is given."""
    child = subprocess.run(
        [sys.executable, "-c", _LIMITED_CHILD, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert child.returncode == 0, child.stderr
    assert verify_chain(tmp_path) == []
    assert [r.passage_id for r in read_records(tmp_path)] == [passage_record(n).passage_id for n in range(100)]
    assert "lost" not in [line["event"] for line in read_lines(tmp_path)]


@contextmanager
def _disk_of_one_megabyte(folder: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        assert not os.environ.get("CI"), "CI must run this as root"
        pytest.skip("mounting a tmpfs of 1 MB needs root")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "gate-test", str(folder)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        assert not os.environ.get("CI"), f"CI must allow mounting: {mounted.stderr}"
        pytest.skip(f"this machine forbids mounting: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(512))


@pytest.mark.root
def test_a_full_disk_degrades_and_recovers_when_there_is_room(tmp_path: Path) -> None:
    """ENOSPC: JOURNAL_FULL; when something else on the disk is removed, all comes through and nothing is lost."""
    with _disk_of_one_megabyte(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(bytes(900_000))
        made = Journal(disk / "journal", 14, Clock("stepped-only"), retry_s=0.02)
        for number in range(400):
            made.append(passage_record(number))
        wait_for(lambda: made.full)
        assert made.degraded == {"JOURNAL_FULL"}
        ballast.unlink()
        wait_for(lambda: not made.full)
        assert made.close()
        assert verify_chain(disk / "journal") == []
        ids = [record.passage_id for record in read_records(disk / "journal")]
        assert ids == [passage_record(number).passage_id for number in range(400)]


@pytest.mark.root
def test_a_disk_full_at_start_is_degraded_not_a_crash(tmp_path: Path) -> None:
    """A controller restarted on a full disk starts, says JOURNAL_FULL at the first record, and recovers."""
    with _disk_of_one_megabyte(tmp_path / "disk") as disk:
        with_records = Journal(disk / "journal", 14, Clock("stepped-only"))
        with_records.append(passage_record(0))
        assert with_records.close()
        ballast = disk / "ballast"
        _fill(ballast)
        made = Journal(disk / "journal", 14, Clock("stepped-only"), retry_s=0.02)
        for number in range(1, 50):
            made.append(passage_record(number))
        wait_for(lambda: made.full)
        ballast.unlink()
        wait_for(lambda: not made.full)
        assert made.close()
        assert verify_chain(disk / "journal") == []
        assert len(list(read_records(disk / "journal"))) == 50


_KILLED_CHILD = """
import itertools, sys
from pathlib import Path
from gate.station.clock import Clock
from gate.station.journal import Journal
from tests.support.records import passage_record

made = Journal(Path(sys.argv[1]), 14, Clock("stepped-only"))
for number in itertools.count():
    made.append(passage_record(number))
    if number % 20 == 19:
        assert made.flush(10)
        print(number, flush=True)
"""


def test_a_killed_controller_leaves_a_whole_chain_and_all_that_was_synced(tmp_path: Path) -> None:
    """Killed three times while writing: what was reported as synced is there, and each start says so."""
    synced = 0
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", _KILLED_CHILD, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        ) as child:
            assert child.stdout
            for _ in range(5):
                last = int(child.stdout.readline())
            child.kill()
            synced += last + 1
    assert Journal(tmp_path, 14, Clock("stepped-only")).close()
    assert verify_chain(tmp_path) == []
    assert len(list(read_records(tmp_path))) >= synced
    assert [line["event"] for line in read_lines(tmp_path)].count("recovered") == 3
