"""How devices do, as a station counts and tells it: last good, errors, command times, each change logged once."""

import asyncio
import logging
from pathlib import Path

import pytest

from drivers.contract import DeviceFault, Down, Vitals
from drivers.simulated.ports import TcpPort
from drivers.simulated.serial_gate import SimulatedGate
from drivers.simulated.uhppote import SimulatedUhppote
from drivers.simulated.zkteco_c3 import SimulatedC3
from gate.config import parse
from gate.station.state import DeviceState
from gate.station.station import Station
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


@pytest.mark.parametrize(
    ("driver", "made", "serials"),
    [("uhppote", SimulatedUhppote, (405419896, 303986753)), ("zkteco-c3", SimulatedC3, ("DDG01", "DDG02"))],
)
def test_two_swapped_panels_are_noticed(
    tmp_path: Path, driver: str, made: type[SimulatedGate], serials: tuple[object, object]
) -> None:
    """Four lanes on the doors of two panels, whose cables are exchanged: all four say so; two doors of one never do."""

    async def story() -> None:
        panels = [made(), made()]
        ports = [TcpPort(panel.session) for panel in panels]  # type: ignore[attr-defined]
        for panel, port, serial in zip(panels, ports, serials, strict=True):
            panel.serial = serial  # type: ignore[attr-defined]
            await port.plug()
        station = _doors(tmp_path, driver, [port.spec for port in ports])
        running = asyncio.create_task(station.run())
        try:
            await _until_all(station, up=True)
            for swapped in (True, False):
                for port in ports:
                    await port.unplug()
                await _until_all(station, up=False)
                for panel, serial in zip(panels, serials[::-1] if swapped else serials, strict=True):
                    panel.serial = serial  # type: ignore[attr-defined]
                for port in ports:
                    await port.plug()
                await _until_all(station, up=True)
                homes = [
                    lane.devices[0].detail.partition("first seen at ")[2].partition(":")[0] for lane in station.lanes()
                ]
                there = [f"{lane}/{driver}" for lane in ("B1", "B2", "A1", "A2")]
                assert homes == (there if swapped else [""] * 4)
        finally:
            station.stop()
            await asyncio.wait_for(running, 20)
            for port in ports:
                await port.unplug()

    asyncio.run(story())


def _doors(folder: Path, driver: str, places: list[str]) -> Station:
    """A station whose lanes A1, A2 hang on the first panel's doors and B1, B2 on the second's."""
    lanes = [
        f'[[lane]]\nid = "{name}{door}"\n[[lane.device]]\ndriver = "{driver}"\nport = "{place}"\nunit = {door}\n'
        for name, place in zip("AB", places, strict=True)
        for door in (1, 2)
    ]
    head = f'[station]\nid = "test"\nregion = "330100"\ndata_dir = "{folder}/data"\n'
    more = '[clock]\ntrust = "stepped-only"\n[metrics]\nlisten = "127.0.0.1:0"\n'
    return Station(parse(head + more + "".join(lanes), folder))


async def _until_all(station: Station, *, up: bool) -> None:
    async with asyncio.timeout(10):
        while not all(lane.devices[0].up is up for lane in station.lanes()):
            await asyncio.sleep(0.02)


def test_skipped_frames_and_broken_pictures_are_counted(tmp_path: Path) -> None:
    """As a camera reports them: frames add up in a metric of their own, pictures that are none in the errors."""

    async def story() -> None:
        async with house(tmp_path) as h:
            runner = h.station._lanes["A1"]
            report = runner._sink(next(device for device in runner._devices if device.settings.driver == "samv"))
            fault = DeviceFault.SOURCE_UNREADABLE
            for skipped in (3, 0, 4):
                report(Vitals(errors=(fault,), frames_skipped=skipped))
            assert h.metric("gate_device_frames_skipped_total", **READER) == 7
            assert h.metric("gate_device_errors_total", **READER, fault=fault) == 3

    asyncio.run(story())


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
