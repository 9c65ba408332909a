"""One port to serial turnstile controllers, shared by the units on it: one question at a time, everybody hears all.

What a unit hears it takes apart by itself. A question without an answer closes the port, so that nothing unsent goes
out later (devices.md 3.4); the next one opens it again.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from drivers.contract import DeviceFault
from drivers.transport import PortError
from drivers.turnstiles.modbus.turns import Turns

READ_S = 60.0  # controllers are silent between passengers; the wait only bounds one read
GAP_BITS = 40  # silence between two frames on a shared line: four characters, as no maker's page tells


class Link(Protocol):
    """An open port, as `drivers.transport.ByteLink`."""

    async def read(self, timeout_s: float) -> bytes:
        """What has arrived within `timeout_s`; b"" when nothing did. Raises PortError when lost."""

    def check(self) -> None:
        """Raises PortError when what is sent now might be delivered late."""

    async def write(self, data: bytes) -> None:
        """Send. Raises PortError when lost."""

    def close(self) -> None:
        """Close at once; what is unsent is destroyed."""


class Ear(Protocol):
    """One unit's side of the wire."""

    def hear(self, data: bytes) -> None:
        """Bytes arrived, for whomever."""

    def cut(self, error: PortError | None) -> None:
        """The port was lost, or closed by one of us (None)."""


Opener = Callable[[str, int], Awaitable[Link]]


class Wire:
    """One port. Get it by `join_wire`."""

    def __init__(self, port: str, baud: int, opener: Opener) -> None:
        self.baud = baud
        self.ears: list[Ear] = []
        self._port = port
        self._opener = opener
        self._turns = Turns(GAP_BITS / baud)
        self._opening = asyncio.Lock()
        self._link: Link | None = None
        self._reading: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def turn(self, urgent: bool) -> AsyncIterator[Link]:
        """The open port for one question and its answer; urgent ones come first. Raises PortError."""
        await self._turns.take(urgent)
        try:
            yield await self.open()
        finally:
            self._turns.give_back()

    async def open(self) -> Link:
        """The port, opened if it is not. Raises PortError."""
        async with self._opening:
            if self._link is None:
                link = self._link = await self._opener(self._port, self.baud)
                self._reading = asyncio.create_task(self._listen(link))
            return self._link

    async def _listen(self, link: Link) -> None:
        try:
            while True:
                data = await link.read(READ_S)
                for ear in list(self.ears) if data else ():
                    ear.hear(data)
        except Exception as error:  # whoever was told of a passage may fail too: nobody may go on deaf and "up"
            lost = error if isinstance(error, PortError) else PortError(DeviceFault.PORT_LOST, type(error).__name__)
            if self._link is link:
                self.close(lost)

    def close(self, error: PortError | None = None) -> None:
        """Close at once; what is unsent is destroyed and everybody is told."""
        link, self._link = self._link, None
        reading, self._reading = self._reading, None
        if link is None:
            return
        if reading and error is None:  # with an error it is the reading task that calls
            reading.cancel()
        link.close()
        for ear in list(self.ears):
            ear.cut(error)


_wires: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Wire]]" = weakref.WeakKeyDictionary()


def join_wire(port: str, baud: int, ear: Ear, opener: Opener) -> Wire:
    """The wire of `port` in the running loop, shared by all units that name it; leave it by `leave_wire`.

    Raises PortError when another unit has set the port up otherwise.
    """
    wires = _wires.setdefault(asyncio.get_running_loop(), {})
    wire = wires.setdefault(port, Wire(port, baud, opener))
    if wire.baud != baud:
        text = f"{port} is open at {wire.baud} Bd: give its units the same speed"
        raise PortError(DeviceFault.PORT_BUSY, text)
    wire.ears.append(ear)
    return wire


def leave_wire(port: str, wire: Wire, ear: Ear) -> None:
    """No more questions from this unit; the last one closes the port."""
    wire.ears.remove(ear)
    if not wire.ears:
        wire.close()
        _wires[asyncio.get_running_loop()].pop(port, None)
