"""Byte links to devices: a serial port (real, USB-CDC, pty) or TCP, opened, read in limited time, closed for good.

TCP links carry TCP_USER_TIMEOUT and SO_LINGER(1, 0): without them the kernel keeps retransmitting a command that was
already reported failed, and a gate opens seconds later for nobody (devices.md 3.4, measured).
"""

import asyncio
import errno
import os
import socket
import struct
from dataclasses import dataclass

import serial
import serial_asyncio_fast

from drivers.contract import DeviceFault

TCP_CONNECT_TIMEOUT_S = (
    2.0  # a device on the station's own network answers in milliseconds; recovery must be within 2 s
)
TCP_USER_TIMEOUT_MS = 800  # devices.md 3.4: with 800 ms no ghost open was seen
READ_LIMIT = 65536  # bytes kept for a device that talks without being read; several times its largest frame


class PortError(Exception):
    """A port could not be opened or was lost. `fault` is its place in the closed list, the text says what to do."""

    def __init__(self, fault: DeviceFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """Where a serial-to-TCP converter or a networked device listens."""

    host: str
    port: int


def parse_port(port: str) -> TcpAddress | str:
    """`tcp:HOST:PORT` as an address, anything else as the path of a serial device.

    Raises ValueError naming what is wrong.
    """
    if not port.startswith("tcp:"):
        if not port:
            raise ValueError("port is empty: give /dev/… or tcp:HOST:PORT")
        return port
    host, _, number = port[4:].rpartition(":")
    if not host or not number.isdigit() or not 0 < int(number) < 65536:
        raise ValueError(f"{port!r} is not tcp:HOST:PORT with a port of 1-65535")
    return TcpAddress(host.strip("[]"), int(number))


class ByteLink:
    """One open byte stream. Every wait has a limit; every loss is a `PortError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, timeout_s: float) -> bytes:
        """What has arrived, waiting at most `timeout_s` seconds; b"" when nothing did. Raises PortError when lost."""
        try:
            async with asyncio.timeout(timeout_s):
                data = await self._reader.read(READ_LIMIT)
        except TimeoutError:
            return b""
        except (OSError, serial.SerialException) as error:
            raise PortError(DeviceFault.PORT_LOST, f"port lost: {error}") from error
        if not data:
            raise PortError(DeviceFault.PORT_LOST, "port lost: the other side closed it")
        return data

    async def write(self, data: bytes) -> None:
        """Send; waits for the buffer to drain, at most 1 s (a device that takes nothing for so long is gone)."""
        try:
            self._writer.write(data)
            async with asyncio.timeout(1.0):
                await self._writer.drain()
        except TimeoutError as error:
            raise PortError(DeviceFault.PORT_LOST, "port lost: it accepts no bytes") from error
        except (OSError, serial.SerialException) as error:
            raise PortError(DeviceFault.PORT_LOST, f"port lost: {error}") from error

    async def discard_input(self) -> None:
        """Throw away what arrived before now, so that a late answer is not taken for the next one."""
        while await self.read(0.0):
            pass

    def close(self) -> None:
        """Close at once; unsent bytes are destroyed, not delivered late."""
        if not self._writer.transport.is_closing():  # a lost serial transport breaks when it is aborted again
            self._writer.transport.abort()


async def open_link(port: str, baud: int = 115200) -> ByteLink:
    """Open `port` (8N1 at `baud` when serial). Raises PortError with fault and remedy, ValueError on a bad spec."""
    address = parse_port(port)
    if isinstance(address, TcpAddress):
        return await _open_tcp(address)
    return await _open_serial(address, baud)


async def _open_tcp(address: TcpAddress) -> ByteLink:
    where = f"{address.host}:{address.port}"
    try:
        async with asyncio.timeout(TCP_CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(address.host, address.port, limit=READ_LIMIT)
    except TimeoutError as error:
        raise PortError(DeviceFault.PORT_MISSING, f"{where} does not answer: check power, cable and address") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PortError(DeviceFault.PORT_MISSING, f"{where}: {reason}: check power, cable and address") from error
    forbid_late_delivery(writer.get_extra_info("socket"))
    return ByteLink(reader, writer)


def forbid_late_delivery(sock: socket.socket) -> None:
    """Make the kernel drop what was not acknowledged in time or is unsent at close (devices.md 3.4)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


async def _open_serial(path: str, baud: int) -> ByteLink:
    try:
        reader, writer = await serial_asyncio_fast.open_serial_connection(
            limit=READ_LIMIT, url=path, baudrate=baud, exclusive=True
        )
    except (OSError, serial.SerialException) as error:
        raise _serial_error(path, error) from error
    return ByteLink(reader, writer)


def _serial_error(path: str, error: OSError) -> PortError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortError(DeviceFault.PORT_DENIED, f"{path}: permission denied: add the service's user to group dialout")
    if error.errno in (errno.EBUSY, errno.EAGAIN):
        return PortError(DeviceFault.PORT_BUSY, f"{path} is held by another program: stop it")
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO, None):
        return PortError(DeviceFault.PORT_MISSING, f"{path} is not there: check cable and power")
    return PortError(DeviceFault.PORT_LOST, f"{path}: {os.strerror(error.errno or errno.EIO)}")
