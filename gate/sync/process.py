"""The station's side of the feed process: starts it, hears what it did, and starts it again when it dies."""

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gate import config

log = logging.getLogger(__name__)

RESTART_S = (0.5, 1.0, 2.0, 5.0)  # the store stays readable meanwhile; five seconds cost no freshness
STEADY_S = 30.0  # a process that lived so long starts again at the shortest wait
END_S = 2.0  # after which it is killed; an unfinished file is swept at the next start
LINE_BYTES_MAX = 64 * 1024


class FeedProcess:
    """Keeps one `gate.sync.worker` running."""

    def __init__(
        self,
        station: str,
        store: Path,
        feeds: Sequence[config.Feed],
        offset_s: Callable[[], float],
        on_event: Callable[[dict[str, Any]], None],
    ) -> None:
        self._station = station
        self._store = store
        self._feeds = feeds
        self._offset_s = offset_s
        self._on_event = on_event

    async def run(self) -> None:
        """Run until cancelled."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            started_s = loop.time()
            code = await self._once()
            attempt = 0 if loop.time() - started_s > STEADY_S else attempt
            log.error("the feed process ended with %s; starting it again", code)
            await asyncio.sleep(RESTART_S[min(attempt, len(RESTART_S) - 1)])
            attempt += 1

    async def _once(self) -> int:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gate.sync.worker", stdin=pipe, stdout=pipe, limit=LINE_BYTES_MAX
        )
        assert process.stdin is not None  # noqa: S101 - PIPE was asked for
        assert process.stdout is not None  # noqa: S101 - PIPE was asked for
        try:
            process.stdin.write(self._configuration())
            await process.stdin.drain()
            while line := await process.stdout.readline():
                self._hear(line)
            return await process.wait()
        except (OSError, ValueError) as error:
            log.error("the feed process broke its pipe: %s", type(error).__name__)
            return -1
        finally:
            await self._end(process)

    def _configuration(self) -> bytes:
        return json.dumps(configuration(self._station, self._store, self._feeds, self._offset_s())).encode() + b"\n"

    def _hear(self, line: bytes) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            log.error("the feed process said something that is not JSON")
            return
        self._on_event(event)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin:
            process.stdin.close()
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        finally:  # also when we are cancelled once more while we wait
            # A pipe that a grandchild or a slow kernel still holds would be closed after the loop: close it here.
            process._transport.close()  # type: ignore[attr-defined]  # asyncio has no public way


def configuration(station: str, store: Path, feeds: Sequence[config.Feed], offset_s: float) -> dict[str, Any]:
    """What a feed process is told: JSON values. `offset_s`: UTC minus the monotonic clock, which processes share."""
    rows = [
        {
            "issuer": feed.issuer,
            "source": feed.source,
            "public_keys_file": str(feed.public_keys_file),
            "pepper_file": str(feed.pepper_file),
            "tls": [str(path) if path else None for path in (feed.ca_file, feed.certificate, feed.private_key)],
        }
        for feed in feeds
    ]
    return {"station": station, "store": str(store), "feeds": rows, "offset_s": offset_s}
