"""A Mach Power tripod at work: it opens one way for one person, drops its arm for free passage, and tells no passage.

No message of a passage is known, so this driver never reports `Passed` and every release lapses in the lane. Nothing
cancels a release but a ban on transit, which would also close a gate in an emergency: it is never sent.
"""

import asyncio
from collections.abc import Mapping

from drivers.contract import Answer, Direction, ReportSink
from drivers.registry import SettingValue
from drivers.transport import port_setting
from drivers.turnstiles.controller import Sent, SerialTurnstile, ordered
from drivers.turnstiles.machpower.codec import Frames, Order, Reply, encode

_OPENS = {"left": Order.OPEN_LEFT, "right": Order.OPEN_RIGHT}


class MachPowerTurnstile(SerialTurnstile[Reply]):
    """One tripod on a line that several may share; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._unit = int(settings["unit"])
        super().__init__(port_setting(settings), settings, Frames(self._unit))
        self.wait_s = float(settings["wait_s"])
        self._release = ordered(settings, "release_entry", ("left", "right"))
        self._asks = bool(settings["ask"])
        self._free_until_s = float("-inf")

    async def _greet(self, report: ReportSink) -> str:
        if not self._asks:
            return f"port is open; unit {self._unit} is not asked"
        await self._order(Order.RESTORE)
        return f"unit {self._unit}"

    async def _fence(self) -> None:
        if self._asks:
            await self._order(Order.RESTORE)

    async def _look(self, report: ReportSink) -> None:
        # Not while somebody may walk or the arm is down: nobody has told what the order does then.
        if self._asks and not self._held and asyncio.get_running_loop().time() > self._free_until_s:
            await self._order(Order.RESTORE)

    async def _free(self, direction: Direction, until_s: float, sent: Sent) -> Answer:
        self._free_until_s = until_s
        return await self._order(_OPENS[self._release[direction]], sent, urgent=True)

    async def _hold(self, on: bool, sent: Sent) -> Answer:
        return await self._order(Order.DROP_ARM if on else Order.RAISE_ARM, sent, urgent=True)

    async def _order(self, order: Order, sent: Sent | None = None, urgent: bool = False) -> Answer:
        await self._ask(encode(self._unit, order), lambda reply: reply.takes(order), sent, urgent)
        return Answer.ACCEPTED  # the protocol has no answer that refuses


def create(settings: Mapping[str, SettingValue]) -> MachPowerTurnstile:
    """A turnstile with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return MachPowerTurnstile(settings)
