"""Which drivers there are, what each may be told, and how to build one: read from the `driver.toml` beside its code.

A driver is a folder `drivers/<kind>/<model>/` with `driver.toml`, `codec.py` (frames, no IO) and `device.py` with a
function `create(settings) -> Device`. Nothing else needs to know it; its module is imported only when it is configured.
"""

import difflib
import functools
import importlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from drivers.contract import Device

SettingValue = str | int | float | bool
# What a driver can claim as proof. The last three name what it was, after a colon: "independent peer: pymodbus server".
PROOFS = ("simulated", "independent peer", "bench", "field")
_KINDS = {
    "readers": "card-reader",
    "scanners": "code-scanner",
    "turnstiles": "turnstile",
    "prompts": "prompt",
    "thermometers": "thermometer",
}
_TYPES: dict[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}


class SettingError(ValueError):
    """A driver's setting is not as `driver.toml` says. `key` is the setting's name ("" for the whole table)."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing a driver may be told, as its `driver.toml` declares it."""

    name: str
    type: str  # string | integer | number | boolean
    sentence: str
    unit: str = ""
    default: SettingValue | None = None  # None: must be given unless `optional`
    min: float | None = None
    max: float | None = None
    choices: tuple[SettingValue, ...] = ()
    optional: bool = False  # absent means the device has no such thing (an input that is not wired)


@dataclass(frozen=True, slots=True)
class DriverInfo:
    """One driver: its name in `station.toml`, its kind, and its settings by name."""

    name: str
    kind: str  # card-reader | code-scanner | turnstile | prompt | thermometer
    sentence: str
    package: str
    simulator: str  # module with `simulate(port, options)`; "" when there is none
    probe: str  # module with `identify(settings)`, which asks and changes nothing; "" when it cannot be told by asking
    asks: bool  # whether it asks its device anything at rest; else "up" says no more than that its port is open
    proved_by: tuple[str, ...]  # what ran against it: see PROOFS; tests/conformance/test_proofs.py holds it to that
    unproved: tuple[str, ...]  # what no source or device has confirmed
    settings: Mapping[str, Setting]
    knobs: Mapping[str, Setting]  # what `simulate` may be told, with the faults of its cable
    # Settings with which all that it reads is bare card numbers, of a scheme that it cannot tell; None: it never does.
    card_numbers: Mapping[str, SettingValue] | None = None
    bus: str = ""  # drivers of one bus may share a port, each with its own unit address; "" none
    ports: tuple[str, ...] = ("pty", "tcp")  # kinds of port; a serial line is one to a pty


@functools.cache
def drivers() -> Mapping[str, DriverInfo]:
    """All drivers by name, sorted."""
    found = []
    for folder, kind in _KINDS.items():
        for entry in resources.files("drivers").joinpath(folder).iterdir():
            declaration = entry.joinpath("driver.toml")
            if declaration.is_file():
                package = f"drivers.{folder}.{entry.name}"
                found.append(_parse(tomllib.loads(declaration.read_text("utf-8")), kind, package))
    return {info.name: info for info in sorted(found, key=lambda info: info.name)}


def _parse(raw: dict[str, Any], kind: str, package: str) -> DriverInfo:
    head = raw["driver"]
    settings = _parse_settings(raw.get("settings", {}))
    wire = _wire_knobs() if "port" in settings and head.get("wire_knobs", True) else {}
    return DriverInfo(
        name=head["name"],
        kind=kind,
        sentence=head["sentence"],
        package=package,
        simulator=head.get("simulator", ""),
        probe=head.get("probe", ""),
        asks=head.get("asks", True),
        proved_by=tuple(head.get("proved_by", ())),
        unproved=tuple(head.get("unproved", ())),
        settings=settings,
        knobs={**_parse_settings(raw.get("knobs", {})), **wire},
        card_numbers=head.get("card_numbers"),
        bus=head.get("bus", ""),
        ports=tuple(head.get("ports", ("pty", "tcp"))) if "port" in settings else (),
    )


@functools.cache
def _wire_knobs() -> Mapping[str, Setting]:
    declaration = resources.files("drivers").joinpath("simulated", "wire.toml")
    return _parse_settings(tomllib.loads(declaration.read_text("utf-8")))


def _parse_settings(raw: dict[str, Any]) -> dict[str, Setting]:
    return {name: _parse_setting(name, fields) for name, fields in raw.items()}


def _parse_setting(name: str, fields: dict[str, Any]) -> Setting:
    choices: tuple[SettingValue, ...] = tuple(fields.pop("choices", ()))
    return Setting(name=name, choices=choices, **fields)


def driver(name: str) -> DriverInfo:
    """The driver called `name`. Raises SettingError naming the nearest one there is."""
    try:
        return drivers()[name]
    except KeyError:
        raise SettingError(
            "driver", f"no driver {name!r}{nearest(name, drivers())}; there are {', '.join(drivers())}"
        ) from None


def nearest(name: str, known: Mapping[str, object]) -> str:
    """`; did you mean 'x'?` when something known is close, else nothing."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def check_settings(info: DriverInfo, given: Mapping[str, Any]) -> dict[str, SettingValue]:
    """`given` with defaults filled in. Raises SettingError naming the setting, what is wrong and what is allowed."""
    return _check(info.settings, given, f"driver {info.name!r} has no setting")


def check_knobs(info: DriverInfo, given: Mapping[str, Any]) -> dict[str, SettingValue]:
    """The same for the knobs of its simulator."""
    return _check(info.knobs, given, f"the simulator of {info.name!r} has no knob")


def _check(declared: Mapping[str, Setting], given: Mapping[str, Any], no_such: str) -> dict[str, SettingValue]:
    for key in given:
        if key not in declared:
            raise SettingError(key, f"{no_such} {key!r}{nearest(key, declared)}")
    checked: dict[str, SettingValue] = {}
    for name, setting in declared.items():
        if name in given:
            checked[name] = _check_value(setting, given[name])
        elif setting.default is not None:
            checked[name] = setting.default
        elif not setting.optional:
            raise SettingError(name, f"missing: {setting.sentence}")
    return checked


def _check_value(setting: Setting, value: SettingValue) -> SettingValue:
    wanted = _TYPES[setting.type]
    if wanted is float and type(value) is int:
        value = float(value)
    if type(value) is not wanted:  # exact: a bool is an int to isinstance
        kind = f"an {setting.type}" if setting.type == "integer" else f"a {setting.type}"
        raise SettingError(setting.name, f"{value!r} is not {kind}: {setting.sentence}")
    if setting.choices and value not in setting.choices:
        raise SettingError(setting.name, f"{value!r} is not one of {', '.join(map(repr, setting.choices))}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        low, high = setting.min, setting.max
        if (low is not None and value < low) or (high is not None and value > high):
            raise SettingError(setting.name, f"{value} is outside {low} to {high} {setting.unit}".rstrip())
    return value


def create(name: str, settings: Mapping[str, SettingValue]) -> Device:
    """Build the device of driver `name` with settings that `check_settings` returned; opens nothing yet."""
    module = importlib.import_module(f"{driver(name).package}.device")
    device: Device = module.create(settings)
    return device
