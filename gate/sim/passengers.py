"""Passengers of the demonstration: each does one thing at one lane, and knows how it must end.

What is due stands here by hand, from a passenger's true status and the Delta's rule of 26 March 2020 at a gate of
Hangzhou (health-codes.md (b)); nothing here asks the service's own rules.
"""

import asyncio
import contextlib
import enum
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drivers.simulated.cards import card_text
from gate.feed.records import CredentialStatus
from gate.sim.people import Person
from gate.sim.signs import Signs, untold, verdict_of
from gate.sim.town import Town, says_of
from gate.sim.world import RELEASE_WITHIN_S, SimulatedLane

READ_S = 2.0  # a passenger holds the card this long before giving up
RELEASE_S = 3.0  # after card or code: far above any decision of ours, an issuer's answer and a camera's frames included
TOLD_S = 5.0  # the longest that a verdict may take: the pairing window and a busy machine
WALK_S = (0.5, 0.9)  # from release to the sensor: a step or two
LEAVE_S = 0.3
PULLED_S = 0.6  # until the passenger notices that nothing happened
TAKE_OUT_S = 1.0  # to read "tap your card" and take it out; the lane has asked whom it could by then (0.8 s)
SCREENSHOT_S = 600.0  # how old a screenshot is: well over any code's validity
RELEASE_LAPSES_S = RELEASE_WITHIN_S + 0.3
FOREIGN_CODE = b"https://example.com/menu?table=7"


class Habit(enum.StrEnum):
    """What a passenger does."""

    CARD = "card"
    CODE_THEN_CARD = "code, and the card where the sign asks for it"
    FOREIGN_CODE = "unread code, then card"
    EARLY_PULL = "card pulled away early"
    WRONG_CARD = "wrong card"
    TURN_BACK = "turned back"
    TAILGATED = "tailgated"
    SCREENSHOT = "screenshot, then the code itself"
    LENT = "code, then lent to somebody at another gate"
    BORROWED = "a code that somebody has just used"
    PAPER = "paper certificate and card"
    WITH_CHILD = "card, a child behind"
    CHILD = "child's card behind its guardian"


_SHARE = {
    Habit.CARD: 0.37,
    Habit.CODE_THEN_CARD: 0.35,
    Habit.FOREIGN_CODE: 0.03,
    Habit.EARLY_PULL: 0.04,
    Habit.WRONG_CARD: 0.03,
    Habit.TURN_BACK: 0.03,
    Habit.TAILGATED: 0.03,
    Habit.SCREENSHOT: 0.03,
    Habit.LENT: 0.02,
    Habit.PAPER: 0.04,
    Habit.WITH_CHILD: 0.03,
}

_GREEN = "GRANT STATUS_GREEN"
_TOLD: Mapping[CredentialStatus | None, str] = {
    CredentialStatus.GREEN: _GREEN,
    CredentialStatus.YELLOW: "REFER STATUS_YELLOW",  # re-check: Zhejiang's yellow does not travel and is for staff
    CredentialStatus.RED: "DENY STATUS_RED",
    CredentialStatus.GREEN_PENDING: "REFER STATUS_GREEN_PENDING",
    CredentialStatus.IN_REVIEW: "REFER STATUS_IN_REVIEW",
    CredentialStatus.GREY: "REFER STATUS_GREY",
    CredentialStatus.NOT_CLAIMED: "REFER STATUS_NOT_CLAIMED",
    CredentialStatus.UNKNOWN: "REFER STATUS_UNKNOWN",
    None: "REFER NOT_COVERED",
}
# A guardian released just before makes the old dependants as well: either ground is right, and the gate tells one.
_PAPER = ("GRANT CERTIFICATE_VALID", "GRANT WITH_GUARDIAN")


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
        yield from _SHARE
    while True:
        yield draw.choices(list(_SHARE), list(_SHARE.values()))[0]


def suits(person: Person, habit: Habit) -> bool:
    """Whether this person can do that: only dynamic codes age, and only a used one is worth nothing to the next."""
    if habit is Habit.LENT:
        return person.issuer == "SSM" and person.may_pass
    return habit is not Habit.SCREENSHOT or person.issuer == "SSM"


class Passenger:
    """One person at one lane. `lent`: the code that another one has used."""

    def __init__(
        self,
        person: Person,
        habit: Habit,
        lane: SimulatedLane,
        draw: random.Random,
        town: Town | None = None,
        signs: Signs | None = None,
        lent: bytes = b"",
    ) -> None:
        self._person = person
        self._habit = habit
        self._lane = lane
        self._draw = draw
        self._town = town
        self._signs = signs
        self._before = 0
        self._problems: list[str] = []
        self.code = lent or (town.code_of(person, draw).encode() if town else person.code)

    async def visit(self) -> Result:
        """Walk up when it is one's turn, present, and walk through or away."""
        lane = self._lane
        async with lane.turn:
            await lane.board.wait_release(0.0)  # whatever was before is not ours
            if self._signs:
                self._signs.forget(lane.id)
            self._before = len(lane.board.releases)
            with self._town.shows(self._person, self.code.decode()) if self._town else contextlib.nullcontext():
                released = await self._present()
            passed = released and self._habit is not Habit.TURN_BACK
            extra = len(lane.board.releases) - self._before - released
        if extra:
            self._problems.append(f"{extra} releases more than one")
        return Result(lane.id, self._habit, released, passed, not self._problems, "; ".join(self._problems))

    async def _present(self) -> bool:
        """Everything that this habit presents; whether the gate opened."""
        match self._habit:
            case Habit.CODE_THEN_CARD | Habit.LENT:
                return await self._show_code()
            case Habit.SCREENSHOT if self._town:
                old = self._town.code_of(self._person, self._draw, SCREENSHOT_S)
                await self._scan(old.encode(), ("REFER CODE_EXPIRED",))
                return await self._show_code()
            case Habit.BORROWED:
                return await self._scan(self.code, ("REFER CODE_REPLAYED",))
            case Habit.PAPER if self._town:
                await self._lane.scanner.scan(self._town.paper(self._person))
                await asyncio.sleep(TAKE_OUT_S)
                return await self._tap(self._person.card(), _PAPER)
            case Habit.FOREIGN_CODE:
                await self._scan(FOREIGN_CODE, ("REFER CODE_NOT_HEALTH",))
            case Habit.EARLY_PULL:
                await self._pull_away()
            case Habit.WRONG_CARD:
                return await self._tap(_wrong_card(self._person), ("REFER CARD_NUMBER_INVALID",))
            case Habit.CHILD:
                return await self._tap(self._person.card(), ("GRANT WITH_GUARDIAN",))
        return await self._tap(self._person.card(), (_TOLD[self._person.status],))

    async def _show_code(self) -> bool:
        """The code alone, and the card where it is asked for: where the code leads to nobody."""
        person = self._person
        if person.issuer == "NATIONAL":  # recognised, and never read: "please use your ID card"
            await self._scan(self.code, ("REFER CODE_NATIONAL",))
            return await self._tap(person.card(), (_TOLD[person.status],))
        asks = person.issuer == "SSM"
        if person.status is None or (asks and self._town is None):
            await self._lane.scanner.scan(self.code)
            await asyncio.sleep(TAKE_OUT_S)
            silent = "REFER ISSUER_UNREACHABLE"  # the issuer has an error for whom it does not know, and no answer
            unknown = silent if asks and self._town else _TOLD[None]
            return await self._tap(person.card(), (_TOLD[person.status] if person.status else unknown,))
        return await self._scan(self.code, (_TOLD[says_of(person.status) if asks else person.status],))

    async def _pull_away(self) -> None:
        """Take the card away too early: told, unless the reader has read another one just before (samv: GONE_S)."""
        self._lane.reader.present(self._person.card(), pulled_early=True)
        if self._signs:
            passage = await self._signs.told(self._lane.id, PULLED_S)
            if passage and verdict_of(passage) != "REFER CARD_REMOVED":
                self._problems.append(f"pulled the card away and was told {verdict_of(passage)}")
        else:
            await asyncio.sleep(PULLED_S)
        self._lane.reader.remove()

    async def _scan(self, payload: bytes, due: Sequence[str]) -> bool:
        await self._lane.scanner.scan(payload)
        return await self._end(due, LEAVE_S)

    async def _tap(self, card: bytes, due: Sequence[str]) -> bool:
        reader = self._lane.reader
        reader.present(card)
        if not await reader.wait_read(READ_S):
            self._problems.append("the card was not read")
        released = await self._end(due, LEAVE_S)
        reader.remove()
        return released

    async def _end(self, due: Sequence[str], leave_s: float) -> bool:
        """Walk through when the gate opens; compare what was told with what is `due`."""
        grant = due[0].startswith("GRANT")
        released = await self._lane.board.wait_release(RELEASE_S if grant else 0.0)
        if released:
            await self._walk()
        passage = await self._signs.told(self._lane.id, TOLD_S) if self._signs else None
        if self._signs is None and not released:
            await asyncio.sleep(leave_s)
        released = released or await self._lane.board.wait_release(0.0)
        told = verdict_of(passage) if passage else ""
        if released is not grant or (self._signs and told not in due):
            self._problems.append(f"released {released}, told {told or 'nothing'}, due {' or '.join(due)}")
        elif passage and not grant and self._signs:
            wrong = untold(await self._signs.sign(self._lane.id), passage)
            self._problems += [wrong] if wrong else []
        return released

    async def _walk(self) -> None:
        if self._habit is Habit.TURN_BACK:
            await asyncio.sleep(RELEASE_LAPSES_S)  # the next one waits until the gate has closed again
            return
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
