"""A fire that is seen while a command waits for its turn: what would close is not sent any more."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import Answer, Emergency
from tests.drivers import test_uhppote_device as uhppote
from tests.drivers import test_zkteco_c3_device as zkteco
from tests.drivers.test_modbus_device import ours

ENTRY = uhppote.ENTRY


def test_a_relay_board_s_hold_is_not_ended(tmp_path: Path) -> None:
    """Its end waits behind another command; the fire is seen meanwhile."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", hold_coil=2) as (bench, board, _):
            device: Any = bench.device
            assert await device.hold_open() is Answer.ACCEPTED
            async with device._commanding:
                ending = asyncio.create_task(device.end_hold())
                board.set_fire(True)
                await bench.reported(Emergency(True))
            assert await ending is Answer.REFUSED
            assert board.coils[2]
            assert device._emergency

    asyncio.run(story())


def test_a_relay_board_s_hold_is_not_ended_further(tmp_path: Path) -> None:
    """The fire is seen after the first of two relays: the second one stays as it is, and the end is refused."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", control="potential", release_exit_coil=1) as (bench, board, _):
            device: Any = bench.device
            assert await device.hold_open() is Answer.ACCEPTED
            off = device._relays._off

            async def seen_meanwhile(bus: Any, relay: int) -> None:
                await off(bus, relay)
                board.set_fire(True)
                await bench.reported(Emergency(True))

            device._relays._off = seen_meanwhile
            assert await device.end_hold() is Answer.REFUSED
            assert board.coils[:2] == [False, True]

    asyncio.run(story())


@uhppote.KINDS
def test_a_uhppote_controller_s_hold_is_not_ended(kind: str) -> None:
    """Its end waits behind another one."""

    async def story() -> None:
        async with uhppote.gated(kind) as (bench, gate, _):
            device: Any = bench.device
            assert await device.hold_open() is Answer.ACCEPTED
            async with device._holding:
                ending = asyncio.create_task(device.end_hold())
                gate.set_fire(True)
                await bench.reported(Emergency(True))
            assert await ending is Answer.REFUSED
            assert [gate.doors[door].mode for door in (1, 2)] == [1, 1]
            gate.set_fire(False)
            await bench.reported(Emergency(False))
            assert await device.end_hold() is Answer.ACCEPTED

    asyncio.run(story())


@pytest.mark.parametrize("held", [True, False])
def test_a_c3_panel_closes_nothing(held: bool) -> None:
    """The end of a hold, and a release, whose end is a close: both wait behind another command."""

    async def story() -> None:
        async with zkteco.gated(fire_input=1) as (bench, panel, _):
            device: Any = bench.device
            if held:
                assert await device.hold_open() is Answer.ACCEPTED
            async with device._moving:
                waiting = asyncio.create_task(device.end_hold() if held else device.release(ENTRY, 8.0))
                panel.set_fire(True)
                await bench.reported(Emergency(True))
            assert await waiting is Answer.REFUSED
            assert all(seconds == 255 for _, seconds in panel.opened)

    asyncio.run(story())
