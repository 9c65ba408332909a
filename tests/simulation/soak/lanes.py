"""The 48 lanes of the soak: which reader and which turnstile each has, near or far, and their `station.toml`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.simulation.soak import gates, readers
from tests.simulation.soak.gates import Gate, Place
from tests.simulation.soak.readers import Reader

MakeReader = Callable[[str, Path], Reader]
MakeGate = Callable[[str, Path], Gate]


@dataclass(frozen=True, slots=True)
class Kind:
    """What hangs on a lane, and on which kinds of port."""

    reader: tuple[MakeReader, str]
    gate: tuple[MakeGate, str]
    far: bool = False


_LC, _CHEAP = partial(gates.modbus, board="lc-tech-8r", counts=False), partial(gates.modbus, board="value-0100")
_PLAIN = partial(gates.modbus, board="plain", counts=False)
_WAVE_EDGE = partial(gates.modbus, counts=False)
_TTR, _TISO = partial(gates.contacts, profile="perco-ttr10a"), partial(gates.contacts, profile="tiso-jetpan")
_GM65 = partial(readers.engine, profile="gm65")
_SAMV, _SAMV_TCP = (readers.samv, "pty"), (readers.samv, "tcp")
_LINE, _SSI, _WEDGE = (readers.line, "pty"), (readers.ssi, "pty"), (readers.wedge, "pty")
_ENGINE, _GM = (readers.engine, "pty"), (_GM65, "pty")
_SCANNERS_TCP = ((readers.line, "tcp"), (readers.ssi, "tcp"), (readers.engine, "tcp"))
_CAMERA = (readers.camera, "dir")

# The first sixteen hold every driver once; a small soak takes the first of them.
MIX: Sequence[Kind] = (
    Kind(_SAMV, (gates.modbus, "tcp")),
    Kind(_LINE, (gates.modbus, "pty")),
    Kind(_SSI, (gates.digicon, "pty")),
    Kind(_ENGINE, (gates.tpw, "udp")),
    Kind(_SAMV_TCP, (gates.zkteco, "tcp")),
    Kind(_WEDGE, (gates.uhppote, "tcp")),
    Kind(_SAMV, (gates.osdp, "pty")),
    Kind(_SAMV_TCP, (gates.machpower, "pty")),
    Kind(_LINE, (gates.contacts, "pty")),
    Kind(_SAMV, (gates.modbus, "tcp"), far=True),
    Kind(_SAMV, (_LC, "pty")),
    Kind(_GM, (gates.uhppote, "udp")),
    Kind(_CAMERA, (gates.modbus, "tcp")),
    Kind(_SSI, (_PLAIN, "pty")),
    Kind(_SAMV, (_TTR, "tcp")),
    Kind(_LINE, (_CHEAP, "pty")),
    Kind(_SAMV, (gates.modbus, "pty")),
    Kind(_SAMV_TCP, (gates.modbus, "tcp")),
    Kind(_LINE, (gates.modbus, "tcp")),
    Kind(_SCANNERS_TCP[0], (gates.modbus, "pty")),
    Kind(_SSI, (gates.modbus, "tcp"), far=True),
    Kind(_SAMV, (gates.digicon, "tcp")),
    Kind(_SAMV, (gates.digicon, "pty")),
    Kind(_SCANNERS_TCP[1], (gates.digicon, "pty")),
    Kind(_SAMV, (gates.tpw, "pty")),
    Kind(_WEDGE, (gates.tpw, "tcp")),
    Kind(_SAMV_TCP, (gates.tpw, "udp")),
    Kind(_LINE, (gates.zkteco, "tcp")),
    Kind(_SAMV, (gates.zkteco, "tcp")),
    Kind(_SCANNERS_TCP[2], (gates.zkteco, "tcp")),
    Kind(_SAMV, (gates.uhppote, "udp")),
    Kind(_SSI, (gates.uhppote, "tcp")),
    Kind(_ENGINE, (gates.osdp, "tcp")),
    Kind(_SAMV, (gates.machpower, "tcp")),
    Kind(_SAMV, (gates.contacts, "tcp")),
    Kind(_LINE, (_TISO, "pty")),
    Kind(_SAMV_TCP, (_LC, "tcp")),
    Kind(_WEDGE, (_LC, "pty")),
    Kind(_SAMV, (_CHEAP, "tcp")),
    Kind(_GM, (_PLAIN, "tcp")),
    Kind(_CAMERA, (gates.modbus, "pty")),
    Kind(_SAMV, (_WAVE_EDGE, "tcp")),
    Kind(_SSI, (_WAVE_EDGE, "pty")),
    Kind(_SAMV_TCP, (gates.modbus, "pty")),
    Kind(_ENGINE, (gates.modbus, "tcp")),
    Kind(_SAMV, (gates.modbus, "tcp")),
    Kind(_WEDGE, (gates.modbus, "pty")),
    Kind(_SAMV_TCP, (gates.modbus, "tcp")),
)


@dataclass(slots=True)
class Lane:
    """One lane of the soak. `trouble_s`: when something of it was last broken, inf while it is."""

    id: str
    reader: Reader
    gate: Gate
    far: bool
    trouble_s: float = field(default=float("-inf"))

    @property
    def places(self) -> list[Place]:
        """Its devices."""
        return [self.reader.place, self.gate.place]

    def toml(self) -> str:
        """The whole lane: for its own computer, or for the controller where it is near."""
        return f"{self._head()}{''.join(_device(place) for place in self.places)}"

    def station_toml(self) -> str:
        """The lane as the controller's file has it."""
        if not self.far:
            return self.toml()
        drivers = [line for place in self.places for line in place.toml.splitlines() if line.startswith("driver")]
        return f"{self._head()}remote = true\n{''.join(f'[[lane.device]]{chr(10)}{line}{chr(10)}' for line in drivers)}"

    def _head(self) -> str:
        return f'\n[[lane]]\nid = "{self.id}"\ndirection = "entry"\nrelease_within_s = {self.gate.within_s}\n'


def _device(place: Place) -> str:
    return f'[[lane.device]]\n{place.toml}{place.key} = "{place.port.spec}"\n'


def lane_id(number: int) -> str:
    """A1 … A12, B1 …"""
    return f"{'ABCDEFGH'[number // 12 % 8]}{number % 12 + 1}"


def make_lane(number: int, folder: Path) -> Lane:
    """Lane `number` of the mix, unplugged."""
    kind, name = MIX[number % len(MIX)], lane_id(number)
    make_reader, reader_port = kind.reader
    make_gate, gate_port = kind.gate
    reader = make_reader(reader_port, folder / f"{name}-reader")
    return Lane(name, reader, make_gate(gate_port, folder / f"{name}-gate"), kind.far)
