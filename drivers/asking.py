"""What `probe` modules share: a port opened at one speed after the other, a question, what comes back."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from drivers.transport import ByteLink, TcpAddress, open_link, parse_port

ANSWER_S = 0.3  # no manual gives a limit; SSI's decoder answers within 100 ms
HEARD_MAX = 512  # bytes; more than any device answers to a question of who it is
SPEAKS_S = 1.0  # and no longer: something that speaks without end is asked the next question too


async def at_any_speed(port: str, bauds: Sequence[int], ask: Callable[[ByteLink], Awaitable[str | None]]) -> str | None:
    """What `ask` learns at the first speed that is answered, and that speed; over TCP once. Raises PortError."""
    over_tcp = isinstance(parse_port(port), TcpAddress)  # a converter knows the speed itself
    for baud in bauds[:1] if over_tcp else bauds:
        link = await open_link(port, baud)
        try:
            if said := await ask(link):
                return said if over_tcp else f"{said} at {baud} Bd"
        finally:
            link.close()
    return None


async def answer_to(link: ByteLink, question: bytes, wait_s: float = ANSWER_S) -> bytes:
    """All that comes after `question`, but its echo, until nothing does for `wait_s`. Raises PortError."""
    await link.discard_input()
    await link.write(question)
    heard, loop = b"", asyncio.get_running_loop()
    ends_s = loop.time() + SPEAKS_S
    while len(heard) < HEARD_MAX and loop.time() < ends_s and (data := await link.read(wait_s)):
        heard += data
    return heard.removeprefix(question)  # adapters for two-wire lines send it back
