"""A simulated OSDP device: libosdp's own peripheral side on a port, with the faults that others met as knobs.

Inputs and outputs are numbered from 0. An output that is switched for a time (control code 5) closes for the timer's
length. libosdp's Python side cannot answer the question for the inputs (it refuses it), so the inputs are told when
the panel comes and whenever they change, as the standard allows.
"""

import asyncio
import contextlib
import importlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.simulated.ports import Session
from drivers.simulated.samv import plug_at

TICK_S = 0.002
INPUTS = OUTPUTS = 8
READERS, LEDS = 2, 3
_DARK = (0, 0, 0)
_SET_TEMPORARY = 2  # of a lamp; 1 ends the temporary state
_POLL, _ID = b"\x60", b"\x61"  # a panel that begins anew asks who it is, and polls when it knows
_SECURE = 0x08  # in a frame's control byte: a security block, its length first, stands before the code
_TEMPORARY_ON, _PERMANENT_OFF, _PERMANENT_ON = 5, (1, 3), (2, 4)


@dataclass(slots=True)
class OsdpKnobs:
    """How the device misbehaves; the defaults are a good device."""

    silent: bool = False  # no power
    garble: bool = False  # every frame with a wrong checksum
    chunk: int = 0  # bytes per write; 0: all at once
    babble: bytes = b""  # said instead of every answer
    lose_answer_to: int = -1  # carry a command of this code out and say nothing, e.g. 0x68


class _Channel:
    """libosdp's channel over a stream of asyncio."""

    def __init__(self, device: "SimulatedOsdp", writer: asyncio.StreamWriter) -> None:
        self.inbox = bytearray()
        self._device = device
        self._writer = writer

    def read(self, size: int) -> bytes:
        data = bytes(self.inbox[:size])
        del self.inbox[:size]
        return b"" if self._device.knobs.silent else data

    def write(self, data: bytes) -> int:
        knobs = self._device.knobs
        if knobs.silent or self._device.lose:
            self._device.lose = False
            return len(data)
        frame = knobs.babble or (data[:-1] + bytes([data[-1] ^ 0xFF]) if knobs.garble else bytes(data))
        step = knobs.chunk or len(frame)
        for at in range(0, len(frame), step):
            self._writer.write(frame[at : at + step])
        return len(data)

    def flush(self) -> None:
        self.inbox.clear()


def _library() -> Any:
    """libosdp's C interface. Raises ValueError when it is not installed."""
    try:
        return importlib.import_module("osdp_sys")
    except ImportError as error:
        raise ValueError("a simulated OSDP device needs libosdp: pip install 'station-smart-gate[osdp]'") from error


class SimulatedOsdp:
    """One device. `present`, `set_input` and `restart` are what passengers and electricians do."""

    def __init__(self, address: int = 0, key: bytes | None = None, knobs: OsdpKnobs | None = None) -> None:
        self.address = address
        self.key = key
        self.knobs = knobs or OsdpKnobs()
        self.inputs = [0] * INPUTS
        self.outputs: list[tuple[int, int, int]] = []  # output, control code, timer in 100 ms units
        self.held: set[int] = set()  # outputs that are on until further notice
        self.leds: list[dict[str, int]] = []  # what the lamp was told, as libosdp names it
        self.beeps: list[dict[str, int]] = []
        self._resting = _DARK  # the lamp's permanent state: colour, on, off
        self._temporary: tuple[tuple[int, int, int], float] = (
            _DARK,
            0.0,
        )  # and until when it holds, by the loop's clock
        self.lose = False
        self._is_new = False  # a panel that has asked who we are and has not polled yet
        self.sessions = 0  # how often the device was switched on
        self._released = asyncio.Event()
        self._device: Any = None
        self._channel: _Channel | None = None
        self._library = _library()
        self._library.set_loglevel(self._library.LOG_EMERG)

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    @property
    def online(self) -> bool:
        """Whether a panel talks to it, on a secure channel when it has a key."""
        return self._device is not None and bool(self._device.is_sc_active() if self.key else self._device.is_online())

    @property
    def releases(self) -> int:
        """How often an output was switched for a time."""
        return sum(code == _TEMPORARY_ON for _, code, _ in self.outputs)

    def present(self, bits: int, data: bytes, form: int = 1) -> None:
        """A card whose `bits` bits stand in `data` from the highest on."""
        event = {"event": self._library.EVENT_CARDREAD, "reader_no": 0, "format": form, "direction": 0}
        self._device.submit_event(event | {"length": bits, "data": data})

    def set_input(self, number: int, active: bool) -> None:
        """A contact opens or closes."""
        self.inputs[number] = int(active)
        self._tell_inputs()

    def restart(self) -> None:
        """Power off and on: it has forgotten everything."""
        if self._channel:
            self._switch_on(self._channel)

    async def wait_release(self, timeout_s: float) -> bool:
        """Whether an output was switched for a time since the last call, within `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._released.wait()
                self._released.clear()
                return True
        return False

    def lamp(self) -> tuple[int, int, int]:
        """What the lamp shows: its colour, and how many tenths of a second it is on and off."""
        shown, until_s = self._temporary
        return shown if asyncio.get_running_loop().time() < until_s else self._resting

    def _lit(self, command: dict[str, Any]) -> None:
        self.leds.append(dict(command))
        look = command["on_color"], command["on_count"], command["off_count"]
        if not command["temporary"]:
            self._resting = look
        else:
            lasts_s = command["timer_count"] / 10 if command["control_code"] == _SET_TEMPORARY else 0.0
            self._temporary = look, asyncio.get_running_loop().time() + lasts_s

    def _tell_inputs(self) -> None:
        if self._device is not None:
            lib = self._library
            report = {"event": lib.EVENT_STATUS, "type": lib.STATUS_REPORT_INPUT, "report": bytes(self.inputs)}
            self._device.submit_event(report)

    def _switch_on(self, channel: _Channel) -> None:
        lib = self._library
        capabilities = [
            {"function_code": code, "compliance_level": level, "num_items": items}
            for code, level, items in (
                (lib.CAP_CONTACT_STATUS_MONITORING, 1, INPUTS),
                (lib.CAP_OUTPUT_CONTROL, 1, OUTPUTS),
                (lib.CAP_CARD_DATA_FORMAT, 1, 1),
                (lib.CAP_READERS, 1, READERS),
                (lib.CAP_READER_LED_CONTROL, 1, LEDS),
                (lib.CAP_READER_AUDIBLE_OUTPUT, 1, READERS),
                (lib.CAP_COMMUNICATION_SECURITY, 1 if self.key else 0, 1),
            )
        ]
        info = {"name": "simulated", "address": self.address, "channel": channel}
        info |= {"flags": lib.FLAG_ENFORCE_SECURE, "scbk": self.key} if self.key else {"flags": 0}
        info |= {"version": 1, "model": 1, "vendor_code": 0x0000CA, "serial_number": 7, "firmware_version": 0x010203}
        self._resting, self._temporary = _DARK, (_DARK, 0.0)
        self._device = lib.PeripheralDevice(info, capabilities=capabilities)
        self._device.set_command_callback(self._command)
        self.sessions += 1
        self._tell_inputs()

    def _command(self, command: dict[str, Any]) -> tuple[int, None]:
        if command["command"] == self._library.CMD_LED:
            self._lit(command)
        if command["command"] == self._library.CMD_BUZZER:
            self.beeps.append(dict(command))
        if command["command"] != self._library.CMD_OUTPUT:
            return 0, None
        number, code = command["output_no"], command["control_code"]
        self.outputs.append((number, code, command["timer_count"]))
        if code == _TEMPORARY_ON:
            self._released.set()
        if code in _PERMANENT_ON:
            self.held.add(number)
        if code in _PERMANENT_OFF:
            self.held.discard(number)
        self.lose = self.knobs.lose_answer_to == 0x68
        return 0, None

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        channel = self._channel = _Channel(self, writer)
        self._switch_on(channel)
        listening = asyncio.create_task(self._listen(reader, channel))
        try:
            while not listening.done() and self._channel is channel:  # a new connection takes the device over
                self._device.refresh()
                await asyncio.sleep(TICK_S)
        finally:
            listening.cancel()
            if self._channel is channel:
                self._device = self._channel = None

    async def _listen(self, reader: asyncio.StreamReader, channel: _Channel) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                channel.inbox += data
                self._notice(data.lstrip(b"\xff"))

    def _notice(self, frame: bytes) -> None:
        if len(frame) < 8 or frame[:2] != bytes([0x53, self.address]):
            return
        code = frame[5 + (frame[5] if frame[4] & _SECURE else 0) :][:1]
        if code == _ID:
            self._is_new = True
        elif self._is_new and code == _POLL:
            self._is_new = False
            self._tell_inputs()


def simulated(unit: str, scbk_file: str) -> SimulatedOsdp:
    """A device as two options of `gate devices simulate` make it: its address, and the file of its key or nothing."""
    key = bytes.fromhex(Path(scbk_file).read_text("ascii")) if scbk_file else None
    return SimulatedOsdp(int(unit), key)


def wiegand26(number: int) -> bytes:
    """24 bits of `number` between their parities, as a 26-bit reader sends them, in 4 bytes."""
    even = (number >> 12).bit_count() % 2
    odd = 1 - (number & 0xFFF).bit_count() % 2
    return ((even << 25 | number << 1 | odd) << 6).to_bytes(4, "big")


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate osdp`: a made-up card every `every_s` seconds, until cancelled."""
    every_s = float(options.get("every_s", "5"))
    device = simulated(options.get("unit", "0"), options.get("scbk_file", ""))
    async with plug_at(port, device.session) as plugged:
        print(f"osdp on {plugged.spec}", flush=True)
        for number in itertools.count(1):
            await asyncio.sleep(every_s)
            if device.online:
                device.present(26, wiegand26(number % 0x1000000))
