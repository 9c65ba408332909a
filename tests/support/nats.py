"""A real nats-server for a test: on a free port, with a temporary store, killed and restarted at will."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

SERVER = shutil.which("nats-server") or next(
    (path for path in ("/usr/sbin/nats-server", "/usr/local/bin/nats-server") if os.access(path, os.X_OK)), None
)
WHY_NOT = "needs nats-server: as root, apt-get install nats-server"


# Below Linux's ephemeral ports (32768): a server that is restarted finds its port again, and no client sits on it.
_PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    for port in random.SystemRandom().sample(_PORTS, 100):  # the common generator is seeded alike in parallel tests
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("100 ports in a row are taken")


class NatsServer:
    """One server; its port and store stay over a restart."""

    def __init__(self, folder: Path, extra: str = "", domain: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.monitor_port = free_port()
        self._extra = extra
        self._domain = f", domain: {domain}" if domain else ""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start, and wait until it answers that JetStream is ready."""
        process = self._process = self._spawn()
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(self._healthy):
                assert process.poll() is None, (self.folder / "nats.log").read_text()[-2000:]
                await asyncio.sleep(0.02)

    def kill(self) -> None:
        """As a power cut would."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """As a frozen machine or a dead line: nothing is closed, nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def cpu_s(self) -> float:
        """Seconds of CPU that the running server has used."""
        assert self._process is not None
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5) 14 and 15

    def rss_mb(self) -> float:
        assert self._process is not None
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def varz(self, page: str = "varz") -> dict[str, Any]:
        """What the server says of itself: `varz`, `connz`, `jsz`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/{page}", timeout=5) as reply:
            told: dict[str, Any] = json.load(reply)
            return told

    def _spawn(self) -> subprocess.Popen[bytes]:
        assert SERVER is not None, WHY_NOT
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "nats.conf"
        store = f'store_dir: "{self.folder}/store", max_file_store: 64GB, max_memory_store: 1GB'
        settings.write_text(
            f'listen: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.monitor_port}"\nserver_name: gate-{self.port}\n'
            f"jetstream {{ {store}{self._domain} }}\n{self._extra}\n"
        )
        with (self.folder / "nats.log").open("ab") as said:
            return subprocess.Popen([SERVER, "-c", str(settings)], stdout=said, stderr=said)

    def _healthy(self) -> bool:
        try:
            return bool(self.varz("healthz").get("status") == "ok")
        except (OSError, ValueError):
            return False

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None


@contextlib.asynccontextmanager
async def nats_server(folder: Path, extra: str = "", domain: str = "") -> AsyncIterator[NatsServer]:
    """A running server until the block ends; `extra` is more of its configuration file."""
    server = NatsServer(folder, extra, domain)
    await server.start()
    try:
        yield server
    finally:
        server.kill()
