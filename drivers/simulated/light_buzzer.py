"""Lamps and a buzzer behind a simulated relay board: relays 0 green, 1 amber, 2 red, 3 buzzer."""

from collections.abc import Mapping

from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.simulated.samv import plug_at

LAMPS = ("green", "amber", "red", "buzzer")


def lit(board: SimulatedRelayBoard) -> tuple[str, ...]:
    """What is on now."""
    return tuple(name for name, on in zip(LAMPS, board.coils, strict=False) if on)


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate light-buzzer`: says on the terminal which lamps are on, until cancelled."""
    board = SimulatedRelayBoard(int(options.get("unit", "1")))
    modbus_tcp = port.startswith("tcp:") and options.get("framing", "tcp") == "tcp"
    async with plug_at(port, board.tcp if modbus_tcp else board.rtu) as plugged:
        print(f"light-buzzer on {plugged.spec}", flush=True)
        while True:
            await board.wait_release(60.0)  # a relay closed
            print(", ".join(lit(board)) or "dark", flush=True)
