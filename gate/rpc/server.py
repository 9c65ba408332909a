"""The gRPC surface: one server a listener, so that the role of a caller is known by where the call arrives."""

import asyncio
import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gate import config
from gate.rpc import auth
from gate.rpc.calls import CALLS_MAX, MESSAGE_BYTES_MAX, CallDone, Gatekeeper
from gate.rpc.device import DeviceServicer
from gate.rpc.feed import FeedServicer
from gate.rpc.health import Health
from gate.rpc.lane import LaneServicer
from gate.rpc.passage import PassageServicer
from gate.rpc.status import StatusServicer
from gate.rpc.tls import server_credentials
from gate.rpc.view import StationView
from gate.v1 import (
    device_pb2,
    device_pb2_grpc,
    feed_pb2,
    feed_pb2_grpc,
    lane_pb2,
    lane_pb2_grpc,
    passage_pb2,
    passage_pb2_grpc,
    status_pb2,
    status_pb2_grpc,
)

log = logging.getLogger(__name__)

# grpc's own limits, which refuse without ErrorInfo, lie where a client can no longer be told in good order: ours are
# `MESSAGE_BYTES_MAX` and `CALLS_MAX` of calls.py.
WIRE_BYTES_MAX = 4 * MESSAGE_BYTES_MAX
WIRE_CALLS_MAX = 2 * CALLS_MAX
CALLS_PER_CONNECTION_MAX = 100  # so that one client whose streams are stuck leaves room for the others
HEALTH_S = 0.5
STOP_S = 2.0
SOCKET_MODE = 0o660  # the socket's group is the role
_ANSWER_S = 1.0  # a listener on the same machine answers at once
SOCKET_PATH_BYTES_MAX = 107  # sockaddr_un.sun_path without its end (man 7 unix)
_OPTIONS = (
    ("grpc.max_receive_message_length", WIRE_BYTES_MAX),
    ("grpc.max_concurrent_streams", CALLS_PER_CONNECTION_MAX),
    ("grpc.so_reuseport", 0),  # a second controller on the same port is an error, not a load balancer
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)
SERVICES = tuple(
    descriptor.full_name
    for module in (status_pb2, lane_pb2, passage_pb2, feed_pb2, device_pb2)
    for descriptor in module.DESCRIPTOR.services_by_name.values()
)
_HEALTH: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class RpcServer:
    """All listeners of one station."""

    def __init__(self, settings: config.Grpc, view: StationView, call_done: CallDone) -> None:
        self._settings = settings
        self._view = view
        self._call_done = call_done
        self._servers: list[grpc.aio.Server] = []
        self._sockets: list[Path] = []
        self._health = Health()
        self._status = StatusServicer(view)  # one for all listeners, since batches take turns
        self.addresses: list[str] = []

    async def start(self) -> None:
        """Listen everywhere, or nowhere. Raises OSError naming the address, ConfigError."""
        self._see_health()
        try:
            await self._listen_everywhere()
        except BaseException:
            await self.stop()
            raise

    async def _listen_everywhere(self) -> None:
        settings = self._settings
        for address in settings.listen:
            await self._listen(address)
        for role in config.SOCKET_ROLES:
            path = getattr(settings, f"{role}_socket")
            if path is not None:
                await self._listen_unix(path, role)

    async def run(self) -> None:
        """Keep the health of lanes up to date until cancelled."""
        while True:
            await asyncio.sleep(HEALTH_S)
            self._see_health()

    def _see_health(self) -> None:
        for service in SERVICES:
            self._health.set(service, True)
        for lane in self._view.lanes():
            self._health.set(f"gate.lane.{lane.lane_id}", lane.works)

    def stopping(self) -> None:
        """Tell health checkers that the station ends; calls are still answered."""
        self._health.stop()

    async def stop(self) -> None:
        """Tell health checkers, give calls 2 s, and remove the sockets."""
        self.stopping()
        await asyncio.gather(*(server.stop(STOP_S) for server in self._servers))
        for path in self._sockets:
            path.unlink(missing_ok=True)

    async def _listen(self, address: str) -> None:
        tls = self._settings.tls
        if tls is not None and not config.is_loopback(address):
            server = self._server(auth.from_certificate)
            credentials = server_credentials(tls)
            port = self._bind(address, lambda: server.add_secure_port(address, credentials))
        else:
            trusted = self._settings.trust_loopback
            if trusted:
                log.warning(
                    "%s trusts every process of this machine (trust_loopback): for demonstrations only", address
                )
            server = self._server(auth.fixed(*(auth.ROLES if trusted else ())))
            port = self._bind(address, lambda: server.add_insecure_port(address))
        await self._begin(server, f"{address.rpartition(':')[0]}:{port}")

    async def _listen_unix(self, path: Path, role: str) -> None:
        _make_way(path)
        server = self._server(auth.fixed(role))
        with _only_owner_and_group():
            self._bind(str(path), lambda: server.add_insecure_port(f"unix:{path}"))
        self._sockets.append(path)
        self._give(path, role)
        await self._begin(server, f"unix:{path}")

    def _give(self, path: Path, role: str) -> None:
        group = self._settings.socket_groups.get(role)
        try:
            if group:
                shutil.chown(path, group=group)
            os.chmod(path, SOCKET_MODE)
        except (OSError, LookupError) as error:
            text = f"{path} cannot be given to group {group}: make the service's user a member of it"
            raise OSError(text) from error

    def _server(self, roles_of: auth.RolesOf) -> grpc.aio.Server:
        keeper = Gatekeeper(roles_of, self._call_done)
        server = grpc.aio.server(interceptors=[keeper], options=_OPTIONS, maximum_concurrent_rpcs=WIRE_CALLS_MAX)
        status_pb2_grpc.add_StatusServiceServicer_to_server(self._status, server)
        lane_pb2_grpc.add_LaneServiceServicer_to_server(LaneServicer(self._view), server)
        passage_pb2_grpc.add_PassageServiceServicer_to_server(PassageServicer(self._view), server)
        feed_pb2_grpc.add_FeedServiceServicer_to_server(FeedServicer(self._view), server)
        device_pb2_grpc.add_DeviceServiceServicer_to_server(DeviceServicer(self._view), server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names: Sequence[str] = (*SERVICES, _HEALTH, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    def _bind(self, address: str, add: Callable[[], int]) -> int:
        try:
            port = add()
        except RuntimeError as error:
            raise OSError(f"gRPC cannot listen on {address}: is another controller running?") from error
        if not port:
            raise OSError(f"gRPC cannot listen on {address}: is another controller running?")
        return port

    async def _begin(self, server: grpc.aio.Server, address: str) -> None:
        await server.start()
        self._servers.append(server)
        self.addresses.append(address)
        log.info("gRPC at %s", address)


def _make_way(path: Path) -> None:
    """Remove the socket that a killed controller left. Raises OSError when something else is there."""
    if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
        raise OSError(f"{path} is longer than {SOCKET_PATH_BYTES_MAX} bytes: give the socket a shorter path")
    if path.exists():
        if not path.is_socket():
            raise OSError(f"{path} is there and no socket: move it away")
        if _answers(path):
            raise OSError(f"gRPC cannot listen on {path}: another controller answers there; stop it")
        path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)


def _answers(path: Path) -> bool:
    """Whether somebody listens at the socket; one that a killed controller left refuses."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_ANSWER_S)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # busy, or of another kind: somebody's in any case
    return True


@contextlib.contextmanager
def _only_owner_and_group() -> Iterator[None]:
    """Files made here are never open to others, not even until their mode is set."""
    before = os.umask(0o777 & ~SOCKET_MODE)
    try:
        yield
    finally:
        os.umask(before)
