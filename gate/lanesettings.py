"""A lane and its devices by the station's file: what each is told, and what cannot stand together."""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from drivers import registry
from drivers.registry import SettingValue
from gate.cardschemes import KEY, check_named, read_scheme
from gate.places import checked_place, same_place
from gate.tomltable import ConfigError, Table

DEVICES_PER_LANE_MAX = 8
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Device:
    """One device of a lane: its driver, its checked settings, and the name that metrics and operators see."""

    name: str
    driver: str
    kind: str  # card-reader | code-scanner | turnstile | prompt | thermometer
    settings: Mapping[str, SettingValue]
    card_scheme: str = ""  # whose cards' numbers a card reader tells, e.g. "shanghai-transit"; "": it reads ID cards
    wait_s: float = 0.0  # how long a turnstile itself keeps a release
    refuses: bool = False  # whether a turnstile can stand open and close on a refusal


@dataclass(frozen=True, slots=True)
class Lane:
    """One lane: its direction and devices. Without a turnstile verdicts are shown and nobody is counted."""

    id: str
    direction: str  # entry | exit | both
    devices: tuple[Device, ...]
    release_within_s: float = 8.0
    pairing_window_s: float = 5.0
    remote: bool = False  # its devices hang on its own computer: `gate lane-agent` drives them
    normally_open: bool = False  # its barrier stands open at rest and closes on a refusal


def read_lane(table: Table) -> Lane:
    """One `[[lane]]`. Raises ConfigError."""
    lane_id = table.matching("id", ID, "letters, digits, '.', '_' or '-', at most 64")
    direction: str = table.get("direction", str, "entry", ("entry", "exit", "both"))
    remote = table.get("remote", bool, False)
    devices: list[Device] = []
    for row in table.tables("device", DEVICES_PER_LANE_MAX):
        taken = {device.name for device in devices}
        devices.append(_remote_device(row, taken) if remote else _device(row, taken))
    if sum(device.kind == "turnstile" for device in devices) > 1:
        raise ConfigError(table.at("device"), "has two turnstiles: a lane has one; make the other a lane of its own")
    lane = Lane(
        lane_id,
        direction,
        tuple(devices),
        release_within_s=table.between("release_within_s", 8.0, 1.0, 60.0, "seconds"),
        pairing_window_s=table.between("pairing_window_s", 5.0, 0.5, 30.0, "seconds"),
        remote=remote,
        normally_open=table.get("normally_open", bool, False),
    )
    table.done()
    _fits_its_turnstile(table, lane)
    return lane


def _remote_device(table: Table, taken: set[str]) -> Device:
    """A device of a far lane: what it is, and on which side; the rest is its agent's to know."""
    name: str = table.get("driver", str)
    try:
        info = registry.driver(name)
    except registry.SettingError as error:
        raise ConfigError(table.at(error.key), str(error)) from error
    side = table.get("side", str, "", ("entry", "exit")) if "side" in info.settings else ""
    scheme = read_scheme(table, info)
    table.done()
    return Device(_label(name, taken), name, info.kind, {"side": side} if side else {}, scheme)


def check_schemes(lanes: tuple[Lane, ...]) -> None:
    """Every reader of bare numbers has the scheme of its cards. Raises ConfigError."""
    for lane_number, lane in enumerate(lanes):
        for number, device in enumerate(lane.devices):
            check_named(device.driver, device.settings, device.card_scheme, f"lane[{lane_number}].device[{number}]")


def _fits_its_turnstile(table: Table, lane: Lane) -> None:
    """A release must not be forgotten while the controller keeps it, and only some can stand open."""
    wait_s = max((device.wait_s for device in lane.devices), default=0.0)
    if lane.release_within_s < wait_s:
        text = f"is {lane.release_within_s:g}, but its turnstile keeps a release for {wait_s:g} s: make it {wait_s:g}"
        raise ConfigError(table.at("release_within_s"), f"{text} or more")
    # Of a far lane only its agent knows; when it attaches it is asked (gate/station/far.py).
    if lane.normally_open and not lane.remote and not any(device.refuses for device in lane.devices):
        text = "needs a turnstile that can close on a refusal: modbus-relay with stop_coil"
        raise ConfigError(table.at("normally_open"), text)


def _device(table: Table, taken: set[str]) -> Device:
    name: str = table.get("driver", str)
    try:
        info = registry.driver(name)
        scheme = read_scheme(table, info)
        settings = registry.check_settings(info, table.rest("driver", *([KEY] if scheme else ())))
    except registry.SettingError as error:
        raise ConfigError(table.at(error.key), str(error)) from error
    table.done()
    for key, value in settings.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ConfigError(table.at(key), f"is {value}: must be a number with an end")
    settings |= {
        key: checked_place(key, settings[key], table.folder, table.at(key)) for key in _PLACES & settings.keys()
    }
    settings |= {key: os.path.join(table.folder, str(settings[key])) for key in _FILES & settings.keys()}
    try:
        device = registry.create(name, settings)  # opens nothing: the driver's own judgement of what it is given
    except registry.SettingError as error:
        raise ConfigError(table.at(error.key), str(error)) from error
    wait_s, refuses = getattr(device, "wait_s", 0.0), getattr(device, "refuses", False)
    return Device(_label(name, taken), name, info.kind, settings, scheme, wait_s, refuses)


def _label(name: str, taken: set[str]) -> str:
    numbers = range(1, DEVICES_PER_LANE_MAX + 1)
    return next(label for n in numbers if (label := name if n == 1 else f"{name}-{n}") not in taken)


_PLACES = frozenset({"port", "source"})  # the settings that say where a device is
_FILES = frozenset({"board_file", "password_file", "scbk_file"})  # the settings that name a file beside the station's
_OF_A_BUS = ("baud", "parity", "framing", "timeout_ms")  # what devices on one port must agree on: it is opened once


def check_ports(lanes: tuple[Lane, ...]) -> None:
    """A bus may carry several units, but one port and one unit address belong to one device."""
    seen: dict[str, list[tuple[str, str, Device]]] = {}
    for lane_number, lane in enumerate(lanes):
        for device_number, device in enumerate(lane.devices):
            for key in _PLACES:
                if key not in device.settings:
                    continue
                place = str(device.settings[key])
                path = f"lane[{lane_number}].device[{device_number}].{key}"
                others = seen.setdefault(same_place(place), [])
                for other in others:
                    _may_share(path, place, device, other)
                others.append((path, place, device))


def _may_share(path: str, place: str, device: Device, other: tuple[str, str, Device]) -> None:
    """Whether `device` may stand on the port of `other`. Names no source: a stream's address may hold a password."""
    other_path, other_place, first = other
    unit, other_unit = _unit_of(device), _unit_of(first)
    # A port without unit addresses carries one device; with them, one of each.
    if None in (unit, other_unit) or unit == other_unit or not _one_bus(device.driver, first.driver):
        shown = place if path.endswith(".port") else "it"
        raise ConfigError(path, f"{shown} is already used by {other_path}: give each device its own port or unit")
    if place != other_place:
        raise ConfigError(path, f"{place} is the port of {other_path}: write both the same, as {other_place}")
    for key in _OF_A_BUS:
        mine, theirs = device.settings.get(key), first.settings.get(key)
        if mine != theirs:
            where = f"{path.removesuffix('.port')}.{key}"
            raise ConfigError(where, f"is {mine!r}, but {other_path} has {theirs!r} on the same port: make them equal")


def _unit_of(device: Device) -> object:
    """What of a bus a device is. A reader's lamp is a part of its own of the reader's unit."""
    reader = device.settings.get("reader_unit")
    return device.settings.get("unit") if reader is None else f"lamp of {reader}"


def _one_bus(driver: str, other: str) -> bool:
    """Whether devices of these drivers may stand on one port: of one make, or of one bus."""
    return driver == other or registry.driver(driver).bus == registry.driver(other).bus != ""
