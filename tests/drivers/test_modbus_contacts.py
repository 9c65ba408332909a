"""Controllers behind the board's contacts: pulse, potential, Stop, contacts closed at rest, on every kind of board."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.contract import Answer, DeviceReport, Direction, Down, Emergency, Occupied, Passed, Ready, Up
from drivers.simulated.contact_gate import STOP, SimulatedContactGate
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.relay_board import FIRE, BoardKnobs, SimulatedRelayBoard
from tests.drivers.test_modbus_device import WIRED, Bench, driven

PROVES = ("modbus-relay", "pymodbus server")
ENTRY, EXIT = Direction.ENTRY, Direction.EXIT
BOARDS = ["waveshare-v2", "lc-tech-8r", "plain"]  # relays from 0, as the gate's contacts are wired
CONTACTS = {**WIRED, "release_exit_coil": 1, "stop_coil": STOP}
POTENTIAL: dict[str, object] = {"profile": "perco-st01", "control": "potential"}


@contextlib.asynccontextmanager
async def gated(
    folder: Path, board: str = "waveshare-v2", serial: bool = False, gate: Any = None, **settings: object
) -> AsyncIterator[tuple[Bench, SimulatedContactGate, SimulatedPort]]:
    """The driver, a board and the controller on its contacts."""
    simulated = SimulatedRelayBoard(knobs=BoardKnobs(board=board))
    simulated.knobs.closed_at_rest = settings.get("passed_active") == "low"
    potential = settings.get("control") == "potential"
    contacts = SimulatedContactGate(simulated, **{"potential": potential, **(gate or {})})
    port: SimulatedPort = PtyPort(folder / "board", simulated.rtu) if serial else TcpPort(simulated.tcp)
    await port.plug()
    try:
        async with driven(port.spec, **{**CONTACTS, "board": board, **settings}) as bench:
            yield bench, contacts, port
    finally:
        await port.unplug()


@pytest.mark.parametrize("serial", [False, True], ids=["tcp", "rtu"])
@pytest.mark.parametrize("board", BOARDS)
def test_one_pulse_is_one_passage(tmp_path: Path, board: str, serial: bool) -> None:
    """The controller frees one passage its way, the relay opens by itself, and a second person is not let through."""

    async def story() -> None:
        async with gated(tmp_path, board, serial, profile="perco-tripod") as (bench, gate, _):
            for direction in (ENTRY, EXIT):
                assert await bench.device.release(direction, 8.0) is Answer.ACCEPTED
                await bench.until(lambda: not any(gate.board.coils))
                assert await gate.walk(direction)
                assert not await gate.walk(direction)
                await bench.reported(Passed(direction))
            assert gate.board.releases == [0, 1]

    asyncio.run(story())


def test_a_board_with_value_0100_counts_from_one(tmp_path: Path) -> None:
    """On, and off after the pulse, by the values that it knows."""

    async def story() -> None:
        board = SimulatedRelayBoard(knobs=BoardKnobs(board="value-0100"))
        port = TcpPort(board.tcp)
        await port.plug()
        async with driven(port.spec, board="value-0100", release_coil=1) as bench:
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            await bench.until(lambda: not any(board.coils))
            assert board.writes == [(1, 0x0100), (1, 0)]
        await port.unplug()

    asyncio.run(story())


def test_a_board_that_is_not_the_named_one_releases_nobody(tmp_path: Path) -> None:
    """The station file says LC-Tech, the board is another: refused, and nothing else is tried."""

    async def story() -> None:
        async with gated(tmp_path, "lc-tech-8r") as (bench, gate, _):
            gate.board.knobs.board = "plain"
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED
            assert gate.board.releases == []

    asyncio.run(story())


def test_a_release_that_ends_before_the_controller_s_wait_is_refused(tmp_path: Path) -> None:
    """It would stay open for somebody whose grant has lapsed; by potential we end it ourselves."""

    async def story() -> None:
        async with gated(tmp_path, profile="perco-st01") as (bench, gate, _):
            assert await bench.device.release(ENTRY, 7.9) is Answer.REFUSED
            assert gate.board.writes == []
        async with gated(tmp_path, **POTENTIAL) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 1.0) is Answer.ACCEPTED

    asyncio.run(story())


@pytest.mark.parametrize("board", BOARDS)
def test_potential_is_dropped_when_the_passage_begins(tmp_path: Path, board: str) -> None:
    """Held while granted, let go at the start of PASS: nobody follows though the first still stands in the arms."""

    async def story() -> None:
        async with gated(tmp_path, board, **POTENTIAL) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 8.0) is Answer.ACCEPTED
            await asyncio.sleep(0.5)  # longer than any pulse: that it holds is what is tested
            assert gate.is_open(ENTRY)
            assert not gate.is_open(EXIT)
            walking = asyncio.create_task(gate.walk(ENTRY, dwell_s=1.0))
            await bench.until(lambda: not gate.board.coils[0], 0.5)
            assert not await gate.walk(ENTRY)
            assert await walking
            await bench.reported(Passed(ENTRY))

    asyncio.run(story())


@pytest.mark.parametrize("board", BOARDS)
def test_potential_ends_with_the_lifetime(tmp_path: Path, board: str) -> None:
    """Nobody came: closed when the grant lapses, not a tenth later than the board's own step."""

    async def story() -> None:
        async with gated(tmp_path, board, **POTENTIAL) as (bench, gate, _):
            loop = asyncio.get_running_loop()
            started_s = loop.time()
            assert await bench.device.release(ENTRY, 1.0) is Answer.ACCEPTED
            await bench.until(lambda: not gate.board.coils[0])
            assert 0.7 < loop.time() - started_s < 1.3

    asyncio.run(story())


def test_potential_of_a_cut_line_is_ended_by_the_board(tmp_path: Path) -> None:
    """The line is cut while the gate stands open: the board's own time closes it within the lifetime."""

    async def story() -> None:
        async with gated(tmp_path, **POTENTIAL) as (bench, gate, port):
            assert await bench.device.release(ENTRY, 1.0) is Answer.ACCEPTED
            await port.unplug()
            assert gate.is_open(ENTRY)
            await bench.until(lambda: not gate.is_open(ENTRY), 1.5)

    asyncio.run(story())


def test_a_potential_gate_is_closed_when_we_stop(tmp_path: Path) -> None:
    """The controller ends while somebody may still come."""

    async def story() -> None:
        async with gated(tmp_path, **POTENTIAL) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 8.0) is Answer.ACCEPTED
        assert not any(gate.board.coils)

    asyncio.run(story())


def test_the_next_grant_is_not_dropped_with_the_passage_before(tmp_path: Path) -> None:
    """Released again while the first still closes the PASS contact: the second can walk when the first is out."""

    async def story() -> None:
        async with gated(tmp_path, **POTENTIAL) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 8.0) is Answer.ACCEPTED
            walking = asyncio.create_task(gate.walk(ENTRY, dwell_s=0.8))
            await bench.reported(Passed(ENTRY))
            assert await bench.device.release(ENTRY, 8.0) is Answer.ACCEPTED
            assert await walking
            assert await gate.walk(ENTRY)
            await bench.reported(Passed(ENTRY), 2)
            await bench.until(lambda: not gate.board.coils[0])

    asyncio.run(story())


@pytest.mark.parametrize("control", ["pulse", "potential"])
@pytest.mark.parametrize("board", BOARDS)
def test_a_crowd_goes_through_until_the_hold_is_ended(tmp_path: Path, board: str, control: str) -> None:
    """By pulses with Stop and both unlocks, by potential with both unlocks held; then one by one again."""

    async def story() -> None:
        async with gated(tmp_path, board, profile="perco-st01", control=control) as (bench, gate, _):
            assert await bench.device.hold_open() is Answer.ACCEPTED
            for direction in (ENTRY, EXIT, ENTRY):
                assert await gate.walk(direction)
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert not gate.is_open(ENTRY)
            assert not gate.is_open(EXIT)
            await bench.until(lambda: not any(gate.board.coils))
            assert await bench.device.release(ENTRY, 8.0) is Answer.ACCEPTED
            assert await gate.walk(ENTRY)
            assert not await gate.walk(ENTRY)

    asyncio.run(story())


@pytest.mark.parametrize("board", BOARDS)
def test_a_hold_that_is_ended_at_once_is_ended(tmp_path: Path, board: str) -> None:
    """While the unlocks are still on, Stop would mean free passage: they are switched off first."""

    async def story() -> None:
        async with gated(tmp_path, board, profile="perco-tripod") as (bench, gate, _):
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert not gate.is_open(ENTRY)
            assert not gate.is_open(EXIT)

    asyncio.run(story())


def test_a_passage_contact_closed_at_rest_counts_its_end(tmp_path: Path) -> None:
    """Each passage once; and a cut wire is nobody, but a turnstile that is not ready, until it is mended."""

    async def story() -> None:
        ttr: dict[str, object] = {"profile": "perco-ttr10a", "ready_active": "high", "passed_max_s": 1.0}
        async with gated(tmp_path, passed_active="low", passed_exit_active="low", **ttr) as (bench, gate, _):
            for count in (1, 2):
                assert await bench.device.release(ENTRY, 8.0) is Answer.ACCEPTED
                assert await gate.walk(ENTRY)
                await bench.reported(Passed(ENTRY), count)
            gate.board.knobs.broken_wires = frozenset({0})
            await bench.reported(Ready(False))
            gate.board.knobs.broken_wires = frozenset()
            await bench.reported(Ready(True), 2)
            assert bench.reports.count(Passed(ENTRY)) == 2

    asyncio.run(story())


def test_a_wire_that_was_cut_before_we_came_is_said(tmp_path: Path) -> None:
    """Found open at the first look: not ready, and nobody."""

    async def story() -> None:
        ends: dict[str, object] = {"passed_counts": "end", "passed_max_s": 1.0}
        ends |= {"passed_active": "low", "passed_exit_active": "low"}
        async with gated(tmp_path, **ends) as (bench, contacts, port):
            await port.unplug()
            await bench.until(lambda: any(isinstance(each, Down) for each in bench.reports))
            contacts.board.knobs.broken_wires = frozenset({0})
            await port.plug()
            await bench.reported(Ready(False))
            contacts.board.knobs.broken_wires = frozenset()
            await bench.reported(Ready(True), 3)
            assert Passed(ENTRY) not in bench.reports

    asyncio.run(story())


def test_a_stuck_passage_contact_makes_it_not_ready(tmp_path: Path) -> None:
    """Welded closed after a passage: that one counts, then the turnstile takes no release."""

    async def story() -> None:
        async with gated(tmp_path, passed_max_s=1.0) as (bench, gate, _):
            gate.board.inputs[0] = True
            await bench.reported(Ready(False))
            assert bench.reports.count(Passed(ENTRY)) == 1

    asyncio.run(story())


def test_a_refusal_closes_a_gate_that_stands_open_for_a_while(tmp_path: Path) -> None:
    """Its flaps close, and open again by themselves: the board ends Stop."""

    async def story() -> None:
        open_gate = {"normally_open": True}
        async with gated(tmp_path, gate=open_gate, refuse_ms=500) as (bench, gate, _):
            device: Any = bench.device
            assert gate.is_open(ENTRY)
            assert await device.refuse() is Answer.ACCEPTED
            assert not gate.is_open(ENTRY)
            await bench.until(lambda: gate.is_open(ENTRY), 1.0)

    asyncio.run(story())


@pytest.mark.parametrize("board", BOARDS)
def test_a_grant_opens_what_a_refusal_closed(tmp_path: Path, board: str) -> None:
    """The next person does not wait for the flaps of the one before."""

    async def story() -> None:
        open_gate = {"normally_open": True}
        async with gated(tmp_path, board, gate=open_gate, refuse_ms=10000) as (bench, gate, _):
            device: Any = bench.device
            assert await device.refuse() is Answer.ACCEPTED
            assert not gate.is_open(ENTRY)
            assert await device.release(ENTRY, 8.0) is Answer.ACCEPTED
            assert gate.is_open(ENTRY)
            assert await device.refuse() is Answer.ACCEPTED
            assert await device.hold_open() is Answer.ACCEPTED
            assert gate.is_open(ENTRY)

    asyncio.run(story())


def test_a_refusal_closes_on_nobody(tmp_path: Path) -> None:
    """Somebody is in the walkway: closed when they are out; not at all when the next was released, or never out."""

    async def story() -> None:
        open_gate = {"normally_open": True}
        async with gated(tmp_path, gate=open_gate, occupied_input=2) as (bench, gate, _):
            device: Any = bench.device
            for next_one in (False, True):
                gate.board.inputs[2] = True
                await bench.until(lambda: bench.reports[-1] == Occupied(True))
                refusing = asyncio.create_task(device.refuse())
                await asyncio.sleep(0.3)  # several looks: that it waits is what is tested
                assert not gate.board.coils[STOP]
                if next_one:
                    assert await device.release(ENTRY, 8.0) is Answer.ACCEPTED
                gate.board.inputs[2] = False
                assert await refusing is (Answer.REFUSED if next_one else Answer.ACCEPTED)
                assert gate.board.coils[STOP] is not next_one
                assert await device.release(ENTRY, 8.0) is Answer.ACCEPTED
            gate.board.inputs[2] = True
            await bench.until(lambda: bench.reports[-1] == Occupied(True))
            assert await device.refuse() is Answer.REFUSED
            assert not gate.board.coils[STOP]

    asyncio.run(story())


@pytest.mark.parametrize("board", BOARDS)
def test_a_refusal_ends_with_an_emergency_and_none_begins_in_one(tmp_path: Path, board: str) -> None:
    """The fire loop is lost in mid refusal, by its wire: Stop is let go at once, and nothing closes afterwards."""

    async def story() -> None:
        open_gate = {"normally_open": True}
        async with gated(tmp_path, board, gate=open_gate, refuse_ms=10000) as (bench, gate, _):
            device: Any = bench.device
            assert await device.refuse() is Answer.ACCEPTED
            gate.board.knobs.broken_wires = frozenset({FIRE})
            await bench.reported(Emergency(True))
            await bench.until(lambda: not gate.board.coils[STOP], 0.5)
            assert await device.refuse() is Answer.REFUSED
            gate.board.knobs.broken_wires = frozenset()
            await bench.reported(Emergency(False))
            assert await device.refuse() is Answer.REFUSED, "nobody has taken the barrier back"
            assert not gate.board.coils[STOP]

    asyncio.run(story())


def test_without_stop_nothing_can_be_refused(tmp_path: Path) -> None:
    """Said by the device, for the configuration, and by the command."""

    async def story() -> None:
        board = SimulatedRelayBoard()
        port = TcpPort(board.tcp)
        await port.plug()
        async with driven(port.spec) as bench:
            device: Any = bench.device
            assert not device.refuses
            assert await device.refuse() is Answer.REFUSED
            assert board.writes == []
        await port.unplug()

    asyncio.run(story())


FAULTS = ("silent", "lose_answer", "gateway_deaf", "garbage", "bad_crc", "exception", "late", "cut", "none", "none")
SEQUENCES, STEPS = 4, 6


async def _step(fault: str, bench: Bench, gate: SimulatedContactGate, port: SimulatedPort) -> None:
    """One release under one fault: what was answered is what can have happened, and nothing happens afterwards."""
    board, loop = gate.board, asyncio.get_running_loop()
    before = len(board.releases)
    board.knobs.answer_s = 0.3 if fault == "late" else 0.0
    if hasattr(board.knobs, fault):
        setattr(board.knobs, fault, 4 if fault == "exception" else True)
    release = asyncio.create_task(bench.device.release(ENTRY, 1.0))
    ends_s = loop.time() + 1.0
    if fault == "cut":
        await port.unplug()
    answer = await release
    happened = len(board.releases) - before
    assert happened <= 1, "one release, two closings"
    assert answer is not Answer.ACCEPTED or happened == 1
    assert answer is not Answer.REFUSED or happened == 0
    if fault == "cut":
        await port.plug()
    board.knobs = BoardKnobs(board=board.knobs.board)
    await bench.until(lambda: isinstance(last_state(bench.reports), Up), 4.0)
    await bench.until(lambda: loop.time() > ends_s and not board.coils[0], 4.0)
    assert len(board.releases) - before == happened, "released after the answer"


def last_state(reports: list[DeviceReport]) -> DeviceReport | None:
    return next((each for each in reversed(reports) if type(each).__name__ in ("Up", "Down")), None)


@pytest.mark.parametrize("control", ["pulse", "potential"])
def test_random_faults_release_nobody_for_nothing(tmp_path: Path, control: str) -> None:
    """Accepted: it happened once. Refused: it did not. Unknown: at most once; closed by then, and never afterwards."""

    async def story(board: str, seed: int) -> None:
        chance = random.Random(f"{board} {seed}")
        folder = tmp_path / f"{board}-{seed}"
        async with gated(folder, board, serial=seed % 2 == 1, control=control) as (bench, gate, port):
            for _ in range(STEPS):
                await _step(chance.choice(FAULTS), bench, gate, port)
            assert not any(isinstance(each, Passed | Emergency) for each in bench.reports)

    async def all_of_them() -> None:
        await asyncio.gather(*(story(board, seed) for board in BOARDS for seed in range(SEQUENCES)))

    asyncio.run(all_of_them())


def test_pymodbus_own_server_hears_lc_tech_s_pulse() -> None:
    """A peer that is not ours: two registers by FC10, at the relay's place, and no second write."""

    async def story() -> None:
        written: list[tuple[int, int, list[int]]] = []

        async def action(function: int, start: int, address: int, count: int, registers: Any, values: Any) -> None:
            if values is not None:
                written.append((function, address, list(values)))

        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        registers = [SimData(0, values=[0] * 64, datatype=DataType.REGISTERS)]
        device = SimDevice(id=1, simdata=(bits, bits, registers, registers), action=action)
        server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve_forever())
        try:
            async with asyncio.timeout(5):
                while server.transport is None:
                    await asyncio.sleep(0.01)
            port = server.transport.sockets[0].getsockname()[1]
            lc = {"board": "lc-tech-8r", "release_coil": 2}
            async with driven(f"tcp:127.0.0.1:{port}", **lc) as bench:
                assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
                assert written == [(16, 13, [4, 3])]
        finally:
            await server.shutdown()
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(story())
