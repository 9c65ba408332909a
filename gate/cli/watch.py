"""`gate status`, `watch`, `query`: a running controller over gRPC."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import typer

from gate.cli.errors import NOT_SO, OUTSIDE_FAILED, WRONG_USE
from gate.cli.secret import from_standard_input
from gate.config import ConfigError

DEADLINE_S = 5.0  # a controller on the same machine answers in milliseconds

Controller = Annotated[
    str, typer.Option(help="HOST:PORT, or unix:PATH of the role's socket (operator, ticketing, auditor).")
]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
_DEFAULT = "unix:/run/gate/operator.sock"
_TICKETING = "unix:/run/gate/ticketing.sock"


_CONTROLLER = re.compile(r"unix:.+|[\w.-]+:[0-9]{1,5}|\[[0-9a-fA-F:.]+\]:[0-9]{1,5}")


class CallError(Exception):
    """A call to the controller failed; the text says why and what to do."""

    def __init__(self, text: str, exit_status: int = OUTSIDE_FAILED) -> None:
        super().__init__(text)
        self.exit_status = exit_status


@contextlib.contextmanager
def _channel(controller: str) -> Iterator[Any]:
    import grpc

    if not _CONTROLLER.fullmatch(controller):
        raise ConfigError("--controller", f"is {controller!r}: must be HOST:PORT or unix:PATH of a socket")
    # A proxy for the web, as the environment may name one, knows nothing of a station.
    with grpc.insecure_channel(controller, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise _call_error(controller, error.code().name, error.details() or "") from error


def _call_error(controller: str, code: str, details: str) -> CallError:
    if code == "UNAVAILABLE":
        return CallError(f"{controller}: {code}: {_why_unavailable(controller)}")
    if code == "DEADLINE_EXCEEDED":
        return CallError(f"{controller}: {code}: no answer within {DEADLINE_S:g} s: see the controller's log")
    return CallError(f"{controller}: {code}: {details}", WRONG_USE if code in _ASKED_WRONGLY else OUTSIDE_FAILED)


def _why_unavailable(controller: str) -> str:
    """What keeps us from the controller, as far as its socket tells."""
    path = controller.removeprefix("unix:")
    if path != controller and not os.path.exists(path):
        return "there is no such socket: is it running, and is this its address?"
    if path != controller and not os.access(path, os.W_OK):
        return "permission denied: become a member of the socket's group"
    return "is it running, and is this its address?"


# What the caller can put right by asking otherwise.
_ASKED_WRONGLY = frozenset({"INVALID_ARGUMENT", "NOT_FOUND", "FAILED_PRECONDITION", "PERMISSION_DENIED"})


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

    from gate.v1 import lane_pb2

    table = Table("lane", "mode", "barrier", "release s", "devices", "degraded", "sign")
    for lane in lanes:
        devices = ", ".join(f"{d.name} {'up' if d.up else d.fault}" for d in lane.devices)
        mode = "EMERGENCY" if lane.emergency else _name(lane_pb2.LaneMode, "LANE_MODE_", lane.mode)
        barrier = _name(lane_pb2.BarrierState, "BARRIER_STATE_", lane.barrier_state)
        mode += ", stands open" * lane.normally_open
        release = (
            f"{lane.release_duration.ToTimedelta().total_seconds():g}" if lane.HasField("release_duration") else ""
        )
        degraded = ", ".join(lane.degraded_causes)
        table.add_row(lane.id, mode, barrier, release, devices, degraded, _reason(lane.sign_reason))
    Console().print(table)
    Console().print(feed_table(feeds))


def feed_table(feeds: Any) -> Any:
    """Feeds as a table for a terminal."""
    from rich.table import Table

    from gate.v1 import feed_pb2, status_pb2

    table = Table("issuer", "kind", "sequence", "band", "age h", "subjects", "exact", "over snapshot", "trouble")
    for feed in feeds:
        band = _name(status_pb2.Band, "BAND_", feed.freshness.band)
        age = f"{feed.freshness.age.ToTimedelta().total_seconds() / 3600:.1f}" if feed.sequence else ""
        kind = _name(feed_pb2.FeedKind, "FEED_KIND_", feed.kind)
        counts = [f"{number:,}" for number in (feed.entry_count, feed.exact_count, feed.changes_over_snapshot)]
        trouble = feed.source_trouble or feed.last_refusal
        table.add_row(feed.issuer, kind, str(feed.sequence), band, age, *counts, trouble)
    return table


def feed_status(controller: Controller = _DEFAULT, json: Json = False) -> None:
    """Show the feeds that a running controller has in service, with their partitions.

    Example: gate feed status --controller unix:/run/gate/operator.sock
    """
    from rich.console import Console
    from rich.table import Table

    from gate.v1 import feed_pb2, feed_pb2_grpc, status_pb2

    with _channel(controller) as channel:
        feeds = feed_pb2_grpc.FeedServiceStub(channel).ListFeeds(feed_pb2.ListFeedsRequest(), timeout=DEADLINE_S).feeds
    if json:
        print(_json({"feeds": list(feeds)}))
        return
    Console().print(feed_table(feeds))
    table = Table("issuer", "partition", "default", "band", "age h")
    for feed in feeds:
        for one in feed.partitions:
            default = _name(status_pb2.CredentialStatus, "CREDENTIAL_STATUS_", one.default_status)
            age = f"{one.freshness.age.ToTimedelta().total_seconds() / 3600:.1f}"
            table.add_row(feed.issuer, one.code, default, _name(status_pb2.Band, "BAND_", one.freshness.band), age)
    if table.rows:
        Console().print(table)


def _reason(value: Any) -> str:
    from gate.v1 import reason_pb2

    return _name(reason_pb2.Reason, "REASON_", value)


def _name(enum: Any, prefix: str, value: int) -> str:
    """A value's name; "" when it was not given, its number when the controller is newer than this command."""
    known = enum.DESCRIPTOR.values_by_number
    return known[value].name.removeprefix(prefix) if value and value in known else str(value or "")


def watch(
    controller: Controller = _DEFAULT,
    json: Json = False,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many passages.")] = None,
) -> None:
    """Show every passage as it ends, until Ctrl-C.

    Example: gate watch --json --count 10
    """
    from gate.v1 import passage_pb2, passage_pb2_grpc

    with contextlib.suppress(KeyboardInterrupt), _reader_may_leave(), _channel(controller) as channel:
        stream = passage_pb2_grpc.PassageServiceStub(channel).WatchPassages(passage_pb2.WatchPassagesRequest())
        for number, reply in enumerate(stream, 1):
            print(_json(reply.passage) if json else _line(reply.passage), flush=True)
            if number == count:
                stream.cancel()
                return
        raise CallError(f"{controller}: the controller has stopped: watch again when it runs")


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """`gate watch | head` ends in peace: who reads has all that was wanted."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush


def _line(passage: Any) -> str:
    from gate.v1 import lane_pb2, passage_pb2, status_pb2

    when = passage.start_time.ToDatetime().strftime("%H:%M:%S")
    way = _name(lane_pb2.Direction, "DIRECTION_", passage.direction).lower()
    said = f"{_name(status_pb2.Verdict, 'VERDICT_', passage.verdict)} {_reason(passage.reason)}".strip()
    outcome = _name(passage_pb2.Outcome, "OUTCOME_", passage.outcome)
    return f"{when} {passage.lane_id:4} {way:5} {said:30} {outcome}"


def query(
    purpose: Annotated[str, typer.Option(help="Why you ask, e.g. 'ticket purchase'.")],
    order_id: Annotated[str, typer.Option(help="The order it belongs to; never a name.")],
    document_type: Annotated[str, typer.Option(help="RESIDENT_ID, PASSPORT, …")] = "RESIDENT_ID",
    code: Annotated[bool, typer.Option("--code", help="Ask by a health code's text instead of a document.")] = False,
    travel_time: Annotated[
        datetime | None, typer.Option(help="When the journey begins, in China; absent: now.")
    ] = None,
    destination: Annotated[str, typer.Option(help="GB/T 2260 code whose rules decide; absent: the station's.")] = "",
    controller: Controller = _TICKETING,
    json: Json = False,
) -> None:
    """Ask for one status as a ticket system does. The number or code is read from standard input, never from arguments.

    With --travel-time and --destination: what would be decided then and there, and by which rule.

    Exit 0 for GRANT, 1 for DENY and REFER. Example: gate query --purpose test --order-id 1 < number.txt
    """
    from gate.v1 import status_pb2, status_pb2_grpc

    request = status_pb2.CheckStatusRequest(purpose=purpose, order_id=order_id)
    kind = None if code else _document_type(document_type)
    if travel_time is not None:
        request.travel_time.FromDatetime(travel_time.replace(tzinfo=timezone(timedelta(hours=8))))
    request.destination_region = destination
    secret = from_standard_input("the health code's text" if code else "the document's number")
    if kind is None:
        request.code_content = secret
    else:
        request.document.type = kind
        request.document.number = secret
    with _channel(controller) as channel:
        reply = status_pb2_grpc.StatusServiceStub(channel).CheckStatus(request, timeout=DEADLINE_S)
    if json:
        print(_json(reply))
    else:
        verdict = _name(status_pb2.Verdict, "VERDICT_", reply.verdict)
        sentence, next_step = _worded(reply.reason.sentence), _worded(reply.reason.next_step)
        by = f" ({reply.rule_id})" if reply.rule_id else ""
        print(f"{verdict} {_reason(reply.reason.code)}{by}: {sentence} {next_step}")
        for report in reply.reports if len(reply.reports) > 1 else ():
            said = _name(status_pb2.CredentialStatus, "CREDENTIAL_STATUS_", report.credential_status)
            print(f"{report.issuer} says {said}, set by {report.asserted_by or 'an authority that it does not name'}")
        if reply.reason.correction_reference:
            print(f"To have it corrected, call {reply.reason.appeal_reference}: {reply.reason.correction_reference}")
    if reply.verdict != status_pb2.VERDICT_GRANT:
        raise typer.Exit(NOT_SO)


def _worded(by_language: Any) -> str:
    """English where the station speaks it, else the first language it does."""
    text = by_language["en"] if "en" in by_language else next(iter(by_language.values()), "")
    return f"{text}。" if text and not text.isascii() else f"{text}."


def _document_type(name: str) -> Any:
    from gate.v1 import status_pb2

    known = {each.removeprefix("DOCUMENT_TYPE_"): number for each, number in status_pb2.DocumentType.items() if number}
    if name.upper() not in known:
        raise ConfigError("--document-type", f"is {name!r}: must be one of {', '.join(known)}")
    return known[name.upper()]


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
