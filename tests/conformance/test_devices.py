"""What every driver must do on a real port, against its own simulated device."""

import asyncio
from itertools import pairwise
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import CardNumberReport, CardReport, CodeReport, Down, Emergency, Passed, Up
from tests.conformance.plug import BACK_S, CASE_NAMES, CASES, START_S, Plug, at_work

pytestmark = pytest.mark.parametrize(("info", "kind"), CASES, ids=CASE_NAMES)


def test_it_is_up_when_plugged_and_down_when_not(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """Down while nothing is there, Up, Down with the next fault when it is pulled, Up within 2 s: each said once."""

    async def story() -> None:
        plug = Plug(info, kind, tmp_path)
        async with at_work(info, plug) as run:
            await run.until(lambda: run.last_is(Down), START_S)
            for _ in range(2):
                await plug.plug()
                await run.until(lambda: run.last_is(Up), BACK_S)
                await plug.unplug()
                await run.until(lambda: run.last_is(Down), BACK_S)
            await asyncio.sleep(0.7)  # a few more attempts to open: none may be said again
            marks = [(type(state), getattr(state, "fault", None)) for state in run.states]
            assert all(one != next_one for one, next_one in pairwise(marks)), marks
            assert sum(isinstance(state, Up) for state in run.states) == 2

    asyncio.run(story())


def test_noise_in_its_place_harms_nothing(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """64 kB of nonsense: no card, no passage, no fire, no held-up loop; and the device is found when it is back."""

    async def story() -> None:
        plug = Plug(info, kind, tmp_path)
        await plug.plug_noise()
        async with at_work(info, plug) as run:
            await run.until(lambda: bool(run.states), START_S)
            await asyncio.sleep(0.3)  # the noise is short; this is for what it may set off
            await plug.unplug()
            await run.until(lambda: run.last_is(Down), START_S)
            await plug.plug()
            await run.until(lambda: run.last_is(Up), BACK_S)
            assert run.late_s < 1.0, "the event loop stood still"
            false = [
                report for report in run.said if isinstance(report, CardReport | CardNumberReport | Passed | Emergency)
            ]
            assert not [report for report in false if not isinstance(report, Emergency) or report.active]

    asyncio.run(story())


def test_it_hides_what_it_read(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """Whatever it reports, no byte of a card or code shows in repr or str; readers and scanners do report some."""

    async def story() -> None:
        plug = Plug(info, kind, tmp_path)
        await plug.plug()
        async with at_work(info, plug) as run:
            await run.until(lambda: run.last_is(Up), START_S)
            if info.kind in ("card-reader", "code-scanner"):
                await run.until(
                    lambda: any(isinstance(r, CardReport | CodeReport | CardNumberReport) for r in run.said), START_S
                )
        for report in run.said:
            number = report.number.encode() if isinstance(report, CardNumberReport) else b""
            secret = getattr(report, "text", getattr(report, "payload", number))
            shown = repr(report) + str(report) + f"{report}"
            assert not secret or all(form not in shown for form in (repr(secret)[2:-1], secret.hex()))
            assert "b'" not in shown

    asyncio.run(story())


def test_it_stops_at_once_while_nothing_is_there(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """Cancelled in the middle of its attempts, and before the first."""

    async def story() -> None:
        plug = Plug(info, kind, tmp_path)
        async with at_work(info, plug) as run:
            await run.until(lambda: run.last_is(Down), START_S)
        async with at_work(info, plug):
            pass

    asyncio.run(story())
