"""LaneService and FeedService: what staff see and do."""

import asyncio

import grpc
import pytest

from gate.station.state import DeviceState
from gate.v1 import feed_pb2, lane_pb2, reason_pb2, status_pb2
from gate.v1.feed_pb2_grpc import FeedServiceStub
from gate.v1.lane_pb2_grpc import LaneServiceStub
from tests.rpc.station import READER, connected, lane_state, refusal

INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
DESK = "desk-2"


def test_a_lane_is_told_as_it_is() -> None:
    """Mode, emergency, barrier, devices with their faults, causes and the sign arrive unchanged."""
    broken = DeviceState("relay", "modbus-relay", "turnstile", up=False, fault="PORT_LOST", detail="plug it in")
    state = lane_state(
        mode="FREE", emergency=True, barrier="HELD_OPEN", devices=(READER, broken), degraded=("TURNSTILE_DOWN(A1)",),
        sign_verdict="REFER", sign_reason="EMERGENCY_OPEN", occupied=True,
        release_within_s=20.5, normally_open=True,
    )  # fmt: skip

    async def story() -> None:
        async with connected() as (surface, link):
            surface.station.states["A1"] = state
            lane = (await LaneServiceStub(link).GetLane(lane_pb2.GetLaneRequest(lane_id="A1"))).lane
            lanes = (await LaneServiceStub(link).ListLanes(lane_pb2.ListLanesRequest())).lanes
        assert [one.id for one in lanes] == ["A1", "A2"]
        assert lanes[0] == lane
        assert lane.mode == lane_pb2.LANE_MODE_FREE
        assert lane.emergency
        assert lane.occupied
        assert lane.normally_open
        assert lane.release_duration.ToTimedelta().total_seconds() == 20.5
        assert not lanes[1].HasField("release_duration"), "a lane without a turnstile releases nobody"
        assert lane.barrier_state == lane_pb2.BARRIER_STATE_HELD_OPEN
        assert [(d.name, d.driver, d.kind, d.up, d.fault, d.detail) for d in lane.devices] == [
            ("samv", "samv", "card-reader", True, "", "SAM_V 1.0"),
            ("relay", "modbus-relay", "turnstile", False, "PORT_LOST", "plug it in"),
        ]
        assert list(lane.degraded_causes) == ["TURNSTILE_DOWN(A1)"]
        assert (lane.sign_verdict, lane.sign_reason) == (status_pb2.VERDICT_REFER, reason_pb2.REASON_EMERGENCY_OPEN)

    asyncio.run(story())


@pytest.mark.parametrize("mode", ["ENTRY", "EXIT", "BOTH", "CLOSED", "FREE", "MAINTENANCE"])
def test_every_mode_can_be_set(mode: str) -> None:
    """The station is asked for the mode of that name, and the lane comes back with it."""

    async def story() -> None:
        async with connected() as (surface, link):
            wanted = lane_pb2.LaneMode.Value(f"LANE_MODE_{mode}")
            order = lane_pb2.SetLaneModeRequest(lane_id="A1", mode=wanted, operator=DESK)
            assert (await LaneServiceStub(link).SetLaneMode(order)).lane.mode == wanted
            assert surface.station.asked == [("set_mode", "A1", mode, DESK)]

    asyncio.run(story())


@pytest.mark.parametrize(("number", "direction"), [(0, ""), (1, "entry"), (2, "exit")])
def test_a_staff_release_names_who_why_and_which_way(number: int, direction: str) -> None:
    """All of it reaches the station, Chinese text and its wide space too."""

    async def story() -> None:
        async with connected() as (surface, link):
            order = lane_pb2.ReleaseLaneRequest(operator="三号\u3000岗", why="已查验纸质证明", lane_id="A1")
            order.direction = number  # type: ignore[assignment] # as a client in another language may
            assert (
                await LaneServiceStub(link).ReleaseLane(order)
            ).lane.barrier_state == lane_pb2.BARRIER_STATE_RELEASED
            assert surface.station.asked == [("release", "A1", direction, "三号\u3000岗", "已查验纸质证明")]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("GetLane", lane_pb2.GetLaneRequest(), "lane_id"),
        ("SetLaneMode", lane_pb2.SetLaneModeRequest(lane_id="A1", operator=DESK), "mode"),
        ("SetLaneMode", lane_pb2.SetLaneModeRequest(lane_id="A1", operator=DESK, mode=77), "mode"),  # type: ignore[arg-type] # a newer client's
        ("SetLaneMode", lane_pb2.SetLaneModeRequest(lane_id="A1", mode=1), "operator"),  # type: ignore[arg-type] # by number
        ("SetLaneMode", lane_pb2.SetLaneModeRequest(mode=1, operator=DESK), "lane_id"),  # type: ignore[arg-type] # by number
        ("ReleaseLane", lane_pb2.ReleaseLaneRequest(lane_id="A1", operator=DESK), "why"),
        ("ReleaseLane", lane_pb2.ReleaseLaneRequest(lane_id="A1", why="x"), "operator"),
        ("ReleaseLane", lane_pb2.ReleaseLaneRequest(lane_id="A1", why="x" * 201, operator=DESK), "why"),
        ("ReleaseLane", lane_pb2.ReleaseLaneRequest(lane_id="A1", why="x", operator="d\nlane A2: forged"), "operator"),
        ("ReleaseLane", lane_pb2.ReleaseLaneRequest(lane_id="A1", why="x\u202e", operator=DESK), "why"),
        ("ReleaseLane", lane_pb2.ReleaseLaneRequest(lane_id="A1", why="x", operator=DESK, direction=9), "direction"),  # type: ignore[arg-type] # a newer client's
        ("ResetEmergency", lane_pb2.ResetEmergencyRequest(lane_id="A1"), "operator"),
    ],
)  # fmt: skip
def test_a_wrong_order_is_refused_and_not_carried_out(method: str, request_: object, field: str) -> None:
    """The field is named, and the station hears nothing: an unknown direction opens no other one."""

    async def story() -> None:
        async with connected() as (surface, link):
            call = getattr(LaneServiceStub(link), method)(request_)
            assert await refusal(call) == (INVALID, "REQUEST_INVALID", {"field": field})
            assert surface.station.asked == []

    asyncio.run(story())


def test_an_unknown_lane_is_not_found_and_not_repeated() -> None:
    """LANE_NOT_FOUND, without what was asked for: it may be a passenger's number."""

    async def story() -> None:
        async with connected() as (_, link):
            call = LaneServiceStub(link).GetLane(lane_pb2.GetLaneRequest(lane_id="11010519491231002X"))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is NOT_FOUND
            assert "1949" not in str(refused.value) + repr(refused.value.trailing_metadata())
            call = LaneServiceStub(link).GetLane(lane_pb2.GetLaneRequest(lane_id="B7"))
            assert (await refusal(call))[:2] == (NOT_FOUND, "LANE_NOT_FOUND")

    asyncio.run(story())


def test_an_emergency_is_not_reset_while_its_input_is_active() -> None:
    """FAILED_PRECONDITION with the station's own words on what to do first; afterwards it is reset."""

    async def story() -> None:
        async with connected() as (surface, link):
            station = surface.station
            station.states["A1"] = lane_state(emergency=True)
            station.alarm = True
            order = lane_pb2.ResetEmergencyRequest(lane_id="A1", operator=DESK)
            with pytest.raises(grpc.aio.AioRpcError, match="end the alarm first") as refused:
                await LaneServiceStub(link).ResetEmergency(order)
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            station.alarm = False
            assert not (await LaneServiceStub(link).ResetEmergency(order)).lane.emergency

    asyncio.run(story())


def test_feeds_are_told_as_they_are() -> None:
    """In their order; one that was never applied has neither a time nor an age; an unknown issuer is not found."""

    async def story() -> None:
        async with connected() as (_, link):
            stub = FeedServiceStub(link)
            feeds = (await stub.ListFeeds(feed_pb2.ListFeedsRequest())).feeds
            assert [(feed.issuer, feed.sequence) for feed in feeds] == [("SSM", 7), ("ZJ", 0)]
            assert feeds[0].freshness.as_of_time.seconds == 1_780_000_000
            assert not feeds[1].freshness.HasField("as_of_time")
            assert not feeds[1].HasField("next_due_time")
            assert (await stub.GetFeed(feed_pb2.GetFeedRequest(issuer="ZJ"))).feed == feeds[1]
            call = stub.GetFeed(feed_pb2.GetFeedRequest(issuer="11010519491231002X"))
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert "1949" not in str(refused.value) + repr(refused.value.trailing_metadata())
            assert (await refusal(stub.GetFeed(feed_pb2.GetFeedRequest(issuer="XX"))))[:2] == (
                NOT_FOUND,
                "FEED_NOT_FOUND",
            )

    asyncio.run(story())
