"""`gate status`, `watch`, `query`: a running controller over gRPC."""

import contextlib
from collections.abc import Iterator
from typing import Annotated, Any

import typer

DEADLINE_S = 5.0  # a controller on the same machine answers in milliseconds

Controller = Annotated[
    str, typer.Option(help="HOST:PORT, or unix:PATH of the role's socket (operator, ticketing, auditor).")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
_DEFAULT = "unix:/run/gate/operator.sock"
_TICKETING = "unix:/run/gate/ticketing.sock"


class CallError(Exception):
    """A call to the controller failed; the text says why and what to do."""


@contextlib.contextmanager
def _channel(controller: str) -> Iterator[Any]:
    import grpc

    with grpc.insecure_channel(controller) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            hint = ": is it running, and is this its address?" if code is grpc.StatusCode.UNAVAILABLE else ""
            text = f"{controller}: {code.name}" + (hint or f": {error.details()}")
            raise CallError(text) from error


def status(controller: Controller = _DEFAULT, json: Json = False) -> None:
    """Show lanes, devices and feeds of a running controller.

    Example: gate status --controller unix:/run/gate/operator.sock
    """
    from gate.v1 import feed_pb2, feed_pb2_grpc, lane_pb2, lane_pb2_grpc

    with _channel(controller) as channel:
        lanes = lane_pb2_grpc.LaneServiceStub(channel).ListLanes(lane_pb2.ListLanesRequest(), timeout=DEADLINE_S)
        feeds = feed_pb2_grpc.FeedServiceStub(channel).ListFeeds(feed_pb2.ListFeedsRequest(), timeout=DEADLINE_S)
    if json:
        print(_json({"lanes": list(lanes.lanes), "feeds": list(feeds.feeds)}))
        return
    _show(lanes.lanes, feeds.feeds)


def _show(lanes: Any, feeds: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    from gate.v1 import lane_pb2, status_pb2

    table = Table("lane", "mode", "barrier", "devices", "degraded", "sign")
    for lane in lanes:
        devices = ", ".join(f"{d.name} {'up' if d.up else d.fault}" for d in lane.devices)
        mode = "EMERGENCY" if lane.emergency else lane_pb2.LaneMode.Name(lane.mode).removeprefix("LANE_MODE_")
        barrier = lane_pb2.BarrierState.Name(lane.barrier_state).removeprefix("BARRIER_STATE_")
        table.add_row(lane.id, mode, barrier, devices, ", ".join(lane.degraded_causes), _reason(lane.sign_reason))
    Console().print(table)
    table = Table("issuer", "sequence", "band", "age h", "entries", "trouble")
    for feed in feeds:
        band = status_pb2.Band.Name(feed.freshness.band).removeprefix("BAND_")
        age = f"{feed.freshness.age.ToTimedelta().total_seconds() / 3600:.1f}" if feed.sequence else ""
        trouble = feed.source_trouble or feed.last_refusal
        table.add_row(feed.issuer, str(feed.sequence), band, age, str(feed.entry_count), trouble)
    Console().print(table)


def _reason(value: Any) -> str:
    from gate.v1 import reason_pb2

    return reason_pb2.Reason.Name(value).removeprefix("REASON_") if value else ""


def watch(
    controller: Controller = _DEFAULT,
    json: Json = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many passages.")] = None,
) -> None:
    """Show every passage as it ends, until Ctrl-C.

    Example: gate watch --json --count 10
    """
    from gate.v1 import lane_pb2, passage_pb2, passage_pb2_grpc, status_pb2

    with contextlib.suppress(KeyboardInterrupt), _channel(controller) as channel:
        stream = passage_pb2_grpc.PassageServiceStub(channel).WatchPassages(passage_pb2.WatchPassagesRequest())
        for number, reply in enumerate(stream, 1):
            passage = reply.passage
            if json:
                print(_json(passage), flush=True)
            else:
                when = passage.start_time.ToDatetime().strftime("%H:%M:%S")
                way = lane_pb2.Direction.Name(passage.direction).removeprefix("DIRECTION_").lower()
                verdict = status_pb2.Verdict.Name(passage.verdict).removeprefix("VERDICT_")
                outcome = passage_pb2.Outcome.Name(passage.outcome).removeprefix("OUTCOME_")
                said = f"{verdict} {_reason(passage.reason)}" if passage.verdict else ""
                print(f"{when} {passage.lane_id:4} {way:5} {said:30} {outcome}", flush=True)
            if number == count:
                stream.cancel()
                return


def query(
    purpose: Annotated[str, typer.Option(help="Why you ask, e.g. 'ticket purchase'.")],
    order_id: Annotated[str, typer.Option(help="The order it belongs to; never a name.")],
    document_type: Annotated[str, typer.Option(help="RESIDENT_ID, PASSPORT, …")] = "RESIDENT_ID",
    code: Annotated[bool, typer.Option("--code", help="Ask by a health code's text instead of a document.")] = False,
    controller: Controller = _TICKETING,
    json: Json = False,
) -> None:
    """Ask for one status as a ticket system does. The number or code is read from standard input, never from arguments.

    Exit 0 for GRANT, 1 for DENY and REFER. Example: gate query --purpose test --order-id 1 < number.txt
    """
    import sys

    from gate.cli.errors import NOT_SO
    from gate.config import ConfigError
    from gate.v1 import status_pb2, status_pb2_grpc

    # Arguments stand in the list of processes, where everybody on the machine can read them.
    secret = sys.stdin.readline().strip()
    request = status_pb2.CheckStatusRequest(purpose=purpose, order_id=order_id)
    if code:
        request.code_content = secret
    else:
        name = f"DOCUMENT_TYPE_{document_type}"
        names = list(status_pb2.DocumentType.keys())
        if name not in names:
            known = ", ".join(known.removeprefix("DOCUMENT_TYPE_") for known in names[1:])
            raise ConfigError("--document-type", f"is {document_type!r}: must be one of {known}")
        request.document.type = status_pb2.DocumentType.Value(name)
        request.document.number = secret
    with _channel(controller) as channel:
        reply = status_pb2_grpc.StatusServiceStub(channel).CheckStatus(request, timeout=DEADLINE_S)
    if json:
        print(_json(reply))
    else:
        verdict = status_pb2.Verdict.Name(reply.verdict).removeprefix("VERDICT_")
        print(f"{verdict} {_reason(reply.reason.code)}: {reply.reason.sentence['en']}. {reply.reason.next_step['en']}.")
    if reply.verdict != status_pb2.VERDICT_GRANT:
        raise typer.Exit(NOT_SO)


def _json(value: Any) -> str:
    """Messages, and tables of messages, as JSON with the protos' own names."""
    from json import dumps

    from google.protobuf.json_format import MessageToDict

    def plain(inner: Any) -> Any:
        if isinstance(inner, dict):
            return {key: plain(each) for key, each in inner.items()}
        if isinstance(inner, list):
            return [plain(each) for each in inner]
        return MessageToDict(inner, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)

    return dumps(plain(value), ensure_ascii=False)
