"""A lane at work when something of ours fails, and what is timed of whom; on a whole station's simulated devices."""

import asyncio
import logging
from pathlib import Path

import pytest

from tests.support.house import house


def test_a_look_up_that_fails_costs_one_attempt_and_not_the_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours ends as LOOKUP_LATE within the lane's limit, quoting nobody; the next person passes."""

    async def story() -> None:
        async with house(tmp_path) as h:

            def broken(*_: object) -> None:
                raise KeyError(h.people["green"].number)

            with monkeypatch.context() as patch:
                patch.setattr(h.station._lookup, "find", broken)
                record = await h.stays(0, h.tap(h.people["green"]))
            assert (record.verdict, record.reason, record.outcome) == ("REFER", "LOOKUP_LATE", "NOT_RELEASED")
            await h.tap(h.people["second"])
            assert (await h.walks()).outcome == "PASSED"

    asyncio.run(story())
    assert "FindStatus failed: KeyError" in caplog.text
    assert not any("19900101" in line.getMessage() for line in caplog.records if line.levelno > logging.DEBUG)


@pytest.mark.requirement("R14")
def test_only_who_waited_for_no_person_is_timed(tmp_path: Path) -> None:
    """A stranger asked for a code, and sent off by the next card, adds no decision; the next one adds its own."""

    async def story() -> None:
        async with house(tmp_path) as h:
            await h.tap(h.people["stranger"])
            await h.until(lambda: h.station.lane("A1").front == "PAIRING")
            await h.tap(h.people["red"])
            await h.record(verdict="DENY")
            count = "gate_decision_duration_seconds_count"
            assert h.metric(count, lane="A1", verdict="DENY") == 1
            assert not h.metric(count, lane="A1", verdict="REFER")

    asyncio.run(story())
