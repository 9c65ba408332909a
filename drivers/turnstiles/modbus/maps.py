"""What a board and the controller behind it are like, as data: `boards/*.toml`, `profiles/*.toml`, a station's own.

A map is a table of settings of this driver that hold unless `station.toml` says otherwise; the profile goes before the
board, both before `boards/auto.toml`.
"""

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.registry import SettingError, SettingValue

DRIVER = "modbus-relay"
NONE = "none"
FILE_BYTES_MAX = 65_536  # a map of the shipped kind has below a thousand
_RELAYS = ("release_coil", "release_exit_coil", "hold_coil", "stop_coil")
_SHIPPED = resources.files("drivers.turnstiles.modbus")


@dataclass(frozen=True, slots=True)
class Map:
    """One file. `relays`: first and last address of a relay; None where nothing is known."""

    sentence: str
    source: str
    settings: Mapping[str, SettingValue] = field(default_factory=dict)
    relays: tuple[int, int] | None = None


def parse_map(text: str, name: str) -> Map:
    """A map from its file's text. Raises SettingError naming the file, what is wrong and what is allowed."""
    try:
        raw = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingError("board_file", f"{name} is not TOML: {error}") from None
    if wrong := raw.keys() - {"sentence", "source", "relays", "settings"}:
        text = f"{name} has {sorted(wrong)[0]!r}: allowed are sentence, source, relays and [settings]"
        raise SettingError("board_file", text)
    return Map(
        sentence=_text(raw, "sentence", name),
        source=_text(raw, "source", name),
        settings=_settings(raw.get("settings", {}), name),
        relays=_range(raw["relays"], name) if "relays" in raw else None,
    )


def _text(raw: Mapping[str, Any], key: str, name: str) -> str:
    value = raw.get(key)
    if not isinstance(value, str) or not value:
        raise SettingError("board_file", f"{name} lacks {key}: say what the board is and where that stands")
    return value


def _settings(given: Any, name: str) -> dict[str, SettingValue]:
    if not isinstance(given, dict) or {"port", "unit", "board", "board_file", "profile"} & given.keys():
        raise SettingError("board_file", f"{name}: [settings] must be a table without port, unit, board or profile")
    info = registry.driver(DRIVER)
    try:
        checked = registry.check_settings(info, {"port": "/dev/null", **given})
    except SettingError as error:
        raise SettingError("board_file", f"{name}: settings.{error.key}: {error}") from None
    return {key: checked[key] for key in given}


def _range(value: Any, name: str) -> tuple[int, int]:
    match value:
        case [int(first), int(last)] if 0 <= first <= last <= 255:
            return first, last
    raise SettingError("board_file", f"{name}: relays must be [first, last] within 0 to 255")


@functools.cache
def shipped(kind: str) -> Mapping[str, Map]:
    """The maps in `boards` or `profiles`, by name."""
    files = [entry for entry in _SHIPPED.joinpath(kind).iterdir() if entry.name.endswith(".toml")]
    maps = {entry.name.removesuffix(".toml"): parse_map(entry.read_text("utf-8"), entry.name) for entry in files}
    return dict(sorted(maps.items()))


def resolved(settings: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    """Checked settings with what board and profile add. Raises SettingError when they do not fit together."""
    boards = shipped("boards")
    own = settings.get("board_file")
    board = _own(str(own)) if own else boards[str(settings["board"])]
    name = str(settings["profile"])
    profile = {} if name == NONE else shipped("profiles")[name].settings
    whole = {**boards["auto"].settings, **board.settings, **profile, **settings}
    _check_relays(whole, board, str(own or settings["board"]))
    _check_control(whole)
    return whole


def _own(path: str) -> Map:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise SettingError("board_file", f"{path} is larger than {FILE_BYTES_MAX} bytes: give a board's map")
        return parse_map(raw.decode("utf-8"), path)
    except OSError as error:
        raise SettingError("board_file", f"{path}: {error.strerror}: give the file of a board's map") from None
    except UnicodeDecodeError:
        raise SettingError("board_file", f"{path} is not UTF-8 text") from None


def _check_relays(whole: Mapping[str, SettingValue], board: Map, name: str) -> None:
    for key in _RELAYS:
        if key not in whole or board.relays is None:
            continue
        first, last = board.relays
        if not first <= int(whole[key]) <= last:
            raise SettingError(
                key, f"is {whole[key]}, but {name} has relays {first} to {last}: set {key} to one of them"
            )
    for key in ("release_coil", "release_exit_coil", "hold_coil"):
        if "stop_coil" in whole and whole.get(key) == whole["stop_coil"]:
            raise SettingError("stop_coil", f"is the relay of {key} too: what closes and what opens need a relay each")


def _check_control(whole: Mapping[str, SettingValue]) -> None:
    tells = ("passed_input", "passed_counter_register")
    if whole["control"] == "potential" and not any(key in whole for key in tells):
        text = 'is "potential", and nothing tells that somebody passed: wire passed_input, or use "pulse"'
        raise SettingError("control", text)
    by_stop = whole["control"] == "pulse" and whole["hold"] == "unlock-stop"
    if by_stop and "stop_coil" not in whole and "hold_coil" not in whole:
        text = "missing: this controller is held open by its Stop input with both unlocks: wire it, or set hold_coil"
        raise SettingError("stop_coil", text)
