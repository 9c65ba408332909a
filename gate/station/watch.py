"""Fan-out of lane states and passages to streams: bounded for every reader, and never waited for by a lane.

For one event loop; nothing here is thread-safe.
"""

import asyncio
import weakref
from collections import deque
from typing import Generic, TypeVar

from gate.station.state import SubscriberTooSlowError, TooManySubscribersError

T = TypeVar("T")

QUEUE_MAX = 256  # five seconds of the busiest station (50 passages a second); a reader behind by that is let go
SUBSCRIBERS_MAX = 64  # operators' pages of one station, several times over
KEPT_MAX = 1_000  # last passages for ListPassages: a quarter of an hour at a passage a second


class Watch(Generic[T]):
    """One topic. `publish` never waits; a reader whose queue is full is dropped with SubscriberTooSlowError."""

    def __init__(self) -> None:
        # Weak, so that a stream that just vanishes (cancelled, forgotten) gives its place back without being asked.
        self._subscriptions: weakref.WeakSet[Subscription[T]] = weakref.WeakSet()

    def publish(self, value: T) -> None:
        """Hand `value` to every reader."""
        for subscription in tuple(self._subscriptions):
            if not subscription._offer(value):
                self._subscriptions.discard(subscription)

    @property
    def watched(self) -> bool:
        """Whether anybody reads."""
        return bool(self._subscriptions)

    def subscribe(self) -> "Subscription[T]":
        """Values from now on, also those published before the first is asked for. Raises TooManySubscribersError."""
        if len(self._subscriptions) >= SUBSCRIBERS_MAX:
            raise TooManySubscribersError
        subscription: Subscription[T] = Subscription()
        self._subscriptions.add(subscription)
        return subscription

    def close(self) -> None:
        """End all streams after what they still hold: the station stops."""
        for subscription in tuple(self._subscriptions):
            subscription.close()
        self._subscriptions.clear()


class Subscription(Generic[T]):
    """One reader's bounded queue, read with `async for` by one task. Raises SubscriberTooSlowError once it was dropped.

    A stream that is stuck in sending never comes back to be told: whoever serves it waits for `dropped` as well.
    """

    def __init__(self) -> None:
        self.dropped = asyncio.Event()
        self._values: deque[T] = deque()
        self._news = asyncio.Event()
        self._closed = False

    def __aiter__(self) -> "Subscription[T]":
        return self

    async def __anext__(self) -> T:
        while not self._values:
            if self.dropped.is_set():
                raise SubscriberTooSlowError
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._values.popleft()

    def close(self) -> None:
        """No more values; those still held are read first."""
        self._closed = True
        self._news.set()

    def _offer(self, value: T) -> bool:
        """Take `value`; False when there is no room, and then for ever."""
        if self._closed:
            return False
        if len(self._values) >= QUEUE_MAX:
            self._values.clear()  # what is missed is listed again (ListPassages), and this memory is not the reader's
            self.dropped.set()
        else:
            self._values.append(value)
        self._news.set()
        return not self.dropped.is_set()


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
