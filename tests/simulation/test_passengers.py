"""The demonstration's passengers notice when a gate treats them otherwise than their true status demands."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gate.feed.records import CredentialStatus as Status
from gate.sim.passengers import Habit, Passenger, Result, habits, suits
from gate.sim.people import Person, make_child, make_elder, make_people
from gate.sim.signs import Signs
from gate.sim.town import Town
from gate.sim.world import SimulatedLane, publish_feeds
from tests.simulation.gate import gate

Visit = Callable[[Person, Habit], Awaitable[Result]]


def _visited(folder: Path, people: list[Person], story: Callable[[Visit], Awaitable[None]]) -> None:
    """Let `story` send passengers to a gate of Hangzhou whose feeds have `people`."""
    publish_feeds(folder / "feeds", people)

    async def run() -> None:
        async with gate(folder, "330100", folder / "feeds") as (lane, signs, town):
            await story(_visit_of(lane, signs, town))

    asyncio.run(run())


def _visit_of(lane: SimulatedLane, signs: Signs, town: Town) -> Visit:
    return lambda person, habit: Passenger(person, habit, lane, random.Random(1), town, signs).visit()


def _of(people: list[Person], issuer: str, status: Status | None) -> Person:
    return next(person for person in people if (person.issuer, person.status) == (issuer, status))


def test_every_habit_ends_as_due(tmp_path: Path) -> None:
    """One gate, one passenger of each habit, the child behind its guardian; who turns back and who is refused too."""
    people = make_people(3000, seed=11)
    draw = random.Random(2)
    green = iter([person for person in people if person.may_pass and person.issuer == "SSM"])

    async def story(visit: Visit) -> None:
        for habit in Habit:
            who = {Habit.PAPER: make_elder, Habit.CHILD: make_child}.get(habit)
            if habit is Habit.BORROWED:
                continue  # nobody has used that code: the next test
            result = await visit(who(draw) if who else next(green), habit)
            assert result.as_due, f"{habit}: {result.note}"
            assert result.passed == (habit not in (Habit.WRONG_CARD, Habit.TURN_BACK)), habit
        for issuer in ("ZJ", "SSM", "NATIONAL"):
            for status in (Status.RED, Status.YELLOW, None):
                result = await visit(_of(people, issuer, status), Habit.CODE_THEN_CARD)
                assert result.as_due, f"{issuer} {status}: {result.note}"
                assert not result.released

    _visited(tmp_path, people, story)


def test_a_passenger_who_is_treated_otherwise_says_so(tmp_path: Path) -> None:
    """The feeds slander a green one, whitewash a red one and mistake a grey one: three problems, with what was due."""
    honest = [_of(make_people(9000, seed=5), "ZJ", status) for status in (Status.GREEN, Status.RED, Status.GREY)]
    slandered = [
        replace(person, status=status)
        for person, status in zip(honest, (Status.RED, Status.GREEN, Status.YELLOW), strict=True)
    ]
    results: list[Result] = []

    async def story(visit: Visit) -> None:
        results.extend([await visit(person, Habit.CODE_THEN_CARD) for person in honest])

    _visited(tmp_path, slandered, story)
    assert [result.as_due for result in results] == [False] * 3
    assert [result.released for result in results] == [False, True, False]
    for result, due in zip(results, ("GRANT STATUS_GREEN", "DENY STATUS_RED", "REFER STATUS_GREY"), strict=True):
        assert f"due {due}" in result.note


def test_a_first_lane_shows_every_habit_and_each_suits_its_person() -> None:
    """Once each before any comes again; only codes that age are photographed, only good ones lent."""
    drawn = habits(random.Random(1), first_lane=True)
    first = [next(drawn) for _ in range(11)]
    assert set(first) == set(Habit) - {Habit.BORROWED, Habit.CHILD}
    people = make_people(300, seed=1)
    assert {person.issuer for person in people if suits(person, Habit.SCREENSHOT)} == {"SSM"}
    assert {person.status for person in people if suits(person, Habit.LENT)} == {Status.GREEN}
    assert all(suits(person, Habit.CARD) for person in people)


@pytest.mark.parametrize(("make", "ages"), [(make_child, range(18)), (make_elder, range(60, 100))])
def test_dependants_are_of_age(make: Callable[[random.Random], Person], ages: range) -> None:
    """Children are below 18 and the old from 60, in any year until 2031; no issuer has heard of them."""
    draw = random.Random(3)
    for person in [make(draw) for _ in range(200)]:
        for year in (2026, 2031):
            assert year - int(person.number[6:10]) in ages
        assert person.status is None
