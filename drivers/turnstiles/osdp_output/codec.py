"""What an OSDP device's outputs and inputs mean for a turnstile, by the map in the settings. No IO and no clock.

Output control (command 68, IEC 60839-11-5): output number, control code, timer in units of 100 ms. Code 5 switches on
for the timer and then back to the permanent state: the device ends the pulse even if we are gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.contract import Direction

TIMER_UNIT_MS = 100
PERMANENT_OFF, PERMANENT_ON, TEMPORARY_ON = 1, 2, 5

Settings = Mapping[str, str | int | float | bool]
_NAMES = ("passed", "passed_exit", "occupied", "tailgating", "fire", "ready")


@dataclass(frozen=True, slots=True)
class OutputMap:
    """Which output and input is what."""

    release: Mapping[Direction, int]
    hold: int
    pulse_ms: int
    inputs: Mapping[str, tuple[int, bool]]  # number, and whether active means yes

    @classmethod
    def of(cls, settings: Settings) -> "OutputMap":
        """The map in checked settings."""
        entry = int(settings["release_output"])
        inputs = {
            name: (int(settings[f"{name}_input"]), settings[f"{name}_active"] == "high")
            for name in _NAMES
            if f"{name}_input" in settings
        }
        return cls(
            release={Direction.ENTRY: entry, Direction.EXIT: int(settings.get("release_exit_output", entry))},
            hold=int(settings.get("hold_output", entry)),
            pulse_ms=int(settings["pulse_ms"]),
            inputs=inputs,
        )

    def pulse(self, direction: Direction) -> dict[str, int]:
        """The release that the device ends by itself."""
        return _command(self.release[direction], TEMPORARY_ON, max(1, round(self.pulse_ms / TIMER_UNIT_MS)))

    def holding(self, on: bool) -> dict[str, int]:
        """The output for crowd release on or off, until further notice."""
        return _command(self.hold, PERMANENT_ON if on else PERMANENT_OFF, 0)

    def decode(self, levels: Sequence[int]) -> dict[str, bool]:
        """What each wired input says, from a status report of one byte each, 0 at rest.

        Raises IndexError when there are too few.
        """
        return {name: (levels[number] != 0) is high for name, (number, high) in self.inputs.items()}


def _command(output: int, code: int, timer: int) -> dict[str, int]:
    return {"output_no": output, "control_code": code, "timer_count": timer}
