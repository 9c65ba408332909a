"""The package `uhppoted`, an optional extra: it is imported when a controller is configured, and only its messages."""

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from drivers.contract import DeviceFault
from drivers.transport import PortError

WANTED = "UHPPOTE controllers need uhppoted: pip install 'station-smart-gate[uhppote]'"


class Messages:
    """Requests as bytes and answers as values, by the package's encoder and decoder."""

    def __init__(self, encode: ModuleType, decode: ModuleType) -> None:
        self._encode = encode
        self._decode = decode

    def request(self, name: str, *values: Any) -> bytes:
        """The bytes of a request, by its name in the package."""
        make: Callable[..., bytearray] = getattr(self._encode, f"{name}_request")
        return bytes(make(*values))

    def answer(self, name: str, message: bytes) -> Any:
        """An answer's values. Raises ValueError for one that the package cannot read."""
        try:
            return getattr(self._decode, f"{name}_response")(message)
        except Exception as error:  # it raises whatever its fields raise; the text may hold a card number
            raise ValueError(f"no {name} answer: {type(error).__name__}") from None


def load() -> Messages:
    """The package. Raises PortError when it is not installed."""
    try:
        return Messages(importlib.import_module("uhppoted.encode"), importlib.import_module("uhppoted.decode"))
    except ImportError as error:
        raise PortError(DeviceFault.LIBRARY_MISSING, WANTED) from error
