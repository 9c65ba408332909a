"""Which relays are closed for which sign, and which of them must be switched to get there. No IO and no clock.

Lamps and buzzer are relays of a board (devices.md 3.3): coils on and off by FC05, and the buzzer by the board's own
timed pulse, FC05 to 0x0200 + relay with units of 100 ms, so that it does not sound on when we are gone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.contract import Sign

COIL_OFF = 0x0000
PULSE_UNIT_MS = 100
_LAMPS = {Sign.GO: "green_coil", Sign.STAFF: "amber_coil", Sign.NO: "red_coil"}
_BUZZES = frozenset({Sign.STAFF, Sign.NO})  # whoever walks on a green lamp need not be called

Settings = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, slots=True)
class Lamps:
    """The relays of one lane's lamps and buzzer."""

    lamps: Mapping[Sign, int]  # READY has none: all are dark
    buzzer: int | None
    pulse_base: int
    buzz_ms: int
    on_value: int

    @classmethod
    def of(cls, settings: Settings) -> "Lamps":
        """What checked settings say. Raises ValueError naming a relay that stands twice."""
        lamps = {sign: int(settings[name]) for sign, name in _LAMPS.items()}
        buzzer = int(settings["buzzer_coil"]) if settings["buzzer"] else None
        relays = [*lamps.values(), *([] if buzzer is None else [buzzer])]
        twice = next((relay for relay in relays if relays.count(relay) > 1), None)
        if twice is not None:
            raise ValueError(f"relay {twice} stands twice: each lamp, and the buzzer, needs its own")
        return cls(lamps, buzzer, int(settings["pulse_base"]), int(settings["buzz_ms"]), int(settings["on_value"]))

    @property
    def span(self) -> tuple[int, int]:
        """First relay and count of the one request that reads all lamps."""
        first = min(self.lamps.values())
        return first, max(self.lamps.values()) - first + 1

    def wrong(self, sign: Sign, bits: Sequence[bool]) -> list[tuple[int, bool]]:
        """The lamps that are not as `sign` wants them, by the bits of `span`; what goes off comes first."""
        first, _ = self.span
        wanted = {relay: shown is sign for shown, relay in self.lamps.items()}
        return sorted(
            ((relay, on) for relay, on in wanted.items() if bits[relay - first] is not on), key=lambda one: one[1]
        )

    def value(self, on: bool) -> int:
        """What FC05 is told to switch a relay."""
        return self.on_value if on else COIL_OFF

    def buzz(self, sign: Sign) -> tuple[int, int] | None:
        """Address and value of the pulse that calls attention to `sign`; None when it is to be silent."""
        if self.buzzer is None or sign not in _BUZZES:
            return None
        return self.pulse_base + self.buzzer, max(1, round(self.buzz_ms / PULSE_UNIT_MS))
