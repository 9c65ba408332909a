"""What an OSDP reader's lamp and buzzer do for which sign. No IO and no clock; libosdp builds the frames.

LED control (command 69, IEC 60839-11-5) has a temporary and a permanent state. A sign is temporary and told again
before its time is over, so that no lamp says "go" of a lane that nobody runs any more; the permanent state is dark, or
one colour that says "ready". Signs differ by rhythm and by the number of beeps (buzzer control, command 6A) as well as
by colour: not everybody sees red from green.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from drivers.contract import Sign

UNIT_MS = 100  # of all times in both commands
COLOURS = {"none": 0, "red": 1, "green": 2, "amber": 3, "blue": 4}
LASTS_UNITS = 30  # 3 s: two refreshes of a second may be lost
CANCEL, SET = 1, 2  # control codes of the temporary state; of the permanent one, 1 is "set"
TONE = 2  # the reader's own; 1 is silence

Command = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Look:
    """Colour, the rhythm of on and off, and how often it beeps for how long; in units of 100 ms, 0 off is steady."""

    colour: str
    on: int
    off: int
    beeps: int
    beep: int


_LOOKS: Mapping[Sign, _Look] = {
    Sign.GO: _Look("green", 1, 0, beeps=1, beep=1),
    Sign.STAFF: _Look("amber", 5, 5, beeps=2, beep=4),
    Sign.NO: _Look("red", 2, 2, beeps=3, beep=2),
}


@dataclass(frozen=True, slots=True)
class Lamp:
    """One lamp and buzzer of one reader."""

    reader: int
    led: int
    ready: str  # the colour at rest
    buzzer: bool

    @classmethod
    def of(cls, settings: Mapping[str, str | int | float | bool]) -> "Lamp":
        """What checked settings say."""
        reader, led = int(settings["reader_number"]), int(settings["led_number"])
        return cls(reader, led, str(settings["ready_colour"]), bool(settings["buzzer"]))

    def at_rest(self) -> Command:
        """The permanent state: what shows when nothing else is told."""
        return self._led(1, _Look(self.ready, 1, 0, 0, 0), temporary=False)

    def show(self, sign: Sign) -> Command:
        """The temporary state of `sign`, for LASTS_UNITS; READY ends it."""
        look = _LOOKS.get(sign)
        if look is None:
            return self._led(CANCEL, _Look("none", 0, 0, 0, 0), temporary=True)
        return self._led(SET, look, temporary=True)

    def beep(self, sign: Sign) -> Command | None:
        """What calls attention to `sign`; None when it is to be silent."""
        look = _LOOKS.get(sign)
        if look is None or not self.buzzer:
            return None
        counts = {"on_count": look.beep, "off_count": look.beep, "rep_count": look.beeps}
        return {"reader": self.reader, "control_code": TONE, **counts}

    def _led(self, code: int, look: _Look, temporary: bool) -> Command:
        colour, off_colour = COLOURS[look.colour], COLOURS["none"]
        return {
            "reader": self.reader,
            "led_number": self.led,
            "control_code": code,
            "on_count": look.on,
            "off_count": look.off,
            "on_color": colour,
            "off_color": off_colour if look.off else colour,
            "timer_count": LASTS_UNITS if temporary and code == SET else 0,
            "temporary": temporary,  # libosdp takes no number for it
        }
