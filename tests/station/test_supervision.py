"""How devices do, as a station counts and tells it: last good, errors, command times, each change logged once."""

import asyncio
import logging
from pathlib import Path

import pytest

from drivers.contract import DeviceFault, Down
from gate.station.state import DeviceState
from tests.support.house import House, house

READER = {"lane": "A1", "device": "samv"}


def reader(h: House, lane: str = "A1") -> DeviceState:
    return next(device for device in h.station.lane(lane).devices if device.driver == "samv")


def test_a_devices_state_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Command times, errors by fault and the age of the last good answer; lost and recovered are logged once each."""

    async def story() -> None:
        async with house(tmp_path) as h:
            await h.until(lambda: (h.metric("gate_device_command_seconds_count", **READER) or 0) > 0)
            port = h.lanes[0].ports[0]
            await port.unplug()
            await h.until(lambda: (h.metric("gate_device_errors_total", **READER, fault="PORT_LOST") or 0) >= 1)
            assert reader(h).errors >= 1
            assert reader(h).last_good_utc_s is not None
            await h.until(lambda: (h.metric("gate_device_last_good_seconds", **READER) or 0) > 1.6)
            await port.plug()
            await h.until(lambda: h.lane_works("A1"))
            # It says so once a second and a poll later, which is looked at once a second.
            await h.until(lambda: (h.metric("gate_device_last_good_seconds", **READER) or 9) < 1.5)

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    said = [record.getMessage() for record in caplog.records if "lane A1: samv is" in record.getMessage()]
    assert [line.split()[4] for line in said] == ["up", "down", "up"], said


def test_two_swapped_readers_are_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The cables of two lanes' readers are exchanged: both say where theirs was first seen; put back, neither does."""

    async def story() -> None:
        async with house(tmp_path, lanes=2) as h:
            first, second = (lane.reader for lane in h.lanes)
            assert "swapped" not in reader(h).detail + reader(h, "A2").detail
            for first_id, second_id, swapped in (
                (second._sam_id, first._sam_id, True),
                (first._sam_id, second._sam_id, False),
            ):
                first._sam_id, second._sam_id = first_id, second_id
                for lane in h.lanes:
                    await lane.reader_port.unplug()
                await h.until(lambda: not (h.lane_works("A1") or h.lane_works("A2")))
                for lane in h.lanes:
                    await lane.reader_port.plug()
                await h.until(lambda: h.lane_works("A1") and h.lane_works("A2"))
                assert ("first seen at A2/samv" in reader(h).detail) is swapped
                assert ("first seen at A1/samv" in reader(h, "A2").detail) is swapped

    asyncio.run(story())
    assert sum("were two swapped?" in record.getMessage() for record in caplog.records) == 2


def test_a_device_that_was_never_there_is_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Down at the start is a line in the log, however often the port is tried; its fault is counted."""

    async def story() -> None:
        async with house(tmp_path) as h:
            runner = h.station._lanes["A1"]
            absent = next(device for device in runner._devices if device.settings.driver == "samv")
            absent.up, absent.told = False, False
            report = runner._sink(absent)
            before = h.metric("gate_device_errors_total", **READER, fault="PORT_MISSING") or 0
            for _ in range(3):
                report(Down(DeviceFault.PORT_MISSING, "not there"))
            assert h.metric("gate_device_errors_total", **READER, fault="PORT_MISSING") == before + 3

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    said = [record.getMessage() for record in caplog.records if "lane A1: samv is down" in record.getMessage()]
    assert said == ["lane A1: samv is down PORT_MISSING"]
