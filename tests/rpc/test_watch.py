"""Streams: what watchers see, and what becomes of those who do not read."""

import asyncio

import grpc
import grpc.aio
import pytest

from gate.rpc import calls
from gate.station.watch import QUEUE_MAX, SUBSCRIBERS_MAX
from gate.v1 import lane_pb2, passage_pb2
from gate.v1.lane_pb2_grpc import LaneServiceStub
from gate.v1.passage_pb2_grpc import PassageServiceStub
from tests.rpc.station import connected, error_info, lane_state, refusal, until
from tests.rpc.stuck import stuck_client
from tests.support.records import passage_record

WATCH_LANES = "/gate.v1.LaneService/WatchLanes"
WATCH_PASSAGES = "/gate.v1.PassageService/WatchPassages"


def test_lanes_are_told_once_and_then_as_they_change() -> None:
    """First every lane, then each change; with lane_ids only those."""

    async def story() -> None:
        async with connected() as (surface, link):
            stub = LaneServiceStub(link)
            everything = stub.WatchLanes(lane_pb2.WatchLanesRequest())
            second = stub.WatchLanes(lane_pb2.WatchLanesRequest(lane_ids=["A2"]))
            assert [(await everything.read()).lane.id for _ in range(2)] == ["A1", "A2"]
            assert (await second.read()).lane.id == "A2"
            surface.station.change("A1", barrier="RELEASED")
            surface.station.change("A2", mode="CLOSED")
            seen = [(await everything.read()).lane for _ in range(2)]
            assert [lane.id for lane in seen] == ["A1", "A2"]
            assert seen[0].barrier_state == lane_pb2.BARRIER_STATE_RELEASED
            assert (await second.read()).lane.mode == lane_pb2.LANE_MODE_CLOSED

    asyncio.run(story())


def test_no_passage_is_missed_once_the_headers_are_here() -> None:
    """A reader who waits for the connection sees every passage from then on, in order, and only of its lanes."""

    async def story() -> None:
        async with connected() as (surface, link):
            stream = PassageServiceStub(link).WatchPassages(passage_pb2.WatchPassagesRequest(lane_ids=["A2"]))
            await asyncio.wait_for(stream.wait_for_connection(), 10)
            for number in range(6):
                surface.station.ended.publish(passage_record(number, lane="A2" if number % 2 else "A1"))
            seen = [(await stream.read()).passage.passage_id for _ in range(3)]
            assert seen == [passage_record(number).passage_id for number in (1, 3, 5)]

    asyncio.run(story())


def test_the_last_passages_come_newest_first() -> None:
    """page_size is obeyed, 100 without one, refused out of its range; the subject's key stays in the controller."""

    async def story() -> None:
        async with connected() as (surface, link):
            for number in range(150):
                surface.station.recent.add(passage_record(number, subject=b"\xabSUBJECT-OF-16-B"))
            stub = PassageServiceStub(link)
            for asked, given in ((0, 100), (1, 1), (120, 120), (1000, 150)):
                reply = await stub.ListPassages(passage_pb2.ListPassagesRequest(page_size=asked))
                wanted = [passage_record(149 - number).passage_id for number in range(given)]
                assert [passage.passage_id for passage in reply.passages] == wanted
                assert b"SUBJECT" not in reply.SerializeToString()
            for asked in (-1, 1001):
                call = stub.ListPassages(passage_pb2.ListPassagesRequest(page_size=asked))
                assert (await refusal(call))[1:] == ("REQUEST_INVALID", {"field": "page_size"})

    asyncio.run(story())


@pytest.mark.parametrize("method", ["lanes", "passages"])
def test_watching_an_unknown_lane_is_refused(method: str) -> None:
    """A filter that nothing can ever pass is a mistake and is told as one."""

    async def story() -> None:
        async with connected() as (_, link):
            lanes = LaneServiceStub(link).WatchLanes(lane_pb2.WatchLanesRequest(lane_ids=["A1", "B7"]))
            passages = PassageServiceStub(link).WatchPassages(passage_pb2.WatchPassagesRequest(lane_ids=["B7"]))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await {"lanes": lanes, "passages": passages}[method].read()
            assert error_info(refused.value)[0] == "LANE_NOT_FOUND"

    asyncio.run(story())


def test_who_does_not_read_is_let_go_while_others_go_on() -> None:
    """A reader falls behind: the others get every passage, and it is told SUBSCRIBER_TOO_SLOW when it reads again."""

    async def story() -> None:
        async with connected() as (surface, link), grpc.aio.insecure_channel(surface.address) as other:
            idle = PassageServiceStub(link).WatchPassages(passage_pb2.WatchPassagesRequest())
            reader = PassageServiceStub(other).WatchPassages(passage_pb2.WatchPassagesRequest())
            await asyncio.wait_for(asyncio.gather(idle.wait_for_connection(), reader.wait_for_connection()), 10)
            published = 0
            while len(surface.station.ended._subscriptions) == 2:  # until the transport is full, and then the queue
                surface.station.ended.publish(passage_record(published, rule_id="r" * 2000))
                published += 1
                read = (await asyncio.wait_for(reader.read(), 10)).passage
                assert read.passage_id == passage_record(published - 1).passage_id
                assert published < 50_000, "an idle reader is held without bound"
            told = []

            async def read_on() -> None:
                async for reply in idle:
                    told.append(reply)

            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await asyncio.wait_for(read_on(), 10)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert error_info(refused.value)[0] == "SUBSCRIBER_TOO_SLOW"
            assert len(told) <= published - QUEUE_MAX
            surface.station.ended.publish(passage_record(published))
            assert (await reader.read()).passage.passage_id == passage_record(published).passage_id

    asyncio.run(story())


def test_stuck_streams_cost_neither_places_nor_the_controllers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes not one byte loses its subscription after WRITE_S; others subscribe, and the server still ends."""
    monkeypatch.setattr(calls, "WRITE_S", 0.2)

    async def story() -> None:
        async with connected() as (surface, link), stuck_client(surface.address) as stuck:
            streams = {stuck.subscribe(WATCH_LANES) for _ in range(SUBSCRIBERS_MAX)}
            await until(lambda: stuck.answered == streams)
            await until(lambda: surface.codes("WatchLanes") == ["RESOURCE_EXHAUSTED"] * SUBSCRIBERS_MAX)
            assert not surface.station.lane_states.watched
            stream = LaneServiceStub(link).WatchLanes(lane_pb2.WatchLanesRequest())
            assert (await stream.read()).lane.id == "A1"

    asyncio.run(story())


def test_there_are_only_so_many_places() -> None:
    """One more than the limit is refused with TOO_MANY_SUBSCRIBERS; a place that is left is taken again."""

    async def story() -> None:
        async with connected() as (surface, link):
            stub = PassageServiceStub(link)
            request = passage_pb2.WatchPassagesRequest()
            streams = [stub.WatchPassages(request) for _ in range(SUBSCRIBERS_MAX)]
            await asyncio.gather(*(stream.wait_for_connection() for stream in streams))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.WatchPassages(request).read()
            assert error_info(refused.value)[0] == "TOO_MANY_SUBSCRIBERS"
            streams.pop().cancel()
            await until(lambda: len(surface.station.ended._subscriptions) < SUBSCRIBERS_MAX)
            await asyncio.wait_for(stub.WatchPassages(request).wait_for_connection(), 10)

    asyncio.run(story())


def test_streams_end_in_order_when_the_station_stops() -> None:
    """A watched topic that is closed ends its streams with OK after what they still hold."""

    async def story() -> None:
        async with connected() as (surface, link):
            stream = PassageServiceStub(link).WatchPassages(passage_pb2.WatchPassagesRequest())
            await stream.wait_for_connection()
            surface.station.ended.publish(passage_record(1))
            surface.station.ended.close()
            assert [reply.passage.passage_id async for reply in stream] == [passage_record(1).passage_id]
            assert await stream.code() is grpc.StatusCode.OK

    asyncio.run(story())


def test_a_call_is_told_to_the_metrics_however_it_ends() -> None:
    """OK, refused, given up by the client, failed: one line each with its code and a time."""

    async def story() -> None:
        async with connected() as (surface, link):
            stub = LaneServiceStub(link)
            await stub.GetLane(lane_pb2.GetLaneRequest(lane_id="A1"))
            await refusal(stub.GetLane(lane_pb2.GetLaneRequest(lane_id="B7")))
            stream = stub.WatchLanes(lane_pb2.WatchLanesRequest())
            await stream.read()
            stream.cancel()
            await until(lambda: bool(surface.codes("WatchLanes")))
            del surface.station.states["A1"], surface.station.states["A2"]
            surface.station.states["A1"] = None  # type: ignore[assignment] # a fault of ours
            await refusal(stub.GetLane(lane_pb2.GetLaneRequest(lane_id="A1")))
            assert surface.codes("GetLane") == ["OK", "NOT_FOUND", "INTERNAL"]
            assert surface.codes("WatchLanes") == ["CANCELLED"]
            assert all(seconds >= 0 for _, _, seconds in surface.calls)
            surface.station.states["A1"] = lane_state()

    asyncio.run(story())
