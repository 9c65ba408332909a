"""The relay-board turnstile against our board, against pymodbus' own server, and minimalmodbus against our board."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import minimalmodbus
import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers import registry
from drivers.contract import (
    Answer,
    DeviceReport,
    Direction,
    Down,
    Emergency,
    Passed,
    Ready,
    Tailgating,
    Turnstile,
    Up,
)
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.relay_board import SimulatedRelayBoard, shared_line

PROVES = [("modbus-relay", "pymodbus server")]  # what `proved_by` of its driver.toml rests on

WIRED = {"passed_input": 0, "passed_exit_input": 1, "tailgating_input": 3, "fire_input": 4, "ready_input": 5}


class Bench:
    def __init__(self, device: Turnstile) -> None:
        self.device = device
        self.reports: list[DeviceReport] = []

    async def until(self, condition: Callable[[], bool], seconds: float = 8.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    async def reported(self, report: DeviceReport, count: int = 1) -> None:
        await self.until(lambda: self.reports.count(report) >= count)

    async def up(self, count: int = 1) -> None:
        await self.until(lambda: sum(isinstance(r, Up) for r in self.reports) >= count)


@contextlib.asynccontextmanager
async def driven(port: str, **settings: object) -> AsyncIterator[Bench]:
    """The driver on `port`, up."""
    given = {"port": port, "timeout_ms": 200, **settings}
    device: Any = registry.create("modbus-relay", registry.check_settings(registry.driver("modbus-relay"), given))
    bench = Bench(device)
    running = asyncio.create_task(device.run(bench.reports.append))
    try:
        await bench.up()
        yield bench
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def ours(
    folder: Path, kind: str, **settings: object
) -> AsyncIterator[tuple[Bench, SimulatedRelayBoard, SimulatedPort]]:
    board = SimulatedRelayBoard()
    port: SimulatedPort = TcpPort(board.tcp)
    if kind == "rtu":
        port = PtyPort(folder / "board", board.rtu)
    elif kind == "rtu over tcp":
        port = TcpPort(board.rtu)
        settings["framing"] = "rtu"
    await port.plug()
    try:
        async with driven(port.spec, **{**WIRED, **settings}) as bench:
            yield bench, board, port
    finally:
        await port.unplug()


KINDS = ["tcp", "rtu", "rtu over tcp"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_release_is_one_timed_pulse_and_the_passage_is_heard(tmp_path: Path, kind: str) -> None:
    """On every transport: Accepted, one write, a pulse of 300 ms is seen."""

    async def story() -> None:
        async with ours(tmp_path, kind) as (bench, board, _):
            sent = []
            assert await bench.device.release(Direction.ENTRY, 5.0, lambda: sent.append(1)) is Answer.ACCEPTED
            assert board.writes == [(0x200, 3)]
            assert sent == [1]
            await board.pass_through()
            await board.pass_through(Direction.EXIT)
            await board.tailgate()
            await bench.reported(Passed(Direction.ENTRY))
            await bench.reported(Passed(Direction.EXIT))
            await bench.reported(Tailgating())

    asyncio.run(story())


@pytest.mark.parametrize("kind", KINDS)
def test_a_board_that_vanishes_is_said_and_comes_back(tmp_path: Path, kind: str) -> None:
    """Down, no release meanwhile, Up; an old contact is nobody's passage."""

    async def story() -> None:
        async with ours(tmp_path, kind) as (bench, board, port):
            await port.unplug()
            await bench.until(lambda: any(isinstance(r, Down) for r in bench.reports))
            assert await bench.device.release(Direction.ENTRY, 1.0) is Answer.REFUSED
            board.inputs[0] = True
            await port.plug()
            await bench.up(2)
            assert Passed(Direction.ENTRY) not in bench.reports
            assert board.releases == []

    asyncio.run(story())


def test_counters_lose_nobody_between_two_polls(tmp_path: Path) -> None:
    """Two counts between polls are two passages, each said once."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", passed_counter_register=0) as (bench, board, _):
            board.counters[0] += 2
            await bench.reported(Passed(Direction.ENTRY), 2)

    asyncio.run(story())


def test_a_refusal_is_a_refusal(tmp_path: Path) -> None:
    """A Modbus exception means that the board did not act."""

    async def story() -> None:
        async with ours(tmp_path, "tcp") as (bench, board, _):
            board.knobs.exception = 3
            assert await bench.device.release(Direction.ENTRY, 2.0) is Answer.REFUSED
            assert board.releases == []

    asyncio.run(story())


def test_a_lost_answer_is_read_back_and_never_asked_twice(tmp_path: Path) -> None:
    """The relay seen closed proves that it acted; open again proves nothing; there is one write each."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", pulse_ms=3000) as (bench, board, _):
            board.knobs.lose_answer = True
            assert await bench.device.release(Direction.ENTRY, 5.0) is Answer.ACCEPTED
            assert board.writes == [(0x200, 30)]
        async with ours(tmp_path, "tcp", pulse_ms=100) as (bench, board, _):
            board.knobs.lose_answer = True
            assert await bench.device.release(Direction.ENTRY, 5.0) is Answer.UNKNOWN
            assert board.writes == [(0x200, 1)]

    asyncio.run(story())


def test_a_silent_board_leaves_the_answer_unknown_within_the_lifetime(tmp_path: Path) -> None:
    """No answer at all: Unknown, and down after a few polls."""

    async def story() -> None:
        async with ours(tmp_path, "tcp") as (bench, board, _):
            board.knobs.silent = True
            assert await bench.device.release(Direction.ENTRY, 1.0) is Answer.UNKNOWN
            await bench.until(lambda: any(isinstance(r, Down) for r in bench.reports))
            board.knobs.silent = False
            await bench.up(2)

    asyncio.run(story())


def test_garbled_answers_are_no_answers(tmp_path: Path) -> None:
    """A wrong CRC on the line is noise: the board counts as silent until it is clean again."""

    async def story() -> None:
        async with ours(tmp_path, "rtu") as (bench, board, _):
            board.knobs.bad_crc = True
            await bench.until(lambda: any(isinstance(r, Down) for r in bench.reports))
            board.knobs.bad_crc = False
            await bench.up(2)

    asyncio.run(story())


def test_in_an_emergency_nothing_is_closed(tmp_path: Path) -> None:
    """The fire contact opens: said, and an end of hold is refused until it closes again."""

    async def story() -> None:
        async with ours(tmp_path, "tcp") as (bench, board, _):
            assert await bench.device.hold_open() is Answer.ACCEPTED
            board.set_fire(True)
            await bench.reported(Emergency(True))
            assert await bench.device.end_hold() is Answer.REFUSED
            assert board.coils[0]
            board.set_fire(False)
            await bench.reported(Emergency(False))
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert not board.coils[0]

    asyncio.run(story())


def test_a_turnstile_that_is_not_ready_says_so(tmp_path: Path) -> None:
    """Its own fault contact, each way."""

    async def story() -> None:
        async with ours(tmp_path, "tcp") as (bench, board, _):
            board.set_ready(False)
            await bench.reported(Ready(False))
            board.set_ready(True)
            await bench.reported(Ready(True), 2)

    asyncio.run(story())


def test_two_units_share_one_bus(tmp_path: Path) -> None:
    """Each release reaches its own board."""

    async def story() -> None:
        first, second = SimulatedRelayBoard(1), SimulatedRelayBoard(2)
        port = PtyPort(tmp_path / "bus", shared_line(first, second))
        await port.plug()
        async with driven(port.spec, unit=1, **WIRED) as one, driven(port.spec, unit=2, **WIRED) as two:
            answers = await asyncio.gather(
                one.device.release(Direction.ENTRY, 3.0), two.device.release(Direction.ENTRY, 3.0)
            )
            assert answers == [Answer.ACCEPTED, Answer.ACCEPTED]
            assert (len(first.releases), len(second.releases)) == (1, 1)
        await port.unplug()

    asyncio.run(story())


def test_a_board_without_a_pulse_is_switched_on_and_off(tmp_path: Path) -> None:
    """The board refuses the timed pulse: the plain coil is used, and switched off again."""

    async def story() -> None:
        async with ours(tmp_path, "tcp") as (bench, board, _):
            board.knobs.has_pulse = False
            assert await bench.device.release(Direction.ENTRY, 5.0) is Answer.ACCEPTED
            await bench.until(lambda: not board.coils[0])
            assert board.releases == [0]
            assert board.writes == [(0x200, 3), (0, 0xFF00), (0, 0)]

    asyncio.run(story())


def test_pymodbus_own_server_is_driven() -> None:
    """A peer that is not ours: its coils are set, its inputs heard."""

    async def story() -> None:
        written: list[tuple[int, object]] = []

        async def action(function: int, start: int, address: int, count: int, registers: Any, values: Any) -> None:
            if function == 5:
                written.append((address, values))

        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        registers = [SimData(0, values=[0] * 4, datatype=DataType.REGISTERS)]
        device = SimDevice(id=1, simdata=(bits, bits, registers, registers), action=action)
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve_forever())
        try:
            async with asyncio.timeout(5):
                while server.transport is None:
                    await asyncio.sleep(0.01)
            port = server.transport.sockets[0].getsockname()[1]
            async with driven(f"tcp:127.0.0.1:{port}", unit=1, release_coil=0, passed_input=0) as bench:
                assert await bench.device.release(Direction.ENTRY, 5.0) is Answer.ACCEPTED
                await bench.until(lambda: len(written) >= 2)
                assert [address for address, _ in written if address < 16] == [0, 0], "on, and off again"
        finally:
            await server.shutdown()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(story())


def test_minimalmodbus_understands_our_board(tmp_path: Path) -> None:
    """A second client, not ours and not pymodbus, drives the simulated board over a pty."""

    async def story() -> None:
        board = SimulatedRelayBoard(7)
        port = PtyPort(tmp_path / "board", board.rtu)
        await port.plug()
        said: list[object] = []

        def client() -> None:
            instrument = minimalmodbus.Instrument(port.spec, 7)
            assert instrument.serial is not None
            instrument.serial.baudrate = 115200
            instrument.serial.timeout = 1.0
            instrument.write_bit(2, 1)
            said.append(instrument.read_bit(2, 1))
            said.append(instrument.read_bits(0, 8, 2))
            instrument.write_bits(0, [0, 1, 0, 1])
            said.append(instrument.read_bits(0, 4, 1))
            said.append(instrument.read_register(0, functioncode=4))
            with pytest.raises(minimalmodbus.IllegalRequestError):
                instrument.read_bit(4000, 1)
            instrument.serial.close()

        board.counters[0] = 41
        thread = threading.Thread(target=client)
        thread.start()
        async with asyncio.timeout(20):
            while thread.is_alive():
                await asyncio.sleep(0.01)
        assert said == [1, [0, 0, 0, 0, 1, 1, 0, 0], [0, 1, 0, 1], 41]
        await port.unplug()

    asyncio.run(story())
