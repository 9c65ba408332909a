"""A port for a thread of its own: read without waiting, written whole or lost, closed with nothing left to deliver."""

import contextlib
import os
import select
import socket
import termios

from drivers.contract import DeviceFault
from drivers.next_hop import would_wait
from drivers.transport import (
    OPEN_TIMEOUT_S,
    PortError,
    SerialPort,
    TcpAddress,
    forbid_late_delivery,
    parse_port,
    serial_error,
)


class Wire:
    """One open port. Every loss is a `PortError`."""

    def __init__(self, port: SerialPort | socket.socket) -> None:
        self._port = port
        self._fd: int = port.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def read(self, size: int) -> bytes:
        """What has arrived, at most `size` bytes; b"" when nothing did. Raises PortError when lost."""
        if not self._poll.poll(0):
            return b""
        try:
            data = os.read(self._fd, size)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise PortError(DeviceFault.PORT_LOST, f"port lost: {error}") from error
        if not data:  # poll said that there is something: it is the end
            raise PortError(DeviceFault.PORT_LOST, "port lost: the other side closed it")
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`. Raises PortError when lost; a port that takes no bytes is lost."""
        try:
            taken = os.write(self._fd, data)
        except OSError as error:
            raise PortError(DeviceFault.PORT_LOST, f"port lost: {error}") from error
        if taken != len(data):
            raise PortError(DeviceFault.PORT_LOST, "port lost: it accepts no bytes")

    def refuse_to_wait(self) -> None:
        """Raise PortError when the kernel would keep what is sent now and deliver it late (drivers.next_hop)."""
        if isinstance(self._port, SerialPort):
            return
        try:
            waits = would_wait(self._port)
        except OSError as error:
            raise PortError(DeviceFault.PORT_LOST, f"port lost: {error}") from error
        if waits:
            raise PortError(DeviceFault.PORT_LOST, "port lost: the device is not found on its network: check its cable")

    def close(self) -> None:
        """Close at once; unsent bytes are destroyed, not delivered late."""
        if isinstance(self._port, SerialPort):
            with contextlib.suppress(OSError, termios.error):
                self._port.reset_output_buffer()
        with contextlib.suppress(OSError):
            self._port.close()


def open_wire(port: str, baud: int) -> Wire:
    """Open `port`, 8N1 when serial, waiting at most OPEN_TIMEOUT_S. Raises PortError with fault and remedy."""
    address = parse_port(port)
    if isinstance(address, TcpAddress):
        return Wire(_connect(address))
    try:
        return Wire(SerialPort(address, baud, timeout=0, write_timeout=0, exclusive=True))
    except OSError as error:  # SerialException is one
        raise serial_error(address, error) from error


def _connect(address: TcpAddress) -> socket.socket:
    try:
        sock = socket.create_connection((address.host, address.port), OPEN_TIMEOUT_S)
    except OSError as error:
        text = f"{address.host}:{address.port}: {error.strerror or error}: check power, cable and address"
        raise PortError(DeviceFault.PORT_MISSING, text) from error
    forbid_late_delivery(sock)
    sock.setblocking(False)
    return sock
