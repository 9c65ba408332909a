"""What of a lane's own journal is still to be handed over."""

from dataclasses import replace
from datetime import date
from pathlib import Path

from gate.agent.backlog import Backlog
from gate.passage.record import letters
from gate.station.chain import event_body, passage_body
from gate.station.chainwriter import ChainWriter
from gate.station.handover import LINES_MAX, passages_of
from tests.support.records import passage_record


def write(folder: Path, count: int, day: date = date(2020, 3, 1)) -> None:
    chain = ChainWriter(folder)
    chain.write([passage_body(replace(passage_record(n), lane="B1"), bytes(32)) for n in range(count)], day)
    chain.write([event_body("closed", 0.0)], day)
    chain.sync()
    chain.close()


def test_all_is_given_in_order_in_bounded_pieces_over_files_and_restarts(tmp_path: Path) -> None:
    """Three files, a restart after each piece: every passage once, then nothing; what was not taken is given again."""
    journal, place = tmp_path / "journal", tmp_path / "place.json"
    for day in (1, 2, 3):
        write(journal, LINES_MAX - 5, date(2020, 3, day))
    given: list[bytes] = []
    while lines := Backlog(journal, place).next():
        assert len(lines) <= LINES_MAX
        again = Backlog(journal, place)
        assert again.next() == lines
        again.done()
        given += lines
    assert len(given) == 3 * (LINES_MAX - 5)
    assert [one.passage_id for one in passages_of(given[:LINES_MAX], "B1")][:2] == [
        letters(bytes(16)),
        letters(bytes(15) + b"\1"),
    ]


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    """The torn end of a file is given when it is whole."""
    journal = tmp_path / "journal"
    write(journal, 2)
    (file,) = journal.glob("*.jsonl")
    whole = file.read_bytes()
    end = whole.index(b"\n") + 20
    file.write_bytes(whole[:end])
    backlog = Backlog(journal, tmp_path / "place.json")
    assert len(backlog.next()) == 1
    backlog.done()
    assert backlog.next() == []
    file.write_bytes(whole)
    assert len(backlog.next()) == 1


def test_a_file_that_a_power_loss_made_shorter_is_given_from_its_beginning(tmp_path: Path) -> None:
    """Its end was handed over and then lost here; what is written in its place is not skipped."""
    journal, place = tmp_path / "journal", tmp_path / "place.json"
    write(journal, 4)
    backlog = Backlog(journal, place)
    assert len(backlog.next()) == 4
    backlog.done()
    (file,) = journal.glob("*.jsonl")
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:2]))
    again = Backlog(journal, place)
    assert again.next() == lines[:2]
    again.done()
    file.write_bytes(b"".join(lines[:3]))
    assert again.next() == lines[2:3]


def test_no_more_is_given_than_is_asked_for(tmp_path: Path) -> None:
    """What was written after the disk was asked may still be lost: it waits for the next time."""
    write(tmp_path / "journal", 4)
    backlog = Backlog(tmp_path / "journal", tmp_path / "place.json")
    first = backlog.next(3)
    backlog.done()
    assert (len(first), len(backlog.next())) == (3, 1)


def test_a_place_that_cannot_be_read_gives_all_again(tmp_path: Path) -> None:
    """The controller knows what it has: nothing is lost, and nothing counted twice there."""
    write(tmp_path / "journal", 3)
    place = tmp_path / "place.json"
    place.write_text("{")
    assert len(Backlog(tmp_path / "journal", place).next()) == 3
