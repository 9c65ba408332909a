"""What is each controller's own: holding open, passages, several on a line, UDP, and what outlives a lost line."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import Answer, DeviceReport, Direction, Down, Passed
from drivers.registry import SettingError
from drivers.simulated import machpower as simulated_machpower
from drivers.simulated.machpower import SimulatedMachPower
from drivers.simulated.ports import PtyPort, UdpPort
from drivers.simulated.tpw import SimulatedTpw
from tests.drivers.serial_gates import TIMEOUT_MS, driven, gated, port_of

ENTRY, EXIT = Direction.ENTRY, Direction.EXIT


# --- Digicon -----------------------------------------------------------------------------------------------------


def test_digicon_holds_by_always_free_and_ends_by_control(tmp_path: Path) -> None:
    """4C 44, then 43; a hold of which nobody told us is left alone: it may be the emergency opening."""

    async def story() -> None:
        async with gated("digicon-tx1500", "tcp", tmp_path) as (bench, gate, _):
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert gate.received == []
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert gate.received == [b"LD", b"C"]

    asyncio.run(story())


@pytest.mark.parametrize("letter", ["H", "A"])
def test_digicon_s_directions_are_as_the_site_shows_them(letter: str, tmp_path: Path) -> None:
    """The manual labels H both ways: the setting says which is entry, and the passage messages follow it."""

    async def story() -> None:
        async with gated("digicon-tx1500", "tcp", tmp_path, release_entry=letter) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert gate.received == [letter.encode()]
            await gate.pass_through(gate.released[0])
            await bench.reported(Passed(ENTRY))
        async with gated("digicon-tx1500", "tcp", tmp_path, release_entry=letter, passed_entry="1B") as (
            bench,
            gate,
            _,
        ):
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            await gate.pass_through(EXIT)  # 1B
            await bench.reported(Passed(ENTRY))

    asyncio.run(story())


def test_digicon_hears_a_passage_right_after_an_unanswered_release(tmp_path: Path) -> None:
    """It did act and its ACK was lost: Unknown, and the passage is heard on the port that was opened anew."""

    async def story() -> None:
        async with gated("digicon-tx1500", "pty", tmp_path) as (bench, gate, _):
            gate.knobs.lose_answer = True
            assert await bench.device.release(ENTRY, 5.0) is Answer.UNKNOWN
            gate.knobs.lose_answer = False
            wire = bench.device._wire  # type: ignore[attr-defined]
            await bench.until(lambda: wire._link is not None, 0.1)
            await gate.pass_through()
            await bench.reported(Passed(ENTRY))
            assert bench.count(Down) == 0

    asyncio.run(story())


# --- Mach Power --------------------------------------------------------------------------------------------------


def test_mach_power_drops_and_raises_only_its_own_arm(tmp_path: Path) -> None:
    """An arm that lies in an emergency is not raised by the lane's first word to its board; nothing is ever banned."""

    async def story() -> None:
        async with gated("machpower-eb", "pty", tmp_path) as (bench, gate, _):
            gate.arm_down = True
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert gate.arm_down
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert not gate.arm_down
            assert gate.received == [0x42, 0x43]

    asyncio.run(story())


def test_mach_power_is_not_asked_unless_told(tmp_path: Path) -> None:
    """4B may move something: by default nothing but releases and holds goes out; a passage is told by nobody."""

    async def story() -> None:
        async with gated("machpower-eb", "tcp", tmp_path) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 2.0) is Answer.ACCEPTED
            await gate.pass_through()
            await asyncio.sleep(1.2)  # longer than a look
            assert gate.received == [0x40]
            assert bench.count(Passed) == 0

    asyncio.run(story())


def test_mach_power_is_asked_between_passengers_only(tmp_path: Path) -> None:
    """With ask: 4B at the start and while idle, none while somebody may walk or the arm is down."""

    async def story() -> None:
        async with gated("machpower-eb", "tcp", tmp_path, ask=True, release_entry="right") as (bench, gate, _):
            assert gate.received == [0x4B]
            await bench.until(lambda: gate.received == [0x4B, 0x4B])
            assert await bench.device.release(ENTRY, 1.5) is Answer.ACCEPTED
            await bench.until(lambda: len(gate.received) > 3)
            assert gate.received[2:] == [0x41, 0x4B]
            assert await bench.device.hold_open() is Answer.ACCEPTED
            await asyncio.sleep(1.2)  # longer than a look
            assert gate.received[4:] == [0x42]

    asyncio.run(story())


def test_three_tripods_share_a_line_and_a_dead_one_costs_little(tmp_path: Path) -> None:
    """Each hears what is meant for it; the dead one's looks delay a neighbour by no more than one time-out."""

    async def story() -> None:
        tripods = [SimulatedMachPower(unit) for unit in (1, 2, 3)]
        tripods[2].knobs.silent = True
        loop = asyncio.get_running_loop()
        async with PtyPort(tmp_path / "line", simulated_machpower.shared_line(*tripods)) as port:
            dead = registry.create(
                "machpower-eb",
                registry.check_settings(
                    registry.driver("machpower-eb"),
                    {"port": port.spec, "unit": 3, "ask": True, "baud": 115200, "timeout_ms": TIMEOUT_MS},
                ),
            )
            said: list[DeviceReport] = []
            running = asyncio.create_task(dead.run(said.append))
            async with (
                driven("machpower-eb", port.spec, unit=1, ask=True) as one,
                driven("machpower-eb", port.spec, unit=2, ask=True) as two,
            ):
                waits = []
                for _ in range(5):
                    started_s = loop.time()
                    answers = await asyncio.gather(one.device.release(ENTRY, 2.0), two.device.release(EXIT, 2.0))
                    waits.append(loop.time() - started_s)
                    assert answers == [Answer.ACCEPTED] * 2
                assert (tripods[0].released, tripods[1].released) == ([ENTRY] * 5, [EXIT] * 5)
                assert (one.count(Down), two.count(Down)) == (0, 0)
                assert max(waits) < 2 * TIMEOUT_MS / 1000 + 0.1
                assert [type(report) for report in said] == [Down]
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


# --- TPW ---------------------------------------------------------------------------------------------------------


def test_tpw_is_controlled_again_after_the_passage(tmp_path: Path) -> None:
    """One direction is free from grant to passage; two grants, two passages; then both are controlled."""

    async def story() -> None:
        async with gated("tpw-321asp", "pty", tmp_path) as (bench, gate, _):
            for _ in range(2):
                assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert (gate.is_free(ENTRY), gate.is_free(EXIT)) == (True, False)
            await gate.pass_through()
            await bench.reported(Passed(ENTRY))
            assert gate.is_free(ENTRY)
            await gate.pass_through()
            await bench.reported(Passed(ENTRY), 2)
            await bench.until(lambda: gate.passing == b"00", 0.5)

    asyncio.run(story())


def test_tpw_is_controlled_again_when_the_release_lapses(tmp_path: Path) -> None:
    """Not earlier than its lifetime, and within a look after it, though the next look is a second away."""

    async def story() -> None:
        loop = asyncio.get_running_loop()
        async with gated("tpw-321asp", "tcp", tmp_path, poll_ms=1000) as (bench, gate, _):
            started_s = loop.time()
            assert await bench.device.release(EXIT, 0.5) is Answer.ACCEPTED
            await bench.until(lambda: gate.passing == b"00")
            assert 0.5 <= loop.time() - started_s < 0.5 + 0.3
            assert gate.received == [b"\x1401", b"\x1400"]

    asyncio.run(story())


def test_tpw_withdraws_a_release_that_was_not_answered(tmp_path: Path) -> None:
    """Unknown: the board may be free, so it is set controlled long before the lifetime ends."""

    async def story() -> None:
        async with gated("tpw-321asp", "tcp", tmp_path) as (bench, gate, _):
            gate.knobs.lose_answer = True
            assert await bench.device.release(ENTRY, 30.0) is Answer.UNKNOWN
            assert gate.is_free(ENTRY)
            gate.knobs.lose_answer = False
            await bench.until(lambda: not gate.is_free(ENTRY), 2.0)
            assert gate.received == [b"\x1410", b"\x1400"]

    asyncio.run(story())


def test_tpw_is_controlled_first_thing_when_the_line_is_back(tmp_path: Path) -> None:
    """The line is cut while a direction is free: weaker than a pulse, and ended on return."""

    async def story() -> None:
        async with gated("tpw-321asp", "tcp", tmp_path) as (bench, gate, port):
            assert await bench.device.release(ENTRY, 1.0) is Answer.ACCEPTED
            await port.unplug()
            await bench.down()
            await asyncio.sleep(1.0)  # the lifetime is what is tested
            assert gate.is_free(ENTRY)
            await port.plug()
            await bench.until(lambda: not gate.is_free(ENTRY), 2.0)

    asyncio.run(story())


def test_tpw_leaves_nothing_free_when_it_stops(tmp_path: Path) -> None:
    """The controller ends in the middle of a release; a hold it leaves as it is."""

    async def story() -> None:
        async with gated("tpw-321asp", "pty", tmp_path) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 30.0) is Answer.ACCEPTED
        assert gate.passing == b"00"
        async with gated("tpw-321asp", "pty", tmp_path) as (bench, gate, _):
            assert await bench.device.hold_open() is Answer.ACCEPTED
        assert gate.passing == b"11"

    asyncio.run(story())


@pytest.mark.parametrize(("left", "becomes"), [(b"10", b"00"), (b"01", b"00"), (b"11", b"11")])
def test_tpw_knows_what_a_killed_controller_left(left: bytes, becomes: bytes, tmp_path: Path) -> None:
    """One free direction was a release: ended. Both were a hold: kept until the lane ends it."""

    async def story() -> None:
        gate = SimulatedTpw()
        gate.passing = left
        async with port_of("tcp", tmp_path, gate.session) as port, driven("tpw-321asp", port.spec) as bench:
            await bench.until(lambda: gate.passing == becomes, 1.0)
            await asyncio.sleep(0.3)  # a few looks more
            assert gate.passing == becomes
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert gate.passing == b"00"

    asyncio.run(story())


def test_tpw_s_hold_outlives_a_release_and_a_lost_line(tmp_path: Path) -> None:
    """Both free; a passage is counted and does not end it; a board that forgot it is told again."""

    async def story() -> None:
        async with gated("tpw-321asp", "tcp", tmp_path) as (bench, gate, port):
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert await bench.device.hold_open() is Answer.ACCEPTED
            await gate.pass_through()
            await gate.pass_through(EXIT)
            await bench.reported(Passed(ENTRY))
            await bench.reported(Passed(EXIT))
            assert gate.passing == b"11"
            await port.unplug()
            await bench.down()
            gate.power_cycle()
            gate.passing = b"00"
            await port.plug()
            await bench.until(lambda: gate.passing == b"11", 3.0)
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert gate.passing == b"00"
            assert bench.count(Passed) == 2

    asyncio.run(story())


def test_tpw_loses_nobody_between_two_looks_and_makes_nobody_up(tmp_path: Path) -> None:
    """Two counts are two passages; what was counted while the line was away, and a reset counter, are none."""

    async def story() -> None:
        async with gated("tpw-321asp", "tcp", tmp_path) as (bench, gate, port):
            gate.counts[ENTRY] += 2
            await bench.reported(Passed(ENTRY), 2)
            gate.power_cycle()
            await port.unplug()
            await bench.down()
            gate.counts[EXIT] += 3
            await port.plug()
            await bench.up(2)
            await gate.pass_through(EXIT)
            await bench.reported(Passed(EXIT))
            assert bench.count(Passed) == 3

    asyncio.run(story())


def test_two_tpw_boards_share_a_line_by_their_addresses(tmp_path: Path) -> None:
    """Each release reaches its own board."""

    async def story() -> None:
        boards = SimulatedTpw(2), SimulatedTpw(3)  # 2 looks like a frame's start

        async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ears = [bytearray(), bytearray()]
            while data := await reader.read(256):
                for board, ear in zip(boards, ears, strict=True):
                    ear += data
                    for answer in board.hear(ear):
                        writer.write(answer)

        async with (
            port_of("pty", tmp_path, line) as port,
            driven("tpw-321asp", port.spec, unit=2) as one,
            driven("tpw-321asp", port.spec, unit=3) as two,
        ):
            answers = await asyncio.gather(one.device.release(ENTRY, 5.0), two.device.release(EXIT, 5.0))
            assert answers == [Answer.ACCEPTED] * 2
            assert (boards[0].released, boards[1].released) == ([ENTRY], [EXIT])
            await boards[1].pass_through(EXIT)
            await two.reported(Passed(EXIT))
            assert one.count(Passed) == 0

    asyncio.run(story())


def test_tpw_on_udp_is_released_counted_lost_and_found(tmp_path: Path) -> None:
    """The same frames as datagrams; a board that is gone is Down, and found again."""

    async def story() -> None:
        gate = SimulatedTpw()
        async with contextlib.AsyncExitStack() as later:
            port = UdpPort(gate.session, "127.0.0.1", 0)
            async with port:
                bench = await later.enter_async_context(driven("tpw-321asp", port.spec))
                assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
                await gate.pass_through()
                await bench.reported(Passed(ENTRY))
                await bench.until(lambda: gate.passing == b"00")
            await bench.down()
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED
            async with port:
                async with asyncio.timeout(2.0):
                    await bench.up(2)
                assert await bench.device.release(EXIT, 5.0) is Answer.ACCEPTED

    asyncio.run(story())


@pytest.mark.parametrize("port", ["udp:", "udp:host", "udp:host:0", "udp:host:x", "tcp:host"])
def test_tpw_refuses_a_port_that_cannot_be(port: str) -> None:
    """The setting is named, and how to write it."""
    settings = registry.check_settings(registry.driver("tpw-321asp"), {"port": port})
    with pytest.raises(SettingError) as caught:
        registry.create("tpw-321asp", settings)
    assert caught.value.key == "port"
    assert "HOST:PORT" in str(caught.value)
