"""StatusService. Checks a request's form and answers as a gate would; errors name fields and never quote them."""

import asyncio
import re
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from gate.credential.documents import DocumentError, DocumentType, document
from gate.credential.healthcode import PAYLOAD_BYTES_MAX
from gate.policy.verdict import Reason
from gate.rpc import convert
from gate.rpc.errors import CallError, invalid
from gate.rpc.lane import required
from gate.rpc.view import StationView
from gate.station.state import Travel
from gate.v1 import status_pb2, status_pb2_grpc

BATCH_MAX = 1_000
NUMBER_MAX = 64
_TIME_MIN_S = -62_135_596_800  # 0001-01-01T00:00:00Z, the first Timestamp (google/protobuf/timestamp.proto)
# Queries of a batch between two looks at the lanes. One takes 0.2 ms (8 issuers), so a lane waits 1 ms and not the
# 180 ms that a whole batch was measured to stop them all.
BATCH_STEP = 5
# What systems give their orders; a name in Chinese or with a space between its parts does not pass.
_ORDER_ID = re.compile(r"[A-Za-z0-9._:/#+=-]+")
_REGION = re.compile(r"(?:[0-9]{6}(?:[0-9]{6})?)?")


class StatusServicer(status_pb2_grpc.StatusServiceServicer):
    """See protos/gate/v1/status.proto."""

    def __init__(self, view: StationView) -> None:
        self._view = view
        self._batch_turn = asyncio.Lock()  # one at a time: together they would be one long batch to the lanes

    async def CheckStatus(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """One query."""
        return self._check(request)

    async def BatchCheckStatus(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """Up to 1,000 queries; one that is refused does not touch the others."""
        count = len(request.requests)
        if not count:
            raise invalid("requests", "is empty: give 1 to 1,000")
        if count > BATCH_MAX:
            raise invalid("requests", f"has {count} queries: at most {BATCH_MAX}", Reason.TOO_MANY_ITEMS)
        reply = status_pb2.BatchCheckStatusResponse()
        async with self._batch_turn:
            for start in range(0, count, BATCH_STEP):
                reply.items.extend(map(self._item, request.requests[start : start + BATCH_STEP]))
                await asyncio.sleep(0)
        return reply

    def _item(self, request: Any) -> status_pb2.BatchItem:
        try:
            return status_pb2.BatchItem(response=self._check(request))
        except CallError as error:
            refused = status_pb2.ItemError(
                reason=convert.reason(error.reason.name), field=error.metadata.get("field", "")
            )
            return status_pb2.BatchItem(error=refused)

    def _check(self, request: Any) -> status_pb2.CheckStatusResponse:
        required(request, "purpose")
        if not _ORDER_ID.fullmatch(required(request, "order_id")):
            raise invalid("order_id", "must be letters, digits and . _ : / # + = - only, never a name")
        for field in ("origin_region", "destination_region"):
            if not _REGION.fullmatch(getattr(request, field)):
                raise invalid(field, "must be a GB/T 2260 code of 6 or 12 digits, or absent")
        if request.HasField("travel_time") and not _is_time(request.travel_time):
            raise invalid("travel_time", "is no time: give seconds of years 1 to 9999 and 0 to 999,999,999 nanoseconds")
        travel = Travel(_utc_s(request), request.destination_region[:6])
        match request.WhichOneof("subject"):
            case "document":
                given = self._view.check_status(_document(request.document), travel)
            case "code_content":
                if len(request.code_content.encode()) > PAYLOAD_BYTES_MAX:
                    raise invalid("code_content", f"is longer than {PAYLOAD_BYTES_MAX} bytes")
                given = self._view.check_code(request.code_content, travel)
            case _:
                raise invalid("subject", "is required: a document or code_content")
        return convert.answer(given, self._view.languages)


def _utc_s(request: Any) -> float | None:
    return request.travel_time.ToNanoseconds() / 1e9 if request.HasField("travel_time") else None


def _is_time(message: Timestamp) -> bool:
    return _TIME_MIN_S <= message.seconds <= convert.TIME_MAX_S and 0 <= message.nanos < 1_000_000_000


def _document(message: Any) -> Any:
    kind = convert.enum_name(status_pb2.DocumentType, "DOCUMENT_TYPE", message.type)
    if not kind:
        raise invalid("document.type", "is not known here" if message.type else "is required")
    if len(message.number) > NUMBER_MAX:
        raise invalid("document.number", f"is longer than {NUMBER_MAX} characters")
    try:
        return document(DocumentType(kind), message.number)
    except DocumentError as error:
        raise invalid("document.number", str(error), Reason.DOCUMENT_INVALID) from None
