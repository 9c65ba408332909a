"""A simulated Digicon turnstile: frames of its own, one release at a time, with fault knobs."""

import asyncio
from collections.abc import Mapping
from functools import reduce
from operator import xor

from drivers.contract import Direction
from drivers.simulated.ports import Session
from drivers.simulated.serial_gate import GateKnobs, Line, SimulatedGate, everybody_walks, knobs_of

H, A, D, C, L = b"H", b"A", b"D", b"C", b"L"
ACK, NAK, RET1, RET2 = b"\x06", b"\x15", b"\x1a", b"\x1b"
WAIT_S = 5.0  # as the driver's default: how long a release waits for its passage


def frame_of(commands: bytes) -> bytes:
    """STX, size, commands, BCC."""
    body = b"\x02" + (len(commands) + 1).to_bytes(2, "little") + commands
    return body + bytes([reduce(xor, body)])


class SimulatedDigicon(SimulatedGate):
    """One turnstile: 48 is entry here. `freed_s`: when each direction's release ends; `always`: what is always free."""

    def __init__(self, knobs: GateKnobs | None = None) -> None:
        super().__init__(knobs)
        self.received: list[bytes] = []  # command bytes, in order
        self.always = b""
        self.freed_s: dict[Direction, float] = {}
        self._line: Line | None = None

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    def power_cycle(self) -> None:
        """It forgets everything."""
        self.always, self.freed_s = b"", {}

    async def pass_through(self, direction: Direction = Direction.ENTRY) -> None:
        """One person walks through and is told, if the sensor works."""
        self.freed_s.pop(direction, None)
        if self._line and not self.knobs.stuck:
            await self._line.answer(frame_of(RET1 if direction is Direction.ENTRY else RET2))

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._line = Line(writer, self.knobs)
        buffer = bytearray()
        while data := await reader.read(256):
            if self.knobs.silent:
                continue
            buffer += data
            while commands := _take(buffer):
                await self._line.answer(frame_of(self._execute(commands)))

    def _execute(self, commands: bytes) -> bytes:
        self.received.append(commands)
        if self.knobs.refuse:
            return NAK
        now_s = asyncio.get_running_loop().time()
        if commands in (H, A):
            direction = Direction.ENTRY if commands == H else Direction.EXIT
            self.freed_s[direction] = now_s + WAIT_S
            self.free(direction)
        elif commands == C:
            self.always = b""
        elif commands[:1] == L and commands[1:] in (H, A, D):
            self.always = commands[1:]
        else:
            return NAK
        return ACK


def _take(buffer: bytearray) -> bytes:
    """The next request's command bytes, taken out of `buffer` with the noise before it; b"" when there is none."""
    while len(buffer) >= 5:
        size = int.from_bytes(buffer[1:3], "little")
        if buffer[0] == 2 and size in (2, 3):
            if len(buffer) < size + 3:
                return b""
            if reduce(xor, buffer[: size + 3]) == 0:
                commands = bytes(buffer[3 : size + 2])
                del buffer[: size + 3]
                return commands
        del buffer[0]
    return b""


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate digicon-tx1500`: everybody who is released walks through, until cancelled."""
    gate = SimulatedDigicon(knobs_of(options, "stuck_passage", "refuse", "lose_answer"))
    await everybody_walks("digicon-tx1500", port, gate.session, gate)
