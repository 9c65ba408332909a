"""A simulated relay board with a turnstile on it: a Modbus slave (RTU and TCP frames) of its own, with fault knobs.

Relays 0-15 are coils; 0x0200 + n closes relay n for the value times 100 ms (Waveshare), or registers 3 + 5n (LC-Tech).
Inputs are discrete inputs: 0 passed, 1 passed (exit), 2 occupied, 3 tailgating, 4 fire (closed loop: on at rest),
5 ready. Input registers 0 and 1 count passages.
"""

import asyncio
import contextlib
import itertools
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.contract import Direction
from drivers.simulated.ports import Session, plug_at

RELAYS = 16
FLASH_ON = 0x0200
LC_FIRST, LC_STEP, LC_ON_OFF = 3, 5, 4  # first register, registers a relay, the mode that switches on and then off
ON, ON_CHEAP = 0xFF00, 0x0100
PASSED, PASSED_EXIT, OCCUPIED, TAILGATING, FIRE, READY = range(6)
INPUTS = 8
PASSED_PULSE_S = 0.3  # TiSO: the shortest passage pulse found (devices.md 3.1)
REST_S = 0.15  # two people cannot be closer behind one another; a poll of 100 ms sees the contact at rest
WRITES = (5, 15, 16)
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, GATEWAY_DEAF = 1, 2, 3, 0x0B


@dataclass(slots=True)
class BoardKnobs:
    """How the board misbehaves; the defaults are a good board."""

    answer_s: float = 0.0  # late
    silent: bool = False
    lose_answer: bool = False  # carry a write out and say nothing
    gateway_deaf: bool = False  # carry a write out, and a gateway says exception 0B: it heard no answer
    garbage: bool = False  # answers of a function that nobody asked for and no standard knows
    exception: int = 0  # answer every write with this Modbus exception
    bad_crc: bool = False
    board: str = "waveshare-v2"  # or lc-tech-8r, value-0100, plain: which writes it knows
    has_pulse: bool = True  # False: no pulse of its own
    closed_at_rest: bool = False  # the passage contacts: open for a passage, and when their wire is cut
    stuck_passage: bool = False  # the passage contact stays on after a passage
    broken_wires: frozenset[int] = frozenset()  # inputs that read as open whatever the turnstile says


class SimulatedRelayBoard:
    """One board. `pass_through`, `tailgate` and `set_fire` are what people do; `on_release` hears the relay close."""

    def __init__(self, unit: int = 1, knobs: BoardKnobs | None = None) -> None:
        self.unit = unit
        self.knobs = knobs or BoardKnobs()
        self.coils = [False] * 256
        self.inputs = [False] * INPUTS
        self.inputs[FIRE] = self.inputs[READY] = True
        self.counters = [0, 0]
        self.releases: list[int] = []  # relay numbers, in order
        self.writes: list[tuple[int, int]] = []  # every FC05, address and value; every FC10, address and delay
        self.unheard = 0  # requests that came while it was silent
        self.on_release: Callable[[int], None] | None = None
        self.on_change: Callable[[int], None] | None = None  # a relay closed, closed again, or opened
        self._released = asyncio.Event()
        self._timers: dict[int, asyncio.TimerHandle] = {}

    @property
    def rtu(self) -> Session:
        """The slave on a serial line, or behind a serial-to-TCP converter."""
        return self._rtu_session

    @property
    def tcp(self) -> Session:
        """The slave as a Modbus TCP server."""
        return self._tcp_session

    # --- what people do ------------------------------------------------------------------------------------------

    async def wait_release(self, timeout_s: float) -> bool:
        """Whether a relay closed since the last call, within `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._released.wait()
                self._released.clear()
                return True
        return False

    async def pass_through(self, direction: Direction = Direction.ENTRY) -> None:
        """One person walks through: the passage input pulses, the counter counts."""
        number = PASSED if direction is Direction.ENTRY else PASSED_EXIT
        self.counters[number] = (self.counters[number] + 1) % 0x10000
        await self.pulse(number)

    async def tailgate(self) -> None:
        """A second person follows, and the board notices."""
        await self.pulse(TAILGATING)

    async def pulse(self, number: int) -> None:
        """An input goes on for the length of a passage pulse."""
        self.inputs[number] = True
        await asyncio.sleep(PASSED_PULSE_S)
        self.inputs[number] = self.knobs.stuck_passage and number in (PASSED, PASSED_EXIT)
        await asyncio.sleep(REST_S)

    def set_fire(self, active: bool) -> None:
        """The fire contact opens (active) or closes again."""
        self.inputs[FIRE] = not active

    def set_ready(self, ready: bool) -> None:
        """The turnstile can, or cannot, take releases."""
        self.inputs[READY] = ready

    # --- the wire ------------------------------------------------------------------------------------------------

    async def _rtu_session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(256):
            buffer += data
            while (frame := take_rtu(buffer)) is not None:
                answer = await self._answer(frame[0], frame[1:-2])
                if answer is not None:
                    raw = bytes([frame[0]]) + answer
                    check = crc16(raw) ^ (0xFFFF if self.knobs.bad_crc else 0)
                    writer.write(raw + check.to_bytes(2, "little"))

    async def _tcp_session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            transaction, _, length = struct.unpack(">HHH", await reader.readexactly(6))
            frame = await reader.readexactly(max(length, 1))
            answer = await self._answer(frame[0], frame[1:])
            if answer is not None:
                writer.write(struct.pack(">HHHB", transaction, 0, len(answer) + 1, frame[0]) + answer)

    async def _answer(self, unit: int, pdu: bytes) -> bytes | None:
        if unit != self.unit or self.knobs.silent:
            self.unheard += unit == self.unit
            return None
        answer = self._act(pdu)
        if self.knobs.answer_s:  # it acts at once, and its answer comes late
            await asyncio.sleep(self.knobs.answer_s)
        return answer

    def _act(self, pdu: bytes) -> bytes | None:
        function = pdu[0] if pdu else 0
        try:
            answer = self._execute(function, pdu[1:])
        except _ModbusError as error:
            return bytes([function | 0x80, error.code])
        except (struct.error, IndexError):  # shorter than its function needs
            return bytes([function | 0x80, ILLEGAL_VALUE])
        if self.knobs.garbage:
            return bytes([0x63, 0, 0, 0])
        if function in WRITES and self.knobs.gateway_deaf:
            return bytes([function | 0x80, GATEWAY_DEAF])
        return None if function in WRITES and self.knobs.lose_answer else bytes([function]) + answer

    def _execute(self, function: int, data: bytes) -> bytes:
        address, value = struct.unpack(">HH", data[:4])
        match function:
            case 1:
                return _bits(self._slice(self.coils, address, value))
            case 2:
                return _bits(self._slice(self._levels(), address, value))
            case 3 | 4:
                registers = self._slice(self.counters, address, value)
                return bytes([2 * value]) + struct.pack(f">{value}H", *registers)
            case 5:
                self._write(address, value)
                return data[:4]
            case 16 if self.knobs.board == "lc-tech-8r":
                self._write_registers(address, struct.unpack(">HH", data[5:9]))
                return data[:4]
            case 15:
                for offset in range(value):
                    on = data[5 + offset // 8] >> offset % 8 & 1
                    self._write(address + offset, 0xFF00 if on else 0)
                return data[:4]
        raise _ModbusError(ILLEGAL_FUNCTION)

    def _slice(self, table: list, address: int, count: int) -> list:  # type: ignore[type-arg] # bits or registers
        if not count or address + count > len(table):
            raise _ModbusError(ILLEGAL_ADDRESS)
        return table[address : address + count]

    def _levels(self) -> list[bool]:
        levels = list(self.inputs)
        for number in (PASSED, PASSED_EXIT) if self.knobs.closed_at_rest else ():
            levels[number] = not levels[number]
        return [on and number not in self.knobs.broken_wires for number, on in enumerate(levels)]

    def _write(self, address: int, value: int) -> None:
        self.writes.append((address, value))
        if self.knobs.exception:
            raise _ModbusError(self.knobs.exception)
        cheap = self.knobs.board == "value-0100"
        pulses = self.knobs.has_pulse and self.knobs.board == "waveshare-v2"
        if pulses and FLASH_ON <= address < FLASH_ON + RELAYS:
            self._close_relay(address - FLASH_ON, value / 10)
        elif not cheap <= address < RELAYS:
            raise _ModbusError(ILLEGAL_ADDRESS)
        elif value == (ON_CHEAP if cheap else ON):
            self._close_relay(address, None)
        elif value == 0:
            self._open_relay(address)
        else:
            raise _ModbusError(ILLEGAL_VALUE)

    def _write_registers(self, address: int, values: tuple[int, ...]) -> None:
        self.writes.append((address, values[1]))
        if self.knobs.exception:
            raise _ModbusError(self.knobs.exception)
        relay, rest = divmod(address - LC_FIRST, LC_STEP)
        if rest or not 0 <= relay < RELAYS or not self.knobs.has_pulse:
            raise _ModbusError(ILLEGAL_ADDRESS)
        if values[0] != LC_ON_OFF:
            raise _ModbusError(ILLEGAL_VALUE)
        self._close_relay(relay, values[1] / 10)

    def _close_relay(self, relay: int, pulse_s: float | None) -> None:
        if running := self._timers.pop(relay, None):
            running.cancel()
        self.coils[relay] = True
        if pulse_s is not None:
            self._timers[relay] = asyncio.get_running_loop().call_later(pulse_s, self._open_relay, relay)
        self.releases.append(relay)
        self._released.set()
        self._changed(relay)
        if self.on_release:
            self.on_release(relay)

    def _open_relay(self, relay: int) -> None:
        if running := self._timers.pop(relay, None):
            running.cancel()
        self.coils[relay] = False
        self._changed(relay)

    def _changed(self, relay: int) -> None:
        if self.on_change:
            self.on_change(relay)


def shared_line(*boards: SimulatedRelayBoard) -> Session:
    """Several boards on one RTU line: each hears everything and answers what is meant for it."""

    async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ears = [asyncio.StreamReader() for _ in boards]
        sessions = [asyncio.ensure_future(board.rtu(ear, writer)) for board, ear in zip(boards, ears, strict=True)]
        try:
            while data := await reader.read(256):
                for ear in ears:
                    ear.feed_data(data)
        finally:
            for session in sessions:
                session.cancel()

    return line


class _ModbusError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def _bits(values: list[bool]) -> bytes:
    packed = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        packed[index // 8] |= value << index % 8
    return bytes([len(packed)]) + bytes(packed)


def crc16(data: bytes) -> int:
    """CRC-16/MODBUS."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
    return crc


def take_rtu(buffer: bytearray) -> bytes | None:
    """The next request frame with a right CRC, taken out of `buffer` with the noise before it."""
    while len(buffer) >= 8:
        size = 9 + buffer[6] if buffer[1] in (15, 16) else 8
        if len(buffer) < size:
            return None
        frame = bytes(buffer[:size])
        if crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little"):
            del buffer[:size]
            return frame
        del buffer[0]
    return None


_WIRES: Mapping[str, tuple[int, ...]] = {"none": (), "fire": (FIRE,), "ready": (READY,), "passed": (PASSED,)}


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate modbus-relay`: everybody who is released walks through, until cancelled."""
    knobs = BoardKnobs(
        stuck_passage=options.get("stuck_passage") == "true",
        broken_wires=frozenset(_WIRES[options.get("wire_break", "none")]),
        exception=int(options.get("exception", "0")),
        lose_answer=options.get("lose_answer") == "true",
        board=options.get("board", "waveshare-v2"),
        closed_at_rest=options.get("closed_at_rest") == "true",
        has_pulse=options.get("pulse", "true") == "true",
    )
    board = SimulatedRelayBoard(int(options.get("unit", "1")), knobs)
    modbus_tcp = port.startswith("tcp:") and options.get("framing", "tcp") == "tcp"
    async with plug_at(port, board.tcp if modbus_tcp else board.rtu) as plugged:
        print(f"modbus-relay on {plugged.spec}", flush=True)
        for number in itertools.count(1):
            while not await board.wait_release(60.0):
                pass
            print(f"release {number}", flush=True)
            await asyncio.sleep(0.8)
            await board.pass_through()
