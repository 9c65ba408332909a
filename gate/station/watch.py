"""Fan-out of lane states and passages to streams: bounded for every reader, and never waited for by a lane."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from gate.station.state import SubscriberTooSlowError, TooManySubscribersError

T = TypeVar("T")

QUEUE_MAX = 256  # five seconds of the busiest station (50 passages a second); a reader behind by that is let go
SUBSCRIBERS_MAX = 64  # operators' pages of one station, several times over
KEPT_MAX = 1_000  # last passages for ListPassages: a quarter of an hour at a passage a second


class Watch(Generic[T]):
    """One topic. `publish` never waits; a reader whose queue is full is dropped with SubscriberTooSlowError."""

    def __init__(self) -> None:
        self._queues: set[asyncio.Queue[T | None]] = set()

    def publish(self, value: T) -> None:
        """Hand `value` to every reader."""
        for queue in list(self._queues):
            try:
                queue.put_nowait(value)
            except asyncio.QueueFull:
                self._queues.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)

    @property
    def watched(self) -> bool:
        """Whether anybody reads."""
        return bool(self._queues)

    async def subscribe(self) -> AsyncIterator[T]:
        """Values from now on. Raises TooManySubscribersError, SubscriberTooSlowError."""
        with self._subscription() as queue:
            while (value := await queue.get()) is not None:
                yield value
            raise SubscriberTooSlowError

    @contextmanager
    def _subscription(self) -> Iterator[asyncio.Queue[T | None]]:
        if len(self._queues) >= SUBSCRIBERS_MAX:
            raise TooManySubscribersError
        queue: asyncio.Queue[T | None] = asyncio.Queue(QUEUE_MAX)
        self._queues.add(queue)
        try:
            yield queue
        finally:
            self._queues.discard(queue)


class Recent(Generic[T]):
    """The last values, newest first."""

    def __init__(self) -> None:
        self._kept: deque[T] = deque(maxlen=KEPT_MAX)

    def add(self, value: T) -> None:
        """Keep `value`; the oldest is forgotten."""
        self._kept.appendleft(value)

    def newest(self, count: int) -> list[T]:
        """At most `count` values."""
        return [value for value, _ in zip(self._kept, range(count), strict=False)]
