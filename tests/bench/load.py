"""A controller in its own process under a measured load: simulated devices and tireless passengers around it."""

import asyncio
import contextlib
import itertools
import os
import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gate.feed.records import CredentialStatus
from gate.sim.people import Person, make_people
from gate.sim.world import Addresses, SimulatedLane, make_lane, publish_feeds, station_toml
from gate.station.chain import read_lines

PEOPLE = 10_000
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class Controller:
    """The process under measurement."""

    process: asyncio.subprocess.Process
    folder: Path
    lanes: list[SimulatedLane]
    people: list[Person]
    metrics: str
    ready_s: float
    # Each lane's own people, in turn: at 50 a second nobody comes again before anti-passback has forgotten them.
    queues: list[Iterator[Person]]

    def cpu_s(self) -> float:
        """User and system time of the controller and of its feed process, in seconds."""
        return sum(_cpu_s(pid) for pid in _family(self.process.pid))

    def memory_mb(self, kind: str) -> float:
        """RssAnon or RssFile of the controller in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(rf"{kind}:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def page(self) -> str:
        """Its metrics."""
        with urllib.request.urlopen(f"http://{self.metrics}/metrics", timeout=5) as reply:
            text: str = reply.read().decode()
            return text


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(int(child) for child in children)]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


@contextlib.asynccontextmanager
async def controller(
    lanes: int, fast: bool, event_loop: str = "uvloop", more_feeds: str = "", folder: Path | None = None
) -> AsyncIterator[Controller]:
    """Run a station of `lanes` lanes; `fast` sets short polls and counters so that few lanes can carry many people.

    `more_feeds` is added to its station.toml; `folder` is used instead of a temporary one.
    """
    with tempfile.TemporaryDirectory(prefix="gate-bench-") as name:
        folder = folder or Path(name)
        people = [p for p in make_people(PEOPLE, seed=3) if p.status is CredentialStatus.GREEN]
        publish_feeds(folder / "feeds", people)
        simulated = [make_lane(number, folder / "ports") for number in range(lanes)]
        for lane in simulated:
            await lane.plug()
        text = station_toml(folder, simulated, Addresses("127.0.0.1:0", "127.0.0.1:0")) + more_feeds
        if fast:
            # At 9,600 Bd the silence between two frames alone is 4 ms (Modbus over serial line 2.5.1.1).
            text = text.replace("unit = 1\n", "unit = 1\nbaud = 115200\npoll_ms = 20\npassed_counter_register = 0\n")
            text = text.replace('driver = "samv"\n', 'driver = "samv"\npoll_interval_ms = 50\n')
        (folder / "station.toml").write_text(text)
        started_s = time.perf_counter()
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "gate", "run", "--config", str(folder / "station.toml"), "--event-loop", event_loop),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readuntil(b"ready\n")
        ready_s = time.perf_counter() - started_s
        log = asyncio.create_task(_read_all(process.stderr))
        metrics = ""
        while not (found := re.search(r"metrics at http://(\S+)/metrics", metrics)):
            metrics = _SAID.get(id(process.stderr), "")
            await asyncio.sleep(0.01)
        try:
            queues = [itertools.cycle(people[number::lanes]) for number in range(lanes)]
            yield Controller(process, folder, simulated, people, found[1], ready_s, queues)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 20)
            await log
            for lane in simulated:
                await lane.unplug()


_SAID: dict[int, str] = {}


async def _read_all(stream: asyncio.StreamReader) -> None:
    while line := await stream.readline():
        _SAID[id(stream)] = _SAID.get(id(stream), "") + line.decode()


async def passages(station: Controller, per_s: float, seconds: float) -> tuple[int, list[dict[str, Any]]]:
    """Green people at all lanes, `per_s` a second in total; how many passed, and their journal lines."""
    before = sum(1 for _ in read_lines(station.folder / "data" / "journal"))
    ends_s = asyncio.get_running_loop().time() + seconds
    counts = await asyncio.gather(
        *(
            _lane(lane, mine, len(station.lanes) / per_s, ends_s)
            for lane, mine in zip(station.lanes, station.queues, strict=True)
        )
    )
    await asyncio.sleep(1.5)  # until the journal's last lines are on disk: its own limit is a second
    lines = list(read_lines(station.folder / "data" / "journal"))[before:]
    return sum(counts), [line for line in lines if line["event"] == "passage" and line["outcome"] == "PASSED"]


async def _lane(lane: SimulatedLane, people: Iterator[Person], every_s: float, ends_s: float) -> int:
    loop = asyncio.get_running_loop()
    lane.reader.knobs.answer_s = 0.001
    due_s = loop.time() + every_s * (hash(lane.id) % 100) / 100
    passed = 0
    for person in people:
        await asyncio.sleep(max(0.0, due_s - loop.time()))
        if loop.time() >= ends_s:
            break
        due_s = max(due_s + every_s, loop.time() - 1.0)
        lane.reader.present(person.card())
        if await lane.board.wait_release(3.0):
            lane.reader.remove()
            lane.board.counters[0] = (lane.board.counters[0] + 1) % 0x10000
            passed += 1
            await asyncio.sleep(0.03)  # the board's count is seen within one poll of 20 ms
    return passed
