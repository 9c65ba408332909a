"""What a real station tells: rules of a day, special days, dry runs, words, references, alerts; over real gRPC."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from typer.testing import CliRunner

from gate.cli import app
from gate.feed.records import CredentialStatus as S
from gate.policy.jump import LEARNING_S, RedWatch
from gate.sim.people import Person
from gate.sync.rows import NEEDED
from gate.v1 import lane_pb2, status_pb2
from gate.v1.lane_pb2_grpc import LaneServiceStub
from gate.v1.reason_pb2 import Reason
from gate.v1.status_pb2_grpc import StatusServiceStub
from tests.support.house import House, OwnFeed, code_of, house, same_day_ahead, somebody, station_of, today

DAY = timedelta(days=1)
LANGUAGES = {"zh", "en"}


async def _lane(channel: grpc.aio.Channel, lane_id: str = "A1") -> lane_pb2.Lane:
    return (await LaneServiceStub(channel).GetLane(lane_pb2.GetLaneRequest(lane_id=lane_id), timeout=5)).lane


async def _status(channel: grpc.aio.Channel, who: Person, when: datetime | None = None, where: str = "") -> Any:
    """What a ticket system is answered about somebody's journey; absent: now and here."""
    time_ = Timestamp(seconds=int(when.timestamp())) if when else None
    resident = status_pb2.DOCUMENT_TYPE_RESIDENT_ID
    request = status_pb2.CheckStatusRequest(
        document=status_pb2.Document(type=resident, number=who.number),
        purpose="ticket purchase",
        order_id="order-1",
        travel_time=time_,
        destination_region=where,
    )
    return await StatusServiceStub(channel).CheckStatus(request, timeout=5)


# --- rules of a day ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R1", "R4", "row:SCM")
def test_a_code_refused_by_the_rules_of_march_2020_opens_by_those_of_today(tmp_path: Path) -> None:
    """Suzhou on 1 March: a Hangzhou green is denied in the rule's own words, to holder and staff; today it opens."""
    traveller, local = somebody(1, S.GREEN, "ZJ"), somebody(2, S.GREEN, "SCM")
    feeds = [OwnFeed(tmp_path, "ZJ"), OwnFeed(tmp_path, "SCM")]
    feeds[0].publish(1, [traveller])
    feeds[1].publish(1, [local])
    code = code_of(traveller, "ZJ_V2")

    async def story() -> None:
        then = station_of(tmp_path, feeds, region="320500", policy="rules_of = 2020-03-01")
        async with house(tmp_path, change=then) as h, h.rpc() as channel:
            record = await h.stays(0, h.scan(code))
            assert (record.verdict, record.reason) == ("DENY", "LOCAL_CODE_REQUIRED")
            assert record.rule_id == "suzhou/own-code-only"
            assert "delta/code-or-slip GRANT STATUS_GREEN" in record.spoken, "the rule that it overrides"
            sign = await _lane(channel)
            assert (sign.sign_verdict, sign.sign_rule_id) == (status_pb2.VERDICT_DENY, "suzhou/own-code-only")
            assert sign.sign_reason == sign.sign_text.code == Reason.Value("REASON_LOCAL_CODE_REQUIRED")
            words = (sign.sign_text.sentence, sign.sign_text.staff_sentence, sign.sign_text.next_step)
            assert all("苏州" in text["zh"] and "Suzhou" in text["en"] for text in (words[0], words[2]))
            assert words[0]["zh"] != words[1]["zh"]
            await h.tap(local)
            assert (await h.walks()).rule_id == "suzhou/own-green"
        async with house(tmp_path, change=station_of(tmp_path, feeds, region="320500")) as h:
            await h.scan(code)
            record = await h.walks()
            assert (record.reason, record.rule_id) == ("STATUS_GREEN", "delta/green")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("policy", "verdict", "reason"),
    [
        ("open_days = [{today}, {tomorrow}]", "GRANT", "CHECKING_ENDED"),
        ("checking_until = {yesterday}", "GRANT", "CHECKING_ENDED"),
        ("closed_days = [{today}, {tomorrow}]", "DENY", "STATION_CLOSED"),
        ("checking_until = {later}\nopen_days = [{later}]\nclosed_days = []", "DENY", "STATUS_RED"),
    ],
)
def test_special_days_hold_for_everybody(tmp_path: Path, policy: str, verdict: str, reason: str) -> None:
    """On an open day and after the last day of checking even a red one walks; on a closed day nobody does."""
    red = somebody(1, S.RED, "ZJ")
    feed = OwnFeed(tmp_path, "ZJ")
    feed.publish(1, [red])
    day = today()  # midnight may come: the days of tomorrow say the same
    days = {"yesterday": day - DAY, "today": day, "tomorrow": day + DAY, "later": day + 7 * DAY}

    async def story() -> None:
        async with house(tmp_path, change=station_of(tmp_path, [feed], policy=policy.format(**days))) as h:
            if verdict == "GRANT":
                await h.tap(red)
                record = await h.walks()
            else:
                record = await h.stays(0, h.tap(red))
            assert (record.verdict, record.reason) == (verdict, reason)

    asyncio.run(story())


@pytest.mark.requirement("R6", "row:XKM")
def test_a_dry_run_answers_for_another_day_and_place(tmp_path: Path) -> None:
    """Wuxi in March 2020 names the rule that refuses, today's grants; data is as old as it is now, and must last."""
    lasting, lapsing = somebody(1, S.GREEN, "ZJ"), somebody(2, S.GREEN, "AKM")
    feeds = [OwnFeed(tmp_path, "ZJ"), OwnFeed(tmp_path, "AKM")]
    feeds[0].publish(1, [lasting])
    feeds[1].publish(1, [lapsing], until_s=int(time.time()) + 3 * 86_400)
    then, soon = datetime(2020, 3, 10, 4, tzinfo=UTC), datetime.now(UTC) + timedelta(days=10)

    async def story() -> None:
        async with house(tmp_path, change=station_of(tmp_path, feeds)) as h, h.rpc() as channel:
            answer = await _status(channel, lasting, then, "320200")
            assert answer.verdict == status_pb2.VERDICT_DENY
            assert answer.reason.code == Reason.Value("REASON_LOCAL_CODE_REQUIRED")
            assert answer.rule_id == "wuxi/own-code-only"
            spoken = {rule.id: rule.verdict for rule in answer.spoken_rules}
            assert spoken["wuxi/own-code-only"] == status_pb2.VERDICT_DENY
            assert spoken["delta/code-or-slip"] == status_pb2.VERDICT_GRANT
            for when, where in ((None, "320200"), (soon, "320200"), (then, ""), (None, "")):
                answer = await _status(channel, lasting, when, where)
                at_home = (when, where) == (then, "")
                assert (answer.verdict, answer.freshness.band) == (status_pb2.VERDICT_GRANT, status_pb2.BAND_FRESH)
                assert answer.rule_id in (("hangzhou/own-green", "delta/code-or-slip") if at_home else ("delta/green",))
                assert 0 <= answer.freshness.age.seconds < 60, "as old as it is now, whenever the journey is"
            assert (await _status(channel, lapsing)).verdict == status_pb2.VERDICT_GRANT
            answer = await _status(channel, lapsing, soon)
            assert answer.verdict == status_pb2.VERDICT_REFER
            assert answer.reason.code == Reason.Value("REASON_STATUS_GREY")
            assert not h.station.recent.newest(10), "a question is no passage"

    asyncio.run(story())


# --- words and references ---------------------------------------------------------------------------------------------


@pytest.mark.requirement("R1", "R8")
def test_every_refusal_is_explained_to_holder_and_staff_in_both_languages(tmp_path: Path) -> None:
    """The sign has sentence, next step and hotline, and where an issuer's word decided, whose and how old it is."""
    red, yellow, stranger = somebody(1, S.RED, "AKM"), somebody(2, S.YELLOW, "AKM"), somebody(3, None, "AKM")
    feed = OwnFeed(tmp_path, "AKM", region="340104")
    feed.publish(1, [red, yellow])

    async def story() -> None:
        change = station_of(tmp_path, [feed], pairing_window_s=0.5)
        async with house(tmp_path, change=change) as h, h.rpc() as channel:
            for show, reason, of_issuer in (
                (h.tap(red), "STATUS_RED", True),
                (h.tap(yellow), "STATUS_YELLOW", True),
                (h.tap(stranger), "NOT_COVERED", False),
                (h.scan(b"https://s.sh.gov.cn.evil/" + b"ab" * 20), "CODE_LOOK_ALIKE", False),
                (h.scan(code_of(stranger, "AKM")), "CODE_NEEDS_CARD", False),
            ):
                assert (await h.stays(0, show)).reason == reason
                sign = await _lane(channel)
                text = sign.sign_text
                assert sign.sign_reason == text.code == Reason.Value(f"REASON_{reason}")
                for told in (text.sentence, text.staff_sentence, text.next_step):
                    assert set(told) == LANGUAGES
                    assert told["zh"].strip() != told["en"].strip() != ""
                    assert told["en"].isascii()
                    assert not told["zh"].isascii()
                assert text.appeal_reference == "12345"
                if of_issuer:
                    assert (sign.sign_issuer, sign.sign_asserted_by) == ("AKM", "340104")
                    assert sign.sign_freshness.band == status_pb2.BAND_FRESH
                    assert 0 <= sign.sign_freshness.age.seconds < 60
                    assert sign.sign_freshness.HasField("as_of_time")

    asyncio.run(story())


@pytest.mark.requirement("R12")
def test_a_reference_on_the_sign_leads_the_issuer_to_the_row_and_nobody_else(tmp_path: Path) -> None:
    """Sign and ticket system tell the same, by card and by code; the region traces it; the journal has none."""
    red, other, green = somebody(1, S.RED, "AKM"), somebody(2, S.RED, "AKM"), somebody(3, S.GREEN, "AKM")
    feed = OwnFeed(tmp_path, "AKM")
    feed.publish(1, [red, other, green])
    rows = tmp_path / "akm.csv"
    lines = [f"RESIDENT_ID,{who.number},{who.status},340000,2020-02-20T00:00:00Z" for who in (other, red, green)]
    rows.write_text("\n".join([",".join(NEEDED), *lines, ""]))
    told: list[str] = []

    async def story() -> None:
        await same_day_ahead()
        async with house(tmp_path, change=station_of(tmp_path, [feed])) as h, h.rpc() as channel:
            for show in (h.tap(red), h.scan(code_of(red, "AKM"))):
                await h.stays(0, show)
                told.append((await _lane(channel)).sign_text.correction_reference)
            told.append((await _status(channel, red)).reason.correction_reference)
            told.append((await _status(channel, other)).reason.correction_reference)
            assert (await _status(channel, green)).reason.correction_reference == ""
            await h.tap(green)
            await h.walks()
            assert (await _lane(channel)).sign_text.correction_reference == ""

    asyncio.run(story())
    by_card, by_code, asked, others = told
    assert by_card.startswith("AKM-")
    assert by_card == by_code == asked != others
    pepper = str(feed.region.pepper_file)
    trace = ["feed", "trace", by_card, "--rows", str(rows), "--pepper-file", pepper, "--day", str(today())]
    traced = CliRunner().invoke(app, trace)
    assert (traced.exit_code, traced.output.splitlines()) == (0, [f"{rows}:3: of {today()}"])
    journal = b"".join(path.read_bytes() for path in (tmp_path / "data" / "journal").rglob("*") if path.is_file())
    assert b"STATUS_RED" in journal
    for reference in told:
        assert reference.partition("-")[2].encode() not in journal


# --- what operators are told ------------------------------------------------------------------------------------------


@pytest.mark.requirement("R8")
def test_sixty_new_reds_of_one_authority_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A delta with sixty is a jump, by metric and log, of that authority alone; it decides about nobody."""
    folks = [somebody(n, S.GREEN, "AKM") for n in range(80)]
    few = [somebody(n, S.GREEN, "ZJ") for n in range(80)]
    feeds = [OwnFeed(tmp_path, "AKM", region="340104"), OwnFeed(tmp_path, "ZJ")]
    feeds[0].publish(1, folks)
    feeds[1].publish(1, few)

    async def story() -> None:
        async with house(tmp_path, change=station_of(tmp_path, feeds)) as h:
            h.station._reds = RedWatch(time.time() - LEARNING_S - 60)  # as of a station that has run for longer
            reds = [somebody(n, S.RED, "AKM") for n in range(60)]
            feeds[0].publish(2, [*reds, *folks[60:]], follows=1)
            feeds[1].publish(2, [*[somebody(n, S.RED, "ZJ") for n in range(5)], *few[5:]], follows=1)
            await h.until(lambda: h.metric("gate_red_jump", authority="340104") == 1)
            await h.until(lambda: h.metric("gate_feed_sequence", issuer="ZJ") == 2)
            assert h.metric("gate_red_jump", authority="330000") is None
            assert (await h.stays(0, h.tap(reds[0]))).reason == "STATUS_RED"
            await h.tap(folks[70])
            assert (await h.walks()).reason == "STATUS_GREEN"

    with caplog.at_level(logging.ERROR):
        asyncio.run(story())
    (line,) = [record.getMessage() for record in caplog.records if "reds within an hour" in record.getMessage()]
    assert "340104" in line
    assert "60" in line


@pytest.mark.requirement("R2")
def test_an_issuer_that_no_rule_counts_is_told_at_the_start_and_lets_nobody_through(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its feed is read and its greens are referred, in their own words; the operator is warned once, by name."""
    green, red = somebody(1, S.GREEN, "ZJ"), somebody(2, S.RED, "ZJ")
    feeds = [OwnFeed(tmp_path, "CITY", region="510100"), OwnFeed(tmp_path, "ZJ")]
    feeds[0].publish(1, [green, red])
    feeds[1].publish(1, [somebody(3, S.GREEN, "ZJ")])

    async def story() -> None:
        async with house(tmp_path, change=station_of(tmp_path, feeds)) as h:
            record = await h.stays(0, h.tap(green))
            assert (record.verdict, record.reason, record.issuer) == ("REFER", "NOT_RECOGNISED_HERE", "CITY")
            assert ("CITY", "GREEN") in [(finding["issuer"], finding.get("status")) for finding in record.findings]
            assert (await h.stays(0, h.tap(red))).reason == "STATUS_RED", "a red of anybody counts"

    with caplog.at_level(logging.WARNING):
        asyncio.run(story())
    warned = [record.getMessage() for record in caplog.records if "no rule counts" in record.getMessage()]
    assert len(warned) == 1
    assert "CITY" in warned[0]


# --- what comes in while people pass --------------------------------------------------------------------------------


@pytest.mark.requirement("R6")
@pytest.mark.parametrize("present", ["card", "code"])
def test_recovery_to_green_holds_as_soon_as_its_delta_is_there(tmp_path: Path, present: str) -> None:
    """A red of the snapshot is green by the delta, at any lane at once, by card and by code alike."""
    before = somebody(1, S.RED, "ZJ")
    after = dataclasses.replace(before, status=S.GREEN)
    others = [somebody(n, S.GREEN, "ZJ") for n in range(2, 30)]
    feed = OwnFeed(tmp_path, "ZJ")
    feed.publish(1, [before, *others])

    def show(h: House, lane: int) -> Awaitable[None]:
        return h.tap(before, lane) if present == "card" else h.scan(code_of(before, "ZJ_V2"), lane)

    async def story() -> None:
        async with house(tmp_path, lanes=2, change=station_of(tmp_path, [feed])) as h:
            record = await h.stays(0, show(h, 0))
            assert (record.reason, record.feed_sequence) == ("STATUS_RED", 1)
            feed.publish(2, [after, *others], follows=1)
            await h.until(lambda: h.metric("gate_feed_sequence", issuer="ZJ") == 2)
            await show(h, 1)
            record = await h.walks(1)
            assert (record.reason, record.feed_sequence) == ("STATUS_GREEN", 2)

    asyncio.run(story())
