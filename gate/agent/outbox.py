"""What the agent has to tell a controller: numbered, in order, and what counts kept until it was said to be heard.

Kept are passages, tailgating, emergencies and answers to commands. States (up, ready, occupied, emergency) are told
anew to whoever takes charge. A card or a code read while nobody hears is forgotten: its holder was told nothing.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence

from drivers import contract
from gate.devicewire import answer_number, mark, report_message
from gate.v1 import device_pb2

log = logging.getLogger(__name__)

KEPT_MAX = 1024  # at an open gate, one person a second: a cut of 17 minutes
WAITING_MAX = 256  # a scanner that reads 100 codes a second for two seconds; the stream is then ended and begun anew

_COUNTS = contract.Passed | contract.Tailgating | contract.Emergency
# The order in which states are told anew: a turnstile is ready, or not, before it is up.
_ANOTHERS = contract.Down(contract.DeviceFault.PORT_LOST, "another controller was in charge of it until now")
_STATES: tuple[tuple[type, ...], ...] = (
    (contract.Emergency,),
    (contract.Ready,),
    (contract.Occupied,),
    (contract.Up, contract.Down),
)


States = dict[tuple[str, int], contract.DeviceReport]


class Outbox:
    """Messages to one controller; `now` is the agent's own clock, in seconds since it started.

    `states`: how the devices are, shared by the outboxes of all controllers.
    """

    def __init__(self, now: Callable[[], float], states: States | None = None, in_charge: bool = True) -> None:
        self._now = now
        self.in_charge = in_charge  # a controller that is not is told what counts for it, and nothing else
        self._number = 0
        self._kept: deque[device_pb2.AttachRequest] = deque()
        self._states: States = {} if states is None else states
        self._waiting: deque[device_pb2.AttachRequest] = deque()
        self._filled = asyncio.Event()
        self._attached = False
        self._lost = 0  # kept messages that there was no room for
        self._asked = 0  # the newest report that the controller has not said to have heard
        self.overflowed = False

    @property
    def last_number(self) -> int:
        """The number of the newest message."""
        return self._number

    @property
    def quiet(self) -> bool:
        """Whether the controller has heard every report."""
        return self._asked == 0

    def report(self, device: str, said: contract.DeviceReport, release: device_pb2.CommandRef | None = None) -> None:
        """A device says something; `release`: the command that a passage followed."""
        for place, kinds in enumerate(_STATES):
            if isinstance(said, kinds):
                self._states[device, place] = said
        if isinstance(said, _COUNTS) or (self._attached and self.in_charge):
            self._tell_report(device, said, release, keep=isinstance(said, _COUNTS))

    def _tell_report(
        self, device: str, said: contract.DeviceReport, release: device_pb2.CommandRef | None = None, keep: bool = False
    ) -> None:
        message = self._new()
        message.report.CopyFrom(report_message(device, said, release))
        self._tell(message, keep)
        if self._attached:
            self._asked = message.mark.number

    def answer(self, command: device_pb2.CommandRef, answer: contract.Answer) -> None:
        """What became of a command."""
        message = self._new()
        message.answered.command.CopyFrom(command)
        message.answered.answer = answer_number(answer)
        self._tell(message, keep=True)

    def sent(self, command: device_pb2.CommandRef) -> None:
        """A command's bytes went out."""
        if self._attached:
            message = self._new()
            message.sent.command.CopyFrom(command)
            self._tell(message)

    def handover(self, lines: Sequence[bytes]) -> int:
        """Passages that were decided here; the number of the message."""
        message = self._new()
        message.handover.lines.extend(lines)
        self._tell(message)
        return message.mark.number

    def beat(self) -> None:
        """The agent lives."""
        message = self._new()
        message.beat.SetInParent()
        self._tell(message)

    def attach(self, heard_number: int) -> None:
        """Begin a stream to a controller that took everything up to `heard_number`."""
        self.heard(heard_number)
        self._waiting = deque(self._kept)
        self._filled.set()
        self._attached, self.overflowed = True, False
        self.beat()
        if self.in_charge:
            self.take_charge()

    def take_charge(self, turnstile: str = "") -> None:
        """From now on this controller is told everything; how the devices are, first.

        `turnstile` was another's until now: what it was told to hold before, it has forgotten, and is told again.
        """
        self.in_charge = True
        if turnstile and self._attached:
            self._tell_report(turnstile, _ANOTHERS)
        for (device, _), said in sorted(self._states.items(), key=lambda item: item[0][1]):
            if self._attached:
                self._tell_report(device, said)

    def detach(self) -> None:
        """Nobody hears any more."""
        self._attached = False
        self._waiting.clear()
        self._asked = 0

    def heard(self, number: int) -> None:
        """The controller took everything up to `number`."""
        if number >= self._asked:
            self._asked = 0
        while self._kept and self._kept[0].mark.number <= number:
            self._kept.popleft()
        if self._lost and not self._kept:
            log.error("%s passages and alarms of the time that the controller was away are lost", self._lost)
            self._lost = 0

    async def next(self) -> device_pb2.AttachRequest:
        """The next message to send."""
        while not self._waiting:
            self._filled.clear()
            await self._filled.wait()
        return self._waiting.popleft()

    def _new(self) -> device_pb2.AttachRequest:
        self._number += 1
        return device_pb2.AttachRequest(mark=mark(self._number, self._now()))

    def _tell(self, message: device_pb2.AttachRequest, keep: bool = False) -> None:
        if keep:
            if len(self._kept) >= KEPT_MAX:
                self._kept.popleft()
                self._lost += 1
            self._kept.append(message)
        if not self._attached:
            return
        self._waiting.append(message)
        self._filled.set()
        if len(self._waiting) > WAITING_MAX + KEPT_MAX:
            self.overflowed = True  # the link looks at it and begins anew
