"""`grpc.health.v1`: one name a service, and `gate.lane.ID` for each lane.

Not the library's servicer: that one holds its lock while it writes, so that one watcher who reads nothing would stop
all updates, and the orderly end of the controller with them.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gate.policy.verdict import Reason
from gate.rpc.errors import CallError

WATCHERS_MAX = 64  # load balancers and supervisors of one station, several times over

_Status = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc] # the library ships no types
    """Who serves. Anybody may ask."""

    def __init__(self) -> None:
        self._status: dict[str, Any] = {"": _Status.SERVING}
        self._changed = asyncio.Event()
        self._watchers = 0
        self._stopping = False

    def set(self, service: str, serving: bool) -> None:
        """A service serves, or not; ignored once everything stops."""
        status = _Status.SERVING if serving else _Status.NOT_SERVING
        if not self._stopping and self._status.get(service) != status:
            self._status[service] = status
            self._tell()

    def stop(self) -> None:
        """Nothing serves any more."""
        self._stopping = True
        self._status = dict.fromkeys(self._status, _Status.NOT_SERVING)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """One service."""
        if request.service not in self._status:
            text = "there is no such service: List names all"
            raise CallError(grpc.StatusCode.NOT_FOUND, Reason.REQUEST_INVALID, text, field="service")
        return _Status(status=self._status[request.service])

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802 - the proto's name
        """All services."""
        statuses = {name: _Status(status=status) for name, status in self._status.items()}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def Watch(self, request: Any, context: Any) -> AsyncGenerator[Any, None]:  # noqa: N802 - the proto's name
        """One service, now and at every change; a slow reader sees the latest only."""
        if self._watchers >= WATCHERS_MAX:
            text = "too many streams are open: close some, or use Check"
            raise CallError(grpc.StatusCode.RESOURCE_EXHAUSTED, Reason.TOO_MANY_SUBSCRIBERS, text)
        self._watchers += 1
        try:
            await context.send_initial_metadata(())
            told = None
            while True:
                changed = self._changed
                status = self._status.get(request.service, _Status.SERVICE_UNKNOWN)
                if status != told:
                    yield _Status(status=status)
                    told = status
                else:
                    await changed.wait()
        finally:
            self._watchers -= 1
