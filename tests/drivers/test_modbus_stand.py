"""A gate that stands open at rest and is kept closed: how long, what opens it, and what it does without us."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import Answer, Emergency, Occupied, Up
from drivers.simulated.contact_gate import STOP
from drivers.turnstiles.modbus.device import RENEW_S, SHUT_S
from tests.drivers.test_modbus_contacts import BOARDS, ENTRY, gated, last_state


@pytest.mark.parametrize("board", BOARDS)
def test_a_gate_that_was_closed_opens_for_a_grant_and_when_it_is_told(tmp_path: Path, board: str) -> None:
    """It stays closed past the length of one Stop; a release, a hold and `stand_open` end that."""

    async def story() -> None:
        async with gated(tmp_path, board, gate={"normally_open": True}) as (bench, gate, _):
            device: Any = bench.device
            acts = (lambda: device.release(ENTRY, 8.0), device.hold_open, device.stand_open)
            for number, act in enumerate(acts):
                assert await device.stand_closed() is Answer.ACCEPTED
                closed_s = asyncio.get_running_loop().time()
                while not number and asyncio.get_running_loop().time() < closed_s + SHUT_S + RENEW_S:
                    assert not gate.is_open(ENTRY)
                    await asyncio.sleep(0.02)
                assert await act() is Answer.ACCEPTED
                assert gate.is_open(ENTRY)
                await asyncio.sleep(1.5 * RENEW_S)  # it is not told again
                assert gate.is_open(ENTRY)
                assert await device.end_hold() is Answer.ACCEPTED

    asyncio.run(story())


@pytest.mark.parametrize("board", ["waveshare-v2", "lc-tech-8r"])
def test_a_closed_gate_opens_by_itself_when_its_line_is_cut(tmp_path: Path, board: str) -> None:
    """A board that times Stop itself ends it; when the line is back the driver does not close it by itself."""

    async def story() -> None:
        async with gated(tmp_path, board, gate={"normally_open": True}) as (bench, gate, port):
            device: Any = bench.device
            assert await device.stand_closed() is Answer.ACCEPTED
            await port.unplug()
            await bench.until(lambda: gate.is_open(ENTRY), SHUT_S + 0.5)
            assert await device.stand_closed() is Answer.REFUSED
            await port.plug()
            await bench.until(lambda: isinstance(last_state(bench.reports), Up), 4.0)
            await asyncio.sleep(1.5 * RENEW_S)
            assert gate.is_open(ENTRY)

    asyncio.run(story())


@pytest.mark.parametrize("board", BOARDS)
def test_a_closed_gate_opens_in_an_emergency_and_stays_so(tmp_path: Path, board: str) -> None:
    """Stop is let go at once, is not renewed, and is refused until somebody has taken the barrier back."""

    async def story() -> None:
        async with gated(tmp_path, board, gate={"normally_open": True}) as (bench, gate, _):
            device: Any = bench.device
            assert await device.stand_closed() is Answer.ACCEPTED
            gate.board.set_fire(True)
            await bench.until(lambda: not gate.board.coils[STOP], 0.5)
            gate.board.set_fire(False)
            await bench.reported(Emergency(False))
            assert await device.stand_closed() is Answer.REFUSED
            await asyncio.sleep(1.5 * RENEW_S)
            assert not gate.board.coils[STOP]
            assert await device.end_hold() is Answer.ACCEPTED
            assert await device.stand_closed() is Answer.ACCEPTED

    asyncio.run(story())


def test_a_closing_that_waits_for_the_walkway_does_not_come_after_stand_open(tmp_path: Path) -> None:
    """The lane was opened again meanwhile: the gate stays open when the walkway clears."""

    async def story() -> None:
        async with gated(tmp_path, gate={"normally_open": True}, occupied_input=2) as (bench, gate, _):
            device: Any = bench.device
            gate.board.inputs[2] = True
            await bench.reported(Occupied(True))
            closing = asyncio.create_task(device.stand_closed())
            await asyncio.sleep(0)  # it has begun to wait
            assert await device.stand_open() is Answer.ACCEPTED
            gate.board.inputs[2] = False
            assert await closing is Answer.REFUSED
            assert gate.is_open(ENTRY)

    asyncio.run(story())
