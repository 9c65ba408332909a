"""The serial turnstile controllers under random faults and behind a cut cable: nobody is released for nothing."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from drivers.contract import Answer, Direction, Passed, Up
from drivers.simulated.serial_gate import GateKnobs
from tests.drivers.conftest import NEAR, NET, SPACE, ip
from tests.drivers.serial_gates import GATES, driven, gated

ENTRY = Direction.ENTRY
SEQUENCES, STEPS = 5, 6
FAULTS = ("silent", "lose_answer", "garble", "refuse", "chopped", "late", "pieces", "cut", "power", "none", "none")
CUT_S, AFTER_S = 1.5, 2.0  # devices.md 3.4: a ghost came 0.1 s after the cable was mended


async def step(fault: str, lifetime_s: float, gate: Any, port: Any, bench: Any) -> None:
    """One release under one fault: what was reported is what can have happened."""
    before = len(gate.released)
    gate.knobs.answer_s = 0.2 if fault == "late" else 0.0
    gate.knobs.chunk = 1 if fault == "pieces" else 0
    if hasattr(gate.knobs, fault):
        setattr(gate.knobs, fault, True)
    if fault == "power":
        gate.power_cycle()
    release = asyncio.create_task(bench.device.release(ENTRY, lifetime_s))
    if fault == "cut":
        await port.unplug()
    answer = await release
    happened = len(gate.released) - before
    assert happened <= 1
    assert answer is not Answer.ACCEPTED or happened == 1
    assert answer is not Answer.REFUSED or happened == 0
    if fault == "cut":
        await port.plug()
    for name in GateKnobs.__dataclass_fields__:
        setattr(gate.knobs, name, getattr(GateKnobs(), name))
    await bench.until(lambda: isinstance(bench.reports[-1], Up), 2.0)  # a cut may have been too short to be seen
    assert len(gate.released) - before == happened, "released after the answer"


@pytest.mark.parametrize("kind", ["pty", "tcp"])
@pytest.mark.parametrize("name", GATES)
def test_random_faults_release_nobody_for_nothing(name: str, kind: str, tmp_path: Path) -> None:
    """Accepted: it happened once. Refused: it did not. Unknown: at most once, and never afterwards."""

    async def story(seed: int) -> None:
        chance = random.Random(seed)
        async with gated(name, kind, tmp_path) as (bench, gate, port):
            for _ in range(STEPS):
                await step(chance.choice(FAULTS), 0.5 if name == "tpw-321asp" else 1.0, gate, port, bench)
                if name == "tpw-321asp":  # a release is a change: the one before must have ended
                    await bench.until(lambda: not gate.is_free(ENTRY), 3.0)
            assert bench.count(Passed) == 0

    for seed in range(SEQUENCES):
        asyncio.run(story(seed))


@pytest.mark.root
@pytest.mark.parametrize("name", GATES)
def test_a_failed_release_never_happens_later(name: str, link: None) -> None:
    """The cable is cut, the release fails, the cable is mended: nobody is released, then or afterwards."""

    async def story() -> None:
        gate = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", SPACE, sys.executable, "-u", "-m", "gate", "devices", "simulate", name),
            *("--port", f"tcp:{NET}.2:1502"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert gate.stdout is not None
        try:
            await asyncio.wait_for(gate.stdout.readline(), 10)
            async with driven(name, f"tcp:{NET}.2:1502") as bench:
                assert await bench.device.release(ENTRY, 2.0) is Answer.ACCEPTED
                assert await asyncio.wait_for(gate.stdout.readline(), 5) == b"release 1\n"
                ip("link", "set", NEAR, "down")
                assert await bench.device.release(Direction.EXIT, 2.0) in (Answer.UNKNOWN, Answer.REFUSED)
                await asyncio.sleep(CUT_S)  # the length of the cut is what is tested
                ip("link", "set", NEAR, "up")
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(gate.stdout.readline(), AFTER_S)
                async with asyncio.timeout(5.0):
                    while await bench.device.release(Direction.EXIT, 2.0) is not Answer.ACCEPTED:
                        await asyncio.sleep(0.05)
        finally:
            gate.kill()
            await gate.wait()

    asyncio.run(story())
