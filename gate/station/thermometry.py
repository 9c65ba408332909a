"""Whose temperature it is: of what a lane's thermometers tell, the newest of each side, while it is still somebody's.

The number lives here for seconds and goes nowhere; rules and journal are told NORMAL, HIGH or UNKNOWN.
"""

from dataclasses import dataclass, field

from drivers.contract import MeasuredAt, Temperature
from gate.moment import Moment
from gate.passage.commands import Direction
from gate.policy.question import Warmth
from gate.policy.terms import Terms


@dataclass(frozen=True, slots=True)
class _Measured:
    temperature: Temperature = field(repr=False)
    at: Moment


class Thermometry:
    """The thermometers of one lane."""

    def __init__(self) -> None:
        self._newest: dict[Direction, _Measured] = {}

    def measured(self, temperature: Temperature, side: Direction, now: Moment) -> None:
        """Somebody stands before the thermometer of this side."""
        self._newest[side] = _Measured(temperature, now)

    def of_who_is_at(self, side: Direction, now: Moment, terms: Terms | None) -> Warmth:
        """Of the passenger who presents on this side now."""
        newest = self._newest.get(side)
        if newest is None or terms is None or not 0 <= now.since(newest.at) <= terms.temperature_within_s:
            return Warmth.UNKNOWN
        return terms.warmth(newest.temperature.celsius, newest.temperature.kind is MeasuredAt.BODY)

    def let_go(self, side: Direction) -> None:
        """Who stood there has been told to go: the next one's temperature is still to be measured.

        Who was not let go keeps theirs: presenting again at once must not shed a fever.
        """
        self._newest.pop(side, None)
