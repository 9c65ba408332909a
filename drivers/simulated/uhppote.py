"""A simulated UHPPOTE UT0311 controller on UDP or TCP: 64-byte messages, read and made here, with fault knobs."""

import asyncio
import enum
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.contract import Direction
from drivers.simulated.ports import Session
from drivers.simulated.serial_gate import (
    GateKnobs,
    Line,
    SimulatedGate,
    everybody_walks,
    knobs_of,
)

SIZE, START = 64, 0x17
DOOR_EVENT, OPENED, CLOSED, OPENED_REMOTELY = 2, 23, 24, 44
ADDRESS = bytes([192, 168, 1, 100, 255, 255, 255, 0, 192, 168, 1, 1, 0, 0x12, 0x23, 0x34, 0x45, 0x56])
VERSION = bytes.fromhex("0892 20181105")  # 8.92 of 2018-11-05
NOW = bytes.fromhex("20261124120000")  # every event's time, in BCD
REMOTE_CARD = 3922570474  # what the controller puts there when nobody's card was read


class Ask(enum.IntEnum):
    """What a controller is asked."""

    STATUS = 0x20
    OPEN_DOOR = 0x40
    SET_DOOR = 0x80
    GET_DOOR = 0x82
    RECORD = 0x8E
    LISTENER = 0x90
    CONTROLLER = 0x94
    EVENT = 0xB0


@dataclass(slots=True)
class SimulatedDoor:
    """One door as the controller is set."""

    mode: int = 3
    delay_s: int = 1


class SimulatedUhppote(SimulatedGate):
    """One controller. `exit_door` is the door whose opening frees the exit direction; the others free the entry."""

    def __init__(self, knobs: GateKnobs | None = None, serial: int = 405419896) -> None:
        super().__init__(knobs)
        self.serial = serial
        self.doors = {number: SimulatedDoor() for number in range(1, 5)}
        self.exit_door = 2
        self.echoes = True  # repeats a request's number
        self.inputs = 0  # bit 0 force lock, bit 1 fire
        self.events: list[tuple[int, int, int]] = []  # type, door, reason
        self.recording = False
        self.listener: tuple[str, int] | None = None
        self._open_until_s: dict[int, float] = {}

    @property
    def session(self) -> Session:
        """A TCP connection to the controller, or an address that speaks to it over UDP."""
        return self._serve

    def set_fire(self, active: bool) -> None:
        """The fire input acts, or ends."""
        self.inputs = self.inputs & ~2 | (2 if active else 0)

    async def pass_through(self, direction: Direction = Direction.ENTRY) -> None:
        """One person walks through: the door's sensor opens and closes, if it works and is recorded."""
        if not self.knobs.stuck and self.recording:
            door = self.exit_door if direction is Direction.EXIT else 1
            self.happen(DOOR_EVENT, door, OPENED)
            self.happen(DOOR_EVENT, door, CLOSED)

    def happen(self, kind: int, door: int, reason: int) -> None:
        """An event is recorded, and sent to the listener if there is one."""
        self.events.append((kind, door, reason))
        if self.listener:
            asyncio.get_running_loop().create_task(self._send_event(self.listener, self._status(0)))

    async def _send_event(self, listener: tuple[str, int], message: bytes) -> None:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=listener)
        transport.sendto(message)
        transport.close()

    # --- the wire ------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer, self.knobs)
        while True:
            if answer := self.hear(await reader.readexactly(SIZE)):
                await line.answer(self.spoiled(answer))

    def spoiled(self, answer: bytes) -> bytes:
        """Messages have no checksum: only an altered head is noticed."""
        return bytes([answer[0] ^ 0x55]) + answer[1:] if self.knobs.garble else answer

    def hear(self, message: bytes) -> bytes:
        """The answer to a message; b"" when it is none for this controller."""
        if self.knobs.silent or len(message) != SIZE or message[0] != START:
            return b""
        serial = int.from_bytes(message[4:8], "little")
        if serial != self.serial and not (serial == 0 and message[1] == Ask.CONTROLLER):
            return b""
        number = int.from_bytes(message[40:44], "little") if self.echoes else 0
        return self._answer(message[1], message[8:40], number)

    def _answer(self, function: int, data: bytes, number: int) -> bytes:
        match function:
            case Ask.STATUS:
                return self._status(number)
            case Ask.OPEN_DOOR:
                return self._message(function, bytes([self._open(data[0])]), number)
            case Ask.SET_DOOR if data[0] in self.doors:
                if not self.knobs.refuse:
                    self.doors[data[0]] = SimulatedDoor(data[1], data[2])
                return self._door(function, data[0], number)
            case Ask.GET_DOOR:
                return self._door(function, data[0], number)
            case Ask.RECORD:
                self.recording = data[0] == 1
                return self._message(function, b"\x01", number)
            case Ask.LISTENER:
                self.listener = ".".join(map(str, data[:4])), int.from_bytes(data[4:6], "little")
                return self._message(function, b"\x01", number)
            case Ask.CONTROLLER:
                return self._message(function, ADDRESS + VERSION, number)
            case Ask.EVENT:
                return self._recorded(int.from_bytes(data[:4], "little"), number)
        return b""

    def _open(self, door: int) -> bool:
        if self.knobs.refuse or door not in self.doors:
            return False
        self._open_until_s[door] = asyncio.get_running_loop().time() + self.doors[door].delay_s
        self.free(Direction.EXIT if door == self.exit_door else Direction.ENTRY)
        self.happen(DOOR_EVENT, door, OPENED_REMOTELY)
        return True

    def _door(self, function: int, number: int, request: int) -> bytes:
        door = self.doors.get(number, SimulatedDoor(0, 0))
        return self._message(function, bytes([number if number in self.doors else 0, door.mode, door.delay_s]), request)

    def _recorded(self, index: int, number: int) -> bytes:
        if not 0 < index <= len(self.events):
            return b""
        return self._message(Ask.EVENT, index.to_bytes(4, "little") + _record(*self.events[index - 1]), number)

    def _status(self, number: int) -> bytes:
        now_s = asyncio.get_running_loop().time()
        relays = sum(
            1 << (door - 1)
            for door, set_to in self.doors.items()
            if set_to.mode == 1 or self._open_until_s.get(door, 0.0) > now_s
        )
        last = _record(*self.events[-1]) if self.events else b""
        message = bytearray(self._message(Ask.STATUS, len(self.events).to_bytes(4, "little") + last, number))
        message[37:40] = NOW[4:]
        message[49:51] = bytes([relays, self.inputs])
        message[51:54] = NOW[1:4]
        return bytes(message)

    def _message(self, function: int, data: bytes, number: int) -> bytes:
        message = bytearray(SIZE)
        message[:8] = bytes([START, function, 0, 0]) + self.serial.to_bytes(4, "little")
        message[8 : 8 + len(data)] = data
        message[40:44] = number.to_bytes(4, "little")
        return bytes(message)


def _record(kind: int, door: int, reason: int) -> bytes:
    return bytes([kind, 1, door, 1]) + REMOTE_CARD.to_bytes(4, "little") + NOW + bytes([reason])


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate uhppote`, on udp:HOST:PORT too: everybody who is released walks through."""
    knobs = knobs_of(options, "stuck_passage", "refuse", "lose_answer")
    gate = SimulatedUhppote(knobs, int(options.get("serial", "405419896")))
    gate.exit_door = int(options.get("exit_door", "2"))
    gate.echoes = options.get("numbered", "true") == "true"
    gate.set_fire(options.get("fire") == "true")
    await everybody_walks("uhppote", port, gate.session, gate)
