"""The lane's voices and lamps: told by the controller in charge; without one, they send people to staff."""

import logging
from collections.abc import Mapping

from drivers.contract import Prompt, Sign
from gate.agent.chief import Chief
from gate.v1 import device_pb2

log = logging.getLogger(__name__)


class Prompts:
    """The prompts of the lane by name."""

    def __init__(self, devices: Mapping[str, Prompt]) -> None:
        self._devices = devices
        self._signs: dict[tuple[int, str], Sign] = {}  # what each chief wants each to show: at most two a prompt

    def take(self, chief: Chief, order: device_pb2.PromptOrder, in_charge: bool) -> None:
        """A chief wants something told; one that is not in charge may want its sign shown later."""
        device = self._devices.get(order.device)
        if device is None:
            return
        if order.WhichOneof("order") == "say":
            if in_charge:
                device.say(order.say)
            return
        try:
            sign = self._signs[id(chief), order.device] = Sign(order.show)
        except ValueError:
            log.error("%s: a sign that is not known here: run the same version on both sides", order.device)
            return
        if in_charge:
            device.show(sign)

    def follow(self, chief: Chief) -> None:
        """This one is in charge: its signs count; until it has told any, nobody is sent through."""
        for name, device in self._devices.items():
            device.show(self._signs.get((id(chief), name), Sign.STAFF))

    def gone(self, chief: Chief, in_charge: bool, alarm: bool) -> None:
        """Its stream has ended: what it wants shown is told anew by the next. In an alarm the way is free."""
        for name, device in self._devices.items():
            self._signs.pop((id(chief), name), None)
            if in_charge:
                device.show(Sign.GO if alarm else Sign.STAFF)
