"""A cable that goes bad both ways between any device and its driver, by chance that a seed repeats."""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from drivers.simulated.ports import Session

PIECE_S = 0.002  # between pieces: the driver reads each by itself, and no inter-byte limit is reached
PIECES_MAX = 50  # about: what a keyboard types is 15 kB, and has to arrive
LATE_S = (0.1, 0.9)  # around every driver's time-out: an answer comes while the next is awaited
KEPT = 8  # answers that an unsolicited one is taken from
FAULTS = ("silent", "deaf", "dead", "garbled", "shortened", "pieces", "late", "wrong answer", "unsolicited")


class Cable:
    """Between one device and its driver. `fault` is one of FAULTS, or "" for a good cable."""

    def __init__(self, chance: random.Random, head_bytes: int = 0) -> None:
        self.fault = ""
        self.of_a_person = False  # what is said now tells of one: such an answer is never said again unasked
        self.tells_of_a_person: Callable[[bytes], bool] = lambda data: False  # the same, where a poll brings it
        self._chance = chance
        self._head_bytes = (
            head_bytes  # garbled only there, where the protocol leaves the rest to the network's checksum
        )
        self._under_way = 0

    @property
    def is_clear(self) -> bool:
        """Whether nothing late is still on its way."""
        return not self._under_way

    def through(self, session: Session) -> Session:
        """The same device at the far end of this cable."""

        async def behind(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ear, mouth = asyncio.StreamReader(), _Mouth(writer, self)
            tasks = [asyncio.create_task(self._carry(reader, ear)), asyncio.create_task(mouth.deliver())]
            try:
                await session(ear, cast(asyncio.StreamWriter, mouth))
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                mouth.forget()

        return behind

    async def _carry(self, reader: asyncio.StreamReader, ear: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                if self.fault not in ("deaf", "dead"):
                    ear.feed_data(data)
        ear.feed_eof()

    def said(self, data: bytes, before: bytes, kept: deque[bytes]) -> list[tuple[float, bytes]]:
        """What of an answer arrives, each after how long; the first pause is since it was said."""
        chance = self._chance
        match self.fault:
            case "silent" | "dead":
                return []
            case "garbled":
                at = chance.randrange(min(len(data), self._head_bytes or len(data)))
                return [(0.0, data[:at] + bytes([data[at] ^ chance.randrange(1, 256)]) + data[at + 1 :])]
            case "shortened":
                at = chance.randrange(len(data))
                return [(0.0, data[:at])]
            case "pieces":
                return _in_pieces(data, chance)
            case "late":
                return [(chance.uniform(*LATE_S), data)]
            case "wrong answer":
                return [(0.0, before)]
            case "unsolicited":
                more = chance.choice([*kept, chance.randbytes(12)])
                return [(0.0, data), (0.0, more)] if chance.random() < 0.5 else [(0.0, more), (0.0, data)]
        return [(0.0, data)]


def _in_pieces(data: bytes, chance: random.Random) -> list[tuple[float, bytes]]:
    pieces = []
    largest = max(16, len(data) // PIECES_MAX)
    while data:
        size = chance.randint(1, largest)
        pieces.append((PIECE_S, data[:size]))
        data = data[size:]
    return pieces


class _Mouth:
    """A device's writer; everything but what the cable concerns is the true one's."""

    def __init__(self, writer: asyncio.StreamWriter, cable: Cable) -> None:
        self._writer = writer
        self._cable = cable
        self._before = b""
        self._kept: deque[bytes] = deque(maxlen=KEPT)
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._gone = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def write(self, data: bytes) -> None:
        """What the device says; one answer, as a rule."""
        if not data or self._gone:
            return
        said = self._cable.said(bytes(data), self._before, self._kept)
        if not self._cable.of_a_person and not self._cable.tells_of_a_person(bytes(data)):
            self._before = bytes(data)
            self._kept.append(self._before)
        due_s = asyncio.get_running_loop().time()
        for pause_s, piece in said:
            if piece:
                due_s += pause_s
                self._put(due_s, piece)

    def _put(self, due_s: float, piece: bytes) -> None:
        self._cable._under_way += 1
        self._waiting.put_nowait((due_s, piece))

    async def drain(self) -> None:
        """A device does not wait for its cable."""
        await asyncio.sleep(0)

    async def deliver(self) -> None:
        """Carry what was said, in order, until cancelled or the port is gone."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while True:
                due_s, piece = await self._waiting.get()
                try:
                    await asyncio.sleep(max(0.0, due_s - loop.time()))
                    self._writer.write(piece)
                    await self._writer.drain()
                finally:
                    self._cable._under_way -= 1

    def forget(self) -> None:
        """What was on its way is lost with the connection."""
        self._gone = True
        self._cable._under_way -= self._waiting.qsize()


def to_server(address: Callable[[], tuple[str, int]]) -> Session:
    """A device of somebody else's that listens by itself, as a session that a port of ours can be given."""

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection(*address())
        back = asyncio.create_task(_pump(there, writer))
        try:
            await _pump(reader, out)
        finally:
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)
            out.transport.abort()

    return session


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(4096):
            writer.write(data)
