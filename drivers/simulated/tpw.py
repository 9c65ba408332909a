"""A simulated TPW-321ASP control board on a serial line, TCP or UDP, with fault knobs."""

import asyncio
from collections.abc import Mapping

from drivers.contract import Direction
from drivers.simulated.ports import Session
from drivers.simulated.serial_gate import GateKnobs, Line, SimulatedGate, everybody_walks, knobs_of

CONNECT, DONE, FAILED = 0xFF, 0x44, 0xF4
MODE, PASSING, DELAY, ENTRY_COUNT, EXIT_COUNT, READ, SPEED, INFRARED = 0x41, 0x14, 0x18, 0x21, 0x22, 0x28, 0x42, 0x81


HANDSHAKE_S = 2.0  # the manual's time-out for the PC's next word


def frame_of(kind: int, content: bytes = b"") -> bytes:
    """02, type, length, content, 04."""
    return bytes([2, kind, len(content)]) + content + b"\x04"


class SimulatedTpw(SimulatedGate):
    """One board. `passing` is what entry and exit are set to; `counts` survive a power cycle, as a mode does."""

    def __init__(self, unit: int | None = None, knobs: GateKnobs | None = None) -> None:
        super().__init__(knobs)
        self.unit = unit
        self.received: list[bytes] = []  # type and content of every frame that is no question
        self.passing = b"00"
        self.counts = {Direction.ENTRY: 0, Direction.EXIT: 0}
        self._parameter: int | None = None  # which one the next FF is followed by
        self._asked_s = 0.0

    @property
    def session(self) -> Session:
        """A line with this board alone."""
        return self._session

    def power_cycle(self) -> None:
        """It forgets the handshake that it was in, and counts from nothing."""
        self._parameter = None
        self.counts = dict.fromkeys(self.counts, 0)

    def is_free(self, direction: Direction) -> bool:
        """Whether anybody may pass."""
        return self.passing[list(Direction).index(direction)] == ord("1")

    async def pass_through(self, direction: Direction = Direction.ENTRY) -> None:
        """One person walks through and is counted, if the sensor works."""
        if not self.knobs.stuck:
            self.counts[direction] += 1

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = Line(writer, self.knobs)
        buffer = bytearray()
        while data := await reader.read(256):
            buffer += data
            for answer in self.hear(buffer):
                await line.answer(answer)

    def hear(self, buffer: bytearray) -> list[bytes]:
        """Answers to the whole frames in `buffer`, which loses them and the noise between."""
        answers = []
        while (frame := take(buffer, self.unit)) is not None:
            if not self.knobs.silent and (answer := self._execute(frame[0], frame[1:])):
                answers.append((b"" if self.unit is None else bytes([self.unit])) + answer)
        return answers

    def _execute(self, kind: int, content: bytes) -> bytes:
        if kind == CONNECT:
            return self._handshake()
        if kind == DONE:  # the PC has the count
            return b""
        if kind == READ and content in (b"0", b"1"):
            direction = Direction.ENTRY if content == b"0" else Direction.EXIT
            return frame_of(ENTRY_COUNT if content == b"0" else EXIT_COUNT, b"%d" % self.counts[direction])
        self.received.append(bytes([kind]) + content)
        if self.knobs.refuse or kind != PASSING or len(content) != 2:
            return frame_of(FAILED)
        before, self.passing = self.passing, content
        for index, direction in enumerate(Direction):
            if content[index : index + 1] == b"1" != before[index : index + 1]:
                self.free(direction)
        return frame_of(DONE)

    def _handshake(self) -> bytes:
        now_s = asyncio.get_running_loop().time()
        asked_s, self._asked_s = self._asked_s, now_s
        if self._parameter is None or now_s - asked_s > HANDSHAKE_S:
            self._parameter = 0
            return frame_of(CONNECT)
        parameters = [
            frame_of(0xF1, b"TPW-321ASP"),
            frame_of(0xF2, b"V1.0"),
            frame_of(0xF8, b"1"),
            frame_of(MODE, b"1"),
            frame_of(PASSING, self.passing),
            frame_of(DELAY, b"005"),
            frame_of(SPEED, b"4"),
            frame_of(ENTRY_COUNT, b"%d" % self.counts[Direction.ENTRY]),
            frame_of(EXIT_COUNT, b"%d" % self.counts[Direction.EXIT]),
            frame_of(INFRARED, b"3"),
            b"",  # the last word is the PC's
        ]
        told = parameters[self._parameter]
        self._parameter = self._parameter + 1 if told else None
        return told


def take(buffer: bytearray, unit: int | None) -> bytes | None:
    """Type and content of the next frame, taken out of `buffer` with the noise before it."""
    start = (b"" if unit is None else bytes([unit])) + b"\x02"
    while (at := buffer.find(start)) >= 0:
        del buffer[:at]
        head = len(start)
        if len(buffer) < head + 2:
            return None
        end = head + 2 + buffer[head + 1]
        if buffer[head + 1] > 64 or (len(buffer) > end and buffer[end] != 4):
            del buffer[0]
            continue
        if len(buffer) <= end:
            return None
        frame = bytes([buffer[head]]) + bytes(buffer[head + 2 : end])
        del buffer[: end + 1]
        return frame
    return None


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate tpw-321asp`, on udp:HOST:PORT too: everybody who is released walks through."""
    knobs = knobs_of(options, "stuck_passage", "refuse", "lose_answer")
    gate = SimulatedTpw(int(options["unit"]) if "unit" in options else None, knobs)
    await everybody_walks("tpw-321asp", port, gate.session, gate)
