"""What the random fault sequences of tests/conformance found in drivers, each once more by itself."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.contract import Answer, CodeReport, DeviceFault, Direction, Emergency, MeasuredAt, Passed, Temperature
from drivers.readers.osdp.line import Channel, Order
from drivers.readers.osdp.panel import Member, Panel
from drivers.scanners.wedge.codec import encode, strokes
from drivers.simulated.relay_board import FLASH_ON, _ModbusError
from drivers.simulated.serial_thermometer import SimulatedThermometer
from drivers.simulated.wedge import SimulatedWedge
from drivers.thermometers.serial.codec import FIVE_A, Frames
from tests.drivers import test_osdp_output, test_zkteco_c3_device
from tests.drivers.scanner_bench import bench
from tests.drivers.serial_gates import gated
from tests.drivers.test_modbus_device import ours

ENTRY, EXIT = Direction.ENTRY, Direction.EXIT


@pytest.mark.parametrize("name", ["tpw-321asp", "digicon-tx1500", "machpower-eb"])
def test_a_second_end_of_a_hold_is_accepted_when_the_first_has_ended_it(name: str, tmp_path: Path) -> None:
    """Two ask at once: neither may hear Accepted while the barrier is still held."""

    async def story() -> None:
        async with gated(name, "tcp", tmp_path) as (one, gate, _):
            assert await one.device.hold_open() is Answer.ACCEPTED
            first = asyncio.create_task(one.device.end_hold())
            await asyncio.sleep(0)
            assert await one.device.end_hold() is Answer.ACCEPTED
            held = {"tpw-321asp": "passing", "digicon-tx1500": "always", "machpower-eb": "arm_down"}[name]
            assert getattr(gate, held) in (b"00", b"", False)
            assert await first is Answer.ACCEPTED

    asyncio.run(story())


def test_a_second_end_of_a_panel_s_hold_waits_for_the_first() -> None:
    """The same of the doors of a C3 panel."""

    async def story() -> None:
        async with test_zkteco_c3_device.gated() as (one, panel, _):
            assert await one.device.hold_open() is Answer.ACCEPTED
            first = asyncio.create_task(one.device.end_hold())
            await asyncio.sleep(0)
            assert await one.device.end_hold() is Answer.ACCEPTED
            assert panel.held == set()
            assert await first is Answer.ACCEPTED

    asyncio.run(story())


def test_two_grants_of_ours_are_no_hold_of_a_killed_controller(tmp_path: Path) -> None:
    """Entry and exit are free by a release each when the line is lost: on its return both end with their lifetimes."""

    async def story() -> None:
        async with gated("tpw-321asp", "tcp", tmp_path) as (one, gate, port):
            assert await one.device.release(ENTRY, 1.0) is Answer.ACCEPTED
            assert await one.device.release(EXIT, 1.0) is Answer.ACCEPTED
            assert gate.passing == b"11"
            await port.unplug()
            await one.down()
            await port.plug()
            await one.up(2)
            await one.until(lambda: gate.passing == b"00", 2.0)

    asyncio.run(story())


def test_a_passage_of_before_does_not_use_up_the_next_grant(tmp_path: Path) -> None:
    """Somebody was counted while the line was silent; who is released right after it finds the way free."""

    async def story() -> None:
        async with gated("tpw-321asp", "tcp", tmp_path, poll_ms=1000) as (one, gate, _):
            gate.knobs.silent = True
            assert await one.device.release(ENTRY, 0.1) is Answer.UNKNOWN
            gate.knobs.silent = False
            gate.counts[ENTRY] += 1
            assert await one.device.release(ENTRY, 3.0) is Answer.ACCEPTED
            await one.reported(Passed(ENTRY))
            await asyncio.sleep(1.2)  # a look and more: the grant is to outlive it
            assert gate.is_free(ENTRY)

    asyncio.run(story())


def test_a_unit_that_failed_in_the_act_has_not_refused(tmp_path: Path) -> None:
    """Modbus exception 04, "unrecoverable error while performing the action": the relay closed all the same."""

    async def story() -> None:
        async with ours(tmp_path, "tcp", pulse="board", pulse_ms=500) as (one, board, _):
            write = board._write

            def fail(address: int, value: int) -> None:
                write(address, value)
                raise _ModbusError(4)

            board._write = fail  # type: ignore[method-assign]
            assert await one.device.release(ENTRY, 5.0) is Answer.ACCEPTED, "the relay is read back"
            assert board.releases == [0]

    asyncio.run(story())


def test_an_exception_while_the_relay_is_closed_is_no_refusal(tmp_path: Path) -> None:
    """On RTU an older command's exception comes as this one's answer: the relay closed, so it is Unknown."""

    async def story() -> None:
        async with ours(tmp_path, "rtu", pulse="board", pulse_ms=500) as (one, board, _):
            write = board._write

            def act_and_refuse(address: int, value: int) -> None:
                write(address, value)
                raise _ModbusError(2)

            board._write = act_and_refuse  # type: ignore[method-assign]
            assert await one.device.release(ENTRY, 5.0) is Answer.UNKNOWN
            board._write = write  # type: ignore[method-assign]
            board.knobs.exception = 2
            await one.until(lambda: not board.coils[0])
            assert await one.device.release(ENTRY, 5.0) is Answer.REFUSED

    asyncio.run(story())


def test_a_pulse_that_was_taken_for_known_once_is_tried_anew_when_it_is_refused(tmp_path: Path) -> None:
    """A wrong answer made a board without pulses look like one with them: the next release opens."""

    async def story() -> None:
        async with ours(tmp_path, "tcp") as (one, board, _):
            board.knobs.has_pulse = False
            write = board._write
            board._write = lambda address, value: None if address == FLASH_ON else write(address, value)  # type: ignore[method-assign]
            assert await one.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            board._write = write  # type: ignore[method-assign]
            assert await one.device.release(ENTRY, 5.0) is Answer.ACCEPTED
            assert board.releases == [0]

    asyncio.run(story())


def test_a_keyboard_s_torn_event_does_not_spoil_all_that_follow(tmp_path: Path) -> None:
    """Half an event and a shift that was never let go, then silence: the next code is read as it is."""

    async def story() -> None:
        scanner = SimulatedWedge()
        async with bench("wedge-scanner", scanner.session, tmp_path, idle_timeout_ms=100) as one:
            await one.until_up()
            torn = encode(strokes("A")[0]) + encode(strokes("A")[1]) + encode(strokes("A")[2])[:10]
            await scanner.send(torn)
            await asyncio.sleep(0.3)  # three idle times: the silence is what is tested
            await scanner.scan("code-1")
            await one.until(lambda: bool(one.read))
            assert one.read == [CodeReport(b"code-1", "")]

    asyncio.run(story())


def test_an_osdp_release_without_an_answer_ends_with_its_lifetime(tmp_path: Path) -> None:
    """Its port is closed then: what the kernel still holds would be carried out after its deadline."""

    async def story() -> None:
        async with test_osdp_output.turnstile(tmp_path, tcp=True) as (device, one):
            device.knobs.lose_answer_to = 0x68
            asked_s = time.monotonic()
            assert await one.device.release(ENTRY, 0.2) is Answer.UNKNOWN
            assert time.monotonic() - asked_s < 0.4, "libosdp's own time for an answer is 0.5 s"

    asyncio.run(story())


@pytest.mark.parametrize("secure", [True, False], ids=["secure channel", "plain"])
def test_a_panel_that_begins_anew_is_told_the_inputs_again(tmp_path: Path, secure: bool) -> None:
    """The simulated device, on a line that was never broken: a fire that began meanwhile is known when it is up."""

    async def story() -> None:
        async with test_osdp_output.turnstile(tmp_path, secure=secure) as (device, one):
            device.knobs.silent = True
            await one.down()
            device.inputs[test_osdp_output.FIRE] = 0  # the loop is open
            device.knobs.silent = False
            await one.up(2)
            await one.reported(Emergency(True))

    asyncio.run(story())


def test_a_refused_osdp_release_does_not_go_out_in_the_name_of_the_next_command() -> None:
    """libosdp had it when its time was over, and writes it when the next is ordered: neither goes out so."""
    said: list[bytes] = []
    wire: Any = SimpleNamespace(write=said.append, refuse_to_wait=lambda: None, read=lambda size: b"")
    channel, member = Channel(wire=wire), Member(0, None, lambda heard: None)
    panel = Panel(test_osdp_output._Library(), channel, [member], 0.0)
    test_osdp_output._come(panel, channel)
    release = Order({}, 1.2, lambda: None)
    assert panel.take(member, release)
    panel.step(1.1)
    assert release.submitted
    assert panel.overdue(1.25) == [(member, release)]
    assert panel.take(member, hold := Order({}, time.monotonic() + 5.0, lambda: None))
    channel.write(test_osdp_output._summed(bytes.fromhex("5300000000680005030000")))
    assert said == []
    assert panel.spoilt, "libosdp is to begin anew"
    again = Panel(test_osdp_output._Library(), channel, [member], 2.0)
    assert (again.spoilt, hold.submitted) == (False, False)


def test_one_lost_answer_on_a_line_that_begins_anew_is_no_loss_of_its_device() -> None:
    """Another device joined, and this one answered a moment too late: libosdp asks again before it is called away."""
    heard: list[Any] = []
    channel, member = Channel(), Member(0, None, heard.append)
    test_osdp_output._come(Panel(test_osdp_output._Library(), channel, [member], 0.0), channel)
    heard.clear()
    panel = Panel(test_osdp_output._Library(), channel, [member], 20.0)
    channel.traffic[0].sent_s = 20.01
    panel.step(20.5)
    assert heard == []
    panel.step(20.9)
    assert [each.fault for each in heard] == [DeviceFault.NO_ANSWER]


@pytest.mark.parametrize("at", range(1, 9))
def test_a_thermometer_s_frame_that_broke_off_is_nobody_s_temperature(at: int) -> None:
    """5A5A45 behind an 0E: with the next frame's head its sum is right, and 36.74 would be told of anybody."""
    frame = SimulatedThermometer(celsius=38.2).frame()
    told = Frames(FIVE_A).feed(frame[:at] + frame * 2)
    assert {one.celsius for one in told if one} == {38.2}
    assert Frames(FIVE_A).feed(frame[:at] + frame)[-1:] != [Temperature(36.74, MeasuredAt.FOREHEAD)]


def test_half_a_frame_of_a_thermometer_is_forgotten_before_the_next_one(tmp_path: Path) -> None:
    """Registers: half an answer, and the next a poll later, read as another temperature where the sum holds."""

    whole = SimulatedThermometer("register", celsius=38.2).frame()
    half = bytearray(whole[:-2])
    half[8] = (0x03 - sum(half) - whole[0] + half[8]) & 0xFF  # its own temperature: so that the sum holds
    answers = [bytes(half)]

    async def module(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(64):
            writer.write(answers.pop(0) if answers else whole)

    async def story() -> None:
        async with bench("serial-thermometer", module, tmp_path, protocol="register", poll_ms=200) as one:
            await one.until(lambda: any(isinstance(each, Temperature) for each in one.said))
            assert not answers, "the half one was said"
            told = {each.celsius for each in one.said if isinstance(each, Temperature)}
            assert told == {38.2}

    asyncio.run(story())
