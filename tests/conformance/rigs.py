"""One simulated device with people before it, for each driver: what they do, and what it physically did.

`RIGS` is by driver. A driver without a rig of its own is run with its `simulate` alone: behind the same cable and
faults, but nothing is known of what its device did.
"""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.contract import (
    CardNumberReport,
    CardReport,
    CodeReport,
    DeviceReport,
    Direction,
    Sign,
    Temperature,
)
from drivers.simulated.cards import card_text
from drivers.simulated.digicon import SimulatedDigicon
from drivers.simulated.engine import SimulatedEngine
from drivers.simulated.light_buzzer import lit
from drivers.simulated.line_scanner import SimulatedLineScanner, made_up_code
from drivers.simulated.machpower import SimulatedMachPower
from drivers.simulated.osdp import SimulatedOsdp, wiegand26
from drivers.simulated.ports import Session
from drivers.simulated.relay_board import PASSED, PASSED_EXIT, RELAYS, SimulatedRelayBoard
from drivers.simulated.samv import SimulatedSamv
from drivers.simulated.serial_thermometer import SimulatedThermometer
from drivers.simulated.ssi import SimulatedSsi
from drivers.simulated.tpw import ENTRY_COUNT, EXIT_COUNT, SimulatedTpw
from drivers.simulated.uhppote import Ask, SimulatedUhppote
from drivers.simulated.voice_module import SimulatedVoice
from drivers.simulated.wedge import SimulatedWedge
from drivers.simulated.wire import FAULTS as FAULTS_OF_WIRE
from drivers.simulated.wire import WireFaults
from drivers.simulated.zkteco_c3 import SimulatedC3
from tests.conformance.cable import FAULTS, Cable, to_server
from tests.conformance.plug import Plug

TOLD_S = 0.3  # a scanner that nobody is connected to keeps no code
LIES_S = (0.1, 0.6)  # how long a card lies on a reader: pulled away in the middle of being read, or rests
ENTRY, EXIT = Direction.ENTRY, Direction.EXIT


@dataclass(frozen=True)
class Opening:
    """A barrier was freed for one person."""

    direction: Direction
    at_s: float


class Rig:
    """What all have. `settings` is what the driver is told beside its place."""

    settings: dict[str, Any]
    head_bytes = 0  # see Cable
    faults: tuple[str, ...] = FAULTS
    place: Any = None  # where it is plugged in, where it brings its own

    def __init__(self, chance: random.Random, kind: str) -> None:
        self.chance = chance
        self.kind = kind
        self.settings = {}
        self.cable = Cable(chance, self.head_bytes)

    @property
    def session(self) -> Session:
        """What is plugged in."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Start what must run beside the port."""

    async def end(self) -> None:
        """Stop it."""

    def restart(self) -> None:
        """It lost its power for a moment."""

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        """What people and devices do, by name; each is given the driver."""
        return {}

    def where(self, spec: str) -> dict[str, Any]:
        """What the driver is told of its place."""
        return {"port": spec}

    def break_by(self, fault: str) -> None:
        """One of `faults` from now on, or "" for none."""
        self.cable.fault = fault

    def heal(self) -> None:
        """No fault of the device itself is left."""

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def false(self, reports: list[tuple[float, DeviceReport]]) -> list[str]:
        """Which reports nobody caused."""
        return []


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


class Source(Rig):
    """What reads. `shown` is what was presented, and when; each is another one, so each may be said once."""

    reports: tuple[type, ...] = (CodeReport,)
    checked = True  # whether its frames have a check; else what a bad cable altered is passed on

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.shown: dict[Any, float] = {}
        self._numbers = itertools.count(chance.randrange(1 << 20))
        self._one_at_a_time = asyncio.Lock()

    async def show(self) -> Any:
        """Present the next one; what it is."""
        async with self._one_at_a_time:
            what = self.next(next(self._numbers))
            self.shown[what] = self.now_s()
            self.cable.of_a_person = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.lies_s):
                    await self.present(what)
            self.cable.of_a_person = False
            return what

    lies_s = TOLD_S

    def next(self, number: int) -> Any:
        return made_up_code(number)

    async def present(self, what: Any) -> None:
        raise NotImplementedError

    @staticmethod
    def what(report: DeviceReport) -> Any:
        return report.payload if isinstance(report, CodeReport) else None

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        return {"present": lambda device: self.show()}

    def false(self, reports: list[tuple[float, DeviceReport]]) -> list[str]:
        said = Counter(self.what(one) for _, one in reports if isinstance(one, self.reports))
        found = [f"said {count} times what was shown once" for count in said.values() if count > 1]
        strange = sum(what not in self.shown for what in said)
        return found + ([f"{strange} of {len(said)} said were never shown"] if strange and self.checked else [])


class Samv(Source):
    reports = (CardReport,)
    lies_s = LIES_S[1] + 1.0

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedSamv()
        self.device.knobs.rests_as_found = chance.random() < 0.5
        self.settings = {"baud": 115200}

    @property
    def session(self) -> Session:
        return self.device.session

    def next(self, number: int) -> Any:
        return card_text(" ", name="测试", number=f"{number:018d}")

    async def present(self, what: Any) -> None:
        self.device.present(what, pulled_early=self.chance.random() < 0.2)
        await asyncio.sleep(self.chance.uniform(*LIES_S))
        self.device.remove()

    @staticmethod
    def what(report: DeviceReport) -> Any:
        return report.text if isinstance(report, CardReport) else None


class Osdp(Source):
    reports = (CardNumberReport,)

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedOsdp()
        self.settings = {"baud": 115200}
        self.cable.tells_of_a_person = lambda data: 0x50 in data[5:9]  # RAW: two bits of a number tell old from new

    @property
    def session(self) -> Session:
        return self.device.session

    def next(self, number: int) -> Any:
        return str(number)

    async def present(self, what: Any) -> None:
        if self.device.online:
            self.device.present(26, wiegand26(int(what)))

    def restart(self) -> None:
        self.device.restart()

    @staticmethod
    def what(report: DeviceReport) -> Any:
        return report.number if isinstance(report, CardNumberReport) else None


class Scanner(Source):
    scanner: type[Any]

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = self.scanner()

    @property
    def session(self) -> Session:
        session: Session = self.device.session
        return session

    async def present(self, what: Any) -> None:
        await self.device.scan(what)


class Line(Scanner):
    scanner = SimulatedLineScanner
    checked = False


class Engine(Scanner):
    scanner = SimulatedEngine
    checked = False


class Ssi(Scanner):
    scanner = SimulatedSsi
    lies_s = 1.0  # three sendings of 0.2 s


class Wedge(Scanner):
    scanner = SimulatedWedge
    checked = False

    async def present(self, what: Any) -> None:
        await self.device.scan(what.decode("ascii"))


class Thermometer(Source):
    """What stands before it changes; what it says is what stood there."""

    reports = (Temperature,)

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedThermometer(chance.choice(["5a5a45", "aa55", "register"]), every_s=0.1)
        self.settings = {"protocol": self.device.protocol}

    @property
    def session(self) -> Session:
        return self.device.session

    def next(self, number: int) -> Any:
        return 34.0 + number % 70 / 10

    async def present(self, what: Any) -> None:
        self.device.celsius = what

    @staticmethod
    def what(report: DeviceReport) -> Any:
        if not isinstance(report, Temperature):
            return None
        return round(report.celsius, 1)

    def false(self, reports: list[tuple[float, DeviceReport]]) -> list[str]:
        said = {self.what(one) for _, one in reports if isinstance(one, Temperature)}
        strange = said - set(self.shown) - {36.5}  # from the start
        return [f"{len(strange)} temperatures that nobody had"] if strange else []


class Voice(Rig):
    """What it plays was asked for."""

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedVoice()

    @property
    def session(self) -> Session:
        return self.device.session

    async def say(self, device: Any) -> None:
        device.say(self.chance.choice(["STATUS_GREEN", "STATUS_RED", "LANE_CLOSED"]))

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        return {"say": self.say}


class Light(Rig):
    """A board's lamps; `shown` is what they should show."""

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedRelayBoard()
        self.framing = "tcp" if kind == "tcp" else "rtu"
        self.cable = Cable(chance, 4 if kind == "tcp" else 0)
        self.settings = {"timeout_ms": 200, "baud": 115200, "framing": self.framing}
        self.shown = Sign.READY

    @property
    def session(self) -> Session:
        return self.device.tcp if self.framing == "tcp" else self.device.rtu

    def restart(self) -> None:
        for relay in range(RELAYS):
            self.device._open_relay(relay)

    async def show(self, device: Any) -> None:
        self.shown = self.chance.choice(list(Sign))
        device.show(self.shown)

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        return {"show": self.show}

    @property
    def is_right(self) -> bool:
        lamp = {Sign.READY: (), Sign.GO: ("green",), Sign.STAFF: ("amber",), Sign.NO: ("red",)}[self.shown]
        return tuple(name for name in lit(self.device) if name != "buzzer") == lamp


class Simulated(Rig):
    """A driver without a rig: what its `simulate` does is all that happens, and only some faults reach it."""

    WIRE = ("silent", "garbled", "late", "wrong answer", "pieces")

    def __init__(self, chance: random.Random, kind: str, info: registry.DriverInfo, folder: Path) -> None:
        super().__init__(chance, kind)
        self._info = info
        self._wire = WireFaults()
        FAULTS_OF_WIRE.set(self._wire)
        folder.mkdir()
        self.place = Plug(info, kind, folder)
        self.faults = self.WIRE if "silent" in info.knobs else ("none",)

    def where(self, spec: str) -> dict[str, Any]:
        return self.place.setting

    def break_by(self, fault: str) -> None:
        wire = self._wire
        wire.silent, wire.wrong_answer = fault in ("silent", "dead"), fault == "wrong answer"
        wire.garbled_every, wire.late_ms = int(fault == "garbled"), 500 if fault == "late" else 0
        wire.chopped = 16 if fault == "pieces" else 0


RIGS: dict[str, tuple[type[Rig], ...]] = {
    "digicon-tx1500": (Digicon,),
    "engine-scanner": (Engine,),
    "light-buzzer": (Light,),
    "line-scanner": (Line,),
    "machpower-eb": (MachPower,),
    "modbus-relay": (Board, Board, PymodbusServer),
    "osdp": (Osdp,),
    "osdp-output": (OsdpOutput,),
    "samv": (Samv,),
    "serial-thermometer": (Thermometer,),
    "ssi-scanner": (Ssi,),
    "tpw-321asp": (Tpw,),
    "uhppote": (Uhppote,),
    "voice-module": (Voice,),
    "wedge-scanner": (Wedge,),
    "zkteco-c3": (C3,),
}


def rig_for(info: registry.DriverInfo, kind: str, number: int, chance: random.Random, folder: Path) -> Rig:
    """The rig of sequence `number`: the driver's own in turn, and only where it can be plugged in."""
    own = [one for one in RIGS.get(info.name, ()) if one is not PymodbusServer or kind == "tcp"]
    return own[number // 2 % len(own)](chance, kind) if own else Simulated(chance, kind, info, folder)
