"""A TPW board on UDP: datagrams as a byte link. Opened and closed like a port; a refused datagram is a lost port."""

import asyncio
from typing import cast
from urllib.parse import urlsplit

from drivers.contract import DeviceFault
from drivers.registry import SettingError
from drivers.transport import PortError, open_link, port_setting, refuse_to_wait
from drivers.turnstiles.wire import Link

DATAGRAMS_MAX = 64  # kept unread; a board answers one question with one or two


class UdpLink(asyncio.DatagramProtocol):
    """Datagrams from and to one address; only that address is heard."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._arrived: asyncio.Queue[bytes | Exception] = asyncio.Queue(DATAGRAMS_MAX)
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there."""
        self._transport = cast(asyncio.DatagramTransport, transport)  # what asyncio gives is not one to isinstance

    def datagram_received(self, data: bytes, addr: object) -> None:
        """A datagram; dropped when nobody reads any more, as the network would."""
        self._put(data)

    def error_received(self, exc: Exception) -> None:
        """The other side's host refused a datagram."""
        self._put(exc)

    def _put(self, item: bytes | Exception) -> None:
        if not self._arrived.full():
            self._arrived.put_nowait(item)

    async def read(self, timeout_s: float) -> bytes:
        """What has arrived within `timeout_s`; b"" when nothing did. Raises PortError when refused."""
        try:
            async with asyncio.timeout(timeout_s):
                item = await self._arrived.get()
        except TimeoutError:
            return b""
        if isinstance(item, Exception):
            raise PortError(DeviceFault.PORT_LOST, f"{self._where}: {item}: check power and address")
        return item

    def check(self) -> None:
        """Raises PortError when a datagram might be delivered late."""
        if self._transport:
            refuse_to_wait(self._transport)

    async def write(self, data: bytes) -> None:
        """Send one datagram; a board that is away shows by its silence or by a refusal."""
        if self._transport is None or self._transport.is_closing():
            raise PortError(DeviceFault.PORT_LOST, f"{self._where}: socket closed")
        self._transport.sendto(data)

    def close(self) -> None:
        """Close at once."""
        if self._transport:
            self._transport.abort()


async def open_any(port: str, baud: int) -> Link:
    """Open `udp:HOST:PORT`, or what `drivers.transport.open_link` opens. Raises PortError."""
    if not port.startswith("udp:"):
        return await open_link(port, baud)
    parts = urlsplit(f"//{port.removeprefix('udp:')}")
    link = UdpLink(port)
    loop = asyncio.get_running_loop()
    try:
        await loop.create_datagram_endpoint(lambda: link, remote_addr=(parts.hostname or "", parts.port or 0))
    except OSError as error:
        raise PortError(DeviceFault.PORT_MISSING, f"{port}: {error.strerror}: check network and address") from error
    return link


def any_port(settings: dict[str, str]) -> str:
    """The setting `port`, `udp:HOST:PORT` included. Raises SettingError when no port can be called so."""
    port = settings["port"]
    if not port.startswith("udp:"):
        return port_setting(settings)
    try:
        port_setting({"port": f"tcp:{port.removeprefix('udp:')}"})
    except SettingError:
        raise SettingError("port", f"{port!r} is not udp:HOST:PORT with a port of 1-65535") from None
    return port
