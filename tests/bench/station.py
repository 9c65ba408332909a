"""The station measured: decisions at 4 and 48 lanes, idle cost, memory, start-up."""

import asyncio
import statistics
import subprocess
import sys
import time

from tests.bench.figures import Figure, buckets, from_buckets, quantile
from tests.bench.load import Controller, controller, passages

LOAD_S = 30.0
IDLE_S = 20.0
PER_S = 50.0


async def under_load(lanes: int, event_loop: str, seconds: float) -> list[Figure]:
    """Decision and stage times, CPU and memory of a station at 50 passages a second in total."""
    async with controller(lanes, fast=True, event_loop=event_loop) as station:
        cpu_s, started_s = station.cpu_s(), time.perf_counter()
        made, lines = await passages(station, PER_S, seconds)
        spent_s = time.perf_counter() - started_s
        note = f"{lanes} lanes, {made / seconds:.0f}/s, {event_loop}, serial lines at 115,200 Bd"
        counts = buckets(station.page(), "gate_decision_duration_seconds")
        figures = [
            Figure(
                f"decision_{key}_ms",
                round(1000 * from_buckets(counts, q), 3),
                "ms",
                made,
                note,
            )
            for key, q in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
        ]
        for stage in ("lookup", "release", "passage"):
            spent = [line["stages_us"][stage] / 1000 for line in lines if stage in line["stages_us"]]
            figures += [
                Figure(f"stage_{stage}_{key}_ms", round(quantile(spent, q), 3), "ms", len(spent), note)
                for key, q in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
            ]
        cpu = 100 * (station.cpu_s() - cpu_s) / spent_s
        figures.append(Figure("station_cpu_pct", round(cpu, 1), "% of a core", made, note))
        figures += _memory(station, note)
        return figures


def _memory(station: Controller, note: str) -> list[Figure]:
    return [
        Figure("station_rss_mb", round(station.memory_mb("RssAnon"), 1), "MB", 1, f"RssAnon, {note}"),
        Figure("station_rss_file_mb", round(station.memory_mb("RssFile"), 1), "MB", 1, f"RssFile, {note}"),
    ]


async def idle(lanes: int, event_loop: str) -> list[Figure]:
    """What polling alone costs, and how soon the station is ready."""
    async with controller(lanes, fast=False, event_loop=event_loop) as station:
        await asyncio.sleep(3.0)  # start-up is over
        cpu_s, started_s = station.cpu_s(), time.perf_counter()
        await asyncio.sleep(IDLE_S)
        cpu = 100 * (station.cpu_s() - cpu_s) / (time.perf_counter() - started_s)
        note = f"{lanes} polled lanes, {event_loop}"
        return [
            Figure(f"station_idle_cpu_pct_{lanes}_lanes", round(cpu, 1), "% of a core", 1, note),
            Figure("station_ready_s", round(station.ready_s, 2), "s", 1, f"{lanes} lanes, {event_loop}"),
        ]


def cli_help() -> Figure:
    """`gate --help`, median of seven."""
    spent = []
    for _ in range(7):
        started_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gate", "--help"], check=True, capture_output=True)
        spent.append(time.perf_counter() - started_s)
    return Figure("cli_help_s", round(statistics.median(spent), 3), "s", len(spent), "median")


def measure() -> list[Figure]:
    """All figures of the station, by both event loops."""
    figures = [cli_help()]
    for event_loop in ("uvloop", "asyncio"):
        figures += asyncio.run(idle(48, event_loop))
        for lanes in (4, 48):
            figures += asyncio.run(under_load(lanes, event_loop, LOAD_S))
    return figures
