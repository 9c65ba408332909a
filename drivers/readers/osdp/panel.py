"""The control panel of one line: libosdp's, and beside it who is there, who is not, and who is tried again.

libosdp tells of a dead device after 8.3 s and tries again after 300 s (devices.md 3.4). So a device that is not as it
should be is disabled and enabled by us, which makes libosdp begin anew; those that are away are tried one at a time,
because each try keeps the line for libosdp's 200 ms. All of this runs in the thread of the bus.
"""

import ctypes
import enum
import importlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from drivers.contract import Answer, DeviceFault, DeviceReport
from drivers.readers.osdp.line import Channel, Order, Traffic
from drivers.transport import PortError

SILENCE_S = 0.8  # an answering device is polled every 50 ms; eight on a line of 9600 Bd each every 0.4 s
TRY_S = 0.35  # after libosdp's reply time-out of 200 ms and before it asks again after 300 ms more
HANDSHAKE_S = 3.0  # 1.03 s was measured (devices.md 4.3), and others may have the line meanwhile
REST_S = 0.3  # between two tries: the line belongs to those who answer for at least half of the time
ANSWER_S = 0.5  # libosdp takes no answer after 200 ms
_NAMELESS = {"vendor_code": 0, "model": 0, "version": 0, "serial_number": 0, "firmware_version": 0}


@dataclass(frozen=True, slots=True)
class Online:
    """The device answers, and on a secure channel where it has a key."""

    detail: str


@dataclass(frozen=True, slots=True)
class Offline:
    """It does not, and why."""

    fault: DeviceFault
    detail: str


@dataclass(frozen=True, slots=True)
class CardSeen:
    """A card event as libosdp tells it."""

    form: int
    bits: int
    data: bytes = field(repr=False)  # personal data


@dataclass(frozen=True, slots=True)
class InputsSeen:
    """The state of all inputs, one byte each; 0 is at rest."""

    levels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LampRefused:
    """It is there and does not do what its lamp or buzzer was told."""


Heard = LampRefused | Online | Offline | CardSeen | InputsSeen | DeviceReport  # a report is passed on as it is


class _State(enum.Enum):
    LEAVING = enum.auto()  # to be disabled, so that libosdp forgets it
    RESTING = enum.auto()
    TRYING = enum.auto()
    THERE = enum.auto()


@dataclass(slots=True, eq=False)
class Member:
    """One device on the line. `hear` may be called from the thread of the bus."""

    address: int
    key: bytes | None = field(repr=False)
    hear: Callable[[Heard], None]
    wants_inputs: bool = False
    is_lamp: bool = False  # it only shows: another device may be driven at the same address
    settle: Callable[[Order, Answer], None] = lambda order, answer: None
    state: _State = _State.TRYING
    since_s: float = 0.0  # when the state began
    said: DeviceFault | None = None
    up: bool = False
    spared_until_s: float = 0.0  # it was there when its panel began anew: one lost answer is no absence yet
    inputs_asked: bool = False
    inputs_asked_s: float = 0.0
    inputs_refused: bool = False  # it does not answer the question for its inputs, so it is not asked again
    shows: list[dict[str, int]] = field(default_factory=list)  # what its lamp is still to be told: the newest only


def load_library() -> Any:
    """libosdp's C interface. Raises PortError when it is not installed."""
    try:
        library = importlib.import_module("osdp_sys")
    except ImportError as error:
        text = "OSDP needs libosdp: pip install 'station-smart-gate[osdp]'"
        raise PortError(DeviceFault.LIBRARY_MISSING, text) from error
    library.set_loglevel(library.LOG_EMERG)  # the same is said once, in words, by the driver's `Down`
    # libosdp 3.2.9 draws its challenges from rand() and never seeds it: they would be the same after every start, and a
    # recorded reader could be played back. rand() takes 32 bits.
    ctypes.CDLL(None).srand(secrets.randbits(32))
    return library


def say_offline(member: Member, fault: DeviceFault, detail: str) -> None:
    """Tell a device's listener once per change."""
    if member.up or member.said is not fault:
        member.hear(Offline(fault, detail))
    member.up, member.said = False, fault


class Panel:
    """All devices of one line. It is made anew when one joins or leaves: libosdp takes its list once."""

    def __init__(self, library: Any, channel: Channel, members: list[Member], now_s: float) -> None:
        self._library = library
        self._channel = channel
        self._members = members
        self._events: list[tuple[int, dict[str, Any]]] = []
        self._done: list[tuple[int, int, int]] = []
        infos = [self._info(member) for member in members]
        self._control = library.ControlPanel(infos)
        self._control.set_event_callback(self._event)
        self._control.set_command_completion_callback(self._completed)
        channel.swallowed.clear()
        for order in channel.orders.values():
            order.submitted = False  # the one before had it; what has gone out is not given again
        for member in members:
            channel.traffic[member.address] = Traffic()
            member.state, member.since_s, member.inputs_asked = _State.TRYING, now_s, False
            member.spared_until_s = now_s + SILENCE_S if member.up else now_s

    def _info(self, member: Member) -> dict[str, Any]:
        lib = self._library
        # Cards that nobody asked about are what a reader is for; a device with a key never speaks without it.
        flags = lib.FLAG_ENFORCE_SECURE if member.key else 0
        info = {"name": f"unit {member.address}", "address": member.address, "flags": flags, "channel": self._channel}
        return info | _NAMELESS | ({"scbk": member.key} if member.key else {})

    # Called by libosdp, from inside `refresh`: what they raise would be lost or end the thread, so they only note.
    def _event(self, index: int, event: dict[str, Any]) -> int:
        self._events.append((index, dict(event)))
        event.clear()  # libosdp's module never frees it, and a card's number must not stay in memory for ever
        return 0

    def _completed(self, index: int, command: dict[str, Any], status: int) -> None:
        self._done.append((index, int(command["command"]), status))

    @property
    def spoilt(self) -> bool:
        """libosdp repeats a command that is not let out any more, which would take it 8 s: begin anew."""
        return bool(self._channel.swallowed)

    def lost(self, now_s: float) -> None:
        """The port is gone, or was changed for another."""
        for member in self._members:
            self._enter(member, _State.LEAVING, now_s)

    def step(self, now_s: float) -> None:
        """Read, write and judge once; every few milliseconds."""
        self._control.refresh()
        events, self._events = self._events, []
        done, self._done = self._done, []
        online, secure = self._control.status(), self._control.sc_status()
        for index, member in enumerate(self._members):
            mask = (secure if member.key else online) & online
            self._judge(index, member, bool(mask >> index & 1), now_s)
        # After the judgement: that a device is there is heard before what it says.
        for index, event in events:
            self._tell(self._members[index], event)
        for index, command, status in done:
            self._complete(self._members[index], command, status)
        self._try_next(now_s)

    def _tell(self, member: Member, event: dict[str, Any]) -> None:
        lib = self._library
        if event["event"] == lib.EVENT_CARDREAD:
            data = bytes(event["data"])
            member.hear(CardSeen(int(event["format"]), int(event.get("length", 8 * len(data))), data))
        elif event["event"] == lib.EVENT_STATUS and event["type"] == lib.STATUS_REPORT_INPUT:
            member.inputs_asked = True  # told without being asked
            member.hear(InputsSeen(tuple(event["report"])))

    def _complete(self, member: Member, command: int, status: int) -> None:
        lib = self._library
        known = self._channel.traffic[member.address]
        if command == lib.CMD_STATUS and status != lib.COMPLETION_OK:
            member.inputs_refused = known.nak_s >= member.inputs_asked_s
            member.inputs_asked = member.inputs_refused  # an answer that was lost is no refusal
        if command == lib.CMD_LED and status != lib.COMPLETION_OK and known.nak_s >= known.sent_s:
            member.hear(LampRefused())
        order = self._channel.orders.get(member.address)
        if command != lib.CMD_OUTPUT or order is None or order.sent_s is None:
            return
        refused = known.nak_s >= order.sent_s
        if status == lib.COMPLETION_OK or refused:
            del self._channel.orders[member.address]
            member.settle(order, Answer.REFUSED if refused else Answer.ACCEPTED)

    def _judge(self, index: int, member: Member, good: bool, now_s: float) -> None:
        known = self._channel.traffic[member.address]
        match member.state:
            case _State.THERE:
                if not good or now_s - known.heard_s > SILENCE_S:
                    self._enter(member, _State.LEAVING, now_s)
                else:
                    self._submit(index, member)
                    self._ask_inputs(index, member, now_s)
                    self._show(index, member)
                    known.vitals.tell(member.hear, now_s)
            # libosdp calls a device online that then refuses every poll, because it wants a secure channel.
            case _State.TRYING if good and known.polled_s >= member.since_s:
                self._arrived(index, member, now_s)
            case _State.TRYING:
                quiet = known.sent_s >= member.since_s and now_s - max(known.sent_s, known.heard_s) > TRY_S
                if (quiet and now_s >= member.spared_until_s) or now_s - member.since_s > HANDSHAKE_S:
                    self._away(member, known, now_s)
            case _State.LEAVING if self._control.is_pd_enabled(index):
                # libosdp obeys when the device answers, or its eight tries of a second each are over.
                self._control.flush_commands(index)
                self._control.disable_pd(index)
                if member.up and now_s - member.since_s > TRY_S:
                    say_offline(member, *self._why(member, known))
            case _State.LEAVING:
                self._enter(member, _State.RESTING, now_s)

    def _enter(self, member: Member, state: _State, now_s: float) -> None:
        member.state, member.since_s = state, now_s

    def _arrived(self, index: int, member: Member, now_s: float) -> None:
        self._enter(member, _State.THERE, now_s)
        member.inputs_asked = False
        if not member.up:
            member.up, member.said = True, None
            member.hear(Online(self._detail(index, member)))

    def _ask_inputs(self, index: int, member: Member, now_s: float) -> None:
        if not member.wants_inputs or member.inputs_asked or member.inputs_refused:
            return
        member.inputs_asked, member.inputs_asked_s = True, now_s
        lib = self._library
        question = {"command": lib.CMD_STATUS, "type": lib.STATUS_REPORT_INPUT, "report": b""}
        self._control.submit_command(index, question)

    def _show(self, index: int, member: Member) -> None:
        """Hand over what the lamp is to show; what libosdp does not take now it is given with the next tick."""
        while member.shows and self._control.submit_command(index, member.shows[0]):
            del member.shows[0]

    def _detail(self, index: int, member: Member) -> str:
        known = self._control.get_pd_id(index)
        code, serial = known["vendor_code"] & 0xFFFFFF, known["serial_number"] & 0xFFFFFFFF
        channel = "secure channel" if member.key else "not encrypted"
        return f"unit {member.address}, vendor {code:06X}, model {known['model']}, serial {serial:08X}, {channel}"

    def _away(self, member: Member, known: Traffic, now_s: float) -> None:
        say_offline(member, *self._why(member, known))
        self._enter(member, _State.LEAVING, now_s)

    def _why(self, member: Member, known: Traffic) -> tuple[DeviceFault, str]:
        unit, since_s = f"unit {member.address}", member.since_s
        if known.heard_s < since_s:
            if self._channel.noise_s >= since_s:
                return DeviceFault.PROTOCOL_ERROR, f"{unit}: what is on the line is not OSDP: check speed and device"
            return DeviceFault.NO_ANSWER, f"{unit} does not answer: check power, wiring, speed and unit address"
        if member.key and known.challenged_s >= since_s:
            return DeviceFault.NOT_AUTHORISED, f"{unit} and its scbk_file do not agree: give both the same key"
        if known.nak_s >= since_s:
            text = f"{unit} refuses to work: does it want a key (scbk_file), or is it without a secure channel?"
            return DeviceFault.NOT_AUTHORISED, text
        return DeviceFault.PROTOCOL_ERROR, f"{unit} answers, but not as OSDP 2 wants it: check model and firmware"

    def _try_next(self, now_s: float) -> None:
        if any(member.state is _State.TRYING for member in self._members):
            return
        resting = [member for member in self._members if member.state is _State.RESTING]
        # One that was there a moment ago is tried at once: a restarted device is back before anybody noticed.
        due = [member for member in resting if member.up or now_s - member.since_s >= REST_S]
        if due:
            member = min(due, key=lambda one: one.since_s)
            self._enter(member, _State.TRYING, now_s)
            self._control.enable_pd(self._members.index(member))

    def take(self, member: Member, order: Order) -> bool:
        """Accept an output command; False when the device is not there or has one under way.

        One that is just being tried anew is there: its order waits for it, and no longer than the order lasts.
        """
        if member not in self._members or not member.up or member.address in self._channel.orders:
            return False
        self._channel.orders[member.address] = order
        return True

    def _submit(self, index: int, member: Member) -> None:
        order = self._channel.orders.get(member.address)
        if order is None or order.submitted or order.sent_s is not None:
            return
        command = {"command": self._library.CMD_OUTPUT, **order.command}
        order.submitted = bool(self._control.submit_command(index, command))

    def overdue(self, now_s: float) -> list[tuple[Member, Order]]:
        """Output commands whose time is over; the line forgets them, and what libosdp still holds is not let out."""
        late = []
        for member in self._members:
            order = self._channel.orders.get(member.address)
            # Sent or not: after its lifetime the kernel may not deliver it any more, so its port must close then.
            if order and now_s >= min(order.ends_s, float("inf") if order.sent_s is None else order.sent_s + ANSWER_S):
                self._channel.end_order(member.address)
                self._enter(member, _State.LEAVING, now_s)
                late.append((member, order))
        return late
