"""A lane's voices and lamps: told what the sign shows and says. None of them can hold the lane up or fail it."""

import logging
from collections.abc import Sequence
from typing import cast

from drivers.contract import Device, Prompt, Sign
from gate.passage.commands import Show
from gate.policy.verdict import Reason, VerdictKind

log = logging.getLogger(__name__)

_SIGNS = {
    None: Sign.READY,
    VerdictKind.GRANT: Sign.GO,
    VerdictKind.REFER: Sign.STAFF,
    VerdictKind.DENY: Sign.NO,
}


class Prompts:
    """The prompts of one lane."""

    def __init__(self, lane: str, devices: Sequence[Device]) -> None:
        self._lane = lane
        self._devices = [cast(Prompt, device) for device in devices]
        self._failing: set[int] = set()  # those whose failure is in the log already

    def say(self, reason: Reason) -> None:
        """Speak the words of this reason."""
        for number, device in enumerate(self._devices):
            try:
                device.say(reason.value)
            except Exception as error:
                self._failed(number, error)

    def show(self, shown: Show) -> None:
        """Show what the sign shows."""
        for number, device in enumerate(self._devices):
            try:
                device.show(_SIGNS[shown.verdict])
            except Exception as error:
                self._failed(number, error)

    def _failed(self, number: int, error: Exception) -> None:
        """A driver broke its promise to raise nothing: said once, the passage goes on."""
        if number not in self._failing:
            self._failing.add(number)
            log.error("lane %s: prompt %d failed: %s", self._lane, number + 1, type(error).__name__)
            log.debug("traceback of the failed prompt", exc_info=error)
