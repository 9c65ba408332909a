"""Simulated actuators on the far side of a cable that is cut: a line `driver number seconds` for every release.

Seconds are of the machine's monotonic clock, which both sides of the cable share.
"""

import asyncio
import sys
import time

from drivers.contract import Direction
from drivers.simulated.ports import TcpPort, UdpPort
from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.simulated.serial_gate import SimulatedGate
from drivers.simulated.uhppote import SimulatedUhppote
from drivers.simulated.zkteco_c3 import SimulatedC3

FIRST_PORT = {"modbus-relay": 1500, "zkteco-c3": 1600, "uhppote": 1700, "uhppote-udp": 1800}
EACH = 3  # of every kind


def told(kind: str, number: int) -> None:
    """A barrier was freed now."""
    print(kind, number, time.monotonic(), flush=True)


def gate_of(kind: str, number: int) -> SimulatedGate:
    """The simulated device, which tells of each release."""

    class Telling(SimulatedC3 if kind == "zkteco-c3" else SimulatedUhppote):  # type: ignore[misc]
        def free(self, direction: Direction) -> None:
            told(kind, number)
            super().free(direction)

    return Telling()  # type: ignore[no-any-return]


async def plug(host: str, kind: str, number: int) -> None:
    """One device at its port."""
    port = FIRST_PORT[kind] + number
    if kind == "modbus-relay":
        board = SimulatedRelayBoard()
        board.on_release = lambda relay: told(kind, number)
        await TcpPort(board.tcp, host, port).plug()
    elif kind == "uhppote-udp":
        await UdpPort(gate_of(kind, number).session, host, port).plug()  # type: ignore[attr-defined]
    else:
        await TcpPort(gate_of(kind, number).session, host, port).plug()  # type: ignore[attr-defined]


async def main(host: str) -> None:
    """All devices, until killed."""
    for kind in FIRST_PORT:
        for number in range(EACH):
            await plug(host, kind, number)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
