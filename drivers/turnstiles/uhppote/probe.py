"""Whether a UHPPOTE controller is at an address: by its get-controller, which whichever is there answers."""

import asyncio
from collections.abc import Mapping

from drivers.registry import SettingValue
from drivers.turnstiles.tpw.udp import any_port, open_any
from drivers.turnstiles.uhppote import library
from drivers.turnstiles.uhppote.codec import Frames, Function
from drivers.turnstiles.wire import Link

ANSWER_S = 0.5  # as the driver's own time-out
_WHICHEVER = 0  # the serial number that asks all


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Its number and firmware; None when nobody answers so, or on a serial port. Raises PortError."""
    port = any_port({"port": str(settings["port"])})
    if not port.startswith(("udp:", "tcp:")):
        return None
    messages = library.load()
    link = await open_any(port, 0)
    try:
        await link.write(messages.request("get_controller", _WHICHEVER))
        return await _told(link, messages)
    finally:
        link.close()


async def _told(link: Link, messages: library.Messages) -> str | None:
    loop, frames = asyncio.get_running_loop(), Frames()
    ends_s = loop.time() + ANSWER_S
    while (left_s := ends_s - loop.time()) > 0:
        for message in frames.feed(await link.read(left_s)):
            if message[1] == Function.CONTROLLER:
                told = messages.answer("get_controller", message)
                if told.controller == _WHICHEVER:
                    continue  # our own question, from a line that echoes
                return f"UHPPOTE controller {told.controller}, firmware {told.version}"
    return None
