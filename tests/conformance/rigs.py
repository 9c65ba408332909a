"""One simulated device with people before it, for each driver: what they do, and what it physically did.

`RIGS` is by driver. A driver without a rig of its own is run with its `simulate` alone: behind the same cable and
faults, but nothing is known of what its device did.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.contract import (
    Sign,
)
from drivers.simulated.light_buzzer import lit
from drivers.simulated.ports import Session
from drivers.simulated.relay_board import RELAYS, SimulatedRelayBoard
from drivers.simulated.voice_module import SimulatedVoice
from drivers.simulated.wire import FAULTS as FAULTS_OF_WIRE
from drivers.simulated.wire import WireFaults
from tests.conformance.cable import Cable
from tests.conformance.plug import Plug
from tests.conformance.rig import Rig
from tests.conformance.rigs_gates import C3, Board, Digicon, MachPower, OsdpOutput, PymodbusServer, Tpw, Uhppote
from tests.conformance.rigs_pcsc import Pcsc
from tests.conformance.rigs_sources import Engine, Line, Osdp, Samv, Ssi, Thermometer, Wedge


class Voice(Rig):
    """What it plays was asked for."""

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedVoice()

    @property
    def session(self) -> Session:
        return self.device.session

    async def say(self, device: Any) -> None:
        device.say(self.chance.choice(["STATUS_GREEN", "STATUS_RED", "LANE_CLOSED"]))

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        return {"say": self.say}


class Light(Rig):
    """A board's lamps; `shown` is what they should show."""

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedRelayBoard()
        self.framing = "tcp" if kind == "tcp" else "rtu"
        self.cable = Cable(chance, 4 if kind == "tcp" else 0)
        self.settings = {"timeout_ms": 200, "baud": 115200, "framing": self.framing}
        self.shown = Sign.READY

    @property
    def session(self) -> Session:
        return self.device.tcp if self.framing == "tcp" else self.device.rtu

    def restart(self) -> None:
        for relay in range(RELAYS):
            self.device._open_relay(relay)

    async def show(self, device: Any) -> None:
        self.shown = self.chance.choice(list(Sign))
        device.show(self.shown)

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        return {"show": self.show}

    @property
    def is_right(self) -> bool:
        lamp = {Sign.READY: (), Sign.GO: ("green",), Sign.STAFF: ("amber",), Sign.NO: ("red",)}[self.shown]
        return tuple(name for name in lit(self.device) if name != "buzzer") == lamp


class Simulated(Rig):
    """A driver without a rig: what its `simulate` does is all that happens, and only some faults reach it."""

    WIRE = ("silent", "garbled", "late", "wrong answer", "pieces")

    def __init__(self, chance: random.Random, kind: str, info: registry.DriverInfo, folder: Path) -> None:
        super().__init__(chance, kind)
        self._info = info
        self._wire = WireFaults()
        FAULTS_OF_WIRE.set(self._wire)
        folder.mkdir()
        self.place = Plug(info, kind, folder)
        self.faults = self.WIRE if "silent" in info.knobs else ("none",)

    def where(self, spec: str) -> dict[str, Any]:
        return self.place.setting

    def break_by(self, fault: str) -> None:
        wire = self._wire
        wire.silent, wire.wrong_answer = fault in ("silent", "dead"), fault == "wrong answer"
        wire.garbled_every, wire.late_ms = int(fault == "garbled"), 500 if fault == "late" else 0
        wire.chopped = 16 if fault == "pieces" else 0


RIGS: dict[str, tuple[type[Rig], ...]] = {
    "digicon-tx1500": (Digicon,),
    "engine-scanner": (Engine,),
    "light-buzzer": (Light,),
    "line-scanner": (Line,),
    "machpower-eb": (MachPower,),
    "modbus-relay": (Board, Board, PymodbusServer),
    "osdp": (Osdp,),
    "osdp-output": (OsdpOutput,),
    "pcsc": (Pcsc,),
    "samv": (Samv,),
    "serial-thermometer": (Thermometer,),
    "ssi-scanner": (Ssi,),
    "tpw-321asp": (Tpw,),
    "uhppote": (Uhppote,),
    "voice-module": (Voice,),
    "wedge-scanner": (Wedge,),
    "zkteco-c3": (C3,),
}


def rig_for(info: registry.DriverInfo, kind: str, number: int, chance: random.Random, folder: Path) -> Rig:
    """The rig of sequence `number`: the driver's own in turn, and only where it can be plugged in."""
    own = [one for one in RIGS.get(info.name, ()) if one is not PymodbusServer or kind == "tcp"]
    return own[number // 2 % len(own)](chance, kind) if own else Simulated(chance, kind, info, folder)
