"""Cuts at random instants of a passage: one record each, no release after its record, none without a grant."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.agent.far import FarHouse, far_house

ROUNDS = int(os.environ.get("GATE_CUTS", "6"))
BEFORE = 0.5  # of the cuts have begun when the lane grants
AFTER_S = 0.4  # the others begin so long after the grant at most: in the release, or while the person walks


@pytest.mark.timeout(60 + 12 * ROUNDS)
def test_whatever_is_cut_when_leaves_one_true_record(tmp_path: Path) -> None:
    """Silent cuts and resets of 0.1 to 3 s, of one direction or both; a passage is counted where somebody passed."""
    draw = random.Random(5)

    async def story() -> None:
        async with far_house(tmp_path, within_s=3.0) as far:
            for number in range(ROUNDS):
                await far.works()
                await _round(far, draw, number)
            passed = [record.outcome for record in far.records()].count("PASSED")
            assert passed <= len(far.lanes[0].board.releases) <= ROUNDS

    asyncio.run(story())


async def _round(far: FarHouse, draw: random.Random, number: int) -> None:
    board, done_before_release = far.lanes[0].board, False

    def released(_: int) -> None:
        nonlocal done_before_release
        done_before_release = len(far.records()) > number

    board.on_release = released
    releases = len(board.releases)
    kind, first = draw.choice(["both", "up", "down", "reset"]), draw.random() < BEFORE
    if first:
        _begin(far, kind)
    far.house.station.release("A1", "entry", "test", "cut")
    cut = asyncio.create_task(_cut(far, draw, "" if first else kind))
    walked = await board.wait_release(3.5)
    if walked:
        await board.pass_through()
    await cut
    await far.works()
    await far.house.until(lambda: len(far.records()) > number)
    record = far.records()[number]
    assert not done_before_release, f"round {number}: released after {record.outcome}"
    assert len(board.releases) - releases == int(walked)
    assert record.verdict == "GRANT"
    assert record.outcome in (("PASSED", "BARRIER_FAULTED") if walked else ("RELEASE_REFUSED", "BARRIER_FAULTED"))
    await far.house.until(lambda: far.house.station.lane("A1").barrier == "CLOSED")
    assert len(far.records()) == number + 1, [each.outcome for each in far.records()]


def _begin(far: FarHouse, kind: str) -> None:
    if kind in ("both", "up"):
        far.wire.up.clear()
    if kind in ("both", "down"):
        far.wire.down.clear()
    if kind == "reset":
        far.wire.reset()


async def _cut(far: FarHouse, draw: random.Random, kind: str) -> None:
    if kind:
        await asyncio.sleep(draw.uniform(0.0, AFTER_S))  # the fault's instant, not a wait for something
        _begin(far, kind)
    await asyncio.sleep(draw.uniform(0.1, 3.0))
    far.wire.mend()


def test_a_device_that_is_lost_behind_its_agent_is_lost_here(tmp_path: Path) -> None:
    """Its own fault, not the agent's; back within 2 s of its return; the others work on."""

    async def story() -> None:
        async with far_house(tmp_path) as far:
            await far.lanes[0].reader_port.unplug()
            await far.house.until(lambda: not far.device("samv").up)
            assert far.device("samv").fault in ("PORT_LOST", "PORT_MISSING")
            assert far.device("modbus-relay").up
            await far.lanes[0].reader_port.plug()
            await far.house.until(lambda: far.device("samv").up, 2.0)
            await far.one_more_passes("green")

    asyncio.run(story())
