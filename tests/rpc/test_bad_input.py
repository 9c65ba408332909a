"""Bytes that no client of ours sends."""

import asyncio
import logging

import grpc
import grpc.aio
import pytest

from gate.rpc.calls import CALLS_MAX, MESSAGE_BYTES_MAX
from gate.v1 import lane_pb2, passage_pb2, status_pb2
from gate.v1.passage_pb2_grpc import PassageServiceStub
from gate.v1.status_pb2_grpc import StatusServiceStub
from tests.rpc.station import connected, error_info, refusal
from tests.rpc.test_status import query

CHECK = "/gate.v1.StatusService/CheckStatus"
REFLECT = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
GET_LANE = "/gate.v1.LaneService/GetLane"
_FIELD_1000 = b"\xc2\x3e"  # tag of field 1000, length-delimited


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_an_oversize_message_is_refused(compression: grpc.Compression) -> None:
    """Above 1 MiB: RESOURCE_EXHAUSTED, also when it came small and swells; the next call is answered."""

    async def story() -> None:
        async with connected() as (surface, link):
            big = b"\x0a" + b"\x80\x80\x80\x05" + bytes(10 * MESSAGE_BYTES_MAX)  # field 1 of 10 MiB
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await link.unary_unary(GET_LANE)(big, compression=compression)
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await StatusServiceStub(link).CheckStatus(query())
            assert surface.codes("CheckStatus") == ["OK"]

    asyncio.run(story())


@pytest.mark.parametrize("method", [CHECK, "/gate.v1.LaneService/WatchLanes"])
def test_a_message_that_is_too_long_is_named(method: str) -> None:
    """One byte above 1 MiB: ErrorInfo with the limit, for calls and streams; at 1 MiB it is looked at."""

    async def story() -> None:
        async with connected() as (_, link):
            for size, expected in (
                (MESSAGE_BYTES_MAX + 1, "RESOURCE_EXHAUSTED"),
                (MESSAGE_BYTES_MAX, "INVALID_ARGUMENT"),
            ):
                message = _FIELD_1000 + b"\xff" * (size - len(_FIELD_1000))
                call = (
                    link.unary_stream(method)(message).read()
                    if "Watch" in method
                    else link.unary_unary(method)(message)
                )
                code, reason, metadata = await refusal(call)
                assert (code.name, reason) == (expected, "REQUEST_INVALID")
                assert metadata == ({"limit": str(MESSAGE_BYTES_MAX)} if size > MESSAGE_BYTES_MAX else {})

    asyncio.run(story())


def test_garbage_in_a_stream_of_requests_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Reflection takes a stream: what is no request ends it as any call's would, and fills no log."""

    async def story() -> None:
        async with connected() as (_, link):
            call = link.stream_stream(REFLECT)()
            await call.write(b"\xff\xff\xff")
            code, reason, _ = await refusal(call.read())
            assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert not [record for record in caplog.records if record.exc_info]


def test_a_full_batch_fits_into_a_message() -> None:
    """1,000 queries with the longest purpose and order stay below the limit, and so does their answer for a client."""

    async def story() -> None:
        async with connected() as (_, link):
            batch = status_pb2.BatchCheckStatusRequest(requests=[query(purpose="p" * 64, order_id="o" * 64)] * 1000)
            assert batch.ByteSize() < MESSAGE_BYTES_MAX
            assert len((await StatusServiceStub(link).BatchCheckStatus(batch)).items) == 1000

    asyncio.run(story())


def test_unknown_fields_change_nothing() -> None:
    """A newer client's field is passed over: same answer, nothing of it comes back."""

    async def story() -> None:
        async with connected() as (_, link):
            call = link.unary_unary(CHECK, response_deserializer=status_pb2.CheckStatusResponse.FromString)
            plain = query().SerializeToString()
            newer = plain + _FIELD_1000 + bytes([13]) + b"newer-clients"
            assert await call(newer) == await call(plain)
            assert b"newer" not in (await call(newer)).SerializeToString()

    asyncio.run(story())


@pytest.mark.parametrize("garbage", [b"\xff\xff\xff", b"\x0a\x7fshort", b"\x1a\x02\xc3\x28", b"\x00" * 64])
def test_bytes_that_are_no_request_are_named(garbage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """INVALID_ARGUMENT with REQUEST_INVALID, and no traceback in the log that strangers could fill it with."""

    async def story() -> None:
        async with connected() as (surface, link):
            code, reason, _ = await refusal(link.unary_unary(CHECK)(garbage))
            assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
            assert surface.codes("CheckStatus") == ["INVALID_ARGUMENT"]

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    assert not [record for record in caplog.records if record.exc_info]


def test_garbage_from_who_may_not_ask_is_refused_for_that(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger learns nothing of a method's form: the role is judged first."""
    from gate import config
    from tests.rpc.station import served

    async def story() -> None:
        async with (
            served(config.Grpc(("127.0.0.1:0",))) as surface,
            grpc.aio.insecure_channel(surface.address) as link,
        ):
            code, reason, _ = await refusal(link.unary_unary(CHECK)(b"\xff\xff"))
            assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_PERMITTED")

    asyncio.run(story())


@pytest.mark.parametrize("method", ["/gate.v1.LaneService/OpenAll", "/gate.v2.LaneService/GetLane", "/x"])
def test_an_unknown_method_is_unimplemented(method: str) -> None:
    """With an ErrorInfo, for calls and streams; nothing else happens, and no metric learns the invented name."""

    async def story() -> None:
        async with connected() as (surface, link):
            for call in (link.unary_unary(method)(b""), link.unary_stream(method)(b"").read()):
                code, reason, _ = await refusal(call)
                assert (code, reason) == (grpc.StatusCode.UNIMPLEMENTED, "REQUEST_INVALID")
            assert surface.station.asked == []
            assert [(name, code) for name, code, _ in surface.calls] == [("unknown", "UNIMPLEMENTED")] * 2

    asyncio.run(story())


def test_a_fault_of_ours_tells_nothing_of_the_request(caplog: pytest.LogCaptureFixture) -> None:
    """An exception whose text quotes the number ends as INTERNAL; neither the client nor the log sees that text."""

    async def story() -> None:
        async with connected() as (surface, link):
            surface.station.breaks_with = RuntimeError("11010519491231002X is on fire")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await StatusServiceStub(link).CheckStatus(query())
            assert refused.value.code() is grpc.StatusCode.INTERNAL
            assert error_info(refused.value)[0] == "CONTROLLER_FAILED"
            assert "1949" not in str(refused.value) + repr(refused.value.trailing_metadata())
            surface.station.breaks_with = None
            await StatusServiceStub(link).CheckStatus(query())

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    assert "CheckStatus failed: RuntimeError" in caplog.text
    assert "1949" not in caplog.text


def test_calls_at_once_are_bounded() -> None:
    """More streams than a listener carries, over many connections, are refused with RESOURCE_EXHAUSTED."""

    async def story() -> None:
        async with connected() as (surface, link):
            links = [
                grpc.aio.insecure_channel(surface.address, options=(("grpc.use_local_subchannel_pool", 1),))
                for _ in range(4)
            ]
            open_calls = [links[n % 4].stream_stream(REFLECT)() for n in range(CALLS_MAX)]
            for call in open_calls:
                await call.write(b"\x3a\x00")  # list_services
                await call.read()
            code, reason, _ = await refusal(link.unary_unary(GET_LANE)(lane_pb2.GetLaneRequest().SerializeToString()))
            assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SUBSCRIBERS")
            for call in open_calls:
                call.cancel()
            for one in links:
                await one.close()
            async with asyncio.timeout(10):
                while True:
                    try:
                        await PassageServiceStub(link).ListPassages(passage_pb2.ListPassagesRequest())
                        break
                    except grpc.aio.AioRpcError:
                        await asyncio.sleep(0.02)

    asyncio.run(story())
