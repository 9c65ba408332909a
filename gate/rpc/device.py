"""DeviceService: a lane agent's stream, to and from `gate/station/far.py`."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any

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
from gate.station.far import (
    AttachRefusedError,
    Command,
    Downward,
    FarLane,
    Hello,
    LaneTakenError,
    Mark,
    NotReadyError,
    Ref,
    Stream,
)
from gate.v1 import device_pb2, device_pb2_grpc

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
        reading = asyncio.create_task(_read(requests, lane, stream))
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
        return lane, Hello(hello.session_id, devices, last)


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


async def _read(requests: AsyncIterator[Any], lane: FarLane, stream: Stream) -> None:
    """Take what the agent says until it ends. Raises CallError."""
    async for request in requests:
        try:
            _take(request, lane, stream)
        except WireError as error:
            raise invalid(error.field, error.text) from None


def _take(request: Any, lane: FarLane, stream: Stream) -> None:
    body = request.WhichOneof("body")
    if body in (None, "hello") or not request.mark.number:
        raise invalid("body", "must be a report, answered, sent or a beat, with a mark")
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
}


def _ref(ref: Any) -> Ref:
    if len(ref.run_id) != RUN_BYTES:
        raise invalid("run_id", f"must have {RUN_BYTES} bytes")
    return Ref(ref.run_id, ref.number)


def _message(message: Downward) -> device_pb2.AttachResponse:
    if isinstance(message, Command):
        return device_pb2.AttachResponse(command=_command(message))
    newest = mark(message.newest.number, message.newest.since_start_s)
    if message.lease:
        return device_pb2.AttachResponse(lease=device_pb2.AttachLease(newest=newest))
    return device_pb2.AttachResponse(heard=device_pb2.AttachHeard(newest=newest))


def _command(command: Command) -> device_pb2.DeviceCommand:
    made = device_pb2.DeviceCommand(
        ref=device_pb2.CommandRef(run_id=command.ref.run, number=command.ref.number),
        device=command.device,
        cites=mark(command.cites.number, command.cites.since_start_s),
    )
    set_duration(made.lifetime_duration, command.lifetime_s)
    match command.order:
        case "release" if command.direction:
            made.release.direction = direction_number(command.direction)
        case "hold_open":
            made.hold_open.SetInParent()
        case "end_hold":
            made.end_hold.SetInParent()
        case _:
            raise AssertionError(f"no message for {command.order}")
    return made
