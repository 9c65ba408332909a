"""Where the service listens, and what it says when it cannot."""

import asyncio
import grp
import os
import socket
import stat
from pathlib import Path

import grpc.aio
import pytest

from gate import config
from gate.rpc.server import RpcServer
from gate.v1 import lane_pb2
from gate.v1.lane_pb2_grpc import LaneServiceStub
from tests.rpc.certificates import authority, station_tls
from tests.rpc.station import PlainStation, served, sockets


def ignore(method: str, code: str, seconds: float) -> None:
    """No metrics."""


async def refused(settings: config.Grpc) -> Exception:
    """Why the service does not start with these settings."""
    rpc = RpcServer(settings, PlainStation(), ignore)
    try:
        await rpc.start()
    except (OSError, config.ConfigError) as error:
        return error
    await rpc.stop()
    raise AssertionError("it started")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_socket_is_open_to_its_owner_and_group_only(umask: int, tmp_path: Path) -> None:
    """Mode 0660 whatever the umask, which is as before; gone after the end."""

    async def story() -> None:
        before = os.umask(umask)
        try:
            async with served(sockets(tmp_path)):
                modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.sock")}
                assert modes == {f"{role}.sock": 0o660 for role in config.SOCKET_ROLES}
                assert os.umask(umask) == umask
            assert list(tmp_path.glob("*.sock")) == []
        finally:
            os.umask(before)

    asyncio.run(story())


def test_a_socket_that_a_killed_controller_left_is_replaced(tmp_path: Path) -> None:
    """The new controller answers on it."""

    async def story() -> None:
        path = tmp_path / "operator.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        async with served(config.Grpc((), operator_socket=path)), grpc.aio.insecure_channel(f"unix:{path}") as link:
            assert (await LaneServiceStub(link).ListLanes(lane_pb2.ListLanesRequest())).lanes

    asyncio.run(story())


def test_a_socket_that_a_running_controller_answers_is_left_to_it(tmp_path: Path) -> None:
    """The second controller does not start, and the first one still answers on its socket."""

    async def story() -> None:
        settings = config.Grpc((), operator_socket=tmp_path / "operator.sock")
        async with served(settings):
            assert "another controller answers there" in str(await refused(settings))
            async with grpc.aio.insecure_channel(f"unix:{settings.operator_socket}") as link:
                assert (await LaneServiceStub(link).ListLanes(lane_pb2.ListLanesRequest())).lanes

    asyncio.run(story())


def test_a_socket_goes_to_its_group(tmp_path: Path) -> None:
    """The group of the file is the role; a group that we may not give it to is named, and nothing listens."""
    path = tmp_path / "operator.sock"
    own = grp.getgrgid(os.getgroups()[-1] if os.getgroups() else os.getgid())

    async def story() -> None:
        async with served(config.Grpc((), operator_socket=path, socket_groups={"operator": own.gr_name})):
            assert path.stat().st_gid == own.gr_gid
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
        error = await refused(config.Grpc((), operator_socket=path, socket_groups={"operator": "no-such-group"}))
        assert "cannot be given to group no-such-group" in str(error)
        assert not path.exists()

    asyncio.run(story())


def test_a_file_in_the_sockets_place_is_kept(tmp_path: Path) -> None:
    """What is no socket is not removed, and the error names it; sockets made before it are gone again."""
    (tmp_path / "ticketing.sock").write_text("somebody's notes")

    async def story() -> None:
        error = await refused(sockets(tmp_path))
        assert str(tmp_path / "ticketing.sock") in str(error)
        assert (tmp_path / "ticketing.sock").read_text() == "somebody's notes"
        assert not (tmp_path / "operator.sock").exists()

    asyncio.run(story())


def test_a_path_that_no_socket_can_have_is_named(tmp_path: Path) -> None:
    """Longer than the system allows: said so, instead of blaming another controller."""
    path = tmp_path / ("x" * 108)

    async def story() -> None:
        assert "shorter path" in str(await refused(config.Grpc((), operator_socket=path)))

    asyncio.run(story())


def test_a_taken_port_is_named_and_the_rest_is_let_go() -> None:
    """OSError with the address; the port that was free before is free again."""

    async def story() -> None:
        with socket.socket() as taken, socket.socket() as other:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            other.bind(("127.0.0.1", 0))
            addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in (other, taken)]
            other.close()
            error = await refused(config.Grpc(tuple(addresses)))
            assert isinstance(error, OSError)
            assert addresses[1] in str(error)
            with socket.socket() as again:
                again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                again.bind(("127.0.0.1", int(addresses[0].rpartition(":")[2])))

    asyncio.run(story())


@pytest.mark.parametrize("key", ["certificate", "private_key", "client_ca"])
@pytest.mark.parametrize("trouble", ["not PEM", "missing"])
def test_an_unusable_tls_file_is_named(key: str, trouble: str, tmp_path: Path) -> None:
    """ConfigError with the path inside station.toml and the file."""
    tls = station_tls(tmp_path)
    path: Path = getattr(tls, key)
    if trouble == "missing":
        path.unlink()
    else:
        path.write_text("-----BEGIN NOTHING-----")

    async def story() -> None:
        error = await refused(config.Grpc(("0.0.0.0:0",), tls=tls))
        assert isinstance(error, config.ConfigError)
        assert error.path == f"grpc.tls.{key}"
        assert str(path) in str(error)

    asyncio.run(story())


def test_a_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    """Caught at start, not at every client's handshake."""
    tls = station_tls(tmp_path)
    tls.private_key.write_bytes(authority().identity().key)

    async def story() -> None:
        error = await refused(config.Grpc(("0.0.0.0:0",), tls=tls))
        assert isinstance(error, config.ConfigError)
        assert "does not belong to" in str(error)

    asyncio.run(story())
