"""Every make of simulated turnstile, as people meet it: wait until it opens, walk through, and what can break in it."""

import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.contract import Direction
from drivers.simulated import osdp_output
from drivers.simulated.contact_gate import STOP, SimulatedContactGate
from drivers.simulated.digicon import SimulatedDigicon
from drivers.simulated.machpower import SimulatedMachPower
from drivers.simulated.osdp import SimulatedOsdp
from drivers.simulated.ports import PtyPort, Session, SimulatedPort, TcpPort, UdpPort
from drivers.simulated.relay_board import PASSED, SimulatedRelayBoard
from drivers.simulated.relay_board import BoardKnobs as Knobs
from drivers.simulated.serial_gate import SimulatedGate
from drivers.simulated.tpw import SimulatedTpw
from drivers.simulated.uhppote import SimulatedUhppote
from drivers.simulated.wire import WireFaults, through
from drivers.simulated.zkteco_c3 import SimulatedC3

WITHIN_S = 5.0  # of every lane: uhppote over UDP keeps a release for 4 s, and refuses one that may not live so long
_UNTOLD_WITHIN_S = 1.3  # a tripod that tells no passage: its grant lapses before the next person comes
_TEMPORARY_ON = 5  # OSDP's control code of an output that is switched on for a time
# Each once, from another place in each process; Linux's own range begins at 32768 (net.ipv4.ip_local_port_range).
_FIRST, _COUNT = 12_000, 20_000
_NUMBERS = (_FIRST + (os.getpid() * 211 + at) % _COUNT for at in range(_COUNT))
Turn = Callable[[], None]
Trouble = tuple[Turn, Turn]  # begin, and mend


class Stamped(list[Any]):
    """A simulator's own list of releases that also tells when each was made."""

    def __init__(self, is_release: Callable[[Any], bool] = lambda _: True) -> None:
        super().__init__()
        self.times: list[float] = []  # UTC seconds
        self._is_release = is_release

    def append(self, item: Any) -> None:
        """The barrier opens."""
        super().append(item)
        if self._is_release(item):
            self.times.append(time.time())


@dataclass(slots=True)
class Place:
    """A device, where it is plugged in, its cable's faults, and what its driver is told beside the port."""

    port: SimulatedPort
    cable: WireFaults
    toml: str
    troubles: dict[str, Trouble] = field(default_factory=dict)
    key: str = "port"  # the setting that names its port


@dataclass(slots=True)
class Gate:
    """One turnstile."""

    place: Place
    opened: Stamped
    wait: Callable[[float], Awaitable[bool]]
    walk: Callable[[], Awaitable[object]]
    within_s: float = WITHIN_S
    tells: bool = True  # whether it tells passages


def plugged(kind: str, path: Path, session: Session) -> tuple[SimulatedPort, WireFaults]:
    """A port of that kind, with a good cable."""
    faults = WireFaults()
    session = through(session, faults)
    if kind == "pty":
        return PtyPort(path, session), faults
    if kind == "udp":
        return UdpPort(session, "127.0.0.1", _number(socket.SOCK_DGRAM)), faults
    return TcpPort(session, port=_number(socket.SOCK_STREAM)), faults


def _number(kind: socket.SocketKind) -> int:
    """A free port that the kernel gives to nobody by itself: while a device is unplugged it must stay free."""
    for number in _NUMBERS:
        with socket.socket(socket.AF_INET, kind) as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", number))
            return number
    raise OSError("no free port below the kernel's own")


def turned(target: object, **values: object) -> Trouble:
    """Knobs that are set, and set back."""
    good = {name: getattr(target, name) for name in values}

    def turn(to: Mapping[str, object]) -> None:
        for name, value in to.items():
            setattr(target, name, value)

    return lambda: turn(values), lambda: turn(good)


def _board_troubles(board: SimulatedRelayBoard) -> dict[str, Trouble]:
    stick, loosen = turned(board.knobs, stuck_passage=True)

    def free() -> None:
        loosen()
        board.inputs[PASSED] = False

    return {
        "mute": turned(board.knobs, silent=True),
        "answer lost": turned(board.knobs, lose_answer=True),
        "exception 4": turned(board.knobs, exception=4),
        "passage contact stuck": (stick, free),
        "not ready": (lambda: board.set_ready(False), lambda: board.set_ready(True)),
    }


def modbus(kind: str, path: Path, board: str = "waveshare-v2", counts: bool = True) -> Gate:
    """A relay board; `counts`: passages by its own counter, else by the edge of its contact."""
    made = SimulatedRelayBoard(knobs=Knobs(board=board))
    opened = made.releases = Stamped()
    port, cable = plugged(kind, path, made.tcp if kind == "tcp" else made.rtu)
    first = 1 if board == "value-0100" else 0  # its relays are counted from 1
    toml = f'driver = "modbus-relay"\nbaud = 115200\nboard = "{board}"\nrelease_coil = {first}\npoll_ms = 50\n'
    toml += "passed_input = 0\ntailgating_input = 3\nfire_input = 4\nready_input = 5\n"
    toml += "passed_counter_register = 0\n" if counts else ""

    async def count() -> None:
        made.counters[0] = (made.counters[0] + 1) % 0x10000

    troubles = _board_troubles(made)
    if counts:
        del troubles["passage contact stuck"]
    return Gate(Place(port, cable, toml, troubles), opened, made.wait_release, count if counts else made.pass_through)


def contacts(kind: str, path: Path, profile: str = "perco-st01") -> Gate:
    """A turnstile's own controller on a relay board's contacts; it keeps a release for 3 s."""
    keeps_s = 3.0
    made = SimulatedRelayBoard(knobs=Knobs(closed_at_rest=profile == "perco-ttr10a"))
    made.set_ready(profile != "perco-ttr10a")
    opened = made.releases = Stamped(lambda relay: relay != STOP)
    gate = SimulatedContactGate(made, wait_s=keeps_s)
    port, cable = plugged(kind, path, made.tcp if kind == "tcp" else made.rtu)
    toml = f'driver = "modbus-relay"\nbaud = 115200\nprofile = "{profile}"\npassage_wait_s = {keeps_s}\npoll_ms = 50\n'
    toml += "release_coil = 0\nrelease_exit_coil = 1\nstop_coil = 2\npassed_input = 0\npassed_exit_input = 1\n"
    toml += "fire_input = 4\n"
    troubles = {name: trouble for name, trouble in _board_troubles(made).items() if name in ("mute", "answer lost")}
    return Gate(Place(port, cable, toml, troubles), opened, made.wait_release, lambda: gate.walk(Direction.ENTRY))


def _gate(made: SimulatedGate, kind: str, path: Path, toml: str, **more: Any) -> Gate:
    opened = made.released = Stamped()
    port, cable = plugged(kind, path, made.session)  # type: ignore[attr-defined] # every one has it
    knobs = made.knobs
    troubles = {
        "mute": turned(knobs, silent=True),
        "answer lost": turned(knobs, lose_answer=True),
        "refuses": turned(knobs, refuse=True),
        "sensor stuck": turned(knobs, stuck=True),
        "answer cut off": turned(knobs, chopped=True),
    }
    return Gate(Place(port, cable, toml, troubles), opened, made.wait_release, made.pass_through, **more)  # type: ignore[attr-defined]


def digicon(kind: str, path: Path) -> Gate:
    """Digicon Tx1500."""
    return _gate(SimulatedDigicon(), kind, path, 'driver = "digicon-tx1500"\nwait_s = 4\n')


def machpower(kind: str, path: Path) -> Gate:
    """Mach Power EB, which tells no passage."""
    toml = 'driver = "machpower-eb"\nbaud = 115200\nwait_s = 1\n'
    return _gate(SimulatedMachPower(), kind, path, toml, within_s=_UNTOLD_WITHIN_S, tells=False)


def tpw(kind: str, path: Path) -> Gate:
    """TPW-321ASP."""
    return _gate(SimulatedTpw(), kind, path, 'driver = "tpw-321asp"\npoll_ms = 50\n')


def zkteco(kind: str, path: Path) -> Gate:
    """ZKTeco C3."""
    return _gate(SimulatedC3(), kind, path, 'driver = "zkteco-c3"\npassed_sensor = 1\npoll_ms = 50\n')


def uhppote(kind: str, path: Path) -> Gate:
    """UHPPOTE UT0311."""
    toml = 'driver = "uhppote"\nopen_s = 1\npassed_sensor = 1\npoll_ms = 50\n'
    return _gate(SimulatedUhppote(), kind, path, toml)


def osdp(kind: str, path: Path) -> Gate:
    """An output of an OSDP device."""
    made = SimulatedOsdp()
    opened = made.outputs = Stamped(lambda output: output[1] == _TEMPORARY_ON)
    port, cable = plugged(kind, path, made.session)
    toml = f'driver = "osdp-output"\nbaud = 115200\npassed_input = {osdp_output.PASSED}\n'
    troubles = {
        "mute": turned(made.knobs, silent=True),
        "answer lost": turned(made.knobs, lose_answer_to=0x68),
        "restarted": (made.restart, lambda: None),
    }
    return Gate(Place(port, cable, toml, troubles), opened, made.wait_release, lambda: osdp_output.pass_through(made))
