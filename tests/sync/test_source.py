"""A folder as a source: what is in it, once read; what changes, offered again."""

import asyncio
from pathlib import Path

import pytest

from gate.feed.envelope import Form
from gate.sync import source as source_module
from gate.sync.source import DirectorySource, Entry, Outcome, SourceError
from tests.support.region import RED, Region, people


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "akm")


def catalogue(source: DirectorySource) -> list[Entry]:
    return list(asyncio.run(_catalogue(source)))


async def _catalogue(source: DirectorySource) -> list[Entry]:
    return list(await source.catalogue())


def settle(source: DirectorySource, entry: Entry, outcome: Outcome) -> None:
    asyncio.run(source.settled(entry, outcome))


def test_a_folder_offers_what_its_headers_say(region: Region) -> None:
    """Snapshots and deltas by their sequences; other files, hidden files and folders are nobody's business."""
    region.publish(1, people(range(3)))
    region.publish(2, people(range(4)), follows=1)
    (region.outbox / "notes.txt").write_text("x")
    (region.outbox / ".akm-3.snapshot").write_bytes(b"half")
    source = DirectorySource(region.outbox)
    sizes = {path.name: path.stat().st_size for path in region.outbox.iterdir()}
    assert sorted(catalogue(source), key=lambda entry: entry.name) == [
        Entry("akm-1-2.delta", Form.DELTA, 2, 1, sizes["akm-1-2.delta"]),
        Entry("akm-1.snapshot", Form.SNAPSHOT, 1, 0, sizes["akm-1.snapshot"]),
        Entry("akm-2.snapshot", Form.SNAPSHOT, 2, 0, sizes["akm-2.snapshot"]),
    ]
    entry = catalogue(source)[0]
    assert asyncio.run(source.fetch(entry)) == region.outbox / entry.name


def test_a_name_is_no_form(region: Region) -> None:
    """What the header says counts: a delta under a snapshot's name is a delta."""
    change = region.publish(2, people(range(4)), follows=_first(region))[1]
    change.rename(region.outbox / "x.snapshot")
    (entry,) = [entry for entry in catalogue(DirectorySource(region.outbox)) if entry.name == "x.snapshot"]
    assert (entry.form, entry.from_sequence, entry.sequence) == (Form.DELTA, 1, 2)


def _first(region: Region) -> int:
    region.publish(1, people(range(3)))
    return 1


@pytest.mark.parametrize("raw", [b"", b"noise", b"GATEFED2", b"GATEFED2" + bytes(100)])
def test_what_is_no_feed_is_offered_to_be_refused_by_name(region: Region, raw: bytes) -> None:
    """Of no sequence; refused once, it stays away until it changes."""
    path = region.outbox / "x.snapshot"
    path.write_bytes(raw)
    source = DirectorySource(region.outbox)
    (entry,) = catalogue(source)
    assert (entry.name, entry.sequence) == ("x.snapshot", 0)
    settle(source, entry, Outcome.LATER)
    assert catalogue(source) == [entry]
    settle(source, entry, Outcome.REFUSED)
    assert catalogue(source) == []
    path.write_bytes(raw + b"!")
    assert [entry.name for entry in catalogue(source)] == ["x.snapshot"]


def test_a_mended_file_is_offered_again(region: Region) -> None:
    """Refused while it was being copied, taken when it is whole, though its name is the same."""
    path = region.snapshot(1, people(range(3)))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    source = DirectorySource(region.outbox)
    (entry,) = catalogue(source)
    settle(source, entry, Outcome.REFUSED)
    assert catalogue(source) == []
    path.write_bytes(whole)
    assert [entry.sequence for entry in catalogue(source)] == [1]


def test_a_missing_folder_is_named_and_comes_back(tmp_path: Path) -> None:
    """Path, why and what to do."""
    source = DirectorySource(tmp_path / "none")
    with pytest.raises(SourceError, match=r"none: No such file or directory: make the folder, or correct its path"):
        catalogue(source)
    (tmp_path / "none").mkdir()
    assert catalogue(source) == []


def test_a_file_that_goes_while_it_is_looked_at_is_not_there(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link to nothing stands for it: no error, no offer."""
    (region.outbox / "x.snapshot").symlink_to(region.outbox / "gone")
    assert catalogue(DirectorySource(region.outbox)) == []


def test_a_folder_of_thousands_is_bounded(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest are kept in sight."""
    monkeypatch.setattr(source_module, "ENTRIES_MAX", 3)
    for sequence in range(1, 8):
        region.snapshot(sequence, people(range(2), RED))
    assert [entry.sequence for entry in catalogue(DirectorySource(region.outbox))] == [5, 6, 7]


def test_the_first_look_is_at_once(region: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next within the second that a new file may wait."""
    source = DirectorySource(region.outbox)
    asyncio.run(asyncio.wait_for(source.changed(), 0.5))
    monkeypatch.setattr(source_module, "POLL_S", 0.01)
    asyncio.run(asyncio.wait_for(source.changed(), 5))
    asyncio.run(source.close())
