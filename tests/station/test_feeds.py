"""What feeds do to a running station: deltas, gaps and mass changes reach lanes, metrics and operators."""

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gate.credential.documents import DocumentType, document
from gate.credential.subject import subject_key
from gate.feed.partitions import Default, Partition
from gate.feed.records import CredentialStatus, StatusEntry
from gate.sync.keyring import load_peppers
from tests.support.house import House, house
from tests.support.region import GREEN, NOW_S, RED, YELLOW, Region, entry, people
from tests.support.rules import rules_with_agreement

REGION = "340100"


class _City:
    """A region whose feed lists the house's people, wired into its station."""

    def __init__(self, folder: Path) -> None:
        self.region = Region(folder / "city", "CITY")
        self._pepper = load_peppers(self.region.pepper_file, "CITY")[self.region.pepper_id]

    def key(self, number: str) -> bytes:
        return subject_key(self._pepper, document(DocumentType.RESIDENT_ID, number))

    def toml(self) -> str:
        region = self.region
        return f"""
[[feed]]
issuer = "CITY"
source = "dir:{region.outbox}"
public_keys_file = "{region.keys_file}"
pepper_file = "{region.pepper_file}"
"""


@asynccontextmanager
async def _with_city(folder: Path, city: _City) -> AsyncIterator[House]:
    policy = f'[policy]\nrules_dir = "{rules_with_agreement(folder / "rules", "CITY")}"\n'

    def with_city(text: str) -> str:
        return text.replace("\n[[lane]]", policy + city.toml() + "\n[[lane]]", 1)

    async with house(folder, lanes=2, change=with_city) as built:
        yield built


def _feed(h: House) -> dict[str, object]:
    return dataclasses.asdict(next(feed for feed in h.station.feeds() if feed.issuer == "CITY"))


def _metric(h: House, name: str) -> float:
    value = h.station.metrics.registry.get_sample_value(name, {"issuer": "CITY"})
    assert value is not None, name
    return value


def _others() -> dict[bytes, StatusEntry]:
    return people(range(40))


def test_a_delta_is_decisive_and_seen_by_operators_and_metrics(tmp_path: Path) -> None:
    """Enrolled and green by a snapshot, red by the next delta: the gate refuses, feed state and metrics have moved."""
    city = _City(tmp_path)

    async def story() -> None:
        async with _with_city(tmp_path, city) as h:
            stranger = h.people["stranger"]
            key = city.key(stranger.number)
            before = _others() | {key: entry(key)}
            city.region.publish(1, before)
            await h.until(lambda: _feed(h)["sequence"] == 1)
            h.lanes[0].reader.present(stranger.card())
            assert await h.lanes[0].board.wait_release(5.0)
            await h.lanes[0].board.pass_through()
            passed = await h.record(outcome="PASSED")
            assert (passed.issuer, passed.finding, passed.feed_sequence) == ("CITY", "ENROLLED", 1)
            city.region.delta(1, 2, before | {key: entry(key, RED)})
            await h.until(lambda: _feed(h)["sequence"] == 2)
            assert (_feed(h)["changes_over_snapshot"], _feed(h)["exact_count"]) == (1, 1)
            assert _metric(h, "gate_feed_sequence") == 2
            assert _metric(h, "gate_feed_age_seconds") == pytest.approx(time.time() - NOW_S, abs=5)
            h.lanes[1].reader.present(stranger.card())
            refused = await h.record(outcome="NOT_RELEASED")
            assert (refused.reason, refused.finding, refused.feed_sequence) == ("STATUS_RED", "LISTED", 2)

    asyncio.run(story())


def test_a_gap_is_counted_and_ends_with_the_missing_delta(tmp_path: Path) -> None:
    """The third state without the second waits, is named, and is taken as soon as the second is there."""
    city = _City(tmp_path)

    async def story() -> None:
        async with _with_city(tmp_path, city) as h:
            first, second, third = (people(range(40 + n)) for n in range(3))
            city.region.publish(1, first)
            await h.until(lambda: _feed(h)["sequence"] == 1)
            missing = city.region.delta(1, 2, second)
            kept = missing.rename(tmp_path / missing.name)
            city.region.delta(2, 3, third)
            await h.until(
                lambda: h.station.metrics.registry.get_sample_value("gate_feed_gaps_total", {"issuer": "CITY"}) == 1
            )
            assert _feed(h)["sequence"] == 1, "the last good state stays in service"
            kept.rename(missing)
            await h.until(lambda: _feed(h)["sequence"] == 3)

    asyncio.run(story())


def test_a_whole_city_changes_by_a_delta_of_no_people(tmp_path: Path) -> None:
    """Its default turns yellow: everybody enrolled there goes to staff, and a delta of bytes has said so."""
    city = _City(tmp_path)

    async def story() -> None:
        async with _with_city(tmp_path, city) as h:
            stranger = h.people["stranger"]
            key = city.key(stranger.number)
            everybody = _others() | {key: entry(key)}
            green = Default(0, GREEN)
            city.region.publish(1, everybody, partitions=[Partition(REGION, NOW_S, (green,))])
            await h.until(lambda: _feed(h)["sequence"] == 1)
            yellow = Partition(REGION, NOW_S, (green, Default(NOW_S - 1, YELLOW, 7)))
            change = city.region.delta(1, 2, everybody, partitions=[yellow])
            assert change.stat().st_size < 2048
            await h.until(lambda: _feed(h)["sequence"] == 2)
            (partition,) = h.station.feeds()[-1].partitions
            assert (partition.code, partition.default_status, partition.band) == (REGION, "YELLOW", "FRESH")
            h.lanes[0].reader.present(stranger.card())
            record = await h.record(outcome="NOT_RELEASED")
            assert (record.verdict, record.reason, record.finding) == ("REFER", "STATUS_YELLOW", "ENROLLED")
            assert record.credential_status == CredentialStatus.YELLOW

    asyncio.run(story())
