"""A simulated Zebra scanner: SSI packets on a port, acknowledged and repeated, with faults others met as knobs."""

import asyncio
import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.scanners.ssi.codec import CONTINUED, RETRANSMIT, SCANNER, Cause, Opcode, encode
from drivers.simulated.line_scanner import made_up_code
from drivers.simulated.ports import Session, in_pieces
from drivers.simulated.samv import plug_at

QR = 0x1C
SENDINGS = 3  # the first and two repetitions (SE955 guide, CMD_ACK)
REVISION = b"SIM-SSI-1.0 SIMULATED 00 0000"


@dataclass(slots=True)
class SsiKnobs:
    """How the scanner misbehaves; the defaults are a good one."""

    response_s: float = 0.2  # Serial Response Timeout; 2 s on real ones
    answer_s: float = 0.0  # time to answer a command
    silent: bool = False  # hears, and says nothing
    deaf_to_acks: bool = False  # every decode is sent three times, as when acknowledgements are lost
    wrong_checksums: int = 0  # so many packets more go out with a wrong checksum
    garbled: int = 0  # so many decodes more go out with a byte changed
    chunk: int = 0  # bytes per write; 0: all at once
    refuse: Opcode | None = None  # this command is answered by NAK DENIED
    noise_before: bytes = b""
    raw: bool = False  # sends codes as text, as a scanner does that was never set to packets
    part_bytes: int = 250  # data bytes a packet holds at most: Len is one byte and counts head and type


class SimulatedSsi:
    """One scanner. `scan` is a passenger holding a code before it."""

    def __init__(self, knobs: SsiKnobs | None = None) -> None:
        self.knobs = knobs or SsiKnobs()
        self.enabled = False
        self.sessions = 0  # sessions started by the host
        self.received: list[tuple[int, bytes]] = []  # opcode and data of every good packet from the host
        self.sent = 0  # decode packets, repetitions included
        self._writer: asyncio.StreamWriter | None = None
        self._answers: asyncio.Queue[bool] = asyncio.Queue()  # True: ACK, False: NAK

    @property
    def session(self) -> Session:
        """What to plug into a port."""
        return self._session

    async def scan(self, payload: bytes, kind: int = QR) -> bool:
        """Send one code in as many packets as it takes; whether each was acknowledged."""
        if self.knobs.raw:
            await self._put(payload + b"\r\n")
            return True
        step = self.knobs.part_bytes
        parts = [payload[at : at + step] for at in range(0, len(payload), step)]
        for number, part in enumerate(parts, 1):
            more = CONTINUED if number < len(parts) else 0
            if not await self._deliver(bytes([kind]) + part, more):
                return False
        return True

    async def send(self, raw: bytes) -> None:
        """Send bytes as they are."""
        await self._put(raw)

    async def _deliver(self, data: bytes, status: int) -> bool:
        acknowledged = False
        for number in range(SENDINGS):
            if acknowledged and not self.knobs.deaf_to_acks:
                break
            packet = encode(Opcode.DECODE, data, status | (RETRANSMIT if number else 0), SCANNER)
            self.sent += 1
            while not self._answers.empty():
                self._answers.get_nowait()
            await self._put(self.knobs.noise_before + self._spoiled(packet))
            acknowledged = await self._acknowledged()
        return acknowledged

    def _spoiled(self, packet: bytes) -> bytes:
        if self.knobs.wrong_checksums:
            self.knobs.wrong_checksums -= 1
            return packet[:-1] + bytes([packet[-1] ^ 0xFF])
        if self.knobs.garbled:
            self.knobs.garbled -= 1
            return packet[:6] + bytes([packet[6] ^ 0x20]) + packet[7:]
        return packet

    async def _acknowledged(self) -> bool:
        try:
            async with asyncio.timeout(self.knobs.response_s):
                return await self._answers.get()
        except TimeoutError:
            return False

    async def _put(self, raw: bytes) -> None:
        if self._writer and not self.knobs.silent:
            await in_pieces(self._writer, raw, self.knobs.chunk)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        buffer = bytearray()
        while data := await reader.read(256):
            self._writer = writer  # whoever speaks is answered, should two be connected for a moment
            buffer += data
            while (packet := _take_packet(buffer)) is not None:
                self.received.append(packet)
                await self._obey(*packet)

    async def _obey(self, opcode: int, data: bytes) -> None:
        knobs = self.knobs
        if opcode in (Opcode.ACK, Opcode.NAK):
            self._answers.put_nowait(opcode == Opcode.ACK)
            return
        await asyncio.sleep(knobs.answer_s)
        if opcode == knobs.refuse:
            await self._put(encode(Opcode.NAK, bytes([Cause.DENIED]), 0, SCANNER))
            return
        if opcode == Opcode.REQUEST_REVISION:
            await self._put(self._spoiled(encode(Opcode.REPLY_REVISION, REVISION, 0, SCANNER)))
            return
        self.enabled = {Opcode.SCAN_ENABLE: True, Opcode.SCAN_DISABLE: False}.get(Opcode(opcode), self.enabled)
        self.sessions += opcode == Opcode.START_SESSION
        await self._put(encode(Opcode.ACK, b"", 0, SCANNER))


def _take_packet(buffer: bytearray) -> tuple[int, bytes] | None:
    """The next good packet of a host, by the sheet and not by the driver's own parser."""
    while buffer and buffer[0] < 4:  # wake bytes, noise
        del buffer[0]
    if not buffer or len(buffer) < buffer[0] + 2:
        return None
    size = buffer[0]
    packet = bytes(buffer[: size + 2])
    del buffer[: size + 2]
    good = (sum(packet[:size]) + int.from_bytes(packet[size:], "big")) & 0xFFFF == 0 and packet[2] == 4
    return (packet[1], packet[4:size]) if good else _take_packet(buffer)


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate ssi-scanner`: a made-up Suishenma code every `every_s` seconds, until cancelled."""
    knobs = SsiKnobs(
        deaf_to_acks=options.get("deaf_to_acks") == "true",
        raw=options.get("raw") == "true",
        part_bytes=int(options.get("part_bytes", "250")),
    )
    scanner = SimulatedSsi(knobs)
    async with plug_at(port, scanner.session) as plugged:
        print(f"ssi-scanner on {plugged.spec}", flush=True)
        for number in itertools.count(1):
            await asyncio.sleep(float(options.get("every_s", "5")))
            if scanner.enabled:
                await scanner.scan(made_up_code(number))
