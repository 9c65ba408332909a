"""Turnstiles and people who walk through them, for the fault sequences: what physically happened is written down."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.contract import (
    Direction,
)
from drivers.simulated.digicon import SimulatedDigicon
from drivers.simulated.machpower import SimulatedMachPower
from drivers.simulated.osdp import SimulatedOsdp
from drivers.simulated.ports import Session
from drivers.simulated.relay_board import PASSED, PASSED_EXIT, RELAYS, SimulatedRelayBoard
from drivers.simulated.tpw import ENTRY_COUNT, EXIT_COUNT, SimulatedTpw
from drivers.simulated.uhppote import Ask, SimulatedUhppote
from drivers.simulated.zkteco_c3 import SimulatedC3
from tests.conformance.cable import Cable, to_server
from tests.conformance.rig import Rig

ENTRY, EXIT = Direction.ENTRY, Direction.EXIT


@dataclass(frozen=True)
class Opening:
    """A barrier was freed for one person."""

    direction: Direction
    at_s: float


class Gate(Rig):
    """A turnstile. `opened`, `closed_s` and `walked` are what physically happened."""

    has_fire = False
    tells = True  # whether it tells of passages at all
    holds = True
    late = False  # a datagram cannot be destroyed: an Unknown release may act as long as it lives
    stays_open = False  # what frees it frees everybody, until it is set again
    tick_s = 0.0  # how much later than its bytes the device itself acts

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.opened: list[Opening] = []
        self.closed_s: list[float] = []  # a command closed what stood open
        self.walked: list[Opening] = []  # people
        self._one_at_a_time = asyncio.Lock()
        self.burns = False

    def note(self, direction: Direction) -> None:
        self.opened.append(Opening(direction, self.now_s()))

    @property
    def is_held(self) -> bool:
        """Whether it stands open until further notice."""
        return False

    def fire(self, active: bool) -> None:
        """The fire contact acts, or ends."""
        self.burns = active

    async def walk(self, direction: Direction) -> None:
        """One person goes through, released or not, one after the other."""
        async with self._one_at_a_time:
            self.walked.append(Opening(direction, self.now_s()))
            self.cable.of_a_person = True
            await self._pass(direction)
            self.cable.of_a_person = False

    async def _pass(self, direction: Direction) -> None:
        raise NotImplementedError

    def heal(self) -> None:
        self.fire(False)


class Board(Gate):
    """A relay board of ours: the first two relays release, the third one holds."""

    has_fire = True
    variants = ("waveshare-v2", "waveshare-v2", "lc-tech-8r", "value-0100", "plain")

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        rig, variant = self, chance.choice(self.variants)
        first = int(variant == "value-0100")  # the numbers of its relays begin with 1

        class Watched(SimulatedRelayBoard):
            def _close_relay(self, relay: int, pulse_s: float | None) -> None:
                if relay < first + 2:
                    rig.note(EXIT if relay > first else ENTRY)
                super()._close_relay(relay, pulse_s)

            def _write(self, address: int, value: int) -> None:
                if address < RELAYS and value == 0 and self.coils[address]:
                    rig.closed_s.append(rig.now_s())
                super()._write(address, value)

        self.board = Watched()
        self.board.knobs.board = variant
        self.framing = "tcp" if kind == "tcp" and chance.random() < 0.5 else "rtu"
        # Modbus TCP has no check of its own: the network's sees to the rest of the frame.
        self.cable = Cable(chance, 4 if self.framing == "tcp" else 0)
        if self.framing == "rtu":  # its frames have no number: an old look again is taken for the new one (driver.toml)
            self.cable.tells_of_a_person = lambda data: data[1] == 2 or data[1] > 0x80
        self.settings = {"framing": self.framing, "baud": 115200, "timeout_ms": 200, "release_coil": first}
        self.settings |= {"hold_coil": first + 2, "release_exit_coil": first + 1}
        self.settings |= {"passed_input": PASSED, "passed_exit_input": PASSED_EXIT}
        self.settings |= {"fire_input": 4, "ready_input": 5, "board": "auto" if variant == "plain" else variant}

    @property
    def session(self) -> Session:
        return self.board.tcp if self.framing == "tcp" else self.board.rtu

    @property
    def is_held(self) -> bool:
        return any(self.board.coils)

    def restart(self) -> None:
        for relay in range(RELAYS):
            self.board._open_relay(relay)

    def fire(self, active: bool) -> None:
        super().fire(active)
        self.board.set_fire(active)

    async def _pass(self, direction: Direction) -> None:
        await self.board.pass_through(direction)

    async def _stick(self, device: Any) -> None:
        self.board.knobs.stuck_passage = True

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        return {"contact sticks": self._stick}

    def heal(self) -> None:
        super().heal()
        self.board.knobs.stuck_passage = False
        self.board.inputs[PASSED] = self.board.inputs[PASSED_EXIT] = False


class PymodbusServer(Gate):
    """pymodbus' own server: what is written is watched; it tells nothing, and its coils know no pulse."""

    has_fire = tells = False

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.cable = Cable(chance, 4)
        self.settings = {"framing": "tcp", "timeout_ms": 200, "hold_coil": 2, "release_exit_coil": 1}
        self._on: dict[int, bool] = {}
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def session(self) -> Session:
        return to_server(lambda: self._server.transport.sockets[0].getsockname())

    async def begin(self) -> None:
        from pymodbus.server import ModbusTcpServer
        from pymodbus.simulator import DataType, SimData, SimDevice

        bits = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        registers = [SimData(0, values=[0] * 4, datatype=DataType.REGISTERS)]
        device = SimDevice(id=1, simdata=(bits, bits, registers, registers), action=self._written)
        self._server = ModbusTcpServer(device, address=("127.0.0.1", 0))
        self._serving = asyncio.create_task(self._server.serve_forever())
        while self._server.transport is None:
            await asyncio.sleep(0.01)

    async def end(self) -> None:
        await self._server.shutdown()
        await asyncio.gather(*filter(None, [self._serving]), return_exceptions=True)

    async def _written(self, function: int, start: int, address: int, count: int, regs: Any, values: Any) -> None:
        if function != 5 or address > 2 or values is None:
            return
        self._on[address] = bool(values[0])
        if values[0] and address < 2:
            self.note(EXIT if address else ENTRY)

    @property
    def is_held(self) -> bool:
        return any(self._on.values())


class OsdpOutput(Gate):
    """libosdp's peripheral side: outputs 0 and 1 release, 2 holds; inputs 0 and 1 passages, 4 fire."""

    has_fire = True
    tick_s = 0.05  # the driver's thread and the device's own turn every few ms; 50 of each on one processor

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        rig = self

        class Watched(SimulatedOsdp):
            def _command(self, command: dict[str, Any]) -> tuple[int, None]:
                before = self.releases, 2 in self.held
                answer = super()._command(command)
                if self.releases > before[0]:
                    rig.note(EXIT if self.outputs[-1][0] else ENTRY)
                if before[1] and 2 not in self.held:
                    rig.closed_s.append(rig.now_s())
                return answer

        self.device = Watched()
        self.settings = {"baud": 115200, "release_exit_output": 1, "hold_output": 2, "passed_input": 0}
        self.settings |= {"passed_exit_input": 1, "fire_input": 4, "fire_active": "high"}

    @property
    def session(self) -> Session:
        return self.device.session

    @property
    def is_held(self) -> bool:
        return bool(self.device.held)

    def restart(self) -> None:
        self.device.held.clear()
        self.device.restart()

    def fire(self, active: bool) -> None:
        super().fire(active)
        self.device.set_input(4, active)

    async def _pass(self, direction: Direction) -> None:
        number = 0 if direction is ENTRY else 1
        self.device.set_input(number, active=True)
        await asyncio.sleep(0.3)
        self.device.set_input(number, active=False)
        await asyncio.sleep(0.15)


class Controller(Gate):
    """What has `free` and `pass_through`."""

    gate: type[Any]

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        rig, base = self, self.gate

        class Watched(base):  # type: ignore[misc,valid-type] # the rig's own class chooses
            def free(self, direction: Direction) -> None:
                rig.note(direction)
                super().free(direction)

        self.device = Watched()
        self.settings = {"timeout_ms": 150, **({"baud": 115200} if kind == "pty" else {})}

    @property
    def session(self) -> Session:
        session: Session = self.device.session
        return session

    def restart(self) -> None:
        self.device.power_cycle()

    async def _pass(self, direction: Direction) -> None:
        await self.device.pass_through(direction)
        await asyncio.sleep(0.15)


class Digicon(Controller):
    gate = SimulatedDigicon

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.settings |= {"wait_s": 1}

    @property
    def is_held(self) -> bool:
        return bool(self.device.always)


class MachPower(Controller):
    gate = SimulatedMachPower
    tells = False

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.settings |= {"wait_s": 1, "ask": chance.random() < 0.5}

    @property
    def is_held(self) -> bool:
        return bool(self.device.arm_down)


class Tpw(Controller):
    gate = SimulatedTpw
    stays_open = True
    head_bytes = 3  # its frames have no check: a digit that changes is another count (driver.toml)

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        # Nothing tells an old count from the one that was asked for (driver.toml).
        self.cable.tells_of_a_person = lambda data: data[1] in (ENTRY_COUNT, EXIT_COUNT)

    @property
    def is_held(self) -> bool:
        return b"1" in self.device.passing


class Uhppote(Controller):
    gate = SimulatedUhppote
    has_fire = True
    head_bytes = 2  # its messages have no check (driver.toml)

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.settings |= {"exit_door": 2, "passed_sensor": 1, "passed_exit_sensor": 2}
        self.late = kind == "udp"
        rig, answer = self, self.device._answer

        def watched(function: int, data: bytes, number: int) -> bytes:
            before = self.is_held
            told: bytes = answer(function, data, number)
            if function == Ask.SET_DOOR and before and not self.is_held:
                rig.closed_s.append(rig.now_s())
            return told

        self.device._answer = watched

    def restart(self) -> None:
        """Its doors' modes are kept."""

    def fire(self, active: bool) -> None:
        super().fire(active)
        self.device.set_fire(active)

    @property
    def is_held(self) -> bool:
        return any(door.mode == 1 for door in self.device.doors.values())


class C3(Controller):
    gate = SimulatedC3
    has_fire = True

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.settings |= {"exit_door": 2, "passed_sensor": 1, "passed_exit_sensor": 2, "fire_input": 1}
        self.settings |= {"timeout_ms": 300}
        self.device.text = chance.random() < 0.3
        control = self.device._control

        def watched(data: bytes) -> tuple[bool, bytes]:
            before = set(self.device.held)
            told: tuple[bool, bytes] = control(data)
            if before - self.device.held:
                self.closed_s.append(self.now_s())
            return told

        self.device._control = watched

    def fire(self, active: bool) -> None:
        if active is not self.burns:
            self.device.set_fire(active)
        super().fire(active)

    @property
    def is_held(self) -> bool:
        return bool(self.device.held)

    def heal(self) -> None:
        """Its input is told again: an answer that was lost took the end of the fire with it (driver.toml)."""
        super().heal()
        self.device.set_fire(False)
