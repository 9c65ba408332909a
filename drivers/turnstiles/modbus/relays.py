"""The relays of one board: pulses, holds, and which of them we owe an off until the board has confirmed it.

A relay that we switched on stays owed over lost links too. In an emergency nothing is switched off that opens; what
closes, the controller's Stop, is switched off at once.
"""

import asyncio
import contextlib
from collections.abc import Callable

from drivers.turnstiles.controller import Sent
from drivers.turnstiles.modbus.bus import Bus, RefusedError, Unit
from drivers.turnstiles.modbus.codec import BoardMap

_NO_SUCH = (2, 3)  # Modbus exceptions "illegal address", "illegal value": the board has no pulse of its own
# Both unlocks are held for so long while Stop comes: three frames at 4800 Bd with their answers take 0.2 s.
UNLOCK_S = 1.0
LEVEL_S = 0.1  # a level that lasts less may not be seen by the controller (PERCo: at least 100 ms)


class Relays:
    """Carries commands out, one at a time; all may raise NoAnswerError, RefusedError, PortError."""

    def __init__(self, board: BoardMap, pulse: str, unit: Callable[[], Unit]) -> None:
        self._map = board
        self._pulse = pulse  # auto until the first pulse tells
        self._certain = pulse == "board"  # as it is set; what a pulse told may have been another command's answer
        self._unit = unit
        self._owed: dict[int, float] = {}  # relays that we have to switch off, and when

    async def pulse(self, bus: Bus, relay: int, length_s: float, sent: Sent, owe: bool = False) -> None:
        """Close `relay` for `length_s`. `owe`: we switch it off too, since it may have to end earlier."""
        due_s = asyncio.get_running_loop().time() + length_s
        try:
            if self._pulse != "coil" and await self._timed(bus, relay, length_s, sent):
                return
            owe = True
            await bus.write(self._unit(), self._map.coil(relay, on=True), sent)
        finally:
            if owe and sent.was:  # whatever became of it
                self._owed[relay] = due_s

    async def _timed(self, bus: Bus, relay: int, length_s: float, sent: Sent) -> bool:
        """The pulse that the board ends by itself; False when it turns out to have none."""
        try:
            await bus.write(self._unit(), self._map.timed_pulse(relay, length_s), sent)
        except RefusedError as error:
            if self._certain or error.code not in _NO_SUCH:
                raise
            self._pulse, sent.was = "coil", False  # refused means: it certainly did not act
            return False
        self._pulse = "board"
        return True

    async def hold(self, bus: Bus) -> None:
        """Free passage until `end_hold`."""
        await self.end_stop(bus)
        if self._map.held_by_stop and self._map.stop is not None:
            for relay in self._unlocks():
                await self.pulse(bus, relay, UNLOCK_S, Sent())
            await self.pulse(bus, self._map.stop, self._map.pulse_s, Sent(), owe=True)
            return
        for relay in self._map.holds:
            self._owed.pop(relay, None)  # the end of a pulse must not end the hold
            await bus.write(self._unit(), self._map.coil(relay, on=True))

    async def end_hold(self, bus: Bus, may: Callable[[], bool]) -> None:
        """One person per release again, as long as it `may` be: a fire can be seen between two of its frames."""
        relays = list(self._map.holds)
        if self._map.held_by_stop or self._pulse != "board":  # one that an earlier controller left on when killed
            relays += [relay for relay in self._unlocks() if relay not in relays]
        for relay in relays:
            _check(may)
            self._owed.pop(relay, None)
            await self._off(bus, relay)
        if self._map.held_by_stop:  # with an unlock still on it would mean free passage
            await self.end_stop(bus)
            _check(may)
            await self.close(bus, self._map.pulse_s)

    async def close(self, bus: Bus, length_s: float) -> None:
        """Stop for so long; for a gate that stands open: its flaps close and open again."""
        assert self._map.stop is not None  # noqa: S101 - whoever closes has one
        await self.pulse(bus, self._map.stop, length_s, Sent(), owe=True)

    async def end_stop(self, bus: Bus) -> None:
        """Stop is off, for long enough to be seen, before anything else is asked of the controller."""
        if self._map.stop in self._owed:
            await self._end(bus, self._map.stop)
            await asyncio.sleep(LEVEL_S)

    def let_go(self, relay: int) -> None:
        """Switch `relay` off as soon as it can be, if it is on by us."""
        if relay in self._owed:
            self._owed[relay] = float("-inf")

    def next_s(self, emergency: bool) -> float:
        """When the next relay must be switched off; infinite when none must."""
        if emergency:
            return float("-inf") if self._map.stop in self._owed else float("inf")
        return min(self._owed.values(), default=float("inf"))

    def is_due(self, now_s: float, emergency: bool) -> bool:
        """Whether `settle` has something to do."""
        return self.next_s(emergency) <= now_s

    async def settle(self, bus: Bus, now_s: float, emergency: bool) -> None:
        """Switch off what is due. Nothing is closed in an emergency, nor after it before somebody commands again."""
        for relay, due_s in list(self._owed.items()):
            if relay == self._map.stop if emergency else due_s <= now_s:
                await self._end(bus, relay)

    async def _end(self, bus: Bus, relay: int) -> None:
        await self._off(bus, relay)
        self._owed.pop(relay, None)

    async def _off(self, bus: Bus, relay: int) -> None:
        with contextlib.suppress(RefusedError):  # it has no such relay: nothing to switch off
            await bus.write(self._unit(), self._map.coil(relay, on=False))

    def _unlocks(self) -> list[int]:
        return list(dict.fromkeys(self._map.release.values()))


def _check(may: Callable[[], bool]) -> None:
    if not may():
        raise RefusedError(0)  # by us: no exception of Modbus has this number
