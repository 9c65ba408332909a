"""Every driver at a station, on every port it knows: pulled and put back, each loss and each return is logged once."""

import asyncio
import importlib
import logging
import os
import shutil
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import pytest

from gate.config import parse
from gate.station.station import Station
from tests.conformance.plug import CASES as EVERY
from tests.conformance.plug import START_S, Plug
from tests.support.house import OwnFeed

LOSSES = 5
# Without a program that its simulator needs a driver stays out; tests/conformance says so, and fails for it in CI.
NEEDS = [getattr(importlib.import_module(info.simulator), "NEEDS", "") for info, _ in EVERY]
CASES = [case for case, needs in zip(EVERY, NEEDS, strict=True) if not needs or shutil.which(needs)]
DOWN_S = 10.0  # the slowest needs three unanswered looks; all of them share this machine


def lane_id(number: int) -> str:
    return f"{CASES[number][0].name}.{CASES[number][1]}"


def station_with(folder: Path, plugs: list[Plug]) -> Station:
    """A station with a lane for each device."""
    (folder / "feeds").mkdir()
    lanes = []
    for number, plug in enumerate(plugs):
        ((key, place),) = plug.setting.items()
        lanes.append(f'[[lane]]\nid = "{lane_id(number)}"\n[[lane.device]]\n')
        lanes.append(f'driver = "{CASES[number][0].name}"\n{key} = "{place}"\n')
        if CASES[number][0].card_numbers == {}:
            lanes.append('card_scheme = "shanghai-transit"\n')
    text = f"""[station]
id = "test"
region = "330100"
data_dir = "{folder}/data"
[clock]
trust = "stepped-only"
[metrics]
listen = "127.0.0.1:0"
{OwnFeed(folder, "ZJ").toml()}
{"".join(lanes)}"""
    return Station(parse(text, folder))


async def until(station: Station, up: bool, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not all(lane.devices[0].up is up for lane in station.lanes()):
            await asyncio.sleep(0.02)


async def put_in_and_pulled(station: Station, plugs: list[Plug]) -> None:
    """All of them, five times; none is there at the start, and each says so."""
    async with asyncio.timeout(START_S):
        while not all(lane.devices[0].fault for lane in station.lanes()):
            await asyncio.sleep(0.02)
    for _ in range(LOSSES):
        await asyncio.gather(*(plug.plug() for plug in plugs))
        await until(station, True, DOWN_S)
        await asyncio.gather(*(plug.unplug() for plug in plugs))
        await until(station, False, DOWN_S)


def test_each_loss_and_each_return_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Five losses of every device at once: five lines that it is up, one more that it is down, and no others."""

    async def story() -> None:
        plugs = []
        for number, (info, kind) in enumerate(CASES):
            (tmp_path / lane_id(number)).mkdir()
            plugs.append(Plug(info, kind, tmp_path / lane_id(number)))
            os.environ.update(plugs[-1].environ)
        station = station_with(tmp_path, plugs)
        running = asyncio.create_task(station.run())
        try:
            await put_in_and_pulled(station, plugs)
        finally:
            station.stop()
            await asyncio.wait_for(running, 30)
            await asyncio.gather(*(plug.unplug() for plug in plugs))

    with caplog.at_level(logging.INFO), patch.dict(os.environ):
        asyncio.run(story())
    lines = [record.getMessage() for record in caplog.records if record.name == "gate.station.runner"]
    words = [line.split() for line in lines if " is up" in line or " is down" in line]
    said = Counter((word[1].rstrip(":"), word[4]) for word in words)
    for number in range(len(CASES)):
        assert (said[lane_id(number), "up"], said[lane_id(number), "down"]) == (LOSSES, LOSSES + 1), lines
