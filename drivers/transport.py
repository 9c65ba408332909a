"""Byte links to devices: a serial port (real, USB-CDC, pty) or TCP, opened, read in limited time, closed for good.

TCP links carry TCP_USER_TIMEOUT and SO_LINGER(1, 0): without them the kernel keeps retransmitting a command that was
already reported failed, and a gate opens seconds later for nobody (devices.md 3.4, measured). Nor is a command written
while the kernel would only keep it until it finds a hardware address (drivers.next_hop).
"""

import asyncio
import contextlib
import errno
import os
import socket
import struct
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import serial
import serial_asyncio_fast

from drivers.contract import DeviceFault
from drivers.next_hop import would_wait
from drivers.registry import SettingError, SettingValue

# Before the kernel's first retransmission (RFC 6298: 1 s), so that a device that comes back is asked anew at once.
OPEN_TIMEOUT_S = 1.0
# Waits before opening again, as attempts go on. With the time-out above a lane is back within 2 s of its device.
REOPEN_S = (0.1, 0.3, 0.5)
TCP_USER_TIMEOUT_MS = 800  # devices.md 3.4: with 800 ms no ghost open was seen
# A scanner is silent between passengers: only probes tell that its converter lost power and came back.
TCP_KEEPALIVE_S = 1
READ_LIMIT = 65536  # bytes kept for a device that talks without being read; several times its largest frame
WRITE_TIMEOUT_S = 1.0  # a device that takes nothing for so long is gone


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
    if not port or "\0" in port:
        raise ValueError("port is empty or holds a NUL: give /dev/… or tcp:HOST:PORT")
    if not port.startswith("tcp:"):
        return port
    host, _, number = port[4:].rpartition(":")
    host = host.removeprefix("[").removesuffix("]")  # tcp:[::1]:502
    if not host or not (number.isascii() and number.isdigit()) or not 0 < int(number) < 65536:
        raise ValueError(f"{port!r} is not tcp:HOST:PORT with a port of 1-65535")
    return TcpAddress(host, int(number))


def port_setting(settings: Mapping[str, SettingValue]) -> str:
    """The setting `port`. Raises SettingError when no port can be called so."""
    port = str(settings["port"])
    try:
        parse_port(port)
    except ValueError as error:
        raise SettingError("port", str(error)) from None
    return port


class ByteLink:
    """One open byte stream. Every wait has a limit; every loss is a `PortError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self, timeout_s: float) -> bytes:
        """What has arrived, waiting at most `timeout_s` seconds; b"" when nothing did. Raises PortError when lost."""
        limit = asyncio.timeout(timeout_s)
        try:
            async with limit:
                data = await self._reader.read(READ_LIMIT)
        except OSError as error:  # SerialException is one, and so is TimeoutError, ours and the kernel's ETIMEDOUT
            if limit.expired():
                return b""
            raise PortError(DeviceFault.PORT_LOST, f"port lost: {error}") from error
        if not data:
            raise PortError(DeviceFault.PORT_LOST, "port lost: the other side closed it")
        return data

    def check(self) -> None:
        """Whoever moves a barrier asks this first: raises PortError when the command might be delivered late."""
        refuse_to_wait(self._writer.transport)

    async def write(self, data: bytes) -> None:
        """Send; waits for the buffer to drain. Raises PortError when lost."""
        limit = asyncio.timeout(WRITE_TIMEOUT_S)
        try:
            async with limit:
                self._writer.write(data)
                await self._writer.drain()
        except OSError as error:
            why = "it accepts no bytes" if limit.expired() else error
            raise PortError(DeviceFault.PORT_LOST, f"port lost: {why}") from error

    async def discard_input(self) -> None:
        """Throw away what arrived before now, so that a late answer is not taken for the next one."""
        while await self.read(0.0):
            pass

    def close(self) -> None:
        """Close at once; unsent bytes are destroyed, not delivered late."""
        self._writer.transport.abort()


async def open_link(port: str, baud: int = 115200) -> ByteLink:
    """Open `port` (8N1 at `baud` when serial). Raises PortError with fault and remedy, ValueError on a bad spec."""
    reader = asyncio.StreamReader(limit=READ_LIMIT)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport = await open_transport(protocol, port, baud)
    return ByteLink(reader, asyncio.StreamWriter(transport, protocol, reader, asyncio.get_running_loop()))


async def open_transport(protocol: asyncio.BaseProtocol, port: str, baud: int, parity: str = "N") -> asyncio.Transport:
    """Open `port` for `protocol`; aborting it destroys what is unsent. Raises as `open_link` does."""
    address = parse_port(port)
    if isinstance(address, TcpAddress):
        return await _open_tcp(protocol, address)
    return await _open_serial(protocol, address, baud, parity)


async def _open_tcp(protocol: asyncio.BaseProtocol, address: TcpAddress) -> asyncio.Transport:
    where = f"{address.host}:{address.port}"
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            transport, _ = await loop.create_connection(lambda: protocol, address.host, address.port)
    except TimeoutError as error:
        raise PortError(DeviceFault.PORT_MISSING, f"{where} does not answer: check power, cable and address") from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise PortError(DeviceFault.PORT_MISSING, f"{where}: {reason}: check power, cable and address") from error
    _forbid_late_delivery(transport.get_extra_info("socket"))
    return transport


def refuse_to_wait(transport: asyncio.BaseTransport) -> None:
    """Raise PortError when the kernel would keep what is sent until it finds a hardware address (drivers.next_hop)."""
    sock = transport.get_extra_info("socket")
    try:
        if sock is None or not would_wait(sock):
            return
    except OSError as error:
        raise PortError(DeviceFault.PORT_LOST, f"port lost: {error}") from error
    raise PortError(DeviceFault.PORT_LOST, "port lost: the device is not found on its network: check its cable")


def _forbid_late_delivery(sock: socket.socket) -> None:
    """Make the kernel drop what was not acknowledged in time or is unsent at close (devices.md 3.4)."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, TCP_KEEPALIVE_S)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, TCP_KEEPALIVE_S)


class _Port(serial.Serial):  # type: ignore[misc] # pyserial ships no types
    """A serial port that says when it takes no more bytes."""

    def write(self, data: bytes) -> int:
        """Write what fits. pyserial's own spins for ever on EAGAIN and with it the whole controller stands still."""
        return os.write(self.fileno(), data)


class _SerialTransport(serial_asyncio_fast.SerialTransport):  # type: ignore[misc] # ships no types
    """Closes at once and destroys what is unsent; the port is free for the next open when `close` returns."""

    def _close(self, exc: Exception | None = None) -> None:
        self._abort(exc)

    def _fatal_error(self, exc: BaseException, message: str = "") -> None:
        self._abort(exc)  # said once by the driver's `Down`, not as a traceback in the log

    def _abort(self, exc: BaseException | None) -> None:
        if self._closing:
            return
        port = self._serial
        super()._abort(exc)
        # Bytes in the kernel's buffer would go out when the line moves again, and closing would wait 30 s for them.
        with contextlib.suppress(OSError, termios.error):
            port.reset_output_buffer()
        with contextlib.suppress(OSError):
            port.close()


async def _open_serial(protocol: asyncio.BaseProtocol, path: str, baud: int, parity: str) -> asyncio.Transport:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(OPEN_TIMEOUT_S):  # in a thread: setting a USB adapter's speed takes its time
            port = await loop.run_in_executor(None, partial(_Port, path, baud, parity=parity, exclusive=True))
    except TimeoutError as error:
        raise PortError(DeviceFault.PORT_LOST, f"{path} does not open: unplug its adapter and plug it again") from error
    except OSError as error:  # SerialException is one
        raise _serial_error(path, error) from error
    port.timeout = port.write_timeout = 0
    transport: asyncio.Transport = _SerialTransport(loop, protocol, port)
    return transport


def _serial_error(path: str, error: OSError) -> PortError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortError(DeviceFault.PORT_DENIED, f"{path}: permission denied: add the service's user to group dialout")
    if error.errno in (errno.EBUSY, errno.EAGAIN):
        return PortError(DeviceFault.PORT_BUSY, f"{path} is held by another program: stop it")
    if error.errno == errno.EIO:
        return PortError(DeviceFault.PORT_LOST, f"{path}: {os.strerror(errno.EIO)}: unplug it and plug it again")
    return PortError(DeviceFault.PORT_MISSING, f"{path} is not a serial device that is there: check cable and power")
