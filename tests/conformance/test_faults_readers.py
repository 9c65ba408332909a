"""Random fault sequences against every card reader driver: sequences.py says what may not be."""

import asyncio
from pathlib import Path

import pytest

from drivers import registry
from tests.conformance.sequences import COUNT, run_all

DRIVERS = [info for info in registry.drivers().values() if info.kind in ("card-reader",)]


@pytest.mark.timeout(120 + 2 * COUNT)
@pytest.mark.parametrize("info", DRIVERS, ids=[info.name for info in DRIVERS])
def test_no_fault_of_a_night_is_too_much(info: registry.DriverInfo, tmp_path: Path) -> None:
    """Sequences of random faults and commands: nothing happens that was not commanded, and it is back within 2 s."""
    found = asyncio.run(run_all(info, tmp_path))
    assert not found, f"{len(found)} of {COUNT} sequences\n" + "\n".join(found)
