"""The demonstration: a real controller in its own process, simulated devices on real ports, passengers arriving."""

import asyncio
import contextlib
import logging
import os
import random
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.table import Table

from gate.sim.passengers import Passenger, Result, habits
from gate.sim.people import Person, make_people
from gate.sim.summary import Summary, show, summarise
from gate.sim.world import Addresses, SimulatedLane, make_lane, publish_feeds, station_toml

log = logging.getLogger(__name__)

PEOPLE = 10_000
READY_S = 30.0  # a slow machine's first start; ready is aimed at 2 s
STOP_S = 15.0  # the controller's own limit is 5 s for passages and 2 s for the journal
TABLE_S = 0.5


class DemoError(Exception):
    """The demonstration could not run; the text says what failed outside."""


class _PortTakenError(Exception):
    """Another program listens where the controller should."""


@dataclass(slots=True)
class Options:
    """What the command line asks for."""

    lanes: int = 4
    seconds: float | None = None  # None: until Ctrl-C
    passengers_per_minute: float = 30.0
    seed: int = 1
    keep: Path | None = None  # keep everything written in this folder


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
        # Every fourth lane scans with a camera, the others with a serial engine.
        lanes = [make_lane(n, self.folder / "ports", camera=n % 4 == 3) for n in range(self.options.lanes)]
        for lane in lanes:
            await lane.plug()
        controller = await self._start_somewhere(lanes)
        said = self.log.read_text("utf-8")
        for name, pattern in (("gRPC   ", r"gRPC at (\S+:\d+)$"), ("metrics", r"metrics at (\S+)$")):
            self.console.print(f"{name} {', '.join(re.findall(pattern, said, re.MULTILINE))}")
        self.console.print(f"files   {self.folder}")
        try:
            await self._passengers(lanes, people, controller)
        finally:
            code = await self._stop(controller)
            for lane in lanes:
                await lane.unplug()
        if code != 0:
            raise DemoError(f"the controller ended with {code}: see {self.log}")
        return summarise(self.results, self.folder / "data" / "journal")

    async def _start_somewhere(self, lanes: list[SimulatedLane]) -> asyncio.subprocess.Process:
        """At the usual ports, or, when another demonstration has them, at any that are free."""
        config = self.folder / "station.toml"
        for addresses in (Addresses("127.0.0.1:50051", "127.0.0.1:9464"), Addresses("127.0.0.1:0", "127.0.0.1:0")):
            config.write_text(station_toml(self.folder, lanes, addresses), "utf-8")
            try:
                return await self._start(config)
            except _PortTakenError:
                continue
        raise DemoError("no TCP port is free on 127.0.0.1")

    async def _start(self, config: Path) -> asyncio.subprocess.Process:
        with self.log.open("wb") as output:
            controller = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gate",
                *(["--verbose"] if log.isEnabledFor(logging.DEBUG) else []),
                "run",
                "--config",
                str(config),
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                start_new_session=True,  # Ctrl-C is ours: the controller is stopped by SIGTERM, after the passengers
            )
        assert controller.stdout is not None  # noqa: S101 - PIPE was asked for
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READY_S):
                while line := await controller.stdout.readline():
                    if line.startswith(b"ready"):
                        return controller
        await self._stop(controller)
        said = self.log.read_text("utf-8")
        if "cannot listen" in said:
            raise _PortTakenError
        raise DemoError(f"the controller did not become ready: see {self.log}\n{said[-2000:]}")

    async def _stop(self, controller: asyncio.subprocess.Process) -> int:
        if controller.returncode is None:
            # Not `send_signal`: it looks first, and takes the exit status away from the loop that waits for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(controller.pid, signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_S):
                return await controller.wait()
        except TimeoutError:
            controller.kill()
            return await controller.wait()

    async def _passengers(
        self, lanes: list[SimulatedLane], people: list[Person], controller: asyncio.subprocess.Process
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
                share = queue[number :: len(lanes)]
                lane_draw = random.Random(draw.random())
                group.create_task(self._lane(lane, share, lane_draw, number == 0, ends))
            table = group.create_task(self._show(lanes))
            died = group.create_task(controller.wait())
            died.add_done_callback(lambda _: ends.set())
            await ends.wait()
            table.cancel()
            if died.done() and not died.cancelled():
                raise DemoError(f"the controller died: see {self.log}")
            died.cancel()

    async def _lane(
        self, lane: SimulatedLane, people: list[Person], draw: random.Random, first: bool, ends: asyncio.Event
    ) -> None:
        """Passengers of one lane, one after the other, arriving at random; who is there when time is up finishes."""
        arrives_s = asyncio.get_running_loop().time()
        for person, habit in zip(people, habits(draw, first), strict=False):
            arrives_s += draw.expovariate(self.options.passengers_per_minute / 60)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, arrives_s - asyncio.get_running_loop().time())):
                    await ends.wait()
            if ends.is_set():
                return
            self.results.append(await Passenger(person, habit, lane, draw).visit())

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
