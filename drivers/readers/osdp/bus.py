"""One OSDP port and the thread that drives it, shared by the devices on it. Get it by `join_bus`.

libosdp wants to be called every few milliseconds and holds the line's timing; a thread of its own keeps that apart
from the event loop. Loop and thread share a queue of requests, and the thread answers by `call_soon_threadsafe`.
"""

import asyncio
import contextlib
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drivers.contract import Answer, DeviceFault
from drivers.readers.osdp.line import Channel, Order
from drivers.readers.osdp.panel import Heard, InputsSeen, Member, Offline, Online, Panel, load_library, say_offline
from drivers.readers.osdp.wire import open_wire
from drivers.transport import OPEN_TIMEOUT_S, REOPEN_S, PortError

TICK_S = 0.003  # devices.md 4.3: an own loop of 2-5 ms; 20 ms made a card 44 ms slower
STOP_S = OPEN_TIMEOUT_S + 0.5  # the thread may be opening its port
END_S = 0.1  # for its last instructions: it has said that it ends
UNANSWERED_S = 0.5  # the thread's answer to an order that went out in its last moment
SHARED_TEXT = "{port} is open at {baud} Bd: give all its units the same speed"


class Bus:
    """One port. Its methods belong to the event loop, except those below "the thread"."""

    def __init__(self, port: str, baud: int, library: Any) -> None:
        self.baud = baud
        self.on_it: list[Member] = []
        self._port = port
        self._library = library
        self._loop = asyncio.get_running_loop()
        self._requests: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stopping = False
        self._ended = asyncio.Event()
        self._joined: list[Member] = []  # the devices, as the thread knows them
        self._members: list[Member] = []  # one for each address that devices have: a reader and its lamp share one
        self._last: dict[int, dict[type, Heard]] = {}  # by address, for whoever joins later
        self._channel = Channel()
        self._panel: Panel | None = None
        self._thread = threading.Thread(target=self._work, name=f"osdp {port}", daemon=True)
        self._thread.start()

    def join(self, member: Member) -> None:
        """From now on `member` hears what its device does."""
        hear = member.hear
        self.on_it.append(member)
        member.hear = lambda heard: self._in_loop(hear, heard)
        self._ask(lambda: self._change(member, there=True))

    async def leave(self, member: Member) -> None:
        """It hears no more; the last one ends the thread and closes the port, which is over when this returns."""
        self.on_it.remove(member)
        self._ask(lambda: self._change(member, there=False))
        if self.on_it:
            return
        self._stopping = True
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._ended.wait()
                self._thread.join(END_S)

    async def send(
        self, member: Member, command: dict[str, int], lifetime_s: float, sent: Callable[[], None] | None
    ) -> Answer:
        """Carry an output command out. After `lifetime_s`, or once this has answered, it does not go out any more."""
        answered: asyncio.Future[Answer] = self._loop.create_future()
        tell = (lambda: self._in_loop(lambda _: sent(), None)) if sent else (lambda: None)
        order = Order(command, time.monotonic() + lifetime_s, tell)
        member.settle = lambda one, answer: self._in_loop(_set, (answered, answer)) if one is order else None
        self._ask(lambda: self._order(member, order))
        try:
            async with asyncio.timeout(lifetime_s):
                return await asyncio.shield(answered)
        except TimeoutError:
            if order.kill():
                return Answer.REFUSED
            # It went out, and the thread closes the port before it says that nobody answered.
            await asyncio.wait({answered}, timeout=UNANSWERED_S + OPEN_TIMEOUT_S)
            return answered.result() if answered.done() else Answer.UNKNOWN
        finally:
            order.kill()

    def show(
        self, member: Member, looks: Sequence[Mapping[str, int]], beep: Mapping[str, int] | None, again: bool
    ) -> None:
        """Have its lamp and buzzer do this, if it is there, instead of what they are still to be told.

        `again`: it says the same as before, so what waits still stands.
        """
        led, buzzer = self._library.CMD_LED, self._library.CMD_BUZZER
        told = [{"command": led, **look} for look in looks]
        told += [{"command": buzzer, **beep}] if beep else []
        self._ask(lambda: self._show(member, told, again))

    def _ask(self, request: Callable[[], None]) -> None:
        self._requests.put(request)
        self._wake.set()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _in_loop(self, call: Callable[[Any], None], value: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is there to hear
            self._loop.call_soon_threadsafe(call, value)

    def _work(self) -> None:
        attempt = 0
        while not self._stopping:
            try:
                self._channel.wire = open_wire(self._port, self.baud)
                attempt = 0
                self._serve()
            except PortError as error:
                self._down(error.fault, str(error))
            except Exception as error:  # a fault of ours or of the library must not end all lanes of this port
                self._down(DeviceFault.WORKER_LOST, f"{self._port}: {type(error).__name__}, beginning anew")
                self._panel = None
            finally:
                self._close()
            if not self._stopping:
                self._wait(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
                attempt += 1
        self._panel = None
        self._in_loop(lambda _: self._ended.set(), None)

    def _close(self) -> None:
        wire, self._channel.wire, self._channel.lost = self._channel.wire, None, None
        if wire:
            wire.close()
        orders = dict(self._channel.orders)
        for address in orders:
            self._channel.end_order(address)
        for member in self._members:
            if member.address in orders:
                _settle(member, orders[member.address])
        if self._panel:
            self._panel.lost(time.monotonic())

    def _wait(self, seconds: float) -> None:
        """Rest between two attempts, and go on taking requests: a release is refused at once."""
        ends_s = time.monotonic() + seconds
        while not self._stopping and (left_s := ends_s - time.monotonic()) > 0:
            self._wake.wait(left_s)
            self._take_requests()

    def _take_requests(self) -> None:
        self._wake.clear()
        with contextlib.suppress(queue.Empty):
            while True:
                self._requests.get_nowait()()

    def _change(self, member: Member, there: bool) -> None:
        self._joined = [one for one in self._joined if one is not member] + ([member] if there else [])
        before = {one.address: one for one in self._members}
        self._members = [before.get(one.address) or self._unit(one) for one in _first_of_each_address(self._joined)]
        if [one.address for one in self._members] != list(before):
            self._panel = None
        unit = self._unit_of(member)
        if unit is None:
            self._last.pop(member.address, None)
        else:
            unit.wants_inputs = any(one.wants_inputs for one in self._joined if one.address == member.address)
        if there:
            for heard in tuple(self._last.get(member.address, {}).values()):
                member.hear(heard)

    def _unit(self, first: Member) -> Member:
        """What is on the line at an address: all devices that have it hear what it says."""
        return Member(first.address, first.key, lambda heard: self._said(first.address, heard))

    def _unit_of(self, member: Member) -> Member | None:
        return next((one for one in self._members if one.address == member.address), None)

    def _said(self, address: int, heard: Heard) -> None:
        if isinstance(heard, Offline):
            self._last[address] = {Offline: heard}
        elif isinstance(heard, Online | InputsSeen):
            self._last.setdefault(address, {}).pop(Offline, None)
            self._last[address][type(heard)] = heard
        for one in self._joined:
            if one.address == address:
                one.hear(heard)

    def _show(self, member: Member, told: list[dict[str, int]], again: bool) -> None:
        unit = self._unit_of(member)
        if unit and unit.up and not (again and unit.shows):
            unit.shows[:] = told

    def _order(self, device: Member, order: Order) -> None:
        member = self._unit_of(device)
        if member:
            member.settle = device.settle
        if self._channel.wire is None or self._panel is None or not member or not self._panel.take(member, order):
            order.kill()
            device.settle(order, Answer.REFUSED)

    def _down(self, fault: DeviceFault, detail: str) -> None:
        for member in self._members:
            say_offline(member, fault, detail)

    def _serve(self) -> None:
        while not self._stopping:
            self._take_requests()
            now_s = time.monotonic()
            if (self._panel is None or self._panel.spoilt) and self._members:
                self._panel = Panel(self._library, self._channel, self._members, now_s)
            if self._panel:
                self._panel.step(now_s)
                self._end_orders(self._panel, now_s)
            if self._channel.lost:
                raise self._channel.lost
            self._wake.wait(TICK_S)

    def _end_orders(self, panel: Panel, now_s: float) -> None:
        late = panel.overdue(now_s)
        if any(order.sent_s is not None for _, order in late) and self._channel.wire:
            # What the kernel or a converter still holds must not be delivered later (devices.md 3.4).
            self._channel.wire.close()
            self._channel.wire = None
            self._panel = None  # libosdp would repeat the command, each time in vain, for 8 s
        for member, order in late:
            _settle(member, order)
        if late and self._channel.wire is None:
            self._channel.wire = open_wire(self._port, self.baud)


def _first_of_each_address(devices: Sequence[Member]) -> list[Member]:
    return list({one.address: one for one in reversed(devices)}.values())[::-1]


def _settle(member: Member, order: Order) -> None:
    """The end of an order that nobody answered; the port that carried it is closed by now."""
    member.settle(order, Answer.REFUSED if order.kill() else Answer.UNKNOWN)


def _set(answer: tuple[asyncio.Future[Answer], Answer]) -> None:
    future, value = answer
    if not future.done():
        future.set_result(value)


_buses: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Bus]]" = weakref.WeakKeyDictionary()


def join_bus(port: str, baud: int, member: Member) -> Bus:
    """The bus of `port` in the running loop, with `member` on it; leave it by `leave_bus`.

    Raises PortError when libosdp is missing, another device has set the port up otherwise, or the address is taken.
    """
    buses = _buses.setdefault(asyncio.get_running_loop(), {})
    bus = buses.get(port)
    if bus and (trouble := _trouble(bus, port, baud, member)):
        raise PortError(DeviceFault.PORT_BUSY, trouble)
    bus = bus or buses.setdefault(port, Bus(port, baud, load_library()))
    bus.join(member)
    return bus


def _trouble(bus: Bus, port: str, baud: int, member: Member) -> str:
    """Why `member` cannot be on this bus; "" when it can."""
    if bus.baud != baud:
        return SHARED_TEXT.format(port=port, baud=bus.baud)
    beside = [one for one in bus.on_it if one.address == member.address]
    if any(one.is_lamp is member.is_lamp for one in beside):
        return f"unit {member.address} on {port} is driven already: give each device its own unit"
    if any(one.key != member.key for one in beside):
        return f"unit {member.address} on {port} has another scbk_file in another device's settings: give both the same"
    return ""


async def leave_bus(port: str, bus: Bus, member: Member) -> None:
    """No more of this device; the last one closes the port."""
    if bus.on_it == [member]:
        _buses[asyncio.get_running_loop()].pop(port, None)
    await bus.leave(member)
