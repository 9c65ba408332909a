"""Whose cards a reader of bare numbers reads, by the station's file: two schemes may give one number to two people."""

from collections.abc import Mapping

from drivers import registry
from drivers.registry import SettingValue
from gate.credential.cardnumber import SCHEME
from gate.tomltable import ConfigError, Table, shown

KEY = "card_scheme"


def read_scheme(table: Table, info: registry.DriverInfo) -> str:
    """The scheme of a reader's cards; "" where none is named. Raises ConfigError."""
    if info.kind != "card-reader":
        return ""
    scheme: str = table.get(KEY, str, "")
    if scheme and not SCHEME.fullmatch(scheme):
        raise ConfigError(table.at(KEY), f"is {shown(scheme)}: must be small letters, digits and '-', at most 32")
    return scheme


def check_named(driver: str, settings: Mapping[str, SettingValue], scheme: str, path: str) -> None:
    """A station must say whose cards are read; the computer of a far lane need not know. Raises ConfigError."""
    when = registry.driver(driver).card_numbers
    if when is not None and when.items() <= settings.items() and not scheme:
        text = f"is missing: {driver} reads bare card numbers, and without their scheme a number is nobody's;"
        raise ConfigError(f"{path}.{KEY}", f'{text} name it as the feeds\' rows do, e.g. "shanghai-transit"')
