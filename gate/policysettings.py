"""The `[policy]` table of station.toml: which rules, of which day, and what the station does on special days."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

from gate.tomltable import ConfigError, Table

_DAYS_MAX = 366  # a year of special days


@dataclass(frozen=True, slots=True)
class Policy:
    """Which rules, of which day, and what the station does on special days. Days are days in China."""

    rules_dir: Path | None = None  # None: the rules shipped with the service
    rules_of: date | None = None  # decide by the rules of that day, whatever today is (demonstrations); None: of today
    checking_until: date | None = None  # the first day on which nobody is checked any more
    open_days: frozenset[date] = frozenset()  # normal ticketing, nobody is checked
    closed_days: frozenset[date] = frozenset()
    certificate_keys: Path | None = None  # file or folder of communities' NAME.keys; None: no paper is believed


def read_policy(table: Table) -> Policy:
    """The `[policy]` table. Raises ConfigError."""
    rules_dir = table.file("rules_dir", must_exist=False, default=None)
    if rules_dir is not None and not rules_dir.is_dir():
        raise ConfigError(table.at("rules_dir"), f"{rules_dir} is not a folder: give the folder of the rules")
    keys = table.file("certificate_keys", must_exist=False, default=None)
    if keys is not None and not keys.exists():
        raise ConfigError(table.at("certificate_keys"), f"{keys} is not there: give a .keys file or their folder")
    days = {key: _days(table, key) for key in ("open_days", "closed_days")}
    both = sorted(days["open_days"] & days["closed_days"])
    if both:
        raise ConfigError(table.at("closed_days"), f"{both[0]} is in open_days too: a day is one of the two")
    return Policy(
        rules_dir=rules_dir,
        rules_of=table.get("rules_of", date, None),
        checking_until=table.get("checking_until", date, None),
        certificate_keys=keys,
        **days,
    )


def _days(table: Table, key: str) -> frozenset[date]:
    days = table.get(key, list, [])
    if len(days) > _DAYS_MAX or any(type(day) is not date for day in days):
        raise ConfigError(table.at(key), f"must be a list of days such as 2020-10-01, at most {_DAYS_MAX}")
    return frozenset(days)
