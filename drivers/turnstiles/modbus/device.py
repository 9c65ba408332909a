"""A turnstile behind a relay board: releases by a pulse that the board ends, and watches its inputs every 100 ms.

On a board without such a pulse we end it ourselves. A relay that we switched on stays in `_pulses` until the board has
confirmed that it is off again, over lost links too, and when we stop.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.contract import Answer, DeviceFault, Direction, Down, ReportSink, Up
from drivers.registry import SettingValue
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
from drivers.turnstiles.modbus.codec import BoardMap, Inputs, counted, first_reports, reports
from drivers.vitals import VitalSigns

SILENT_POLLS_MAX = 3  # polls without an answer before the board counts as down; a passage pulse lasts 3 polls
STOP_S = 0.5  # for relays to be switched off when we stop; a stopping controller waits for all its lanes
_NO_SUCH = (2, 3)  # Modbus exceptions "illegal address", "illegal value": the board has no pulse of its own


@dataclass(slots=True)
class _Sent:
    """Whether a command's bytes went out; tells whoever measures."""

    tell: Callable[[], None] | None
    was: bool = False

    def __call__(self) -> None:
        self.was = True
        if self.tell:
            self.tell()


class ModbusTurnstile:
    """One unit on a bus; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._line = Line(int(settings["baud"]), str(settings["parity"]), settings["framing"] == "rtu")
        self._map = BoardMap.of(settings)
        self._address = int(settings["unit"])
        self._timeout_s = float(settings["timeout_ms"]) / 1000
        self._poll_s = float(settings["poll_ms"]) / 1000
        self._pulse = str(settings["pulse"])  # auto until the first release tells
        self._coils_as_inputs = settings["inputs_table"] == "coils"
        self._edges = frozenset(Direction) - frozenset(self._map.counters)
        self._vitals = VitalSigns()
        self._bus: Bus | None = None
        self._releasing = asyncio.Lock()
        self._up = False
        self._silent = 0  # polls in a row without an answer
        self._said: DeviceFault | None = None
        self._inputs: Inputs | None = None
        self._counts: dict[Direction, int] = {}
        self._pulses: dict[int, float] = {}  # relays that we have to switch off, and when
        self._emergency = False  # seen, and nobody has taken the barrier back since

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._up, self._said = False, None
        attempt = 0
        try:
            while True:
                try:
                    self._bus = self._bus or join_bus(self._port, self._line)
                    await self._serve(self._bus, report)
                except PortError as error:
                    attempt = 0 if self._up else attempt
                    self._down(report, error.fault, str(error))
                await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
                attempt += 1
        finally:
            await self._stop()

    async def _stop(self) -> None:
        self._up = False
        bus, self._bus = self._bus, None
        if bus is None:
            return
        try:
            with contextlib.suppress(NoAnswerError, PortError, TimeoutError):
                async with asyncio.timeout(STOP_S), self._releasing:
                    await self._end_pulses(bus, float("inf"))
        finally:
            leave_bus(self._port, bus)

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        """Free the barrier once. See `drivers.contract.Turnstile`."""
        said = _Sent(sent)
        try:
            async with asyncio.timeout(lifetime_s), self._releasing:
                if not self._up or self._bus is None:
                    return Answer.REFUSED
                self._emergency = False  # who releases has taken the barrier back
                return await self._release(self._bus, direction, said)
        except TimeoutError:  # the bus has destroyed what was on its way
            return Answer.UNKNOWN if said.was else Answer.REFUSED

    async def _release(self, bus: Bus, direction: Direction, said: _Sent) -> Answer:
        try:
            if self._pulse != "coil" and await self._timed(bus, direction, said):
                return Answer.ACCEPTED
            await self._switch_on(bus, self._map.release[direction], said)
        except (RefusedError, PortError):
            return Answer.REFUSED  # it did not act, or nothing was sent
        except NoAnswerError:
            return await self._read_back(bus, direction) if said.was else Answer.REFUSED
        return Answer.ACCEPTED

    async def _timed(self, bus: Bus, direction: Direction, said: _Sent) -> bool:
        """The pulse that the board ends by itself; False when it turns out to have none."""
        try:
            await bus.write_coil(self._unit, self._map.timed_pulse(direction), said)
        except RefusedError as error:
            if self._pulse == "board" or error.code not in _NO_SUCH:
                raise
            self._pulse, said.was = "coil", False  # refused means: it certainly did not act
            return False
        self._pulse = "board"
        return True

    async def _switch_on(self, bus: Bus, relay: int, said: _Sent) -> None:
        try:
            await bus.write_coil(self._unit, self._map.coil(relay, on=True), said)
        finally:
            if said.was:  # whatever became of it
                self._pulses[relay] = asyncio.get_running_loop().time() + self._map.pulse_ms / 1000

    async def _read_back(self, bus: Bus, direction: Direction) -> Answer:
        """The command timed out: the relay seen closed proves that it acted, anything else proves nothing."""
        try:
            bits = await bus.read_inputs(self._unit, self._map.release[direction], 1, coils=True)
        except (NoAnswerError, GaveWayError, RefusedError, PortError):
            return Answer.UNKNOWN
        return Answer.ACCEPTED if bits[0] else Answer.UNKNOWN

    async def _end_pulses(self, bus: Bus, now_s: float) -> None:
        """Switch off what is due. Nothing is closed in an emergency, nor after it before somebody commands again."""
        for relay, due_s in list(self._pulses.items()):
            if due_s > now_s or self._emergency:
                continue
            with contextlib.suppress(RefusedError):  # it has no such relay: nothing to switch off
                await bus.write_coil(self._unit, self._map.coil(relay, on=False))
            if self._pulses.get(relay) == due_s:
                del self._pulses[relay]

    async def hold_open(self) -> Answer:
        """Hold the barrier open."""
        self._pulses.pop(self._map.hold, None)  # the end of a pulse must not end the hold
        return await self._hold(on=True)

    async def end_hold(self) -> Answer:
        """End holding; refused while the fire input is active."""
        if self._inputs is None or self._inputs.fire:
            return Answer.REFUSED
        self._emergency = False
        return await self._hold(on=False)

    async def _hold(self, on: bool) -> Answer:
        if self._bus is None:
            return Answer.REFUSED
        relays = [self._map.hold]
        if not on and self._pulse != "board":  # one that an earlier controller left on when it was killed
            relays += sorted(set(self._map.release.values()) - set(relays))
        try:
            for relay in relays:
                await self._bus.write_coil(self._unit, self._map.coil(relay, on))
        except (RefusedError, PortError):
            return Answer.REFUSED
        except NoAnswerError:
            return Answer.UNKNOWN
        return Answer.ACCEPTED

    @property
    def _unit(self) -> Unit:
        return Unit(self._address, self._timeout_s, self._silent > 0 or not self._up, self._vitals)

    def _down(self, report: ReportSink, fault: DeviceFault, detail: str) -> None:
        if self._up or self._said is not fault:
            report(Down(fault, detail))
        self._up, self._said = False, fault

    async def _serve(self, bus: Bus, report: ReportSink) -> None:
        now = asyncio.get_running_loop().time
        self._silent = 0
        self._counts = {}
        first = True
        due_s = now()
        while True:
            try:
                await self._poll(bus, report, first)
                first, self._silent = False, 0
                if not self._up:
                    self._up, self._said = True, None
                    report(Up(f"unit {self._address}"))
                self._vitals.tell(report, now())
                await self._end_pulses(bus, now())  # after the poll: by then a fire is known
            except RefusedError as error:
                text = f"unit {self._address} answers exception {error.code}: check the input map"
                raise PortError(DeviceFault.PROTOCOL_ERROR, text) from error
            except GaveWayError:
                pass
            except NoAnswerError:
                self._silent += 1
                if not self._up or self._silent >= SILENT_POLLS_MAX:
                    text = f"unit {self._address} does not answer: check power, wiring, speed and unit address"
                    raise PortError(DeviceFault.NO_ANSWER, text) from None
            due_s = max(due_s + self._poll_s, now())
            await asyncio.sleep(max(0.0, min([due_s, *self._due()]) - now()))

    def _due(self) -> list[float]:
        return [] if self._emergency or self._silent else list(self._pulses.values())

    async def _poll(self, bus: Bus, report: ReportSink, first: bool) -> None:
        now = Inputs()
        start, count = self._map.input_span
        if count or not self._map.counters:
            # A board without inputs is asked for its release coil, so that its death is noticed.
            ask_coil = not count
            start = start if count else self._map.release[Direction.ENTRY]
            bits = await bus.read_inputs(self._unit, start, count or 1, self._coils_as_inputs or ask_coil)
            now = self._map.decode(bits) if count else now
        counts: dict[Direction, int] = {}
        start, count = self._map.counter_span
        if count:
            counts = self._map.decode_counters(await bus.read_registers(self._unit, start, count))
        before, self._inputs = self._inputs, now
        self._emergency = self._emergency or now.fire
        said = first_reports(before, now) if first or before is None else reports(before, now, self._edges)
        for one in [*said, *counted(self._counts, counts)]:
            report(one)
        self._counts = counts


def create(settings: Mapping[str, SettingValue]) -> ModbusTurnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return ModbusTurnstile(settings)
