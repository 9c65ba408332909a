"""How long a change takes from its publisher to being decisive at a gate, over a real JetStream."""

import asyncio
import contextlib
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from gate import config
from gate.feed.finding import Listed
from gate.sync.jetstream_publisher import ensure_stream, publish_delta, publish_snapshot
from gate.sync.process import FeedProcess
from gate.sync.store import open_store
from tests.bench.feed import ISSUER, make_land, moment, publish_land, red_state, write_delta
from tests.bench.figures import Figure, quantile
from tests.support.nats import nats_server

PEOPLE = 1_000_000
DELTAS = 100
CHANGES = 50  # people of one delta: the changes of a few seconds in the whole Delta
SEEN_S = 10.0


async def publish_to_gate() -> list[Figure]:
    """From the call that publishes a delta to the first look-up that answers by it, in another process."""
    with tempfile.TemporaryDirectory(prefix="gate-bench-publish-") as name:
        folder = Path(name)
        land = make_land(folder, PEOPLE)
        snapshot = folder / "zj-1.snapshot"
        header = publish_land(land, 1, snapshot)
        async with nats_server(folder / "nats") as server:
            await ensure_stream(server.url, ISSUER)
            await publish_snapshot(server.url, ISSUER, snapshot, sequence=1)
            applied = asyncio.Event()
            store = open_store(folder / "store", [ISSUER])

            def hear(event: dict[str, Any]) -> None:
                if event["event"] == "applied":  # as the station does
                    store.refresh()
                    applied.set()

            keys = folder / "keys"
            feed = config.Feed(ISSUER, f"{server.url}/{ISSUER}", keys / "zj.keys", keys / "zj.pepper")
            offset_s = time.time() - time.monotonic()
            process = FeedProcess("bench", folder / "store", [feed], lambda: offset_s, hear)
            running = asyncio.create_task(process.run())
            await asyncio.wait_for(applied.wait(), 60)
            spent = []
            red = np.frombuffer(red_state(land.now_s), np.uint8)
            greens = land.sample[land.sample[:, 16] == 16]
            for number in range(DELTAS):
                some = greens[number * CHANGES : (number + 1) * CHANGES]
                path = folder / f"zj-{header.sequence + 1}.delta"
                after = write_delta(land, header, some, np.tile(red, (len(some), 1)), path)
                applied.clear()
                started_s = time.perf_counter()
                await publish_delta(server.url, ISSUER, path, sequence=after.sequence, from_sequence=header.sequence)
                async with asyncio.timeout(SEEN_S):
                    while not isinstance(store.find({ISSUER: some[0, :16].tobytes()}, moment(land))[0], Listed):
                        await applied.wait()
                        applied.clear()
                spent.append(1000 * (time.perf_counter() - started_s))
                header = after
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            store.close()
        note = f"{PEOPLE:,} people, {CHANGES} changes a delta, publisher's connection included"
        return [
            Figure("feed_publish_to_gate_p50_ms", round(quantile(spent, 0.5), 1), "ms", len(spent), note),
            Figure("feed_publish_to_gate_p99_ms", round(quantile(spent, 0.99), 1), "ms", len(spent), note),
        ]


def measure() -> list[Figure]:
    """All of it."""
    return asyncio.run(publish_to_gate())
