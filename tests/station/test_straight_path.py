"""One passage on real bytes: a simulated reader, scanner and board on real ports, the station between them."""

import asyncio
from pathlib import Path

import pytest

from drivers.contract import Direction
from gate.station.chain import read_lines, verify_chain
from tests.support.house import House, house, unreadable_card


async def _present(h: House, who: str, lane: int = 0) -> None:
    h.lanes[lane].reader.present(h.people[who].card())
    assert await h.lanes[lane].reader.wait_read(5.0)


def test_green_is_released_and_counted_only_when_the_sensor_says_so(tmp_path: Path) -> None:
    """A green card releases at once; the passage is counted when the person is through, and written down whole."""

    async def story() -> None:
        async with house(tmp_path) as h:
            await _present(h, "green")
            assert await h.lanes[0].board.wait_release(5.0)
            assert not h.station.recent.newest(10), "a release is not a passage"
            await h.lanes[0].board.pass_through()
            record = await h.record(outcome="PASSED")
            assert (record.verdict, record.reason, record.issuer) == ("GRANT", "STATUS_GREEN", "SSM")
            assert set(record.stages_us) == {"lookup", "release", "passage"}

    asyncio.run(story())
    lines = list(read_lines(tmp_path / "data" / "journal"))
    assert [line["outcome"] for line in lines if line["event"] == "passage"] == ["PASSED"]
    assert verify_chain(tmp_path / "data" / "journal") == []


@pytest.mark.parametrize(
    ("who", "verdict", "reason"),
    [
        ("red", "DENY", "STATUS_RED"),
        ("yellow", "REFER", "STATUS_YELLOW"),
        ("stranger", "REFER", "NOT_COVERED"),
    ],
)
def test_everybody_else_is_not_released(tmp_path: Path, who: str, verdict: str, reason: str) -> None:
    """Red is denied, yellow and the unknown go to staff, and no relay moves."""

    async def story() -> None:
        async with house(tmp_path) as h:
            await _present(h, who)
            record = await h.record(outcome="NOT_RELEASED")
            assert (record.verdict, record.reason) == (verdict, reason)
            assert h.lanes[0].board.writes == [(0, 0)], "only the hold of before was ended"
            assert h.station.lane("A1").sign_reason == reason

    asyncio.run(story())


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"https://s.sh.gov.cn.evil/" + b"ab" * 20, "CODE_LOOK_ALIKE"),
        (b"https://example.com/menu", "CODE_NOT_HEALTH"),
        (b"x" * 4096, "CODE_NOT_HEALTH"),
        (b"x" * 9000, "CODE_TOO_LONG"),
        (b"\xff\xfe\x00\x01binary", "CODE_NOT_TEXT"),
        (b"https://h5.dingtalk.com/healthAct/index.html?qrCode=V5" + b"a" * 32 + b"320000", "CODE_INCOMPLETE"),
    ],
)
def test_a_bad_code_has_its_own_reason_and_opens_nothing(tmp_path: Path, payload: bytes, reason: str) -> None:
    """Codes of other worlds, look-alikes, binaries and giants are referred, each with its own words."""

    async def story() -> None:
        async with house(tmp_path) as h:
            await h.lanes[0].scanner.scan(payload)
            record = await h.record(reason=reason)
            assert record.verdict == "REFER"
            assert not h.lanes[0].board.releases

    asyncio.run(story())


def test_a_code_waits_for_its_card(tmp_path: Path) -> None:
    """A recognised code asks for the card; both together are one passage."""

    async def story() -> None:
        async with house(tmp_path) as h:
            await h.lanes[0].scanner.scan(h.people["green"].code)
            await h.until(lambda: h.station.lane("A1").sign_reason == "CODE_NEEDS_CARD")
            await _present(h, "green")
            assert await h.lanes[0].board.wait_release(5.0)
            await h.lanes[0].board.pass_through()
            record = await h.record(outcome="PASSED")
            assert record.credential == "CARD_AND_CODE"

    asyncio.run(story())


def test_the_same_person_cannot_hand_the_card_back(tmp_path: Path) -> None:
    """Anti-passback belongs to the station: the second lane refuses who has just passed the first."""

    async def story() -> None:
        async with house(tmp_path, lanes=2) as h:
            await _present(h, "green", lane=0)
            assert await h.lanes[0].board.wait_release(5.0)
            await h.lanes[0].board.pass_through()
            await h.record(outcome="PASSED")
            await _present(h, "green", lane=1)
            record = await h.record(lane="A2", outcome="NOT_RELEASED")
            assert (record.verdict, record.reason) == ("DENY", "ALREADY_PASSED")
            assert not h.lanes[1].board.releases

    asyncio.run(story())


def test_a_second_person_and_one_without_a_release_are_told_apart(tmp_path: Path) -> None:
    """Who follows at once tailgates; who comes without any release intrudes; neither is a passage."""

    async def story() -> None:
        async with house(tmp_path) as h:
            await _present(h, "green")
            await h.lanes[0].board.wait_release(5.0)
            await h.lanes[0].board.pass_through()
            await h.lanes[0].board.tailgate()
            await h.record(outcome="TAILGATED")
            await asyncio.sleep(2.1)  # the tailgating window itself is what is tested
            await h.lanes[0].board.pass_through()
            await h.record(outcome="INTRUDED")
            assert sum(r.outcome == "PASSED" for r in h.station.recent.newest(10)) == 1

    asyncio.run(story())


def test_one_lanes_trouble_is_its_own_and_ends_by_itself(tmp_path: Path) -> None:
    """While the first lane's reader is gone the second works; when it is back, it reads again without help."""

    async def story() -> None:
        async with house(tmp_path, lanes=2) as h:
            reader = h.lanes[0].reader_port
            await reader.unplug()
            await h.until(lambda: not h.lane_works("A1"))
            assert any(text.startswith("READER_DOWN") for text in h.station.lane("A1").degraded)
            assert h.station.lane("A2").degraded == ()
            await _present(h, "second", lane=1)
            assert await h.lanes[1].board.wait_release(5.0)
            await reader.plug()
            await h.until(lambda: h.lane_works("A1"))
            await _present(h, "green", lane=0)
            assert await h.lanes[0].board.wait_release(5.0)

    asyncio.run(story())


def test_a_turnstile_that_is_down_turns_people_away_and_gives_the_claim_back(tmp_path: Path) -> None:
    """A green card at a dead turnstile is told so, and may use another lane at once."""

    async def story() -> None:
        async with house(tmp_path, lanes=2) as h:
            await h.lanes[0].board_port.unplug()
            await h.until(lambda: h.station.lane("A1").barrier == "FAULTED")
            await _present(h, "green", lane=0)
            await h.record(lane="A1", outcome="BARRIER_FAULTED")
            assert h.station.lane("A1").sign_reason == "BARRIER_FAULT"
            await _present(h, "green", lane=1)
            assert await h.lanes[1].board.wait_release(5.0)

    asyncio.run(story())


def test_an_emergency_holds_until_reset_and_nothing_is_closed(tmp_path: Path) -> None:
    """The hard-wired opening is observed; modes and resets command nothing closed until the input is quiet again."""

    async def story() -> None:
        async with house(tmp_path) as h:
            board = h.lanes[0].board
            await h.until(lambda: (0, 0) in board.writes)
            board.writes.clear()
            board.set_fire(True)
            await h.until(lambda: h.station.lane("A1").emergency)
            h.station.set_mode("A1", "FREE", "op")
            h.station.set_mode("A1", "ENTRY", "op")
            with pytest.raises(Exception, match="still active"):
                h.station.reset_emergency("A1", "op")
            await board.pass_through()
            await h.record(outcome="EMERGENCY")
            board.set_fire(False)
            await h.until(lambda: not h.station._lanes["A1"].core.emergency_input)
            assert h.station.lane("A1").emergency, "it holds until somebody has looked"
            assert not [write for write in board.writes if write[1] == 0], "something was commanded closed"
            assert h.station.reset_emergency("A1", "op").barrier == "CLOSED"

    asyncio.run(story())


def test_modes_and_an_emergency_outlive_a_restart(tmp_path: Path) -> None:
    """What staff set and what nobody has reset yet holds after a restart; the old emergency closes nothing."""

    async def before() -> None:
        async with house(tmp_path, lanes=2) as h:
            h.station.set_mode("A2", "MAINTENANCE", "op")
            h.lanes[0].board.set_fire(True)
            await h.until(lambda: h.station.lane("A1").emergency)

    async def after() -> None:
        async with house(tmp_path, lanes=2) as h:
            assert h.station.lane("A2").mode == "MAINTENANCE"
            state = h.station.lane("A1")
            assert (state.emergency, state.barrier, state.sign_reason) == (True, "HELD_OPEN", "EMERGENCY_OPEN")
            await h.until(lambda: (0, 0) in h.lanes[1].board.writes)  # the other lane's hold of before is ended
            assert not h.lanes[0].board.writes, "something was commanded closed"
            h.station.reset_emergency("A1", "op")
            await h.until(lambda: (0, 0) in h.lanes[0].board.writes)

    async def later() -> None:
        async with house(tmp_path, lanes=2) as h:
            assert not h.station.lane("A1").emergency

    for run in (before, after, later):
        asyncio.run(run())


def test_waiting_for_the_person_in_front_is_not_our_latency(tmp_path: Path) -> None:
    """The decision's time is from card to release command; a grant that waits its turn is not counted as slow."""

    async def story() -> None:
        async with house(tmp_path) as h:
            board, reader = h.lanes[0].board, h.lanes[0].reader
            await _present(h, "green")
            assert await board.wait_release(5.0)
            reader.remove()
            await _present(h, "second")
            await h.until(lambda: h.station._lanes["A1"].core.barrier.waiting is not None)
            assert h.station.lane("A1").sign_reason == "STATUS_GREEN"
            await board.pass_through()
            assert await board.wait_release(5.0), "the waiting person's turn"
            assert h.station.lane("A1").sign_reason == "STATUS_GREEN", "who was waiting is told to go"
            await board.pass_through()
            await h.until(lambda: sum(r.outcome == "PASSED" for r in h.station.recent.newest(9)) == 2)
            labels = {"lane": "A1", "verdict": "GRANT"}
            count = h.station.metrics.registry.get_sample_value("gate_decision_duration_seconds_count", labels)
            assert count == 1

    asyncio.run(story())


def test_crowd_release_and_staff_release(tmp_path: Path) -> None:
    """FREE holds the barrier open and counts everybody; a staff release lets one person through without a card."""

    async def story() -> None:
        async with house(tmp_path) as h:
            board = h.lanes[0].board
            h.station.set_mode("A1", "FREE", "op")
            assert await board.wait_release(5.0)
            await board.pass_through()
            await h.record(outcome="FREE")
            h.station.set_mode("A1", "ENTRY", "op")
            await h.until(lambda: not board.coils[0])
            await board.wait_release(0.0)
            h.station.release("A1", "entry", "op", "wheelchair")
            assert await board.wait_release(5.0)
            await board.pass_through(Direction.ENTRY)
            record = await h.record(outcome="PASSED")
            assert record.reason == "STAFF_RELEASE"

    asyncio.run(story())


def test_a_hold_that_the_board_refuses_is_commanded_again(tmp_path: Path) -> None:
    """A board that is busy at the moment of a crowd release still opens, as soon as it can."""

    async def story() -> None:
        async with house(tmp_path) as h:
            board = h.lanes[0].board
            await h.until(lambda: (0, 0) in board.writes)
            board.knobs.exception = 6  # "slave device busy"
            h.station.set_mode("A1", "FREE", "op")
            await h.until(lambda: (0, 0xFF00) in board.writes)
            assert not board.coils[0]
            board.knobs.exception = 0
            await h.until(lambda: board.coils[0])

    asyncio.run(story())


def test_a_lane_without_turnstile_shows_and_counts_nobody(tmp_path: Path) -> None:
    """A bus door or ticket window: the verdict is shown, and the record says that nobody was counted."""

    def without_turnstile(text: str) -> str:
        head, _, _ = text.rpartition('[[lane.device]]\ndriver = "modbus-relay"')
        return head

    async def story() -> None:
        async with house(tmp_path, change=without_turnstile) as h:
            await _present(h, "green")
            record = await h.record(outcome="SHOWN")
            assert record.verdict == "GRANT"
            assert h.station.lane("A1").barrier == "NONE"
            assert h.station.lane("A1").sign_reason == "STATUS_GREEN"

    asyncio.run(story())


def test_an_unknown_card_is_told_so(tmp_path: Path) -> None:
    """A card type that nobody knows is named, not guessed."""

    async def story() -> None:
        async with house(tmp_path) as h:
            h.lanes[0].reader.present(unreadable_card())
            record = await h.record(reason="CARD_UNKNOWN_TYPE")
            assert record.verdict == "REFER"

    asyncio.run(story())


def test_whoever_is_under_way_at_the_end_is_written_down(tmp_path: Path) -> None:
    """On SIGTERM a released person has time to pass; who does not is recorded as CONTROLLER_STOPPED."""

    async def story() -> None:
        async with house(
            tmp_path, change=lambda t: t.replace("release_within_s = 4.0", "release_within_s = 30.0")
        ) as h:
            await _present(h, "green")
            assert await h.lanes[0].board.wait_release(5.0)

    asyncio.run(story())
    lines = [line for line in read_lines(tmp_path / "data" / "journal") if line["event"] == "passage"]
    assert [line["outcome"] for line in lines] == ["CONTROLLER_STOPPED"]
