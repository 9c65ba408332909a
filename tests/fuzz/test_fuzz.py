"""Every codec is fuzzed for a few seconds on every run; `make fuzz` does a minute each."""

import subprocess

import pytest

from tests.fuzz.__main__ import command, targets

SECONDS = 5


@pytest.mark.parametrize("target", targets())
def test_fuzzing_finds_nothing(target: str) -> None:
    """No input breaks a codec's claim within 5 s."""
    done = subprocess.run(command(target, SECONDS), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
