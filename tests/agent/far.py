"""A station whose lanes are far: their agents, the wire between, and what a test may do to each."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gate.agent.agent import Agent
from gate.agent.deputy import StationDeputy
from gate.agent.link import Link
from gate.config import Grpc, load_deputy, load_lane, parse
from gate.passage.record import PassageRecord
from gate.rpc.server import RpcServer
from gate.sim.people import Person
from gate.sim.world import Addresses, SimulatedLane, make_lane, publish_feeds, station_toml
from gate.station.station import Station
from tests.agent.wire import Wire
from tests.support.house import House, people

_OWN = re.compile(r"^(?!\[|id|direction|release_within_s|driver|pairing).*\n", re.MULTILINE)  # a device's own settings


def remote(text: str) -> str:
    """The lanes of a station file, their devices by driver alone."""
    at = text.index("\n[[lane]]")
    lanes = _OWN.sub("", text[at + 1 :])
    return text[:at] + "\n" + re.sub(r"^(id = .*)$", r"\1\nremote = true", lanes, flags=re.MULTILINE)


@dataclass(slots=True)
class FarHouse:
    """The controller, the wire, and the agents' lanes. The controller keeps its port when it is started again."""

    folder: Path
    lanes: list[SimulatedLane]
    wires: list[Wire]  # of each lane
    port: int
    within_s: float
    with_feed: bool = False
    more: str = ""  # devices of the last lane
    change: Callable[[str], str] = str  # of the station's file
    house: House = field(init=False)
    agents: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    drives: dict[int, Agent] = field(default_factory=dict)
    deputies: dict[int, StationDeputy] = field(default_factory=dict)
    _rpc: RpcServer | None = None
    _running: asyncio.Task[None] | None = None

    @property
    def wire(self) -> Wire:
        """The first lane's."""
        return self.wires[0]

    async def start(self) -> None:
        """The controller."""
        text = station_toml(self.folder, self.lanes, Addresses("127.0.0.1:0", "127.0.0.1:0")) + self.more
        text = re.sub(r"release_within_s = .*", f"release_within_s = {self.within_s}", text)
        station = Station(parse(self.change(remote(text)), self.folder))
        self._rpc = RpcServer(Grpc((f"127.0.0.1:{self.port}",), trust_loopback=True), station, lambda *call: None)
        self._running = asyncio.create_task(station.run())
        self.house = House(station, self.lanes, self.folder, people())
        async with asyncio.timeout(20):
            await station.ready.wait()
        await self._rpc.start()

    async def stop(self) -> None:
        """The controller, in good order."""
        assert self._rpc
        assert self._running
        self.house.station.stop()
        await asyncio.wait_for(self._running, 20)
        await self._rpc.stop()

    def lane_file(self, lane: int = 0) -> Path:
        """The agent's file, as somebody copies it from the station's."""
        path = self.folder / f"lane-{lane}.toml"
        path.write_text(self.lanes[lane].toml() + self.more)
        return path

    def deputy_file(self, lane: int = 0) -> Path:
        """The file of an agent that may decide by itself: a small station's, with the same feeds."""
        path = self.folder / f"deputy-{lane}.toml"
        text = station_toml(self.folder, [self.lanes[lane]], Addresses("127.0.0.1:0", "127.0.0.1:0"))
        text = text.replace(f'data_dir = "{self.folder}/data"', f'data_dir = "{self.folder}/d{lane}"')
        text = text.replace(f"{self.folder}/operator.sock", f"{self.folder}/operator-{lane}.sock")
        text += self.more
        path.write_text(re.sub(r"release_within_s = .*", f"release_within_s = {self.within_s}", text))
        return path

    def agent(self, lane: int = 0) -> Agent:
        if not self.with_feed:
            return Agent(load_lane(self.lane_file(lane)), Link(self.wires[lane].address))
        settings = load_deputy(self.deputy_file(lane))
        self.deputies[lane] = StationDeputy(settings)
        return Agent(settings.lanes[0], Link(self.wires[lane].address), self.deputies[lane])

    def start_agent(self, lane: int = 0) -> asyncio.Task[None]:
        """An agent in this loop."""
        self.drives[lane] = self.agent(lane)
        self.agents[lane] = asyncio.create_task(self.drives[lane].run())
        return self.agents[lane]

    async def decides(self, here: bool, lane: int = 0) -> None:
        """Wait until the lane's own computer is in charge, or no longer is."""
        await self.house.until(lambda: self.drives[lane].decides is here and self.deputies[lane].idle, 30)
        if here:
            station = self.deputies[lane]._station
            await self.house.until(lambda: station.lane(self.lanes[lane].id).works, 5)

    async def stop_agent(self, lane: int = 0) -> None:
        task = self.agents.pop(lane)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def works(self, lane: int = 0) -> None:
        """Wait until all of the lane's devices are up."""
        await self.house.until(lambda: self.house.lane_works(self.lanes[lane].id), 10)

    async def cut_off(self, lane: int = 0) -> None:
        """Wait until the controller says that the lane's reader is cut off."""
        await self.house.until(lambda: self.device("samv", lane).fault == "PORT_LOST", 5)

    def device(self, name: str, lane: int = 0) -> "object":
        """A device as operators see it."""
        (found,) = [d for d in self.house.station.lane(self.lanes[lane].id).devices if d.name == name]
        return found

    def records(self, lane: int | None = None) -> list[PassageRecord]:
        """Everything that was written down, of one lane or all, oldest first."""
        kept = reversed(self.house.station.recent.newest(1000))
        return [record for record in kept if lane is None or record.lane == self.lanes[lane].id]

    def all_is_told(self, lane: int = 0) -> bool:
        """Whether the controller has heard everything that its agent has to tell, and nobody is under way."""
        outbox = self.drives[lane]._controller.outbox
        state = self.house.station.lane(self.lanes[lane].id)
        told = outbox._attached and outbox.quiet and not outbox._kept
        return told and (state.front, state.barrier) == ("IDLE", "CLOSED")

    async def one_more_passes(self, who: str = "second") -> None:
        """The next person passes as if nothing had been; whatever was late has arrived by then."""
        count = len(self.records())
        await self.works()
        reader = self.lanes[0].reader
        seen = reader.finds
        await self.house.until(lambda: reader.finds > seen + 1)  # it has seen that nobody's card rests there
        await self.house.tap(self.house.people[who])
        record = await self.house.walks()
        assert (record.outcome, len(self.records())) == ("PASSED", count + 1)


@contextlib.asynccontextmanager
async def far_house(
    folder: Path,
    lanes: int = 1,
    within_s: float = 4.0,
    agents: bool = True,
    with_feed: bool = False,
    more: str = "",
    change: Callable[[str], str] = str,
    folk: Sequence[Person] = (),
) -> AsyncIterator[FarHouse]:
    """Run a station of far lanes, each with its agent, until the block ends."""
    if not (folder / "feeds").exists():
        publish_feeds(folder / "feeds", [*people().values(), *folk])
    simulated = [make_lane(number, folder / "ports") for number in range(lanes)]
    for lane in simulated:
        await lane.plug()
    port = free_port()
    async with contextlib.AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(Wire(port)) for _ in simulated]
        far = FarHouse(folder, simulated, wires, port, within_s, with_feed, more, change)
        await far.start()
        try:
            for number in range(lanes) if agents else ():
                far.start_agent(number)
            for number in far.agents:
                await far.works(number)
            yield far
        finally:
            for wire in wires:
                wire.mend()
            await asyncio.gather(*map(far.stop_agent, list(far.agents)))
            await far.stop()
            for lane in simulated:
                await lane.unplug()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
        return number
