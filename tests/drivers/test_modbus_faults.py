"""The relay-board turnstile's bad nights: no relay left closed, no ghost, no neighbour that pays."""

import asyncio
import logging
import time
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import Answer, DeviceFault, DeviceReport, Direction, Down, Emergency, Passed, Up
from drivers.simulated.ports import PtyPort, TcpPort
from drivers.simulated.relay_board import GATEWAY_DEAF, SimulatedRelayBoard, shared_line
from tests.drivers.test_modbus_device import WIRED, driven, ours

ENTRY = Direction.ENTRY


@pytest.mark.parametrize("kind", ["tcp", "rtu"])
def test_a_relay_that_we_closed_is_opened_when_we_stop(tmp_path: Path, kind: str) -> None:
    """The controller ends in the middle of a pulse that it had to time itself."""

    async def story() -> None:
        async with ours(tmp_path, kind, pulse="coil", pulse_ms=3000) as (bench, board, _):
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert board.coils[0]
        assert not board.coils[0]

    asyncio.run(story())


def test_a_relay_that_we_closed_is_opened_when_the_line_is_back(tmp_path: Path) -> None:
    """The link drops in mid pulse and stays away for many pulses: the first thing after its return is to switch off."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", pulse="coil", pulse_ms=400) as (bench, board, port):
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            await port.unplug()
            await bench.until(lambda: any(isinstance(r, Down) for r in bench.reports))
            await asyncio.sleep(2.4)  # six pulses: the length of the cut is what is tested
            assert board.coils[0]
            await port.plug()
            await bench.until(lambda: not board.coils[0])

    asyncio.run(story())


def test_two_pulses_at_once_both_end(tmp_path: Path) -> None:
    """Entry and exit relay, released one right after the other."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", pulse="coil", release_exit_coil=1) as (bench, board, _):
            await asyncio.gather(bench.device.release(ENTRY, 5.0), bench.device.release(Direction.EXIT, 5.0))
            assert board.releases == [0, 1]
            await bench.until(lambda: not any(board.coils))

    asyncio.run(story())


def test_a_pulse_of_ours_is_not_ended_in_an_emergency(tmp_path: Path) -> None:
    """Neither when it is due, nor when the contact closes again, nor when we stop; only when the hold is ended."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", pulse="coil", pulse_ms=500) as (bench, board, _):
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            board.set_fire(True)
            await bench.reported(Emergency(True))
            board.set_fire(False)
            await bench.reported(Emergency(False))
            await asyncio.sleep(0.7)  # the pulse was due: its length is what is tested
            assert board.coils[0]
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert not board.coils[0]
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            board.set_fire(True)
            await bench.reported(Emergency(True), 2)
        assert board.coils[0], "stopped in an emergency"

    asyncio.run(story())


def test_the_end_of_a_pulse_does_not_end_a_hold(tmp_path: Path) -> None:
    """One relay for both, the hold ordered in mid pulse."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", pulse="coil", pulse_ms=100) as (bench, board, _):
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert await bench.device.hold_open() is Answer.ACCEPTED
            await board.pass_through()
            await bench.reported(Passed(ENTRY))
            assert board.coils[0]

    asyncio.run(story())


def test_a_relay_that_a_killed_controller_left_closed_is_opened_with_the_hold(tmp_path: Path) -> None:
    """The lane ends a hold when its board first answers; on a board without pulses that frees every relay of ours."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", pulse="coil", release_exit_coil=1, hold_coil=2) as (bench, board, _):
            board.coils[:3] = [True] * 3
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert not any(board.coils)

    asyncio.run(story())


def test_a_gateway_that_heard_nothing_does_not_say_refused(tmp_path: Path) -> None:
    """Exception 0B: the unit may have acted. Its relay is read back; still closed: Accepted, else Unknown."""

    async def story() -> None:
        for pulse_ms, answer in {3000: Answer.ACCEPTED, 100: Answer.UNKNOWN}.items():
            async with ours(tmp_path, "tcp", pulse_ms=pulse_ms, pulse="board") as (bench, board, _):
                board.knobs.gateway_deaf = True
                if answer is Answer.UNKNOWN:
                    board.on_release = lambda relay, board=board: board._open_relay(relay)  # type: ignore[misc]
                assert await bench.device.release(ENTRY, 5.0) is answer
                assert len(board.writes) == 1

    asyncio.run(story())


def test_a_gateway_without_its_unit_is_no_answer(tmp_path: Path) -> None:
    """Exception 0B to a poll says that the unit is dead, not that the input map is wrong."""

    async def story() -> None:
        async with ours(tmp_path, "tcp") as (bench, board, _):
            board._execute = lambda function, data: _deaf()  # type: ignore[method-assign, assignment, misc]
            await bench.until(lambda: any(isinstance(r, Down) for r in bench.reports))
            assert [r.fault for r in bench.reports if isinstance(r, Down)] == [DeviceFault.NO_ANSWER]

    def _deaf() -> bytes:
        from drivers.simulated.relay_board import _ModbusError

        raise _ModbusError(GATEWAY_DEAF)

    asyncio.run(story())


def test_a_dead_neighbour_delays_no_release_and_hides_no_passage(tmp_path: Path) -> None:
    """Two units on one line, one dead for good, time-out 2 s: releases within 0.3 s, every passage seen once."""

    async def story() -> None:
        alive, dead = SimulatedRelayBoard(1), SimulatedRelayBoard(2)
        port = PtyPort(tmp_path / "bus", shared_line(alive, dead))
        await port.plug()
        slow = {"timeout_ms": 2000, "baud": 115200}
        async with driven(port.spec, unit=1, **WIRED, **slow) as one, driven(port.spec, unit=2, **slow) as two:
            dead.knobs.silent = True
            await two.until(lambda: any(isinstance(r, Down) for r in two.reports), 15)
            waits = []
            for count in range(1, 11):
                started_s = time.monotonic()
                assert await one.device.release(ENTRY, 8.0) is Answer.ACCEPTED
                waits.append(time.monotonic() - started_s)
                await alive.pass_through()
                await one.reported(Passed(ENTRY), count)
            assert max(waits) < 0.3, waits
            assert one.reports.count(Passed(ENTRY)) == 10
            assert [type(r) for r in one.reports if isinstance(r, Up | Down)] == [Up]
            dead.knobs.silent = False
            await two.up(2)
        await port.unplug()

    asyncio.run(story())


def test_a_unit_that_stops_leaves_its_neighbour_the_port(tmp_path: Path) -> None:
    """One lane's driver ends: the other's releases go on, and it is never said to be down."""

    async def story() -> None:
        boards = SimulatedRelayBoard(1), SimulatedRelayBoard(2)
        port = PtyPort(tmp_path / "bus", shared_line(*boards))
        await port.plug()
        async with driven(port.spec, unit=1, **WIRED) as one:
            async with driven(port.spec, unit=2):
                stopping = asyncio.gather(*(one.device.release(ENTRY, 5.0) for _ in range(3)))
            assert await stopping == [Answer.ACCEPTED] * 3
            await boards[0].pass_through()
            await one.reported(Passed(ENTRY))
            assert not any(isinstance(r, Down) for r in one.reports)
        await port.unplug()

    asyncio.run(story())


def test_units_that_set_one_port_up_differently_are_told(tmp_path: Path) -> None:
    """The second names the speed that the port is open at; the first goes on."""

    async def story() -> None:
        async with ours(tmp_path, "rtu", baud=9600) as (bench, _, port):
            info = registry.driver("modbus-relay")
            given = {"port": port.spec, "unit": 2, "baud": 19200}
            device = registry.create("modbus-relay", registry.check_settings(info, given))
            said: list[DeviceReport] = []
            running = asyncio.create_task(device.run(said.append))
            await bench.until(lambda: bool(said))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert isinstance(said[0], Down)
            assert said[0].fault is DeviceFault.PORT_BUSY
            assert "9600" in said[0].detail
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED

    asyncio.run(story())


def test_a_port_that_another_program_holds_is_busy(tmp_path: Path) -> None:
    """PORT_BUSY, not PORT_MISSING: the operator looks for a program, not for a cable."""

    async def story() -> None:
        from drivers.transport import open_link

        port = PtyPort(tmp_path / "board", SimulatedRelayBoard().rtu)
        await port.plug()
        holder = await open_link(port.spec)
        info = registry.driver("modbus-relay")
        device = registry.create("modbus-relay", registry.check_settings(info, {"port": port.spec}))
        said: list[DeviceReport] = []
        running = asyncio.create_task(device.run(said.append))
        async with asyncio.timeout(5):
            while not said:
                await asyncio.sleep(0.005)
        assert isinstance(said[0], Down)
        assert said[0].fault is DeviceFault.PORT_BUSY
        holder.close()
        async with asyncio.timeout(2):
            while not isinstance(said[-1], Up):
                await asyncio.sleep(0.005)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await port.unplug()

    asyncio.run(story())


def test_a_release_that_never_got_its_turn_was_not_sent(tmp_path: Path) -> None:
    """Its lifetime ends while the line is taken: Refused, and nothing goes out afterwards."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", timeout_ms=1000) as (bench, board, _):
            board.knobs.answer_s = 0.5
            await bench.until(lambda: bench.device._bus._turns.taken)  # type: ignore[attr-defined]
            assert await bench.device.release(ENTRY, 0.05) is Answer.REFUSED
            board.knobs.answer_s = 0.0
            board.inputs[0] = True
            await bench.reported(Passed(ENTRY))
            assert board.writes == []
            assert not any(isinstance(r, Down) for r in bench.reports), "the request in flight was not disturbed"

    asyncio.run(story())


def test_frames_on_a_serial_line_keep_their_distance(tmp_path: Path) -> None:
    """3.5 characters of silence after an answer: at 4800 Bd 8 ms, or the boards take two frames for one."""

    async def story() -> None:
        board = SimulatedRelayBoard()
        loop = asyncio.get_running_loop()
        gaps: list[float] = []

        async def wire(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ear = asyncio.StreamReader()
            session = asyncio.create_task(board.rtu(ear, writer))
            answered_s, write = loop.time(), writer.write

            def note(data: bytes) -> None:
                nonlocal answered_s
                write(data)
                answered_s = loop.time()

            writer.write = note  # type: ignore[method-assign, assignment]
            try:
                while data := await reader.read(256):
                    gaps.append(loop.time() - answered_s)
                    ear.feed_data(data)
            finally:
                session.cancel()

        port = PtyPort(tmp_path / "board", wire)
        await port.plug()
        async with driven(port.spec, baud=4800, passed_counter_register=0, **WIRED) as bench:
            for _ in range(10):
                assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
        assert len(gaps) > 10
        assert min(gaps[1:]) > 3.5 * 11 / 4800
        await port.unplug()

    asyncio.run(story())


@pytest.mark.parametrize("kind", ["tcp", "rtu", "rtu over tcp"])
def test_right_frames_with_wrong_content_are_no_answer(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Down, no traceback in the log, and up again when the board comes to its senses."""

    async def story() -> None:
        async with ours(tmp_path, kind) as (bench, board, _):
            board.knobs.garbage = True
            await bench.until(lambda: any(isinstance(r, Down) for r in bench.reports))
            board.knobs.garbage = False
            await bench.up(2)

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert caplog.records == []


def test_a_driver_that_is_started_again_says_that_it_is_up(tmp_path: Path) -> None:
    """Whoever supervises it said that it was down in between."""

    async def story() -> None:
        board = SimulatedRelayBoard()
        port = TcpPort(board.tcp)
        await port.plug()
        info = registry.driver("modbus-relay")
        device = registry.create("modbus-relay", registry.check_settings(info, {"port": port.spec}))
        for _ in range(2):
            said: list[DeviceReport] = []
            running = asyncio.create_task(device.run(said.append))
            async with asyncio.timeout(5):
                while not any(isinstance(report, Up) for report in said):
                    await asyncio.sleep(0.005)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        await port.unplug()

    asyncio.run(story())
