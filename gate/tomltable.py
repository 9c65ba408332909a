"""A TOML file being read: every value checked where it is taken, every error with its place, nothing unknown let by."""

import re
from datetime import date
from pathlib import Path
from typing import Any

from drivers import registry


class ConfigError(ValueError):
    """The file cannot be used: `path` is the place inside it, the text says what is wrong and what is allowed."""

    def __init__(self, path: str, text: str) -> None:
        super().__init__(f"{path}: {text}" if path else text)
        self.path = path


class Table:
    """One TOML table being read: knows its path, hands out checked values, and refuses what nobody asked for."""

    def __init__(self, raw: dict[str, Any], path: str, folder: Path) -> None:
        self.raw = raw
        self.path = path
        self.folder = folder
        self._known: dict[str, None] = {}

    def at(self, key: str) -> str:
        """The place of `key` inside the file."""
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str, kind: type, default: Any = ..., one_of: tuple[Any, ...] = ()) -> Any:
        """The value of `key`, of just this type; without a default it must be there. Raises ConfigError."""
        self._known[key] = None
        if key not in self.raw:
            if default is ...:
                raise ConfigError(self.at(key), f"is missing: give a {_KIND[kind]}")
            return default
        value = self.raw[key]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(self.at(key), f"is {shown(value)}: must be a {_KIND[kind]}")
        if one_of and value not in one_of:
            raise ConfigError(self.at(key), f"is {value!r}: must be one of {', '.join(map(repr, one_of))}")
        return value

    def matching(self, key: str, pattern: re.Pattern[str], allowed: str) -> str:
        """A string of this form. Raises ConfigError."""
        value: str = self.get(key, str)
        if not pattern.fullmatch(value):
            raise ConfigError(self.at(key), f"is {shown(value)}: must be {allowed}")
        return value

    def between(self, key: str, default: Any, low: float, high: float, unit: str = "") -> Any:
        """A number of `default`'s type within bounds, which are allowed. Raises ConfigError."""
        value = self.get(key, type(default), default)
        if not low <= value <= high:
            raise ConfigError(self.at(key), f"is {value}: must be {low:g} to {high:g} {unit}".rstrip())
        return value

    def file(self, key: str, must_exist: bool, default: Any = ...) -> Path | None:
        """A path, relative to the file's folder. Raises ConfigError."""
        value = self.get(key, str, default)
        if value is None:
            return None
        if not value or not value.isprintable():
            raise ConfigError(self.at(key), f"is {value!r}: must be the path of a file or folder")
        path: Path = self.folder / value
        if must_exist and path.is_dir():
            raise ConfigError(self.at(key), f"{path} is a folder: give a file")
        if must_exist and not path.is_file():
            raise ConfigError(self.at(key), f"{path} is not there: make it or correct the path")
        return path

    def table(self, key: str) -> "Table":
        """The table `key`, empty when it is not there. Raises ConfigError."""
        return Table(self.get(key, dict, {}), self.at(key), self.folder)

    def tables(self, key: str, most: int) -> list["Table"]:
        """The tables written as [[key]]. Raises ConfigError."""
        rows = self.get(key, list, []) if not isinstance(self.raw.get(key), dict) else [None]
        if not all(isinstance(row, dict) for row in rows):
            plain = re.sub(r"\[[0-9]+\]", "", self.at(key))
            raise ConfigError(self.at(key), f"is not a list of tables: write each as [[{plain}]]")
        if len(rows) > most:
            raise ConfigError(self.at(key), f"has {len(rows)} entries: at most {most}")
        return [Table(row, f"{self.at(key)}[{index}]", self.folder) for index, row in enumerate(rows)]

    def rest(self, *taken: str) -> dict[str, Any]:
        """Everything but `taken`: a device's own settings, which its driver checks."""
        self._known.update(dict.fromkeys(self.raw))
        return {key: value for key, value in self.raw.items() if key not in taken}

    def done(self) -> None:
        """Nothing more is asked for: whatever is left is not known. Raises ConfigError."""
        for key in self.raw:
            if key not in self._known:
                allowed = ", ".join(sorted(self._known))
                hint = registry.nearest(key, self._known)
                raise ConfigError(self.at(key), f"is not known{hint}; allowed here: {allowed}")


def shown(value: object) -> str:
    """A value in an error: short, and no whole tables."""
    text = repr(value)
    return text if len(text) <= _SHOWN_MAX else f"a {_KIND.get(type(value), 'value')}"


_SHOWN_MAX = 80
_KIND = {
    str: "string",
    int: "whole number",
    float: "number",
    bool: "true or false",
    dict: "table",
    list: "list",
    date: "day such as 2020-03-26",
}
