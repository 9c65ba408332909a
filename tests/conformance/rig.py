"""What the rigs of the fault sequences have in common."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

from drivers.contract import (
    DeviceReport,
)
from drivers.simulated.ports import Session
from tests.conformance.cable import FAULTS, Cable


class Rig:
    """What all have. `settings` is what the driver is told beside its place."""

    settings: dict[str, Any]
    head_bytes = 0  # see Cable
    faults: tuple[str, ...] = FAULTS
    place: Any = None  # where it is plugged in, where it brings its own

    def __init__(self, chance: random.Random, kind: str) -> None:
        self.chance = chance
        self.kind = kind
        self.settings = {}
        self.cable = Cable(chance, self.head_bytes)

    @property
    def session(self) -> Session:
        """What is plugged in."""
        raise NotImplementedError

    async def begin(self) -> None:
        """Start what must run beside the port."""

    async def end(self) -> None:
        """Stop it."""

    def restart(self) -> None:
        """It lost its power for a moment."""

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        """What people and devices do, by name; each is given the driver."""
        return {}

    def where(self, spec: str) -> dict[str, Any]:
        """What the driver is told of its place."""
        return {"port": spec}

    def break_by(self, fault: str) -> None:
        """One of `faults` from now on, or "" for none."""
        self.cable.fault = fault

    def heal(self) -> None:
        """No fault of the device itself is left."""

    def now_s(self) -> float:
        return asyncio.get_running_loop().time()

    def false(self, reports: list[tuple[float, DeviceReport]]) -> list[str]:
        """Which reports nobody caused."""
        return []
