"""Where a device is: its port or source, checked, and one name for all spellings of it."""

import ipaddress
import os
import re
from pathlib import Path

from drivers.registry import SettingValue
from gate.tomltable import ConfigError

PORT_MAX = 65_535
ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}")
_NETWORKS = ("tcp", "udp")
_NAMED = "pcsc:"  # what follows is a reader's name, no path


def checked_place(key: str, value: SettingValue, folder: Path, path: str) -> SettingValue:
    """A device's port or source; a relative path starts at `folder`. Raises ConfigError at `path`."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ConfigError(path, "is empty or has control characters: give the device's path or address")
    kind, _, address = value.partition(":")
    if kind in _NETWORKS:
        if not ADDRESS.fullmatch(address) or not 0 < int(address.rpartition(":")[2]) <= PORT_MAX:
            raise ConfigError(path, f"is {value!r}: must be {kind}:HOST:PORT with a port of 1-65535")
        return value
    if value.startswith(_NAMED):
        return value
    if key == "source" and ("://" in value or value.isdecimal()):
        return value  # a stream's address, a camera's number
    return os.path.join(folder, value)  # not Path: a folder's final slash stays


def same_place(place: str) -> str:
    """One name for all spellings of a port: links followed, hosts in small letters, numbers as numbers."""
    if place.isdecimal():
        return os.path.realpath(f"/dev/video{int(place)}")
    if "://" in place or place.startswith(_NAMED):
        return place
    kind, _, address = place.partition(":")
    if kind not in _NETWORKS:
        return os.path.realpath(place)
    host, _, port = address.rpartition(":")
    host = host.strip("[]").lower().removesuffix(".")
    try:
        host = str(ipaddress.ip_address(host))
    except ValueError:
        host = "127.0.0.1" if host == "localhost" else host
    return f"{kind}:{host}:{int(port)}"
