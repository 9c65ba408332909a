"""Cuts at random while people come and an agent decides by itself in between: who walked is written down once."""

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from gate.feed.records import CredentialStatus
from gate.sim.people import Person
from gate.station.journal import read_records
from tests.agent.far import FarHouse, far_house
from tests.support.house import somebody

PEOPLE = int(os.environ.get("GATE_CUTS", "16"))  # of each lane; `make soak` sends more
LANES = 2
SEED = int(os.environ.get("GATE_SEED", "7"))
WITHIN_S = 3.0  # of a release
LONGEST_CUT_S = 8.0  # the deputy is in charge after 1.25 s, or when a release of 3 s has ended
KINDS = ("both", "up", "down", "reset")


@pytest.mark.timeout(120 + 15 * PEOPLE)
def test_whoever_decides_each_passage_has_one_true_record(tmp_path: Path) -> None:
    """Cuts of 0.3 to 8 s: nobody is counted twice or called an intruder, and every walk is known to the station."""

    async def story() -> None:
        comers = [somebody(serial, CredentialStatus.GREEN, "SSM") for serial in range(PEOPLE * LANES)]
        async with far_house(tmp_path, lanes=LANES, within_s=WITHIN_S, with_feed=True, folk=comers) as far:
            walks = await asyncio.gather(*(_lane(far, lane, comers[lane::LANES]) for lane in range(LANES)))
            for lane in range(LANES):
                await far.works(lane)
                await far.house.until(lambda lane=lane: far.all_is_told(lane), 30)
                await far.house.until(lambda lane=lane: _all_handed_over(far, lane), 30)
            await far.house.station.handover.written_down()
            for lane, walked in enumerate(walks):
                _check(far, tmp_path, lane, walked)
            here = [len(list(read_records(tmp_path / f"d{lane}" / "journal"))) for lane in range(LANES)]
            assert 0 < sum(here) < sum(walks), "only one of the two ever decided: this proves nothing"

    asyncio.run(story())


def _all_handed_over(far: FarHouse, lane: int) -> bool:
    there = {record.passage_id for record in far.records(lane)}
    return all(record.passage_id in there for record in far.deputies[lane]._station.recent.newest(1000))


def _check(far: FarHouse, folder: Path, lane: int, walked: int) -> None:
    ours = [record for record in read_records(folder / "data" / "journal") if record.lane == far.lanes[lane].id]
    outcomes = Counter(record.outcome for record in ours)
    told = (f"seed {SEED}, lane {lane}", walked, outcomes)
    assert max(Counter(record.passage_id for record in ours).values()) == 1, told
    assert set(outcomes) <= {"PASSED", "BARRIER_FAULTED", "RELEASE_REFUSED"}, told
    assert outcomes["PASSED"] <= walked <= outcomes["PASSED"] + outcomes["BARRIER_FAULTED"], told
    assert len(far.lanes[lane].board.releases) == walked, told
    assert {record.verdict for record in ours} == {"GRANT"}, told
    decided_here = {record.passage_id for record in read_records(folder / f"d{lane}" / "journal")}
    assert decided_here <= {record.passage_id for record in ours}, told
    direction = far.lanes[lane].direction
    counted = far.house.metric("gate_passages_total", lane=far.lanes[lane].id, direction=direction, outcome="PASSED")
    assert counted == outcomes["PASSED"], told


async def _lane(far: FarHouse, lane: int, comers: list[Person]) -> int:
    """People come one after the other while the wire is cut and mended; how many walked."""
    draw = random.Random(1000 * SEED + lane)
    cutting = asyncio.create_task(_cutting(far, lane, draw))
    board, reader, walked = far.lanes[lane].board, far.lanes[lane].reader, 0
    try:
        for who in comers:
            reader.present(who.card())
            if await board.wait_release(WITHIN_S + 0.5):  # a card that nobody heard opens nothing later
                await asyncio.sleep(draw.uniform(0.0, 0.8))  # people are not equally quick
                await board.pass_through()
                walked += 1
            reader.remove()
            seen = reader.finds
            await far.house.until(lambda seen=seen: reader.finds > seen + 1)  # it has seen that nobody's card rests
    finally:
        cutting.cancel()
        await asyncio.gather(cutting, return_exceptions=True)
        far.wires[lane].mend()
    return walked


async def _cutting(far: FarHouse, lane: int, draw: random.Random) -> None:
    wire = far.wires[lane]
    while True:
        await asyncio.sleep(draw.uniform(0.3, 3.0))  # the faults' instants, not a wait for something
        kind = draw.choice(KINDS)
        if kind in ("both", "up"):
            wire.up.clear()
        if kind in ("both", "down"):
            wire.down.clear()
        if kind == "reset":
            wire.reset()
        await asyncio.sleep(draw.uniform(0.3, LONGEST_CUT_S))
        wire.mend()
