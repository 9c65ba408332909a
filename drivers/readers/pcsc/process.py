"""The PC/SC process seen from the controller: one child for all its readers (drivers/worker)."""

import asyncio
import sys
import weakref

from drivers.readers.pcsc.codec import Kind
from drivers.worker.process import WorkerProcess

COMMAND = (sys.executable, "-m", "drivers.readers.pcsc.worker")
_processes: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WorkerProcess]" = weakref.WeakKeyDictionary()


def shared_process() -> WorkerProcess:
    """The PC/SC process of the running loop."""
    made = WorkerProcess("PC/SC", Kind, lambda: COMMAND)
    return _processes.setdefault(asyncio.get_running_loop(), made)
