"""A lane's voices and lamps: told what the sign shows and says. None of them can hold the lane up or fail it."""

import logging
from collections.abc import Iterator, Sequence
from typing import cast

from drivers.contract import Device, Prompt, Sign
from gate.passage.commands import Direction, Say, Show
from gate.policy.verdict import VerdictKind

log = logging.getLogger(__name__)

_SIGNS = {
    None: Sign.READY,
    VerdictKind.GRANT: Sign.GO,
    VerdictKind.REFER: Sign.STAFF,
    VerdictKind.DENY: Sign.NO,
}


class Prompts:
    """The prompts of one lane, each for one side of it or for both (None)."""

    def __init__(self, lane: str, devices: Sequence[tuple[Device, Direction | None]]) -> None:
        self._lane = lane
        self._devices = [(cast(Prompt, device), side) for device, side in devices]
        self._failing: set[int] = set()  # those whose failure is in the log already
        self._waiting: frozenset[Direction] = frozenset()  # sides that were told to wait, and not yet to come

    def say(self, said: Say) -> None:
        """Speak the words of this reason, to whom it concerns."""
        to = said.side or said.to
        for number, (device, side) in enumerate(self._devices):
            if None not in (to, side) and to is not side:
                continue
            try:
                device.say(said.reason.value)
            except Exception as error:
                self._failed(number, error)

    def show(self, shown: Show) -> None:
        """Show what the sign shows, to whom it concerns: nobody's lamp goes green for who stands on the other side."""
        if shown.side:
            self._waiting = self._waiting - {shown.side} if shown.verdict is None else self._waiting | {shown.side}
        for number, device in self._shown_by(shown):
            try:
                device.show(_SIGNS[shown.verdict])
            except Exception as error:
                self._failed(number, error)

    def _shown_by(self, shown: Show) -> Iterator[tuple[int, Prompt]]:
        """Lamps of both sides are the served person's; those of a side that waits stay so until it is told to come."""
        for number, (device, side) in enumerate(self._devices):
            waits = side in self._waiting and shown.verdict is None
            if side is None:
                concerned = shown.side is None
            elif shown.side:
                concerned = side is shown.side
            else:
                concerned = shown.to in (None, side) and not waits
            if concerned:
                yield number, device

    def _failed(self, number: int, error: Exception) -> None:
        """A driver broke its promise to raise nothing: said once, the passage goes on."""
        if number not in self._failing:
            self._failing.add(number)
            log.error("lane %s: prompt %d failed: %s", self._lane, number + 1, type(error).__name__)
            log.debug("traceback of the failed prompt", exc_info=error)
