"""Who may call what, asked over the wire: of every method that reflection tells, as every role."""

import asyncio
import re
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from gate import config
from gate.rpc import auth
from tests.rpc.certificates import authority, channel, station_tls
from tests.rpc.station import error_info, served, sockets

PROTOS = Path(__file__).parents[2] / "protos"
STANDARD = ("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection")
ROLES = ("lane", "ticketing", "operator", "auditor", "feed")


def documented() -> dict[str, set[str]]:
    """Method -> the roles that its comment in the protos names."""
    roles = {}
    for path in sorted(PROTOS.rglob("*.proto")):
        service = ""
        comment = ""
        for line in path.read_text("utf-8").splitlines():
            text = line.strip()
            if found := re.match(r"service (\w+)", text):
                service = found[1]
            elif found := re.match(r"rpc (\w+)", text):
                said = re.search(r"Roles: ([a-z, ]+)\.", comment)
                assert said, f"{found[1]} does not say whose it is"
                roles[f"/gate.v1.{service}/{found[1]}"] = set(said[1].split(", "))
            comment = f"{comment} {text[2:].strip()}" if text.startswith("//") else ""
    return roles


def reflected(address: str) -> dict[str, bool]:
    """Method -> whether its response is a stream; of every service that the server says it has."""
    with grpc.insecure_channel(address) as link:
        database = ProtoReflectionDescriptorDatabase(link)
        pool = DescriptorPool(database)
        services = [pool.FindServiceByName(name) for name in database.get_services()]
        return {
            f"/{service.full_name}/{method.name}": method.server_streaming
            for service in services
            for method in service.methods
        }


async def permitted(link: grpc.aio.Channel, method: str, stream: bool) -> bool:
    """Whether the call is let in; its request is empty, so most are refused for that afterwards."""
    try:
        if stream:
            call = link.unary_stream(method)(b"")
            await call.wait_for_connection()
            call.cancel()
        else:
            await link.unary_unary(method)(b"")
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.PERMISSION_DENIED:
            reason, metadata = error_info(error)
            assert reason == "ROLE_NOT_PERMITTED"
            assert metadata["method"] == method
            return False
    return True


def ours(methods: dict[str, bool]) -> dict[str, bool]:
    return {method: stream for method, stream in methods.items() if method.startswith("/gate.")}


def test_what_is_served_is_what_the_protos_describe() -> None:
    """Reflection tells every documented method, health and itself, and nothing else; the table has a line for each."""

    async def story() -> None:
        async with served() as surface:
            methods = await asyncio.to_thread(reflected, surface.address)
            assert set(ours(methods)) == set(documented())
            assert {method.split("/")[1] for method in set(methods) - set(ours(methods))} == set(STANDARD)
            assert set(methods) == set(auth.PERMITTED)

    asyncio.run(story())


@pytest.mark.parametrize("role", ROLES)
def test_a_certificate_opens_what_the_protos_say_and_no_more(role: str, tmp_path: Path) -> None:
    """Each method answers the roles in its comment and refuses all others with ROLE_NOT_PERMITTED."""

    async def story() -> None:
        settings = config.Grpc(("0.0.0.0:0", "127.0.0.1:0"), tls=station_tls(tmp_path))
        async with served(settings) as surface:
            methods = ours(await asyncio.to_thread(reflected, surface.rpc.addresses[1]))
            async with channel(surface.address, authority().identity(uri=f"gate:role:{role}")) as link:
                may = {method for method, stream in methods.items() if await permitted(link, method, stream)}
            assert may == {method for method, roles in documented().items() if role in roles}

    asyncio.run(story())


@pytest.mark.parametrize("role", ROLES)
def test_a_socket_has_its_one_role(role: str, tmp_path: Path) -> None:
    """The socket of a role opens what the protos say for it, and no more."""

    async def story() -> None:
        async with served(sockets(tmp_path)):
            target = f"unix:{tmp_path}/{role}.sock"
            methods = ours(await asyncio.to_thread(reflected, target))
            async with grpc.aio.insecure_channel(target) as link:
                may = {method for method, stream in methods.items() if await permitted(link, method, stream)}
            assert may == {method for method, roles in documented().items() if role in roles}

    asyncio.run(story())


@pytest.mark.parametrize("trusted", [False, True])
def test_plaintext_loopback_opens_nothing_of_ours_unless_trusted(trusted: bool) -> None:
    """Without trust_loopback only health and reflection answer; with it everything does."""

    async def story() -> None:
        async with served(config.Grpc(("127.0.0.1:0",), trust_loopback=trusted)) as surface:
            methods = await asyncio.to_thread(reflected, surface.address)
            async with grpc.aio.insecure_channel(surface.address) as link:
                for method, stream in ours(methods).items():
                    assert await permitted(link, method, stream) is trusted, method
                for method in set(methods) - set(ours(methods)):
                    if "Health" in method:
                        assert await permitted(link, method, methods[method]), method

    asyncio.run(story())


def test_a_method_that_the_table_lacks_is_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forgetting the line closes the method, for trusted callers too."""
    method = "/gate.v1.LaneService/ReleaseLane"
    monkeypatch.setattr(auth, "PERMITTED", {m: roles for m, roles in auth.PERMITTED.items() if m != method})

    async def story() -> None:
        async with served() as surface, grpc.aio.insecure_channel(surface.address) as link:
            assert not await permitted(link, method, stream=False)
            assert await permitted(link, "/gate.v1.LaneService/ListLanes", stream=False)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"unit": "operator"}, True),
        ({"unit": "auditor", "uri": "gate:role:operator"}, True),
        ({"unit": "kitchen"}, False),
        ({"uri": "gate:role:anybody"}, False),
        ({"uri": "gate:role:"}, False),
        ({"uri": "spiffe://gate:role:operator"}, False),
        ({}, False),
    ],
)
def test_only_names_of_roles_count_in_a_certificate(names: dict[str, str], expected: bool, tmp_path: Path) -> None:
    """An organisational unit or a gate:role URI that names a role gives it; anything else gives none."""

    async def story() -> None:
        client = authority().identity(**names)
        settings = config.Grpc(("0.0.0.0:0",), tls=station_tls(tmp_path))
        async with served(settings) as surface, channel(surface.address, client) as link:
            assert await permitted(link, "/gate.v1.LaneService/ReleaseLane", stream=False) is expected
            assert await permitted(link, "/grpc.health.v1.Health/Check", stream=False)

    asyncio.run(story())


@pytest.mark.parametrize("shows", ["nothing", "elsewhere's", "an expired one", "one of tomorrow"])
def test_without_a_certificate_of_our_authority_nobody_is_heard(shows: str, tmp_path: Path) -> None:
    """None, one signed elsewhere, or one out of its days, even with a role in it: no connection, nor health."""

    async def story() -> None:
        uri = "gate:role:operator"
        stranger = {
            "nothing": None,
            "elsewhere's": authority("elsewhere").identity(uri=uri),
            "an expired one": authority().identity(uri=uri, days=(-3, -2)),
            "one of tomorrow": authority().identity(uri=uri, days=(1, 2)),
        }[shows]
        async with served(config.Grpc(("0.0.0.0:0",), tls=station_tls(tmp_path))) as surface:
            async with channel(surface.address, stranger) as link:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await link.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10)
                assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            assert surface.calls == []

    asyncio.run(story())
