"""Whether the kernel would keep what is sent: its tables read, and a real cable."""

import socket
import time

import pytest

from drivers.next_hop import is_known, next_hop, would_wait
from tests.drivers.conftest import FAR, NET, SPACE, ip

HEAD = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
# As a kernel on a little-endian machine writes them: eth0 has 10.0.1.0/24 and the default route by 10.0.1.1.
ROUTES = (
    HEAD
    + "eth0\t00000000\t0101000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    + "eth0\t0001000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0\n"
    + "tun0\t0000000A\t00000000\t0001\t0\t0\t50\t0000FFFF\t0\t0\t0\n"
    + "eth1\t0002000A\t00000000\t0000\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
)
ARP = (
    "IP address       HW type     Flags       HW address            Mask     Device\n"
    "10.0.1.7         0x1         0x0         00:00:00:00:00:00     *        eth0\n"
    "10.0.1.1         0x1         0x2         02:fc:00:00:00:05     *        eth0\n"
    "10.0.1.8         0x1         0x6         02:fc:00:00:00:08     *        eth1\n"
)


@pytest.mark.parametrize(
    ("peer", "hop"),
    [
        ("10.0.1.7", ("10.0.1.7", "eth0")),
        ("192.0.2.9", ("10.0.1.1", "eth0")),
        ("10.0.9.9", ("10.0.9.9", "tun0")),
        ("10.0.2.9", ("10.0.2.9", "tun0")),
    ],
    ids=["beside us", "by the gateway", "by a wider route", "the narrower route is down"],
)
def test_the_next_hop_is_the_narrowest_route_s(peer: str, hop: tuple[str, str]) -> None:
    """The peer itself, or its gateway, and the interface."""
    assert next_hop(peer, ROUTES) == hop


def test_of_equal_routes_the_cheaper_one_is_taken() -> None:
    """By metric; without any route nothing can be told."""
    dear = "eth0\t00000000\t0101000A\t0003\t0\t0\t200\t00000000\t0\t0\t0\n"
    cheap = "eth1\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
    assert next_hop("192.0.2.9", HEAD + dear + cheap) == ("10.0.2.1", "eth1")
    assert next_hop("192.0.2.9", HEAD) is None


def test_a_hardware_address_is_known_when_it_stands_there_complete() -> None:
    """Asked for, missing, or of another interface is not known; a permanent one is."""
    assert is_known("10.0.1.1", "eth0", ARP)
    assert is_known("10.0.1.8", "eth1", ARP)
    assert not is_known("10.0.1.7", "eth0", ARP)
    assert not is_known("10.0.1.9", "eth0", ARP)
    assert not is_known("10.0.1.8", "eth0", ARP)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_this_machine_never_waits_for_itself(family: socket.AddressFamily, host: str) -> None:
    """Loopback has no hardware addresses; IPv6 is not looked at."""
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((host, 9))
        assert not would_wait(sock)


def test_a_socket_without_a_peer_is_an_error() -> None:
    """The driver takes it for a lost port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock, pytest.raises(OSError, match="not connected"):
        would_wait(sock)


@pytest.mark.root
def test_a_cable_cut_at_its_far_end_is_seen_at_once(link: None) -> None:
    """Unknown before the first packet, known after it, unknown as soon as the far end is down."""

    def until(waits: bool) -> None:
        ended_s = time.monotonic() + 5
        while would_wait(sock) is not waits:
            assert time.monotonic() < ended_s

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((f"{NET}.2", 9))
        assert would_wait(sock)
        sock.send(b"who has it?")
        until(waits=False)
        ip("netns", "exec", SPACE, "ip", "link", "set", FAR, "down")
        until(waits=True)
