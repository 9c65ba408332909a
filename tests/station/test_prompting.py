"""Voices, lamps and thermometers of a running station: what they do to a passage, and what they cannot do to it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import MeasuredAt, Temperature
from drivers.prompts.voice.device import VoiceModule
from drivers.simulated.light_buzzer import lit
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.simulated.serial_thermometer import SimulatedThermometer
from drivers.simulated.voice_module import SimulatedVoice
from gate.cli.prompts import lines
from gate.moment import Moment
from gate.passage.commands import Direction
from gate.policy.question import Warmth
from gate.station.chain import read_lines
from gate.station.thermometry import Thermometry
from tests.policy.making import rule_set, rule_text
from tests.support.house import House, house

TRACKS = {line.reason: line.track for line in lines(["en"])}


@dataclass(slots=True)
class Equipped:
    """A station's lane with everything beside what a passage needs."""

    h: House
    voice: SimulatedVoice
    voice_port: SimulatedPort
    board: SimulatedRelayBoard
    thermometer: SimulatedThermometer

    async def measured(self) -> None:
        """The thermometer has told the station what it measures now: two questions later even the second answer."""
        asked = len(self.thermometer.asked)
        await self.h.until(lambda: len(self.thermometer.asked) >= asked + 3)

    def up(self, device: str) -> bool:
        return self.h.metric("gate_device_up", lane="A1", device=device) == 1


@contextlib.asynccontextmanager
async def equipped(folder: Path) -> AsyncIterator[Equipped]:
    voice, board, thermometer = SimulatedVoice(), SimulatedRelayBoard(), SimulatedThermometer(celsius=20.0)
    ports = [
        PtyPort(folder / "voice", voice.session),
        TcpPort(board.tcp),
        PtyPort(folder / "warm", thermometer.session),
    ]
    for port in ports:
        await port.plug()

    def change(text: str) -> str:
        drivers = (
            ("voice-module", ports[0], ""),
            ("light-buzzer", ports[1], ""),
            ("serial-thermometer", ports[2], "forehead_to_body_c = 0.5\npoll_ms = 100\n"),
        )
        more = [f'[[lane.device]]\ndriver = "{name}"\nport = "{port.spec}"\n{keys}' for name, port, keys in drivers]
        return "\n".join([text, *more])

    async with house(folder, change=change) as h:
        made = Equipped(h, voice, ports[0], board, thermometer)
        await h.until(lambda: all(map(made.up, ("voice-module", "light-buzzer", "serial-thermometer"))))
        yield made
    for port in ports:
        await port.unplug()


def test_a_lane_says_and_shows_what_its_sign_does(tmp_path: Path) -> None:
    """Green goes: green lamp, its track. Red does not: red lamp and its own track. After each the lamps are dark."""

    async def story() -> None:
        async with equipped(tmp_path) as e:
            await e.h.until(lambda: lit(e.board) == ())
            await e.h.tap(e.h.people["green"])
            await e.h.until(lambda: lit(e.board) == ("green",))
            await e.h.until(lambda: e.voice.played == [TRACKS["STATUS_GREEN"]])
            assert (await e.h.walks()).outcome == "PASSED"
            await e.h.until(lambda: lit(e.board) == ())
            await e.h.stays(0, e.h.tap(e.h.people["red"]))
            await e.h.until(lambda: e.voice.played[1:] == [TRACKS["STATUS_RED"]])
            await e.h.until(lambda: "red" in lit(e.board))
            assert "green" not in lit(e.board)
            await e.h.until(lambda: lit(e.board) == ())

    asyncio.run(story())


def test_a_broken_voice_costs_no_passage_and_shows_in_the_metrics(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Unplugged it is down and nothing else is; a driver that raises is said once; people pass, the lane works."""

    def broken(*_: object) -> None:
        raise RuntimeError("19900101")

    async def story() -> None:
        async with equipped(tmp_path) as e:
            await e.voice_port.unplug()
            await e.h.until(lambda: not e.up("voice-module"))
            state = e.h.station.lane("A1")
            assert state.works
            assert state.degraded == ()
            monkeypatch.setattr(VoiceModule, "say", broken)
            for name in ("green", "second"):
                await e.h.tap(e.h.people[name])
                assert (await e.h.walks()).outcome == "PASSED"

    asyncio.run(story())
    assert caplog.text.count("prompt 1 failed: RuntimeError") == 1
    assert "19900101" not in caplog.text


def test_a_fever_sends_a_green_to_staff_and_no_number_is_written_down(tmp_path: Path) -> None:
    """37.8 at the lane: REFER TEMPERATURE_HIGH, and it is not forgotten; 36.5: passes. The journal has words only."""

    async def story() -> None:
        async with equipped(tmp_path) as e:
            e.thermometer.celsius = 37.3  # of the forehead, half a degree below the body's
            await e.measured()
            record = await e.h.stays(0, e.h.tap(e.h.people["green"]))
            assert (record.verdict, record.reason, record.rule_id) == ("REFER", "TEMPERATURE_HIGH", "common/fever")
            assert record.circumstances["temperature"] == "HIGH"
            e.thermometer.celsius = 20.0  # the forehead turns away
            await e.measured()
            assert e.h.station._lanes["A1"]._warmth._newest, "who was not let go shed their fever by turning away"
            e.thermometer.celsius = 36.0
            await e.measured()
            await e.h.tap(e.h.people["second"])  # the reader does not say a card twice that was just read
            record = await e.h.walks()
            assert (record.outcome, record.circumstances["temperature"]) == ("PASSED", "NORMAL")

    asyncio.run(story())
    passages = [line for line in read_lines(tmp_path / "data" / "journal") if line["event"] == "passage"]
    assert [line["circumstances"]["temperature"] for line in passages] == ["HIGH", "NORMAL"]
    # Times are texts and durations whole microseconds: a fraction could only be what was measured.
    assert not [value for line in passages for value in _values(line) if isinstance(value, float)]


def _values(value: Any) -> Iterator[Any]:
    """Every value in it, however deep, that holds no others."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else None
    if parts is None:
        yield value
        return
    for part in parts:
        yield from _values(part)


# --- whose temperature it is -----------------------------------------------------------------------------------------

TERMS = rule_set(rule_text()).terms[0]
ENTRY, EXIT = Direction.ENTRY, Direction.EXIT
FEVER = Temperature(38.0, MeasuredAt.BODY)
WELL = Temperature(36.5, MeasuredAt.BODY)


def at(mono_s: float) -> Moment:
    return Moment(1_590_000_000.0 + mono_s, mono_s)


def test_a_temperature_belongs_to_who_stands_there_now() -> None:
    """The newest of that side, for three seconds; the other side's, an older one, and none are not known."""
    warm = Thermometry()
    assert warm.of_who_is_at(ENTRY, at(0), TERMS) is Warmth.UNKNOWN
    warm.measured(FEVER, ENTRY, at(1))
    assert warm.of_who_is_at(ENTRY, at(4), TERMS) is Warmth.HIGH
    assert warm.of_who_is_at(EXIT, at(4), TERMS) is Warmth.UNKNOWN
    assert warm.of_who_is_at(ENTRY, at(4.01), TERMS) is Warmth.UNKNOWN
    assert warm.of_who_is_at(ENTRY, at(2), None) is Warmth.UNKNOWN
    warm.measured(WELL, ENTRY, at(5))
    assert warm.of_who_is_at(ENTRY, at(5), TERMS) is Warmth.NORMAL


def test_whoever_was_let_go_takes_their_temperature_along() -> None:
    """The next passenger is not taken for them; on the other side nothing changes."""
    warm = Thermometry()
    warm.measured(FEVER, ENTRY, at(1))
    warm.measured(WELL, EXIT, at(1))
    warm.let_go(EXIT)
    assert warm.of_who_is_at(EXIT, at(1.1), TERMS) is Warmth.UNKNOWN
    assert warm.of_who_is_at(ENTRY, at(1.1), TERMS) is Warmth.HIGH


def test_no_temperature_is_printed() -> None:
    """It is health data: neither the report nor what holds it shows the number."""
    warm = Thermometry()
    warm.measured(Temperature(38.25), ENTRY, at(1))
    assert "38." not in f"{Temperature(38.25)!r}{Temperature(38.25)} {next(iter(warm._newest.values()))!r}"
