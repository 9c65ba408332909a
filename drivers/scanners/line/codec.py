"""Lines from a QR engine: prefix, AIM identifier, payload, suffix. No IO and no clock.

Framing works on bytes, before any decoding: no byte below 0x30 ever stands inside a multi-byte character of UTF-8 or
GB 18030 (whose second bytes begin at 0x30), so CR, LF, Tab and ETX cannot be part of one.
"""

import re
from dataclasses import dataclass, field

PAYLOAD_BYTES_MAX = 4096  # a QR symbol holds at most 2,953 bytes


# AIM identifier: ']' code modifier (devices.md 2.1); what it names.
_AIM = re.compile(rb"\](?:([QdLzCEAe])([0-9A-Za-z]))")
SYMBOLOGIES = {
    b"Q": "QR",
    b"d": "DataMatrix",
    b"L": "PDF417",
    b"z": "Aztec",
    b"C": "Code128",
    b"E": "EAN",
    b"A": "Code39",
    b"e": "GS1",
}


@dataclass(frozen=True, slots=True)
class Framing:
    """How this engine is set up."""

    prefix: bytes = b""
    suffix: bytes = b"\r\n"  # b"" when the engine sends none: then only silence ends a code
    aim: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """One code; `payload` None when it was longer than any code of ours."""

    payload: bytes | None = field(repr=False)
    symbology: str = "QR"


class Lines:
    """Cuts what an engine sends into scans."""

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._buffer = bytearray()
        self._overlong = False  # inside a line that is being thrown away
        self._most = len(framing.prefix) + 3 + PAYLOAD_BYTES_MAX

    def feed(self, data: bytes) -> list[Scan]:
        """Take bytes in any portions; give the scans that are complete now."""
        self._buffer += data
        scans = []
        suffix = self._framing.suffix
        while suffix and (at := self._buffer.find(suffix)) >= 0:
            line = bytes(self._buffer[:at])
            del self._buffer[: at + len(suffix)]
            scans += self._scan(line)
        # Keep what may be the beginning of the suffix, throw the rest of an over-long line away.
        if len(self._buffer) > self._most + len(suffix):
            self._overlong = True
            del self._buffer[: len(self._buffer) - len(suffix)]
        return scans

    def silence(self) -> list[Scan]:
        """Nothing came for the idle time-out: what is there is a whole code, or the end of noise."""
        line = bytes(self._buffer)
        self._buffer.clear()
        return self._scan(line)

    @property
    def partial(self) -> bool:
        """Whether a code has begun."""
        return bool(self._buffer) or self._overlong

    def _scan(self, line: bytes) -> list[Scan]:
        overlong, self._overlong = self._overlong, False
        line = line.strip(b"\0")  # some engines pad with NUL
        if overlong or len(line) > self._most:
            return [Scan(None)]
        line = line.removeprefix(self._framing.prefix)
        symbology = "QR"
        aim = _AIM.match(line) if self._framing.aim else None
        if aim:
            symbology = SYMBOLOGIES[aim[1]]
            line = line[aim.end() :]
        if len(line) > PAYLOAD_BYTES_MAX:
            return [Scan(None)]
        return [Scan(line, symbology)] if line else []
