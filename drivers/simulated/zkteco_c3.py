"""A simulated ZKTeco C3 panel on TCP with turnstiles behind its doors: its own frames, session and log, and knobs."""

import asyncio
import itertools
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.contract import Direction
from drivers.simulated.ports import Session
from drivers.simulated.serial_gate import GateKnobs, Line, SimulatedGate, everybody_walks, knobs_of

DOORS = 4
EVENTS_MAX = 1000  # waiting in the log; older ones are lost
OK, NO = 0xC8, 0xC9
NO_SUCH_COMMAND, WRONG_PASSWORD, WRONG_VALUE = 0xF3, 0xF2, 0xFF
REMOTE_OPENED, REMOTE_CLOSED, OPENED, CLOSED, INPUT_OPEN, INPUT_SHORTED = 8, 9, 200, 201, 220, 221
STATUS = 255
BROKEN_S = 2.0  # after the start: what was in the log before is no passage
SERIAL = "DDG8130016092200401"
TIME = 0x2DDA89CC  # of every record: 2023-12-07 in the panel's own count


@dataclass(slots=True)
class Connection:
    """What the panel knows of one connection."""

    session: int | None = None
    welcome: bool = False


class SimulatedC3(SimulatedGate):
    """One panel. `exit_door` is the door whose opening frees the exit direction; the others free the entry."""

    def __init__(self, knobs: GateKnobs | None = None, sessions: bool = True, text: bool = False) -> None:
        super().__init__(knobs)
        self.sessions = sessions
        self.text = text  # logs in lines of text
        self.password = b""
        self.serial = SERIAL
        self.doors = DOORS
        self.exit_door = 2
        self.opened: list[tuple[int, int]] = []  # door and seconds of every output operation
        self.held: set[int] = set()
        self.connections = 0
        self._numbers = itertools.count(0x2014)
        self._events: deque[tuple[int, int]] = deque(maxlen=EVENTS_MAX)  # kind, door or input

    @property
    def session(self) -> Session:
        """A connection to the panel."""
        return self._serve

    def power_cycle(self) -> None:
        """It forgets what it held open."""
        self.held.clear()
        self.happen(206, 0)

    def happen(self, kind: int, number: int) -> None:
        """An event enters the log."""
        self._events.append((kind, number))

    async def pass_through(self, direction: Direction = Direction.ENTRY) -> None:
        """One person walks through: the door's sensor opens and closes, if it works."""
        if not self.knobs.stuck:
            door = self.exit_door if direction is Direction.EXIT else 1
            self.happen(OPENED, door)
            self.happen(CLOSED, door)

    def set_fire(self, active: bool, number: int = 1) -> None:
        """The fire loop on an auxiliary input opens (active) or closes again."""
        self.happen(INPUT_OPEN if active else INPUT_SHORTED, number)

    # --- the wire ------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        line = Line(writer, self.knobs)
        connection = Connection()
        buffer = bytearray()
        try:
            while data := await reader.read(4096):
                buffer += data
                while (request := take(buffer)) is not None:
                    if not self.knobs.silent:
                        await line.answer(self._answer(connection, *request))
        finally:
            self.connections -= 1

    def _answer(self, connection: Connection, command: int, data: bytes) -> bytes:
        if command == 0x76 and self.sessions:
            connection.session = next(self._numbers)
            head, data = connection.session.to_bytes(2, "little") + data[2:4], data[4:]
            connection.welcome = data == self.password
            return frame(OK, head) if connection.welcome else frame(NO, head + bytes([WRONG_PASSWORD]))
        head = b""
        if connection.session is not None:
            head, data = data[:4], data[4:]
            if head[:2] != connection.session.to_bytes(2, "little"):
                return frame(NO, bytes([WRONG_VALUE]))
        done, answer = self._execute(connection, command, data)
        return frame(OK if done else NO, head + answer)

    def _execute(self, connection: Connection, command: int, data: bytes) -> tuple[bool, bytes]:
        if command == 0x01 and not self.sessions:
            connection.welcome = data == self.password
            return connection.welcome, b"" if connection.welcome else bytes([WRONG_PASSWORD])
        if not connection.welcome:
            return False, bytes([NO_SUCH_COMMAND])
        match command:
            case 0x02:
                connection.welcome = False
                return True, b""
            case 0x04:
                return True, self._parameters(data)
            case 0x05:
                return self._control(data)
            case 0x0B:
                return True, bytes(360) if self.text else self._record()
            case 0x79 if self.text:
                return True, self._lines()
        return False, bytes([NO_SUCH_COMMAND])

    def _parameters(self, names: bytes) -> bytes:
        known = {
            "~SerialNumber": self.serial,
            "DeviceName": "C3-400",
            "FirmVer": "AC Ver 4.3.4 Apr 27 2017",
            "LockCount": str(self.doors),
        }
        return ",".join(f"{name}={known.get(name, '')}" for name in names.decode("ascii").split(",")).encode("ascii")

    def _control(self, data: bytes) -> tuple[bool, bytes]:
        if self.knobs.refuse or len(data) != 5 or data[0] != 1 or data[2] != 1 or not 1 <= data[1] <= self.doors:
            return False, bytes([WRONG_VALUE])
        door, seconds = data[1], data[3]
        self.opened.append((door, seconds))
        if seconds == 255:
            self.held.add(door)
        else:
            self.held.discard(door)
        if 0 < seconds < 255:
            self.free(Direction.EXIT if door == self.exit_door else Direction.ENTRY)
        self.happen(REMOTE_OPENED if seconds else REMOTE_CLOSED, door)
        return True, b""

    def _record(self) -> bytes:
        """The oldest event, or how doors stand when there is none."""
        if not self._events:
            return bytes([0, 0, 0, 0, 1, 1, 1, 1, 200, 0, STATUS, 0]) + TIME.to_bytes(4, "little")
        kind, number = self._events.popleft()
        return bytes(8) + bytes([200, number, kind, 2]) + TIME.to_bytes(4, "little")

    def _lines(self) -> bytes:
        """All events, a line each, or how doors stand when there is none."""
        if not self._events:
            return b"time=2023-12-09 15:09:33\tsensor=55\trelay=00\talarm=00000000"
        form = "time=2023-12-06 22:33:15\tpin=0\tcardno=0\teventaddr={1}\tevent={0}\tinoutstatus=2\tverifytype=200"
        lines = "\r\n".join(form.format(*event) for event in self._events)
        self._events.clear()
        return lines.encode("ascii")


def frame(command: int, data: bytes) -> bytes:
    """AA, 01, command, length, data, CRC, 55."""
    middle = bytes([1, command]) + len(data).to_bytes(2, "little") + data
    return b"\xaa" + middle + crc(middle).to_bytes(2, "little") + b"\x55"


def crc(data: bytes) -> int:
    """CRC-16/ARC."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value


def take(buffer: bytearray) -> tuple[int, bytes] | None:
    """Command and data of the next request, taken out of `buffer` with the noise before it."""
    while (at := buffer.find(b"\xaa\x01")) >= 0:
        del buffer[:at]
        size = int.from_bytes(buffer[3:5], "little")
        if len(buffer) < 5 or (size <= 2048 and len(buffer) < size + 8):
            return None
        check = int.from_bytes(buffer[5 + size : 7 + size], "little")
        if size > 2048 or buffer[7 + size] != 0x55 or crc(bytes(buffer[1 : 5 + size])) != check:
            del buffer[0]
            continue
        request = buffer[2], bytes(buffer[5 : 5 + size])
        del buffer[: size + 8]
        return request
    return None


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate zkteco-c3`: everybody who is released walks through, until cancelled."""
    sessions, text = options.get("sessions", "true") == "true", options.get("text") == "true"
    panel = SimulatedC3(knobs_of(options, "stuck_passage", "refuse", "lose_answer"), sessions, text)
    panel.serial = options.get("serial", SERIAL)
    broken = options.get("wire_break", "none")
    if broken == "fire":
        panel.set_fire(True)
    elif broken == "passed":
        panel.knobs.stuck = True
        asyncio.get_running_loop().call_later(BROKEN_S, panel.happen, OPENED, 1)
    panel.exit_door = int(options.get("exit_door", "2"))
    await everybody_walks("zkteco-c3", port, panel.session, panel)
