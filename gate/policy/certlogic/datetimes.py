"""CertLogic's date-times: which texts are dates, "the last date consistent with the data", and JavaScript's sums."""

import re
from datetime import UTC, datetime, timedelta
from typing import Self

# 19 characters to the seconds, 6 of offset: the rest is decimals, of which any number is accepted and three count.
TEXT_MAX = 64
UNITS = ("year", "month", "day", "hour")
_PARTIAL = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?")
_DAY = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_FULL = re.compile(
    _DAY.pattern + r"T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?(?:Z|([+-])([0-9]{1,2})(?::?([0-9]{2}))?)?"
)


class DateTime(datetime):
    """An instant in UTC, to the millisecond. A type of its own: only this module makes one, data can hold none."""

    @classmethod
    def utc(cls, year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> Self:
        """Raises ValueError where there is no such day or time, and outside the years 1 to 9999."""
        return cls(year, month, day, hour, minute, second, tzinfo=UTC)


def text_of(moment: DateTime) -> str:
    """As JavaScript writes it, always to the millisecond: 2020-03-26T00:00:00.000Z."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def birth(text: str) -> DateTime:
    """`dccDateOfBirth`: YYYY and YYYY-MM are their last day. Raises ValueError for any other text."""
    day = _DAY.fullmatch(text)
    if day:
        return DateTime.utc(*map(int, day.groups()))
    partial = _PARTIAL.fullmatch(text)
    if not partial:
        raise ValueError("not an allowed date")
    year, month = int(partial[1]), int(partial[2] or 12)
    if not 1 <= month <= 12:
        raise ValueError("no such month")
    if month == 12:  # what follows it may lie beyond the year 9999
        return DateTime.utc(year, 12, 31)
    return DateTime.utc(year, month + 1, 1) - timedelta(days=1)


def parse(text: str) -> DateTime:
    """A date or date-time in one of the specification's 19 forms. Raises ValueError, OverflowError for any other."""
    full = _FULL.fullmatch(text) if len(text) <= TEXT_MAX else None
    if not full:
        return birth(text)
    milliseconds = int((full[7] or "")[:3].ljust(3, "0"))  # "ignored, effectively rounding down"
    local = DateTime.utc(*map(int, full.groups()[:6])) + timedelta(milliseconds=milliseconds)
    hours, minutes = int(full[9] or 0), int(full[10] or 0)
    if hours > 23 or minutes > 59:
        raise ValueError("no such offset")
    offset = timedelta(hours=hours, minutes=minutes)
    return local + offset if full[8] == "-" else local - offset


def plus(moment: DateTime, amount: int, unit: str) -> DateTime:
    """`plusTime`, as JavaScript's setUTC… do it. Raises ValueError, OverflowError outside the years 1 to 9999."""
    if unit == "hour":
        return moment + timedelta(hours=amount)
    if unit == "day":
        return moment + timedelta(days=amount)
    months = moment.year * 12 + moment.month - 1 + amount * (12 if unit == "year" else 1)
    # A day that its month does not have runs on into the next one: 29 February + 1 year is 1 March.
    first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
    return first + timedelta(days=moment.day - 1)
