"""What is on a port: each driver is let ask in turn, until one knows the answer.

A driver offers this by `probe = "MODULE"` in its `driver.toml`; the module has a coroutine `identify(settings)` that
gets checked settings with the port in question, opens the port by itself, tries the speeds its devices may have, asks
only what changes nothing (no release, no reset, no setting), and gives one line of text without anything of a person,
or None. It raises PortError when the port cannot be opened.
"""

import asyncio
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers import registry
from drivers.transport import PortError

# All speeds of the slowest, with silence after each question, and room for drivers to come.
IDENTIFY_S = 15.0
# In this order: what answers at once first. Engines are asked after turnstiles, for most of them answer nothing.
_KINDS = ("card-reader", "turnstile", "code-scanner", "thermometer", "prompt")
_BY_ID = Path("/dev/serial/by-id")


@dataclass(frozen=True, slots=True)
class Tried:
    """One driver's try. `says` is "" when the device is none of its."""

    driver: str
    says: str = ""
    trouble: str = ""  # why it could not ask


def askers(port: str = "") -> list[registry.DriverInfo]:
    """The drivers that can tell their devices at such a port by asking, in the order in which they are let."""
    able = [info for info in registry.drivers().values() if info.probe]
    # A reader's name and a datagram's address are no port that every driver can open.
    kind = port.partition(":")[0]
    named = kind == "pcsc"
    able = [info for info in able if ("pcsc" in info.ports) is named and (kind != "udp" or "udp" in info.ports)]
    return sorted(able, key=lambda info: (_KINDS.index(info.kind), info.name))


async def find(port: str) -> list[Tried]:
    """What each driver found at `port`; the last one is the one that knew, if any did. Raises PortError."""
    tries: list[Tried] = []
    for info in askers(port):
        tries.append(await _try(info, port))
        if tries[-1].says:
            break
    return tries


async def _try(info: registry.DriverInfo, port: str) -> Tried:
    settings = registry.check_settings(info, {"port": port})
    try:
        async with asyncio.timeout(IDENTIFY_S):
            says = await importlib.import_module(info.probe).identify(settings)
    except PortError as error:
        if error.fault.name in ("PORT_MISSING", "PORT_BUSY", "PORT_DENIED"):
            raise  # so it is for every driver
        return Tried(info.name, trouble=f"{error.fault}: {error}")
    except TimeoutError:
        return Tried(info.name, trouble=f"not done after {IDENTIFY_S:g} s")
    return Tried(info.name, says or "")


def stable_name(port: str, by_id: Path = _BY_ID) -> str:
    """The name under which a serial device is found again on whatever socket it is plugged; "" when it has none."""
    names: Sequence[Path] = sorted(by_id.iterdir()) if by_id.is_dir() else ()
    return next((str(name) for name in names if name.resolve() == Path(port).resolve()), "")
