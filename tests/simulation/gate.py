"""One real controller with one lane, its town around it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from gate.sim.controller import start, stop
from gate.sim.signs import Signs
from gate.sim.town import Town, make_town
from gate.sim.world import Addresses, SimulatedLane, Site, make_lane, station_toml


@contextlib.asynccontextmanager
async def gate(folder: Path, region: str, feeds: Path) -> AsyncIterator[tuple[SimulatedLane, Signs, Town]]:
    """One controller of that region, with one lane."""
    town = make_town(folder / "town")
    await town.open()
    lane = make_lane(0, folder / "ports")
    lane.pairing_window_s = 2.0  # who brings nothing more is not waited for as long as in service
    await lane.plug()
    site, addresses = Site("gate", region), Addresses("127.0.0.1:0", "127.0.0.1:0")
    (folder / "station.toml").write_text(station_toml(folder, [lane], addresses, site, town, feeds))
    controller = await start(folder / "station.toml", folder / "controller.log")
    try:
        async with Signs(controller.grpc[0]) as signs:
            assert await signs.until_up(30.0)
            yield lane, signs, town
    finally:
        assert await stop(controller.process) == 0
        await lane.unplug()
        await town.close()
