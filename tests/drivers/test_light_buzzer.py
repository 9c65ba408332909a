"""Lamps and buzzer behind a relay board: one lamp at most, set right again, and nothing that goes on without us."""

import asyncio

import pytest

from drivers import registry
from drivers.contract import DeviceFault, Sign
from drivers.simulated.light_buzzer import lit
from drivers.simulated.ports import TcpPort
from drivers.simulated.relay_board import FLASH_ON, BoardKnobs, SimulatedRelayBoard
from tests.drivers.prompt_bench import at_work

GREEN, AMBER, RED, BUZZER = range(4)


def test_each_sign_lights_its_lamp_and_only_refusals_buzz() -> None:
    """Green, amber with the buzzer's pulse, red with it, dark; the lamp before goes off first; dark when we stop."""

    async def story() -> None:
        board = SimulatedRelayBoard()
        async with TcpPort(board.tcp) as port:
            async with at_work("light-buzzer", port=port.spec, buzz_ms=500) as bench:
                await bench.until_up()
                bench.device.show(Sign.GO)
                await bench.until(lambda: lit(board) == ("green",))
                bench.device.show(Sign.STAFF)
                await bench.until(lambda: lit(board)[:1] == ("amber",))
                await bench.until(lambda: (FLASH_ON + BUZZER, 5) in board.writes)
                bench.device.show(Sign.NO)
                await bench.until(lambda: "red" in lit(board))
                await bench.until(lambda: board.writes.count((FLASH_ON + BUZZER, 5)) == 2)
            assert board.writes[:5] == [
                (GREEN, 0xFF00), (GREEN, 0), (AMBER, 0xFF00), (FLASH_ON + BUZZER, 5), (AMBER, 0),
            ]  # fmt: skip
            await bench.until(lambda: lit(board) in ((), ("buzzer",)))

    asyncio.run(story())


def test_a_board_that_lost_power_shows_the_sign_again() -> None:
    """Its relays fell off; at the next look the lamp is on again, and the buzzer does not call a second time."""

    async def story() -> None:
        board = SimulatedRelayBoard()
        async with TcpPort(board.tcp) as port, at_work("light-buzzer", port=port.spec) as bench:
            await bench.until_up()
            bench.device.show(Sign.NO)
            await bench.until(lambda: "red" in lit(board))
            await bench.until(lambda: any(address >= FLASH_ON for address, _ in board.writes))
            board.coils[RED] = False
            await bench.until(lambda: board.coils[RED])
            assert sum(address >= FLASH_ON for address, _ in board.writes) == 1

    asyncio.run(story())


def test_a_board_without_a_pulse_of_its_own_never_buzzes() -> None:
    """A buzzer that only we could end would sound for ever when we are gone; its lamps work."""

    async def story() -> None:
        board = SimulatedRelayBoard(knobs=BoardKnobs(has_pulse=False))
        async with TcpPort(board.tcp) as port, at_work("light-buzzer", port=port.spec) as bench:
            await bench.until_up()
            bench.device.show(Sign.NO)
            await bench.until(lambda: any(address >= FLASH_ON for address, _ in board.writes))
            bench.device.show(Sign.GO)
            await bench.until(lambda: lit(board) == ("green",))
            assert (BUZZER, 0xFF00) not in board.writes
            assert len(bench.said) == 1

    asyncio.run(story())


def test_a_silent_board_is_down_and_a_sign_shown_meanwhile_is_there_when_it_is_back() -> None:
    """A sign is a state: unlike a voice's prompt it is still true."""

    async def story() -> None:
        board = SimulatedRelayBoard()
        async with TcpPort(board.tcp) as port, at_work("light-buzzer", port=port.spec, timeout_ms=50) as bench:
            await bench.until_up()
            board.knobs.silent = True
            assert (await bench.until_down()).fault is DeviceFault.NO_ANSWER
            bench.device.show(Sign.GO)
            board.knobs.silent = False
            await bench.until(lambda: lit(board) == ("green",))

    asyncio.run(story())


def test_two_lamps_on_one_relay_are_refused() -> None:
    """Before anything is opened."""
    info = registry.driver("light-buzzer")
    checked = registry.check_settings(info, {"port": "tcp:127.0.0.1:1", "red_coil": 3})
    with pytest.raises(registry.SettingError, match="relay 3 stands twice"):
        registry.create("light-buzzer", checked)
    registry.create("light-buzzer", checked | {"buzzer": False})
