"""A passage at a far lane, and what becomes of it when the wire is cut at each of its stages: one true record."""

import asyncio
from pathlib import Path

import pytest

from tests.agent.far import FarHouse, far_house


def test_a_card_at_a_far_lane_passes_as_at_a_near_one(tmp_path: Path) -> None:
    """Read, decided, released, counted; the decision is timed until the far port took the release."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            h = far.house
            await h.tap(h.people["green"])
            record = await h.walks()
            assert (record.verdict, record.outcome) == ("GRANT", "PASSED")
            assert {"release", "passage"} <= set(record.stages_us)
            assert h.metric("gate_decision_duration_seconds_count", lane="A1", verdict="GRANT") == 1
            await h.stays(0, h.tap(h.people["red"]))
            await h.scan(b"no code of ours")
            assert (await h.record(reason="CODE_NOT_HEALTH")).outcome == "NOT_RELEASED"

    asyncio.run(story())


async def _released(far: FarHouse) -> None:
    h = far.house
    await h.tap(h.people["green"])
    assert await far.lanes[0].board.wait_release(5)
    await h.until(lambda: "release" in dict(h.station._lanes["A1"].core.barrier.current.attempt.stages_us))


def test_cut_before_the_release(tmp_path: Path) -> None:
    """The release never arrives in time: nobody is let through, not even when its bytes come late; one record."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            h, board = far.house, far.lanes[0].board
            far.wire.down.clear()
            await h.tap(h.people["green"])
            await h.until(lambda: h.station.lane("A1").barrier == "RELEASED")
            far.wire.up.clear()
            await far.cut_off()
            far.wire.mend()
            assert (await h.record(verdict="GRANT")).outcome == "BARRIER_FAULTED"
            await far.works()
            assert board.releases == []
            await far.one_more_passes()
            assert [record.outcome for record in far.records()] == ["BARRIER_FAULTED", "PASSED"]
            assert len(board.releases) == 1

    asyncio.run(story())


def test_cut_after_the_release_and_mended_before_it_lapses(tmp_path: Path) -> None:
    """Who walks while nobody hears is counted when the agent is back, once."""

    async def story() -> None:
        async with far_house(tmp_path, within_s=8.0) as far:
            await _released(far)
            far.wire.cut()
            await far.lanes[0].board.pass_through()
            await far.cut_off()
            assert far.records() == []
            far.wire.mend()
            assert (await far.house.record(verdict="GRANT")).outcome == "PASSED"
            await far.one_more_passes()
            assert [record.outcome for record in far.records()] == ["PASSED", "PASSED"]

    asyncio.run(story())


def test_cut_after_the_release_until_after_its_time(tmp_path: Path) -> None:
    """The record says that it is not known who passed; the passage told later is no intrusion."""

    async def story() -> None:
        async with far_house(tmp_path, within_s=2.5) as far:
            await _released(far)
            far.wire.cut()
            await far.lanes[0].board.pass_through()
            assert (await far.house.record(verdict="GRANT")).outcome == "BARRIER_FAULTED"
            far.wire.mend()
            await far.one_more_passes()
            assert [record.outcome for record in far.records()] == ["BARRIER_FAULTED", "PASSED"]

    asyncio.run(story())


def test_cut_after_the_passage(tmp_path: Path) -> None:
    """The passage was told and the agent does not know it: it tells it again, and it counts once."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            await _released(far)
            far.wire.down.clear()
            await far.lanes[0].board.pass_through()
            assert (await far.house.record(verdict="GRANT")).outcome == "PASSED"
            far.wire.up.clear()
            await far.cut_off()
            far.wire.reset()
            far.wire.mend()
            await far.one_more_passes()
            assert [record.outcome for record in far.records()] == ["PASSED", "PASSED"]

    asyncio.run(story())


def test_a_connection_that_breaks_and_returns_at_once_is_not_noticed(tmp_path: Path) -> None:
    """Back within the two beats: no device goes down, and the release under way is counted."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            await _released(far)
            far.wire.reset()
            await far.lanes[0].board.pass_through()
            assert (await far.house.record(verdict="GRANT")).outcome == "PASSED"
            assert far.device("samv").fault == ""
            assert [record.outcome for record in far.records()] == ["PASSED"]

    asyncio.run(story())


def test_an_intrusion_while_cut_off_is_told_later(tmp_path: Path) -> None:
    """Somebody goes through without a release: once in the journal, when the agent is back."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            far.wire.cut()
            await far.cut_off()
            await far.lanes[0].board.pass_through()
            far.wire.mend()
            assert (await far.house.record(outcome="INTRUDED")).verdict == "NONE"
            await far.one_more_passes()
            assert [record.outcome for record in far.records()] == ["INTRUDED", "PASSED"]

    asyncio.run(story())


def test_a_card_read_while_cut_off_opens_nothing_later(tmp_path: Path) -> None:
    """Whoever tapped then has left: nothing is decided of it, and nothing written."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            far.wire.cut()
            await far.cut_off()
            await far.house.tap(far.house.people["green"])
            far.wire.mend()
            await far.one_more_passes()
            assert [record.outcome for record in far.records()] == ["PASSED"]

    asyncio.run(story())


@pytest.mark.parametrize("alarm", [False, True])
def test_what_is_held_open_ends_with_its_lease_but_never_in_an_emergency(tmp_path: Path, alarm: bool) -> None:
    """Crowd release, then the cut: back to one per release, and held again at the return; with an alarm it stays."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            h, board = far.house, far.lanes[0].board
            h.station.set_mode("A1", "FREE", "test")
            await h.until(lambda: board.coils[0])
            far.wire.cut()
            if alarm:
                board.set_fire(True)
            await far.cut_off()
            if alarm:
                with pytest.raises(TimeoutError):  # with the cut-off, longer than the lease of 3 s
                    await h.until(lambda: not board.coils[0], 2.5)
            else:
                await h.until(lambda: not board.coils[0], 5)
            board.set_fire(False)  # an alarm that began and ended while nobody heard
            far.wire.mend()
            await far.works()
            await h.until(lambda: board.coils[0] and h.station.lane("A1").emergency is alarm)
            await board.pass_through()
            await h.record(outcome="EMERGENCY" if alarm else "FREE")

    asyncio.run(story())
