"""What a relay board's coils and inputs mean for a turnstile, by the map in the settings. No IO and no clock.

Board-timed pulse (Waveshare, devices.md 3.3): FC05 to address 0x0200 + n with the delay in units of 100 ms as value;
`01 05 02 00 00 07 8D B0` closes relay 0 for 700 ms. The board ends the pulse even if we are gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.contract import DeviceReport, Direction, Emergency, Occupied, Passed, Ready, Tailgating

PULSE_UNIT_MS = 100
COIL_OFF = 0x0000
COUNTER_MODULO = 0x10000
# More passages than this between two polls of 100 ms is no crowd but a replaced or reset board.
COUNTED_MAX = 4

Settings = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class CoilWrite:
    """One FC05: address and raw value."""

    address: int
    value: int


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its address, and which level means "yes"."""

    address: int
    active_high: bool


@dataclass(frozen=True, slots=True)
class Inputs:
    """What the inputs say at one poll; False where nothing is wired, `ready` True."""

    passed: bool = False
    passed_exit: bool = False
    occupied: bool = False
    tailgating: bool = False
    fire: bool = False
    ready: bool = True


_NAMES = ("passed", "passed_exit", "occupied", "tailgating", "fire", "ready")


@dataclass(frozen=True, slots=True)
class BoardMap:
    """Which coil and input is what."""

    release: Mapping[Direction, int]
    hold: int
    pulse_ms: int
    pulse_base: int
    on_value: int
    inputs: Mapping[str, Input]
    counters: Mapping[Direction, int]  # register of the latched passage counter

    @classmethod
    def of(cls, settings: Settings) -> "BoardMap":
        """The map in checked settings."""
        entry = int(settings["release_coil"])
        inputs = {
            name: Input(int(settings[f"{name}_input"]), settings[f"{name}_active"] == "high")
            for name in _NAMES
            if f"{name}_input" in settings
        }
        counters = {direction: int(settings[key]) for direction, key in _COUNTER_SETTINGS.items() if key in settings}
        return cls(
            release={Direction.ENTRY: entry, Direction.EXIT: int(settings.get("release_exit_coil", entry))},
            hold=int(settings.get("hold_coil", entry)),
            pulse_ms=int(settings["pulse_ms"]),
            pulse_base=int(settings["pulse_base"]),
            on_value=int(settings["on_value"]),
            inputs=inputs,
            counters=counters,
        )

    def timed_pulse(self, direction: Direction) -> CoilWrite:
        """The release that the board ends by itself."""
        return CoilWrite(self.pulse_base + self.release[direction], max(1, round(self.pulse_ms / PULSE_UNIT_MS)))

    def coil(self, relay: int, on: bool) -> CoilWrite:
        """A relay on or off: for holding, and for the release on boards without a pulse of their own."""
        return CoilWrite(relay, self.on_value if on else COIL_OFF)

    @property
    def input_span(self) -> tuple[int, int]:
        """First address and count of the one request that reads all inputs; count 0 when none is wired."""
        return _span([wired.address for wired in self.inputs.values()])

    @property
    def counter_span(self) -> tuple[int, int]:
        """The same for the counter registers."""
        return _span(list(self.counters.values()))

    def decode(self, bits: Sequence[bool]) -> Inputs:
        """Inputs from the bits of `input_span`. Raises IndexError when there are too few."""
        first, _ = self.input_span
        return Inputs(**{name: bits[i.address - first] is i.active_high for name, i in self.inputs.items()})

    def decode_counters(self, registers: Sequence[int]) -> dict[Direction, int]:
        """Counts from the registers of `counter_span`. Raises IndexError when there are too few."""
        first, _ = self.counter_span
        return {direction: registers[address - first] for direction, address in self.counters.items()}


_COUNTER_SETTINGS = {Direction.ENTRY: "passed_counter_register", Direction.EXIT: "passed_exit_counter_register"}


def rtu_gap_s(baud: int) -> float:
    """Silence between two RTU frames: 3.5 characters of 11 bits (Modbus over serial line 2.5.1.1)."""
    return 3.5 * 11 / baud if baud <= 19200 else 0.00175  # the page fixes it for faster lines


def _span(addresses: list[int]) -> tuple[int, int]:
    if not addresses:
        return 0, 0
    return min(addresses), max(addresses) - min(addresses) + 1


def first_reports(before: Inputs | None, now: Inputs) -> list[DeviceReport]:
    """What must be said of a board seen for the first time, or again: states, and no passages of meanwhile."""
    reports: list[DeviceReport] = []
    if now.fire or (before and before.fire):
        reports.append(Emergency(now.fire))
    reports.append(Ready(now.ready))
    if now.occupied or (before and before.occupied):
        reports.append(Occupied(now.occupied))
    return reports


def reports(before: Inputs, now: Inputs, count_edges: frozenset[Direction]) -> list[DeviceReport]:
    """What changed. Passages count by edges only for directions in `count_edges`; the others have counters."""
    changed: list[DeviceReport] = []
    if now.fire != before.fire:
        changed.append(Emergency(now.fire))
    if now.passed and not before.passed and Direction.ENTRY in count_edges:
        changed.append(Passed(Direction.ENTRY))
    if now.passed_exit and not before.passed_exit and Direction.EXIT in count_edges:
        changed.append(Passed(Direction.EXIT))
    if now.tailgating and not before.tailgating:
        changed.append(Tailgating())
    if now.occupied != before.occupied:
        changed.append(Occupied(now.occupied))
    if now.ready != before.ready:
        changed.append(Ready(now.ready))
    return changed


def counted(before: Mapping[Direction, int], now: Mapping[Direction, int]) -> list[DeviceReport]:
    """One `Passed` for each count since; counters wrap at 65,536, and a jump means a reset board, not a crowd."""
    passages: list[DeviceReport] = []
    for direction, count in now.items():
        more = (count - before.get(direction, count)) % COUNTER_MODULO
        passages += [Passed(direction)] * (more if more <= COUNTED_MAX else 0)
    return passages
