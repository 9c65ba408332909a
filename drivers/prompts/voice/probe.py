"""Whether a voice module is on a port: by asking whether it plays, which plays nothing."""

from collections.abc import Mapping

from drivers.asking import answer_to, at_any_speed
from drivers.prompts.voice.codec import PROFILES, Frames
from drivers.registry import SettingValue
from drivers.transport import ByteLink, port_setting

BAUDS = (9600,)  # all of them; none can be set otherwise
_KINDS = ("dfr0534", "dfplayer")  # the short form of the second is answered like the long one


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Its kind; None when nobody answers so. Raises PortError."""
    return await at_any_speed(port_setting(settings), BAUDS, _ask_both)


async def _ask_both(link: ByteLink) -> str | None:
    for kind in _KINDS:
        profile = PROFILES[kind]
        heard = Frames(profile).feed(await answer_to(link, profile.ask_state()))
        if any(frame.command == profile.ask for frame in heard):
            return f"voice module, profile {kind}"
    return None
