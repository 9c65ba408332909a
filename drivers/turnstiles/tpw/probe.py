"""Whether a TPW control board is on a port: by the handshake, in which it tells its model and nothing moves."""

import asyncio
from collections.abc import Mapping

from drivers.registry import SettingValue
from drivers.turnstiles.tpw.codec import CONNECT, PARAMETERS, Frame, Frames, Kind, encode
from drivers.turnstiles.tpw.udp import any_port, open_any
from drivers.turnstiles.wire import Link

ANSWER_S = 0.3  # the manual gives the PC 2 s for its next word, and the board no limit
BAUDS = (9600, 115200, 19200, 38400, 57600)  # the manual does not tell the speed
_WORDS_MAX = 12  # a board that is in an earlier handshake has at most eleven parameters left to tell


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Its model; None when nobody shakes hands. Raises PortError."""
    port = any_port({"port": str(settings["port"])})
    serial = not port.startswith(("udp:", "tcp:"))
    for baud in BAUDS if serial else BAUDS[:1]:
        link = await open_any(port, baud)
        try:
            if said := await _shake_hands(link):
                return f"{said} at {baud} Bd" if serial else said
        finally:
            link.close()
    return None


async def _shake_hands(link: Link) -> str | None:
    """One parameter is proof: a line that only echoes our word, as RS-485 adapters may, has none."""
    frames, known = Frames(), False
    for _ in range(_WORDS_MAX):
        await link.write(encode(CONNECT))
        told = await _next(link, frames)
        known = known or any(frame.kind in PARAMETERS for frame in told)
        for frame in told:
            if frame.kind == Kind.MODEL:
                return "".join(filter(str.isprintable, frame.content.decode("ascii", "replace"))).strip() or "TPW board"
        if not told:
            break
    return "TPW board" if known else None


async def _next(link: Link, frames: Frames) -> list[Frame]:
    """The frames of one answer, within its time."""
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + ANSWER_S
    while (left_s := ends_s - loop.time()) > 0:
        if told := frames.feed(await link.read(left_s)):
            return told
    return []
