"""What a relay board's coils and inputs mean for a turnstile, by the map in the settings. No IO and no clock.

Board-timed pulse (Waveshare, devices.md 3.3): FC05 to address 0x0200 + n with the delay in units of 100 ms as value;
`01 05 02 00 00 07 8D B0` closes relay 0 for 700 ms. LC-Tech's: FC10 to two registers, mode 4 and the delay in the same
unit; `01 10 00 03 00 02 04 00 04 00 14 F2 74` closes relay 0 for 2 s. The board ends the pulse even if we are gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.contract import DeviceReport, Direction, Emergency, Occupied, Passed, Ready, Tailgating

PULSE_UNIT_S = 0.1
REGISTERS = 16  # FC10
COUNTER_MODULO = 0x10000
# More passages than this between two polls of 100 ms is no crowd but a replaced or reset board.
COUNTED_MAX = 4
PULSE_UNITS_MAX = 0x7FFF  # Waveshare's largest delay; a lane releases for a minute at most

Settings = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class CoilWrite:
    """One FC05: address and raw value."""

    address: int
    value: int


@dataclass(frozen=True, slots=True)
class RegisterWrite:
    """One FC10: address of the first register, and the values."""

    address: int
    values: tuple[int, ...]


Write = CoilWrite | RegisterWrite


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
    """Which coil and input is what, and how a relay is switched."""

    release: Mapping[Direction, int]
    holds: tuple[int, ...]  # relays that stay closed while the barrier is held open
    stop: int | None
    held_by_stop: bool  # held open by all unlocks with Stop, ended by Stop alone
    potential: bool  # open while the relay is closed
    pulse_s: float
    pulse_function: int
    pulse_base: int
    pulse_step: int
    pulse_mode: int
    on_value: int
    off_value: int
    inputs: Mapping[str, Input]
    counters: Mapping[Direction, int]  # register of the latched passage counter

    @classmethod
    def of(cls, settings: Settings) -> "BoardMap":
        """The map in settings that `maps.resolved` completed."""
        entry = int(settings["release_coil"])
        release = {Direction.ENTRY: entry, Direction.EXIT: int(settings.get("release_exit_coil", entry))}
        potential = settings["control"] == "potential"
        held = tuple(dict.fromkeys(release.values())) if potential else (entry,)
        return cls(
            release=release,
            holds=(int(settings["hold_coil"]),) if "hold_coil" in settings else held,
            stop=int(settings["stop_coil"]) if "stop_coil" in settings else None,
            held_by_stop=settings["hold"] == "unlock-stop" and not potential and "hold_coil" not in settings,
            potential=potential,
            pulse_s=float(settings["pulse_ms"]) / 1000,
            **{key: int(settings[key]) for key in _NUMBERS},
            inputs=_inputs(settings),
            counters={direction: int(settings[key]) for direction, key in _COUNTER_SETTINGS.items() if key in settings},
        )

    def timed_pulse(self, relay: int, length_s: float) -> Write:
        """A pulse that the board ends by itself, of whole tenths of a second."""
        address = self.pulse_base + self.pulse_step * relay
        units = min(PULSE_UNITS_MAX, max(1, round(length_s / PULSE_UNIT_S)))
        if self.pulse_function == REGISTERS:
            return RegisterWrite(address, (self.pulse_mode, units))
        return CoilWrite(address, units)

    def coil(self, relay: int, on: bool) -> CoilWrite:
        """A relay on or off: for holding, and for the release on boards without a pulse of their own."""
        return CoilWrite(relay, self.on_value if on else self.off_value)

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


_NUMBERS = ("pulse_function", "pulse_base", "pulse_step", "pulse_mode", "on_value", "off_value")
_COUNTER_SETTINGS = {Direction.ENTRY: "passed_counter_register", Direction.EXIT: "passed_exit_counter_register"}


def _inputs(settings: Settings) -> dict[str, Input]:
    return {
        name: Input(int(settings[f"{name}_input"]), settings[f"{name}_active"] == "high")
        for name in _NAMES
        if f"{name}_input" in settings
    }


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


@dataclass(slots=True)
class PassageContact:
    """One passage contact over time. What lasts longer than `longest_s` is a cut wire or a stuck contact: nobody."""

    longest_s: float
    _since_s: float | None = None
    _begun: bool = False  # its beginning was seen

    @property
    def active(self) -> bool:
        """Whether it was active when last seen."""
        return self._since_s is not None

    def see(self, active: bool, now_s: float, first: bool = False) -> bool:
        """Whether a passage that we saw from its beginning has just ended. `first`: nothing was seen before."""
        ended = not active and self._begun and not first and not self.stuck(now_s)
        if not active:
            self._since_s, self._begun = None, False
        elif self._since_s is None or first:
            self._since_s, self._begun = now_s, not first
        return ended

    def stuck(self, now_s: float) -> bool:
        """Whether it has lasted too long."""
        return self._since_s is not None and now_s - self._since_s > self.longest_s
