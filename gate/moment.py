"""PURE: an instant, taken once per event and handed to everything that judges it."""

from dataclasses import dataclass
from datetime import date

_BEIJING_S = 8 * 3600  # China has one time zone and no summer time; rules, cards and certificates count its days (R18)
_EPOCH = date(1970, 1, 1).toordinal()
_DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant on both clocks. Spans are measured on `mono_s`; only dates and ages of feeds use `utc_s`."""

    utc_s: float  # seconds since 1970-01-01T00:00Z, immune to steps of the wall clock (station/clock.py)
    mono_s: float  # seconds of the monotonic clock; comparable within one process only

    def plus(self, span_s: float) -> "Moment":
        """The instant `span_s` seconds later."""
        return Moment(self.utc_s + span_s, self.mono_s + span_s)

    def since(self, earlier: "Moment") -> float:
        """Seconds from `earlier` to this instant, on the monotonic clock."""
        return self.mono_s - earlier.mono_s

    @property
    def beijing_day(self) -> date:
        """The day in China; the last day that there is for absurd instants."""
        return date.fromordinal(_EPOCH + min(max(int((self.utc_s + _BEIJING_S) // _DAY_S), 0), _LAST_DAY))


_LAST_DAY = date.max.toordinal() - _EPOCH
