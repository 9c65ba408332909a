"""Turns on a line: releases first, in order, with silence between, and none is lost when somebody gives up."""

import asyncio

from drivers.turnstiles.modbus.turns import Turns


async def _speak(
    turns: Turns, said: list[str], name: str, write: bool = False, ends: asyncio.Event | None = None
) -> None:
    await turns.take(write)
    said.append(name)
    if ends:
        await ends.wait()
    turns.give_back()


def test_a_release_goes_before_looks_that_wait_and_each_kind_keeps_its_order() -> None:
    """While one look is under way two looks and two releases come: the releases are next, in their order."""

    async def story() -> list[str]:
        turns, said, ends = Turns(0.0), [], asyncio.Event()  # type: tuple[Turns, list[str], asyncio.Event]
        async with asyncio.TaskGroup() as group:
            group.create_task(_speak(turns, said, "look 0", ends=ends))
            await asyncio.sleep(0)
            for name, write in (("look 1", False), ("release 1", True), ("look 2", False), ("release 2", True)):
                group.create_task(_speak(turns, said, name, write))
            await asyncio.sleep(0)
            assert turns.writes_wait
            ends.set()
        assert not turns.taken
        return said

    assert asyncio.run(story()) == ["look 0", "release 1", "release 2", "look 1", "look 2"]


def test_a_release_that_comes_in_the_silence_goes_before_a_look_that_waits_for_its_end() -> None:
    """Who comes next is chosen when the silence ends, and not when it begins."""

    async def story() -> list[str]:
        turns, said = Turns(0.05), []  # type: tuple[Turns, list[str]]
        async with asyncio.TaskGroup() as group:
            group.create_task(_speak(turns, said, "look 0"))
            await asyncio.sleep(0)
            group.create_task(_speak(turns, said, "look 1"))
            await asyncio.sleep(0.01)
            assert said == ["look 0"], "the line is silent"
            group.create_task(_speak(turns, said, "release", write=True))
        return said

    assert asyncio.run(story()) == ["look 0", "release", "look 1"]


def test_who_gives_up_leaves_the_turn_to_the_next() -> None:
    """Cancelled while waiting, or in the very moment the turn comes: the line goes on."""

    async def story(at_the_turn: bool) -> list[str]:
        turns, said = Turns(0.0), []  # type: tuple[Turns, list[str]]
        await turns.take(False)
        leaves = asyncio.create_task(_speak(turns, said, "leaves", write=True))
        stays = asyncio.create_task(_speak(turns, said, "stays"))
        await asyncio.sleep(0)
        if at_the_turn:
            turns.give_back()
            leaves.cancel()
        else:
            leaves.cancel()
            await asyncio.sleep(0)
            turns.give_back()
        await asyncio.wait_for(stays, 5)
        assert not turns.taken
        return said

    for at_the_turn in (False, True):
        assert asyncio.run(story(at_the_turn)) == ["stays"]
