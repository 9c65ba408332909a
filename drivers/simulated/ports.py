"""Ports for simulated devices: a pty under a stable path, TCP or UDP, that can vanish and come back.

A simulated device is a coroutine `session(reader, writer)` that lives as long as one connection does.
"""

import asyncio
import contextlib
import os
import pty
import termios
import tty
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self, cast

from drivers.simulated.wire import FAULTS, through

Session = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PEERS_MAX = 64  # a driver that gives up on an answer speaks from a new address; older ones are forgotten
UNPLUGGED_S = 1.0  # how long a cable that is pulled now and then stays out
_SPEEDS = {getattr(termios, f"B{baud}"): baud for baud in (4800, 9600, 19200, 38400, 57600, 115200)}


class SimulatedPort:
    """Where a simulated device is plugged in. `spec` is what goes into `station.toml` as `port`."""

    spec: str

    async def plug(self) -> None:
        """Appear: from now on the driver can open the port."""
        raise NotImplementedError

    async def unplug(self) -> None:
        """Vanish as a pulled cable does; `plug` brings the same path or address back."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        await self.plug()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.unplug()


class PtyPort(SimulatedPort):
    """A serial port: a pty whose name is kept behind the link `path`, as /dev/serial/by-id does for a real one."""

    def __init__(self, path: Path, session: Session) -> None:
        self.spec = str(path)
        self._path = path
        self._session = session
        self._task: asyncio.Task[None] | None = None
        self._transports: list[asyncio.BaseTransport] = []
        self._slave = -1

    @property
    def speed(self) -> int:
        """The speed that the driver has set, in Bd; 0 for one that no device of ours has. A pty itself has none."""
        return _SPEEDS.get(termios.tcgetattr(self._slave)[5], 0)

    async def plug(self) -> None:
        """Make the pty pair, link `path` to it and start the device."""
        master, slave = pty.openpty()
        tty.setraw(slave)
        # Kept open so that the master does not see end-of-file while no driver has the port open.
        self._slave = slave
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._path.symlink_to(os.ttyname(slave))
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        read_end, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(master, "rb", buffering=0)
        )
        write_end, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(asyncio.StreamReader()), os.fdopen(os.dup(master), "wb", buffering=0)
        )
        writer = asyncio.StreamWriter(write_end, protocol, None, loop)
        self._transports = [read_end, write_end]
        self._task = asyncio.create_task(_quietly(self._session, reader, writer))

    async def unplug(self) -> None:
        """Close both ends: the driver's read fails at once, as with a pulled USB cable."""
        self._path.unlink(missing_ok=True)
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        for transport in self._transports:
            transport.abort() if isinstance(transport, asyncio.WriteTransport) else transport.close()
        self._transports = []
        await asyncio.sleep(0)  # lets the loop run the transports' closing callbacks
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1


class TcpPort(SimulatedPort):
    """A serial-to-TCP converter or networked board on 127.0.0.1; port 0 picks a free one and keeps it."""

    def __init__(self, session: Session, host: str = "127.0.0.1", port: int = 0) -> None:
        self._session = session
        self._host = host
        self._port = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def plug(self) -> None:
        """Listen; the first time also learns the port number."""
        self._server = await asyncio.start_server(self._accept, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self.spec = f"tcp:{self._host}:{self._port}"

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            # Cancelled when the loop ends; asyncio 3.11 prints a traceback for a connection that ends so.
            with contextlib.suppress(asyncio.CancelledError):
                await _quietly(self._session, reader, writer)
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def unplug(self) -> None:
        """Stop listening and reset every connection."""
        if self._server:
            self._server.close()
            self._server = None
        for writer in list(self._writers):
            writer.transport.abort()


class _UdpWriter:
    """What a session writes with: a datagram each time."""

    def __init__(self, transport: asyncio.DatagramTransport, addr: tuple[str, int]) -> None:
        self._transport = transport
        self._addr = addr

    def write(self, data: bytes) -> None:
        """Send a datagram; none when the device is gone."""
        if not self._transport.is_closing():
            self._transport.sendto(data, self._addr)

    async def drain(self) -> None:
        """Datagrams are sent at once."""


class UdpPort(SimulatedPort, asyncio.DatagramProtocol):
    """A networked board on UDP: a session for each address that speaks to it, the latest `PEERS_MAX` of them.

    Port 0 picks a free one and keeps it.
    """

    def __init__(self, session: Session, host: str, port: int) -> None:
        self.spec = f"udp:{host}:{port}"
        self._session = session
        self._address = host, port
        self._transport: asyncio.DatagramTransport | None = None
        self._peers: dict[tuple[str, int], tuple[asyncio.StreamReader, asyncio.Task[None]]] = {}

    async def plug(self) -> None:
        """Listen; the first time also learns the port number."""
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self._address)
        self._transport = transport
        self._address = transport.get_extra_info("sockname")[:2]
        self.spec = "udp:{}:{}".format(*self._address)

    async def unplug(self) -> None:
        """Close the socket: whoever sends is refused."""
        while self._peers:
            self._forget(next(iter(self._peers)))
        if self._transport:
            self._transport.close()
        await asyncio.sleep(0)  # lets the loop close the socket

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """A datagram from an address."""
        if addr not in self._peers and self._transport:
            if len(self._peers) >= PEERS_MAX:
                self._forget(next(iter(self._peers)))
            reader = asyncio.StreamReader()
            writer = cast(asyncio.StreamWriter, _UdpWriter(self._transport, addr))
            self._peers[addr] = reader, asyncio.create_task(_quietly(self._session, reader, writer))
        self._peers[addr][0].feed_data(data)

    def _forget(self, addr: tuple[str, int]) -> None:
        self._peers.pop(addr)[1].cancel()


class _NowAndThen(SimulatedPort):
    """Another port whose cable is pulled every `every_s` seconds, for a second."""

    def __init__(self, port: SimulatedPort, every_s: float) -> None:
        self._port, self._every_s = port, every_s
        self._task: asyncio.Task[None] | None = None

    async def plug(self) -> None:
        """Appear, and begin to come and go."""
        await self._port.plug()
        self.spec = self._port.spec
        self._task = asyncio.create_task(self._come_and_go())

    async def unplug(self) -> None:
        """Vanish for good."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._port.unplug()

    async def _come_and_go(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self._port.unplug()
            await asyncio.sleep(UNPLUGGED_S)
            await self._port.plug()


def plug_at(port: str, session: Session) -> SimulatedPort:
    """The port `pty:PATH`, `tcp:HOST:PORT` or `udp:HOST:PORT`, with the faults of `wire.FAULTS`. Raises ValueError."""
    kind, _, rest = port.partition(":")
    host, _, number = rest.rpartition(":")
    faults = FAULTS.get()
    session = through(session, faults) if faults else session
    if kind == "pty" and rest:
        made: SimulatedPort = PtyPort(Path(rest), session)
    elif kind == "tcp" and host and _is_number(number):
        made = TcpPort(session, host, int(number))
    elif kind == "udp" and host and _is_number(number):
        made = UdpPort(session, host, int(number))
    else:
        raise ValueError(f"{port!r} is not pty:PATH, tcp:HOST:PORT or udp:HOST:PORT")
    return _NowAndThen(made, faults.unplug_every_s) if faults and faults.unplug_every_s else made


def _is_number(text: str) -> bool:
    """Whether it is a port number; 0 stands for any that is free."""
    return text.isascii() and text.isdigit() and int(text) < 2**16


async def in_pieces(writer: asyncio.StreamWriter, raw: bytes, chunk: int) -> None:
    """Say bytes, `chunk` at a time as a slow line brings them; 0: all at once."""
    step = chunk or max(len(raw), 1)
    with contextlib.suppress(OSError):  # a driver that hangs up is everyday life for a device
        for at in range(0, len(raw), step):
            writer.write(raw[at : at + step])
            await writer.drain()
            if chunk:
                await asyncio.sleep(0)  # lets the driver read each piece by itself


async def _quietly(session: Session, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    # A driver that hangs up in the middle of an answer is everyday life for a device.
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await session(reader, writer)
