"""Whether OSDP devices are on a port: by the question who they are (61), which changes nothing. Needs no libosdp."""

from collections.abc import Mapping, Sequence

from drivers.readers.osdp.codec import EVERYBODY, Frame, Frames, ask_identity, said_identity
from drivers.registry import SettingValue
from drivers.transport import ByteLink, TcpAddress, open_link, parse_port, port_setting

BAUDS = (9600, 115200, 38400, 57600, 19200, 230400)  # 9600 is what the standard has every device begin with
ANSWER_S = 0.25  # the standard gives a device 200 ms to begin its answer
ADDRESSES = range(8)  # asked one by one, since the common question need not tell whose answer it is
HEARD_MAX = 2048  # bytes: what talks without end is no answer
AFTER_NOISE = range(4)  # several devices at once, or none of ours: all speeds of that stay within drivers.probe's limit


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """Speed, addresses and what the devices say of themselves; None when none answers. Raises PortError."""
    port = port_setting(settings)
    tcp = isinstance(parse_port(port), TcpAddress)
    for baud in BAUDS[:1] if tcp else BAUDS:
        link = await open_link(port, baud)
        try:
            if found := await _found(link):
                return f"OSDP{'' if tcp else f' at {baud} Bd'}, {'; '.join(found)}"
        finally:
            link.close()
    return None


async def _found(link: ByteLink) -> list[str]:
    frames, noise = await _ask(link, EVERYBODY)
    if not frames and not noise:
        return []
    found: list[str] = []
    for address in ADDRESSES if frames else AFTER_NOISE:
        own, _ = await _ask(link, address)
        found += [said_identity(frame) for frame in own if frame.address == address][:1]
    return found or [said_identity(frame) for frame in frames[:1]]


async def _ask(link: ByteLink, address: int) -> tuple[Sequence[Frame], bool]:
    """The replies, and whether anything was heard that is none."""
    await link.discard_input()
    await link.write(ask_identity(address))
    frames, replies, heard = Frames(), list[Frame](), 0
    while heard < HEARD_MAX and (data := await link.read(ANSWER_S)):
        heard += len(data)
        replies += [frame for frame in frames.feed(data) if frame.reply]
    return replies, heard > 0 and not replies
