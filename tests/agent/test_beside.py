"""What a far lane has beside reader, scanner and turnstile: voices, lamps, thermometers, and flaps that stand open."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.simulated.light_buzzer import lit
from drivers.simulated.ports import PtyPort, TcpPort
from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.simulated.serial_thermometer import SimulatedThermometer
from drivers.simulated.voice_module import SimulatedVoice
from gate.agent.agent import Agent
from gate.agent.link import Link
from gate.config import load_lane
from gate.tomltable import ConfigError
from tests.agent.far import FarHouse, far_house
from tests.agent.test_hands import OpenAtRest, Scene, command
from tests.station.test_prompting import TRACKS


@dataclass(slots=True)
class Beside:
    far: FarHouse
    voice: SimulatedVoice
    lamps: SimulatedRelayBoard
    thermometer: SimulatedThermometer

    async def shows(self, *lamps: str) -> None:
        await self.far.house.until(lambda: lit(self.lamps) == lamps)


@contextlib.asynccontextmanager
async def beside(folder: Path, with_feed: bool = False) -> AsyncIterator[Beside]:
    voice, lamps, thermometer = SimulatedVoice(), SimulatedRelayBoard(), SimulatedThermometer(celsius=20.0)
    ports = (
        PtyPort(folder / "voice", voice.session),
        TcpPort(lamps.tcp),
        PtyPort(folder / "warm", thermometer.session),
    )
    for port in ports:
        await port.plug()
    drivers = zip(
        ("voice-module", "light-buzzer", "serial-thermometer"),
        ports,
        ("", "", "forehead_to_body_c = 0.5\npoll_ms = 100\n"),
        strict=True,
    )
    more = "\n".join(
        f'[[lane.device]]\ndriver = "{name}"\nport = "{port.spec}"\n{keys}' for name, port, keys in drivers
    )
    async with far_house(folder, more=more, with_feed=with_feed) as far:
        for name in ("voice-module", "light-buzzer", "serial-thermometer"):
            await far.house.until(lambda name=name: far.device(name).up)
        yield Beside(far, voice, lamps, thermometer)
    for port in ports:
        await port.unplug()


def test_a_far_lane_says_and_shows_what_its_sign_does(tmp_path: Path) -> None:
    """Green goes, red does not; cut off the lamp sends people to staff, and goes out when the controller is back."""

    async def story() -> None:
        async with beside(tmp_path) as b:
            house = b.far.house
            await b.shows()
            await house.tap(house.people["green"])
            await b.shows("green")
            await house.until(lambda: b.voice.played == [TRACKS["STATUS_GREEN"]])
            assert (await house.walks()).outcome == "PASSED"
            await b.shows()
            await house.stays(0, house.tap(house.people["red"]))
            await house.until(lambda: b.voice.played[1:] == [TRACKS["STATUS_RED"]])
            await b.shows()
            b.far.wire.cut()
            await b.shows("amber")
            b.far.wire.mend()
            await b.shows()

    asyncio.run(story())


def test_a_fever_is_known_at_a_far_lane_and_stands_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """37.9 degrees at the thermometer of the lane's computer: referred; the number is in no log and no journal."""
    caplog.set_level("DEBUG")

    async def story() -> None:
        async with beside(tmp_path) as b:
            house = b.far.house
            b.thermometer.celsius = 37.93
            asked = len(b.thermometer.asked)
            await house.until(lambda: len(b.thermometer.asked) >= asked + 5)  # over a wire it is known a moment later
            record = await house.stays(0, house.tap(house.people["green"]))
            assert record.circumstances["temperature"] == "HIGH"
            await house.station.handover.written_down()

    asyncio.run(story())
    written = b"".join(each.read_bytes() for each in (tmp_path / "data" / "journal").glob("*.jsonl"))
    assert b"HIGH" in written
    assert b"37.9" not in written
    assert "37.9" not in caplog.text


def test_the_deputys_words_count_while_it_decides(tmp_path: Path) -> None:
    """Cut off with a feed: the lamps are dark for the next passenger, green for the green one."""

    async def story() -> None:
        async with beside(tmp_path, with_feed=True) as b:
            b.far.wire.cut()
            await b.far.decides(True)
            await b.shows()
            await b.far.house.tap(b.far.house.people["green"])
            await b.shows("green")
            assert await b.far.lanes[0].board.wait_release(5)
            await b.far.lanes[0].board.pass_through()
            await b.shows()
            b.far.wire.mend()
            await b.far.decides(False)
            await b.shows()

    asyncio.run(story())


def test_closing_on_a_refusal_holds_no_release_up() -> None:
    """Somebody stands in the walkway: the release that comes meanwhile is done at once; one closes at a time."""

    async def story() -> None:
        scene = Scene()
        scene.turnstile = scene.hands._turnstile = turnstile = OpenAtRest()
        running = asyncio.create_task(scene.hands.run())
        for number, order in enumerate(("refuse", "refuse", "release"), 1):
            scene.hands.take(scene.chief, command(number, order, (7, 100.0)))
        async with asyncio.timeout(5):
            while len(turnstile.done) < 2:
                await asyncio.sleep(0)
        assert [done for done, _ in turnstile.done] == ["refuse", "release"]
        assert not scene.hands.idle
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    asyncio.run(story())


def test_closing_on_a_refusal_is_not_done_late_nor_in_an_alarm_that_was_not_known() -> None:
    """As every command: within its lifetime, and never on people who flee."""

    async def story() -> None:
        scene = Scene()
        scene.turnstile = scene.hands._turnstile = turnstile = OpenAtRest()
        turnstile.clear.set()
        assert await scene.do(command(1, "refuse", (7, 90.0), 4.0)) == ["REFUSED"]
        scene.alarm(True)
        assert await scene.do(command(2, "refuse", (0, 100.0), 4.0)) == ["REFUSED", "REFUSED"]
        assert turnstile.done == []

    asyncio.run(story())


@pytest.mark.parametrize(
    ("station", "lane", "says"),
    [
        ("normally_open = true", "", "cannot close on a refusal"),
        ("", 'profile = "perco-st01"\nhold_coil = 1', "keeps a release for 8 s; make .* 9.25 or more"),
        ("", "passage_wait_s = 3", "keeps a release for 3 s; make .* 4.25 or more"),  # its way there takes time too
    ],
)
def test_what_only_the_agent_knows_of_its_turnstile_is_asked(
    tmp_path: Path, station: str, lane: str, says: str
) -> None:
    """A wait longer than the lane's, or no way to close: the agent is refused, and both files are named."""

    async def story() -> None:
        async with far_house(tmp_path, agents=False, change=lambda text: _add(text, station)) as far:
            path = far.lane_file()
            path.write_text(
                _add(path.read_text().replace("release_within_s = 4.0", "release_within_s = 60.0"), "", lane)
            )
            with pytest.raises(ConfigError, match=says):
                await Agent(load_lane(path), Link(far.wire.address)).run()

    asyncio.run(story())


def test_a_far_turnstile_that_keeps_a_release_itself_is_released(tmp_path: Path) -> None:
    """Its wait is longer than the second in which a cut-off is noticed, and fits into the lane's."""

    async def story() -> None:
        async with far_house(tmp_path, agents=False) as far:
            path = far.lane_file()
            path.write_text(_add(path.read_text(), "", "passage_wait_s = 2.5"))
            agent = asyncio.create_task(Agent(load_lane(path), Link(far.wire.address)).run())
            try:
                await far.works()
                await far.one_more_passes()
            finally:
                agent.cancel()
                await asyncio.gather(agent, return_exceptions=True)

    asyncio.run(story())


def _add(text: str, lane: str, board: str = "") -> str:
    return text.replace('id = "A1"\n', f'id = "A1"\n{lane}\n').replace("release_coil = 0", f"release_coil = 0\n{board}")


def test_two_readers_that_were_swapped_between_far_lanes_are_noticed(tmp_path: Path) -> None:
    """By their own numbers, which their agents carry: the state of the second to come says where it was seen first."""

    async def story() -> None:
        async with far_house(tmp_path, lanes=2) as far:
            one, two = far.lanes
            await one.reader_port.unplug()
            await two.reader_port.unplug()
            await far.house.until(lambda: not far.device("samv").up and not far.device("samv", 1).up)
            one.reader._sam_id, two.reader._sam_id = two.reader._sam_id, one.reader._sam_id
            await one.reader_port.plug()
            await two.reader_port.plug()
            await far.works(0)
            await far.works(1)
            assert "first seen at A2/samv" in far.device("samv").detail
            assert "first seen at A1/samv" in far.device("samv", 1).detail

    asyncio.run(story())
