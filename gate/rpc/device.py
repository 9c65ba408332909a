"""DeviceService: a lane agent's stream, to and from `gate/station/far.py`."""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, assert_never

import grpc

from gate.devicewire import (
    WireError,
    answer_of,
    direction_number,
    mark,
    report_of,
    seconds_of,
    set_duration,
)
from gate.policy.verdict import Reason
from gate.rpc import auth
from gate.rpc.errors import CallError, invalid
from gate.rpc.lane import named_errors, required
from gate.rpc.view import StationView
from gate.station.far import AttachRefusedError, FarLane, LaneTakenError, NotReadyError
from gate.station.farwire import Command, Downward, Heard, Hello, LaneIs, Mark, Prompting, Ref, Stream, Taken
from gate.station.handover import NotAPassageError, passages_of
from gate.v1 import device_pb2, device_pb2_grpc, lane_pb2

log = logging.getLogger(__name__)

HELLO_S = 5.0  # an agent sends it at once
SESSION_BYTES = 16
RUN_BYTES = 8


class DeviceServicer(device_pb2_grpc.DeviceServiceServicer):
    """See protos/gate/v1/device.proto."""

    def __init__(self, view: StationView) -> None:
        self._view = view

    async def Attach(self, requests: Any, context: Any) -> AsyncGenerator[Any, None]:  # noqa: N802 - the proto's name
        """Let an agent drive a lane until either side ends it."""
        lane, hello = self._hello(await _first(requests), context)
        stream = _attach(lane, hello)
        reading = asyncio.create_task(self._read(requests, lane, stream, hello.session))
        reading.add_done_callback(lambda _: stream.end())
        try:
            yield device_pb2.AttachResponse(welcome=device_pb2.AttachWelcome(heard_number=stream.heard_number))
            async for message in stream.messages():
                yield _message(message)
            if reading.done():
                reading.result()  # raises what is wrong with the agent's messages
        finally:
            lane.detach(stream)
            reading.cancel()
            await asyncio.wait({reading})

    def _hello(self, first: Any, context: Any) -> tuple[FarLane, Hello]:
        if first.WhichOneof("body") != "hello":
            raise invalid("hello", "must be the first message")
        hello = first.hello
        lane_id = required(hello, "lane_id")
        own = auth.lanes_of(context)
        if own and lane_id not in own:
            text = "the certificate is for another lane: use this lane's own"
            raise CallError(grpc.StatusCode.PERMISSION_DENIED, Reason.ROLE_NOT_PERMITTED, text)
        with named_errors():
            lane = self._view.far_lane(lane_id)
        if lane is None:
            text = "the lane's devices hang on the controller: write remote = true in station.toml, or stop this agent"
            raise CallError(grpc.StatusCode.FAILED_PRECONDITION, Reason.REQUEST_INVALID, text)
        if len(hello.session_id) != SESSION_BYTES:
            raise invalid("session_id", f"must have {SESSION_BYTES} bytes")
        devices = tuple((device.name, device.driver, device.side) for device in hello.devices)
        last = _ref(hello.last_command) if hello.HasField("last_command") else None
        wait_s = max((seconds_of(device.wait_duration) for device in hello.devices), default=0.0)
        refuses = any(device.refuses for device in hello.devices)
        return lane, Hello(hello.session_id, devices, last, wait_s, refuses)

    async def _read(self, requests: AsyncIterator[Any], lane: FarLane, stream: Stream, session: bytes) -> None:
        """Take what the agent says until it ends. Raises CallError."""
        handing: asyncio.Task[None] | None = None
        try:
            async for request in requests:
                try:
                    _take(request, lane, stream)
                except WireError as error:
                    raise invalid(error.field, error.text) from None
                # One at a time: an agent sends the next, or the same again, when it has heard of this one or waited.
                if request.WhichOneof("body") == "handover" and (handing is None or handing.done()):
                    handing = asyncio.create_task(self._take_over(request, lane.settings.id, stream, session))
        finally:
            if handing:
                handing.cancel()

    async def _take_over(self, request: Any, lane_id: str, stream: Stream, session: bytes) -> None:
        """Passages that the agent decided by itself; it is told when they are on the disk."""
        try:
            records = passages_of(request.handover.lines, lane_id)
            taken = await self._view.handover.take(lane_id, session, records)
        except (NotAPassageError, OSError) as error:
            log.error("lane %s: a handover cannot be taken: %s", lane_id, error)
            return
        if taken:
            stream.send(Taken(request.mark.number))


async def _first(requests: AsyncIterator[Any]) -> Any:
    try:
        async with asyncio.timeout(HELLO_S):
            return await anext(requests)
    except (TimeoutError, StopAsyncIteration):
        raise invalid("hello", "must be the first message") from None


def _attach(lane: FarLane, hello: Hello) -> Stream:
    try:
        return lane.attach(hello)
    except AttachRefusedError as error:
        raise CallError(grpc.StatusCode.FAILED_PRECONDITION, Reason.REQUEST_INVALID, str(error)) from None
    except LaneTakenError as error:
        raise CallError(grpc.StatusCode.ALREADY_EXISTS, Reason.REQUEST_INVALID, str(error)) from None
    except NotReadyError as error:
        raise CallError(grpc.StatusCode.UNAVAILABLE, Reason.CONTROLLER_FAILED, str(error)) from None


def _take(request: Any, lane: FarLane, stream: Stream) -> None:
    body = request.WhichOneof("body")
    if body in (None, "hello") or not request.mark.number:
        raise invalid("body", "must be a report, answered, sent, a handover or a beat, with a mark")
    new = lane.hear(stream, Mark(request.mark.number, seconds_of(request.mark.since_start_duration)))
    if new:
        _DO[body](request, lane)
    if body in ("beat", "report", "answered"):
        lane.beat(stream)


def _report(request: Any, lane: FarLane) -> None:
    report = request.report
    device = lane.devices.get(report.device)
    if device is None:
        raise invalid("report.device", "is none of the lane's: send those of hello")
    passed = report.passed if report.WhichOneof("said") == "passed" else None
    release = _ref(passed.release) if passed and passed.HasField("release") else None
    lane.reported(device, report_of(report), release)


def _answered(request: Any, lane: FarLane) -> None:
    lane.answered(_ref(request.answered.command), answer_of(request.answered.answer))


def _sent(request: Any, lane: FarLane) -> None:
    lane.sent(_ref(request.sent.command))


_DO: dict[str, Callable[[Any, FarLane], None]] = {
    "report": _report,
    "answered": _answered,
    "sent": _sent,
    "beat": lambda request, lane: None,
    "handover": lambda request, lane: None,  # takes its time: see `_take_over`
}


def _ref(ref: Any) -> Ref:
    if len(ref.run_id) != RUN_BYTES:
        raise invalid("run_id", f"must have {RUN_BYTES} bytes")
    return Ref(ref.run_id, ref.number)


def _message(message: Downward) -> device_pb2.AttachResponse:
    match message:
        case Command():
            return device_pb2.AttachResponse(command=_command(message))
        case Prompting(device=device, order=order, what=what):
            prompt = device_pb2.PromptOrder(device=device, **{order: what})
            return device_pb2.AttachResponse(prompt=prompt)
        case LaneIs(mode=mode, emergency=emergency):
            number = lane_pb2.LaneMode.Value(f"LANE_MODE_{mode}")
            return device_pb2.AttachResponse(lane=device_pb2.AttachLane(mode=number, emergency=emergency))
        case Taken(number=number):
            return device_pb2.AttachResponse(handover_taken=device_pb2.HandoverTaken(number=number))
        case Heard(newest=newest, lease=lease):
            heard = mark(newest.number, newest.since_start_s)
            if lease:
                return device_pb2.AttachResponse(lease=device_pb2.AttachLease(newest=heard))
            return device_pb2.AttachResponse(heard=device_pb2.AttachHeard(newest=heard))
    assert_never(message)


def _command(command: Command) -> device_pb2.DeviceCommand:
    made = device_pb2.DeviceCommand(
        ref=device_pb2.CommandRef(run_id=command.ref.run, number=command.ref.number),
        device=command.device,
        cites=mark(command.cites.number, command.cites.since_start_s),
    )
    set_duration(made.lifetime_duration, command.lifetime_s)
    if command.direction:
        made.release.direction = direction_number(command.direction)
    else:
        getattr(made, command.order).SetInParent()
    return made
