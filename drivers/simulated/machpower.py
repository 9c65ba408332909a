"""Simulated Mach Power tripods on one line, with fault knobs: each answers what bears its address."""

import asyncio
from collections.abc import Mapping

from drivers.contract import Direction
from drivers.simulated.ports import Session
from drivers.simulated.serial_gate import GateKnobs, Line, SimulatedGate, everybody_walks, knobs_of

LEFT, RIGHT, DROP, RAISE, FORBID, RESTORE = 0x40, 0x41, 0x42, 0x43, 0x4A, 0x4B


def check(*body: int) -> bytes:
    """A frame: the bytes and their XOR."""
    value = 0
    for byte in body:
        value ^= byte
    return bytes([*body, value])


class SimulatedMachPower(SimulatedGate):
    """One tripod: left is entry here."""

    def __init__(self, unit: int = 1, knobs: GateKnobs | None = None) -> None:
        super().__init__(knobs)
        self.unit = unit
        self.received: list[int] = []
        self.arm_down = False
        self.forbidden = False

    @property
    def session(self) -> Session:
        """A line with this tripod alone."""
        return shared_line(self)

    def power_cycle(self) -> None:
        """It forgets everything; the arm rises with the power."""
        self.arm_down = self.forbidden = False

    async def pass_through(self, direction: Direction = Direction.ENTRY) -> None:
        """One person walks through; the protocol tells nobody."""

    def execute(self, order: int) -> bytes | None:
        """What it answers to an order; None for one that it does not know."""
        self.received.append(order)
        if self.knobs.refuse or order not in (LEFT, RIGHT, DROP, RAISE, FORBID, RESTORE):
            return None
        if order in (LEFT, RIGHT) and not self.forbidden:
            self.free(Direction.ENTRY if order == LEFT else Direction.EXIT)
        elif order in (DROP, RAISE):
            self.arm_down = order == DROP
        else:
            self.forbidden = order == FORBID
        return check(0xEB, self.unit, order | 0x80, 0)


def shared_line(*tripods: SimulatedMachPower) -> Session:
    """Several tripods on one line."""
    units = {tripod.unit: tripod for tripod in tripods}

    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(256):
            buffer += data
            while request := take(buffer):
                tripod = units.get(request[1])
                if tripod and not tripod.knobs.silent and (answer := tripod.execute(request[2])):
                    await Line(writer, tripod.knobs).answer(answer)

    return line


def take(buffer: bytearray) -> bytes:
    """The next request with a right check, taken out of `buffer` with the noise before it; b"" when there is none."""
    while len(buffer) >= 5:
        if buffer[0] == 0xEB and check(*buffer[:4]) == buffer[:5]:
            request = bytes(buffer[:5])
            del buffer[:5]
            return request
        del buffer[0]
    return b""


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate machpower-eb`: releases are printed; nobody hears of passages."""
    gate = SimulatedMachPower(int(options.get("unit", "1")), knobs_of(options, "lose_answer"))
    await everybody_walks("machpower-eb", port, gate.session, gate)
