"""A simulated turnstile controller on a relay board's contacts, by the appendices of PERCo's manuals (devices.md 3.1).

Relay 0 is Unlock A (entry), 1 Unlock B (exit), 2 Stop. By pulses: an unlock's front frees one passage for `wait_s`; a
front while unlock and Stop are both on is free passage; Stop alone locks. By potential: open while the unlock is on
and Stop is not. It keeps no memory of several grants. PASS is told by the board's inputs 0 and 1.
"""

import asyncio

from drivers.contract import Direction
from drivers.simulated.relay_board import FIRE, PASSED, PASSED_EXIT, PASSED_PULSE_S, REST_S, SimulatedRelayBoard

UNLOCKS = {Direction.ENTRY: 0, Direction.EXIT: 1}
STOP = 2
_INPUTS = {Direction.ENTRY: PASSED, Direction.EXIT: PASSED_EXIT}


class SimulatedContactGate:
    """The controller; `walk` is what people do."""

    def __init__(
        self, board: SimulatedRelayBoard, wait_s: float = 5.0, potential: bool = False, normally_open: bool = False
    ) -> None:
        self.board = board
        self.passed: list[Direction] = []
        self._wait_s = wait_s
        self._potential = potential
        self._normally_open = normally_open  # its flaps close only while Stop is on
        self._free: set[Direction] = set()
        self._single: dict[Direction, float] = {}  # until when
        self._on = [False] * 3
        board.on_change = self._changed

    def is_open(self, direction: Direction) -> bool:
        """Whether somebody could walk now; the fire loop is wired to the controller too."""
        if not self.board.inputs[FIRE]:
            return True
        unlock, stop = self.board.coils[UNLOCKS[direction]], self.board.coils[STOP]
        if self._normally_open:
            return not stop
        if self._potential:
            return unlock and not stop
        now_s = asyncio.get_running_loop().time()
        return direction in self._free or self._single.get(direction, now_s) > now_s

    async def walk(self, direction: Direction, dwell_s: float = PASSED_PULSE_S) -> bool:
        """One person goes through, if they can, and is in the arms for `dwell_s`."""
        if not self.is_open(direction):
            return False
        self.passed.append(direction)
        self._single.pop(direction, None)
        self.board.inputs[_INPUTS[direction]] = True
        await asyncio.sleep(dwell_s)
        self.board.inputs[_INPUTS[direction]] = False
        await asyncio.sleep(REST_S)
        return True

    def _changed(self, relay: int) -> None:
        before, self._on = self._on, self.board.coils[:3]
        if relay >= len(before) or before[relay] or not self._on[relay]:
            return  # no front
        unlocked = {direction for direction, number in UNLOCKS.items() if self._on[number]}
        if self._on[STOP] and unlocked:
            self._free |= unlocked
        elif relay == STOP:
            self._free.clear()
            self._single.clear()
        else:
            now_s = asyncio.get_running_loop().time()
            self._single |= dict.fromkeys(unlocked - self._free, now_s + self._wait_s)
