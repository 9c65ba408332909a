"""Every codec is fuzzed for a few seconds on every run; `make fuzz` does a minute each."""

import importlib
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

from drivers import registry
from tests.fuzz.__main__ import command, targets

SECONDS = 3
INPUTS = 200
REACHED_MIN = 0.95  # the rest are branches that only a bug of ours takes
OURS = [name for name in targets() if hasattr(importlib.import_module(f"tests.fuzz.{name}"), "REACHES")]


@pytest.mark.parametrize("target", targets())
def test_fuzzing_finds_nothing(target: str) -> None:
    """No input breaks a codec's claim within a few seconds."""
    done = subprocess.run(command(target, SECONDS), capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_every_driver_s_codec_has_a_target() -> None:
    """A new driver is fuzzed too, or this says so."""
    reached = {importlib.import_module(f"tests.fuzz.{name}").REACHES.__name__ for name in OURS}
    assert {f"{info.package}.codec" for info in registry.drivers().values()} <= reached


@pytest.mark.parametrize("target", OURS)
def test_a_target_reaches_its_codec(target: str) -> None:
    """Already random bytes run nearly every line of the codec's functions: the fuzzer does not stop at its door."""
    module = importlib.import_module(f"tests.fuzz.{target}")
    path = module.REACHES.__file__
    wanted = set(_lines_of_functions(path))
    ran = _run_traced(lambda: _random_inputs(module.fuzz), path)
    missed = sorted(wanted - ran)
    assert len(missed) <= (1 - REACHED_MIN) * len(wanted), f"{path} lines never run: {missed}"


def _random_inputs(fuzz: Callable[[bytes], None]) -> None:
    chance = random.Random(7)  # the same inputs on every run
    fuzz(b"")
    for _ in range(INPUTS):
        fuzz(chance.randbytes(chance.choice([1, 2, 4, 7, 13, 40, 300])))


def _run_traced(work: Callable[[], None], path: str) -> set[int]:
    lines: set[int] = set()

    def trace(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename != path:
            return None
        lines.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return lines


def _lines_of_functions(path: str) -> Iterator[int]:
    """Numbers of the lines that run when functions are called, not when the module is loaded."""
    codes = [compile(Path(path).read_text("utf-8"), path, "exec")]
    while codes:
        code = codes.pop()
        codes += [part for part in code.co_consts if isinstance(part, CodeType)]
        if code.co_flags & 2:  # CO_NEWLOCALS: a function, not a module or class body
            yield from (line for _, _, line in code.co_lines() if line and line != code.co_firstlineno)
