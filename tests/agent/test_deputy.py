"""An agent that decides by itself while it is cut off: each passage decided by one of two, and written down once."""

import asyncio
import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from gate.config import ConfigError, load_deputy, load_lane
from gate.feed.records import CredentialStatus
from gate.passage.record import PassageRecord
from gate.station.journal import read_records, verify_chain
from tests.agent.far import FarHouse, far_house, free_port
from tests.support.house import somebody


def journal(far: FarHouse, folder: str = "data") -> list[PassageRecord]:
    """What is on the disk of the station, or of the lane's own computer."""
    return list(read_records(far.folder / folder / "journal"))


async def passes(far: FarHouse, who: str) -> None:
    """Somebody taps, is released and walks, whoever decides; waits until the sensor has been heard."""
    board = far.lanes[0].board
    await far.house.tap(far.house.people[who])
    assert await board.wait_release(5), f"{who} was not released"
    await board.pass_through()


async def handed_over(far: FarHouse, count: int) -> list[PassageRecord]:
    """The station's journal when it has so many passages."""
    await far.house.until(lambda: len(far.records()) >= count, 20)
    await far.house.station.handover.written_down()
    return journal(far)


def test_passages_of_a_cut_are_decided_here_and_counted_there_once(tmp_path: Path) -> None:
    """Green passes and red does not while the link is cut; journal and metrics of the station have each once, later."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True) as far:
            await passes(far, "green")
            await far.house.record(outcome="PASSED")
            far.wire.cut()
            await far.decides(True)
            await passes(far, "second")
            own = far.deputies[0]._station
            await far.house.until(lambda: len(own.recent.newest(9)) == 1)
            await far.house.tap(far.house.people["red"])
            await far.house.until(lambda: len(own.recent.newest(9)) == 2)
            assert len(far.records()) == 1
            far.wire.mend()
            await far.decides(False)
            records = await handed_over(far, 3)
            assert [(one.verdict, one.outcome) for one in records] == [
                ("GRANT", "PASSED"),
                ("GRANT", "PASSED"),
                ("DENY", "NOT_RELEASED"),
            ]
            assert [one.passage_id for one in records[1:]] == [one.passage_id for one in journal(far, "d0")]
            assert far.house.metric("gate_passages_total", lane="A1", direction="entry", outcome="PASSED") == 2
            assert verify_chain(tmp_path / "data" / "journal") == []
            await far.house.until(lambda: (tmp_path / "d0" / "handed-over.json").exists())
            assert len(far.lanes[0].board.releases) == 2

    asyncio.run(story())


def test_a_controller_that_was_never_there_is_no_hindrance(tmp_path: Path) -> None:
    """Started alone the agent decides as soon as its feeds are looked at; the station learns of it when it starts."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True, agents=False) as far:
            far.wire.cut()
            far.start_agent()
            await far.decides(True)
            await passes(far, "green")
            await far.house.until(lambda: len(far.deputies[0]._station.recent.newest(9)) == 1)
            far.wire.mend()
            assert [one.outcome for one in await handed_over(far, 1)] == ["PASSED"]

    asyncio.run(story())


def test_who_is_under_way_when_the_controller_is_back_ends_where_they_began(tmp_path: Path) -> None:
    """Released here, then the link is mended: charge changes after the passage: one release, one record."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True, within_s=8.0) as far:
            far.wire.cut()
            await far.decides(True)
            await far.house.tap(far.house.people["green"])
            assert await far.lanes[0].board.wait_release(5)
            far.wire.mend()
            await far.house.until(far.drives[0].attached.is_set)
            await far.house.until(lambda: not far.device("samv").up)
            assert far.drives[0].decides
            await far.lanes[0].board.pass_through()
            await far.decides(False)
            assert [one.outcome for one in await handed_over(far, 1)] == ["PASSED"]
            await far.works()
            await passes(far, "second")
            assert [one.outcome for one in await handed_over(far, 2)] == ["PASSED", "PASSED"]
            assert len(far.lanes[0].board.releases) == 2

    asyncio.run(story())


def test_who_was_released_by_the_controller_is_no_intruder_here(tmp_path: Path) -> None:
    """Cut between release and passage: the deputy waits until that release is over, and has no record of it."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True, within_s=6.0) as far:
            await far.house.tap(far.house.people["green"])
            assert await far.lanes[0].board.wait_release(5)
            core = far.house.station._lanes["A1"].core
            await far.house.until(lambda: "release" in dict(core.barrier.current.attempt.stages_us))
            far.wire.cut()
            await far.house.until(lambda: not far.drives[0].attached.is_set())
            await far.lanes[0].board.pass_through()
            await far.decides(True)
            far.wire.mend()
            await far.decides(False)
            records = await handed_over(far, 1)
            assert [one.outcome for one in records] in (["PASSED"], ["BARRIER_FAULTED"])
            assert journal(far, "d0") == []

    asyncio.run(story())


def test_a_handover_that_is_cut_repeats_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """Taken and not acknowledged, then both sides are started again: every passage is in the journal once."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True) as far:
            far.wire.cut()
            await far.decides(True)
            for count in range(3):
                await far.lanes[0].board.pass_through()  # without a release: an intrusion each
                await far.house.until(lambda n=count: len(far.deputies[0]._station.recent.newest(9)) > n)
            far.wire.up.set()
            far.wire.reset()
            far.wire.mend()
            await far.house.until(lambda: len(far.records()) == 3, 20)
            far.wire.down.clear()  # the station has them; the agent may not know
            await far.house.station.handover.written_down()
            await far.stop_agent()
            place = tmp_path / "d0" / "handed-over.json"
            place.unlink(missing_ok=True)  # as if it had been killed before it wrote this
            await far.stop()
            far.wire.reset()
            far.wire.mend()
            await far.start()
            far.start_agent()
            await far.works()
            await far.house.until(place.exists, 20)
            ids = [one.passage_id for one in journal(far)]
            assert ids == [one.passage_id for one in journal(far, "d0")]
            assert max(Counter(ids).values()) == 1
            assert json.loads(place.read_text())["offset"] > 0

    asyncio.run(story())


def test_a_closed_lane_stays_closed_and_an_emergency_goes_both_ways(tmp_path: Path) -> None:
    """What staff set counts while cut off; an alarm seen then is told at once when the controller is back."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True) as far:
            station, board = far.house.station, far.lanes[0].board
            station.set_mode("A1", "CLOSED", "test")
            await far.house.until(lambda: far.drives[0]._lane_is.mode == 4)
            far.wire.cut()
            await far.decides(True)
            own = far.deputies[0]._station
            assert own.lane("A1").mode == "CLOSED"
            await far.house.tap(far.house.people["green"])
            board.set_fire(True)
            await far.house.until(lambda: own.lane("A1").emergency)
            far.wire.mend()
            await far.house.until(lambda: station.lane("A1").emergency, 10)
            board.set_fire(False)
            await far.works()
            station.set_mode("A1", "ENTRY", "test")
            await far.house.until(lambda: not station._lanes["A1"].core.emergency_input)
            station.reset_emergency("A1", "test")
            assert board.releases == []  # the card at the closed lane
            await far.house.until(lambda: not far.drives[0]._lane_is.emergency)
            far.wire.cut()
            await far.decides(True)
            assert (own.lane("A1").mode, own.lane("A1").emergency) == ("ENTRY", False)
            await passes(far, "second")
            await far.house.until(lambda: own.recent.newest(1)[0].outcome == "PASSED")

    asyncio.run(story())


def test_a_lane_that_is_never_free_is_handed_back_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The controller is back and people keep coming: the deputy gets nobody more; the next is the controller's."""
    monkeypatch.setattr("gate.agent.agent.HAND_BACK_S", 0.3)

    async def story() -> None:
        third = somebody(3, CredentialStatus.GREEN, "SSM")
        async with far_house(tmp_path, with_feed=True, within_s=20.0, folk=[third]) as far:
            far.house.people["third"] = third
            far.wire.cut()
            await far.decides(True)
            await far.house.tap(far.house.people["green"])
            assert await far.lanes[0].board.wait_release(5)
            far.wire.mend()
            await far.house.until(lambda: far.drives[0]._is_leaving)
            own = far.deputies[0]._station
            await far.house.tap(far.house.people["second"])
            await far.lanes[0].board.pass_through()
            await far.decides(False)
            assert [record.outcome for record in own.recent.newest(9)] == ["PASSED"]
            await far.works()
            reader, seen = far.lanes[0].reader, far.lanes[0].reader.finds
            await far.house.until(lambda: reader.finds > seen + 1)
            await passes(far, "third")
            assert [one.outcome for one in await handed_over(far, 2)] == ["PASSED", "PASSED"]

    asyncio.run(story())


def test_the_program_decides_by_its_own_feed_and_ends_in_good_order(tmp_path: Path) -> None:
    """`gate lane-agent --with-feed` with no controller anywhere: somebody passes; SIGTERM: 0, all on its disk."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True, agents=False) as far:
            nobody = f"127.0.0.1:{free_port()}"
            arguments = ("--config", str(far.deputy_file()), "--controller", nobody, "--with-feed")
            with (tmp_path / "agent.log").open("w") as log:
                program = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "gate", "lane-agent", *arguments), stdout=log, stderr=log
                )
            said = tmp_path / "agent.log"
            await far.house.until(lambda: "deciding here by the replicated feed\n" in said.read_text(), 30)
            await passes(far, "green")
            await far.house.until(lambda: [one.outcome for one in journal(far, "d0")] == ["PASSED"])
            program.terminate()
            assert await asyncio.wait_for(program.wait(), 20) == 0
            assert verify_chain(tmp_path / "d0" / "journal") == []
            assert far.house.people["green"].number not in said.read_text()

    asyncio.run(story())


def test_nothing_of_a_person_is_on_the_lanes_disk_but_pepper_and_feed(tmp_path: Path) -> None:
    """The journal of the lane's computer holds what a station's holds; no number, name or code."""

    async def story() -> None:
        async with far_house(tmp_path, with_feed=True) as far:
            far.wire.cut()
            await far.decides(True)
            await passes(far, "green")
            await far.house.until(lambda: len(far.deputies[0]._station.recent.newest(9)) == 1)
            far.wire.mend()
            await handed_over(far, 1)
            who = far.house.people["green"]
            for file in [each for each in (tmp_path / "d0").rglob("*") if each.is_file()]:
                content = file.read_bytes()
                assert who.number.encode() not in content
                assert who.name.encode() not in content

    asyncio.run(story())


def test_the_switch_and_the_file_must_agree(tmp_path: Path) -> None:
    """`when_cut_off = "decide"` needs --with-feed, --with-feed a small station's file with one lane of its own."""
    lane = '[[lane]]\nid = "B1"\n[[lane.device]]\ndriver = "samv"\nport = "x"\n'
    station = f'[station]\nid = "t"\nregion = "330100"\ndata_dir = "{tmp_path}/d"\n'
    file = tmp_path / "lane.toml"
    file.write_text('when_cut_off = "decide"\n' + lane)
    with pytest.raises(ConfigError, match="--with-feed"):
        load_lane(file)
    for text, place in (
        (lane, "station"),
        ('when_cut_off = "hold"\n' + station + lane, "when_cut_off"),
        (station + lane + lane.replace('"B1"', '"B2"').replace('"x"', '"y"'), r"lane\[1\]"),
        (station, "lane"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigError, match=place):
            load_deputy(file)
    file.write_text('when_cut_off = "decide"\n' + station + lane)
    assert load_deputy(file).lanes[0].id == "B1"
