"""What libosdp calls its channel, with a watch on it: who answered, and no output command twice or late.

libosdp keeps a reference to its channel for ever, so a channel holds nothing else than the wire that is open now.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.contract import DeviceFault
from drivers.readers.osdp.codec import CHALLENGE, NAK, OUT, POLL, Frames, read_frame
from drivers.readers.osdp.wire import Wire
from drivers.transport import PortError
from drivers.vitals import VitalSigns

READ_BYTES = 4096  # several replies; at 230400 Bd a tick of 3 ms brings 70 bytes
_NEVER = float("-inf")


class Order:
    """One output command. It goes out at most once and never after `ends_s` (monotonic), whatever libosdp repeats."""

    def __init__(self, command: dict[str, int], ends_s: float, sent: Callable[[], None]) -> None:
        self.command = command
        self.ends_s = ends_s
        self.submitted = False  # libosdp has it
        self.sent_s: float | None = None
        self._sent = sent
        self._dead = False
        self._lock = threading.Lock()  # the loop may give an order up while the thread is about to send it

    def start(self, now_s: float) -> bool:
        """Whether it may go out now; true once."""
        with self._lock:
            if self._dead or self.sent_s is not None or now_s >= self.ends_s:
                return False
            self.sent_s = now_s
        self._sent()
        return True

    def kill(self) -> bool:
        """Forbid it; False when it has gone out already."""
        with self._lock:
            self._dead = self.sent_s is None
            return self._dead


@dataclass(slots=True)
class Traffic:
    """What went to one address and came from it; all in monotonic seconds."""

    sent_s: float = _NEVER
    heard_s: float = _NEVER
    asked: int = 0  # code of the last command
    nak_s: float = _NEVER
    polled_s: float = _NEVER  # a poll was answered, and not refused
    vitals: VitalSigns = field(default_factory=VitalSigns)
    challenged_s: float = _NEVER  # the beginning of a secure channel was sent


@dataclass(slots=True)
class Channel:
    """The line as libosdp sees it: it asks `read` and `write` and never hears an exception of ours."""

    wire: Wire | None = None
    lost: PortError | None = None  # why the wire is of no more use
    noise_s: float = _NEVER  # when bytes came that are no frame
    swallowed: set[int] = field(default_factory=set)  # addresses whose output command libosdp has and may not send
    traffic: dict[int, Traffic] = field(default_factory=dict)
    orders: dict[int, Order] = field(default_factory=dict)  # the one output command of an address
    _frames: Frames = field(default_factory=Frames)
    _replies: bytearray = field(default_factory=bytearray)  # whole and right, and not yet read

    def read(self, size: int) -> bytes:
        """Replies that have arrived, whole and right; libosdp's C code sees no noise, and logs none."""
        self._listen()
        data = bytes(self._replies[:size])
        del self._replies[:size]
        return data

    def _listen(self) -> None:
        if self.wire is None or self.lost is not None:
            return
        try:
            data = self.wire.read(READ_BYTES)
        except PortError as error:
            self.lost = error
            return
        if data:
            self._hear(data, time.monotonic())

    def write(self, data: bytes) -> int:
        """Send one frame. What may not go out is taken and thrown away, as a line would that loses it."""
        now_s = time.monotonic()
        frame = read_frame(bytes(data))
        if self.wire is None or self.lost is not None or frame is None:
            return len(data)
        self._frames.drop()  # half duplex: nothing more comes of what was asked before
        self._replies.clear()
        if frame.code == OUT and not self._may_go(self.wire, frame.address, now_s):
            self.swallowed.add(frame.address)
            return len(data)
        known = self.traffic.setdefault(frame.address, Traffic())
        if known.heard_s < known.sent_s:
            known.vitals.failed(DeviceFault.NO_ANSWER)
        known.sent_s, known.asked = now_s, frame.code
        if frame.code == CHALLENGE:
            known.challenged_s = now_s
        try:
            self.wire.write(bytes(data))
        except PortError as error:
            self.lost = error
        return len(data)

    def end_order(self, address: int) -> None:
        """Its order is over; what libosdp has of it and has not written would go out in the name of the next one."""
        order = self.orders.pop(address)
        if order.submitted and order.sent_s is None:
            self.swallowed.add(address)

    def flush(self) -> None:
        """Nothing is kept back that could be flushed."""

    def _may_go(self, wire: Wire, address: int, now_s: float) -> bool:
        try:
            wire.refuse_to_wait()
        except PortError as error:
            self.lost = error
            return False
        order = self.orders.get(address)
        return order is not None and address not in self.swallowed and order.start(now_s)

    def _hear(self, data: bytes, now_s: float) -> None:
        frames = self._frames.feed(data)
        if not frames:
            self.noise_s = now_s
        for frame in frames:
            if not frame.reply:
                continue  # our own echo from a two-wire adapter
            self._replies += frame.raw
            known = self.traffic.setdefault(frame.address, Traffic())
            known.heard_s = now_s
            known.vitals.good(now_s - known.sent_s)
            if frame.code == NAK:
                known.nak_s = now_s
            elif known.asked == POLL:
                known.polled_s = now_s
