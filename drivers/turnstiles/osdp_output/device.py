"""A turnstile on an OSDP device: released by an output that the device switches off itself, watched by its inputs."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from drivers.contract import Answer, DeviceFault, Direction, Down, ReportSink, Up, Vitals
from drivers.readers.osdp.bus import Bus, join_bus, leave_bus
from drivers.readers.osdp.key import read_key
from drivers.readers.osdp.panel import Heard, InputsSeen, Member, Offline, Online
from drivers.registry import SettingValue
from drivers.transport import PortError, port_setting
from drivers.turnstiles.modbus.codec import Inputs, first_reports, reports
from drivers.turnstiles.osdp_output.codec import OutputMap

SETUP_AGAIN_S = 1.0  # a key file that was put right is found within 2 s of it
INPUTS_S = 1.0  # from answering until the inputs are known: a question, or the device's own report
HOLD_S = 1.0  # no source gives a limit: several times the 5 ms that an output command takes (devices.md 4.3)
_EDGES = frozenset(Direction)


class OsdpTurnstile:
    """One device on a bus; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._address = int(settings["unit"])
        self._key_file = str(settings.get("scbk_file", ""))
        self._map = OutputMap.of(settings)
        self._commanding = asyncio.Lock()
        self._report: ReportSink = lambda report: None
        self._bus: Bus | None = None
        self._member: Member | None = None
        self._said: DeviceFault | None = None
        self._up = False
        self._detail = ""
        self._first = True  # the next report of the inputs is the first since the device came
        self._inputs: Inputs | None = None
        self._waiting: asyncio.TimerHandle | None = None  # for the inputs of a device that came

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._report, self._up, self._said = report, False, None
        while True:
            try:
                await self._work()
            except PortError as error:  # of the settings around the port; the bus says itself what the port does
                self._down(error.fault, str(error))
            await asyncio.sleep(SETUP_AGAIN_S)

    async def _work(self) -> None:
        member = Member(self._address, read_key(self._key_file), self._hear, bool(self._map.inputs))
        bus = join_bus(self._port, self._baud, member)
        self._bus, self._member = bus, member
        try:
            await asyncio.Event().wait()  # until cancelled
        finally:
            self._bus = self._member = None
            self._up = False
            self._wait_no_more()
            await leave_bus(self._port, bus, member)

    def _hear(self, heard: Heard) -> None:
        match heard:
            case Online(detail=detail):
                self._came(detail)
            case Vitals() if self._up:
                self._report(heard)
            case Offline(fault=fault, detail=detail):
                self._wait_no_more()
                self._down(fault, detail)
            case InputsSeen(levels=levels) if self._map.inputs and self._bus is not None:
                self._seen(levels)

    def _came(self, detail: str) -> None:
        self._detail, self._first = detail, True
        if not self._map.inputs:
            self._works(Inputs())
            return
        text = f"unit {self._address} does not tell its inputs: check that it has them, or leave them out of the map"
        loop = asyncio.get_running_loop()
        self._waiting = loop.call_later(INPUTS_S, self._down, DeviceFault.PROTOCOL_ERROR, text)

    def _seen(self, levels: tuple[int, ...]) -> None:
        self._wait_no_more()
        try:
            now = Inputs(**self._map.decode(levels))
        except IndexError:
            text = f"unit {self._address} has {len(levels)} inputs, and the map names more: check the input map"
            self._down(DeviceFault.PROTOCOL_ERROR, text)
            return
        self._works(now)

    def _works(self, now: Inputs) -> None:
        before, self._inputs = self._inputs, now
        first, self._first = self._first or before is None, False
        said = first_reports(before, now) if first or before is None else reports(before, now, _EDGES)
        for one in said:
            self._report(one)
        if not self._up:
            self._up, self._said = True, None
            self._report(Up(self._detail))

    def _wait_no_more(self) -> None:
        if self._waiting:
            self._waiting.cancel()
        self._waiting = None

    def _down(self, fault: DeviceFault, detail: str) -> None:
        if self._up or self._said is not fault:
            self._report(Down(fault, detail))
        self._up, self._said = False, fault

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        """Free the barrier once. See `drivers.contract.Turnstile`."""
        ends_s = asyncio.get_running_loop().time() + lifetime_s
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(lifetime_s):
                await self._commanding.acquire()
            try:
                left_s = ends_s - asyncio.get_running_loop().time()
                return await self._send(self._map.pulse(direction), left_s, sent)
            finally:
                self._commanding.release()
        return Answer.REFUSED  # its time went by behind other commands

    async def hold_open(self) -> Answer:
        """Hold the barrier open."""
        async with self._commanding:
            return await self._send(self._map.holding(on=True), HOLD_S, None)

    async def end_hold(self) -> Answer:
        """End holding; refused while the fire input is active, and while it is not known."""
        async with self._commanding:
            if self._inputs is None or self._inputs.fire:
                return Answer.REFUSED
            return await self._send(self._map.holding(on=False), HOLD_S, None)

    async def _send(self, command: dict[str, int], lifetime_s: float, sent: Callable[[], None] | None) -> Answer:
        if not self._up or self._bus is None or self._member is None:
            return Answer.REFUSED
        return await self._bus.send(self._member, command, lifetime_s, sent)


def create(settings: Mapping[str, SettingValue]) -> OsdpTurnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return OsdpTurnstile(settings)
