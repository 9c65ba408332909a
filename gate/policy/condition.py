"""Causes of degraded mode. They enter `decide` as conditions; what each costs is in the rules."""

import enum
from dataclasses import dataclass


class Cause(enum.StrEnum):
    """The closed list; also the label of the metric `gate_degraded`."""

    FEED_AGED = "FEED_AGED"
    FEED_EXPIRED = "FEED_EXPIRED"
    READER_DOWN = "READER_DOWN"
    SCANNER_DOWN = "SCANNER_DOWN"
    TURNSTILE_DOWN = "TURNSTILE_DOWN"
    CLOCK_UNTRUSTED = "CLOCK_UNTRUSTED"
    JOURNAL_FULL = "JOURNAL_FULL"
    ISSUER_UNREACHABLE = "ISSUER_UNREACHABLE"


@dataclass(frozen=True, slots=True)
class Condition:
    """One present cause; `of` names the issuer or device it concerns, "" for the station."""

    cause: Cause
    of: str = ""

    def __str__(self) -> str:
        return f"{self.cause}({self.of})" if self.of else str(self.cause)
