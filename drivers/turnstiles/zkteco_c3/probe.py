"""Whether a C3 or inBio panel is at an address: by connecting, without a password, and asking who it is.

Its log is not read, for whoever reads it empties it. A panel does not bear several connections: ask none that a
station drives.
"""

import asyncio
import contextlib
from collections.abc import Mapping

from drivers.registry import SettingValue
from drivers.transport import ByteLink, PortError, TcpAddress, open_link, parse_port, port_setting
from drivers.turnstiles.zkteco_c3.codec import (
    NO_SUCH_COMMAND,
    WRONG_PASSWORD,
    Command,
    Frames,
    RefusedError,
    Session,
    parameters,
)
from drivers.turnstiles.zkteco_c3.panel import ASKED, detail_of

ANSWER_S = 1.0  # as the driver's own time-out


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Model, firmware and serial number; None when nobody answers so, or on a serial port. Raises PortError."""
    port = port_setting(settings)
    if not isinstance(parse_port(port), TcpAddress):
        return None
    link = await open_link(port)
    try:
        return await _told(link, Session())
    except RefusedError as error:
        return "C3 panel, wants a password" if error.code == WRONG_PASSWORD else f"C3 panel, {error}"
    except (TimeoutError, PortError):
        return None  # it is something else, and may hang up on what it does not know
    finally:
        link.close()


async def _told(link: ByteLink, session: Session) -> str:
    try:
        await _ask(link, session, Command.CONNECT_SESSION)
    except RefusedError as error:
        if error.code != NO_SUCH_COMMAND:
            raise
        session.id = None
        await _ask(link, session, Command.CONNECT)
    told = detail_of(parameters(await _ask(link, session, Command.PARAMETERS, ASKED)))
    with contextlib.suppress(RefusedError, TimeoutError, PortError):
        await _ask(link, session, Command.DISCONNECT)
    return f"C3 panel {told}"


async def _ask(link: ByteLink, session: Session, command: Command, data: bytes = b"") -> bytes:
    """One answer. Raises RefusedError, PortError, TimeoutError."""
    frames = Frames()
    await link.write(session.request(command, data))
    async with asyncio.timeout(ANSWER_S):
        while True:
            for frame in frames.feed(await link.read(ANSWER_S)):
                if (answer := session.answer(frame)) is not None:
                    return answer
