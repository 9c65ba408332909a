"""Passages that a lane agent hands over: each into the journal once, whatever comes twice, and nothing that is none."""

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gate.feed.finding import Freshness, Listed, Silence, Unanswered
from gate.feed.noted import note
from gate.feed.records import CredentialStatus
from gate.passage.record import STAGES, PassageRecord, letters
from gate.policy.question import Circumstances, Presented, Warmth
from gate.station.chain import link, passage_body, record_of
from gate.station.clock import Clock
from gate.station.handover import KNOWN_MAX, LINES_MAX, Handover, NotAPassageError, passages_of
from gate.station.journal import Journal, read_records
from tests.support.records import passage_record as record

ONE, OTHER = b"1" * 16, b"2" * 16  # sessions of an agent


def some(count: int, first: int = 0) -> list[PassageRecord]:
    """Passages of lane B1, told apart by their ids."""
    return [replace(record(), lane="B1", passage_id=letters(bytes([n] * 16))) for n in range(first, first + count)]


@contextlib.contextmanager
def station(folder: Path) -> Iterator[tuple[Handover, list[PassageRecord]]]:
    """A journal and what is counted, as long as a controller runs."""
    journal, counted = Journal(folder, 14, Clock("stepped-only")), []

    def write(one: PassageRecord) -> None:
        journal.append(one)
        counted.append(one)

    services: Any = SimpleNamespace(journal=journal, write=write)
    yield Handover(folder, services), counted
    journal.close()


def ids(folder: Path) -> list[str]:
    return [each.passage_id for each in read_records(folder)]


def test_what_comes_twice_counts_once(tmp_path: Path) -> None:
    """The same batch, an overlapping one, another session's, and after a restart of the controller."""

    async def story() -> None:
        with station(tmp_path) as (handover, counted):
            assert await handover.take("B1", ONE, [*some(3), *some(3)])
            assert await handover.take("B1", ONE, some(3))
            assert await handover.take("B1", ONE, some(3, first=2))
            assert await handover.take("B1", OTHER, some(5))
            assert len(counted) == 5
        with station(tmp_path) as (handover, counted):
            assert await handover.take("B1", OTHER, some(6))
            assert len(counted) == 1
        assert ids(tmp_path) == [one.passage_id for one in some(6)]

    asyncio.run(story())


def test_what_is_remembered_of_an_agent_that_goes_on_handing_over_is_bounded(tmp_path: Path) -> None:
    """Of ever new passages only those of the last batches are kept; these still count once when they come again."""

    async def story() -> None:
        many = [replace(each, passage_id=letters(n.to_bytes(16, "big"))) for n, each in enumerate(some(1) * 1200)]
        with station(tmp_path) as (handover, counted):
            for at in range(0, len(many), LINES_MAX):
                assert await handover.take("B1", ONE, many[at : at + LINES_MAX])
            assert len(handover._known["B1"].since) == KNOWN_MAX
            assert await handover.take("B1", ONE, many[-LINES_MAX:])
            assert len(counted) == len(many)
            assert await handover.take("B1", OTHER, many[:LINES_MAX])  # its file was lost: from the beginning again
            assert len(counted) == len(many)

    asyncio.run(story())


def test_nothing_is_acknowledged_that_is_not_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses: not taken, so the agent keeps it; taken when the disk is back, once."""

    async def story() -> None:
        with station(tmp_path) as (handover, counted):
            monkeypatch.setattr(Journal, "flush", lambda self, timeout_s: False)
            assert not await handover.take("B1", ONE, some(2))
            monkeypatch.undo()
            assert await handover.take("B1", ONE, some(2))
            assert len(counted) == 2
            monkeypatch.setattr(Journal, "full", property(lambda self: True))
            assert not await handover.take("B1", ONE, some(1, first=2))
            assert len(counted) == 2
            monkeypatch.undo()
        assert ids(tmp_path) == [one.passage_id for one in some(2)]

    asyncio.run(story())


def line(one: PassageRecord) -> bytes:
    return link(passage_body(one, bytes(32)), letters(bytes(32)))


def test_a_line_of_the_journal_is_the_passage_it_was() -> None:
    """To the microsecond; of the subject the day's mark alone travels."""
    (one,) = some(1)
    (back,) = passages_of([line(one)], "B1")
    assert back == record_of(line(one))
    assert replace(back, subject=b"", started_utc_s=0, decided_utc_s=None) == replace(
        one, subject=b"", started_utc_s=0, decided_utc_s=None
    )
    assert back.subject != one.subject or not one.subject


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [b"{}\n"],
        [b"not json\n"],
        [line(some(1)[0]).replace(b'"B1"', b'"A1"')],
        [line(some(1)[0]).replace(b'"event":"passage"', b'"event":"closed"')],
        [line(replace(some(1)[0], outcome="FLOWN"))],
        [line(replace(some(1)[0], reason="19900101"))],
        [line(replace(some(1)[0], stages_us={"release": "long"}))],  # type: ignore[dict-item]
        [line(replace(some(1)[0], passage_id="31010519900101"))],
        [line(some(1)[0])] * (LINES_MAX + 1),
        [line(replace(some(1)[0], rule_id="x" * 20_000))],
        [line(replace(some(1)[0], rule_id=7))],  # type: ignore[arg-type]
        [line(replace(some(1)[0], issuer="AKM\nSSM"))],
        [line(replace(some(1)[0], stages_us={"31010519900101": 1}))],
        [line(replace(some(1)[0], stages_us={"release": 1 << 80}))],
        [line(replace(some(1)[0], feed_sequence=-1))],
        [line(replace(some(1)[0], conditions=({},)))],  # type: ignore[arg-type]
        [line(replace(some(1)[0], conditions=("C",) * 65))],
        [line(replace(some(1)[0], circumstances={"presented": ["CARD"]}))],  # type: ignore[dict-item]
        [line(some(1)[0]).replace(b'"FEED_AGED(SSM)"', b"[" * 600 + b"]" * 600)],
        [line(some(1)[0]).replace(b'"FEED_AGED(SSM)"', b"[" * 6000 + b"]" * 6000)],
        [line(some(1)[0]).replace(b'"started_time":"2026', b'"started_time":"1026')],
        [line(some(1)[0]).replace(b'"started_time":"2026', b'"started_time":"0001')],
        [line(some(1)[0]).replace(b'"feed_sequence":7', b'"feed_sequence":NaN')],
        [line(replace(some(1)[0], decided_utc_s=None)).replace(b'"decided_utc_s":null', b'"decided_utc_s":1e30')],
        [line(some(1)[0]).replace(b'"passage_id":"', b'"was":{"passage_id":"' + b"a" * 32 + b'"},"passage_id":"1990')],
    ],
)
def test_what_is_no_passage_of_the_lane_is_refused(bad: list[bytes]) -> None:
    """Another lane's, another event, values outside the closed lists, too many, too long: named, never quoted."""
    with pytest.raises(NotAPassageError) as caught:
        passages_of(bad, "B1")
    assert "1990" not in str(caught.value)


@pytest.mark.parametrize("presented", Presented)
def test_whatever_a_lane_takes_its_record_is_handed_over(presented: Presented) -> None:
    """One kind that is refused would keep back all that this lane's agent decided after it."""
    circumstances = Circumstances(presented, "AKM", temperature=Warmth.HIGH, card_scheme="shanghai-transit")
    told = Listed("AKM", CredentialStatus.RED, "310000", 1_780_000_000, None, 7, Freshness(1_780_000_000.5, "310100"))
    (one,) = some(1)
    one = replace(
        one,
        credential=str(presented),
        findings=tuple(map(note, (told, Unanswered("SSM", Silence.LATE)))),
        circumstances=circumstances.noted(),
        stages_us=dict.fromkeys(STAGES, 1),
        spoken=("common/card-not-known REFER CARD_NOT_KNOWN",),
    )
    assert passages_of([line(one)], "B1") == [record_of(line(one))]
