"""A clock that jumps and feeds that change while people pass."""

import asyncio
import time
from pathlib import Path

import pytest

from gate.feed.records import CredentialStatus
from gate.sim.world import publish_feeds
from gate.station import station as station_module
from gate.station.clock import Clock
from tests.support.house import house, people, person


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
def test_a_stepped_clock_is_said_and_changes_no_age(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step_s: float
) -> None:
    """An hour forwards or backwards: CLOCK_UNTRUSTED, no passage lost, no freshness miscounted; and back again."""
    wall = {"step": 0.0}
    monkeypatch.setattr(station_module, "Clock", lambda trust: Clock(trust, wall=lambda: time.time() + wall["step"]))

    async def story() -> None:
        async with house(tmp_path) as h:
            before_s = h.station.clock.now().utc_s
            wall["step"] = step_s
            await h.until(lambda: "CLOCK_UNTRUSTED" in h.station.lane("A1").degraded)
            assert abs(h.station.clock.now().utc_s - before_s) < 60
            ages = [(feed.band, feed.age_s) for feed in h.station.feeds()]
            assert all(band == "AGED" and 0 <= age_s < 60 for band, age_s in ages), (
                "in doubt nothing is fresh, or miscounted"
            )
            h.lanes[0].reader.present(h.people["green"].card())
            assert await h.lanes[0].board.wait_release(5.0)
            await h.lanes[0].board.pass_through()
            record = await h.record(outcome="PASSED")
            assert record.conditions == ("CLOCK_UNTRUSTED",)
            wall["step"] = 0.0
            await h.until(lambda: "CLOCK_UNTRUSTED" not in h.station.lane("A1").degraded)
            assert all(feed.band == "FRESH" for feed in h.station.feeds())

    asyncio.run(story())


def test_a_new_snapshot_counts_at_once_and_an_old_one_never(tmp_path: Path) -> None:
    """Green turns red with the next sequence; the file of before is refused by name and changes nothing."""

    async def story() -> None:
        async with house(tmp_path) as h:
            green = h.people["green"]
            old = tmp_path / "feeds" / "ssm" / "ssm-1.snapshot"
            again = old.read_bytes()
            red = [person(green.number, CredentialStatus.RED)]
            publish_feeds(tmp_path / "feeds", red, sequence=2, only="SSM")
            await h.until(lambda: h.station.feeds()[0].sequence == 2)
            (old.parent / "ssm-9-copy-of-old.snapshot").write_bytes(again)
            await h.until(lambda: "OLDER" in h.station.feeds()[0].last_refusal)
            assert h.station.feeds()[0].sequence == 2
            h.lanes[0].reader.present(green.card())
            record = await h.record(outcome="NOT_RELEASED")
            assert record.reason == "STATUS_RED"

    asyncio.run(story())


def test_people_of_the_tests_are_made_up_and_differ() -> None:
    """Five people, five numbers."""
    assert len({one.number for one in people().values()}) == 5
