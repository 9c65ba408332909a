"""A serial device by its stable name: pulled, and plugged again where the kernel gives it another number."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import CardNumberReport, CardReport, CodeReport, Down, Up
from tests.conformance.plug import BACK_S, CASE_NAMES, CASES, START_S, Plug, Run, at_work

SERIAL = [(info, name) for (info, kind), name in zip(CASES, CASE_NAMES, strict=True) if kind == "pty"]


@contextmanager
def kept_from_others(tty: str) -> Iterator[None]:
    """A number is given again only when nobody has its tty open any more."""
    held = os.open(tty, os.O_RDWR | os.O_NOCTTY)
    try:
        yield
    finally:
        os.close(held)


def heard(run: Run) -> int:
    """How many cards or codes."""
    return sum(isinstance(report, CardReport | CodeReport | CardNumberReport) for report in run.said)


@pytest.mark.parametrize("info", [info for info, _ in SERIAL], ids=[name for _, name in SERIAL])
def test_it_is_found_by_its_name_under_another_number(info: registry.DriverInfo, tmp_path: Path) -> None:
    """Three times: another tty behind the same link, up within 2 s of its return, and what reads reads again."""

    async def story() -> None:
        plug = Plug(info, "pty", tmp_path)
        link = Path(plug.setting["port"])
        await plug.plug()
        async with at_work(info, plug) as run:
            await run.until(lambda: run.last_is(Up), START_S)
            for _ in range(3):
                number = os.readlink(link)
                with kept_from_others(number):
                    await plug.unplug()
                    await run.until(lambda: run.last_is(Down), BACK_S)
                    await plug.plug()
                    assert os.readlink(link) != number
                await run.until(lambda: run.last_is(Up), BACK_S)
                before = heard(run)
                if info.kind in ("card-reader", "code-scanner"):
                    await run.until(lambda before=before: heard(run) > before, START_S)

    asyncio.run(story())
