"""Native libraries live in processes of their own: when those are killed, every other lane goes on deciding."""

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest

from drivers.readers.pcsc.process import shared_process as pcsc_process
from drivers.scanners.camera.process import shared_process as camera_process
from drivers.simulated.camera import SimulatedCamera
from drivers.simulated.pcsc import READER
from tests.drivers.pcsc_bench import service
from tests.support.house import House, house

CAMERA_LANE, PCSC_LANE = 2, 3


def with_camera_and_pcsc(text: str, camera: SimulatedCamera) -> str:
    """The third lane's scanner is a camera, the fourth's card reader one over PC/SC."""
    head, *lanes = text.split("\n[[lane]]\n")
    _, scanner = _devices(lanes[CAMERA_LANE])[:2]
    lanes[CAMERA_LANE] = lanes[CAMERA_LANE].replace(scanner, f'driver = "camera-scanner"\nsource = "{camera.spec}"\n')
    reader = _devices(lanes[PCSC_LANE])[0]
    lanes[PCSC_LANE] = lanes[PCSC_LANE].replace(reader, f'driver = "pcsc"\nport = "pcsc:{READER}"\n')
    return "\n[[lane]]\n".join([head, *lanes])


def _devices(lane: str) -> list[str]:
    return lane.split("[[lane.device]]\n")[1:]


async def both_are_killed(h: House) -> None:
    """SIGKILL to both children; both lanes are known not to work."""
    killed = [camera_process().pid, pcsc_process().pid]
    for pid in killed:
        assert pid
        os.kill(pid, signal.SIGKILL)
    await h.until(lambda: not h.lane_works("A3") and not h.lane_works("A4"))


def test_killed_children_stop_no_other_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Camera's and PC/SC's child die at once: two lanes decide meanwhile and never were down; both children return."""

    async def story() -> None:
        camera = SimulatedCamera(tmp_path / "camera")
        async with (
            service(tmp_path / "pcscd", monkeypatch) as pcscd,
            house(tmp_path, 4, lambda text: with_camera_and_pcsc(text, camera)) as h,
        ):
            card = pcscd.card()
            await card.present(h.people["green"].card())
            assert (await h.walks(PCSC_LANE)).outcome == "PASSED"
            await card.remove()
            await both_are_killed(h)
            await h.tap(h.people["second"], 0)
            assert (await h.walks(0)).outcome == "PASSED"
            await h.stays(1, h.tap(h.people["red"], 1))
            await h.until(lambda: h.lane_works("A4"), 30)  # within 2 s on a calm machine: tests/drivers
            await h.stays(PCSC_LANE, card.present(h.people["yellow"].card()))
            await h.until(lambda: h.lane_works("A3"), 30)
            await h.stays(CAMERA_LANE, camera.scan(h.people["red"].code))
            await card.remove()

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    down = [record.getMessage() for record in caplog.records if " is down" in record.getMessage()]
    assert [line for line in down if "lane A1" in line or "lane A2" in line] == []
    assert sum("WORKER_LOST" in line for line in down) == 2, down
