"""A UHPPOTE controller and the turnstiles behind its doors, on UDP and TCP: released, passed, held, lost, in fire."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Answer, DeviceFault, Direction, Down, Emergency, Passed, Ready, Up
from drivers.registry import SettingError
from drivers.simulated.ports import SimulatedPort, TcpPort, UdpPort
from drivers.simulated.uhppote import Ask, SimulatedDoor, SimulatedUhppote
from tests.conformance.plug import _free_port
from tests.drivers.serial_gates import Bench

ENTRY, EXIT = Direction.ENTRY, Direction.EXIT
TIMEOUT_MS = 150
LIFE_S = 6.0  # enough for 1 s of opening and, over UDP, 3 s of lateness
QUICK = {"timeout_ms": TIMEOUT_MS, "poll_ms": 50, "exit_door": 2, "passed_sensor": 1, "passed_exit_sensor": 2}
KINDS = pytest.mark.parametrize("kind", ["udp", "tcp"])


def made(port: str, **settings: object) -> Any:
    info = registry.driver("uhppote")
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
async def plugged(kind: str, gate: SimulatedUhppote) -> AsyncIterator[SimulatedPort]:
    tcp = kind == "tcp"
    async with TcpPort(gate.session) if tcp else UdpPort(gate.session, "127.0.0.1", _free_port()) as place:
        yield place


@contextlib.asynccontextmanager
async def gated(kind: str, **settings: object) -> AsyncIterator[tuple[Bench, SimulatedUhppote, SimulatedPort]]:
    """The driver, up, and its controller."""
    gate = SimulatedUhppote()
    async with plugged(kind, gate) as place, running(made(place.spec, **settings)) as bench:
        await bench.up()
        yield bench, gate, place


@KINDS
def test_a_release_opens_its_door_once(kind: str) -> None:
    """Accepted, said to be sent once, the right door; then the other one."""

    async def story() -> None:
        async with gated(kind) as (bench, gate, _):
            sent: list[int] = []
            assert await bench.device.release(ENTRY, LIFE_S, lambda: sent.append(1)) is Answer.ACCEPTED
            assert (gate.released, sent) == ([ENTRY], [1])
            assert await bench.device.release(EXIT, LIFE_S) is Answer.ACCEPTED
            assert gate.released == [ENTRY, EXIT]

    asyncio.run(story())


@KINDS
def test_release_then_passed(kind: str) -> None:
    """The passage is reported once, in its direction; the controller's version is told."""

    async def story() -> None:
        async with gated(kind) as (bench, gate, _):
            for direction in Direction:
                assert await bench.device.release(direction, LIFE_S) is Answer.ACCEPTED
                await gate.pass_through(direction)
                await bench.reported(Passed(direction))
            assert bench.count(Passed) == 2
            assert Up("UHPPOTE 405419896 v8.92", "UHPPOTE 405419896 door 1") in bench.reports

    asyncio.run(story())


def test_passages_of_before_are_not_reported() -> None:
    """The list holds the night's events: only those since the first look are told."""

    async def story() -> None:
        gate = SimulatedUhppote()
        gate.recording = True
        await gate.pass_through()
        async with plugged("udp", gate) as place, running(made(place.spec)) as bench:
            await bench.up()
            await gate.pass_through()
            await bench.reported(Passed(ENTRY))
            assert bench.count(Passed) == 1

    asyncio.run(story())


def test_an_event_that_was_lost_on_the_way_is_read_at_the_next_look() -> None:
    """The answer to get-event is lost: the passage is told once, when it is asked for again."""

    async def story() -> None:
        async with gated("udp") as (bench, gate, _):
            gate.knobs.lose_answer = True
            await gate.pass_through()
            await bench.until(lambda: bench.device._doubt)  # type: ignore[attr-defined]
            gate.knobs.lose_answer = False
            await bench.reported(Passed(ENTRY))
            await asyncio.sleep(0.2)  # several looks more
            assert bench.count(Passed) == 1

    asyncio.run(story())


@KINDS
@pytest.mark.parametrize("fault", ["silent", "garble", "chopped"])
def test_no_right_answer_is_unknown(kind: str, fault: str) -> None:
    """Neither accepted nor refused, and never sent twice; when the line is right again, so is the next release."""

    async def story() -> None:
        async with gated(kind, poll_ms=1000) as (bench, gate, _):
            setattr(gate.knobs, fault, True)
            assert await bench.device.release(ENTRY, LIFE_S) is Answer.UNKNOWN
            assert len(gate.released) <= 1
            setattr(gate.knobs, fault, False)
            assert await bench.device.release(EXIT, LIFE_S) is Answer.ACCEPTED
            assert gate.released[-1] == EXIT
            assert bench.count(Down) == 0

    asyncio.run(story())


class OneSided(SimulatedUhppote):
    """Answers everything but the command to open: `deaf` does not hear it, else it opens and its answer is lost."""

    deaf: bool | None = None

    def _answer(self, function: int, data: bytes, number: int) -> bytes:
        opening = function == Ask.OPEN_DOOR and self.deaf is not None
        answer = b"" if opening and self.deaf else super()._answer(function, data, number)
        return b"" if opening else answer


@KINDS
@pytest.mark.parametrize("deaf", [False, True])
def test_a_relay_that_is_seen_closed_proves_the_release(kind: str, deaf: bool) -> None:
    """The command is not answered: a look tells that the door is open, so it is Accepted, or is not: Unknown."""

    async def story() -> None:
        gate = OneSided()
        async with plugged(kind, gate) as place, running(made(place.spec)) as bench:
            await bench.up()
            gate.deaf = deaf
            assert await bench.device.release(ENTRY, LIFE_S) is (Answer.UNKNOWN if deaf else Answer.ACCEPTED)
            assert gate.released == ([] if deaf else [ENTRY])

    asyncio.run(story())


def test_a_relay_that_was_closed_before_proves_nothing() -> None:
    """Opened a moment ago: a second release without an answer is Unknown although the relay is seen closed."""

    async def story() -> None:
        gate = OneSided()
        async with plugged("udp", gate) as place, running(made(place.spec, open_s=3)) as bench:
            await bench.up()
            assert await bench.device.release(ENTRY, 7.0) is Answer.ACCEPTED
            await bench.until(lambda: bench.device._seen.is_open(1))  # type: ignore[attr-defined]
            gate.deaf = True
            assert await bench.device.release(ENTRY, 7.0) is Answer.UNKNOWN
            assert gate.released == [ENTRY]

    asyncio.run(story())


@KINDS
def test_a_late_answer_is_not_the_next_command_s(kind: str) -> None:
    """It has another number and comes to a socket that is closed: the second command, unheard, is not Accepted."""

    async def story() -> None:
        async with gated(kind, poll_ms=1000) as (bench, gate, _):
            gate.knobs.answer_s = TIMEOUT_MS / 1000 + 0.05
            first = asyncio.create_task(bench.device.release(ENTRY, LIFE_S))
            await bench.until(lambda: gate.released == [ENTRY])
            gate.knobs.silent = True  # nothing more is heard; the first answer is still on its way
            assert await first is Answer.UNKNOWN
            assert await bench.device.release(ENTRY, LIFE_S) in (Answer.UNKNOWN, Answer.REFUSED)
            assert gate.released == [ENTRY]

    asyncio.run(story())


def test_an_answer_with_another_number_is_none() -> None:
    """A controller that does not repeat numbers is not understood, unless the settings say so."""

    async def story() -> None:
        gate = SimulatedUhppote()
        gate.echoes = False
        async with plugged("udp", gate) as place:
            async with running(made(place.spec)) as bench:
                await bench.down()
                assert bench.count(Up) == 0
            async with running(made(place.spec, numbered=False)) as bench:
                await bench.up()
                assert await bench.device.release(ENTRY, LIFE_S) is Answer.ACCEPTED

    asyncio.run(story())


@KINDS
def test_a_refusal_is_a_refusal(kind: str) -> None:
    """The controller says no: it did not act; a mode that it does not take is refused too."""

    async def story() -> None:
        async with gated(kind) as (bench, gate, _):
            gate.knobs.refuse = True
            assert await bench.device.release(ENTRY, LIFE_S) is Answer.REFUSED
            assert await bench.device.hold_open() is Answer.REFUSED
            gate.knobs.refuse = False
            assert await bench.device.release(ENTRY, LIFE_S) is Answer.ACCEPTED
            assert gate.released == [ENTRY]

    asyncio.run(story())


@KINDS
def test_a_controller_that_vanishes_in_the_middle_is_unknown_and_comes_back(kind: str) -> None:
    """Gone between command and answer: Unknown, Down, nothing is released while it is away, Up, and it works."""

    async def story() -> None:
        async with gated(kind) as (bench, gate, place):
            gate.knobs.answer_s = TIMEOUT_MS / 2000
            release = asyncio.create_task(bench.device.release(ENTRY, LIFE_S))
            await bench.until(lambda: gate.released == [ENTRY])
            await place.unplug()
            assert await release is Answer.UNKNOWN
            await bench.down()
            assert await bench.device.release(ENTRY, LIFE_S) is Answer.REFUSED
            gate.knobs.answer_s = 0.0
            await place.plug()
            async with asyncio.timeout(2.0):
                await bench.up(2)
            assert gate.released == [ENTRY]
            assert await bench.device.release(EXIT, LIFE_S) is Answer.ACCEPTED

    asyncio.run(story())


@pytest.mark.parametrize(("kind", "least_s"), [("udp", 5.0), ("tcp", 2.0)])
def test_a_release_that_may_not_live_long_enough_is_not_sent(kind: str, least_s: float) -> None:
    """Two seconds of opening, and over UDP the three that a datagram may be late: both must fit in."""

    async def story() -> None:
        async with gated(kind, open_s=2) as (bench, gate, _):
            assert await bench.device.release(ENTRY, least_s - 0.1) is Answer.REFUSED
            assert await bench.device.release(ENTRY, least_s + 1.0) is Answer.ACCEPTED
            assert gate.released == [ENTRY]

    asyncio.run(story())


def test_over_udp_it_is_heard_before_it_is_told() -> None:
    """Not heard for long: the release asks for its state first; no answer, and the command is never sent: Refused."""

    async def story() -> None:
        async with gated("udp", poll_ms=1000) as (bench, gate, _):
            await asyncio.sleep(0.6)  # older than FRESH_S
            gate.knobs.silent = True
            sent: list[int] = []
            assert await bench.device.release(ENTRY, LIFE_S, lambda: sent.append(1)) is Answer.REFUSED
            assert (sent, gate.released) == ([], [])

    asyncio.run(story())


def test_the_opening_time_is_the_controller_s_or_ours() -> None:
    """Left as it is without a setting, written with one, and the mode is kept."""

    async def story() -> None:
        gate = SimulatedUhppote()
        gate.doors[1] = SimulatedDoor(3, 5)
        async with plugged("tcp", gate) as place:
            async with running(made(place.spec, exit_door=None)) as bench:
                await bench.up()
                assert gate.doors[1] == SimulatedDoor(3, 5)
                assert await bench.device.release(ENTRY, 4.9) is Answer.REFUSED
            async with running(made(place.spec, exit_door=None, open_s=2)) as bench:
                await bench.up()
                assert gate.doors[1] == SimulatedDoor(3, 2)
                assert await bench.device.release(ENTRY, 4.9) is Answer.ACCEPTED

    asyncio.run(story())


@KINDS
def test_holding_and_ending(kind: str) -> None:
    """Both doors are normally open, then controlled again with their delay; no release is sent meanwhile."""

    async def story() -> None:
        async with gated(kind) as (bench, gate, _):
            gate.doors[1].delay_s = gate.doors[2].delay_s = 1
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert [gate.doors[door].mode for door in (1, 2, 3)] == [1, 1, 3]
            assert await bench.device.release(ENTRY, LIFE_S) is Answer.REFUSED
            assert gate.released == []
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert [gate.doors[door] for door in (1, 2)] == [SimulatedDoor(3, 1)] * 2
            assert await bench.device.release(ENTRY, LIFE_S) is Answer.ACCEPTED

    asyncio.run(story())


def test_a_hold_that_a_killed_controller_left_is_ours_to_end() -> None:
    """Door 1 stands normally open when we come: door 2 is not opened for it, and ending closes both."""

    async def story() -> None:
        gate = SimulatedUhppote()
        gate.doors[1] = SimulatedDoor(1, 3)
        async with plugged("tcp", gate) as place, running(made(place.spec)) as bench:
            await bench.up()
            assert [gate.doors[door].mode for door in (1, 2)] == [1, 3]
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert [gate.doors[door].mode for door in (1, 2)] == [3, 3]

    asyncio.run(story())


def test_a_hold_stands_when_the_controller_has_forgotten_it() -> None:
    """It is held again before it is said to be up."""

    async def story() -> None:
        async with gated("udp") as (bench, gate, place):
            assert await bench.device.hold_open() is Answer.ACCEPTED
            await place.unplug()
            await bench.down()
            gate.doors[1] = SimulatedDoor(3, 1)
            await place.plug()
            await bench.up(2)
            assert [gate.doors[door].mode for door in (1, 2)] == [1, 1]

    asyncio.run(story())


@KINDS
def test_nothing_is_closed_in_an_emergency(kind: str) -> None:
    """Fire: reported, ending a hold and releasing (which ends in a close) are refused, holding is taken."""

    async def story() -> None:
        async with gated(kind) as (bench, gate, _):
            gate.set_fire(True)
            await bench.reported(Emergency(True))
            assert await bench.device.release(ENTRY, LIFE_S) is Answer.REFUSED
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert await bench.device.end_hold() is Answer.REFUSED
            assert [gate.doors[door].mode for door in (1, 2)] == [1, 1]
            gate.set_fire(False)
            await bench.reported(Emergency(False))
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert gate.released == []

    asyncio.run(story())


def test_force_lock_is_not_ready() -> None:
    """Ready at first, not while the force-lock input acts, and again after it."""

    async def story() -> None:
        async with gated("udp") as (bench, gate, _):
            gate.inputs = 1
            await bench.reported(Ready(False))
            gate.inputs = 0
            await bench.reported(Ready(True), 2)

    asyncio.run(story())


def test_an_event_wakes_a_look() -> None:
    """Looks are a second apart; with a listener the passage is told at once, and once however often it is sent."""

    async def story() -> None:
        listen = f"127.0.0.1:{_free_port()}"
        async with gated("udp", poll_ms=1000, listen=listen) as (bench, gate, _):
            for number in (1, 2, 3):
                await gate.pass_through()
                async with asyncio.timeout(0.5):
                    await bench.reported(Passed(ENTRY), number)
            assert bench.count(Passed) == 3

    asyncio.run(story())


def test_a_forged_event_makes_no_passage() -> None:
    """Anybody can send datagrams to the listener: they wake a look, which tells that nobody passed."""

    async def story() -> None:
        port = _free_port()
        async with gated("udp", listen=f"127.0.0.1:{port}") as (bench, gate, _):
            gate.events.append((2, 1, 23))
            forged = gate._status(0)
            gate.events.clear()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for datagram in (forged, forged[:-1], b"", b"\x17" * 64):
                    sock.sendto(datagram, ("127.0.0.1", port))
            await asyncio.sleep(0.3)  # several looks
            assert [type(report) for report in bench.reports] == [Ready, Up]

    asyncio.run(story())


def test_turnstiles_share_controller_and_listener() -> None:
    """Two doors, two turnstiles: each hears of its own; when one leaves the other still listens."""

    async def story() -> None:
        gate = SimulatedUhppote()
        own: dict[str, Any] = {"exit_door": None, "passed_exit_sensor": None, "listen": f"127.0.0.1:{_free_port()}"}
        async with plugged("tcp", gate) as place, running(made(place.spec, **own)) as one:
            await one.up()
            async with running(made(place.spec, **own, unit=2, passed_sensor=2)) as other:
                await other.up()
                both = await asyncio.gather(one.device.release(ENTRY, LIFE_S), other.device.release(ENTRY, LIFE_S))
                assert both == [Answer.ACCEPTED] * 2
                await gate.pass_through(EXIT)  # door 2
                await other.reported(Passed(ENTRY))
                assert one.count(Passed) == 0
            await gate.pass_through()
            await one.reported(Passed(ENTRY))

    asyncio.run(story())


def test_a_listener_s_address_that_is_taken_is_told() -> None:
    """PORT_BUSY, naming the setting; it is up when the address is free."""

    async def story() -> None:
        gate = SimulatedUhppote()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            listen = f"127.0.0.1:{sock.getsockname()[1]}"
            async with plugged("udp", gate) as place, running(made(place.spec, listen=listen)) as bench:
                await bench.down()
                down = bench.reports[0]
                assert isinstance(down, Down)
                assert (down.fault, "listen" in down.detail) == (DeviceFault.PORT_BUSY, True)
                sock.close()
                await bench.up()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("door", "word"), [(SimulatedDoor(2, 3), "normally closed"), (None, "no door 1")], ids=["closed", "missing"]
)
def test_a_door_that_cannot_be_opened_is_told(door: SimulatedDoor | None, word: str) -> None:
    """Normally closed by its mode, or not there: Down says which and what to do."""

    async def story() -> None:
        gate = SimulatedUhppote()
        if door:
            gate.doors[1] = door
        else:
            del gate.doors[1]
        async with plugged("tcp", gate) as place, running(made(place.spec)) as bench:
            await bench.down()
            down = bench.reports[0]
            assert isinstance(down, Down)
            assert (down.fault, word in down.detail) == (DeviceFault.PROTOCOL_ERROR, True)

    asyncio.run(story())


def test_another_controller_is_not_taken_for_ours() -> None:
    """With a serial number in the settings only that one is answered to."""

    async def story() -> None:
        gate = SimulatedUhppote(serial=303986753)
        async with plugged("udp", gate) as place:
            async with running(made(place.spec, serial=405419896)) as bench:
                await bench.down()
                assert bench.count(Up) == 0
            async with running(made(place.spec, serial=303986753)) as bench:
                await bench.up()

    asyncio.run(story())


def test_without_the_extra_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """LIBRARY_MISSING, naming the extra; it is up when it is installed."""
    monkeypatch.setitem(sys.modules, "uhppoted.encode", None)  # as if it were not installed

    async def story() -> None:
        gate = SimulatedUhppote()
        async with plugged("udp", gate) as place, running(made(place.spec)) as bench:
            await bench.down()
            down = bench.reports[0]
            assert isinstance(down, Down)
            assert (down.fault, "[uhppote]" in down.detail) == (DeviceFault.LIBRARY_MISSING, True)
            monkeypatch.undo()
            await bench.up()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"port": "/dev/ttyS0"}, "port"),
        ({"port": "udp:x"}, "port"),
        ({"port": "udp:127.0.0.1:60000", "listen": "here"}, "listen"),
        ({"port": "udp:127.0.0.1:60000", "listen": "localhost:60001"}, "listen"),
    ],
)
def test_a_place_that_cannot_be_one_is_refused(settings: dict[str, str], key: str) -> None:
    """The setting is named."""
    with pytest.raises(SettingError) as caught:
        made(**settings)
    assert caught.value.key == key


@KINDS
def test_nothing_is_sent_without_a_grant(kind: str) -> None:
    """Half a second of looks: no door is opened or set, nobody has passed."""

    async def story() -> None:
        async with gated(kind) as (bench, gate, _):
            await asyncio.sleep(0.5)  # several looks
            assert gate.released == []
            assert list(gate.doors.values()) == [SimulatedDoor()] * 4
            assert [type(report) for report in bench.reports] == [Ready, Up]

    asyncio.run(story())
