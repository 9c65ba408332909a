"""Readers, scanners and thermometers, and what is presented to them, for the fault sequences."""

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from drivers.contract import (
    CardNumberReport,
    CardReport,
    CodeReport,
    DeviceReport,
    Temperature,
)
from drivers.simulated.cards import card_text
from drivers.simulated.engine import SimulatedEngine
from drivers.simulated.line_scanner import SimulatedLineScanner, made_up_code
from drivers.simulated.osdp import SimulatedOsdp, wiegand26
from drivers.simulated.ports import Session
from drivers.simulated.samv import SimulatedSamv
from drivers.simulated.serial_thermometer import SimulatedThermometer
from drivers.simulated.ssi import SimulatedSsi
from drivers.simulated.wedge import SimulatedWedge
from tests.conformance.rig import Rig

TOLD_S = 0.3  # a scanner that nobody is connected to keeps no code
LIES_S = (0.1, 0.6)  # how long a card lies on a reader: pulled away in the middle of being read, or rests


class Source(Rig):
    """What reads. `shown` is what was presented, and when; each is another one, so each may be said once."""

    reports: tuple[type, ...] = (CodeReport,)
    checked = True  # whether its frames have a check; else what a bad cable altered is passed on

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.shown: dict[Any, float] = {}
        self._numbers = itertools.count(chance.randrange(1 << 20))
        self._one_at_a_time = asyncio.Lock()
        self.calmly = False

    async def show(self, calmly: bool = False) -> Any:
        """Present the next one, `calmly` or as passengers do; what it is."""
        async with self._one_at_a_time:
            self.calmly = calmly
            what = self.next(next(self._numbers))
            self.shown[what] = self.now_s()
            self.cable.of_a_person = True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.lies_s):
                    await self.present(what)
            self.cable.of_a_person = False
            return what

    lies_s = TOLD_S

    def next(self, number: int) -> Any:
        return made_up_code(number)

    async def present(self, what: Any) -> None:
        raise NotImplementedError

    @staticmethod
    def what(report: DeviceReport) -> Any:
        return report.payload if isinstance(report, CodeReport) else None

    def acts(self) -> dict[str, Callable[[Any], Any]]:
        return {"present": lambda device: self.show()}

    def false(self, reports: list[tuple[float, DeviceReport]]) -> list[str]:
        said = Counter(self.what(one) for _, one in reports if isinstance(one, self.reports))
        found = [f"said {count} times what was shown once" for count in said.values() if count > 1]
        strange = sum(what not in self.shown for what in said)
        return found + ([f"{strange} of {len(said)} said were never shown"] if strange and self.checked else [])


class Samv(Source):
    reports = (CardReport,)
    lies_s = LIES_S[1] + 1.0

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedSamv()
        self.device.knobs.rests_as_found = chance.random() < 0.5
        self.settings = {"baud": 115200}

    @property
    def session(self) -> Session:
        return self.device.session

    def next(self, number: int) -> Any:
        return card_text(" ", name="测试", number=f"{number:018d}")

    async def present(self, what: Any) -> None:
        self.device.present(what, pulled_early=not self.calmly and self.chance.random() < 0.2)
        await asyncio.sleep(LIES_S[1] if self.calmly else self.chance.uniform(*LIES_S))
        self.device.remove()

    @staticmethod
    def what(report: DeviceReport) -> Any:
        return report.text if isinstance(report, CardReport) else None


class Osdp(Source):
    reports = (CardNumberReport,)

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedOsdp()
        self.settings = {"baud": 115200}
        self.cable.tells_of_a_person = lambda data: 0x50 in data[5:9]  # RAW: two bits of a number tell old from new

    @property
    def session(self) -> Session:
        return self.device.session

    def next(self, number: int) -> Any:
        return str(number)

    async def present(self, what: Any) -> None:
        if self.device.online:
            self.device.present(26, wiegand26(int(what)))

    def restart(self) -> None:
        self.device.restart()

    @staticmethod
    def what(report: DeviceReport) -> Any:
        return report.number if isinstance(report, CardNumberReport) else None


class Scanner(Source):
    scanner: type[Any]

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = self.scanner()

    @property
    def session(self) -> Session:
        session: Session = self.device.session
        return session

    async def present(self, what: Any) -> None:
        await self.device.scan(what)


class Line(Scanner):
    scanner = SimulatedLineScanner
    checked = False


class Engine(Scanner):
    scanner = SimulatedEngine
    checked = False


class Ssi(Scanner):
    scanner = SimulatedSsi
    lies_s = 1.0  # three sendings of 0.2 s


class Wedge(Scanner):
    scanner = SimulatedWedge
    checked = False

    async def present(self, what: Any) -> None:
        await self.device.scan(what.decode("ascii"))


class Thermometer(Source):
    """What stands before it changes; what it says is what stood there."""

    reports = (Temperature,)

    def __init__(self, chance: random.Random, kind: str) -> None:
        super().__init__(chance, kind)
        self.device = SimulatedThermometer(chance.choice(["5a5a45", "aa55", "register"]), every_s=0.1)
        self.settings = {"protocol": self.device.protocol}

    @property
    def session(self) -> Session:
        return self.device.session

    def next(self, number: int) -> Any:
        return 34.0 + number % 70 / 10

    async def present(self, what: Any) -> None:
        self.device.celsius = what

    @staticmethod
    def what(report: DeviceReport) -> Any:
        if not isinstance(report, Temperature):
            return None
        return round(report.celsius, 1)

    def false(self, reports: list[tuple[float, DeviceReport]]) -> list[str]:
        said = {self.what(one) for _, one in reports if isinstance(one, Temperature)}
        strange = said - set(self.shown) - {36.5}  # from the start
        return [f"{len(strange)} temperatures that nobody had"] if strange else []
