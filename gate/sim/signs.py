"""What passengers read at a running station: its passages and its lanes' signs, over gRPC as any display gets them."""

import asyncio
import contextlib
from collections import defaultdict
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio

from drivers.contract import Direction
from gate.sim.world import SimulatedLane
from gate.v1 import lane_pb2, lane_pb2_grpc, passage_pb2, passage_pb2_grpc, reason_pb2, status_pb2

CALL_S = 10.0  # a call on this machine takes milliseconds; ten controllers that start at once on two cores, seconds
POLL_S = 0.1
LANGUAGES = ("zh", "en")


def verdict_of(message: Any) -> str:
    """Verdict and reason of a passage, e.g. "DENY STATUS_RED"."""
    verdict = status_pb2.Verdict.Name(message.verdict).removeprefix("VERDICT_")
    return f"{verdict} {reason_of(message.reason)}"


def reason_of(reason: int) -> str:
    """A reason's name without its prefix."""
    return reason_pb2.Reason.Name(reason).removeprefix("REASON_")  # type: ignore[arg-type]


def untold(lane: Any, passage: Any) -> str:
    """What is wrong with the sign of a refusal, "" if nothing: the same reason, and its words in both languages."""
    if lane.sign_reason != passage.reason:
        return f"the sign says {reason_of(lane.sign_reason)} and the passage {reason_of(passage.reason)}"
    for what in (lane.sign_text.sentence, lane.sign_text.next_step):
        if not all(what[language].strip() for language in LANGUAGES):
            return f"the sign has no words for {reason_of(passage.reason)} in one of {', '.join(LANGUAGES)}"
    return ""


class Signs:
    """The signs of one station. Use as a context."""

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self._lanes = lane_pb2_grpc.LaneServiceStub(self._channel)
        self._passages = passage_pb2_grpc.PassageServiceStub(self._channel)
        self._told: defaultdict[str, asyncio.Queue[Any]] = defaultdict(asyncio.Queue)
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        stream = self._passages.WatchPassages(passage_pb2.WatchPassagesRequest())
        async with asyncio.timeout(CALL_S):
            await stream.initial_metadata()  # from here on nothing is missed
        self._reading = asyncio.create_task(self._read(stream))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
        await self._channel.close(grace=None)

    async def _read(self, stream: Any) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):  # the controller ends: whoever still waits is told nothing
            async for message in stream:
                passage = message.passage
                if passage.verdict:  # else somebody without a credential: a second person, an intruder
                    self._told[passage.lane_id].put_nowait(passage)

    async def until_up(self, within_s: float) -> bool:
        """Whether every device of every lane works within that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    listed = await self._lanes.ListLanes(lane_pb2.ListLanesRequest(), timeout=CALL_S)
                    if all(device.up for lane in listed.lanes for device in lane.devices):
                        return True
                    await asyncio.sleep(POLL_S)
        return False

    async def told(self, lane_id: str, within_s: float) -> Any | None:
        """The next passage of a lane that ended with a verdict; None when there is none in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                return await self._told[lane_id].get()
        return None

    def forget(self, lane_id: str) -> int:
        """Whatever was told at this lane and asked for by nobody; how much that was."""
        queue = self._told[lane_id]
        count = queue.qsize()
        for _ in range(count):
            queue.get_nowait()
        return count

    async def sign(self, lane_id: str) -> Any:
        """The lane with its sign."""
        reply = await self._lanes.GetLane(lane_pb2.GetLaneRequest(lane_id=lane_id), timeout=CALL_S)
        return reply.lane


async def answered(lane: SimulatedLane, signs: Signs, within_s: float) -> tuple[Any, Any | None, bool]:
    """What comes of what was just presented: the lane with its sign, the passage, and whether the gate opened.

    Whoever is let in walks through. No passage: nothing was told in time.
    """
    told = asyncio.create_task(signs.told(lane.id, within_s))
    release = asyncio.create_task(lane.board.wait_release(within_s))
    await asyncio.wait({told, release}, return_when=asyncio.FIRST_COMPLETED)
    sign = await signs.sign(lane.id)  # before anybody walks: the sign rests afterwards
    opened = release.done() and release.result()
    if opened:
        await lane.board.pass_through(Direction.EXIT if lane.direction == "exit" else Direction.ENTRY)
    release.cancel()
    return sign, await told, opened
