"""A turnstile behind a relay board: releases by a pulse that the board ends, and watches its inputs every 100 ms."""

import asyncio
from collections.abc import Callable, Mapping

from drivers.contract import Answer, DeviceFault, Direction, Down, ReportSink, Up
from drivers.registry import SettingValue
from drivers.transport import PortError
from drivers.turnstiles.modbus.bus import Bus, NoAnswerError, RefusedError, shared_bus
from drivers.turnstiles.modbus.codec import BoardMap, Inputs, counted, first_reports, reports

REOPEN_S = (0.1, 0.3, 0.5, 1.0)  # at most 1 s, so that a lane is back within 2 s of its board
SILENT_POLLS_MAX = 3  # polls without an answer before the board counts as down; a passage pulse lasts 3 polls
OFF_TRIES_MAX = 5  # a coil that we had to switch on is switched off with this much insistence
_NO_SUCH = (2, 3)  # Modbus exceptions "illegal address", "illegal value": the board has no pulse of its own


class ModbusTurnstile:
    """One unit on a bus; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._settings = settings
        self._map = BoardMap.of(settings)
        self._unit = int(settings["unit"])
        self._poll_s = float(settings["poll_ms"]) / 1000
        self._pulse = str(settings["pulse"])  # auto until the first release tells
        self._coils_as_inputs = settings["inputs_table"] == "coils"
        self._edges = frozenset(Direction) - frozenset(self._map.counters)
        self._bus: Bus | None = None
        self._up = False
        self._said: DeviceFault | None = None
        self._inputs: Inputs | None = None
        self._counts: dict[Direction, int] = {}

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        attempt = 0
        self._bus = self._shared_bus()
        try:
            while True:
                try:
                    await self._serve(report)
                except PortError as error:
                    attempt = 0 if self._up else attempt
                    self._down(report, error.fault, str(error))
                await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
                attempt += 1
        finally:
            self._bus.close()

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        """Free the barrier once. See `drivers.contract.Turnstile`."""
        if not self._up or self._bus is None:
            return Answer.REFUSED
        try:
            async with asyncio.timeout(lifetime_s):
                return await self._release(self._bus, direction, sent)
        except TimeoutError:
            self._bus.close()  # what is still on its way is destroyed
            return Answer.UNKNOWN

    async def _release(self, bus: Bus, direction: Direction, sent: Callable[[], None] | None) -> Answer:
        try:
            if self._pulse in ("auto", "board"):
                try:
                    await bus.write_coil(self._unit, self._map.timed_pulse(direction), sent)
                    self._pulse = "board"
                    return Answer.ACCEPTED
                except RefusedError as error:
                    if self._pulse == "board" or error.code not in _NO_SUCH:
                        return Answer.REFUSED
                    self._pulse = "coil"  # refused means: it certainly did not act
            await bus.write_coil(self._unit, self._map.coil(direction, on=True), sent)
        except RefusedError:
            return Answer.REFUSED
        except PortError:
            return Answer.REFUSED  # nothing was sent
        except NoAnswerError:
            return await self._read_back(bus, direction)
        self._end_pulse(bus, direction)
        return Answer.ACCEPTED

    async def _read_back(self, bus: Bus, direction: Direction) -> Answer:
        """The command timed out: the relay seen closed proves that it acted, anything else proves nothing."""
        try:
            bits = await bus.read_inputs(self._unit, self._map.release[direction], 1, coils=True)
        except (NoAnswerError, RefusedError, PortError):
            return Answer.UNKNOWN
        if self._pulse == "coil":
            self._end_pulse(bus, direction)
        return Answer.ACCEPTED if bits[0] else Answer.UNKNOWN

    def _end_pulse(self, bus: Bus, direction: Direction) -> None:
        self._ending = asyncio.get_running_loop().create_task(self._switch_off(bus, direction))

    async def _switch_off(self, bus: Bus, direction: Direction) -> None:
        for _ in range(OFF_TRIES_MAX):
            await asyncio.sleep(self._map.pulse_ms / 1000)
            if self._inputs and self._inputs.fire:
                return  # nothing is closed in an emergency
            try:
                await bus.write_coil(self._unit, self._map.coil(direction, on=False))
                return
            except (NoAnswerError, RefusedError, PortError):
                continue

    async def hold_open(self) -> Answer:
        """Hold the barrier open."""
        return await self._hold(on=True)

    async def end_hold(self) -> Answer:
        """End holding; refused while the fire input is active."""
        if self._inputs is None or self._inputs.fire:
            return Answer.REFUSED
        return await self._hold(on=False)

    async def _hold(self, on: bool) -> Answer:
        if self._bus is None:
            return Answer.REFUSED
        try:
            await self._bus.write_coil(self._unit, self._map.holding(on))
        except (RefusedError, PortError):
            return Answer.REFUSED
        except NoAnswerError:
            return Answer.UNKNOWN
        return Answer.ACCEPTED

    def _shared_bus(self) -> Bus:
        settings = self._settings
        return shared_bus(
            str(settings["port"]),
            int(settings["baud"]),
            str(settings["parity"]),
            settings["framing"] == "rtu",
            float(settings["timeout_ms"]) / 1000,
        )

    def _down(self, report: ReportSink, fault: DeviceFault, detail: str) -> None:
        if self._up or self._said is not fault:
            report(Down(fault, detail))
        self._up, self._said = False, fault

    async def _serve(self, report: ReportSink) -> None:
        loop = asyncio.get_running_loop()
        silent = 0
        self._counts = {}
        first = True
        due_s = loop.time()
        while True:
            try:
                await self._poll(report, first)
                first, silent = False, 0
                if not self._up:
                    self._up, self._said = True, None
                    report(Up(f"unit {self._unit}"))
            except RefusedError as error:
                raise PortError(
                    DeviceFault.PROTOCOL_ERROR, f"unit {self._unit} answers exception {error.code}: check the input map"
                ) from error
            except NoAnswerError:
                silent += 1
                if silent >= SILENT_POLLS_MAX:
                    text = f"unit {self._unit} does not answer: check power, wiring, speed and unit address"
                    raise PortError(DeviceFault.NO_ANSWER, text) from None
            due_s = max(due_s + self._poll_s, loop.time())
            await asyncio.sleep(due_s - loop.time())

    async def _poll(self, report: ReportSink, first: bool) -> None:
        assert self._bus is not None  # noqa: S101 - run() set it
        now = Inputs()
        start, count = self._map.input_span
        if count or not self._map.counters:
            # A board without inputs is asked for its release coil, so that its death is noticed.
            ask_coil = not count
            start = start if count else self._map.release[Direction.ENTRY]
            bits = await self._bus.read_inputs(self._unit, start, count or 1, self._coils_as_inputs or ask_coil)
            now = self._map.decode(bits) if count else now
        counts: dict[Direction, int] = {}
        start, count = self._map.counter_span
        if count:
            counts = self._map.decode_counters(await self._bus.read_registers(self._unit, start, count))
        before, self._inputs = self._inputs, now
        said = first_reports(now) if first or before is None else reports(before, now, self._edges)
        if first and before is not None and before.fire and not now.fire:
            said = [*reports(before, now, frozenset()), *said]  # the emergency ended while we were cut off
        for one in [*said, *counted(self._counts, counts)]:
            report(one)
        self._counts = counts


def create(settings: Mapping[str, SettingValue]) -> ModbusTurnstile:
    """A turnstile with checked settings; opens nothing yet."""
    return ModbusTurnstile(settings)
