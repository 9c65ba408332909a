"""A whole station for a test: signed feeds, simulated devices on real ports, the station in the test's own loop."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers.simulated.cards import card_text
from gate.feed.records import CredentialStatus
from gate.passage.record import PassageRecord
from gate.sim.people import Person
from gate.sim.world import Addresses, SimulatedLane, make_lane, publish_feeds, station_toml
from gate.station.station import Station


def person(number: str, status: CredentialStatus | None, issuer: str = "SSM") -> Person:
    """A made-up person."""
    token = hashlib.sha256(number.encode()).hexdigest()[:32]
    return Person("测试员", number, issuer, status, " ", token)


def people() -> dict[str, Person]:
    """One person a colour, and one of whom nobody has heard."""
    return {
        "green": person(_valid("31010519900101001"), CredentialStatus.GREEN),
        "red": person(_valid("33010619850203002"), CredentialStatus.RED, "ZJ"),
        "yellow": person(_valid("32010219780304003"), CredentialStatus.YELLOW, "SKM"),
        "stranger": person(_valid("34010219991231004"), None, "AKM"),
        "second": person(_valid("31010519910101001"), CredentialStatus.GREEN),
    }


def _valid(body: str) -> str:
    from stdnum.iso7064 import mod_11_2

    return body + mod_11_2.calc_check_digit(body)


@dataclass(slots=True)
class House:
    """A running station and what surrounds it."""

    station: Station
    lanes: Sequence[SimulatedLane]
    folder: Path
    people: dict[str, Person]

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for `condition`; fails when it is not so in time."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def record(self, **fields: str) -> PassageRecord:
        """The newest passage with these fields, as soon as it is there."""
        found: list[PassageRecord] = []

        def there() -> bool:
            found[:] = [
                r for r in self.station.recent.newest(100) if all(getattr(r, k) == v for k, v in fields.items())
            ]
            return bool(found)

        await self.until(there)
        return found[0]

    def lane_works(self, lane: str) -> bool:
        """Whether all devices of the lane are up."""
        return self.station.lane(lane).works


def unreadable_card() -> bytes:
    """A card of a type nobody knows."""
    return card_text(" ", valid_from="20200101", valid_until="长期")[:248] + "Z".encode("utf-16-le") + b" \0" * 3


@contextlib.asynccontextmanager
async def house(folder: Path, lanes: int = 1, change: Callable[[str], str] = str) -> AsyncIterator[House]:
    """Run a station with `lanes` simulated lanes until the block ends; `change` edits its station.toml."""
    from gate.config import parse

    folks = people()
    if not (folder / "feeds").exists():  # else the station is started again where it ran before
        publish_feeds(folder / "feeds", list(folks.values()))
    simulated = [make_lane(number, folder / "ports") for number in range(lanes)]
    for lane in simulated:
        await lane.plug()
    text = station_toml(folder, simulated, Addresses("127.0.0.1:0", "127.0.0.1:0"))
    station = Station(parse(change(text), folder))
    running = asyncio.create_task(station.run())
    built = House(station, simulated, folder, folks)
    try:
        async with asyncio.timeout(20):
            await station.ready.wait()
        await built.until(lambda: all(state.works for state in station.lanes()))
        yield built
    finally:
        station.stop()
        await asyncio.wait_for(running, 20)
        for lane in simulated:
            await lane.unplug()
