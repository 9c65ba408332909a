"""Fan-out to streams: order, bounds, and readers that are slow, stuck or gone."""

import asyncio
import gc
from collections.abc import Coroutine

import pytest

from gate.station.state import SubscriberTooSlowError, TooManySubscribersError
from gate.station.watch import KEPT_MAX, QUEUE_MAX, SUBSCRIBERS_MAX, Recent, Subscription, Watch


def run(story: Coroutine[None, None, None]) -> None:
    """Run a story within 10 s."""
    asyncio.run(asyncio.wait_for(story, 10))


def test_every_reader_gets_every_value_in_order() -> None:
    """Two readers, one that waits and one that comes late to its queue, see the same values."""

    async def story() -> None:
        watch: Watch[int] = Watch()
        waiting, late = watch.subscribe(), watch.subscribe()
        reader = asyncio.create_task(_taken(waiting, 100))
        for number in range(100):
            watch.publish(number)
            if number % 7 == 0:
                await asyncio.sleep(0)
        assert await reader == await _taken(late, 100) == list(range(100))

    run(story())


def test_nothing_is_missed_between_subscribing_and_reading() -> None:
    """A stream subscribes, sends the present state, then reads: what changed meanwhile is there."""

    async def story() -> None:
        watch: Watch[int] = Watch()
        subscription = watch.subscribe()
        watch.publish(1)
        assert await anext(subscription) == 1

    run(story())


def test_a_slow_reader_is_dropped_and_told_and_harms_no_other() -> None:
    """After 256 unread values the reader is let go, its memory with it; a quick reader misses nothing."""

    async def story() -> None:
        watch: Watch[int] = Watch()
        slow, quick = watch.subscribe(), watch.subscribe()
        seen = []
        for number in range(QUEUE_MAX + 1):
            watch.publish(number)
            seen.append(await anext(quick))
        assert slow.dropped.is_set()
        with pytest.raises(SubscriberTooSlowError):
            await anext(slow)
        watch.publish(-1)
        with pytest.raises(SubscriberTooSlowError):
            await anext(slow)
        assert [*seen, await anext(quick)] == [*range(QUEUE_MAX + 1), -1]

    run(story())


def test_exactly_the_bound_is_still_kept() -> None:
    """256 unread values are no reason to drop anybody."""

    async def story() -> None:
        watch: Watch[int] = Watch()
        reader = watch.subscribe()
        for number in range(QUEUE_MAX):
            watch.publish(number)
        assert await _taken(reader, QUEUE_MAX) == list(range(QUEUE_MAX))

    run(story())


def test_a_stream_stuck_in_sending_learns_that_it_was_dropped() -> None:
    """A server that never comes back to read can wait for `dropped` beside its sending."""

    async def story() -> None:
        watch: Watch[int] = Watch()
        stuck = watch.subscribe()
        told = asyncio.create_task(stuck.dropped.wait())
        for number in range(QUEUE_MAX + 1):
            watch.publish(number)
        assert await told

    run(story())


def test_readers_are_bounded_and_a_dropped_one_gives_its_place_back() -> None:
    """One more than the bound is refused; when one falls behind, another may come."""

    async def story() -> None:
        watch: Watch[int] = Watch()
        held = [watch.subscribe() for _ in range(SUBSCRIBERS_MAX)]
        with pytest.raises(TooManySubscribersError):
            watch.subscribe()
        for number in range(QUEUE_MAX + 1):
            watch.publish(number)
        assert all(subscription.dropped.is_set() for subscription in held)
        watch.subscribe()

    run(story())


def test_a_cancelled_or_forgotten_stream_gives_its_place_back() -> None:
    """Whoever stops reading without a word takes no place for ever."""

    async def story() -> None:
        watch: Watch[int] = Watch()

        async def stream() -> None:
            async for _ in watch.subscribe():
                pass

        task = asyncio.create_task(stream())
        await asyncio.sleep(0)
        assert watch.watched
        task.cancel()
        await asyncio.wait([task])
        del task
        gc.collect()
        assert not watch.watched

    run(story())


def test_closing_ends_streams_after_what_they_hold() -> None:
    """When the station stops, a reader still gets the last passages and then a regular end."""

    async def story() -> None:
        watch: Watch[int] = Watch()
        reader = watch.subscribe()
        watch.publish(1)
        watch.close()
        watch.publish(2)
        assert [value async for value in reader] == [1]

    run(story())


def test_the_last_values_are_kept_newest_first() -> None:
    """At most 1,000; asking for more gives what there is."""
    recent: Recent[int] = Recent()
    for number in range(KEPT_MAX + 10):
        recent.add(number)
    assert recent.newest(3) == [KEPT_MAX + 9, KEPT_MAX + 8, KEPT_MAX + 7]
    assert recent.newest(5_000) == list(range(KEPT_MAX + 9, 9, -1))


async def _taken(subscription: Subscription[int], count: int) -> list[int]:
    return [await anext(subscription) for _ in range(count)]
