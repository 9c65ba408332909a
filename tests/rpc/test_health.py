"""grpc.health.v1: the services, and one name a lane."""

import asyncio
import signal

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from gate.rpc.health import WATCHERS_MAX
from gate.v1 import lane_pb2
from gate.v1.lane_pb2_grpc import LaneServiceStub
from tests.bench.load import controller
from tests.rpc.station import READER, connected, refusal, until
from tests.rpc.stuck import stuck_client

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
WATCH = "/grpc.health.v1.Health/Watch"


def of(service: str) -> health_pb2.HealthCheckRequest:
    return health_pb2.HealthCheckRequest(service=service)


def broken() -> object:
    """The reader of a lane, unplugged."""
    from dataclasses import replace

    return replace(READER, up=False, fault="PORT_LOST")


@pytest.mark.parametrize(
    "service",
    ["", *(f"gate.v1.{name}Service" for name in ("Status", "Lane", "Passage", "Feed")), "gate.lane.A1", "gate.lane.A2"],
)
def test_every_service_and_lane_is_known_from_the_first_call(service: str) -> None:
    """SERVING at once, not only when the first round of looking has come."""

    async def story() -> None:
        async with connected() as (_, link):
            assert (await HealthStub(link).Check(of(service))).status == SERVING

    asyncio.run(story())


def test_a_lane_serves_while_all_its_devices_are_up() -> None:
    """A watcher sees it go and come back; the other lane and the services stay."""

    async def story() -> None:
        async with connected() as (surface, link):
            stub = HealthStub(link)
            watch = stub.Watch(of("gate.lane.A1"))
            assert (await watch.read()).status == SERVING
            surface.station.change("A1", devices=(READER, broken()))
            assert (await asyncio.wait_for(watch.read(), 10)).status == NOT_SERVING
            statuses = (await stub.List(health_pb2.HealthListRequest())).statuses
            assert [name for name, reply in statuses.items() if reply.status != SERVING] == ["gate.lane.A1"]
            surface.station.change("A1", devices=(READER,))
            assert (await asyncio.wait_for(watch.read(), 10)).status == SERVING

    asyncio.run(story())


def test_an_unknown_service_is_not_found_and_may_be_watched() -> None:
    """As the protocol says: NOT_FOUND for Check, SERVICE_UNKNOWN and waiting for Watch."""

    async def story() -> None:
        async with connected() as (_, link):
            stub = HealthStub(link)
            assert (await refusal(stub.Check(of("gate.lane.B7"))))[0] is grpc.StatusCode.NOT_FOUND
            watch = stub.Watch(of("gate.lane.B7"))
            assert (await watch.read()).status == SERVICE_UNKNOWN
            assert not watch.done()

    asyncio.run(story())


def test_watchers_who_read_nothing_stop_no_one() -> None:
    """All places taken by clients that take not one byte: Check stays right, one more is refused, the server ends."""

    async def story() -> None:
        async with connected() as (surface, link), stuck_client(surface.address) as stuck:
            streams = {stuck.subscribe(WATCH, of("gate.lane.A1").SerializeToString()) for _ in range(WATCHERS_MAX)}
            await until(lambda: stuck.answered == streams)
            stub = HealthStub(link)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Watch(of("")).read()
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            surface.station.change("A1", devices=(broken(),))
            async with asyncio.timeout(10):
                while (await stub.Check(of("gate.lane.A1"))).status != NOT_SERVING:
                    await asyncio.sleep(0.02)

    asyncio.run(story())


def test_a_watcher_that_leaves_gives_its_place_back() -> None:
    """All places, three times over."""

    async def story() -> None:
        async with connected() as (surface, link):
            for count in range(1, 4):
                watches = [HealthStub(link).Watch(of("")) for _ in range(WATCHERS_MAX)]
                for watch in watches:
                    assert (await watch.read()).status == SERVING
                    watch.cancel()
                await until(lambda count=count: len(surface.codes("Watch")) == count * WATCHERS_MAX)  # type: ignore[misc] # bound now

    asyncio.run(story())


def test_watchers_learn_that_the_controller_stops() -> None:
    """The last word before the stream ends is NOT_SERVING."""

    async def story() -> None:
        async with connected() as (surface, link):
            watch = HealthStub(link).Watch(of("gate.v1.LaneService"))
            assert (await watch.read()).status == SERVING
            stopping = asyncio.create_task(surface.rpc.stop())
            assert (await asyncio.wait_for(watch.read(), 10)).status == NOT_SERVING
            watch.cancel()
            await stopping

    asyncio.run(story())


def test_a_controller_that_ends_says_so_before_its_last_passages_have_ended() -> None:
    """At SIGTERM, with somebody just released: NOT_SERVING at once, while calls are still answered."""

    async def story() -> None:
        async with (
            controller(1, fast=False) as station,
            grpc.aio.insecure_channel(f"unix:{station.folder}/operator.sock") as link,
        ):
            lanes = LaneServiceStub(link)
            watch = HealthStub(link).Watch(of("gate.v1.LaneService"))
            assert (await watch.read()).status == SERVING
            lane_id = station.lanes[0].id
            released = lane_pb2.ReleaseLaneRequest(lane_id=lane_id, operator="desk-2", why="paper certificate seen")
            await lanes.ReleaseLane(released)
            station.process.send_signal(signal.SIGTERM)
            assert (await asyncio.wait_for(watch.read(), 10)).status == NOT_SERVING
            lane = (await lanes.GetLane(lane_pb2.GetLaneRequest(lane_id=lane_id))).lane
            assert lane.barrier_state == lane_pb2.BARRIER_STATE_RELEASED
            await station.lanes[0].board.pass_through()
            assert await asyncio.wait_for(station.process.wait(), 15) == 0

    asyncio.run(story())
