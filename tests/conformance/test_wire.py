"""Every driver behind a faulty cable: the faults of drivers/simulated/wire.py, one after the other, on a real port."""

import asyncio
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import CardReport, CodeReport, Down, Emergency, Passed, Tailgating, Up
from drivers.simulated.wire import FAULTS, WireFaults
from tests.conformance.plug import BACK_S, CASE_NAMES, CASES, START_S, Plug, Run, at_work

BEHIND_A_CABLE = [(case, name) for case, name in zip(CASES, CASE_NAMES, strict=True) if "silent" in case[0].knobs]
FAULT_S = 0.6  # how long each lasts: several polls of every driver
# Late by more than an answer may take, so that it arrives while the next is awaited.
STORY = [{"silent": True}, {"garbled_every": 1}, {"late_ms": 700}, {"wrong_answer": True}, {"garbled_every": 3}]
pytestmark = pytest.mark.parametrize(
    ("info", "kind"), [case for case, _ in BEHIND_A_CABLE], ids=[name for _, name in BEHIND_A_CABLE]
)


def heard(run: Run) -> int:
    """How many cards or codes."""
    return sum(isinstance(report, CardReport | CodeReport) for report in run.said)


def well(info: registry.DriverInfo, run: Run, since: int) -> Callable[[], bool]:
    """Up and, for what reads, something read since."""
    reads = info.kind in ("card-reader", "code-scanner")
    return lambda: run.last_is(Up) and (not reads or heard(run) > since)


def test_no_fault_of_the_cable_is_taken_for_a_person(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """Silence, garbling, lateness, answers of other commands: nobody passed, no fire, and up 2 s after it is good."""

    async def story() -> None:
        faults = WireFaults()
        FAULTS.set(faults)
        plug = Plug(info, kind, tmp_path)
        await plug.plug()
        async with at_work(info, plug) as run:
            await run.until(well(info, run, 0), START_S)
            for fault in STORY:
                for name, value in fault.items():
                    setattr(faults, name, value)
                await asyncio.sleep(FAULT_S)
                for name in fault:
                    setattr(faults, name, getattr(WireFaults(), name))
                await run.until(lambda: run.last_is(Up), BACK_S)
                await run.until(well(info, run, heard(run)), START_S)
            false = [report for report in run.said if isinstance(report, Passed | Tailgating | Emergency)]
            assert not [report for report in false if not isinstance(report, Emergency) or report.active]
            assert run.late_s < 1.0, "the event loop stood still"

    asyncio.run(story())


def test_pieces_are_no_fault(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """Answers that arrive 16 bytes at a time: it works, and was never down."""

    async def story() -> None:
        FAULTS.set(WireFaults(chopped=16))
        plug = Plug(info, kind, tmp_path)
        await plug.plug()
        async with at_work(info, plug) as run:
            await run.until(well(info, run, 0), START_S)
            assert not any(isinstance(report, Down) for report in run.said)

    asyncio.run(story())


def test_its_simulator_obeys_the_cable(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """The knobs that `gate devices simulate` lists for it do what they say: silent from the start, nothing is heard."""

    async def story() -> None:
        FAULTS.set(WireFaults(silent=True))
        plug = Plug(info, kind, tmp_path)
        await plug.plug()
        async with at_work(info, plug) as run:
            await run.until(lambda: bool(run.states), START_S)  # an engine that is never asked is up when its port is
            await asyncio.sleep(FAULT_S)  # three of its passengers
            assert heard(run) == 0
            assert not info.asks or not any(isinstance(report, Up) for report in run.said)

    asyncio.run(story())


def test_the_knobs_of_the_cable_are_declared(info: registry.DriverInfo, kind: str) -> None:
    """Each fault has its declaration, with the default that is a good cable."""
    for field in fields(WireFaults):
        assert info.knobs[field.name].default == field.default
