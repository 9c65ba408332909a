"""A release by each serial turnstile controller: answered once and honestly, whatever the line does."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Answer, DeviceFault, Direction, Down, Passed, Up
from tests.drivers.serial_gates import GATES, QUICK, TIMEOUT_MS, driven, gated, port_of

ENTRY, EXIT = Direction.ENTRY, Direction.EXIT
EVERY = pytest.mark.parametrize("name", GATES)
KINDS = pytest.mark.parametrize("kind", ["pty", "tcp"])
TELLING = pytest.mark.parametrize("name", ["digicon-tx1500", "tpw-321asp"])  # Mach Power tells no passage


@EVERY
@KINDS
def test_a_release_frees_its_direction_once(name: str, kind: str, tmp_path: Path) -> None:
    """Accepted, said to be sent once, one release in the right direction; then the other one."""

    async def story() -> None:
        async with gated(name, kind, tmp_path) as (bench, gate, _):
            sent: list[int] = []
            assert await bench.device.release(ENTRY, 5.0, lambda: sent.append(1)) is Answer.ACCEPTED
            assert (gate.released, sent) == ([ENTRY], [1])
            assert await bench.device.release(EXIT, 5.0) is Answer.ACCEPTED
            assert gate.released == [ENTRY, EXIT]

    asyncio.run(story())


@TELLING
@KINDS
def test_release_then_passed(name: str, kind: str, tmp_path: Path) -> None:
    """The passage is reported once, in its direction."""

    async def story() -> None:
        async with gated(name, kind, tmp_path) as (bench, gate, _):
            for direction in Direction:
                assert await bench.device.release(direction, 5.0) is Answer.ACCEPTED
                await gate.pass_through(direction)
                await bench.reported(Passed(direction))
            assert bench.count(Passed) == 2

    asyncio.run(story())


@EVERY
def test_release_then_nobody(name: str, tmp_path: Path) -> None:
    """A stuck passage contact, or nobody came: no passage is made up, and the next release works."""

    async def story() -> None:
        async with gated(name, "tcp", tmp_path) as (bench, gate, _):
            gate.knobs.stuck = True
            assert await bench.device.release(ENTRY, 1.0) is Answer.ACCEPTED
            await gate.pass_through()
            await asyncio.sleep(1.2)  # the lifetime is what is tested
            assert bench.count(Passed) == 0
            assert await bench.device.release(ENTRY, 1.0) is Answer.ACCEPTED
            assert gate.released == [ENTRY, ENTRY]

    asyncio.run(story())


@EVERY
@KINDS
def test_two_releases_at_once_are_two(name: str, kind: str, tmp_path: Path) -> None:
    """Each is answered by its own frame, in order."""

    async def story() -> None:
        async with gated(name, kind, tmp_path) as (bench, gate, _):
            both = await asyncio.gather(bench.device.release(ENTRY, 3.0), bench.device.release(EXIT, 3.0))
            assert both == [Answer.ACCEPTED] * 2
            assert gate.released == [ENTRY, EXIT]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["digicon-tx1500", "tpw-321asp"])
def test_a_refusal_is_a_refusal(name: str, tmp_path: Path) -> None:
    """NAK, or F4: the controller did not act. Mach Power has no such answer."""

    async def story() -> None:
        async with gated(name, "tcp", tmp_path) as (bench, gate, _):
            gate.knobs.refuse = True
            assert await bench.device.release(ENTRY, 2.0) is Answer.REFUSED
            assert gate.released == []
            gate.knobs.refuse = False
            assert await bench.device.release(ENTRY, 2.0) is Answer.ACCEPTED

    asyncio.run(story())


@EVERY
@KINDS
@pytest.mark.parametrize("fault", ["silent", "lose_answer", "garble", "chopped"])
def test_no_right_answer_is_unknown(name: str, kind: str, fault: str, tmp_path: Path) -> None:
    """Neither accepted nor refused, and never sent twice; when the line is right again, so is the next release."""

    async def story() -> None:
        async with gated(name, kind, tmp_path) as (bench, gate, _):
            setattr(gate.knobs, fault, True)
            assert await bench.device.release(ENTRY, 2.0) is Answer.UNKNOWN
            assert len(gate.released) <= 1
            setattr(gate.knobs, fault, False)
            gate.released.clear()
            assert await bench.device.release(EXIT, 4.0) is Answer.ACCEPTED
            assert gate.released == [EXIT]
            assert bench.count(Down) == 0

    asyncio.run(story())


@EVERY
@KINDS
@pytest.mark.parametrize("late_s", [0.2, 0.28])
def test_a_late_answer_is_not_the_next_command_s(name: str, kind: str, late_s: float, tmp_path: Path) -> None:
    """The first answer comes after it was given up; the second command is heard by nobody: Unknown, not Accepted."""

    async def story() -> None:
        assert late_s > TIMEOUT_MS / 1000
        async with gated(name, kind, tmp_path) as (bench, gate, _):
            gate.knobs.answer_s = late_s
            first = asyncio.create_task(bench.device.release(ENTRY, 2.0))
            await bench.until(lambda: gate.released == [ENTRY])
            gate.knobs.silent = True  # from here on nothing is heard; the first answer is still on its way
            assert await first is Answer.UNKNOWN
            assert await bench.device.release(ENTRY, 2.0) in (Answer.UNKNOWN, Answer.REFUSED)
            assert gate.released == [ENTRY]

    asyncio.run(story())


@EVERY
@KINDS
def test_answers_in_pieces_are_answers(name: str, kind: str, tmp_path: Path) -> None:
    """One byte at a time."""

    async def story() -> None:
        async with gated(name, kind, tmp_path) as (bench, gate, _):
            gate.knobs.chunk = 1
            assert await bench.device.release(ENTRY, 2.0) is Answer.ACCEPTED
            assert bench.count(Down) == 0

    asyncio.run(story())


@EVERY
@KINDS
def test_a_line_cut_in_the_middle_is_unknown_and_comes_back(name: str, kind: str, tmp_path: Path) -> None:
    """Cut between command and answer: Unknown, Down, nothing is released while it is away, Up, and it works."""

    async def story() -> None:
        async with gated(name, kind, tmp_path) as (bench, gate, port):
            gate.knobs.answer_s = TIMEOUT_MS / 2000
            release = asyncio.create_task(bench.device.release(ENTRY, 2.0))
            await bench.until(lambda: gate.released == [ENTRY])
            await port.unplug()
            assert await release is Answer.UNKNOWN
            await bench.down()
            assert await bench.device.release(ENTRY, 2.0) is Answer.REFUSED
            gate.knobs.answer_s = 0.0
            gate.power_cycle()
            await port.plug()
            await bench.up(2)
            assert gate.released == [ENTRY]
            assert await bench.device.release(EXIT, 2.0) is Answer.ACCEPTED
            assert [type(r) for r in bench.reports] == [Up, Down, Up]

    asyncio.run(story())


@EVERY
def test_a_release_that_never_got_its_turn_was_not_sent(name: str, tmp_path: Path) -> None:
    """Its lifetime ends while the line is taken: Refused, and nothing goes out afterwards."""

    async def story() -> None:
        async with gated(name, "tcp", tmp_path) as (bench, gate, _):
            device: Any = bench.device
            device.wait_s = 0.0  # the lifetime is short for the test's sake
            async with device._mine:
                assert await device.release(ENTRY, 0.05) is Answer.REFUSED
            assert await device.release(EXIT, 2.0) is Answer.ACCEPTED
            assert gate.released == [EXIT]

    asyncio.run(story())


@pytest.mark.parametrize("name", ["digicon-tx1500", "machpower-eb"])
def test_a_controller_that_waits_longer_than_the_release_may_live_is_not_told(name: str, tmp_path: Path) -> None:
    """These keep a release for `wait_s` and cannot be told otherwise: a shorter one is refused unsent."""

    async def story() -> None:
        async with gated(name, "tcp", tmp_path, wait_s=6) as (bench, gate, _):
            assert await bench.device.release(ENTRY, 5.9) is Answer.REFUSED
            assert await bench.device.release(EXIT, 6.0) is Answer.ACCEPTED
            assert gate.released == [EXIT]

    asyncio.run(story())


@EVERY
def test_a_driver_that_is_started_again_says_that_it_is_up(name: str, tmp_path: Path) -> None:
    """Whoever supervises it said that it was down in between; and what it says shows no bytes."""

    async def story() -> None:
        gate = GATES[name]()
        async with port_of("tcp", tmp_path, gate.session) as port:
            info = registry.driver(name)
            given = {"port": port.spec, **QUICK[name]}
            device = registry.create(name, registry.check_settings(info, given))
            for _ in range(2):
                said: list[Any] = []
                running = asyncio.create_task(device.run(said.append))
                async with asyncio.timeout(5):
                    while not any(isinstance(report, Up) for report in said):
                        await asyncio.sleep(0.005)
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
                assert "b'" not in repr(said)

    asyncio.run(story())


@pytest.mark.parametrize(("name", "extra"), [("machpower-eb", {"ask": True}), ("tpw-321asp", {})])
def test_a_controller_that_falls_silent_is_down_and_found_again(
    name: str, extra: dict[str, Any], tmp_path: Path
) -> None:
    """Where the protocol can ask: NO_ANSWER after a few looks, nothing released meanwhile, Up within 2 s."""

    async def story() -> None:
        async with gated(name, "pty", tmp_path, **extra) as (bench, gate, _):
            gate.knobs.silent = True
            await bench.down()
            assert [r.fault for r in bench.reports if isinstance(r, Down)] == [DeviceFault.NO_ANSWER]
            assert await bench.device.release(ENTRY, 2.0) is Answer.REFUSED
            gate.knobs.silent = False
            async with asyncio.timeout(2.0):
                await bench.up(2)
            assert gate.released == []

    asyncio.run(story())


@pytest.mark.parametrize("name", ["machpower-eb", "tpw-321asp"])
def test_units_that_set_one_port_up_differently_are_told(name: str, tmp_path: Path) -> None:
    """The second names the speed that the port is open at; the first goes on."""

    async def story() -> None:
        async with gated(name, "tcp", tmp_path, baud=9600) as (bench, _, port):
            device = registry.create(
                name, registry.check_settings(registry.driver(name), {"port": port.spec, "unit": 2, "baud": 19200})
            )
            said: list[Any] = []
            running = asyncio.create_task(device.run(said.append))
            await bench.until(lambda: bool(said))
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            assert (said[0].fault, "9600" in said[0].detail) == (DeviceFault.PORT_BUSY, True)
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED

    asyncio.run(story())


@EVERY
def test_nothing_is_said_or_sent_without_a_grant(name: str, tmp_path: Path) -> None:
    """Half a second of looks: nobody is released, nobody has passed."""

    async def story() -> None:
        gate = GATES[name]()
        async with port_of("tcp", tmp_path, gate.session) as port, driven(name, port.spec) as bench:
            await asyncio.sleep(0.5)  # several looks
            assert gate.released == []
            assert [type(report) for report in bench.reports] == [Up]

    asyncio.run(story())
