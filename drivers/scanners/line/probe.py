"""Which maker's QR engine is on a port: each is asked what its manual lets a host ask, and nothing is set or triggered.

    Zebra SSI   REQUEST_REVISION A3, answered by REPLY_REVISION A4 (Symbol SE-923 guide 6-26; devices.md 2.1)
    Newland     unified query of SCNMOD, answered by 02 01 30 30 30 30 … 03 (NLS-HR52 user manual, query commands)
    Honeywell   menu query SYN M CR 232BAD?. , answered by its name, its value and ACK (2020-5 user manual 10-3)

An engine that sends lines and understands none of these cannot be told from an empty port: hold a code before it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.registry import SettingValue
from drivers.transport import ByteLink, TcpAddress, open_link, parse_port, port_setting

ANSWER_S = 0.3  # no manual gives a limit; SSI's decoder answers within 100 ms
BAUDS = (9600, 115200, 57600, 38400, 19200)  # makers' defaults first
_HEARD_MAX = 512  # more than any of these answers
_REVISION, _DECODER = 0xA4, 0x00
_WAKE = b"\0"  # devices.md 2.1: wakes a sleeping SSI decoder


@dataclass(frozen=True, slots=True)
class _Question:
    maker: str
    ask: bytes
    answer: re.Pattern[bytes]


_ASKED = (
    _Question("Newland", b"~\x010000@SCNMOD*;\x03", re.compile(rb"\x02\x010000[@#]SCNMOD[^\x03]{1,16}\x03")),
    _Question("Honeywell", b"\x16M\r232BAD?.", re.compile(rb"232BAD[0-9]{1,2}\x06[.!]")),
)
_ASK_REVISION = bytes.fromhex("04A30400FF55")


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Maker, and for SSI the revision; None when nobody answers. Raises PortError."""
    port = port_setting(settings)
    tcp = isinstance(parse_port(port), TcpAddress)
    for baud in BAUDS[:1] if tcp else BAUDS:
        link = await open_link(port, baud)
        try:
            if said := await _ask_all(link):
                return said if tcp else f"{said} at {baud} Bd"
        finally:
            link.close()
    return None


async def _ask_all(link: ByteLink) -> str | None:
    for question in _ASKED:
        if question.answer.search(await _ask(link, question.ask)):
            return f"{question.maker} engine"
    await link.write(_WAKE)
    revision = ssi_revision(await _ask(link, _ASK_REVISION))
    return None if revision is None else f"Zebra SSI engine in packet mode, revision {revision}"


async def _ask(link: ByteLink, command: bytes) -> bytes:
    await link.discard_input()
    await link.write(command)
    heard = b""
    while len(heard) < _HEARD_MAX and (data := await link.read(ANSWER_S)):
        heard += data
    return heard


def ssi_revision(heard: bytes) -> str | None:
    """The revision in a REPLY_REVISION with a right checksum; None when there is none."""
    for at, length in enumerate(heard):
        frame = heard[at : at + length + 2]
        if length < 4 or len(frame) < length + 2 or frame[1:3] != bytes([_REVISION, _DECODER]):
            continue
        if (sum(frame[:-2]) + int.from_bytes(frame[-2:], "big")) & 0xFFFF == 0:
            return "".join(chr(byte) for byte in frame[4:-2] if 0x20 <= byte < 0x7F)
    return None
