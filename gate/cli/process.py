"""What every process of ours that handles passengers' data begins with: no core files, and its event loop."""

import asyncio
import resource
from collections.abc import Callable, Mapping


def forbid_core_files() -> None:
    """A core file would hold whoever stands at a lane. Our child processes inherit the limit.

    One byte, not none: less than the smallest core file, and the one limit that also holds where core_pattern is a pipe
    (Linux fs/coredump.c), as systemd's and apport's are.
    """
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    limit = 1 if most == resource.RLIM_INFINITY else min(1, most)
    resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


LOOPS: Mapping[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop, "uvloop": _uvloop}
