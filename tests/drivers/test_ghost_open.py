"""Devices.md 3.4, the most important finding: an open that was reported failed must never happen later."""

import asyncio
import contextlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Answer, Direction
from drivers.turnstiles.tpw.device import TpwTurnstile
from tests.drivers.conftest import FAR, NEAR, NET, SPACE, ip
from tests.drivers.far_side import KINDS, Kind
from tests.drivers.serial_gates import Bench
from tests.drivers.test_modbus_device import driven

CUT_S, AFTER_S = 2.5, 5.0  # as measured there: link cut 2.5 s, the ghost came 2.6 s after the reported failure
CUTS = int(os.environ.get("GATE_CUTS", "10"))  # `make soak` cuts 200 times, as the issue asks
SHORTEST_S, LONGEST_S = 0.1, 3.0
LIFE_S = 4.5  # of a release: over UDP it must cover 1 s of opening and 3 s of lateness
UNDER_WAY_S = 0.06  # the cable is cut in the middle of so long a time, in which a release is sent and answered
WORKS_S = 20.0  # for all to be found again and released: a first start loads libosdp, pymodbus and uhppoted
TOLD: Counter[Answer] = Counter()


@pytest.mark.root
def test_a_failed_open_never_happens_later(link: None) -> None:
    """The cable is cut, the open fails, the cable is mended: no relay closes, then or afterwards."""

    async def story() -> None:
        board = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", SPACE, sys.executable, "-u", "-m", "gate", "devices", "simulate", "modbus-relay"),
            *("--port", f"tcp:{NET}.2:1502"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert board.stdout is not None
        try:
            await asyncio.wait_for(board.stdout.readline(), 10)
            async with driven(f"tcp:{NET}.2:1502", timeout_ms=500, passed_input=0) as bench:
                assert await bench.device.release(Direction.ENTRY, 2.0) is Answer.ACCEPTED
                assert await asyncio.wait_for(board.stdout.readline(), 5) == b"release 1\n"
                ip("link", "set", NEAR, "down")
                answer = await bench.device.release(Direction.ENTRY, 2.0)
                assert answer in (Answer.UNKNOWN, Answer.REFUSED)
                await asyncio.sleep(CUT_S)  # the length of the cut is what is tested
                ip("link", "set", NEAR, "up")
                await bench.up(2)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(board.stdout.readline(), AFTER_S)
        finally:
            board.kill()
            await board.wait()

    asyncio.run(story())


@dataclass(frozen=True)
class Said:
    """A release: when it was asked for, when it was answered, and what."""

    answer: Answer
    asked_s: float
    answered_s: float


@dataclass
class Actuator:
    """One driver at work on the far side's device."""

    name: str
    kind: Kind
    number: int
    bench: Bench
    freed_s: list[float] = field(default_factory=list)  # when its barrier was freed, by the machine's clock
    said: list[Said] = field(default_factory=list)

    async def release(self, wait_s: float = 0.0) -> Answer:
        """A release after `wait_s`: when within a cut it comes is drawn."""
        await asyncio.sleep(wait_s)
        asked_s = time.monotonic()
        answer = await self.bench.device.release(Direction.ENTRY, LIFE_S)
        self.said.append(Said(answer, asked_s, time.monotonic()))
        return answer

    @property
    def is_closed(self) -> bool:
        """Whether its barrier is known to be closed again, where that is the driver's to do."""
        return not isinstance(device := self.bench.device, TpwTurnstile) or device._told == frozenset()

    def ghosts(self) -> list[str]:
        """What it did in spite of what it had said: each opening needs a release of its own that had not failed yet."""
        unused = [said for said in self.said if said.answer is not Answer.REFUSED]
        found = []
        for at_s in self.freed_s:
            whose = next((said for said in unused if said.asked_s <= at_s <= self._limit_s(said)), None)
            if whose:
                unused.remove(whose)
            else:
                since = [f"{said.answer} {at_s - said.answered_s:+.3f} s" for said in self.said]
                found.append(f"{self.name} {self.number} acted; releases were answered {', '.join(since)} before")
        return found

    def _limit_s(self, said: Said) -> float:
        # A datagram cannot be destroyed: over UDP the answer is Unknown, and the lifetime is the limit.
        return said.asked_s + LIFE_S if self.kind.udp else said.answered_s

    def forget(self) -> None:
        """A new round."""
        self.freed_s.clear()
        self.said.clear()


@contextlib.asynccontextmanager
async def actuators() -> AsyncIterator[list[Actuator]]:
    """A few drivers of each kind, each on a connection of its own."""
    found: list[Actuator] = []
    tasks = []
    for name, kind in KINDS.items():
        for number in range(kind.each):
            given: dict[str, Any] = {"port": kind.port(f"{NET}.2", number), **kind.settings}
            info = registry.driver(kind.driver)
            device: Any = registry.create(kind.driver, registry.check_settings(info, given))
            found.append(Actuator(name, kind, number, Bench(device)))
            tasks.append(asyncio.create_task(device.run(found[-1].bench.hear)))
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def listen(far: asyncio.StreamReader, found: list[Actuator]) -> None:
    """Write down when each barrier was freed."""
    by_name = {(one.name, str(one.number)): one for one in found}
    while line := (await far.readline()).decode("ascii").split():
        by_name[line[0], line[1]].freed_s.append(float(line[2]))


async def works(one: Actuator) -> None:
    """Until it was released once more, its barrier moved, and is closed again."""
    one.forget()
    while not one.is_closed or await one.release() is not Answer.ACCEPTED:
        one.forget()
        await asyncio.sleep(0.05)
    while not one.freed_s or not one.is_closed:
        await asyncio.sleep(0.01)


async def all_work(found: list[Actuator]) -> None:
    """Until every one does; fails with those that do not."""
    tasks = {asyncio.create_task(works(one)): one for one in found}
    _, dead = await asyncio.wait(tasks, timeout=WORKS_S)
    for task in dead:
        task.cancel()
    assert not dead, [(one.name, one.number, one.said, one.freed_s, one.bench.reports) for one in map(tasks.get, dead)]


async def cut(found: list[Actuator], chance: random.Random) -> list[str]:
    """Cut one end of the cable with releases under way and in its midst, mend it, wait for ghosts; what was found."""
    cut_s, near = chance.uniform(SHORTEST_S, LONGEST_S), chance.random() < 0.5
    end = ("link", "set", NEAR) if near else ("netns", "exec", SPACE, "ip", "link", "set", FAR)
    for one in found:
        one.forget()
    around = [asyncio.create_task(one.release(chance.uniform(0.0, UNDER_WAY_S))) for one in found]
    midst = [asyncio.create_task(one.release(chance.uniform(UNDER_WAY_S, cut_s))) for one in found]
    await asyncio.sleep(UNDER_WAY_S / 2)  # where in its exchange each command is cut is what is tested
    ip(*end, "down")
    await asyncio.sleep(cut_s)  # the length of the cut is what is tested
    ip(*end, "up")
    # A kernel that keeps a command repeats it at doubling intervals: the next one is due within the length of the cut.
    await asyncio.sleep(cut_s + 0.5)
    TOLD.update(await asyncio.gather(*around, *midst))
    return [
        f"{'near' if near else 'far'} end cut for {cut_s:.2f} s: {ghost}" for one in found for ghost in one.ghosts()
    ]


@pytest.mark.root
@pytest.mark.timeout(60 + 20 * CUTS)
def test_no_actuator_acts_after_its_failure_was_reported(link: None) -> None:
    """Cuts of random length at either end, dozens of commands under way each time: none acts when it had failed.

    Relay boards (TCP, RTU frames, coils that we switch off), C3 panels, UHPPOTE, TPW, Digicon and Mach Power
    controllers and OSDP outputs over TCP; UHPPOTE and TPW over UDP too, where none acts after its lifetime. Between
    the cuts every one of them is released and moves, so that the silence is not that of dead devices.
    """

    async def story() -> None:
        chance = random.Random(5)
        far = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", SPACE, sys.executable, "-u", "-m", "tests.drivers.far_side", f"{NET}.2"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert far.stdout is not None
        try:
            assert await asyncio.wait_for(far.stdout.readline(), 20) == b"ready\n"
            async with actuators() as found:
                hearing = asyncio.create_task(listen(far.stdout, found))
                ghosts: list[str] = []
                for _ in range(CUTS):
                    await all_work(found)
                    ghosts += await cut(found, chance)
                hearing.cancel()
                assert ghosts == []
                print(f"{CUTS} cuts, {len(found)} connections, releases answered: {dict(TOLD)}")
                assert TOLD[Answer.UNKNOWN], "no command was cut off in its exchange"
        finally:
            far.kill()
            await far.wait()

    asyncio.run(story())
