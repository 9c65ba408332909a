"""What people would keep status in instead, asked for the same keys in the same run: Redis, SQLite, plain LMDB."""

import contextlib
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import lmdb

from gate.feed.states import Bytes2, order
from tests.bench.figures import Figure, quantile, timed

Elements = Callable[[], Iterable[Bytes2]]


def beside(elements: Elements, folder: Path, mine: float, keys: Sequence[bytes]) -> list[Figure]:
    """The same keys in what people would use instead, each asked in turn in this run; `mine` is our median in µs."""
    figures = []
    for name, open_peer in (("redis", redis_peer), ("sqlite", sqlite_peer), ("lmdb", lmdb_peer)):
        with contextlib.ExitStack() as stack:
            ask = open_peer(elements, folder, stack)
            if ask is None:
                print(f"{name}: not installed on this machine: not measured", file=sys.stderr)
                continue
            assert all(map(ask, keys)), f"{name} has not what it was given"
            theirs = quantile(timed(ask, keys), 0.5)
            figures.append(
                Figure.beside(
                    f"lookup_p50_us_beside_{name}",
                    round(mine, 2),
                    "µs",
                    len(keys),
                    peer=name,
                    peer_value=round(theirs, 2),
                    note=f"theirs is {theirs / mine:.1f} times ours",
                )
            )
    return figures


Ask = Callable[[bytes], object]


def redis_peer(elements: Elements, folder: Path, stack: contextlib.ExitStack) -> Ask | None:
    """GET over loopback from a real server; the reply is parsed by hand, which is the fastest client there is."""
    if not shutil.which("redis-server"):
        return None
    port = free_port()
    quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    server = subprocess.Popen(["redis-server", "--port", str(port), *quiet], stdout=subprocess.DEVNULL)
    stack.callback(server.wait)
    stack.callback(server.terminate)
    link = stack.enter_context(connected(port))
    for part in elements():
        raw = part.tobytes()
        for at in range(0, len(raw), 44 * 10_000):
            rows = raw[at : at + 44 * 10_000]
            commands = [
                b"*3\r\n$3\r\nSET\r\n$16\r\n" + rows[n : n + 16] + b"\r\n$28\r\n" + rows[n + 16 : n + 44] + b"\r\n"
                for n in range(0, len(rows), 44)
            ]
            link.sendall(b"".join(commands))
            left = 5 * len(commands)
            while left:
                left -= len(link.recv(left))

    def ask(key: bytes) -> bytes:
        link.sendall(b"*2\r\n$3\r\nGET\r\n$16\r\n" + key + b"\r\n")
        return link.recv(64)

    return ask


def connected(port: int) -> socket.socket:
    """A connection to a server that is starting."""
    ends_s = time.monotonic() + 10
    while True:
        try:
            link = socket.create_connection(("127.0.0.1", port))
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return link
        except ConnectionRefusedError:
            if time.monotonic() > ends_s:
                raise
            time.sleep(0.05)


def free_port() -> int:
    """A TCP port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


def sqlite_peer(elements: Elements, folder: Path, stack: contextlib.ExitStack) -> Ask:
    """A table with the key as its primary key, read from the same process."""
    base = sqlite3.connect(folder / "peer.sqlite")
    stack.callback(base.close)
    base.execute("PRAGMA journal_mode = OFF")
    base.execute("CREATE TABLE status (key BLOB PRIMARY KEY, state BLOB) WITHOUT ROWID")
    for part in elements():
        raw = part[order(part[:, :16])].tobytes()
        rows = ((raw[at : at + 16], raw[at + 16 : at + 44]) for at in range(0, len(raw), 44))
        base.executemany("INSERT INTO status VALUES (?, ?)", rows)
    base.commit()
    return lambda key: base.execute("SELECT state FROM status WHERE key = ?", (key,)).fetchone()


def lmdb_peer(elements: Elements, folder: Path, stack: contextlib.ExitStack) -> Ask:
    """One read transaction a look-up, as a reader beside a writer must."""
    environment = lmdb.open(str(folder / "peer.lmdb"), map_size=64 << 30, sync=False)
    stack.callback(environment.close)
    for part in elements():
        raw = part[order(part[:, :16])].tobytes()
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti([(raw[at : at + 16], raw[at + 16 : at + 44]) for at in range(0, len(raw), 44)])

    def ask(key: bytes) -> object:
        with environment.begin() as transaction:
            return transaction.get(key)

    return ask
