"""The camera process seen from the controller: one child for all cameras of an event loop (drivers/worker)."""

import asyncio
import sys
import weakref

from drivers.scanners.camera.codec import Kind
from drivers.worker.process import WorkerProcess

COMMAND = (sys.executable, "-m", "drivers.scanners.camera.worker")
_processes: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, WorkerProcess]" = weakref.WeakKeyDictionary()


def shared_process() -> WorkerProcess:
    """The camera process of the running loop."""
    made = WorkerProcess("camera", Kind, lambda: COMMAND)
    return _processes.setdefault(asyncio.get_running_loop(), made)
