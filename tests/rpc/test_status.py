"""StatusService: what a ticket system may ask, and what it is told when it asks wrongly."""

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest

from gate.rpc.status import BATCH_MAX, BATCH_STEP
from gate.v1 import reason_pb2, status_pb2
from gate.v1.status_pb2_grpc import StatusServiceStub
from tests.rpc.station import PlainStation, connected, refusal, served

NUMBER = "11010519491231002X"  # the example of GB 11643-1999
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def query(**changes: Any) -> status_pb2.CheckStatusRequest:
    """A query as a ticket system makes it; None takes a field away."""
    fields: dict[str, Any] = {"purpose": "ticket purchase", "order_id": "E123456789", "document": {"type": 1}}
    fields["document"]["number"] = NUMBER
    fields |= changes
    if "code_content" in changes:
        del fields["document"]
    return status_pb2.CheckStatusRequest(**{name: value for name, value in fields.items() if value is not None})


def test_an_answer_says_what_why_how_old_and_what_next() -> None:
    """Verdict, status, reason with words in the station's languages, finding, freshness and grounds are all given."""

    async def story() -> None:
        async with connected() as (_, link):
            answer = await StatusServiceStub(link).CheckStatus(query())
        assert answer.verdict == status_pb2.VERDICT_GRANT
        assert answer.credential_status == status_pb2.CREDENTIAL_STATUS_GREEN
        assert answer.finding == status_pb2.FINDING_LISTED
        assert answer.reason.code == reason_pb2.REASON_STATUS_GREEN
        assert set(answer.reason.sentence) == set(answer.reason.next_step) == {"zh", "en"}
        assert all(answer.reason.sentence.values())
        assert answer.reason.appeal_reference
        assert answer.freshness.band == status_pb2.BAND_FRESH
        assert answer.freshness.as_of_time.seconds == 1_780_000_000
        assert answer.freshness.age.ToMilliseconds() == 3_600_500
        assert (answer.issuer, answer.asserted_by, answer.rule_id) == ("SSM", "310000", "mutual/1")
        assert (answer.feed_sequence, answer.decision_id) == (7, "abcd")

    asyncio.run(story())


def test_words_come_in_the_stations_languages_only() -> None:
    """A station that speaks Chinese answers in Chinese."""

    async def story() -> None:
        async with served(station=PlainStation(languages=("zh",))) as surface:
            async with grpc.aio.insecure_channel(surface.address) as link:
                answer = await StatusServiceStub(link).CheckStatus(query())
            assert set(answer.reason.sentence) == set(answer.reason.next_step) == {"zh"}

    asyncio.run(story())


def test_a_code_alone_names_nobody() -> None:
    """What no feed decided has no freshness, and REFER is the answer."""

    async def story() -> None:
        async with connected() as (_, link):
            answer = await StatusServiceStub(link).CheckStatus(query(code_content="https://s.sh.gov.cn/abc"))
        assert answer.verdict == status_pb2.VERDICT_REFER
        assert not answer.freshness.HasField("as_of_time")
        assert not answer.freshness.HasField("age")
        assert answer.freshness.band == status_pb2.BAND_UNSPECIFIED

    asyncio.run(story())


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        (query(purpose=None), "purpose", "REQUEST_INVALID"),
        (query(purpose=" \t "), "purpose", "REQUEST_INVALID"),
        (query(order_id=None), "order_id", "REQUEST_INVALID"),
        (query(order_id="7" * 65), "order_id", "REQUEST_INVALID"),
        (query(order_id="1\n2 forged line"), "order_id", "REQUEST_INVALID"),
        (query(order_id="张三"), "order_id", "REQUEST_INVALID"),
        (query(order_id="Zhang San"), "order_id", "REQUEST_INVALID"),
        (query(travel_time={"seconds": 253_402_300_800}), "travel_time", "REQUEST_INVALID"),
        (query(travel_time={"seconds": 1_780_000_000, "nanos": -1}), "travel_time", "REQUEST_INVALID"),
        (query(document=None), "subject", "REQUEST_INVALID"),
        (query(document={"number": NUMBER}), "document.type", "REQUEST_INVALID"),
        (query(document={"type": 99, "number": NUMBER}), "document.type", "REQUEST_INVALID"),
        (query(document={"type": 1}), "document.number", "DOCUMENT_INVALID"),
        (query(document={"type": 1, "number": NUMBER[:-1] + "1"}), "document.number", "DOCUMENT_INVALID"),
        (query(document={"type": 1, "number": NUMBER * 4}), "document.number", "REQUEST_INVALID"),
        (query(code_content="a" * 4097), "code_content", "REQUEST_INVALID"),
        (query(code_content="码" * 1366), "code_content", "REQUEST_INVALID"),  # 4,098 bytes
        (query(origin_region="31"), "origin_region", "REQUEST_INVALID"),
        (query(destination_region="上海市浦东新"), "destination_region", "REQUEST_INVALID"),
    ],
)
def test_a_wrong_field_is_named(wrong: status_pb2.CheckStatusRequest, field: str, reason: str) -> None:
    """INVALID_ARGUMENT, the field in the metadata, and the station is not asked."""

    async def story() -> None:
        async with connected() as (surface, link):
            assert await refusal(StatusServiceStub(link).CheckStatus(wrong)) == (INVALID, reason, {"field": field})
            assert surface.station.asked == []

    asyncio.run(story())


@pytest.mark.parametrize("number", [NUMBER[:-1] + "1", NUMBER * 4, f"no {NUMBER}"])
def test_a_number_is_never_told_back(number: str) -> None:
    """Neither the text of an error, nor its details, nor an answer hold the number or a part of it."""

    async def story() -> None:
        async with connected() as (_, link):
            stub = StatusServiceStub(link)
            wrong = query(document={"type": 1, "number": number})
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.CheckStatus(wrong)
            told = [str(refused.value), repr(refused.value.trailing_metadata())]
            told.append(str(await stub.BatchCheckStatus(status_pb2.BatchCheckStatusRequest(requests=[wrong, query()]))))
            assert not any(NUMBER[:6] in text or NUMBER[6:14] in text for text in told)

    asyncio.run(story())


def test_one_wrong_query_does_not_touch_the_others() -> None:
    """A batch answers each in its place, and says of the refused which field to correct."""
    wrong = query(document={"type": 1, "number": "1"})

    async def story() -> None:
        async with connected() as (_, link):
            batch = status_pb2.BatchCheckStatusRequest(requests=[query(), wrong, query(purpose=None), query()])
            items = (await StatusServiceStub(link).BatchCheckStatus(batch)).items
        assert [item.WhichOneof("result") for item in items] == ["response", "error", "error", "response"]
        assert (items[1].error.reason, items[1].error.field) == (
            reason_pb2.REASON_DOCUMENT_INVALID,
            "document.number",
        )
        assert (items[2].error.reason, items[2].error.field) == (reason_pb2.REASON_REQUEST_INVALID, "purpose")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("count", "reason"), [(0, "REQUEST_INVALID"), (BATCH_MAX + 1, "TOO_MANY_ITEMS"), (20_000, "TOO_MANY_ITEMS")]
)
def test_a_batch_has_its_limits(count: int, reason: str) -> None:
    """None, or more than 1,000: refused as a whole, nothing is looked up."""

    async def story() -> None:
        async with connected() as (surface, link):
            batch = status_pb2.BatchCheckStatusRequest(requests=[status_pb2.CheckStatusRequest()] * count)
            assert await refusal(StatusServiceStub(link).BatchCheckStatus(batch)) == (
                INVALID,
                reason,
                {"field": "requests"},
            )
            assert surface.station.asked == []

    asyncio.run(story())


def test_batches_never_hold_the_lanes_up() -> None:
    """With full batches running side by side the loop comes round after every few queries of all of them together."""

    async def story() -> None:
        async with connected() as (surface, link):
            jumps = [0]

            async def lane() -> None:
                seen = 0
                while True:
                    await asyncio.sleep(0)
                    jumps.append(len(surface.station.asked) - seen)
                    seen += jumps[-1]

            walking = asyncio.create_task(lane())
            batch = status_pb2.BatchCheckStatusRequest(requests=[query()] * BATCH_MAX)
            stub = StatusServiceStub(link)
            answers = await asyncio.gather(*(stub.BatchCheckStatus(batch) for _ in range(3)))
            walking.cancel()
            assert [len(answer.items) for answer in answers] == [BATCH_MAX] * 3
            assert max(jumps) <= BATCH_STEP

    asyncio.run(story())
