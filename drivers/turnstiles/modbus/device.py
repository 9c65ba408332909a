"""A turnstile behind a relay board: releases by a pulse that the board ends, and watches its inputs every 100 ms.

A controller by potential is open while its relay is closed: for the release's lifetime, dropped when the passage
begins. Which relays we owe an off is kept in `relays.py`, over lost links too, and until we stop.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from drivers.contract import Answer, DeviceFault, Direction, Down, Passed, ReportSink, Up
from drivers.registry import SettingValue
from drivers.transport import REOPEN_S, PortError, port_setting
from drivers.turnstiles.controller import Sent
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
from drivers.turnstiles.modbus.codec import (
    PULSE_UNIT_S,
    BoardMap,
    Inputs,
    PassageContact,
    counted,
    first_reports,
    reports,
)
from drivers.turnstiles.modbus.maps import resolved
from drivers.turnstiles.modbus.relays import Relays
from drivers.vitals import VitalSigns

SILENT_POLLS_MAX = 3  # polls without an answer before the board counts as down; a passage pulse lasts 3 polls
# A lane that is closed renews its Stop so often: when the service or the line fails, the flaps open within SHUT_S.
SHUT_S, RENEW_S = 3.0, 1.0
CLEAR_S = 3.0  # for a walkway to be clear before it is closed on a refusal; then whoever was refused is no longer there
STOP_S = 0.5  # for relays to be switched off when we stop; a stopping controller waits for all its lanes
_NEVER_S = float("inf")
Act = Callable[[Bus], Awaitable[None]]


class ModbusTurnstile:
    """One unit on a bus; settings as `driver.toml` declares them."""

    def __init__(self, given: Mapping[str, SettingValue]) -> None:
        settings = resolved(given)
        self._port = port_setting(settings)
        self._line = Line(int(settings["baud"]), str(settings["parity"]), settings["framing"] == "rtu")
        self._map = BoardMap.of(settings)
        self._relays = Relays(self._map, str(settings["pulse"]), lambda: self._unit)
        # What a lane's configuration is held against: it may not forget a release before the controller does.
        self.wait_s = 0.0 if self._map.potential else float(settings["passage_wait_s"])
        self.refuses = self._map.stop is not None
        self._refuse_s = float(settings["refuse_ms"]) / 1000
        self._address = int(settings["unit"])
        self._timeout_s = float(settings["timeout_ms"]) / 1000
        self._poll_s = float(settings["poll_ms"]) / 1000
        self._coils_as_inputs = settings["inputs_table"] == "coils"
        uncounted = frozenset(Direction) - frozenset(self._map.counters)
        self._edges = frozenset() if settings["passed_counts"] == "end" else uncounted
        self._ends = uncounted - self._edges
        self._contacts = {direction: PassageContact(float(settings["passed_max_s"])) for direction in Direction}
        self._vitals = VitalSigns()
        self._bus: Bus | None = None
        self._commanding = asyncio.Lock()
        self._up = False
        self._silent = 0  # polls in a row without an answer
        self._said: DeviceFault | None = None
        self._inputs: Inputs | None = None
        self._counts: dict[Direction, int] = {}
        self._opened = 0  # releases and holds so far
        self._renew_s = _NEVER_S  # when Stop must be told again while the gate stands closed
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
                async with asyncio.timeout(STOP_S), self._commanding:
                    await self._relays.settle(bus, float("inf"), self._emergency)
        finally:
            leave_bus(self._port, bus)

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        """Free the barrier once. See `drivers.contract.Turnstile`."""
        if lifetime_s < self.wait_s:
            return Answer.REFUSED  # the controller would keep it longer than it may live
        said = Sent(sent)
        until_s = asyncio.get_running_loop().time() + lifetime_s
        try:
            async with asyncio.timeout(lifetime_s), self._commanding:
                if not self._up or self._bus is None:
                    return Answer.REFUSED
                self._emergency = False  # who releases has taken the barrier back
                self._open_again()
                return await self._release(self._bus, direction, until_s, said)
        except TimeoutError:  # the bus has destroyed what was on its way
            return Answer.UNKNOWN if said.was else Answer.REFUSED

    async def _release(self, bus: Bus, direction: Direction, until_s: float, said: Sent) -> Answer:
        relay = self._map.release[direction]
        try:
            await self._relays.end_stop(bus)
            length_s = self._map.pulse_s
            if self._map.potential:
                left_s = until_s - asyncio.get_running_loop().time()
                length_s = left_s // PULSE_UNIT_S * PULSE_UNIT_S  # the board's tenths, within the lifetime
                if length_s < PULSE_UNIT_S:
                    return Answer.REFUSED
            await self._relays.pulse(bus, relay, length_s, said, owe=self._map.potential)
        except RefusedError:
            return await self._confirm_refusal(bus, relay)
        except PortError:
            return Answer.REFUSED  # nothing was sent
        except NoAnswerError:
            return await self._read_back(bus, relay) if said.was else Answer.REFUSED
        return Answer.ACCEPTED

    async def _confirm_refusal(self, bus: Bus, relay: int) -> Answer:
        """RTU frames have no number: an older command's exception looks like this one's. A closed relay tells."""
        try:
            bits = await bus.read_inputs(self._unit, relay, 1, coils=True)
        except RefusedError:  # a board whose coils cannot be read
            return Answer.REFUSED
        except (NoAnswerError, GaveWayError, PortError):
            return Answer.UNKNOWN
        return Answer.UNKNOWN if bits[0] else Answer.REFUSED

    async def _read_back(self, bus: Bus, relay: int) -> Answer:
        """The command timed out: the relay seen closed proves that it acted, anything else proves nothing."""
        try:
            bits = await bus.read_inputs(self._unit, relay, 1, coils=True)
        except (NoAnswerError, GaveWayError, RefusedError, PortError):
            return Answer.UNKNOWN
        return Answer.ACCEPTED if bits[0] else Answer.UNKNOWN

    async def hold_open(self) -> Answer:
        """Hold the barrier open."""
        self._open_again()
        return await self._command(self._relays.hold)

    async def end_hold(self) -> Answer:
        """End holding; refused while the fire input is active."""
        return await self._command(self._end_hold, may=self._may_end)

    def _may_end(self) -> bool:
        """Asked when its turn has come, not before: a fire may be seen while other commands are carried out."""
        return self._inputs is not None and not self._inputs.fire

    async def _end_hold(self, bus: Bus) -> None:
        self._emergency = False
        await self._relays.end_hold(bus, self._may_end)

    async def refuse(self) -> Answer:
        """Close a gate that stands open, for a while, and on nobody. See `drivers.contract.NormallyOpen`."""
        return await self._close(lambda bus: self._relays.close(bus, self._refuse_s))

    async def stand_closed(self) -> Answer:
        """Close a gate that stands open until told otherwise. See `drivers.contract.NormallyOpen`."""
        return await self._close(self._shut)

    async def stand_open(self) -> Answer:
        """Let it stand open again; a closing that still waits for the walkway does not come after it."""
        self._open_again()
        return await self._command(self._relays.end_stop)

    def _open_again(self) -> None:
        """A release or a hold: whoever wants it closed afterwards says so again."""
        self._opened += 1
        self._renew_s = _NEVER_S

    async def _close(self, act: Act) -> Answer:
        opened = self._opened
        if not self.refuses or not await self._clear():
            return Answer.REFUSED
        return await self._command(act, may=lambda: self._up and not self._emergency and self._opened == opened)

    async def _shut(self, bus: Bus) -> None:
        self._renew_s = asyncio.get_running_loop().time() + RENEW_S
        await self._relays.close(bus, SHUT_S)

    async def _clear(self) -> bool:
        """Wait until nobody is seen in the walkway; False when that takes too long."""
        for _ in range(round(CLEAR_S / self._poll_s)):
            now = self._inputs
            if now is None or not (now.occupied or now.passed or now.passed_exit):
                return True
            await asyncio.sleep(self._poll_s)  # the inputs are looked at no more often
        return False

    async def _command(self, act: Act, may: Callable[[], bool] = lambda: True) -> Answer:
        async with self._commanding:
            if self._bus is None or not may():
                return Answer.REFUSED
            try:
                await act(self._bus)
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
        self._up, self._said, self._renew_s = False, fault, _NEVER_S

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
                if self._relays.is_due(now(), self._emergency) and not self._commanding.locked():
                    async with self._commanding:
                        await self._relays.settle(bus, now(), self._emergency)  # after the poll: a fire is known
                if now() >= self._renew_s and not self._commanding.locked():
                    async with self._commanding:
                        await self._shut(bus)
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
            await asyncio.sleep(max(0.0, min(due_s, self._next_off_s()) - now()))

    def _next_off_s(self) -> float:
        """When a relay must be switched off; a command under way does it later, and a silent board is not pressed."""
        waits = self._silent or self._commanding.locked()
        return float("inf") if waits else self._relays.next_s(self._emergency)

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
        self._see(now, counts, report, first)

    def _see(self, now: Inputs, counts: dict[Direction, int], report: ReportSink, first: bool) -> None:
        now_s = asyncio.get_running_loop().time()
        active = {Direction.ENTRY: now.passed, Direction.EXIT: now.passed_exit}
        begun = [d for d, is_active in active.items() if is_active and not self._contacts[d].active]
        ended = [d for d, contact in self._contacts.items() if contact.see(active[d], now_s, first)]
        now = replace(now, ready=now.ready and not any(each.stuck(now_s) for each in self._contacts.values()))
        before, self._inputs = self._inputs, now
        self._emergency = self._emergency or now.fire
        if self._emergency:
            self._renew_s = _NEVER_S
        said = first_reports(before, now) if first or before is None else reports(before, now, self._edges)
        passed = counted(self._counts, counts)
        passed += [Passed(direction) for direction in ended if direction in self._ends]
        self._let_go({*begun, *(one.direction for one in passed if isinstance(one, Passed))})
        for one in [*said, *passed]:
            report(one)
        self._counts = counts

    def _let_go(self, begun: set[Direction]) -> None:
        """A passage has begun: what a potential controller holds open for it is let go."""
        for direction in begun if self._map.potential else ():
            self._relays.let_go(self._map.release[direction])


def create(settings: Mapping[str, SettingValue]) -> ModbusTurnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return ModbusTurnstile(settings)
