"""A simulated voice module of either kind: answers questions, plays numbered tracks, and remembers what it was told."""

import asyncio
from collections.abc import Mapping

from drivers.simulated.ports import Session
from drivers.simulated.samv import plug_at

STOPPED, PLAYING = 0, 1
_AA_SIZES = {0x01: 4, 0x07: 6, 0x13: 5, 0x04: 4}  # the commands that it knows, and how long each is
_7E = b"\x7e\xff\x06"


class SimulatedVoice:
    """One module. `silent`, `busy` and `chatty` are its faults; `played` and `volume` what it was told."""

    def __init__(self, profile: str = "dfr0534") -> None:
        self.profile = profile
        self.silent = False
        self.busy = False  # 7E: still reading its card, says so (40 00) whatever it is told
        self.chatty = False  # 7E: says "track finished" (3D) before every answer, as it may at any time
        self.bad_sum = False
        self.played: list[int] = []
        self.volume = 30  # from the factory
        self.unknown: list[bytes] = []  # what it did not understand
        self._played = asyncio.Event()

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    async def wait_played(self) -> int:
        """The next track that is played, or the one since the last call."""
        await self._played.wait()
        self._played.clear()
        return self.played[-1]

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = bytearray()
        while data := await reader.read(256):
            buffer += data
            while (command := self._take(buffer)) is not None:
                answer = self._obey(*command)
                if answer and not self.silent:
                    writer.write(answer[:-1] + bytes([answer[-1] ^ 0xFF]) if self.bad_sum else answer)

    def _take(self, buffer: bytearray) -> tuple[int, int] | None:
        return self._take_aa(buffer) if self.profile == "dfr0534" else self._take_7e(buffer)

    def _take_aa(self, buffer: bytearray) -> tuple[int, int] | None:
        while len(buffer) >= 4:
            size = _AA_SIZES.get(buffer[1], 0) if buffer[0] == 0xAA else 0
            if size > len(buffer):
                return None
            frame = bytes(buffer[:size])
            if size and sum(frame[:-1]) & 0xFF == frame[-1]:
                del buffer[:size]
                return frame[1], int.from_bytes(frame[3:-1], "big")
            self.unknown.append(bytes(buffer[:1]))
            del buffer[0]
        return None

    def _take_7e(self, buffer: bytearray) -> tuple[int, int] | None:
        while len(buffer) >= 8:
            size = 8 if buffer[7] == 0xEF else 10
            if len(buffer) < size:
                return None
            frame = bytes(buffer[:size])
            summed = size == 8 or (sum(frame[1:7]) + int.from_bytes(frame[7:9], "big")) & 0xFFFF == 0
            if frame.startswith(_7E) and frame[-1] == 0xEF and summed:
                del buffer[:size]
                return frame[3], int.from_bytes(frame[5:7], "big")
            self.unknown.append(bytes(buffer[:1]))
            del buffer[0]
        return None

    def _obey(self, command: int, value: int) -> bytes:
        if command in (0x07, 0x12):
            self.played.append(value)
            self._played.set()
        elif command in (0x13, 0x06):
            self.volume = value
        playing = PLAYING if self.played else STOPPED
        if self.profile == "dfr0534":
            return _aa(bytes([0xAA, 1, 1, playing])) if command == 0x01 else b""
        if self.busy:
            return _7e(0x40, 0)
        finished = _7e(0x3D, 1) if self.chatty else b""
        return finished + (_7e(0x42, playing) if command == 0x42 else b"")


def _aa(frame: bytes) -> bytes:
    return frame + bytes([sum(frame) & 0xFF])


def _7e(command: int, value: int) -> bytes:
    body = bytes([0xFF, 6, command, 0]) + value.to_bytes(2, "big")
    return b"\x7e" + body + (-sum(body) & 0xFFFF).to_bytes(2, "big") + b"\xef"


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate voice-module`: says on the terminal which track it would play, until cancelled."""
    voice = SimulatedVoice(options.get("profile", "dfr0534"))
    async with plug_at(port, voice.session) as plugged:
        print(f"voice-module on {plugged.spec}", flush=True)
        while True:
            print(f"track {await voice.wait_played()}", flush=True)
