"""A station controller in a process of its own, as `gate run` starts it."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

READY_S = 60.0  # a slow machine's first start, ten of them at once in the journey; ready is aimed at 2 s
STOP_S = 15.0  # the controller's own limit is 5 s for passages and 2 s for the journal
_SAID_MAX = 2000  # characters of its log that an error repeats: the last line says why


class DemoError(Exception):
    """The demonstration could not run; the text says what failed outside."""


class PortTakenError(Exception):
    """Another program listens where the controller should."""


@dataclass(frozen=True, slots=True)
class Controller:
    """One running controller, ready for passengers."""

    process: asyncio.subprocess.Process
    log: Path

    def said(self, pattern: str) -> list[str]:
        """What its log has of this pattern, line by line."""
        return re.findall(pattern, self.log.read_text("utf-8"), re.MULTILINE)

    @property
    def grpc(self) -> list[str]:
        """The addresses at which gRPC listens."""
        return self.said(r"gRPC at (\S+:\d+)$")

    @property
    def metrics(self) -> list[str]:
        """The addresses of its metrics."""
        return self.said(r"metrics at (\S+)$")


async def start(config: Path, log_file: Path) -> Controller:
    """Start one and wait until it is ready. Raises DemoError, PortTakenError."""
    with log_file.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "gate",
            *(["--verbose"] if log.isEnabledFor(logging.DEBUG) else []),
            "run",
            "--config",
            str(config),
            stdout=asyncio.subprocess.PIPE,
            stderr=output,
            start_new_session=True,  # Ctrl-C is ours: the controller is stopped by SIGTERM, after the passengers
        )
    try:
        if await _ready(process):
            return Controller(process, log_file)
    except asyncio.CancelledError:
        await stop(process)
        raise
    await stop(process)
    said = await asyncio.to_thread(log_file.read_text, "utf-8")
    if "cannot listen" in said:
        raise PortTakenError
    raise DemoError(f"the controller did not become ready: see {log_file}\n{said[-_SAID_MAX:]}")


async def _ready(process: asyncio.subprocess.Process) -> bool:
    assert process.stdout is not None  # noqa: S101 - PIPE was asked for
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(READY_S):
            while line := await process.stdout.readline():
                if line.startswith(b"ready"):
                    return True
    return False


async def stop(process: asyncio.subprocess.Process) -> int:
    """End one in good order, or by force; its exit status."""
    if process.returncode is None:
        # Not `send_signal`: it looks first, and takes the exit status away from the loop that waits for it.
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_S):
            return await process.wait()
    except TimeoutError:
        process.kill()
        return await process.wait()
