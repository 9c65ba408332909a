"""A simulated SAM_V reader: speaks section 6 of devices.md on a port, with the faults that others met as knobs."""

import asyncio
import contextlib
import itertools
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from drivers.readers.samv.codec import PREAMBLE, Command, StatusWord, encode_reply
from drivers.simulated.cards import card_text, made_up_number
from drivers.simulated.ports import PtyPort, Session, SimulatedPort
from drivers.simulated.ports import plug_at as plug_at  # where it was before

PHOTO_BYTES = 1024
_COMMANDS = {command.value: command for command in Command}
SERIAL = 1_234_567_890
_GARBAGE = bytes.fromhex("FE00FEF8")  # what a frame looks like at a wrong speed: too many or too few zeros


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
    after: bytes = b""  # said after every answer, e.g. a stray 00
    fingerprint_bytes: int = 1024  # what 30 10 brings: 1024, 512 or 0
    address: bytes = b""  # appended to the card later, 70 bytes; b"": none was
    sam_ids: list[bytes] = field(default_factory=list)  # told in turn instead of its own
    unanswered: frozenset[Command] = frozenset()  # these are heard and not answered
    speed: int = 0  # at another one set on its pty it hears and answers garbage; 0: any


class SimulatedSamv:
    """One reader. `present` and `remove` are what passengers do."""

    def __init__(self, knobs: SamvKnobs | None = None, serial: int = SERIAL) -> None:
        self.knobs = knobs or SamvKnobs()
        self._sam_id = sam_id_data(serial)
        self.reads = 0  # cards read to the end
        self.finds = 0  # searches answered
        self.asked: list[Command] = []  # every command, in order; the last 1,000
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
            if self._wrong_speed():
                writer.write(_GARBAGE)
                continue
            buffer += data
            while (command := _take_command(buffer)) is not None:
                self.asked = [*self.asked[-999:], command]
                if not self.knobs.silent and command not in self.knobs.unanswered:
                    await self._reply(command, writer)

    def _wrong_speed(self) -> bool:
        port = self.port
        return bool(self.knobs.speed and isinstance(port, PtyPort) and port.speed != self.knobs.speed)

    async def _reply(self, command: Command, writer: asyncio.StreamWriter) -> None:
        knobs = self.knobs
        frame = self._answer(command)
        await asyncio.sleep(knobs.answer_s)
        if knobs.bad_checksum:
            frame = frame[:-1] + bytes([frame[-1] ^ 0xFF])
        frame = knobs.babble or knobs.heartbeat + knobs.late_reply + knobs.noise_before + frame + knobs.after
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
            case Command.READ | Command.READ_FINGERPRINT:
                return self._read(self.knobs.fingerprint_bytes if command is Command.READ_FINGERPRINT else None)
            case Command.SAM_ID:
                told = self.knobs.sam_ids.pop(0) if self.knobs.sam_ids else self._sam_id
                return encode_reply(StatusWord.OK, told)
            case Command.READ_ADDRESS:
                address = self.knobs.address
                return encode_reply(StatusWord.OK, address) if address else encode_reply(StatusWord.ITEM_ABSENT)
        return encode_reply(StatusWord.OK)

    def _read(self, fingerprint_bytes: int | None) -> bytes:
        if self._card is None:
            return encode_reply(StatusWord.READ_FAILED)
        if not self._was_read:
            self._was_read = True
            self.reads += 1
            self._read_event.set()
        # The photo may hold anything, a preamble too: a driver must not rescan inside a frame.
        parts = [self._card, (PREAMBLE + bytes(PHOTO_BYTES))[:PHOTO_BYTES]]
        parts += [] if fingerprint_bytes is None else [bytes(fingerprint_bytes)]
        lengths = b"".join(len(part).to_bytes(2, "big") for part in parts)
        return encode_reply(StatusWord.OK, lengths + b"".join(parts))


def sam_id_data(serial: int) -> bytes:
    """What 12 FF brings: 05.03-20162091-<serial>-0218893066."""
    return struct.pack("<HHIII", 5, 3, 20162091, serial, 218893066)


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
    every_s, status = float(options.get("every_s", "5")), int(options.get("status", "0"))
    knobs = SamvKnobs(
        rests_as_found=options.get("rests_as_found", "true") == "true",
        force=dict.fromkeys((Command.FIND, Command.STATUS), status) if status else {},
        speed=int(options.get("speed", "0")),
    )
    reader = SimulatedSamv(knobs, int(options.get("serial", SERIAL)))
    async with plug_at(port, reader.session) as plugged:
        reader.port = plugged
        print(f"samv on {plugged.spec}", flush=True)
        for number in itertools.count():
            await asyncio.sleep(every_s)
            text = card_text(" ", name="测试", number=made_up_number(number), valid_from="20200101", valid_until="长期")
            reader.present(text, pulled_early=options.get("pulled_early") == "true")
            await asyncio.sleep(1.0)
            reader.remove()
