"""Whether the kernel can send to a peer at once, or would keep what it is given until a hardware address is found.

While it asks for one (ARP: three times, a second apart) it keeps packets, those of connections that are closed by then
too: neither SO_LINGER nor TCP_USER_TIMEOUT destroys them. A cable cut at its far end and mended within those 3 s would
deliver a command long after it was reported failed (measured: tests/drivers/test_ghost_open.py). IPv4 on Linux only.
"""

import contextlib
import ipaddress
import socket
from pathlib import Path

_ARP, _ROUTES = Path("/proc/net/arp"), Path("/proc/net/route")
_COMPLETE = 0x2  # ATF_COM: the hardware address is known
_UP, _GATEWAY = 0x1, 0x2  # RTF_UP, RTF_GATEWAY
_NO_ARP = 0x80  # IFF_NOARP: a tunnel, which asks for no hardware address


def would_wait(sock: socket.socket) -> bool:
    """Whether what is sent now may be kept by this machine. Raises OSError when the socket has no peer any more."""
    if sock.family != socket.AF_INET:
        return False
    peer, own = sock.getpeername()[0], sock.getsockname()[0]
    if peer == own or ipaddress.IPv4Address(peer).is_loopback:
        return False
    with contextlib.suppress(OSError, ValueError, IndexError):  # not a Linux: nothing can be told
        found = next_hop(peer, _ROUTES.read_text("ascii"))
        return found is not None and not _has_no_arp(found[1]) and not is_known(*found, _ARP.read_text("ascii"))
    return False


def next_hop(peer: str, routes: str) -> tuple[str, str] | None:
    """Address and interface that packets to `peer` go to, by the text of /proc/net/route; None when it has no such."""
    number = int.from_bytes(ipaddress.IPv4Address(peer).packed, "little")  # as the table writes them
    best: tuple[int, int, str, str] | None = None
    for line in routes.splitlines()[1:]:
        interface, target, gateway, flags, _, _, metric, mask = line.split()[:8]
        if int(flags, 16) & _UP and number & int(mask, 16) == int(target, 16):
            hop = int(gateway, 16) if int(flags, 16) & _GATEWAY else number
            text = str(ipaddress.IPv4Address(hop.to_bytes(4, "little")))
            route = (int(mask, 16).bit_count(), -int(metric), text, interface)
            best = max(best, route) if best else route
    return best[2:] if best else None


def is_known(hop: str, interface: str, arp: str) -> bool:
    """Whether the hop's hardware address stands in the text of /proc/net/arp."""
    for line in arp.splitlines()[1:]:
        fields = line.split()
        if (fields[0], fields[-1]) == (hop, interface):
            return bool(int(fields[2], 16) & _COMPLETE)
    return False


def _has_no_arp(interface: str) -> bool:
    return bool(int(Path(f"/sys/class/net/{interface}/flags").read_text("ascii"), 16) & _NO_ARP)
