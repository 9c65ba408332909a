"""What a voice still has to say: one prompt at most, and not for long."""

import asyncio
import contextlib

# A verdict stays on the sign so long (gate/passage/lane.py); said later it would be taken for the next passenger's.
LIFE_S = 3.0


class Newest:
    """A queue of one: a voice says one thing at a time, and of two that wait only the newer is still true."""

    def __init__(self) -> None:
        self._reason = ""
        self._since_s = 0.0
        self._came = asyncio.Event()

    def put(self, reason: str) -> None:
        """Say this next, instead of what still waits."""
        self._reason, self._since_s = reason, asyncio.get_running_loop().time()
        self._came.set()

    async def wait(self, timeout_s: float) -> None:
        """Until something waits, at most `timeout_s`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._came.wait()

    def take(self) -> str:
        """What to say now; "" when nothing waits, or it waited too long."""
        reason, self._reason = self._reason, ""
        self._came.clear()
        late = asyncio.get_running_loop().time() - self._since_s > LIFE_S
        return "" if late else reason
