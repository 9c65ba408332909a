"""One interceptor around every call: it admits, ends the call with a named error, and tells code and seconds."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from gate.policy.verdict import Reason
from gate.rpc import auth
from gate.rpc.errors import CallError, Context, abort

log = logging.getLogger(__name__)

MESSAGE_BYTES_MAX = 1 << 20  # a batch of 1,000 queries of documents has 200 kB
CALLS_MAX = 256  # at once a listener: 64 streams of each kind and room for queries
WRITE_S = 10.0  # a client that takes no message for so long reads no more; its stream is ended

CallDone = Callable[[str, str, float], None]  # method, status code, seconds

# (request is a stream, response is a stream) -> the handler's attribute, and how to make one
_SHAPES: Mapping[tuple[bool, bool], tuple[str, Callable[..., Any]]] = {
    (False, False): ("unary_unary", grpc.unary_unary_rpc_method_handler),
    (False, True): ("unary_stream", grpc.unary_stream_rpc_method_handler),
    (True, False): ("stream_unary", grpc.stream_unary_rpc_method_handler),
    (True, True): ("stream_stream", grpc.stream_stream_rpc_method_handler),
}


class Gatekeeper(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Stands before every method of one listener; `roles_of` says what its callers are."""

    def __init__(self, roles_of: auth.RolesOf, call_done: CallDone) -> None:
        self._roles_of = roles_of
        self._call_done = call_done
        self._open = 0

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a call."""
        handler = await continuation(details)
        if handler is None:
            return grpc.stream_stream_rpc_method_handler(self._unknown)  # takes calls of every shape
        kind, make = _SHAPES[handler.request_streaming, handler.response_streaming]
        wrap = self._stream if handler.response_streaming else self._unary
        decode = _keeping_errors(handler.request_deserializer)
        return make(wrap(details.method, getattr(handler, kind)), decode, handler.response_serializer)

    async def _unknown(self, requests: object, context: Context) -> None:
        # One name for all of them: a stranger's inventions must not become labels of metrics.
        async with self._call("unknown", context):
            text = "there is no such method: server reflection names all"
            raise CallError(grpc.StatusCode.UNIMPLEMENTED, Reason.REQUEST_INVALID, text)

    def _unary(self, method: str, inner: Any) -> Any:
        async def call(request: Any, context: Context) -> Any:
            async with self._call(method, context):
                return await inner(self._admit(method, request, context), context)

        return call

    def _stream(self, method: str, inner: Callable[[Any, Context], AsyncGenerator[Any, None]]) -> Any:
        async def call(request: Any, context: Context) -> None:
            async with self._call(method, context):
                request = self._admit(method, request, context)
                # Closed before the error is sent: a client that reads no more must not keep its subscription too.
                async with contextlib.aclosing(inner(request, context)) as replies:
                    async for reply in replies:
                        await _write(context, reply)

        return call

    @contextlib.asynccontextmanager
    async def _call(self, method: str, context: Context) -> AsyncGenerator[None, None]:
        self._open += 1
        try:
            async with _Call(method, context, self._call_done):
                yield
        finally:
            self._open -= 1

    def _admit(self, method: str, request: Any, context: Context) -> Any:
        """The request, or what is raised while it is read. Raises CallError, DecodeError."""
        if self._open > CALLS_MAX:
            text = "too many calls are open at this address: end some, then try again"
            raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_SUBSCRIBERS, text, limit=str(CALLS_MAX))
        auth.admit(method, self._roles_of(context))
        return _readable(request) if isinstance(request, AsyncIterable) else _good(request)


def _keeping_errors(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """`decode`, but what cannot be decoded becomes a value: grpc would log a traceback and answer UNKNOWN."""

    def kept(raw: bytes) -> Any:
        if len(raw) > MESSAGE_BYTES_MAX:
            text = f"the message has {len(raw)} bytes, at most {MESSAGE_BYTES_MAX} are taken: split it"
            limit = str(MESSAGE_BYTES_MAX)
            return CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.REQUEST_INVALID, text, limit=limit)
        try:
            return decode(raw)
        except DecodeError as error:
            return error

    return kept


def _good(request: Any) -> Any:
    if isinstance(request, (DecodeError, CallError)):
        raise request
    return request


async def _readable(requests: AsyncIterable[Any]) -> AsyncGenerator[Any, None]:
    async for request in requests:
        yield _good(request)


async def _write(context: Context, reply: Any) -> None:
    try:
        async with asyncio.timeout(WRITE_S):
            await context.write(reply)
    except TimeoutError:
        raise CallError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.SUBSCRIBER_TOO_SLOW, "nothing was read: subscribe again and read"
        ) from None


class _Call:
    """One call from its arrival to its end."""

    def __init__(self, method: str, context: Context, call_done: CallDone) -> None:
        self._method = method
        self._context = context
        self._call_done = call_done
        self._started_s = 0.0

    async def __aenter__(self) -> None:
        self._started_s = asyncio.get_running_loop().time()

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        match error:
            case None:
                self._end("OK")
            case CallError():
                await self._refuse(error)
            case DecodeError():
                text = "the bytes are not this method's request: compare with protos/gate/v1"
                await self._refuse(CallError(grpc.StatusCode.INVALID_ARGUMENT, Reason.REQUEST_INVALID, text))
            case grpc.aio.BaseError() if not isinstance(error, grpc.aio.UsageError):
                self._end("CANCELLED")  # the client is gone, or the server stops
            case Exception():
                # Its text could quote the request: only the kind is told and logged.
                log.error("%s failed: %s", self._method, type(error).__name__)
                log.debug("traceback of the failed call", exc_info=error)
                text = "the controller failed; see its log"
                await self._refuse(CallError(grpc.StatusCode.INTERNAL, Reason.CONTROLLER_FAILED, text))
            case _:
                self._end("CANCELLED")

    async def _refuse(self, error: CallError) -> None:
        self._end(error.code.name)
        await abort(self._context, error)

    def _end(self, code: str) -> None:
        spent_s = asyncio.get_running_loop().time() - self._started_s
        self._call_done(self._method.rpartition("/")[2], code, spent_s)
