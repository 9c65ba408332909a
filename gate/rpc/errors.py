"""Errors of the gRPC surface: canonical codes, each with a `google.rpc.ErrorInfo` naming a Reason."""

from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from gate.policy.verdict import Reason

DOMAIN = "gate"

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]  # generic in the stubs only
else:
    Context = grpc.aio.ServicerContext


class CallError(Exception):
    """A call is refused. The text says what is wrong and what to do; it never quotes a document or a code."""

    def __init__(self, code: grpc.StatusCode, reason: Reason, text: str, **metadata: str) -> None:
        super().__init__(text)
        self.code = code
        self.reason = reason
        self.metadata = metadata


def invalid(field: str, text: str, reason: Reason = Reason.REQUEST_INVALID) -> CallError:
    """A field of the request is not as it must be."""
    return CallError(grpc.StatusCode.INVALID_ARGUMENT, reason, f"{field}: {text}", field=field)


async def abort(context: Context, error: CallError) -> NoReturn:
    """End the call with `error`."""
    detail = AnyMessage()
    detail.Pack(ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=error.metadata))
    status = Status(code=error.code.value[0], message=str(error), details=[detail])
    await context.abort_with_status(rpc_status.to_status(status))  # type: ignore[attr-defined] # not in the stubs
    raise AssertionError("abort returned")
