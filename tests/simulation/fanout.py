"""How one nats-server serves many stations: `python -m tests.simulation.fanout --subscribers 200 --deltas 100`.

Real server, real `JetStreamSource`s: each its own connection and durable consumer, and each delta is acknowledged
after it was fetched. Measured: from publish to received by the last station, CPU and bytes of the server, and how
long all stations take to come back when the server is killed and started again, with the shipped jitter and with
next to none.

Runs on 2 cores that server, publisher and stations shared (nats-server 2.9.10, 100 deltas of 60 kB, no TLS):

    200 stations: last received after 78 ms (p50), 122 ms (p99); server 31 ms CPU and 12.1 MB out per delta
    100 stations: last received after 23 ms (p50), 46 ms (p99); server 13 ms CPU and 6.1 MB out per delta
    so a station costs 0.15 ms of CPU and 60.6 kB per delta: the delta once, and 0.6 kB beside it
    200 stations come back in 4.9 s, 52 in the busiest second (even would be 40); without jitter in 0.35 s, all in one

On paper, 5,000 stations, a delta of 60 kB each minute from one issuer:

- All at one server: 5,000 x 0.15 ms = 0.76 s of CPU, and 5,000 x 60.6 kB = 303 MB out, 2.4 s of a 1 Gbit/s line. So
  the last station has it after more than 2.4 s: not within the second that issue 3 asks for, and 436 GB a day.
- 50 leaf nodes (one a line or a city) of 100 stations each, every leaf with a mirror of the stream in its own
  JetStream (`ensure_mirror`): the hub sends 50 x 60.6 kB = 3.0 MB a delta, 24 ms at 1 Gbit/s, 8 ms of CPU, 4.4 GB a
  day. A leaf sends 100 x 60.6 kB = 6.1 MB, 49 ms at 1 Gbit/s, 15 ms of CPU. In sequence: 24 + 49 + 46 ms (p99 of 100
  stations, which holds the CPU) and twice the way, say 20 ms each: 0.16 s.
- A station receives 1,440 x 60.6 kB = 87 MB a day from one issuer, 0.61 GB from seven.
- 5,000 stations back at once: at one server 5,000 x 1.6 ms = 8 s of CPU, and TLS beside it, so the first 5 s of
  jitter do not suffice on 2 cores; those that time out wait up to 10, 20, 40, 60 s. At a leaf, 100 stations are 0.16
  s of CPU in 5 s. A hub that restarts is noticed by 50 leaves and by no station. What they missed is the deltas of
  the outage: a whole day of them is 87 MB a station, 8.7 GB a leaf, 70 s at 1 Gbit/s. A snapshot (1.6 GB) is needed
  only after more than three days, or a lost disk: 100 of them at once from one leaf are 160 GB, 21 min at 1 Gbit/s.

Layout, tested in tests/sync/test_jetstream.py. The hub: `jetstream { domain: hub }` and `leafnodes { listen: … }`. A
leaf: `jetstream { domain: leaf-1 }` and `leafnodes { remotes: [ { url: "tls://hub…" } ] }`. Stations name their leaf
in `source = "nats:…"` and know nothing of the hub; cut off from it, a leaf goes on serving what it has.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop

from gate.sync.jetstream import JetStreamSource, Limits
from gate.sync.jetstream_publisher import StreamLimits, ensure_stream, publish_delta_on
from gate.sync.natslink import SYSTEM, Link
from gate.sync.source import Outcome, SourceError
from tests.support.nats import NatsServer, nats_server

STREAM = "AKM"
DELTA_BYTES = 60_000  # about 1,000 changes, a minute's worth of a region (60 B each)
PROCESSES = 2  # one a core
ARRIVAL_S = 60.0  # no delta takes so long; then the run has failed
STORM_S = 120.0  # the same for a come-back


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run does."""

    subscribers: int = 200
    deltas: int = 100
    delta_bytes: int = DELTA_BYTES
    processes: int = PROCESSES
    spread_s: float = 5.0  # the shipped `retry_first_s`


# A process of stations. It reports (kind, sequence, monotonic seconds); the clock is the same for all processes.


async def _station(address: str, folder: Path, name: str, limits: Limits, say: Callable[[str, int], None]) -> None:
    source = JetStreamSource(address, folder / name, name, limits=limits)
    linked = False
    try:
        while True:
            try:
                await source.changed()
                if not linked:
                    linked = True
                    say("linked", 0)
                for entry in sorted(await source.catalogue(), key=lambda entry: entry.sequence):
                    await source.fetch(entry)
                    say("received", entry.sequence)
                    await source.settled(entry, Outcome.TAKEN)
            except SourceError:
                linked = False
    finally:
        await source.close()


def _stations(address: str, folder: Path, names: list[str], limits: Limits, pipe: Connection) -> None:
    """The main function of one process; ends when its pipe says so."""

    async def run() -> None:
        def say(kind: str, number: int) -> None:
            pipe.send((kind, number, time.monotonic()))

        tasks = [asyncio.create_task(_station(address, folder, name, limits, say)) for name in names]
        await asyncio.to_thread(pipe.recv)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    uvloop.run(run())


class Crowd:
    """All stations, in a few processes."""

    def __init__(self, plan: Plan, address: str, folder: Path, limits: Limits) -> None:
        self._plan = plan
        self._pipes: list[Connection] = []
        self._processes = []
        self.events: list[tuple[str, int, float]] = []
        spawn = multiprocessing.get_context("spawn")
        for number in range(plan.processes):
            names = [f"station-{n}" for n in range(number, plan.subscribers, plan.processes)]
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_stations, args=(address, folder, names, limits, theirs))
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    async def until(self, kind: str, number: int, count: int, seconds: float) -> list[float]:
        """When `count` stations had reported this."""
        async with asyncio.timeout(seconds):
            while True:
                self._hear()
                times = [at for what, which, at in self.events if (what, which) == (kind, number)]
                if len(times) >= count:
                    return times
                await asyncio.sleep(0.002)

    def end(self) -> None:
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for process in self._processes:
            process.join(30)
            if process.is_alive():
                process.kill()

    def _hear(self) -> None:
        for pipe in self._pipes:
            while pipe.poll():
                self.events.append(pipe.recv())


async def measure(plan: Plan) -> list[dict[str, Any]]:
    """One run: the figures, as `{name, value, unit, n, note}`."""
    folder = Path(tempfile.mkdtemp(prefix="fanout-"))
    try:
        async with nats_server(folder / "server") as server:
            return await _measure(plan, server, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _measure(plan: Plan, server: NatsServer, folder: Path) -> list[dict[str, Any]]:
    await ensure_stream(server.url, STREAM, limits=StreamLimits(max_bytes=2**31, snapshot_bytes=2**28))
    note = f"{plan.subscribers} stations, {plan.delta_bytes // 1000} kB a delta, {os.cpu_count()} cores shared"
    figures: list[dict[str, Any]] = []

    def add(name: str, value: float, unit: str, n: int, more: str = "") -> None:
        figures.append({"name": name, "value": round(value, 3), "unit": unit, "n": n, "note": f"{note}{more}"})

    limits = replace(Limits(), retry_first_s=plan.spread_s)
    began = time.monotonic()
    crowd = Crowd(plan, f"{server.url}/{STREAM}", folder, limits)
    try:
        first = await crowd.until("linked", 0, plan.subscribers, STORM_S)
        add(
            "fanout_first_links_s",
            max(first) - began,
            "s",
            plan.subscribers,
            ", with the start of processes",
        )
        await _fan_out(plan, server, folder, crowd, add)
        crowd.events.clear()
        await _storm(plan, server, crowd, add)
    finally:
        crowd.end()
    return figures


async def _fan_out(plan: Plan, server: NatsServer, folder: Path, crowd: Crowd, add: Callable[..., None]) -> None:
    link = Link(server.url)
    await link.open(SYSTEM, "publisher")
    before, cpu_s = server.varz(), server.cpu_s()
    each: list[float] = []
    lasts: list[float] = []
    for sequence in range(1, plan.deltas + 1):
        path = folder / "delta"
        path.write_bytes(os.urandom(plan.delta_bytes))
        published = time.monotonic()
        await publish_delta_on(link, STREAM, path, sequence=sequence, from_sequence=sequence - 1)
        times = await crowd.until("received", sequence, plan.subscribers, ARRIVAL_S)
        each += [(at - published) * 1000 for at in times]
        lasts.append((max(times) - published) * 1000)
    after = server.varz()
    add("fanout_last_p50_ms", statistics.median(lasts), "ms", plan.deltas)
    add("fanout_last_p99_ms", _quantile(lasts, 0.99), "ms", plan.deltas)
    add("fanout_each_p50_ms", statistics.median(each), "ms", len(each))
    add("fanout_each_p99_ms", _quantile(each, 0.99), "ms", len(each))
    add("fanout_server_cpu_ms_per_delta", (server.cpu_s() - cpu_s) * 1000 / plan.deltas, "ms", plan.deltas)
    add(
        "fanout_server_kb_out_per_delta",
        (after["out_bytes"] - before["out_bytes"]) / plan.deltas / 1000,
        "kB",
        plan.deltas,
    )
    add(
        "fanout_server_kb_in_per_delta",
        (after["in_bytes"] - before["in_bytes"]) / plan.deltas / 1000,
        "kB",
        plan.deltas,
    )
    add("fanout_server_messages_per_delta", (after["out_msgs"] - before["out_msgs"]) / plan.deltas, "", plan.deltas)
    add("fanout_server_rss_mb", server.rss_mb(), "MB", 1)
    await link.close()


async def _storm(plan: Plan, server: NatsServer, crowd: Crowd, add: Callable[..., None]) -> None:
    """Kill the server, start it, and see all stations come back."""
    server.kill()
    began = time.monotonic()
    await server.start()
    times = sorted(at - began for at in await crowd.until("linked", 0, plan.subscribers, STORM_S))
    more = f", waits up to {plan.spread_s:g} s at first"
    add("storm_all_back_s", times[-1], "s", plan.subscribers, more)
    add("storm_busiest_second", max(_in_window(times, at) for at in times), "stations", plan.subscribers, more)
    add(
        "storm_server_cpu_ms_per_station",
        server.cpu_s() * 1000 / plan.subscribers,
        "ms",
        plan.subscribers,
        more,
    )


def _in_window(times: list[float], start: float) -> int:
    return sum(start <= at < start + 1.0 for at in times)


def _quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def table(figures: list[dict[str, Any]]) -> str:
    """The figures for people."""
    return "\n".join(f"{f['name']:36} {f['value']:>12} {f['unit']:9} n={f['n']:<6} {f['note']}" for f in figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=200)
    parser.add_argument("--deltas", type=int, default=100)
    parser.add_argument("--bytes", type=int, default=DELTA_BYTES)
    given = parser.parse_args()
    plan = Plan(given.subscribers, given.deltas, given.bytes)
    figures = asyncio.run(measure(plan))
    # The same storm without jitter to speak of: everybody tries again at once.
    figures += [f for f in asyncio.run(measure(replace(plan, spread_s=0.01))) if f["name"].startswith("storm")]
    sys.stdout.write(f"{table(figures)}\n{figures}\n")


if __name__ == "__main__":
    main()
