"""The turnstile on an OSDP device against libosdp's own peripheral side: releases, inputs, nothing late or twice."""

import asyncio
import contextlib
import os
import pty
import time
import tty
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import osdp
import pytest

from drivers.contract import Answer, DeviceFault, Direction, Down, Emergency, Passed, Ready, Up
from drivers.readers.osdp.line import Channel, Order
from drivers.readers.osdp.panel import ANSWER_S, Member, Panel
from drivers.simulated.osdp import SimulatedOsdp
from drivers.simulated.osdp_output import FIRE, PASSED, pass_through
from drivers.simulated.ports import PtyPort, TcpPort
from drivers.simulated.wire import WireFaults, through
from tests.drivers.osdp import KEY, Bench, PtyEnd, driven, key_file, shared_line

# What `proved_by` of its driver.toml rests on: osdp.PeripheralDevice in its own thread.
PROVES = [("osdp-output", "libosdp PD")]
WIRED: dict[str, object] = {"passed_input": PASSED, "passed_exit_input": 1, "fire_input": FIRE, "ready_input": 5}
OUT = 0x68


@contextlib.asynccontextmanager
async def turnstile(
    tmp_path: Path, secure: bool = True, tcp: bool = False, **settings: object
) -> AsyncIterator[tuple[SimulatedOsdp, Bench]]:
    """A turnstile at work: fire loop closed, ready."""
    device = SimulatedOsdp(key=KEY if secure else None)
    device.inputs[FIRE] = device.inputs[5] = 1
    given: dict[str, object] = {**WIRED, **settings}
    given |= {"scbk_file": key_file(tmp_path)} if secure else {}
    port = TcpPort(device.session) if tcp else PtyPort(tmp_path / "port", device.session)
    async with port, driven(port.spec, "osdp-output", **given) as bench:
        await bench.up()
        yield device, bench


@pytest.mark.parametrize("secure", [True, False], ids=["secure channel", "plain"])
def test_a_release_is_a_pulse_that_the_device_ends(tmp_path: Path, secure: bool) -> None:
    """Code 5 with the timer, once, in both directions; `sent` is called when it goes out; the walk is reported."""

    async def story() -> None:
        async with turnstile(tmp_path, secure, release_exit_output=3, pulse_ms=500) as (device, bench):
            sent: list[str] = []
            assert await bench.device.release(Direction.ENTRY, 2.0, lambda: sent.append("sent")) is Answer.ACCEPTED
            assert await bench.device.release(Direction.EXIT, 2.0) is Answer.ACCEPTED
            assert device.outputs == [(0, 5, 5), (3, 5, 5)]
            await bench.until(lambda: sent == ["sent"])
            await pass_through(device)
            await bench.reported(Passed(Direction.ENTRY))
            device.set_input(1, active=True)
            await bench.reported(Passed(Direction.EXIT))
            assert bench.reports.count(Passed(Direction.ENTRY)) == 1

    asyncio.run(story())


def test_libosdps_own_device_opens_once_for_a_release_and_tells_who_passed(tmp_path: Path) -> None:
    """osdp.PeripheralDevice in its own thread, across a pty: the command as it was meant, inputs as they were told."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(master, False)
    info = osdp.PDInfo(4, PtyEnd(master), scbk=KEY, flags=[osdp.LibFlag.EnforceSecure])
    able = [(osdp.Capability.OutputControl, 1, 2), (osdp.Capability.ContactStatusMonitoring, 1, 2)]
    able.append((osdp.Capability.CommunicationSecurity, 1, 1))
    device = osdp.PeripheralDevice(info, osdp.PDCapabilities(able), log_level=osdp.LogLevel.Emergency)
    device.start()

    def tell(*levels: int) -> None:
        report = {"event": osdp.Event.Status, "type": osdp.StatusReportType.Input, "report": bytes(levels)}
        device.submit_event(report)

    async def story() -> None:
        given: dict[str, object] = {"passed_input": 0, "fire_input": 1, "unit": 4, "scbk_file": key_file(tmp_path)}
        tell(0, 1)
        async with driven(os.ttyname(slave), "osdp-output", **given) as bench:
            await bench.up()
            assert await bench.device.release(Direction.ENTRY, 2.0) is Answer.ACCEPTED
            tell(1, 1)
            await bench.reported(Passed(Direction.ENTRY))
            tell(0, 0)
            await bench.reported(Emergency(True))

    try:
        asyncio.run(story())
        asked = [device.get_command(timeout=-1) for _ in range(device.command_queue.qsize())]
        outputs = [one for one in asked if one["command"] == osdp.Command.Output]
        assert outputs == [{"command": osdp.Command.Output, "output_no": 0, "control_code": 5, "timer_count": 3}]
    finally:
        device.teardown()
        os.close(master)
        os.close(slave)


def test_it_is_back_with_its_inputs_after_a_line_that_swaps_answers(tmp_path: Path) -> None:
    """Up within 2 s of a good line, again and again, though the device does not answer the question for its inputs."""

    async def story() -> None:
        cable, device = WireFaults(), SimulatedOsdp()
        device.inputs[FIRE] = device.inputs[5] = 1
        port = TcpPort(through(device.session, cable))
        async with port, driven(port.spec, "osdp-output", **WIRED) as bench:
            await bench.up()
            for number in range(1, 4):
                cable.wrong_answer = True
                await bench.down(number)
                cable.wrong_answer = False
                await bench.up(number + 1, 2.0)
                assert await bench.device.release(Direction.ENTRY, 2.0) is Answer.ACCEPTED

    asyncio.run(story())


def test_only_a_refusal_ends_the_question_for_the_inputs() -> None:
    """A spoilt answer is none: it is asked again, and again after the device was away; after a NAK it is not."""
    library = _Library()
    member = Member(0, None, lambda heard: None, wants_inputs=True)
    channel = Channel()
    panel = Panel(library, channel, [member], 0.0)
    _come(panel, channel)
    assert len(library.questions) == 1
    library.complete(library.CMD_STATUS, library.COMPLETION_FAILED)
    panel.step(1.1)
    panel.step(1.2)
    assert len(library.questions) == 2
    channel.traffic[0].nak_s = time.monotonic()
    library.complete(library.CMD_STATUS, library.COMPLETION_FAILED)
    panel.step(1.4)
    panel.step(1.5)
    assert len(library.questions) == 2


class _Library:
    """As much of libosdp's panel as the question for inputs needs: its own device side cannot answer that question."""

    LOG_EMERG, CMD_STATUS, CMD_OUTPUT, CMD_LED, STATUS_REPORT_INPUT, EVENT_CARDREAD, EVENT_STATUS = range(7)
    COMPLETION_OK, COMPLETION_FAILED = 0, 1

    def __init__(self) -> None:
        self.questions: list[Any] = []

    def ControlPanel(self, infos: list[Any]) -> "_Library":  # noqa: N802 - libosdp's own name
        return self

    def set_event_callback(self, call: Any) -> None:
        pass

    def set_command_completion_callback(self, call: Any) -> None:
        self._completed = call

    def complete(self, command: int, status: int) -> None:
        self._completed(0, {"command": command}, status)

    def refresh(self) -> None:
        pass

    def status(self) -> int:
        return 1

    sc_status = status

    def get_pd_id(self, index: int) -> dict[str, int]:
        return dict.fromkeys(("vendor_code", "model", "serial_number"), 0)

    def submit_command(self, index: int, question: Any) -> bool:
        self.questions.append(question)
        return True


def _come(panel: Panel, channel: Channel) -> None:
    """The device answers a poll, and goes on answering."""
    channel.traffic[0].polled_s = 0.9
    channel.traffic[0].heard_s = 10.0
    panel.step(1.0)
    panel.step(1.05)


def test_thirty_releases_are_carried_out_once_each(tmp_path: Path) -> None:
    """devices.md 4.3: 30 of 30; and each is answered within a tick of the line, not of its poll."""

    async def story() -> None:
        async with turnstile(tmp_path) as (device, bench):
            took_s = []
            for _ in range(30):
                started_s = time.monotonic()
                assert await bench.device.release(Direction.ENTRY, 2.0) is Answer.ACCEPTED
                took_s.append(time.monotonic() - started_s)
            assert len(device.outputs) == 30
            assert sorted(took_s)[15] < 0.05, took_s

    asyncio.run(story())


def test_states_are_told_when_it_comes_and_when_they_change(tmp_path: Path) -> None:
    """Ready with `Up`; fire when the loop opens (loss of the signal), and its end."""

    async def story() -> None:
        async with turnstile(tmp_path) as (device, bench):
            assert bench.reports[:1] == [Ready(True)]
            assert isinstance(bench.reports[1], Up)
            device.set_input(FIRE, active=False)
            await bench.reported(Emergency(True))
            device.set_input(FIRE, active=True)
            await bench.reported(Emergency(False))
            device.set_input(5, active=False)
            await bench.reported(Ready(False))

    asyncio.run(story())


def test_nothing_is_closed_while_it_burns(tmp_path: Path) -> None:
    """`end_hold` is refused and sends nothing; before and after, holding goes on and off."""

    async def story() -> None:
        async with turnstile(tmp_path, hold_output=2) as (device, bench):
            assert await bench.device.hold_open() is Answer.ACCEPTED
            assert device.held == {2}
            device.set_input(FIRE, active=False)
            await bench.reported(Emergency(True))
            count = len(device.outputs)
            assert await bench.device.end_hold() is Answer.REFUSED
            assert device.held == {2}
            assert len(device.outputs) == count
            device.set_input(FIRE, active=True)
            await bench.reported(Emergency(False))
            assert await bench.device.end_hold() is Answer.ACCEPTED
            assert device.held == set()

    asyncio.run(story())


@pytest.mark.parametrize("tcp", [False, True], ids=["pty", "tcp"])
def test_a_release_whose_answer_was_lost_is_unknown_and_never_sent_again(tmp_path: Path, tcp: bool) -> None:
    """The device opened once; libosdp's repetitions do not go out; it works again within 2 s."""

    async def story() -> None:
        async with turnstile(tmp_path, tcp=tcp) as (device, bench):
            device.knobs.lose_answer_to = OUT
            assert await bench.device.release(Direction.ENTRY, 2.0) is Answer.UNKNOWN
            device.knobs.lose_answer_to = -1
            await asyncio.sleep(1.5)  # libosdp would repeat it after 0.3 and 1.3 s
            assert len(device.outputs) == 1
            async with asyncio.timeout(2.0):
                while await bench.device.release(Direction.ENTRY, 1.0) is not Answer.ACCEPTED:
                    await asyncio.sleep(0.02)
            assert len(device.outputs) == 2

    asyncio.run(story())


def test_a_release_into_a_dead_device_is_not_carried_out_when_it_is_back(tmp_path: Path) -> None:
    """Power gone before the release; the answer is not ACCEPTED, and the device that returns never opens."""

    async def story() -> None:
        async with turnstile(tmp_path) as (device, bench):
            device.knobs.silent = True
            answer = await bench.device.release(Direction.ENTRY, 1.0)
            assert answer in (Answer.UNKNOWN, Answer.REFUSED)
            device.knobs.silent = False
            device.restart()
            await bench.until(lambda: device.online, 2.0)
            await asyncio.sleep(1.0)  # whatever was kept back would go out with the next poll, 50 ms later
            assert device.outputs == []
            assert await bench.device.release(Direction.ENTRY, 1.0) is Answer.ACCEPTED

    asyncio.run(story())


def test_a_release_whose_time_is_over_is_refused(tmp_path: Path) -> None:
    """With no time at all nothing goes out; a device that is down takes none; and answers come in time."""

    async def story() -> None:
        async with turnstile(tmp_path) as (device, bench):
            assert await bench.device.release(Direction.ENTRY, 0.0) is Answer.REFUSED
            device.knobs.silent = True
            await bench.down()
            started_s = time.monotonic()
            assert await bench.device.release(Direction.ENTRY, 5.0) is Answer.REFUSED
            assert time.monotonic() - started_s < ANSWER_S
            assert device.outputs == []

    asyncio.run(story())


def test_a_device_that_does_not_tell_its_inputs_is_not_up() -> None:
    """A map that names an input which is not there: PROTOCOL_ERROR, and no release is taken."""

    async def story() -> None:
        device = SimulatedOsdp()
        async with TcpPort(device.session) as port, driven(port.spec, "osdp-output", fire_input=200) as bench:
            down = await bench.down()
            assert down.fault is DeviceFault.PROTOCOL_ERROR
            assert "input" in down.detail
            assert await bench.device.release(Direction.ENTRY, 1.0) is Answer.REFUSED

    asyncio.run(story())


def test_power_lost_and_back_tells_states_and_no_passage(tmp_path: Path) -> None:
    """A passage input that is active when the device returns is nobody who went through."""

    async def story() -> None:
        async with turnstile(tmp_path) as (device, bench):
            device.knobs.silent = True
            await bench.down()
            device.inputs[PASSED] = 1
            device.knobs.silent = False
            device.restart()
            await bench.up(2, 2.0)
            assert Passed(Direction.ENTRY) not in bench.reports
            assert [type(state) for state in bench.states] == [Up, Down, Up]

    asyncio.run(story())


def test_a_reader_and_a_turnstile_share_a_line(tmp_path: Path) -> None:
    """Two drivers, one port: both work, and a dead reader does not stop the turnstile."""

    async def story() -> None:
        reader, gate = SimulatedOsdp(1), SimulatedOsdp(2)
        async with (
            PtyPort(tmp_path / "port", shared_line(reader, gate)) as port,
            driven(port.spec, "osdp", unit=1) as cards,
            driven(port.spec, "osdp-output", unit=2) as lane,
        ):
            await cards.up()
            await lane.up()
            reader.knobs.silent = True
            await cards.down()
            for _ in range(5):
                assert await lane.device.release(Direction.ENTRY, 1.0) is Answer.ACCEPTED
            assert len(gate.outputs) == 5

    asyncio.run(story())


def test_an_order_goes_out_once_and_never_late() -> None:
    """Not twice, not after its time, not after it was given up; and the channel lets no output out without one."""
    calls: list[str] = []
    order = Order({}, ends_s=10.0, sent=lambda: calls.append("sent"))
    assert order.start(9.9)
    assert not order.start(9.9)
    assert not order.kill()
    assert not Order({}, 10.0, lambda: calls.append("late")).start(10.0)
    given_up = Order({}, 10.0, lambda: calls.append("given up"))
    assert given_up.kill()
    assert not given_up.start(9.0)
    assert calls == ["sent"]


def test_the_channel_lets_no_output_out_without_an_order() -> None:
    """A frame with code 68 is thrown away, a poll goes out."""
    written: list[bytes] = []

    class _Wire:
        def refuse_to_wait(self) -> None:
            pass

        def write(self, data: bytes) -> None:
            written.append(data)

    out, poll = (_summed(bytes.fromhex(text)) for text in ("5300000000680005030000", "530000000060"))
    channel = Channel(wire=_Wire())  # type: ignore[arg-type] # all that it is asked for
    assert channel.write(out) == len(out)
    assert written == []
    assert channel.write(poll) == len(poll)
    channel.orders[0] = Order({}, time.monotonic() + 60.0, lambda: None)
    channel.write(out)
    assert written == [poll], "the one that libosdp wanted to send before is not this one's"
    channel.swallowed.clear()  # as a panel does that begins anew
    channel.write(out)
    channel.write(out)
    assert written == [poll, out]


def _summed(frame: bytes) -> bytes:
    """`frame` with its checksum of one byte, and with its length."""
    frame = frame[:2] + (len(frame) + 1).to_bytes(2, "little") + frame[4:]
    return frame + bytes([-sum(frame) & 0xFF])
