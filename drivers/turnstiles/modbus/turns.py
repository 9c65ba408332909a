"""Who speaks next on a line that carries one frame at a time: releases before looks, each in the order they came.

A line must be silent between two frames. The silence belongs to the turn before it, and who comes next is chosen at its
end: so a release waits for the frame under way and one silence, and never for a look that was only about to begin.
"""

import asyncio
from collections import deque
from typing import NamedTuple


class _Place(NamedTuple):
    """One who waits."""

    future: asyncio.Future[None]
    since_s: float  # by the loop's clock


class Turns:
    """The turns of one line. `silence_s` follows every turn."""

    def __init__(self, silence_s: float) -> None:
        self._silence_s = silence_s
        self.taken = False  # somebody has the line, or it keeps its silence
        self._writes: deque[_Place] = deque()
        self._reads: deque[_Place] = deque()

    @property
    def writes_wait(self) -> bool:
        """Whether a command that moves a barrier waits for its turn."""
        return any(not place.future.done() for place in self._writes)

    @property
    def waited_s(self) -> float:
        """For how long the one who waits longest has waited; 0 when nobody waits."""
        now_s = asyncio.get_running_loop().time()
        waiting = (place for place in (*self._writes, *self._reads) if not place.future.done())
        return max((now_s - place.since_s for place in waiting), default=0.0)

    async def take(self, write: bool) -> None:
        """Wait for a turn; then `give_back` must be called."""
        if not self.taken:
            self.taken = True
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        (self._writes if write else self._reads).append(_Place(future, loop.time()))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled():  # the turn had come, and nobody will use it
                self._next()
            raise

    def give_back(self) -> None:
        """The frames of this turn are over."""
        if self._silence_s:
            asyncio.get_running_loop().call_later(self._silence_s, self._next)
        else:
            self._next()

    def _next(self) -> None:
        for queue in (self._writes, self._reads):
            while queue:
                future = queue.popleft().future
                if not future.done():
                    future.set_result(None)
                    return
        self.taken = False
