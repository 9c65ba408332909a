"""Lamps and voices of a two-way lane: what is said to the person on one side is not said to the other."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from drivers.contract import Sign
from drivers.simulated.light_buzzer import lit
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.simulated.voice_module import SimulatedVoice
from gate.cli.prompts import lines
from gate.moment import Moment
from gate.passage import events
from gate.passage.commands import Direction, Say, Show
from gate.policy.verdict import Reason, VerdictKind
from gate.station.prompting import Prompts
from tests.support.house import house

TRACKS = {line.reason: line.track for line in lines(["en"])}
ENTRY, EXIT = Direction.ENTRY, Direction.EXIT


class Told:
    """A prompt that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.sign = Sign.READY

    async def run(self, report: object) -> None:
        await asyncio.Event().wait()

    def say(self, reason: str) -> None:
        self.said.append(reason)

    def show(self, sign: Sign) -> None:
        self.sign = sign


def signs(told: Sequence[Told]) -> list[Sign]:
    return [each.sign for each in told]


def test_each_side_is_told_what_concerns_it() -> None:
    """A green entry and an exit that waits: the shared lamp is the walker's; who waits is told when."""
    told = entry, exit_, both = Told(), Told(), Told()
    prompts = Prompts("A1", [(entry, ENTRY), (exit_, EXIT), (both, None)])
    prompts.show(Show(VerdictKind.GRANT, Reason.STATUS_GREEN, to=ENTRY))
    prompts.say(Say(Reason.STATUS_GREEN, to=ENTRY))
    assert signs(told) == [Sign.GO, Sign.READY, Sign.GO]
    prompts.show(Show(VerdictKind.REFER, Reason.LANE_BUSY, side=EXIT))
    prompts.say(Say(Reason.LANE_BUSY, side=EXIT))
    assert signs(told) == [Sign.GO, Sign.STAFF, Sign.GO]
    prompts.show(Show(None, None))  # the first has passed, the next behind them is still being checked
    assert signs(told) == [Sign.READY, Sign.STAFF, Sign.READY]
    prompts.show(Show(None, None, side=EXIT))
    assert signs(told) == [Sign.READY] * 3
    assert [each.said for each in told] == [["STATUS_GREEN"], ["LANE_BUSY"], ["STATUS_GREEN", "LANE_BUSY"]]


@pytest.mark.parametrize("reason", [Reason.EMERGENCY_OPEN, Reason.LANE_CLOSED])
def test_what_concerns_everybody_is_told_on_both_sides(reason: Reason) -> None:
    """Also to a side that was told to wait."""
    told = Told(), Told()
    prompts = Prompts("A1", [(told[0], ENTRY), (told[1], EXIT)])
    prompts.show(Show(VerdictKind.REFER, Reason.LANE_BUSY, side=EXIT))
    prompts.show(Show(VerdictKind.GRANT, reason))
    prompts.say(Say(reason))
    assert signs(told) == [Sign.GO, Sign.GO]
    assert [each.said for each in told] == [[reason], [reason]]


def test_a_two_way_lane_lights_and_speaks_on_the_side_it_serves(tmp_path: Path) -> None:
    """A card at the entry: green and words there alone; at the exit, meanwhile, amber and "please wait"."""

    async def story() -> None:
        voices, boards = [SimulatedVoice(), SimulatedVoice()], [SimulatedRelayBoard(), SimulatedRelayBoard()]
        ports: list[SimulatedPort] = [PtyPort(tmp_path / f"voice{n}", voice.session) for n, voice in enumerate(voices)]
        ports += [TcpPort(board.tcp) for board in boards]
        for port in ports:
            await port.plug()

        def change(text: str) -> str:
            rows = zip(("voice-module", "voice-module", "light-buzzer", "light-buzzer"), ports, strict=True)
            more = [
                f'[[lane.device]]\ndriver = "{name}"\nport = "{port.spec}"\nside = "{("entry", "exit")[number % 2]}"\n'
                for number, (name, port) in enumerate(rows)
            ]
            return "\n".join([text.replace('direction = "entry"', 'direction = "both"'), *more])

        async with house(tmp_path, change=change) as h:
            names = ("voice-module", "voice-module-2", "light-buzzer", "light-buzzer-2")
            await h.until(lambda: all(h.metric("gate_device_up", lane="A1", device=name) == 1 for name in names))
            await h.tap(h.people["green"])
            await h.until(lambda: lit(boards[0]) == ("green",))
            runner, clock = h.station._lanes["A1"], h.station.clock
            now: Moment = clock.now()
            runner.handle(events.ReadFailed(Reason.CARD_REMOVED, EXIT), now)
            await h.until(lambda: lit(boards[1]) == ("amber",))
            await h.until(lambda: voices[0].played == [TRACKS["STATUS_GREEN"]])
            await h.until(lambda: voices[1].played == [TRACKS["LANE_BUSY"]])
            assert lit(boards[0]) == ("green",)
            await h.walks()
            await h.until(lambda: lit(boards[0]) == lit(boards[1]) == ())
            await h.stays(0, h.tap(h.people["red"]))
            await h.until(lambda: "red" in lit(boards[0]))
            assert lit(boards[1]) == ()
            assert voices[1].played == [TRACKS["LANE_BUSY"]]
        for port in ports:
            await port.unplug()

    asyncio.run(story())
