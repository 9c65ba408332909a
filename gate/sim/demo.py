"""The demonstration: a real controller in its own process, simulated devices on real ports, passengers arriving."""

import asyncio
import contextlib
import random
import shutil
import signal
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gate.sim.controller import Controller, DemoError, PortTakenError, start, stop
from gate.sim.passengers import Habit, Passenger, Result, habits, suits
from gate.sim.people import Person, make_child, make_elder, make_people
from gate.sim.signs import Signs
from gate.sim.summary import Summary, show, summarise
from gate.sim.town import Town, make_town
from gate.sim.world import Addresses, SimulatedLane, make_lane, publish_feeds, station_toml

PEOPLE = 10_000
PAIRING_S = 2.0  # shorter than the service's own 5 s, so that a short demonstration shows who brings nothing more
UP_S = 30.0  # every device of every lane: the first passenger of a slow machine waits for the gate
TABLE_S = 0.5


@dataclass(slots=True)
class Options:
    """What the command line asks for."""

    lanes: int = 4
    seconds: float | None = None  # None: until Ctrl-C
    passengers_per_minute: float = 30.0
    seed: int = 1
    keep: Path | None = None  # keep everything written in this folder


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What every passenger of a demonstration meets besides a lane."""

    town: Town
    signs: Signs


@dataclass(slots=True)
class Line:
    """Those who come to one lane."""

    lane: SimulatedLane
    next_door: SimulatedLane
    people: list[Person]
    draw: random.Random
    first: bool  # of the station: everybody's habit is seen here
    _taken: int = 0

    def next_person(self, habit: Habit) -> Person | None:
        """The next who can do that; None when nobody can."""
        if habit is Habit.PAPER:
            return make_elder(self.draw)
        for _ in self.people:  # a long demonstration sees them again, longer after than anti-passback remembers
            person = self.people[self._taken % len(self.people)]
            self._taken += 1
            if suits(person, habit):
                return person
        return None


@dataclass(slots=True)
class Demo:
    """One running demonstration."""

    options: Options
    folder: Path
    console: Console
    results: list[Result] = field(default_factory=list)
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = self.folder / "controller.log"

    async def run(self) -> Summary:
        """Run to the end. Raises DemoError."""
        people = make_people(PEOPLE, self.options.seed)
        await asyncio.to_thread(publish_feeds, self.folder / "feeds", people)
        town = await asyncio.to_thread(make_town, self.folder / "town")
        # Every fourth lane scans with a camera, the others with a serial engine.
        lanes = [make_lane(n, self.folder / "ports", camera=n % 4 == 3) for n in range(self.options.lanes)]
        for lane in lanes:
            lane.pairing_window_s = PAIRING_S
            await lane.plug()
        await town.open()
        controller = await self._start_somewhere(lanes, town)
        self.console.print(f"gRPC    {', '.join(controller.grpc)}")
        self.console.print(f"metrics {', '.join(controller.metrics)}")
        self.console.print(f"files   {self.folder}")
        try:
            async with Signs(controller.grpc[0]) as signs:
                if not await signs.until_up(UP_S):
                    raise DemoError(f"a device did not come up: see {self.log}")
                await self._passengers(lanes, people, controller, Surroundings(town, signs))
        finally:
            code = await stop(controller.process)
            await town.close()
            for lane in lanes:
                await lane.unplug()
        if code != 0:
            raise DemoError(f"the controller ended with {code}: see {self.log}")
        return summarise(self.results, self.folder / "data" / "journal")

    async def _start_somewhere(self, lanes: list[SimulatedLane], town: Town) -> Controller:
        """At the usual ports, or, when another demonstration has them, at any that are free."""
        config = self.folder / "station.toml"
        for addresses in (Addresses("127.0.0.1:50051", "127.0.0.1:9464"), Addresses("127.0.0.1:0", "127.0.0.1:0")):
            config.write_text(station_toml(self.folder, lanes, addresses, town=town), "utf-8")
            try:
                return await start(config, self.log)
            except PortTakenError:
                continue
        raise DemoError("no TCP port is free on 127.0.0.1")

    async def _passengers(
        self, lanes: list[SimulatedLane], people: list[Person], controller: Controller, around: Surroundings
    ) -> None:
        loop = asyncio.get_running_loop()
        ends = asyncio.Event()
        for end in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(end, ends.set)
        if self.options.seconds is not None:
            loop.call_later(self.options.seconds, ends.set)
        draw = random.Random(self.options.seed)
        queue = draw.sample(people, len(people))
        async with asyncio.TaskGroup() as group:
            for number, lane in enumerate(lanes):
                next_door = lanes[(number + 1) % len(lanes)]
                line = Line(lane, next_door, queue[number :: len(lanes)], random.Random(draw.random()), number == 0)
                group.create_task(self._lane(line, around, ends))
            table = group.create_task(self._show(lanes))
            died = group.create_task(controller.process.wait())
            died.add_done_callback(lambda _: ends.set())
            await ends.wait()
            table.cancel()
            if died.done() and not died.cancelled():
                raise DemoError(f"the controller died: see {self.log}")
            died.cancel()

    async def _lane(self, line: "Line", around: Surroundings, ends: asyncio.Event) -> None:
        """Passengers of one lane, one after the other, arriving at random; who is there when time is up finishes."""
        arrives_s = asyncio.get_running_loop().time()
        for habit in habits(line.draw, line.first):
            person = line.next_person(habit)
            if person is None:
                continue
            arrives_s += line.draw.expovariate(self.options.passengers_per_minute / 60)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, arrives_s - asyncio.get_running_loop().time())):
                    await ends.wait()
            if ends.is_set():
                return
            await self._visit(line, person, habit, around)

    async def _visit(self, line: "Line", person: Person, habit: Habit, around: Surroundings) -> None:
        """One passenger, and whoever comes because of them."""
        given = (line.draw, around.town, around.signs)
        passenger = Passenger(person, habit, line.lane, *given)
        result = await passenger.visit()
        self.results.append(result)
        if habit is Habit.LENT and result.passed:
            borrower = Passenger(person, Habit.BORROWED, line.next_door, *given, passenger.code)
            self.results.append(await borrower.visit())
        if habit is Habit.WITH_CHILD and result.passed:
            self.results.append(await Passenger(make_child(line.draw), Habit.CHILD, line.lane, *given).visit())

    async def _show(self, lanes: list[SimulatedLane]) -> None:
        if not self.console.is_terminal:
            return
        with Live(console=self.console, refresh_per_second=4) as live:
            while True:
                live.update(_table(lanes, self.results))
                await asyncio.sleep(TABLE_S)


def _table(lanes: list[SimulatedLane], results: list[Result]) -> Table:
    table = Table("lane", "passengers", "released", "passed", "last passenger", title="passages", title_justify="left")
    last = {result.lane: result for result in results}
    count = Counter(result.lane for result in results)
    for lane in lanes:
        mine = [result for result in results if result.lane == lane.id]
        result = last.get(lane.id)
        text = "" if result is None else f"{result.habit}: {'passed' if result.passed else 'did not pass'}"
        released, passed = sum(r.released for r in mine), sum(r.passed for r in mine)
        table.add_row(lane.id, str(count[lane.id]), str(released), str(passed), text)
    return table


def run_demo(options: Options, console: Console) -> bool:
    """Run a demonstration and print its summary; whether everybody got their due. Raises DemoError, OSError."""
    folder = options.keep or Path(tempfile.mkdtemp(prefix="gate-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    summary = asyncio.run(Demo(options, folder, console).run())  # when it fails, its files stay for whoever looks
    show(summary, console)
    if options.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return summary.good
