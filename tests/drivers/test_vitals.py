"""How a device does: collected without bounds broken, said at most once a second; by Modbus units and engines too."""

import asyncio
from pathlib import Path

from drivers import registry
from drivers.contract import VITALS_MAX, CodeReport, DeviceFault, DeviceReport, Up, Vitals
from drivers.simulated.line_scanner import SimulatedLineScanner
from drivers.simulated.ports import PtyPort, TcpPort
from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.vitals import VitalSigns


def test_it_is_said_once_a_second_and_only_of_a_good_device() -> None:
    """The first second collects; what was said is not said again; errors alone are kept until the device is good."""
    signs, said = VitalSigns(), list[DeviceReport]()
    signs.good(0.01)
    for now_s in (100.0, 100.9):
        signs.tell(said.append, now_s)
    assert said == []
    signs.failed(DeviceFault.NO_ANSWER)
    signs.tell(said.append, 101.0)
    assert said == [Vitals((0.01,), (DeviceFault.NO_ANSWER,))]
    signs.failed(DeviceFault.PROTOCOL_ERROR)
    signs.tell(said.append, 200.0)
    signs.good()
    signs.tell(said.append, 201.0)
    assert said[1:] == [Vitals((), (DeviceFault.PROTOCOL_ERROR,))]


def test_no_more_is_kept_than_a_report_may_hold() -> None:
    """A device that is asked or fails a thousand times in a second costs 64 of each."""
    signs, said = VitalSigns(), list[DeviceReport]()
    signs.tell(said.append, 0.0)
    for _ in range(1000):
        signs.good(0.001)
        signs.failed(DeviceFault.NO_ANSWER)
    signs.tell(said.append, 1.0)
    (report,) = said
    assert isinstance(report, Vitals)
    assert (len(report.took_s), len(report.errors)) == (VITALS_MAX, VITALS_MAX)


async def until(said: list[DeviceReport], kind: type, count: int = 1) -> list[DeviceReport]:
    async with asyncio.timeout(8):
        while sum(isinstance(report, kind) for report in said) < count:
            await asyncio.sleep(0.005)
    return [report for report in said if isinstance(report, kind)]


def test_a_relay_board_tells_how_long_its_answers_take() -> None:
    """About ten polls a second, and the one it lost."""

    async def story() -> None:
        board, said = SimulatedRelayBoard(), list[DeviceReport]()
        async with TcpPort(board.tcp) as port:
            given = {"port": port.spec, "timeout_ms": 100, "passed_input": 0}
            device = registry.create("modbus-relay", registry.check_settings(registry.driver("modbus-relay"), given))
            running = asyncio.create_task(device.run(said.append))
            await until(said, Up)
            board.knobs.silent = True
            async with asyncio.timeout(8):
                while not board.unheard:
                    await asyncio.sleep(0.005)
            board.knobs.silent = False
            vitals = (await until(said, Vitals))[0]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert isinstance(vitals, Vitals)
        assert 3 <= len(vitals.took_s) <= 20
        assert all(0 < took_s < 0.1 for took_s in vitals.took_s)
        assert set(vitals.errors) == {DeviceFault.NO_ANSWER}

    asyncio.run(story())


def test_an_engine_before_which_a_code_is_held_is_good(tmp_path: Path) -> None:
    """A code that is not said again still tells that the engine is well."""

    async def story() -> None:
        engine, said = SimulatedLineScanner(), list[DeviceReport]()
        async with PtyPort(tmp_path / "engine", engine.session) as port:
            settings = registry.check_settings(registry.driver("line-scanner"), {"port": port.spec})
            running = asyncio.create_task(registry.create("line-scanner", settings).run(said.append))
            await until(said, Up)
            async with asyncio.timeout(8):
                while not any(isinstance(report, Vitals) for report in said):
                    await engine.scan(b"https://s.sh.gov.cn/0123456789")
                    await asyncio.sleep(0.1)  # as engines say a code that is held before them
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert sum(isinstance(report, CodeReport) for report in said) == 1
        assert Vitals() in said

    asyncio.run(story())
