"""Cuts at random instants of a passage: one true record each, no release after its record, none without a grant."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.agent.far import FarHouse, far_house
from tests.agent.wire import Wire
from tests.support.house import person
from tests.support.house import somebody as somebody_of
from gate.feed.records import CredentialStatus

ROUNDS = int(os.environ.get("GATE_CUTS", "50"))
LANES = 5  # at once, each with its own agent and wire
# When a cut begins: before anybody presents, or so long after; a card is read in 0.1 s, decided in 1 ms, released in 10.
AFTER_S = 0.4
STAGES = ("report", "release", "passage", "confirm")


@pytest.mark.timeout(90 + 15 * ROUNDS // LANES)
def test_whatever_is_cut_when_leaves_one_true_record(tmp_path: Path) -> None:
    """Silent cuts and resets of 0.1 to 3 s, of one direction or both; a passage is counted where somebody passed."""

    async def story() -> None:
        async with far_house(tmp_path, lanes=LANES, within_s=3.0) as far:
            await asyncio.gather(*(_lane(far, lane) for lane in range(LANES)))

    asyncio.run(story())
