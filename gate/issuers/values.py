"""Values out of answers whose types nobody promised: each in exactly the form documented, or None."""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from gate.credential.documents import Document, DocumentError, DocumentType, document

_BEIJING = timezone(timedelta(hours=8))
_DATE_TIME = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2}) ([0-9]{2}):([0-9]{2}):([0-9]{2})")
_FOURTEEN = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})([0-9]{2})")
_EPOCH = re.compile(r"[0-9]{10}(?:[0-9]{3})?")
_REGION = re.compile(r"([0-9]{6})(?:[0-9]{6})?")
_EPOCH_MS_FROM = 100_000_000_000  # in seconds the year 5138, in milliseconds 1973


def read_json(body: bytes | str) -> Mapping[str, Any] | None:
    """The JSON object in `body`, or None."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError; a number of 5,000 digits raises one
        return None
    return value if isinstance(value, dict) else None


def table(value: object) -> Mapping[str, Any] | None:
    """A JSON object, written as such or, as Java services do, as a string that holds one; else None."""
    if isinstance(value, str):
        return read_json(value)
    return value if isinstance(value, dict) else None


def beijing_utc_s(value: object) -> int | None:
    """An issuer's time in UTC seconds: the two texts in Beijing time, or seconds or milliseconds since 1970 (R18)."""
    if type(value) is int:
        value = str(value) if 0 < value < 10**13 else ""  # not more digits than the longest form
    if not isinstance(value, str):
        return None
    if _EPOCH.fullmatch(value):
        number = int(value)
        return number // 1000 if number >= _EPOCH_MS_FROM else number
    match = _DATE_TIME.fullmatch(value) or _FOURTEEN.fullmatch(value)
    if match is None:
        return None
    year, month, day, hour, minute, second = map(int, match.groups())
    try:
        utc_s = int(datetime(year, month, day, hour, minute, second, tzinfo=_BEIJING).timestamp())
    except ValueError:  # a 30th of February
        return None
    return utc_s if utc_s > 0 else None  # 0 means "not said" in a finding


def region(value: object) -> str:
    """A GB/T 2260 code of 6 or 12 digits, cut to 6; "" for anything else."""
    match = _REGION.fullmatch(value) if isinstance(value, str) else None
    return match[1] if match else ""


def resident(value: object) -> Document | None:
    """The document of a number told in full. A masked one is nobody's: two people may share what is left of it."""
    if not isinstance(value, str) or len(value) > 32:  # 18 digits, full-width or spaced
        return None
    try:
        return document(DocumentType.RESIDENT_ID, value)
    except DocumentError:
        return None
