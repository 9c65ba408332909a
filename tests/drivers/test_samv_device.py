"""The SAM_V reader at work against a simulated one on real ports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import CardReport, Device, DeviceFault, DeviceReport, Down, ReadProblem, Unread, Up, Vitals
from drivers.readers.samv import ask, device
from drivers.readers.samv.ask import Asker
from drivers.readers.samv.codec import Command, StatusWord, appended_address, encode_reply
from drivers.readers.samv.codec import card_text as card_text_of
from drivers.simulated.cards import card_text
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.samv import SERIAL, SamvKnobs, SimulatedSamv, sam_id_data
from drivers.transport import open_link
from drivers.vitals import VitalSigns

FIRST = card_text(" ", number="310105199001010018", valid_from="20200101", valid_until="长期")
SECOND = card_text(" ", number="33010619850203002X", valid_from="20200101", valid_until="长期")

INFO = registry.driver("samv")
TOLD = "05.03-20162091-1234567890-0218893066"  # what the simulated reader says


class Bench:
    """A driver, its simulated device, and what was reported."""

    def __init__(self, reader: SimulatedSamv, port: SimulatedPort) -> None:
        self.reader = reader
        self.port = port
        self.reports: list[DeviceReport] = []

    async def until(self, condition: Callable[[], bool], seconds: float = 8.0) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)

    def of(self, kind: type) -> list[DeviceReport]:
        return [report for report in self.reports if isinstance(report, kind)]

    async def reported(self, kind: type, count: int = 1) -> list[DeviceReport]:
        await self.until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    async def polls(self, count: int) -> None:
        """Wait for `count` more searches: the driver has had its chances."""
        aim = self.reader.finds + count
        await self.until(lambda: self.reader.finds >= aim)


def made(port: SimulatedPort, **settings: object) -> Device:
    """The driver on a port, fast."""
    given = {"port": port.spec, "poll_interval_ms": 50, "same_card_s": 1.0, **settings}
    return registry.create("samv", registry.check_settings(INFO, given))


@contextlib.asynccontextmanager
async def faulty(folder: Path, baud: int = 115200, sam_id: str = "", **knobs: Any) -> AsyncIterator[Bench]:
    """A driver before a reader that misbehaves from the start; nobody waits for it to be up."""
    reader = SimulatedSamv(SamvKnobs(**knobs))
    async with PtyPort(folder / "reader", reader.session) as port:
        reader.port = port
        built = Bench(reader, port)
        running = asyncio.create_task(made(port, baud=baud, sam_id=sam_id).run(built.reports.append))
        try:
            yield built
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


@contextlib.asynccontextmanager
async def bench(folder: Path, tcp: bool = False, **settings: object) -> AsyncIterator[Bench]:
    reader = SimulatedSamv()
    port: SimulatedPort = TcpPort(reader.session) if tcp else PtyPort(folder / "reader", reader.session)
    await port.plug()
    built = Bench(reader, port)
    running = asyncio.create_task(made(port, **settings).run(built.reports.append))
    try:
        await built.reported(Up)
        yield built
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await port.unplug()


@pytest.mark.parametrize("tcp", [False, True], ids=["serial", "serial-to-TCP"])
def test_a_card_is_read_once_however_long_it_rests(tmp_path: Path, tcp: bool) -> None:
    """A reader that answers 9F for a resting card, and one that answers 80: one report each."""

    async def story() -> None:
        for rests_as_found in (True, False):
            async with bench(tmp_path / str(rests_as_found), tcp) as b:
                b.reader.knobs.rests_as_found = rests_as_found
                b.reader.present(FIRST)
                assert await b.reported(CardReport) == [CardReport(FIRST)]
                await b.polls(30)
                assert len(b.of(CardReport)) == 1

    asyncio.run(story())


def test_the_next_persons_card_is_read_at_once(tmp_path: Path) -> None:
    """Another identity is another presentation, even when the reader saw no gap between the two."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.present(FIRST)
            await b.reported(CardReport)
            await b.polls(3)
            b.reader.present(SECOND)
            assert await b.reported(CardReport, 2) == [CardReport(FIRST), CardReport(SECOND)]

    asyncio.run(story())


def test_the_same_card_counts_again_when_it_has_left(tmp_path: Path) -> None:
    """After a second of 80s and the same-card time, the same card is a new presentation."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.present(FIRST)
            await b.reported(CardReport)
            await b.polls(3)
            b.reader.remove()
            await b.polls(25)  # more than a second of searches that find nothing
            b.reader.present(FIRST)
            await b.reported(CardReport, 2)

    asyncio.run(story())


def test_a_card_pulled_away_is_said(tmp_path: Path) -> None:
    """Gone between select and read: present again."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.present(FIRST, pulled_early=True)
            assert await b.reported(Unread) == [Unread(ReadProblem.CARD_REMOVED)]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("command", "status", "problem"),
    [
        (Command.SELECT, StatusWord.SELECT_FAILED, ReadProblem.CARD_REMOVED),
        (Command.READ, StatusWord.READ_FAILED, ReadProblem.CARD_REMOVED),
        (Command.READ, StatusWord.CARD_REFUSED_SAM, ReadProblem.CARD_NOT_AUTHENTIC),
        (Command.READ, StatusWord.SAM_REFUSED_CARD, ReadProblem.CARD_NOT_AUTHENTIC),
        (Command.READ, StatusWord.INFORMATION_VERIFICATION, ReadProblem.CARD_NOT_AUTHENTIC),
        (Command.READ, StatusWord.UNKNOWN_CARD, ReadProblem.CARD_UNKNOWN_TYPE),
        (Command.READ, StatusWord.RANDOM_NUMBER_FAILED, ReadProblem.CARD_UNREADABLE),
        (Command.READ, StatusWord.INFORMATION_LENGTH, ReadProblem.CARD_UNREADABLE),
    ],
)
def test_each_failure_has_its_own_words(
    tmp_path: Path, command: Command, status: StatusWord, problem: ReadProblem
) -> None:
    """Status words become reasons; a card that keeps failing is not said at every poll."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.knobs.force[command] = status
            b.reader.present(FIRST)
            assert await b.reported(Unread) == [Unread(problem)]
            await b.polls(3)
            assert len(b.of(Unread)) == 1
            b.reader.knobs.force.clear()
            await b.reported(CardReport)

    asyncio.run(story())


@pytest.mark.parametrize("tcp", [False, True], ids=["serial", "serial-to-TCP"])
def test_a_pulled_plug_is_said_once_and_the_reader_comes_back(tmp_path: Path, tcp: bool) -> None:
    """Down with its fault, Up when it is there again, and cards are read."""

    async def story() -> None:
        async with bench(tmp_path, tcp) as b:
            await b.port.unplug()
            await b.reported(Down)
            await b.port.plug()
            await b.reported(Up, 2)
            b.reader.present(FIRST)
            await b.reported(CardReport)
            faults = [report.fault for report in b.of(Down) if isinstance(report, Down)]
            assert len(faults) == len(set(faults)), "each change is said once"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (StatusWord.SELF_TEST_FAILED, DeviceFault.SELF_TEST_FAILED),
        (StatusWord.NOT_AUTHORISED, DeviceFault.NOT_AUTHORISED),
    ],
)
def test_a_reader_that_is_broken_says_so(tmp_path: Path, status: StatusWord, fault: DeviceFault) -> None:
    """60 and 66 are faults of the device, not of a card; when it works again, it is up."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.knobs.force = dict.fromkeys((Command.FIND, Command.STATUS), status)
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is fault
            b.reader.knobs.force.clear()
            await b.reported(Up, 2)

    asyncio.run(story())


def test_a_silent_reader_is_down_and_comes_back(tmp_path: Path) -> None:
    """Three commands without an answer: NO_ANSWER; then it answers again."""

    async def story() -> None:
        async with bench(tmp_path, find_timeout_ms=100) as b:
            b.reader.knobs.silent = True
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is DeviceFault.NO_ANSWER
            b.reader.knobs.silent = False
            await b.reported(Up, 2)

    asyncio.run(story())


def test_a_self_test_that_passes_after_a_reset_is_no_fault(tmp_path: Path) -> None:
    """60: reset once, then fault. A reader that is well again after the reset was never down."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.knobs.reset_heals = True
            b.reader.knobs.force[Command.FIND] = StatusWord.SELF_TEST_FAILED
            await b.until(lambda: not b.reader.knobs.force)
            b.reader.present(FIRST)
            assert await b.reported(CardReport) == [CardReport(FIRST)]
            assert b.of(Down) == []

    asyncio.run(story())


def test_a_reader_that_does_not_tell_its_number_reads_cards(tmp_path: Path) -> None:
    """The security module's number is for operators: refused, it is left out."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.knobs.force[Command.SAM_ID] = StatusWord.NOT_PERMITTED
            await b.port.unplug()
            await b.port.plug()
            await b.reported(Up, 2)
            b.reader.present(FIRST)
            await b.reported(CardReport)

    asyncio.run(story())


@pytest.mark.parametrize("what", ["another protocol", "unknown command"])
def test_what_answers_otherwise_is_no_samv_reader(tmp_path: Path, what: str) -> None:
    """Bytes that are no frames, or searches refused for ever: PROTOCOL_ERROR names model and speed, not the cable."""

    async def story() -> None:
        async with bench(tmp_path, find_timeout_ms=100) as b:
            if what == "another protocol":
                b.reader.knobs.babble = bytes.fromhex("02000332 29FFE403".replace(" ", ""))
            else:
                b.reader.knobs.force = dict.fromkeys((Command.FIND, Command.STATUS), StatusWord.COMMAND_PARAMETER)
            assert [r.fault for r in await b.reported(Down) if isinstance(r, Down)] == [DeviceFault.PROTOCOL_ERROR]
            b.reader.knobs.babble = b""
            b.reader.knobs.force.clear()
            await b.reported(Up, 2)

    asyncio.run(story())


def test_every_kind_of_dirty_line_still_reads_the_card(tmp_path: Path) -> None:
    """Byte by byte, noise before, gateway heartbeats, somebody else's late answer: the card is read, once."""

    async def story() -> None:
        for name, value in {
            "chunk": 1,
            "noise_before": bytes.fromhex("AAAAAA9669FFFF00AAAA"),
            "heartbeat": b"\x41\x41\x41\x41",
            "late_reply": encode_reply(StatusWord.CARD_FOUND, bytes(4)),
        }.items():
            async with bench(tmp_path / name) as b:
                setattr(b.reader.knobs, name, value)
                b.reader.present(FIRST)
                assert await b.reported(CardReport) == [CardReport(FIRST)], name

    asyncio.run(story())


def test_a_report_never_shows_what_the_card_holds() -> None:
    """No number and no text in repr or str."""
    report = CardReport(FIRST)
    assert repr(report) == str(report) == "CardReport()"


@pytest.mark.parametrize("flag", [" ", "J", "Y", "I"])
def test_all_four_layouts_are_handed_up_as_they_are(tmp_path: Path, flag: str) -> None:
    """Resident, HMT permit, foreigner 2023 and 2017: 256 bytes each, not interpreted here."""
    text = card_text(flag, number="810000199408230021"[: 15 if flag == "I" else 18])

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.present(text)
            assert await b.reported(CardReport) == [CardReport(text)]

    asyncio.run(story())


@pytest.mark.parametrize("speed", [115200, 57600, 38400, 19200, 9600])
def test_the_speed_of_a_reader_is_found(tmp_path: Path, speed: int) -> None:
    """`baud = 0`: up at any speed of the sheet, within 2 s, and again when it was unplugged."""

    async def story() -> None:
        reader = SimulatedSamv()
        port = PtyPort(tmp_path / "reader", reader.session)
        reader.port, reader.knobs.speed = port, speed
        await port.plug()
        b = Bench(reader, port)
        running = asyncio.create_task(made(port, baud=0).run(b.reports.append))
        await b.until(lambda: bool(b.of(Up)), 2.0)
        assert port.speed == speed
        await port.unplug()
        await b.reported(Down)
        await port.plug()
        await b.until(lambda: len(b.of(Up)) == 2, 2.0)
        b.reader.present(FIRST)
        await b.reported(CardReport)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await port.unplug()

    asyncio.run(story())


def test_a_speed_that_was_set_is_not_left(tmp_path: Path) -> None:
    """A reader at another speed than the settings say is a fault that names the speed; nobody guesses."""

    async def story() -> None:
        async with faulty(tmp_path, baud=115200, speed=9600) as b:
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is DeviceFault.PROTOCOL_ERROR
            assert "speed" in down.detail

    asyncio.run(story())


def test_another_reader_than_the_settings_name_is_a_fault(tmp_path: Path) -> None:
    """Two readers swapped: WRONG_DEVICE names both numbers, no card is read; the right one works, padded or not."""

    async def story() -> None:
        async with faulty(tmp_path / "wrong", sam_id="05.03-20162091-1234567890-0000000001") as b:
            b.reader.present(FIRST)
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is DeviceFault.WRONG_DEVICE
            assert TOLD in down.detail
            assert "0000000001" in down.detail
            assert b.reader.reads == 0
        async with bench(tmp_path / "right", sam_id="5.3-20162091-1234567890-218893066") as b:
            assert b.of(Up) == [Up(f"SAM {TOLD}", TOLD)]

    asyncio.run(story())


def test_a_reader_that_hides_its_number_is_not_the_one_named(tmp_path: Path) -> None:
    """Where a number is demanded, none is not enough."""

    async def story() -> None:
        async with faulty(tmp_path, sam_id=TOLD, force={Command.SAM_ID: StatusWord.NOT_PERMITTED}) as b:
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is DeviceFault.WRONG_DEVICE

    asyncio.run(story())


def test_a_wrong_number_now_and_then_is_not_believed(tmp_path: Path) -> None:
    """Readers were seen to tell a wrong SAM id once (devices.md 1.2, 3): the one told twice counts, else none."""
    wrong, right = sam_id_data(1), sam_id_data(SERIAL)

    async def story() -> None:
        for sam_ids, told in (([wrong, right, right], TOLD), ([wrong, right, sam_id_data(2)], "")):
            async with faulty(tmp_path / str(len(told)), sam_ids=sam_ids) as b:
                assert [report.identity for report in await b.reported(Up) if isinstance(report, Up)] == [told]

    asyncio.run(story())


def test_a_wrong_number_in_the_settings_is_refused() -> None:
    """Before anything is opened, by the setting's name."""
    with pytest.raises(registry.SettingError) as caught:
        registry.create("samv", registry.check_settings(INFO, {"port": "x", "sam_id": "reader 5"}))
    assert caught.value.key == "sam_id"


def test_a_command_that_arrived_garbled_is_sent_again_once(tmp_path: Path) -> None:
    """10, command checksum error: one more try, then it is no answer."""

    async def story() -> None:
        async with bench(tmp_path, find_timeout_ms=100) as b:
            b.reader.asked.clear()
            b.reader.knobs.force[Command.FIND] = StatusWord.COMMAND_CHECKSUM
            await b.reported(Down)
            finds = b.reader.asked.count(Command.FIND)
            assert finds in (6, 7)  # three tries of two; a seventh was on its way when the fault began
            b.reader.knobs.force.clear()
            await b.reported(Up, 2)

    asyncio.run(story())


@pytest.mark.parametrize("silent_reset", [False, True])
def test_a_broken_reader_is_reset_once_and_not_for_ever(tmp_path: Path, silent_reset: bool) -> None:
    """60 for good, the reset answered or not: SELF_TEST_FAILED, and one reset in ten attempts to open it."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.asked.clear()
            b.reader.knobs.unanswered = frozenset({Command.RESET} if silent_reset else ())
            b.reader.knobs.force = dict.fromkeys((Command.FIND, Command.STATUS), StatusWord.SELF_TEST_FAILED)
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is DeviceFault.SELF_TEST_FAILED
            await b.until(lambda: b.reader.asked.count(Command.STATUS) >= 10)
            assert b.reader.asked.count(Command.RESET) == 1
            b.reader.knobs.force.clear()
            await b.reported(Up, 2)

    asyncio.run(story())


def test_an_idle_reader_is_asked_for_its_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every 30 s (here 0.2): a reader that still searches, but says 66 of itself, is found out."""
    assert device.STATUS_EVERY_S == 30.0
    monkeypatch.setattr(device, "STATUS_EVERY_S", 0.2)

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.knobs.force[Command.STATUS] = StatusWord.NOT_AUTHORISED
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is DeviceFault.NOT_AUTHORISED

    asyncio.run(story())


@pytest.mark.parametrize(
    ("babble", "says"),
    [("AAAAAA966900040000906C", "complement of the sum"), ("0200033229FFE403", "reads numbers only")],
)
def test_another_dialect_is_named(tmp_path: Path, babble: str, says: str) -> None:
    """What speaks otherwise is a PROTOCOL_ERROR that says which protocol it is, without a byte of it."""

    async def story() -> None:
        async with bench(tmp_path, find_timeout_ms=100) as b:
            b.reader.knobs.babble = bytes.fromhex(babble)
            down = (await b.reported(Down))[0]
            assert isinstance(down, Down)
            assert down.fault is DeviceFault.PROTOCOL_ERROR
            assert says in down.detail
            assert babble not in down.detail

    asyncio.run(story())


@pytest.mark.parametrize("after", ["00", "0000"])
def test_stray_zeros_after_every_reply_cost_nothing(tmp_path: Path, after: str) -> None:
    """The next answer is not spoilt by them."""

    async def story() -> None:
        async with bench(tmp_path) as b:
            b.reader.knobs.after = bytes.fromhex(after)
            b.reader.present(FIRST)
            assert await b.reported(CardReport) == [CardReport(FIRST)]
            assert b.of(Down) == []

    asyncio.run(story())


def test_a_reply_that_is_garbled_once_costs_one_try(tmp_path: Path) -> None:
    """Len high byte altered in the find's reply: no card lost, no fault."""

    async def story() -> None:
        async with bench(tmp_path, find_timeout_ms=200) as b:
            good = encode_reply(StatusWord.CARD_FOUND, bytes(4))
            b.reader.knobs.babble = good[:5] + b"\x09" + good[6:]
            await b.polls(1)
            b.reader.knobs.babble = b""
            b.reader.present(FIRST)
            assert await b.reported(CardReport) == [CardReport(FIRST)]
            assert b.of(Down) == []

    asyncio.run(story())


def test_how_it_does_is_said_once_a_second(tmp_path: Path) -> None:
    """Times of answered commands and what failed, of a working reader; never more often than once a second."""

    async def story() -> None:
        async with bench(tmp_path, find_timeout_ms=100) as b:
            loop = asyncio.get_running_loop()
            b.reader.knobs.silent = True
            b.reader.asked.clear()
            await b.until(lambda: len(b.reader.asked) >= 1)
            b.reader.knobs.silent = False
            first = (await b.reported(Vitals))[0]
            started_s = loop.time()
            await b.reported(Vitals, 2)
            assert loop.time() - started_s > 0.9
            assert isinstance(first, Vitals)
            assert len(first.took_s) > 3
            assert all(0.005 <= took_s < 0.1 for took_s in first.took_s)  # the simulated reader takes 5 ms
            assert DeviceFault.NO_ANSWER in first.errors

    asyncio.run(story())


@pytest.mark.parametrize("size", [0, 512, 1024])
def test_commands_that_the_driver_never_sends_work_on_a_port(tmp_path: Path, size: int) -> None:
    """30 10 with any fingerprint, 30 03 with an address and without: asked by hand, as a tool would."""

    async def story() -> None:
        reader = SimulatedSamv()
        reader.knobs.fingerprint_bytes = size
        reader.present(FIRST)
        async with PtyPort(tmp_path / "reader", reader.session) as port:
            link = await open_link(port.spec)
            asker = Asker(VitalSigns())
            reply = await asker.ask(link, Command.READ_FINGERPRINT, 3.0)
            assert (card_text_of(Command.READ_FINGERPRINT, reply), len(reply.data)) == (FIRST, 6 + 256 + 1024 + size)
            assert appended_address(await asker.ask(link, Command.READ_ADDRESS, 2.0)) is None
            reader.knobs.address = "新地址".ljust(35).encode("utf-16-le")
            assert appended_address(await asker.ask(link, Command.READ_ADDRESS, 2.0)) == reader.knobs.address
            link.close()

    asyncio.run(story())
    assert Command.READ_ADDRESS not in device_commands()


def device_commands() -> set[Command]:
    """What the driver's own code asks."""
    source = Path(device.__file__).read_text() + Path(ask.__file__).read_text()
    return {command for command in Command if f"Command.{command.name}" in source}
