"""Lines from a QR engine: prefix, AIM identifier, payload, suffix. No IO and no clock.

Framing works on bytes, before any decoding: no byte below 0x30 ever stands inside a multi-byte character of UTF-8 or
GB 18030 (whose second bytes begin at 0x30), so CR, LF, Tab and ETX cannot be part of one.
"""

import re
from dataclasses import dataclass

from drivers.contract import CodeReport, ReadProblem, Unread

PAYLOAD_BYTES_MAX = 4096  # a QR symbol holds at most 2,953 bytes
_OVERHEAD_BYTES = 64  # AIM identifier, NULs and engine answers around a payload
# AIM identifier: ']', the symbology's letter, a modifier (devices.md 2.1).
_AIM = re.compile(rb"\]([A-Za-z])[0-9A-Za-z]")
SYMBOLOGIES = {b"Q": "QR", b"d": "DataMatrix", b"L": "PDF417", b"z": "Aztec", b"C": "Code128"}
# What engines answer to a trigger command, without any suffix: ACK, NAK, ENQ, and Newland's `02 01 30 30 30 30 … 03`.
_ANSWERS = re.compile(rb"(?:\x02\x010000[^\x03]{0,32}\x03|[\x05\x06\x15])+")


@dataclass(frozen=True, slots=True)
class Framing:
    """How this engine is set up."""

    prefix: bytes = b""
    suffix: bytes = b"\r\n"  # b"" when the engine sends none: then only silence ends a code
    aim: bool = False
    encoding: str = "utf-8"  # passed on with every code
    answers: bool = False  # it is sent commands, so its answers may stand before a code


class Lines:
    """Cuts what an engine sends into codes."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._buffer = bytearray()
        self._overlong = False  # inside a line that is being thrown away
        self._late = b""  # rest of a suffix whose first part was followed by silence
        self._line_bytes_max = len(framing.prefix) + _OVERHEAD_BYTES + PAYLOAD_BYTES_MAX

    def feed(self, data: bytes) -> list[CodeReport | Unread]:
        """Take bytes in any portions; give the codes that are complete now."""
        self._buffer += self._without_late_suffix(data)
        codes = []
        suffix = self._framing.suffix
        while suffix and (at := self._buffer.find(suffix)) >= 0:
            line = bytes(self._buffer[:at])
            del self._buffer[: at + len(suffix)]
            codes += self._code(line)
        # Keep what may be the beginning of the suffix, throw the rest of an over-long line away.
        if len(self._buffer) > self._line_bytes_max + len(suffix):
            self._overlong = True
            del self._buffer[: len(self._buffer) - len(suffix)]
        return codes

    def silence(self) -> list[CodeReport | Unread]:
        """Nothing came for the idle time-out: what is there is a whole code, or the end of noise."""
        line = bytes(self._buffer)
        self._buffer.clear()
        suffix = self._framing.suffix
        for size in range(len(suffix) - 1, 0, -1):
            if line.endswith(suffix[:size]):
                line, self._late = line[:-size], suffix[size:]
                break
        return self._code(line)

    @property
    def partial(self) -> bool:
        """Whether a code has begun."""
        return bool(self._buffer) or self._overlong

    def _without_late_suffix(self, data: bytes) -> bytes:
        while self._late and data:
            self._late, expected = self._late[1:], self._late[0]
            if data[0] != expected:
                self._late = b""
                return data
            data = data[1:]
        return data

    def _code(self, line: bytes) -> list[CodeReport | Unread]:
        overlong, self._overlong = self._overlong, False
        if overlong or len(line) > self._line_bytes_max:
            return [Unread(ReadProblem.CODE_TOO_LONG)]
        line = line.strip(b"\0")  # some engines pad with NUL, and a break on the line arrives as one
        if self._framing.answers and (answers := _ANSWERS.match(line)):
            line = line[answers.end() :]
        if not line:
            return []
        # What stands before the prefix is noise; without one, this is the rest of a line whose beginning was lost.
        _, found, payload = line.partition(self._framing.prefix) if self._framing.prefix else (b"", True, line)
        if not found:
            return [Unread(ReadProblem.CODE_UNREADABLE)]
        symbology = ""
        if self._framing.aim and (aim := _AIM.match(payload)):
            symbology = SYMBOLOGIES.get(aim[1], "")
            payload = payload[aim.end() :]
        if len(payload) > PAYLOAD_BYTES_MAX:
            return [Unread(ReadProblem.CODE_TOO_LONG)]
        return [CodeReport(payload, symbology, self._framing.encoding)] if payload else []
