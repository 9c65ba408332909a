"""A C3 panel and the turnstiles behind its doors, on TCP: released, passed, held, lost, refused, in fire."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Answer, DeviceFault, Direction, Down, Emergency, Passed, Up
from drivers.registry import SettingError
from drivers.simulated.ports import TcpPort
from drivers.simulated.zkteco_c3 import SimulatedC3
from tests.drivers.serial_gates import Bench

ENTRY, EXIT = Direction.ENTRY, Direction.EXIT
TIMEOUT_MS = 150
QUICK = {"timeout_ms": TIMEOUT_MS, "poll_ms": 50, "exit_door": 2, "passed_sensor": 1, "passed_exit_sensor": 2}
# A panel with sessions, one without, and one without that logs in text.
FLAVOURS: dict[str, dict[str, bool]] = {
    "sessions": {},
    "no sessions": {"sessions": False},
    "text": {"sessions": False, "text": True},
}
EVERY = pytest.mark.parametrize("flavour", FLAVOURS)


def made(port: str, **settings: object) -> Any:
    info = registry.driver("zkteco-c3")
    given = {name: value for name, value in {"port": port, **QUICK, **settings}.items() if value is not None}
    return registry.create(info.name, registry.check_settings(info, given))


@contextlib.asynccontextmanager
async def running(device: Any) -> AsyncIterator[Bench]:
    bench = Bench(device)
    task = asyncio.create_task(device.run(bench.hear))
    try:
        yield bench
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextlib.asynccontextmanager
async def gated(flavour: str = "sessions", **settings: object) -> AsyncIterator[tuple[Bench, SimulatedC3, TcpPort]]:
    """The driver, up, and its panel."""
    panel = SimulatedC3(**FLAVOURS[flavour])
    async with TcpPort(panel.session) as port, running(made(port.spec, **settings)) as bench:
        await bench.up()
        await bench.until(lambda: not bench.device._panel._turns.taken)  # type: ignore[attr-defined] # no look under way
        yield bench, panel, port


@EVERY
def test_a_release_opens_its_door_for_the_panel_s_time(flavour: str) -> None:
    """Accepted, said to be sent once, the right door for `open_s`; then the other one."""

    async def story() -> None:
        async with gated(flavour, open_s=2) as (bench, panel, _):
            sent: list[int] = []
            assert await bench.device.release(ENTRY, 5.0, lambda: sent.append(1)) is Answer.ACCEPTED
            assert await bench.device.release(EXIT, 5.0) is Answer.ACCEPTED
            assert (panel.opened, sent) == ([(1, 2), (2, 2)], [1])

    asyncio.run(story())


@EVERY
def test_release_then_passed(flavour: str) -> None:
    """The passage is reported once, in its direction; what the panel logs besides is none."""

    async def story() -> None:
        async with gated(flavour) as (bench, panel, _):
            for direction in Direction:
                assert await bench.device.release(direction, 5.0) is Answer.ACCEPTED
                await panel.pass_through(direction)
                await bench.reported(Passed(direction))
            assert bench.count(Passed) == 2
            assert "C3-400" in bench.reports[0].detail  # type: ignore[union-attr]

    asyncio.run(story())


def test_a_queue_of_events_is_told_at_once() -> None:
    """Ten passages between two looks, one record an answer: all are told before the next look is due."""

    async def story() -> None:
        async with gated(poll_ms=1000) as (bench, panel, _):
            for _ in range(10):
                await panel.pass_through()
            await bench.reported(Passed(ENTRY), 10)
            assert bench.count(Passed) == 10

    asyncio.run(story())


def test_passages_of_before_are_not_reported() -> None:
    """The log of the night is emptied at connecting: nobody was released then; a fire of then still burns."""

    async def story() -> None:
        panel = SimulatedC3()
        await panel.pass_through()
        panel.set_fire(True)
        async with TcpPort(panel.session) as port, running(made(port.spec, fire_input=1)) as bench:
            await bench.up()
            await panel.pass_through()
            await bench.reported(Passed(ENTRY))
            assert bench.count(Passed) == 1
            assert bench.reports.count(Emergency(True)) == 1
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED

    asyncio.run(story())


@EVERY
@pytest.mark.parametrize("fault", ["silent", "lose_answer", "garble", "chopped"])
def test_no_right_answer_is_unknown(flavour: str, fault: str) -> None:
    """Neither accepted nor refused, and never sent twice; when the line is right again, so is the next release."""

    async def story() -> None:
        async with gated(flavour, poll_ms=1000) as (bench, panel, _):
            setattr(panel.knobs, fault, True)
            assert await bench.device.release(ENTRY, 5.0) is Answer.UNKNOWN
            assert len(panel.opened) <= 1
            setattr(panel.knobs, fault, False)
            await bench.until(lambda: bench.device._panel._ready)  # type: ignore[attr-defined]
            assert await bench.device.release(EXIT, 5.0) is Answer.ACCEPTED
            assert panel.opened[-1] == (2, 1)
            assert bench.count(Down) == 0

    asyncio.run(story())


@EVERY
def test_a_late_answer_is_not_the_next_command_s(flavour: str) -> None:
    """It comes on a connection that is closed by then: the second command, heard by nobody, is Unknown or Refused."""

    async def story() -> None:
        async with gated(flavour, poll_ms=1000) as (bench, panel, _):
            panel.knobs.answer_s = TIMEOUT_MS / 1000 + 0.05
            first = asyncio.create_task(bench.device.release(ENTRY, 5.0))
            await bench.until(lambda: panel.opened == [(1, 1)])
            panel.knobs.silent = True  # nothing more is heard; the first answer is still on its way
            assert await first is Answer.UNKNOWN
            assert await bench.device.release(ENTRY, 5.0) in (Answer.UNKNOWN, Answer.REFUSED)
            assert panel.opened == [(1, 1)]

    asyncio.run(story())


def test_a_refusal_is_a_refusal() -> None:
    """The panel says no: it did not act, the connection stays, and the next one works."""

    async def story() -> None:
        async with gated() as (bench, panel, _):
            panel.knobs.refuse = True
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED
            panel.knobs.refuse = False
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert panel.released == [ENTRY]

    asyncio.run(story())


@EVERY
def test_answers_in_pieces_are_answers(flavour: str) -> None:
    """One byte at a time."""

    async def story() -> None:
        async with gated(flavour) as (bench, panel, _):
            panel.knobs.chunk = 1
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert bench.count(Down) == 0

    asyncio.run(story())


@EVERY
def test_a_connection_cut_in_the_middle_is_unknown_and_comes_back(flavour: str) -> None:
    """Cut between command and answer: Unknown, Down, nothing is released while it is away, Up, and it works."""

    async def story() -> None:
        async with gated(flavour) as (bench, panel, port):
            panel.knobs.answer_s = TIMEOUT_MS / 2000
            release = asyncio.create_task(bench.device.release(ENTRY, 5.0))
            await bench.until(lambda: panel.released == [ENTRY])
            await port.unplug()
            assert await release is Answer.UNKNOWN
            await bench.down()
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED
            panel.knobs.answer_s = 0.0
            await port.plug()
            async with asyncio.timeout(2.0):
                await bench.up(2)
            assert panel.released == [ENTRY]
            assert await bench.device.release(EXIT, 5.0) is Answer.ACCEPTED
            assert [type(report) for report in bench.reports] == [Up, Down, Up]

    asyncio.run(story())


def test_passages_during_a_short_loss_are_not_lost() -> None:
    """One connection dies and the next one is there before anybody was told: what the panel kept is told as new."""

    async def story() -> None:
        async with gated() as (bench, panel, port):
            for writer in list(port._writers):
                writer.transport.abort()
            await panel.pass_through()
            await bench.reported(Passed(ENTRY))
            assert [type(report) for report in bench.reports] == [Up, Passed]

    asyncio.run(story())


def test_a_silent_panel_is_down_and_found_again() -> None:
    """NO_ANSWER, nothing released meanwhile, Up within 2 s."""

    async def story() -> None:
        async with gated() as (bench, panel, _):
            panel.knobs.silent = True
            await bench.down()
            assert [report.fault for report in bench.reports if isinstance(report, Down)] == [DeviceFault.NO_ANSWER]
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED
            panel.knobs.silent = False
            async with asyncio.timeout(2.0):
                await bench.up(2)
            assert panel.opened == []

    asyncio.run(story())


def test_a_release_that_may_not_live_as_long_as_the_panel_opens_is_not_sent() -> None:
    """Three seconds of opening do not fit into two; nor when the turn comes too late."""

    async def story() -> None:
        async with gated(open_s=3) as (bench, panel, _):
            assert await bench.device.release(ENTRY, 2.9) is Answer.REFUSED
            device: Any = bench.device
            await device._panel._turns.take(True)
            late = asyncio.create_task(device.release(ENTRY, 3.1))
            await asyncio.sleep(0.3)  # what is left of its lifetime is what is tested
            device._panel._turns.give_back()
            assert await late is Answer.REFUSED
            assert panel.opened == []

    asyncio.run(story())


def test_a_release_whose_turn_never_comes_is_not_sent() -> None:
    """Its lifetime ends while the connection is taken: Refused, and nothing goes out afterwards."""

    async def story() -> None:
        async with gated() as (bench, panel, _):
            device: Any = bench.device
            await device._panel._turns.take(True)
            assert await device.release(ENTRY, 0.05) is Answer.REFUSED
            device._panel._turns.give_back()
            assert await device.release(EXIT, 5.0) is Answer.ACCEPTED
            assert panel.opened == [(2, 1)]

    asyncio.run(story())


@EVERY
def test_holding_and_ending(flavour: str) -> None:
    """Both doors are held, no release is sent meanwhile since its end would be a close, both are closed again."""

    async def story() -> None:
        async with gated(flavour) as (bench, panel, _):
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert panel.opened == []  # not held by us: nothing to end
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert panel.held == {1, 2}
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert panel.opened == [(1, 255), (2, 255), (1, 0), (2, 0)]
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED

    asyncio.run(story())


def test_a_hold_stands_when_the_panel_has_lost_its_power() -> None:
    """It is held again before it is said to be up."""

    async def story() -> None:
        async with gated() as (bench, panel, port):
            assert await bench.device.hold_open() is Answer.ACCEPTED
            await port.unplug()
            await bench.down()
            panel.power_cycle()
            await port.plug()
            await bench.up(2)
            assert panel.held == {1, 2}

    asyncio.run(story())


def test_nothing_is_closed_in_an_emergency() -> None:
    """The fire loop opens: reported once; holding is taken, ending and releasing are refused until it is closed."""

    async def story() -> None:
        async with gated(fire_input=1) as (bench, panel, _):
            assert await bench.device.hold_open() is Answer.ACCEPTED
            panel.set_fire(True)
            panel.set_fire(True)
            await bench.reported(Emergency(True))
            assert await bench.device.end_hold() is Answer.REFUSED
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert all(seconds == 255 for _, seconds in panel.opened)
            panel.set_fire(False)
            await bench.reported(Emergency(False))
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert bench.count(Emergency) == 2

    asyncio.run(story())


def test_a_hold_that_half_failed_is_unknown_and_can_be_ended() -> None:
    """The first door is held, the second one's answer is lost: Unknown, and still ours to end."""

    async def story() -> None:
        async with gated(poll_ms=1000) as (bench, panel, _):
            panel.knobs.answer_s = TIMEOUT_MS / 3000
            hold = asyncio.create_task(bench.device.hold_open())
            await bench.until(lambda: panel.held == {1})
            panel.knobs.silent = True  # the first answer is on its way
            assert await hold is Answer.UNKNOWN
            panel.knobs.silent = False
            await bench.until(lambda: bench.device._panel._ready)  # type: ignore[attr-defined]
            assert panel.held == {1, 2}  # on the new connection
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert panel.held == set()

    asyncio.run(story())


def test_turnstiles_share_a_panel_by_one_connection() -> None:
    """Each hears of its own door only; when the first leaves, the other goes on; the last one takes leave."""

    async def story() -> None:
        panel = SimulatedC3()
        own = {"exit_door": None, "passed_exit_sensor": None}
        async with TcpPort(panel.session) as port:
            async with running(made(port.spec, **own)) as one:
                await one.up()
                async with running(made(port.spec, **own, unit=2, passed_sensor=2)) as other:
                    await other.up()
                    assert panel.connections == 1
                    both = await asyncio.gather(one.device.release(ENTRY, 5.0), other.device.release(ENTRY, 5.0))
                    assert both == [Answer.ACCEPTED] * 2
                    await panel.pass_through(EXIT)  # door 2
                    await other.reported(Passed(ENTRY))
                    assert one.count(Passed) == 0
                await panel.pass_through()
                await one.reported(Passed(ENTRY))
            await one.until(lambda: panel.connections == 0)

    asyncio.run(story())


def test_turnstiles_that_speak_to_a_panel_differently_are_told() -> None:
    """The second one says which settings must be equal; the first goes on."""

    async def story() -> None:
        async with gated() as (bench, _, port), running(made(port.spec, unit=3, poll_ms=500)) as second:
            await second.down()
            down = second.reports[0]
            assert isinstance(down, Down)
            assert (down.fault, "poll_ms" in down.detail) == (DeviceFault.PORT_BUSY, True)
            assert await second.device.release(ENTRY, 5.0) is Answer.REFUSED
            assert await bench.device.release(ENTRY, 5.0) is Answer.ACCEPTED

    asyncio.run(story())


def test_a_door_that_the_panel_has_not_is_told() -> None:
    """A C3-100 has one door."""

    async def story() -> None:
        panel = SimulatedC3()
        panel.doors = 1
        async with TcpPort(panel.session) as port, running(made(port.spec)) as bench:
            await bench.down()
            down = bench.reports[0]
            assert isinstance(down, Down)
            assert (down.fault, "no door 2" in down.detail) == (DeviceFault.PROTOCOL_ERROR, True)
            assert await bench.device.release(ENTRY, 5.0) is Answer.REFUSED

    asyncio.run(story())


@EVERY
def test_a_password_comes_from_its_file(flavour: str, tmp_path: Path) -> None:
    """Wrong or missing: NOT_AUTHORISED, and the password is in no report; right: Up."""

    async def story() -> None:
        panel = SimulatedC3(**FLAVOURS[flavour])
        panel.password = b"banana123"
        file = tmp_path / "password"
        async with TcpPort(panel.session) as port, running(made(port.spec, password_file=str(file))) as bench:
            await bench.down()
            file.write_text("apple\n")
            await asyncio.sleep(0.6)  # an attempt to connect with it
            file.write_text("banana123\n")
            await bench.up()
            assert {report.fault for report in bench.reports if isinstance(report, Down)} == {
                DeviceFault.NOT_AUTHORISED
            }
            assert not any(word in repr(bench.reports) for word in ("apple", "banana"))

    asyncio.run(story())


def test_whoever_fails_when_told_does_not_leave_it_deaf() -> None:
    """A report that raises brings the panel down and up again; it goes on telling."""

    async def story() -> None:
        panel = SimulatedC3()
        said: list[Any] = []

        def tell(report: Any) -> None:
            said.append(report)
            if report == Passed(ENTRY) and said.count(report) == 1:
                raise RuntimeError("a bug")

        async with TcpPort(panel.session) as port:
            task = asyncio.create_task(made(port.spec).run(tell))
            bench = Bench(made(port.spec))
            await bench.until(lambda: any(isinstance(report, Up) for report in said))
            await panel.pass_through()
            await bench.until(lambda: Passed(ENTRY) in said)
            await panel.pass_through()
            await bench.until(lambda: said.count(Passed(ENTRY)) == 2)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


def test_a_serial_port_is_refused() -> None:
    """Panels on RS-485 are not spoken to: the setting is named."""
    with pytest.raises(SettingError) as caught:
        made("/dev/ttyS0")
    assert caught.value.key == "port"


def test_nothing_is_sent_without_a_grant() -> None:
    """Half a second of looks: no door is moved, nobody has passed."""

    async def story() -> None:
        async with gated() as (bench, panel, _):
            await asyncio.sleep(0.5)  # several looks
            assert panel.opened == []
            assert [type(report) for report in bench.reports] == [Up]

    asyncio.run(story())
