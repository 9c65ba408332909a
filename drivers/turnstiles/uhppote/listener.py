"""Where controllers send their events: one socket for all turnstiles that name its address.

Anybody can send a datagram there, twice or never: so an event only wakes a look at the controller, which tells it.
"""

import asyncio
import weakref
from collections.abc import Callable
from typing import cast

from drivers.contract import DeviceFault
from drivers.transport import PortError, TcpAddress

Ear = Callable[[bytes], None]


class Listener(asyncio.DatagramProtocol):
    """One socket. Get it by `join_listener`."""

    def __init__(self) -> None:
        self.ears: list[Ear] = []
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self.transport = cast(asyncio.DatagramTransport, transport)  # what asyncio gives is not one to isinstance

    def datagram_received(self, data: bytes, addr: object) -> None:
        """A datagram of whomever."""
        for ear in list(self.ears):
            ear(data)


_Listeners = dict[TcpAddress, Listener]
_listeners: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Listeners]" = weakref.WeakKeyDictionary()


async def join_listener(address: TcpAddress, ear: Ear) -> Listener:
    """The socket at `address` in the running loop; leave it by `leave_listener`. Raises PortError."""
    loop = asyncio.get_running_loop()
    listeners = _listeners.setdefault(loop, {})
    if address not in listeners:
        listener = Listener()
        try:  # of two that begin at once one is told that it is busy, and joins at its next attempt
            await loop.create_datagram_endpoint(lambda: listener, local_addr=(address.host, address.port))
        except OSError as error:
            text = f"listen: {address.host}:{address.port}: {error.strerror}: give an address of this machine"
            raise PortError(DeviceFault.PORT_BUSY, text) from error
        listeners[address] = listener
    listeners[address].ears.append(ear)
    return listeners[address]


def leave_listener(address: TcpAddress, listener: Listener, ear: Ear) -> None:
    """No more events for this one; the last one closes the socket."""
    listener.ears.remove(ear)
    if not listener.ears:
        _listeners[asyncio.get_running_loop()].pop(address, None)
        if listener.transport:
            listener.transport.close()
