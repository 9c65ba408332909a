"""A finding as the journal keeps it for replay, and back: everything but the key it was found by."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from gate.feed.finding import (
    Answered,
    Certified,
    Enrolled,
    Finding,
    Freshness,
    Listed,
    Missing,
    NotCovered,
    NotListed,
    Rejected,
    Rejection,
    Silence,
    Unanswered,
    Uncovered,
    Unknown,
)
from gate.feed.records import CredentialStatus

_KINDS: Mapping[str, type[Any]] = {
    "LISTED": Listed,
    "ENROLLED": Enrolled,
    "NOT_LISTED": NotListed,
    "NOT_COVERED": NotCovered,
    "UNKNOWN": Unknown,
    "ANSWERED": Answered,
    "REJECTED": Rejected,
    "UNANSWERED": Unanswered,
    "CERTIFIED": Certified,
}
_WHY: Mapping[type[Any], type[Any]] = {
    Unknown: Missing,
    NotCovered: Uncovered,
    Rejected: Rejection,
    Unanswered: Silence,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}


def note(finding: Finding) -> dict[str, object]:
    """JSON values; instants are named `…_utc_s`."""
    noted: dict[str, object] = {"kind": _NAMES[type(finding)]}
    for field in fields(finding):
        value = getattr(finding, field.name)
        if isinstance(value, Freshness):
            noted |= {"as_of_utc_s": value.as_of_utc_s, "partition": value.partition}
        else:
            noted[field.name] = str(value) if isinstance(value, str) else value
    return noted


def from_note(noted: Mapping[str, Any]) -> Finding:
    """The finding that was noted. Raises KeyError, TypeError, ValueError for what `note` never wrote."""
    kind = _KINDS[noted["kind"]]
    values = {name: value for name, value in noted.items() if name not in ("kind", "as_of_utc_s", "partition")}
    if "as_of_utc_s" in noted:
        values["freshness"] = Freshness(float(noted["as_of_utc_s"]), noted["partition"])
    if "status" in values:
        values["status"] = CredentialStatus(values["status"])
    if "why" in values:
        values["why"] = _WHY[kind](values["why"])
    finding: Finding = kind(**values)
    return finding
