"""A station made of plain data, and the real gRPC surface in front of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status

from gate import config
from gate.credential.documents import Document
from gate.feed.finding import Band
from gate.feed.records import CredentialStatus
from gate.passage.record import PassageRecord
from gate.policy.verdict import FindingClass, Reason, Verdict, VerdictKind
from gate.rpc.server import RpcServer
from gate.station.prompts import explained
from gate.station.state import (
    NOW_AND_HERE,
    DeviceState,
    FeedState,
    LaneState,
    StateRefusedError,
    StatusAnswer,
    Travel,
    UnknownLaneError,
)
from gate.station.watch import Recent, Subscription, Watch

GREEN = Verdict(
    VerdictKind.GRANT,
    Reason.STATUS_GREEN,
    "mutual/1",
    CredentialStatus.GREEN,
    FindingClass.LISTED,
    "SSM",
    "310000",
    Band.FRESH,
    1_780_000_000.0,
    7,
)
READER = DeviceState("samv", "samv", "card-reader", up=True, fault="", detail="SAM_V 1.0")


def lane_state(lane_id: str = "A1", **changes: Any) -> LaneState:
    """A lane at rest."""
    state = LaneState(lane_id, "ENTRY", False, "CLOSED", "IDLE", (READER,), (), "", "")
    return replace(state, **changes)


@dataclass(slots=True)
class PlainStation:
    """What `StationView` asks for, without a station."""

    states: dict[str, LaneState] = field(default_factory=lambda: {"A1": lane_state(), "A2": lane_state("A2")})
    held: list[FeedState] = field(
        default_factory=lambda: [FeedState("SSM", 7, produced_utc_s=1_780_000_000.0), FeedState("ZJ")]
    )
    lane_states: Watch[LaneState] = field(default_factory=Watch)
    ended: Watch[PassageRecord] = field(default_factory=Watch)
    recent: Recent[PassageRecord] = field(default_factory=Recent)
    alarm: bool = False  # the emergency input is active
    asked: list[tuple[object, ...]] = field(default_factory=list)
    breaks_with: Exception | None = None
    languages: tuple[str, ...] = ("zh", "en")

    def lanes(self) -> Sequence[LaneState]:
        return list(self.states.values())

    def lane(self, lane_id: str) -> LaneState:
        if lane_id not in self.states:
            raise UnknownLaneError(lane_id)
        return self.states[lane_id]

    def change(self, lane_id: str, **changes: Any) -> LaneState:
        """A lane becomes otherwise, and its watchers learn of it."""
        self.states[lane_id] = replace(self.lane(lane_id), **changes)
        self.lane_states.publish(self.states[lane_id])
        return self.states[lane_id]

    def watch_lanes(self) -> Subscription[LaneState]:
        return self.lane_states.subscribe()

    def set_mode(self, lane_id: str, mode: str, operator: str) -> LaneState:
        self.asked.append(("set_mode", lane_id, mode, operator))
        return self.change(lane_id, mode=mode)

    def release(self, lane_id: str, direction: str, operator: str, why: str, paper: bool = False) -> LaneState:
        self.asked.append(("release", lane_id, direction, operator, why, *(("paper",) if paper else ())))
        return self.change(lane_id, barrier="RELEASED")

    def reset_emergency(self, lane_id: str, operator: str) -> LaneState:
        self.asked.append(("reset_emergency", lane_id, operator))
        if self.alarm:
            raise StateRefusedError("the emergency input is still active: end the alarm first")
        return self.change(lane_id, emergency=False)

    def newest_passages(self, count: int) -> Sequence[PassageRecord]:
        return self.recent.newest(count)

    def watch_passages(self) -> Subscription[PassageRecord]:
        return self.ended.subscribe()

    def feeds(self) -> Sequence[FeedState]:
        return self.held

    def check_status(self, document: Document, travel: Travel = NOW_AND_HERE) -> StatusAnswer:
        self.asked.append(("check_status", document.type, *((travel,) if travel != NOW_AND_HERE else ())))
        if self.breaks_with:
            raise self.breaks_with
        return StatusAnswer(GREEN, "abcd", 3600.5, (), explained(GREEN.reason, None, self.languages), "12345")

    def check_code(self, content: str, travel: Travel = NOW_AND_HERE) -> StatusAnswer:
        self.asked.append(("check_code", len(content), *((travel,) if travel != NOW_AND_HERE else ())))
        words = explained(Reason.CODE_NEEDS_CARD, None, self.languages)
        return StatusAnswer(Verdict(VerdictKind.REFER, Reason.CODE_NEEDS_CARD, ""), "abcd", None, (), words, "12345")


@dataclass(slots=True)
class Served:
    """A running gRPC surface."""

    station: PlainStation
    rpc: RpcServer
    calls: list[tuple[str, str, float]]  # what the metrics were told: method, code, seconds

    @property
    def address(self) -> str:
        """The first address."""
        return self.rpc.addresses[0]

    def codes(self, method: str) -> list[str]:
        """How the calls of a method ended, in their order."""
        return [code for name, code, _ in self.calls if name == method]


@contextlib.asynccontextmanager
async def served(settings: config.Grpc | None = None, station: PlainStation | None = None) -> AsyncIterator[Served]:
    """Serve until the block ends; without settings: one loopback port that trusts everybody."""
    station = station or PlainStation()
    calls: list[tuple[str, str, float]] = []
    settings = settings or config.Grpc(("127.0.0.1:0",), trust_loopback=True)
    rpc = RpcServer(settings, station, lambda *call: calls.append(call))
    await rpc.start()
    running = asyncio.create_task(rpc.run())
    try:
        yield Served(station, rpc, calls)
    finally:
        running.cancel()
        await asyncio.wait_for(rpc.stop(), 20)


@contextlib.asynccontextmanager
async def connected() -> AsyncIterator[tuple[Served, grpc.aio.Channel]]:
    """A surface that trusts everybody, and a channel to it."""
    async with served() as surface, grpc.aio.insecure_channel(surface.address) as channel:
        yield surface, channel


def sockets(folder: Path) -> config.Grpc:
    """A unix socket for each role that can have one, and no port."""
    return config.Grpc((), *(folder / f"{role}.sock" for role in config.SOCKET_ROLES))


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, dict[str, str]]:
    """How a call is refused: code, the reason in its ErrorInfo, and the metadata."""
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error.code(), *error_info(error)
    raise AssertionError(f"was not refused but answered {type(answer).__name__}")


def error_info(error: grpc.aio.AioRpcError) -> tuple[str, dict[str, str]]:
    """Reason and metadata of the error's ErrorInfo; ("", {}) when it carries none."""
    status = rpc_status.from_call(error)
    for detail in status.details if status else ():
        info = ErrorInfo()
        if detail.Unpack(info):
            assert info.domain == "gate"
            return info.reason, dict(info.metadata)
    return "", {}


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for `condition`; fails when it is not so in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
