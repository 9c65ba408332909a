"""One soak: the processes of the station, the yards and far lanes' agents; its own metrics tell p99."""

import asyncio
import contextlib
import json
import os
import re
import statistics
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from gate.passage.record import PassageRecord
from gate.sim.controller import start, stop
from gate.sim.signs import Signs
from gate.sim.world import Addresses, publish_feeds, station_toml
from gate.station.chain import read_records, verify_chain
from tests.bench.figures import from_buckets, since
from tests.simulation.soak.audit import Audit, audit, compare_metrics
from tests.simulation.soak.lanes import lane_id
from tests.simulation.soak.yard import Plan, everybody

UP_S = 60.0  # every device of 48 lanes, on two busy cores
LINE_LIMIT = 2**20  # a yard's lanes as one line
SETTLED_S = 7.0  # from a mended fault to rest, as `yard.REST_S` and a recovery
JOURNAL_S = 1.5  # its last lines are on disk: its own limit is a second
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_DECISIONS = re.compile(r'gate_decision_duration_seconds_bucket{lane="([^"]+)",le="([^"]+)",verdict="GRANT"} (\S+)')
_PASSAGES = re.compile(r'gate_passages_total{direction="[^"]*",lane="([^"]+)",outcome="([^"]+)"} (\S+)')

Buckets = Mapping[str, Mapping[float, float]]  # by lane


@dataclass(frozen=True, slots=True)
class Settings:
    """What a soak does."""

    lanes: int
    per_s: float
    windows: int
    window_s: float
    faulty: int
    seed: int
    yards: int = 2


@dataclass(slots=True)
class Window:
    """The part of a window that is measured: `decisions` are those of its time alone."""

    number: int
    decisions: dict[str, dict[float, float]]
    cpu_pct: float


@dataclass(slots=True)
class Found:
    """What a soak found."""

    settings: Settings
    audit: Audit
    records: list[PassageRecord]
    faults: Counter[str]
    windows: list[Window] = field(default_factory=list)
    pairs: list[tuple[float, float]] = field(default_factory=list)  # p99 in ms, without faults and with
    seconds: float = 0.0  # in which people came

    @property
    def good(self) -> bool:
        """Whether everything is accounted for; what it cost is for whoever reads."""
        return not self.audit.problems


async def soak(settings: Settings, folder: Path) -> Found:
    """Run one."""
    plan = Plan(**asdict(settings), folder=str(folder))
    publish_feeds(folder / "feeds", everybody(plan.seed))
    async with contextlib.AsyncExitStack() as stack:
        yards = [await stack.enter_async_context(_yard(replace(plan, number=n))) for n in range(plan.yards)]
        lanes = [row for yard in yards for row in yard.lanes]
        text = station_toml(folder, [], Addresses("127.0.0.1:0", "127.0.0.1:0"))
        (folder / "station.toml").write_text(text + "".join(row["station"] for row in lanes))
        controller = await start(folder / "station.toml", folder / "controller.log")
        try:
            for row in lanes:
                if row["far"]:
                    await stack.enter_async_context(_agent(folder, row, controller.grpc[0]))
            async with Signs(controller.grpc[0]) as signs:
                assert await signs.until_up(UP_S), "not every device of every lane is up"
            windows, seconds = await _windows(plan, yards, controller.process.pid, controller.metrics[0])
            passages = _passages(await asyncio.to_thread(_page, controller.metrics[0]))
        finally:
            assert await stop(controller.process) == 0
    return _found(settings, plan, folder, windows, passages, seconds)


def _found(
    settings: Settings,
    plan: Plan,
    folder: Path,
    windows: list[Window],
    passages: Mapping[tuple[str, str], int],
    seconds: float,
) -> Found:
    ledgers = [json.loads((folder / f"ledger-{number}.json").read_text()) for number in range(plan.yards)]
    journal = folder / "data" / "journal"
    records = list(read_records(journal))
    done = audit(ledgers, records)
    done.problems += verify_chain(journal)
    done.problems += compare_metrics(passages, [one for one in records if one.outcome != "CONTROLLER_STOPPED"])
    faults = Counter(f"{fault['device']}: {fault['name']}" for ledger in ledgers for fault in ledger["faults"])
    return Found(settings, done, records, faults, windows, _pairs(plan, windows), seconds)


# --- processes -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class YardProcess:
    """A running yard."""

    process: asyncio.subprocess.Process
    lanes: list[dict[str, Any]]

    async def work(self, starts_s: float, pids: Sequence[int]) -> None:
        """Until its ledger is written. `pids`: whom it watches."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(" ".join(map(str, [starts_s, *pids])).encode() + b"\n")
        await self.process.stdin.drain()
        said = await self.process.stdout.readline()
        assert said == b"written\n", "a yard ended early: its own words are above"


@contextlib.asynccontextmanager
async def _yard(plan: Plan) -> AsyncIterator[YardProcess]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.simulation.soak.yard", json.dumps(asdict(plan))),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LINE_LIMIT,
    )
    try:
        assert process.stdout
        yield YardProcess(process, json.loads(await process.stdout.readline()))
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def _agent(folder: Path, row: Mapping[str, Any], controller: str) -> AsyncIterator[None]:
    """A far lane's own computer."""
    config = folder / f"lane-{row['id']}.toml"
    config.write_text(row["own"])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gate", "lane-agent", "--config", str(config), "--controller", controller),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    await process.wait()


# --- windows -------------------------------------------------------------------------------------------------------


async def _windows(plan: Plan, yards: Sequence[YardProcess], pid: int, metrics: str) -> tuple[list[Window], float]:
    """Let people walk, and look at the metrics where each window's measured part begins and ends."""
    starts_s = time.time() + 1.0
    windows = []
    async with asyncio.TaskGroup() as working:  # a yard that fails ends it all
        for yard in yards:
            working.create_task(yard.work(starts_s, [pid, yard.process.pid]))
        for number in range(plan.windows):
            windows.append(await _window(plan, number, starts_s + number * plan.window_s, pid, metrics))
    seconds = plan.windows * plan.window_s - plan.quiet_s
    await asyncio.sleep(JOURNAL_S)
    return windows, seconds


async def _window(plan: Plan, number: int, begins_s: float, pid: int, metrics: str) -> Window:
    await asyncio.sleep(max(0.0, begins_s + plan.window_s / 10 - time.time()))
    before, cpu_s, since_s = await _decisions(metrics), _cpu_s(pid), time.time()
    await asyncio.sleep(max(0.0, begins_s + plan.window_s - plan.mends_s - time.time()))
    after, spent_s = await _decisions(metrics), time.time() - since_s
    between = {lane: since(now, before.get(lane, {})) for lane, now in after.items()}
    return Window(number, between, 100 * (_cpu_s(pid) - cpu_s) / spent_s)


def _page(metrics: str) -> str:
    with urllib.request.urlopen(metrics, timeout=10) as reply:
        text: str = reply.read().decode()
        return text


async def _decisions(metrics: str) -> dict[str, dict[float, float]]:
    """The cumulative counts of each lane's grants by upper bound."""
    found: dict[str, dict[float, float]] = {}
    for lane, bound, count in _DECISIONS.findall(await asyncio.to_thread(_page, metrics)):
        found.setdefault(lane, {})[float(bound)] = float(count)
    return found


def _passages(page: str) -> dict[tuple[str, str], int]:
    return {(lane, outcome): int(float(count)) for lane, outcome, count in _PASSAGES.findall(page) if float(count)}


def _pairs(plan: Plan, windows: Sequence[Window]) -> list[tuple[float, float]]:
    """p99 of the lanes that are whole in a window with faults, in the window before it and in it."""
    whole = [{lane_id(n) for n in range(plan.lanes)} - set(plan.faulty_lanes(w.number)) for w in windows]
    return [
        (_p99_ms(calm, whole[broken.number]), _p99_ms(broken, whole[broken.number]))
        for calm, broken in zip(windows[::2], windows[1::2], strict=True)
    ]


def _p99_ms(window: Window, lanes: set[str]) -> float:
    together: Counter[float] = Counter()
    for lane in lanes:
        together.update(window.decisions.get(lane, {}))
    return 1000 * from_buckets(together, 0.99)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * _TICK_S


# --- words ---------------------------------------------------------------------------------------------------------


def report(found: Found) -> str:
    """All of it for people."""
    ratios = [broken / calm for calm, broken in found.pairs if calm]
    outcomes = Counter(record.outcome for record in found.records)
    counts = found.audit.counts
    lines = [
        f"{counts['passages']} passages in {found.seconds:.0f} s ({counts['passages'] / found.seconds:.1f}/s), "
        f"{counts['openings']} openings, {len(found.records)} records; seed {found.settings.seed}",
        f"counted by the station: {counts['passages counted']}; not told by their turnstile: "
        f"{sum(found.audit.not_told.values())} {dict(found.audit.not_told)}",
        f"visits: {counts['visits without a fault']} without a fault, {counts['visits with a fault']} with one",
        f"outcomes: {dict(outcomes)}",
        f"{sum(found.faults.values())} faults: {dict(sorted(found.faults.items()))}",
        "p99 of decision on whole lanes, ms, without and with faults elsewhere: "
        + ", ".join(f"{calm:.2f} {broken:.2f}" for calm, broken in found.pairs),
        f"ratio: median {statistics.median(ratios):.2f}, of {len(ratios)} pairs" if ratios else "no pair",
        "CPU of the controller, % of a core: " + ", ".join(f"{window.cpu_pct:.0f}" for window in found.windows),
        *found.audit.problems[:40],
        f"{len(found.audit.problems)} problems" if found.audit.problems else "every passage accounted for exactly once",
    ]
    return "\n".join(lines)
