"""LaneService."""

import unicodedata
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from gate.policy.verdict import Reason
from gate.rpc import convert
from gate.rpc.errors import CallError, invalid
from gate.rpc.view import StationView
from gate.station.state import (
    LaneState,
    StateRefusedError,
    SubscriberTooSlowError,
    TooManySubscribersError,
    UnknownLaneError,
)
from gate.v1 import lane_pb2, lane_pb2_grpc

TEXT_MAX = 64
WHY_MAX = 200
_UNSEEN = frozenset({"Cc", "Cf", "Zl", "Zp"})  # control, invisible (writing direction), line and paragraph separators


@contextmanager
def named_errors() -> Iterator[None]:
    """The station's refusals as call errors."""
    try:
        yield
    except UnknownLaneError:
        # What was asked for is not repeated: it may be anything, a passenger's number too.
        text = "there is no such lane: ListLanes names all"
        raise CallError(grpc.StatusCode.NOT_FOUND, Reason.LANE_NOT_FOUND, text) from None
    except StateRefusedError as error:
        raise CallError(grpc.StatusCode.FAILED_PRECONDITION, Reason.REQUEST_INVALID, str(error)) from None
    except SubscriberTooSlowError:
        text = "fell behind and was let go: subscribe again, and list what was missed"
        raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.SUBSCRIBER_TOO_SLOW, text) from None
    except TooManySubscribersError:
        text = "too many streams are open: close some"
        raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_SUBSCRIBERS, text) from None


def required(request: Any, field: str, most: int = TEXT_MAX) -> str:
    """A text field that must be given. Raises CallError."""
    value: str = getattr(request, field)
    if not value.strip():
        raise invalid(field, "is required")
    if len(value) > most:
        raise invalid(field, f"is longer than {most} characters")
    if any(unicodedata.category(character) in _UNSEEN for character in value):
        raise invalid(field, "has control characters")  # they could forge lines of a log
    return value


class LaneServicer(lane_pb2_grpc.LaneServiceServicer):
    """See protos/gate/v1/lane.proto."""

    def __init__(self, view: StationView) -> None:
        self._view = view

    async def ListLanes(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """All lanes."""
        return lane_pb2.ListLanesResponse(lanes=map(convert.lane, self._view.lanes()))

    async def GetLane(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """One lane."""
        return lane_pb2.GetLaneResponse(lane=self._lane(lambda: self._view.lane(required(request, "lane_id"))))

    async def WatchLanes(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:  # noqa: N802 - the proto's name
        """Every lane once, then each as it changes."""
        wanted = set(request.lane_ids)
        with named_errors():
            changes = self._view.watch_lanes()
            for lane_id in wanted:
                self._view.lane(lane_id)
            await context.send_initial_metadata(())  # from here on nothing is missed
            for state in self._view.lanes():
                if not wanted or state.lane_id in wanted:
                    yield lane_pb2.WatchLanesResponse(lane=convert.lane(state))
            async for state in changes:
                if not wanted or state.lane_id in wanted:
                    yield lane_pb2.WatchLanesResponse(lane=convert.lane(state))

    async def SetLaneMode(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """Set a lane's mode."""
        mode = convert.enum_name(lane_pb2.LaneMode, "LANE_MODE", request.mode)
        if not mode:
            what = "is not known here" if request.mode else "is required"
            raise invalid("mode", f"{what}: ENTRY, EXIT, BOTH, CLOSED, FREE or MAINTENANCE")
        lane_id, operator = required(request, "lane_id"), required(request, "operator")
        return lane_pb2.SetLaneModeResponse(lane=self._lane(lambda: self._view.set_mode(lane_id, mode, operator)))

    async def ReleaseLane(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """Let one person through."""
        lane_id, operator = required(request, "lane_id"), required(request, "operator")
        why = required(request, "why", WHY_MAX)
        direction = convert.enum_name(lane_pb2.Direction, "DIRECTION", request.direction).lower()
        if request.direction and not direction:
            raise invalid("direction", "is not known here: ENTRY, EXIT, or absent")
        basis = convert.enum_name(lane_pb2.ReleaseBasis, "RELEASE_BASIS", request.basis)
        if request.basis and not basis:
            raise invalid("basis", "is not known here: PAPER_WITH_ID, or absent")
        paper = basis == "PAPER_WITH_ID"
        lane = self._lane(lambda: self._view.release(lane_id, direction, operator, why, paper))
        return lane_pb2.ReleaseLaneResponse(lane=lane)

    async def ResetEmergency(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """End an emergency by hand."""
        lane_id, operator = required(request, "lane_id"), required(request, "operator")
        return lane_pb2.ResetEmergencyResponse(lane=self._lane(lambda: self._view.reset_emergency(lane_id, operator)))

    def _lane(self, ask: Callable[[], LaneState]) -> lane_pb2.Lane:
        with named_errors():
            return convert.lane(ask())
