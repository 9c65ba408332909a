"""Who may call what: every method lists its roles, the default is nobody. One interceptor admits and times calls.

A role comes from where a call arrives: a unix socket has one role, guarded by its file's mode and group; a TLS client
has those of its certificate (URI `gate:role:ROLE`, or organisational unit ROLE); plaintext loopback has none, or all
when the configuration trusts it.
"""

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.x509.oid import NameOID

from gate.policy.verdict import Reason
from gate.rpc.errors import CallError, Context, abort

log = logging.getLogger(__name__)

ROLES = frozenset({"lane", "ticketing", "operator", "auditor", "feed"})
WRITE_S = 10.0  # a client that takes no message for so long reads no more; its stream is ended
_URI_PREFIX = "gate:role:"

_LOOK = frozenset({"operator", "auditor", "lane"})
_STAFF = frozenset({"operator"})
_HISTORY = frozenset({"operator", "auditor"})
_FEEDS = frozenset({"operator", "auditor", "feed", "ticketing"})
_TICKETS = frozenset({"ticketing"})
ANYBODY = ROLES | {"anybody"}

PERMITTED: Mapping[str, frozenset[str]] = {
    "/gate.v1.StatusService/CheckStatus": _TICKETS,
    "/gate.v1.StatusService/BatchCheckStatus": _TICKETS,
    "/gate.v1.LaneService/ListLanes": _LOOK,
    "/gate.v1.LaneService/GetLane": _LOOK,
    "/gate.v1.LaneService/WatchLanes": _LOOK,
    "/gate.v1.LaneService/SetLaneMode": _STAFF,
    "/gate.v1.LaneService/ReleaseLane": _STAFF,
    "/gate.v1.LaneService/ResetEmergency": _STAFF,
    "/gate.v1.PassageService/ListPassages": _HISTORY,
    "/gate.v1.PassageService/WatchPassages": _HISTORY,
    "/gate.v1.FeedService/ListFeeds": _FEEDS,
    "/gate.v1.FeedService/GetFeed": _FEEDS,
    "/grpc.health.v1.Health/Check": ANYBODY,
    "/grpc.health.v1.Health/Watch": ANYBODY,
    "/grpc.health.v1.Health/List": ANYBODY,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": ANYBODY,
}

RolesOf = Callable[[Context], frozenset[str]]
CallDone = Callable[[str, str, float], None]  # method, status code, seconds


def fixed(*roles: str) -> RolesOf:
    """The same roles for every caller of a listener; health and reflection are for anybody."""
    held = frozenset(roles) | {"anybody"}
    return lambda context: held


def from_certificate(context: Context) -> frozenset[str]:
    """The roles of the client's certificate, which the TLS layer has verified."""
    certificates = context.auth_context().get("x509_pem_cert", ())
    return frozenset({"anybody"}).union(*(_roles_in(pem) for pem in certificates))


@functools.lru_cache(maxsize=256)  # clients of one station, several times over
def _roles_in(pem: bytes) -> frozenset[str]:
    certificate = x509.load_pem_x509_certificate(pem)
    names = {str(unit.value) for unit in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)}
    try:
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = alternative.get_values_for_type(x509.UniformResourceIdentifier)
        names |= {uri.removeprefix(_URI_PREFIX) for uri in uris if uri.startswith(_URI_PREFIX)}
    except x509.ExtensionNotFound:
        pass  # then only the organisational unit speaks
    return ROLES & names


class Gatekeeper(grpc.aio.ServerInterceptor):  # type: ignore[type-arg] # generic in the stubs only
    """Admits or refuses each call, ends it with a named error, and tells how long it took."""

    def __init__(self, roles_of: RolesOf, call_done: CallDone) -> None:
        self._roles_of = roles_of
        self._call_done = call_done

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the handler of a call."""
        handler = await continuation(details)
        method = details.method
        if handler is None or method not in PERMITTED:
            return handler  # unknown methods are answered UNIMPLEMENTED by grpc; a test keeps the table complete
        if handler.unary_unary:
            return grpc.unary_unary_rpc_method_handler(
                self._unary(method, handler.unary_unary), handler.request_deserializer, handler.response_serializer
            )
        if handler.unary_stream:
            return grpc.unary_stream_rpc_method_handler(
                self._stream(method, handler.unary_stream), handler.request_deserializer, handler.response_serializer
            )
        return handler  # reflection, which is for anybody

    def _unary(self, method: str, inner: Any) -> Any:
        async def call(request: Any, context: Context) -> Any:
            async with _Call(self, method, context):
                return await inner(request, context)

        return call

    def _stream(self, method: str, inner: Any) -> Any:
        async def call(request: Any, context: Context) -> None:
            async with _Call(self, method, context):
                replies = inner(request, context)
                if isinstance(replies, AsyncIterator):
                    async for reply in replies:
                        await _write(context, reply)
                else:
                    await replies  # a servicer that writes for itself: health's Watch

        return call

    def admit(self, method: str, context: Context) -> None:
        """Refuse who has none of the method's roles. Raises CallError."""
        if not self._roles_of(context) & PERMITTED[method]:
            permitted = ", ".join(sorted(PERMITTED[method] - {"anybody"}))
            raise CallError(
                grpc.StatusCode.PERMISSION_DENIED,
                Reason.ROLE_NOT_PERMITTED,
                f"{method} is for {permitted}: use that role's socket or certificate",
                method=method,
                permitted=permitted,
            )

    def done(self, method: str, code: str, seconds: float) -> None:
        """A call ended."""
        self._call_done(method.rpartition("/")[2], code, seconds)


async def _write(context: Context, reply: Any) -> None:
    try:
        async with asyncio.timeout(WRITE_S):
            await context.write(reply)
    except TimeoutError:
        raise CallError(
            grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.SUBSCRIBER_TOO_SLOW, "nothing was read: subscribe again and read"
        ) from None


class _Call:
    """One call from admission to its end."""

    def __init__(self, keeper: Gatekeeper, method: str, context: Context) -> None:
        self._keeper = keeper
        self._method = method
        self._context = context
        self._started_s = 0.0

    async def __aenter__(self) -> None:
        self._started_s = asyncio.get_running_loop().time()
        try:
            self._keeper.admit(self._method, self._context)
        except CallError as error:
            await self._refuse(error)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._end("OK")
        elif isinstance(error, CallError):
            await self._refuse(error)
        elif isinstance(error, Exception) and not isinstance(error, grpc.aio.AbortError):
            # Its text could quote the request: only the kind is told and logged.
            log.error("%s failed: %s", self._method, kind.__name__ if kind else "")
            log.debug("traceback of the failed call", exc_info=error)
            self._end("INTERNAL")
            await self._context.abort(grpc.StatusCode.INTERNAL, "the controller failed; see its log")
        else:
            self._end("CANCELLED")

    async def _refuse(self, error: CallError) -> None:
        self._end(error.code.name)
        await abort(self._context, error)

    def _end(self, code: str) -> None:
        self._keeper.done(self._method, code, asyncio.get_running_loop().time() - self._started_s)
