"""What a station's passengers notice of the feed: snapshots of a million people swapped under load."""

import asyncio
import contextlib
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.bench.feed import make_land, publish_land
from tests.bench.figures import Figure, buckets, from_buckets, median_ratio, since
from tests.bench.load import Controller, controller, passages

LANES = 48
PER_S = 50.0
PAIRS = 5
PEOPLE = 1_000_000
SWAP_EVERY_S = 5.0
_FEED = """
[[feed]]
issuer = "BIG"
source = "dir:{folder}/feed"
public_keys_file = "{folder}/keys/big.keys"
pepper_file = "{folder}/keys/big.pepper"
"""


async def swaps(pair_s: float) -> list[Figure]:
    """p99 of decisions while snapshots are swapped, beside the same load without, in alternating pairs."""
    with tempfile.TemporaryDirectory(prefix="gate-bench-swap-") as name:
        folder = Path(name)
        waiting = _snapshots(folder, 1 + PAIRS * (1 + int(pair_s / SWAP_EVERY_S)))
        next(waiting).rename(folder / "feed" / "big-1.snapshot")
        async with controller(LANES, fast=True, more_feeds=_FEED.format(folder=folder)) as station:
            pairs, made = [], 0
            for _ in range(PAIRS):
                idle, count = await _window(station, pair_s)
                task = asyncio.create_task(_swap(folder, waiting))
                busy, more = await _window(station, pair_s)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                pairs.append((1000 * busy, 1000 * idle))
                made += count + more
            return _figures(pairs, made, _failed(station.page()), _sequence(station.page()), pair_s)


def _snapshots(folder: Path, many: int) -> Iterator[Path]:
    """Made beforehand: the publisher's work is not the station's."""
    land = make_land(folder, PEOPLE, "BIG")
    (folder / "feed").mkdir()
    (folder / "later").mkdir()
    paths = [folder / "later" / f"big-{sequence}.snapshot" for sequence in range(1, many + 1)]
    for sequence, path in enumerate(paths, 1):
        publish_land(land, sequence, path)
        land.non_green.clear()
    return iter(paths)


async def _swap(folder: Path, waiting: Iterator[Path]) -> None:
    for path in waiting:
        path.rename(folder / "feed" / path.name)
        await asyncio.sleep(SWAP_EVERY_S)


async def _window(station: Controller, seconds: float) -> tuple[float, int]:
    before = buckets(station.page(), "gate_decision_duration_seconds")
    made, _ = await passages(station, PER_S, seconds)
    return from_buckets(since(buckets(station.page(), "gate_decision_duration_seconds"), before), 0.99), made


def _failed(page: str) -> int:
    """Decisions that a feed's trouble spoiled; the people under load are all green."""
    lines = [line for line in page.splitlines() if line.startswith("gate_verdicts_total")]
    return sum(round(float(line.rpartition(" ")[2])) for line in lines if 'verdict="GRANT"' not in line)


def _sequence(page: str) -> int:
    return next(
        round(float(line.rpartition(" ")[2])) for line in page.splitlines() if 'feed_sequence{issuer="BIG"' in line
    )


def _figures(pairs: list[tuple[float, float]], made: int, failed: int, sequence: int, pair_s: float) -> list[Figure]:
    busy, idle = (round(statistics.median(each), 3) for each in zip(*pairs, strict=True))
    note = (
        f"{LANES} lanes, {PER_S:g}/s, {PEOPLE:,} people swapped every {SWAP_EVERY_S:g} s; {PAIRS} pairs of {pair_s:g} s"
    )
    return [
        Figure("decision_p99_ms_under_swaps", busy, "ms", made, note, "no swaps", idle, round(median_ratio(pairs), 3)),
        Figure("decisions_failed_under_swaps", failed, "decisions", made, f"{sequence} snapshots were taken"),
    ]


def measure(pair_s: float) -> list[Figure]:
    """All of it."""
    return asyncio.run(swaps(pair_s))
