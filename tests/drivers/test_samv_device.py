"""The SAM_V reader at work against a simulated one on real ports."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import CardReport, DeviceFault, DeviceReport, Down, ReadProblem, Unread, Up
from drivers.readers.samv.codec import Command, StatusWord, encode_reply
from drivers.simulated.cards import card_text
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.samv import SimulatedSamv

FIRST = card_text(" ", number="310105199001010018", valid_from="20200101", valid_until="长期")
SECOND = card_text(" ", number="33010619850203002X", valid_from="20200101", valid_until="长期")


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


@contextlib.asynccontextmanager
async def bench(folder: Path, tcp: bool = False, **settings: object) -> AsyncIterator[Bench]:
    reader = SimulatedSamv()
    port: SimulatedPort = TcpPort(reader.session) if tcp else PtyPort(folder / "reader", reader.session)
    await port.plug()
    given = {"port": port.spec, "poll_interval_ms": 50, "same_card_s": 1.0, **settings}
    device = registry.create("samv", registry.check_settings(registry.driver("samv"), given))
    built = Bench(reader, port)
    running = asyncio.create_task(device.run(built.reports.append))
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
