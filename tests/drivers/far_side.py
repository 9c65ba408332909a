"""Simulated actuators on the far side of a cable that is cut: a line `kind number seconds` for every release.

Seconds are of the machine's monotonic clock, which both sides of the cable share.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from drivers.contract import Direction
from drivers.simulated.digicon import SimulatedDigicon
from drivers.simulated.machpower import SimulatedMachPower
from drivers.simulated.osdp import SimulatedOsdp
from drivers.simulated.ports import TcpPort, UdpPort
from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.simulated.serial_gate import SimulatedGate
from drivers.simulated.tpw import SimulatedTpw
from drivers.simulated.uhppote import SimulatedUhppote
from drivers.simulated.zkteco_c3 import SimulatedC3

WALK_S = 0.1  # after it was freed somebody walks: a TPW board stays free until then


@dataclass(frozen=True)
class Kind:
    """One kind of actuator: where the first of them listens, how many, and what its driver is told."""

    first_port: int
    driver: str
    gate: type[Any]
    settings: dict[str, Any] = field(default_factory=dict)
    each: int = 2
    udp: bool = False

    def port(self, host: str, number: int) -> str:
        """What the driver calls it."""
        return f"{'udp' if self.udp else 'tcp'}:{host}:{self.first_port + number}"


QUICK = {"timeout_ms": 400}
KINDS = {
    "modbus-tcp": Kind(1500, "modbus-relay", SimulatedRelayBoard, QUICK, each=3),
    "modbus-rtu": Kind(1520, "modbus-relay", SimulatedRelayBoard, {**QUICK, "framing": "rtu"}),
    "modbus-coil": Kind(1540, "modbus-relay", SimulatedRelayBoard, {**QUICK, "pulse": "coil"}),
    "zkteco-c3": Kind(1600, "zkteco-c3", SimulatedC3, QUICK, each=3),
    "uhppote": Kind(1700, "uhppote", SimulatedUhppote, QUICK, each=3),
    "uhppote-udp": Kind(1800, "uhppote", SimulatedUhppote, QUICK, each=3, udp=True),
    "digicon": Kind(1900, "digicon-tx1500", SimulatedDigicon, {**QUICK, "wait_s": 1}),
    "machpower": Kind(2000, "machpower-eb", SimulatedMachPower, {**QUICK, "wait_s": 1}),
    "tpw": Kind(2100, "tpw-321asp", SimulatedTpw, QUICK),
    "tpw-udp": Kind(2200, "tpw-321asp", SimulatedTpw, QUICK, udp=True),
    "osdp-output": Kind(2300, "osdp-output", SimulatedOsdp),
}


def told(kind: str, number: int) -> None:
    """A barrier was freed now."""
    print(kind, number, time.monotonic(), flush=True)


def _board(told_now: Callable[[], None], rtu: bool) -> Any:
    board = SimulatedRelayBoard()
    board.on_release = lambda relay: told_now()
    return board.rtu if rtu else board.tcp


def _osdp(told_now: Callable[[], None]) -> Any:
    class Telling(SimulatedOsdp):
        def _command(self, command: dict[str, Any]) -> tuple[int, None]:
            before = self.releases
            answer = super()._command(command)
            if self.releases > before:
                told_now()
            return answer

    return Telling().session


def _gate(told_now: Callable[[], None], gate: type[Any]) -> Any:
    class Telling(gate):  # type: ignore[misc] # a class chosen by the table
        def free(self, direction: Direction) -> None:
            told_now()
            super().free(direction)
            walk = asyncio.get_running_loop().create_task
            asyncio.get_running_loop().call_later(WALK_S, lambda: walk(self.pass_through(direction)))

    assert issubclass(gate, SimulatedGate)
    return Telling().session


async def plug(host: str, name: str, number: int) -> None:
    """One device at its port."""
    kind = KINDS[name]

    def told_now() -> None:
        told(name, number)

    if kind.gate is SimulatedRelayBoard:
        session = _board(told_now, kind.settings.get("framing") == "rtu")
    else:
        session = _osdp(told_now) if kind.gate is SimulatedOsdp else _gate(told_now, kind.gate)
    port = (UdpPort if kind.udp else TcpPort)(session, host, kind.first_port + number)
    await port.plug()


async def main(host: str) -> None:
    """All devices, until killed."""
    for name, kind in KINDS.items():
        for number in range(kind.each):
            await plug(host, name, number)
    print("ready", flush=True)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
