"""Every make of simulated reader and scanner, as people meet it: present, and take it away."""

import asyncio
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.readers.samv.codec import Command, StatusWord
from drivers.simulated.camera import SimulatedCamera
from drivers.simulated.engine import SimulatedEngine
from drivers.simulated.line_scanner import SimulatedLineScanner
from drivers.simulated.ports import SimulatedPort
from drivers.simulated.samv import SimulatedSamv
from drivers.simulated.ssi import SimulatedSsi
from drivers.simulated.wedge import SimulatedWedge
from drivers.simulated.wire import WireFaults
from gate.sim.people import Person
from tests.simulation.soak.gates import Place, plugged, turned

_ANSWER_S = 0.001  # a fast reader: less of the machine's time
TAKES_MAX_S = 1.0  # a scanner that nobody listens to takes nothing for ever: nobody waits longer


@dataclass(slots=True)
class Reader:
    """One reader or scanner."""

    place: Place
    present: Callable[[Person], object]  # a coroutine, or nothing to wait for
    by_code: bool = True
    take_away: Callable[[], None] = lambda: None

    async def show(self, person: Person) -> None:
        """Present what it reads."""
        try:
            async with asyncio.timeout(TAKES_MAX_S):
                shown = self.present(person)
                if asyncio.iscoroutine(shown):
                    await shown
        except TimeoutError:
            pass  # it is broken, or nobody listens: the person sees that nothing happens


def samv(kind: str, path: Path) -> Reader:
    """A reader of identity cards, with a number of its own: two of one number would be taken for swapped ones."""
    made = SimulatedSamv(serial=zlib.crc32(path.name.encode()))
    knobs = made.knobs
    knobs.answer_s = _ANSWER_S
    port, cable = plugged(kind, path, made.session)
    broken = dict.fromkeys((Command.FIND, Command.STATUS), StatusWord.SELF_TEST_FAILED)
    troubles = {
        "mute": turned(knobs, silent=True),
        "wrong checksums": turned(knobs, bad_checksum=True),
        "self-test failed": turned(knobs, force=broken),
    }
    place = Place(port, cable, 'driver = "samv"\npoll_interval_ms = 50\n', troubles)
    return Reader(place, lambda person: made.present(person.card()), by_code=False, take_away=made.remove)


def line(kind: str, path: Path) -> Reader:
    """A scanner that says lines."""
    made = SimulatedLineScanner()
    port, cable = plugged(kind, path, made.session)
    return Reader(Place(port, cable, 'driver = "line-scanner"\n'), lambda person: made.scan(person.code))


def ssi(kind: str, path: Path) -> Reader:
    """A Zebra scanner."""
    made = SimulatedSsi()
    port, cable = plugged(kind, path, made.session)
    troubles = {"mute": turned(made.knobs, silent=True), "deaf": turned(made.knobs, deaf_to_acks=True)}
    place = Place(port, cable, 'driver = "ssi-scanner"\n', troubles)
    return Reader(place, lambda person: made.scan(person.code))


def engine(kind: str, path: Path, profile: str = "newland") -> Reader:
    """A scanner that takes orders."""
    made = SimulatedEngine()
    port, cable = plugged(kind, path, made.session)
    place = Place(port, cable, f'driver = "engine-scanner"\nprofile = "{profile}"\nsuffix = "\\r\\n"\n')
    place.troubles["mute"] = turned(made.knobs, silent=True)
    return Reader(place, lambda person: made.scan(person.code))


def wedge(kind: str, path: Path) -> Reader:
    """A scanner that types."""
    made = SimulatedWedge()
    port, cable = plugged(kind, path, made.session)
    place = Place(port, cable, 'driver = "wedge-scanner"\n', {"mute": turned(made.knobs, silent=True)})
    return Reader(place, lambda person: made.scan(person.code.decode("ascii")))


class _Folder(SimulatedPort):
    """A camera's folder is always there."""

    def __init__(self, spec: str) -> None:
        self.spec = spec

    async def plug(self) -> None:
        """It is."""

    async def unplug(self) -> None:
        """It stays."""


def camera(kind: str, path: Path) -> Reader:
    """A camera; it shares its process with the others and does not fail here."""
    made = SimulatedCamera(path)
    place = Place(_Folder(made.spec), WireFaults(), 'driver = "camera-scanner"\n', key="source")
    return Reader(place, lambda person: made.scan(person.code))
