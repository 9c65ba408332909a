"""Passengers of the demonstration: each does one thing at one lane, and knows how it must end."""

import asyncio
import enum
import random
from collections.abc import Iterator
from dataclasses import dataclass

from drivers.simulated.cards import card_text
from gate.sim.people import Person
from gate.sim.world import RELEASE_WITHIN_S, SimulatedLane

READ_S = 2.0  # a passenger holds the card this long before giving up
RELEASE_S = 1.0  # after the card was read: far above any decision of ours
WALK_S = (0.5, 0.9)  # from release to the sensor: a step or two
LEAVE_S = 0.3
RELEASE_LAPSES_S = RELEASE_WITHIN_S + 0.3
FOREIGN_CODE = b"https://example.com/menu?table=7"


class Habit(enum.StrEnum):
    """What a passenger does."""

    CARD = "card"
    CODE_THEN_CARD = "code, then card"
    FOREIGN_CODE = "unread code, then card"
    EARLY_PULL = "card pulled away early"
    WRONG_CARD = "wrong card"
    TURN_BACK = "turned back"
    TAILGATED = "tailgated"


_SHARE = {
    Habit.CARD: 0.62,
    Habit.CODE_THEN_CARD: 0.15,
    Habit.FOREIGN_CODE: 0.05,
    Habit.EARLY_PULL: 0.06,
    Habit.WRONG_CARD: 0.04,
    Habit.TURN_BACK: 0.04,
    Habit.TAILGATED: 0.04,
}


@dataclass(frozen=True, slots=True)
class Result:
    """How one visit went, as the passenger saw it."""

    lane: str
    habit: Habit
    released: bool
    passed: bool
    as_due: bool  # whether it went as this passenger's true status demands
    note: str = ""


def habits(draw: random.Random, first_lane: bool) -> Iterator[Habit]:
    """Endless habits; the first lane begins with one of each, so that a short run shows them all."""
    if first_lane:
        yield from Habit
    while True:
        yield draw.choices(list(_SHARE), list(_SHARE.values()))[0]


class Passenger:
    """One person at one lane."""

    def __init__(self, person: Person, habit: Habit, lane: SimulatedLane, draw: random.Random) -> None:
        self._person = person
        self._habit = habit
        self._lane = lane
        self._draw = draw

    async def visit(self) -> Result:
        """Walk up, present, and walk through or away."""
        lane = self._lane
        await lane.board.wait_release(0.0)  # whatever was before is not ours
        before = len(lane.board.releases)
        match self._habit:
            case Habit.CODE_THEN_CARD:
                await lane.scanner.scan(self._person.code)
            case Habit.FOREIGN_CODE:
                await lane.scanner.scan(FOREIGN_CODE)
            case Habit.EARLY_PULL:
                lane.reader.present(self._person.card(), pulled_early=True)
                await asyncio.sleep(0.6)  # until the passenger notices that nothing happened
                lane.reader.remove()
        wrong = self._habit is Habit.WRONG_CARD
        lane.reader.present(_wrong_card(self._person) if wrong else self._person.card())
        read = await lane.reader.wait_read(READ_S)
        released = read and await lane.board.wait_release(RELEASE_S if self._due else LEAVE_S)
        lane.reader.remove()
        passed = released and self._habit is not Habit.TURN_BACK
        if passed:
            await self._walk()
        elif released:
            await asyncio.sleep(RELEASE_LAPSES_S)  # the next one waits until the gate has closed again
        extra = len(lane.board.releases) - before - released
        as_due = read and released == self._due and extra == 0
        note = "" if as_due else f"read {read}, released {released}, due {self._due}, extra releases {extra}"
        return Result(lane.id, self._habit, released, passed, as_due, note)

    @property
    def _due(self) -> bool:
        return self._person.may_pass and self._habit is not Habit.WRONG_CARD

    async def _walk(self) -> None:
        await asyncio.sleep(self._draw.uniform(*WALK_S))
        await self._lane.board.pass_through()
        if self._habit is Habit.TAILGATED:
            await self._lane.board.tailgate()


def _wrong_card(person: Person) -> bytes:
    """A card whose number fails its check digit: a worn chip, or no identity card at all."""
    digit = "0" if person.number[-1] != "0" else "1"
    return card_text(
        " ", name=person.name, number=person.number[:-1] + digit, valid_from="20150101", valid_until="长期"
    )
