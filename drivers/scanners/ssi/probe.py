"""Whether a Zebra scanner in SSI packet mode is on a port: by its revision, which changes nothing.

REQUEST_REVISION A3 is answered by REPLY_REVISION A4 (Symbol SE-923 guide 6-26; devices.md 2.1).
"""

from collections.abc import Mapping

from drivers.asking import answer_to, at_any_speed
from drivers.registry import SettingValue
from drivers.scanners.ssi.codec import SCANNER, WAKE, Opcode, encode
from drivers.transport import ByteLink, port_setting

BAUDS = (9600, 115200, 57600, 38400, 19200)  # makers' defaults first


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """The revision; None when nobody answers so. Raises PortError."""
    return await at_any_speed(port_setting(settings), BAUDS, _ask)


async def _ask(link: ByteLink) -> str | None:
    await link.write(WAKE)
    revision = ssi_revision(await answer_to(link, encode(Opcode.REQUEST_REVISION)))
    return None if revision is None else f"Zebra SSI engine in packet mode, revision {revision}"


def ssi_revision(heard: bytes) -> str | None:
    """The revision in a REPLY_REVISION with a right checksum; None when there is none."""
    for at, length in enumerate(heard):
        frame = heard[at : at + length + 2]
        if length < 4 or len(frame) < length + 2 or frame[1:3] != bytes([Opcode.REPLY_REVISION, SCANNER]):
            continue
        if (sum(frame[:-2]) + int.from_bytes(frame[-2:], "big")) & 0xFFFF == 0:
            return "".join(chr(byte) for byte in frame[4:-2] if 0x20 <= byte < 0x7F)
    return None
