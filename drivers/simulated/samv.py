"""A simulated SAM_V reader: speaks section 6 of devices.md on a port, with the faults that others met as knobs."""

import asyncio
import contextlib
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drivers.readers.samv.codec import PREAMBLE, Command, StatusWord, encode_reply
from drivers.simulated.cards import card_text
from drivers.simulated.ports import PtyPort, Session, SimulatedPort, TcpPort

PHOTO_BYTES = 1024
_COMMANDS = {command.value: command for command in Command}
_SAM_ID = bytes.fromhex("050003002BA63301D20296490A0B0C0D")


@dataclass(slots=True)
class SamvKnobs:
    """How the reader misbehaves; the defaults are a good reader."""

    answer_s: float = 0.005  # time to answer; no published figure exists (devices.md 1.5)
    rests_as_found: bool = True  # 9F again for a card that was read and rests; False: 80 until it leaves
    force: dict[Command, int] = field(default_factory=dict)  # answer this status instead
    reset_heals: bool = False  # a reset ends what `force` says, as it does for a passing self-test fault
    silent: bool = False
    babble: bytes = b""  # said instead of every answer: another device, or a wrong speed
    noise_before: bytes = b""
    bad_checksum: bool = False
    chunk: int = 0  # bytes per write; 0: all at once
    baud: int = 0  # pace the bytes as this line speed would; a pty does not (devices.md 4.1)
    late_reply: bytes = b""  # sent before the next answer: somebody else's late reply
    heartbeat: bytes = b""  # what a TCP gateway adds now and then, e.g. 41 41 41 41


class SimulatedSamv:
    """One reader. `present` and `remove` are what passengers do."""

    def __init__(self, knobs: SamvKnobs | None = None) -> None:
        self.knobs = knobs or SamvKnobs()
        self.reads = 0  # cards read to the end
        self.finds = 0  # searches answered
        self._card: bytes | None = None
        self._was_read = False
        self._leaves_after_select = False
        self._read_event = asyncio.Event()
        self.port: SimulatedPort | None = None

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    def present(self, text: bytes, *, pulled_early: bool = False) -> None:
        """Lay a card on the reader; `pulled_early` takes it away between select and read."""
        self._card, self._was_read, self._leaves_after_select = text, False, pulled_early
        self._read_event.clear()

    def remove(self) -> None:
        """Take the card away."""
        self._card, self._was_read = None, False

    async def wait_read(self, timeout_s: float) -> bool:
        """Whether the presented card was read to the end within `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._read_event.wait()
                return True
        return False

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(4096):
            buffer += data
            while (command := _take_command(buffer)) is not None:
                if not self.knobs.silent:
                    await self._reply(command, writer)

    async def _reply(self, command: Command, writer: asyncio.StreamWriter) -> None:
        knobs = self.knobs
        frame = self._answer(command)
        await asyncio.sleep(knobs.answer_s)
        if knobs.bad_checksum:
            frame = frame[:-1] + bytes([frame[-1] ^ 0xFF])
        frame = knobs.babble or knobs.heartbeat + knobs.late_reply + knobs.noise_before + frame
        step = knobs.chunk or len(frame)
        for at in range(0, len(frame), step):
            piece = frame[at : at + step]
            writer.write(piece)
            await writer.drain()
            if knobs.baud:
                await asyncio.sleep(len(piece) * 10 / knobs.baud)
            elif knobs.chunk:
                await asyncio.sleep(0)

    def _answer(self, command: Command) -> bytes:
        if command is Command.RESET and self.knobs.reset_heals:
            self.knobs.force.clear()
        if command in self.knobs.force:
            return encode_reply(self.knobs.force[command])
        match command:
            case Command.FIND:
                self.finds += 1
                here = self._card is not None and (self.knobs.rests_as_found or not self._was_read)
                return encode_reply(StatusWord.CARD_FOUND, bytes(4)) if here else encode_reply(StatusWord.NO_CARD)
            case Command.SELECT:
                if self._card is None:
                    return encode_reply(StatusWord.SELECT_FAILED)
                if self._leaves_after_select:
                    self._card = None
                return encode_reply(StatusWord.OK, bytes(8))
            case Command.READ:
                return self._read()
            case Command.SAM_ID:
                return encode_reply(StatusWord.OK, _SAM_ID)
            case Command.READ_ADDRESS:
                return encode_reply(StatusWord.ITEM_ABSENT)
        return encode_reply(StatusWord.OK)

    def _read(self) -> bytes:
        if self._card is None:
            return encode_reply(StatusWord.READ_FAILED)
        if not self._was_read:
            self._was_read = True
            self.reads += 1
            self._read_event.set()
        lengths = len(self._card).to_bytes(2, "big") + PHOTO_BYTES.to_bytes(2, "big")
        # The photo may hold anything, a preamble too: a driver must not rescan inside a frame.
        photo = (PREAMBLE + bytes(PHOTO_BYTES))[:PHOTO_BYTES]
        return encode_reply(StatusWord.OK, lengths + self._card + photo)


def _take_command(buffer: bytearray) -> Command | None:
    """The next whole command in `buffer`, which loses it and all noise before."""
    while (at := buffer.find(PREAMBLE)) >= 0:
        del buffer[:at]
        if len(buffer) < 7:
            return None
        length = int.from_bytes(buffer[5:7], "big")
        if len(buffer) < length + 7:
            return None
        frame = bytes(buffer[: length + 7])
        del buffer[: length + 7]
        command = _COMMANDS.get((frame[7], frame[8]))
        if command:
            return command
    return None


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate samv`: a made-up card for a second, every `every_s` seconds, until cancelled."""
    every_s = float(options.get("every_s", "5"))
    reader = SimulatedSamv()
    async with plug_at(port, reader.session) as plugged:
        print(f"samv on {plugged.spec}", flush=True)
        for number in itertools.count():
            await asyncio.sleep(every_s)
            reader.present(
                card_text(" ", name="测试", number=_number(number), valid_from="20200101", valid_until="长期")
            )
            await asyncio.sleep(1.0)
            reader.remove()


def _number(count: int) -> str:
    body = f"310000199001{count % 28 + 1:02d}{count % 1000:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643-1999
    return body + "10X98765432"[sum(w * int(d) for w, d in zip(weights, body, strict=True)) % 11]


def plug_at(port: str, session: Session) -> SimulatedPort:
    """The port named `pty:PATH` or `tcp:HOST:PORT`. Raises ValueError for anything else."""
    kind, _, rest = port.partition(":")
    host, _, number = rest.rpartition(":")
    if kind == "pty" and rest:
        return PtyPort(Path(rest), session)
    if kind == "tcp" and host and number.isdigit():
        return TcpPort(session, host, int(number))
    raise ValueError(f"{port!r} is not pty:PATH or tcp:HOST:PORT")
