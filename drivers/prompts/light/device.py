"""Lamps behind a relay board: looked at once a second and set right, so that a board that lost power shows the sign."""

import asyncio
import contextlib
from collections.abc import Mapping

from drivers.contract import DeviceFault, Down, ReportSink, Sign, Up
from drivers.prompts.light.codec import Lamps
from drivers.registry import SettingError, SettingValue
from drivers.transport import REOPEN_S, PortError, port_setting
from drivers.turnstiles.modbus.bus import (
    Bus,
    GaveWayError,
    Line,
    NoAnswerError,
    RefusedError,
    Unit,
    join_bus,
    leave_bus,
)
from drivers.turnstiles.modbus.codec import CoilWrite
from drivers.vitals import VitalSigns

LOOK_EVERY_S = 0.5  # a board that lost power is missed, and shows its sign again, within 2 s
SILENT_MAX = 2  # looks without an answer before the board counts as down
STOP_S = 0.5  # for the lamps to go dark when we stop; a stopping controller waits for all its lanes


class LightBuzzer:
    """One lane's lamps and buzzer; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._line = Line(int(settings["baud"]), str(settings["parity"]), settings["framing"] == "rtu")
        self._unit = Unit(int(settings["unit"]), float(settings["timeout_ms"]) / 1000)
        try:
            self._lamps = Lamps.of(settings)
        except ValueError as error:
            raise SettingError("green_coil", str(error)) from None
        self._sign = Sign.READY
        self._buzz = False  # the sign has just changed
        self._changed = asyncio.Event()
        self._vitals = VitalSigns()
        self._up = False
        self._said: DeviceFault | None = None

    def say(self, reason: str) -> None:
        """Lamps say nothing."""

    def show(self, sign: Sign) -> None:
        """Show this from now on."""
        if sign is not self._sign:
            self._sign, self._buzz = sign, True
            self._changed.set()

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._up, self._said = False, None
        bus: Bus | None = None
        attempt = 0
        try:
            while True:
                try:
                    bus = bus or join_bus(self._port, self._line)
                    await self._serve(bus, report)
                except PortError as error:
                    attempt = 0 if self._up else attempt
                    self._down(report, error.fault, str(error))
                await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
                attempt += 1
        finally:
            if bus is not None:
                await self._stop(bus)

    async def _stop(self, bus: Bus) -> None:
        """No lamp says anything of a lane that nobody runs."""
        try:
            with contextlib.suppress(NoAnswerError, PortError, RefusedError, GaveWayError, TimeoutError):
                async with asyncio.timeout(STOP_S if self._up else 0):
                    await self._set_right(bus, Sign.READY)
        finally:
            self._up = False
            leave_bus(self._port, bus)

    async def _serve(self, bus: Bus, report: ReportSink) -> None:
        now, silent = asyncio.get_running_loop().time, 0
        while True:
            asked_s = now()
            try:
                await self._look(bus)
                silent = 0
                self._vitals.good(now() - asked_s)
                if not self._up:
                    self._up, self._said = True, None
                    report(Up(f"unit {self._unit.address}"))
            except RefusedError as error:
                text = f"unit {self._unit.address} answers exception {error.code}: check the coils' numbers"
                raise PortError(DeviceFault.PROTOCOL_ERROR, text) from error
            except (NoAnswerError, GaveWayError):
                silent += 1
                self._vitals.failed(DeviceFault.NO_ANSWER)
                if not self._up or silent >= SILENT_MAX:
                    text = f"unit {self._unit.address} does not answer: check power, wiring, speed and unit address"
                    raise PortError(DeviceFault.NO_ANSWER, text) from None
            self._vitals.tell(report, now())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._changed.wait()

    async def _look(self, bus: Bus) -> None:
        self._changed.clear()
        await self._set_right(bus, self._sign)
        buzz, self._buzz = self._buzz, False
        pulse = self._lamps.buzz(self._sign) if buzz else None
        if pulse:
            # A buzzer that this board cannot time is not worth the lamps; without its pulse it could sound for ever.
            with contextlib.suppress(RefusedError):
                await bus.write(self._unit, CoilWrite(*pulse))

    async def _set_right(self, bus: Bus, sign: Sign) -> None:
        first, count = self._lamps.span
        bits = await bus.read_inputs(self._unit, first, count, coils=True)
        for relay, on in self._lamps.wrong(sign, bits):
            await bus.write(self._unit, CoilWrite(relay, self._lamps.value(on)))

    def _down(self, report: ReportSink, fault: DeviceFault, detail: str) -> None:
        if self._up or self._said is not fault:
            report(Down(fault, detail))
        self._up, self._said = False, fault


def create(settings: Mapping[str, SettingValue]) -> LightBuzzer:
    """Lamps with checked settings; opens nothing yet. Raises SettingError for a wrong port or a relay used twice."""
    return LightBuzzer(settings)
