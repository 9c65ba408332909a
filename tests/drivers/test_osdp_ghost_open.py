"""Devices.md 3.4 for the OSDP output behind a serial-to-TCP converter: what was reported failed never happens later."""

import asyncio
import random
import sys

import pytest

from drivers.contract import Answer, Direction
from tests.drivers.conftest import NEAR, NET, SPACE, ip
from tests.drivers.osdp import driven

ROUNDS = 5  # each with a cut of random length in the middle of an exchange
AFTER_S = 3.0  # the kernel's retransmissions that made the ghost come within 2.6 s of the reported failure


@pytest.mark.root
def test_a_failed_release_never_happens_later(link: None) -> None:
    """The cable is cut for 0.1 to 3 s, a release fails, the cable is mended: the device opens only for good answers."""
    chance = random.Random(5)

    async def story() -> None:
        device = await asyncio.create_subprocess_exec(
            *("ip", "netns", "exec", SPACE, sys.executable, "-u", "-m", "gate", "devices", "simulate", "osdp-output"),
            *("--port", f"tcp:{NET}.2:1502"),
            stdout=asyncio.subprocess.PIPE,
        )
        assert device.stdout is not None
        try:
            await asyncio.wait_for(device.stdout.readline(), 20)
            async with driven(f"tcp:{NET}.2:1502", "osdp-output") as bench:
                await bench.up()
                good = 0
                for _ in range(ROUNDS):
                    async with asyncio.timeout(5.0):
                        while await bench.device.release(Direction.ENTRY, 1.0) is not Answer.ACCEPTED:
                            await asyncio.sleep(0.05)
                    good += 1
                    ip("link", "set", NEAR, "down")
                    answer = await bench.device.release(Direction.ENTRY, 1.0)
                    assert answer in (Answer.UNKNOWN, Answer.REFUSED)
                    await asyncio.sleep(chance.uniform(0.1, 3.0))  # the length of the cut is what is tested
                    ip("link", "set", NEAR, "up")
                assert await _count(device.stdout) == good
        finally:
            device.kill()
            await device.wait()

    asyncio.run(story())


async def _count(lines: asyncio.StreamReader) -> int:
    """How many releases the device has carried out, told when it has been quiet for long enough."""
    count = 0
    while True:
        try:
            line = await asyncio.wait_for(lines.readline(), AFTER_S)
        except TimeoutError:
            return count
        count = int(line.removeprefix(b"release "))
