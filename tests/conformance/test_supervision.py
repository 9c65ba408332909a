"""What a station is told of every device besides what it does: how its questions go, and each loss and return once."""

import asyncio
import os
from pathlib import Path
from unittest.mock import patch

import pytest

from drivers import registry
from drivers.contract import Answer, DeviceReport, Direction, Down, Up, Vitals
from tests.conformance.plug import CASE_NAMES, CASES, START_S, Plug, Run, build

pytestmark = pytest.mark.parametrize(("info", "kind"), CASES, ids=CASE_NAMES)
# What is never asked has no answer to time: whatever it says means that it is well, and no more.
UNTIMED = {"line-scanner", "wedge-scanner", "camera-scanner", "wave-player"}
RELEASE_S = 8.0  # a lane's default


async def _moved(device: object) -> None:
    """Releases, one after the other: the only thing that some turnstiles are ever asked."""
    for _ in range(100):
        assert isinstance(await device.release(Direction.ENTRY, RELEASE_S), Answer)  # type: ignore[attr-defined]
        await asyncio.sleep(0.5)


def test_it_tells_how_its_questions_go(info: registry.DriverInfo, kind: str, tmp_path: Path) -> None:
    """Vitals with the time of its answers while it works, never before it is up; or, never asked, it speaks."""

    plug = Plug(info, kind, tmp_path)

    async def story() -> None:
        run = Run()
        await plug.plug()
        device = build(info, plug)
        tasks = [asyncio.create_task(device.run(run.said.append))]
        try:
            await run.until(lambda: run.last_is(Up), START_S)
            if info.kind == "turnstile":
                tasks.append(asyncio.create_task(_moved(device)))
            await run.until(lambda: _told(info, run.said), START_S)
        finally:
            for task in reversed(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await plug.unplug()
        first = next(n for n, said in enumerate(run.said) if isinstance(said, Up))
        assert not any(isinstance(said, Vitals) for said in run.said[:first])
        assert all(0 <= took_s < 2 for said in run.said if isinstance(said, Vitals) for took_s in said.took_s)

    with patch.dict(os.environ, plug.environ):  # of the process that the driver starts
        asyncio.run(story())


def _told(info: registry.DriverInfo, said: list[DeviceReport]) -> bool:
    if info.name in UNTIMED:
        return any(not isinstance(report, Up | Down) for report in said)
    return any(report.took_s for report in said if isinstance(report, Vitals))
