"""Random fault sequences: a driver at work on its simulated device, faults one after the other, and what may not be.

A sequence is drawn from its number: `GATE_FAULTS_FROM=N GATE_FAULTS=1` runs that one again. Many run in one loop.
"""

import asyncio
import functools
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers import registry
from drivers.contract import Answer, DeviceReport, Direction, Down, Emergency, Passed, Up
from drivers.simulated.ports import SimulatedPort, UdpPort, plug_at
from tests.conformance.plug import BACK_S, START_S, _free_port, kinds, skip_without
from tests.conformance.rig import Rig
from tests.conformance.rigs import Light, Voice, rig_for
from tests.conformance.rigs_gates import Gate
from tests.conformance.rigs_sources import Source

COUNT = int(os.environ.get("GATE_FAULTS", "50"))  # of each driver; `make soak` runs 1,000, as the issue asks
FIRST = int(os.environ.get("GATE_FAULTS_FROM", "0"))
AT_ONCE = 25  # in one loop: more, and on a busy machine it is the test that is late
# An OSDP line is a thread that wakes every 5 ms, before a device that wakes every 2 ms; PC/SC two processes for each.
HEAVY_AT_ONCE = 8
FAULTS_EACH = 3
FAULT_S = (0.05, 1.1)  # from less than one poll to longer than every time-out
RESTART_S = 0.15  # without power
WORKS_S = 3.0  # after it is up: a UHPPOTE release over UDP looks first, a scanner's code comes when it is shown
QUIET_S = 0.3  # three polls: everybody who walked before was told
ANSWERED_S = 6.0  # a command without a lifetime: two doors, each asked after a silent line, in turn
LEFT_S = (0.02, 0.3, 1.0, 2.0)  # what a release may live longer than its device keeps it
# The device acts when its loop gets to the bytes: they were on their way when the command was answered.
DELIVERY_S = 0.1
TICK_S = 0.01
TURNS = 3  # how often a late loop is waited for in one exchange: driver, cable, device


@dataclass
class Command:
    """What was asked of a turnstile, and what became of it."""

    name: str
    direction: Direction
    lifetime_s: float
    asked_s: float
    answer: Answer | None = None
    answered_s: float = float("inf")


@dataclass
class Sequence:
    """One run: what was planned, said, commanded and found."""

    info: registry.DriverInfo
    seed: int
    kind: str
    rig: Rig
    chance: random.Random
    clock: "Clock"
    device: Any = None
    place: Any = None
    said: list[tuple[float, DeviceReport]] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    acting: set[asyncio.Task[None]] = field(default_factory=set)

    def hear(self, report: DeviceReport) -> None:
        """What the driver says."""
        self.said.append((self.clock.now_s(), report))

    @property
    def is_up(self) -> bool:
        """Whether it last said so."""
        return next((isinstance(one, Up) for _, one in reversed(self.said) if isinstance(one, Up | Down)), False)

    def note(self, text: str) -> None:
        """What was done."""
        self.story.append(f"{self.clock.now_s() - self.clock.began_s:.2f} {text}")


class Clock:
    """The loop's time, and by how much the loop itself was late: a busy machine is not the driver's fault."""

    def __init__(self) -> None:
        self.began_s = self.now_s()
        self.late_s = 0.0  # in all
        self.worst_s = 0.0
        self._stalls: list[tuple[float, float]] = []  # from when it should have run until it did

    @staticmethod
    def now_s() -> float:
        return asyncio.get_running_loop().time()

    async def watch(self) -> None:
        while True:
            started_s = self.now_s()
            await asyncio.sleep(TICK_S)
            late_s = max(0.0, self.now_s() - started_s - TICK_S - 0.002)
            self.late_s += TURNS * late_s
            self.worst_s = max(self.worst_s, late_s)
            if late_s:
                self._stalls.append((started_s + TICK_S, self.now_s()))

    def late_between(self, begin_s: float, end_s: float) -> float:
        """For how much of that time the loop did not run: only what happened just then excuses what came late."""
        total_s = 0.0
        for since_s, until_s in reversed(self._stalls):
            if until_s < begin_s:
                break
            total_s += max(0.0, min(until_s, end_s) - max(since_s, begin_s))
        return total_s

    async def until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether it came true within so many seconds of a loop that is not late."""
        ends_s, late_s = self.now_s() + seconds, self.late_s
        while not condition():
            await asyncio.sleep(0.005)
            if self.now_s() > ends_s + self.late_s - late_s:
                await self.settle()
                if self.now_s() > ends_s + self.late_s - late_s + 2 * TICK_S:
                    return condition()
        return True

    async def settle(self) -> None:
        """Until what the loop was late just now is counted."""
        await asyncio.sleep(2 * TICK_S)


async def run_all(info: registry.DriverInfo, folder: Path) -> list[str]:
    """All sequences of a driver; what was found, each with how to see it again."""
    skip_without(info)
    is_heavy = info.bus == "osdp" or "pcsc" in info.ports
    clock, gate = Clock(), asyncio.Semaphore(HEAVY_AT_ONCE if is_heavy else AT_ONCE)
    watching = asyncio.create_task(clock.watch())
    where = kinds(info)

    async def one(seed: int) -> list[str]:
        async with gate:
            return await _run(info, where[seed % len(where)], seed, folder / str(seed), clock)

    crashes: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: crashes.append(str(context)))
    found = await asyncio.gather(*(one(seed) for seed in range(FIRST, FIRST + COUNT)))
    watching.cancel()
    return [text for some in found for text in some] + crashes


async def _run(info: registry.DriverInfo, kind: str, seed: int, folder: Path, clock: Clock) -> list[str]:
    chance = random.Random(f"{info.name} {seed}")
    rig = rig_for(info, kind, seed, chance, folder)
    run = Sequence(info, seed, kind, rig, chance, clock)
    await rig.begin()
    run.place = rig.place or _place(kind, seed, folder, rig)
    await run.place.plug()
    given = rig.settings | rig.where(run.place.spec)
    run.device = registry.create(info.name, registry.check_settings(info, given))
    working = asyncio.create_task(run.device.run(run.hear))
    try:
        await _story(run, working)
    finally:
        await _stop(run, working)
        await run.place.unplug()
        await rig.end()
    problems = run.found + _problems(run)
    again = f"{info.name} on {kind}: GATE_FAULTS_FROM={seed} GATE_FAULTS=1 ({type(rig).__name__} {rig.settings})"
    return ["\n  ".join([again, *problems, "--", *run.story])] if problems else []


def _place(kind: str, seed: int, folder: Path, rig: Rig) -> SimulatedPort:
    session = rig.cable.through(rig.session)
    # An address of its own for each: when a port is back, nobody else has taken its number meanwhile.
    host = f"127.{os.getpid() % 200 + 10}.{seed // 250 % 250}.{seed % 250 + 1}"
    if kind == "udp":
        return UdpPort(session, host, _free_port())
    return plug_at(f"pty:{folder / 'device'}" if kind == "pty" else f"tcp:{host}:0", session)


async def _stop(run: Sequence, working: asyncio.Task[None]) -> None:
    for task in run.acting:
        task.cancel()
    await asyncio.gather(*run.acting, return_exceptions=True)
    if working.done():
        run.found.append(f"run() ended by itself: {working.exception()!r}")
        return
    working.cancel()
    _, left = await asyncio.wait([working], timeout=BACK_S + run.clock.worst_s)
    if left or not working.cancelled():
        run.found.append("run() did not end by its cancellation")


# --- the story -----------------------------------------------------------------------------------------------------


async def _story(run: Sequence, working: asyncio.Task[None]) -> None:
    if not await run.clock.until(lambda: run.is_up or working.done(), START_S):
        run.found.append("never up")
        return
    for number in range(FAULTS_EACH):
        await _fault(run)
        # Both ends of the range are drawn: the next fault may find it in the middle of its return.
        if number == FAULTS_EACH - 1 or run.chance.random() < 0.7:
            await _recover(run, last=number == FAULTS_EACH - 1)
        if working.done() or run.found:
            return


async def _fault(run: Sequence) -> None:
    fault = run.chance.choice((*run.rig.faults, "unplugged", "restarted", "none"))
    lasts_s = run.chance.uniform(*FAULT_S)
    acts = sorted((run.chance.uniform(0.0, lasts_s), _act(run)) for _ in range(run.chance.randint(1, 4)))
    run.note(f"{fault} for {lasts_s:.2f} s")
    await _begin(run, fault)
    began_s = run.clock.now_s()
    for at_s, name in [*acts, (lasts_s, "")]:
        await asyncio.sleep(max(0.0, began_s + at_s - run.clock.now_s()))  # when it happens is what is drawn
        if name:
            run.acting.add(task := asyncio.create_task(_do(run, name)))
            task.add_done_callback(run.acting.discard)
    await _end(run, fault)


async def _begin(run: Sequence, fault: str) -> None:
    if fault == "unplugged":
        await run.place.unplug()
    elif fault == "restarted":
        run.rig.break_by("dead")
        await asyncio.sleep(RESTART_S)
        run.rig.restart()
        run.rig.break_by("")
    elif fault != "none":
        run.rig.break_by(fault)


async def _end(run: Sequence, fault: str) -> None:
    if fault == "unplugged":
        await run.place.plug()
    run.rig.break_by("")


def _act(run: Sequence) -> str:
    names = list(run.rig.acts())
    if isinstance(run.rig, Gate):
        names += ["release"] * 4 + ["walk"] * (3 if run.rig.tells else 0) + ["hold", "end hold"]
        names += ["fire", "fire ends"] if run.rig.has_fire else []
    return run.chance.choice(names or ["nothing"])


async def _do(run: Sequence, name: str) -> None:
    run.note(name)
    try:
        match name:
            case "release" | "hold" | "end hold":
                wait_s = float(getattr(run.device, "wait_s", 0.0))
                await _command(run, name, run.chance.choice(list(Direction)), wait_s + run.chance.choice(LEFT_S))
            case "walk" if isinstance(run.rig, Gate):
                await run.rig.walk(run.chance.choice(list(Direction)))
            case "fire" | "fire ends" if isinstance(run.rig, Gate):
                run.rig.fire(name == "fire")
            case "nothing":
                pass
            case _:
                await run.rig.acts()[name](run.device)
    except Exception as error:
        run.found.append(f"{name} raised {error!r}")


async def _command(run: Sequence, name: str, direction: Direction, lifetime_s: float) -> Command:
    command = Command(name, direction, lifetime_s if name == "release" else ANSWERED_S, run.clock.now_s())
    run.commands.append(command)
    late_s = run.clock.late_s
    match name:
        case "release":
            command.answer = await run.device.release(direction, lifetime_s)
        case "hold":
            command.answer = await run.device.hold_open()
        case _:
            command.answer = await run.device.end_hold()
    command.answered_s = run.clock.now_s()
    asked_s = command.asked_s - run.clock.began_s
    run.note(f"  {name} {direction} for {command.lifetime_s:.2f} s asked at {asked_s:.2f}: {command.answer}")
    await run.clock.settle()
    slack_s = DELIVERY_S + run.clock.late_s - late_s
    if command.answered_s - command.asked_s > command.lifetime_s + slack_s:
        run.found.append(f"{name} was answered after {command.answered_s - command.asked_s:.2f} s")
    return command


# --- it is back ----------------------------------------------------------------------------------------------------


async def _recover(run: Sequence, last: bool) -> None:
    """Everything is good again: up within 2 s, and it works."""
    run.rig.heal()
    if not await run.clock.until(lambda: run.rig.cable.is_clear, BACK_S):
        run.found.append("the cable never cleared")
    run.note("good")
    if not await run.clock.until(lambda: run.is_up, BACK_S):
        run.found.append(f"not up {BACK_S} s after it was good: {run.said[-3:]}")
        return
    if not await _works(run):
        run.found.append(f"up, and does not work {WORKS_S} s later: {_shown(run)}")
    elif last and isinstance(run.rig, Gate) and not await _counts(run, run.rig):
        run.found.append(f"who walked through was not told: {_shown(run)}")


def _shown(run: Sequence) -> str:
    answers = [f"{one.name} {one.answer}" for one in run.commands[-4:]]
    return f"{answers} {[report for _, report in run.said[-4:]]}"


async def _works(run: Sequence) -> bool:
    rig = run.rig
    if isinstance(rig, Gate):
        return await _opens(run, rig)
    if isinstance(rig, Source):
        return await _reads(run, rig)
    if isinstance(rig, Voice):
        return await _again(run, lambda: rig.say(run.device), lambda before: len(rig.device.played) > before[0], rig)
    if isinstance(rig, Light):
        return await run.clock.until(lambda: rig.is_right, WORKS_S)
    return True


async def _again(run: Sequence, act: Callable[[], Any], done: Callable[[list[int]], bool], rig: Voice) -> bool:
    before = [len(rig.device.played)]
    ends_s = run.clock.now_s() + WORKS_S
    while run.clock.now_s() < ends_s:
        await act()
        if await run.clock.until(lambda: done(before), 0.5):
            return True
    return False


async def _reads(run: Sequence, rig: Source) -> bool:
    await asyncio.gather(*run.acting)  # one card after the other
    ends_s, late_s = run.clock.now_s() + WORKS_S, run.clock.late_s
    while run.clock.now_s() < ends_s + run.clock.late_s - late_s:
        what = await rig.show(calmly=True)

        def told(what: Any = what) -> bool:
            return any(rig.what(report) == what for _, report in run.said)

        if await run.clock.until(told, 0.5):
            return True
    return False


async def _opens(run: Sequence, gate: Gate) -> bool:
    """The hold ends, a release is accepted and opens, and nothing stays open by itself."""
    ends_s, late_s = run.clock.now_s() + WORKS_S, run.clock.late_s
    wait_s = float(getattr(run.device, "wait_s", 0.0))
    while run.clock.now_s() < ends_s + run.clock.late_s - late_s:
        ended = await _command(run, "end hold", Direction.ENTRY, ANSWERED_S)
        if ended.answer is Answer.ACCEPTED:
            released = await _command(run, "release", Direction.ENTRY, wait_s + 0.8)
            if released.answer is Answer.ACCEPTED:
                moved = functools.partial(_moved, gate, released)
                return await run.clock.until(moved, BACK_S) and await run.clock.until(lambda: not gate.is_held, WORKS_S)
        await asyncio.sleep(0.1)
    return False


def _moved(gate: Gate, released: Command) -> bool:
    stays = gate.stays_open and gate.is_held
    return stays or any(one.at_s >= released.asked_s for one in gate.opened)


async def _counts(run: Sequence, gate: Gate) -> bool:
    if not gate.tells:
        return True
    await asyncio.gather(*run.acting)  # who walks there now may still be told
    await run.clock.until(lambda: False, QUIET_S)
    before = sum(isinstance(one, Passed) for _, one in run.said)
    await gate.walk(Direction.ENTRY)
    return await run.clock.until(lambda: sum(isinstance(one, Passed) for _, one in run.said) > before, BACK_S)


# --- what may not be -----------------------------------------------------------------------------------------------


def _problems(run: Sequence) -> list[str]:
    found = run.rig.false(run.said)
    if isinstance(run.rig, Gate):
        found += _openings(run, run.rig) + _closings(run, run.rig) + _passages(run, run.rig)
    return found


def _openings(run: Sequence, gate: Gate) -> list[str]:
    """Every opening belongs to one release that had not been refused, had not failed and still lived, or to a hold."""
    unused = [one for one in run.commands if one.name == "release" and one.answer is not Answer.REFUSED]
    found = []
    for opening in gate.opened:
        ours = [one for one in unused if one.direction is opening.direction and one.asked_s <= opening.at_s]
        good = next((one for one in ours if _in_time(run, gate, one, opening.at_s)), None)
        if good and not gate.stays_open:
            unused.remove(good)
        elif not good and not (gate.stays_open and _held(run, opening.at_s)):
            at_s = opening.at_s - run.clock.began_s
            found.append(
                f"opened for {opening.direction} at {at_s:.3f} without a release that lived and had not failed"
            )
    return found


def _in_time(run: Sequence, gate: Gate, command: Command, at_s: float) -> bool:
    dies_s = command.asked_s + command.lifetime_s
    limit_s = dies_s if gate.late else min(dies_s, command.answered_s)
    return at_s <= limit_s + DELIVERY_S + gate.tick_s + run.clock.late_between(limit_s, at_s)


def _held(run: Sequence, at_s: float) -> bool:
    held = False
    for one in run.commands:
        if one.name == "hold" and one.answer is not Answer.REFUSED and one.asked_s <= at_s:
            held = True
        elif one.name == "end hold" and one.answer is Answer.ACCEPTED and one.answered_s <= at_s:
            held = False
    return held


def _closings(run: Sequence, gate: Gate) -> list[str]:
    """Nothing is commanded closed between the driver's own word that there is an emergency and its end."""
    since_s, spans = float("inf"), []
    for at_s, report in run.said:
        if isinstance(report, Emergency):
            if report.active:
                since_s = at_s
            elif since_s < at_s:
                spans.append((since_s, at_s))
                since_s = float("inf")
    spans.append((since_s, float("inf")))
    found = []
    for at_s in gate.closed_s:
        for begin_s, end_s in spans:
            if begin_s + DELIVERY_S + run.clock.late_between(begin_s, at_s) < at_s < end_s:
                found.append(f"closed at {at_s - run.clock.began_s:.3f} in an emergency")
    return found


def _passages(run: Sequence, gate: Gate) -> list[str]:
    """Never more told than walked."""
    found = []
    for direction in Direction:
        told_s = [at_s for at_s, report in run.said if report == Passed(direction)]
        for number, at_s in enumerate(told_s, 1):
            if number > sum(one.direction is direction and one.at_s <= at_s for one in gate.walked):
                found.append(f"{number} passed ({direction}) at {at_s - run.clock.began_s:.3f}, fewer had walked")
                break
    return found
