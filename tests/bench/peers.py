"""What people would keep status in instead, asked for the same keys in the same run: Redis, SQLite, plain LMDB."""

import contextlib
import functools
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np

from gate.feed.states import Bytes2, order
from tests.bench.figures import Figure, quantile, timed

Elements = Callable[[], Iterable[Bytes2]]


@dataclass(frozen=True, slots=True)
class Ours:
    """What the peers are measured beside."""

    lookup_us: float  # median, without the HMAC, which everybody needs
    bytes_per_subject: float
    load_s: float
    subjects: int


def beside(elements: Elements, folder: Path, ours: Ours, keys: Sequence[bytes]) -> list[Figure]:
    """The same keys in what people would use instead, each filled and asked in turn in this run."""
    figures = []
    for name, open_peer in PEERS.items():
        with contextlib.ExitStack() as stack:
            started_s = time.perf_counter()
            opened = open_peer(elements, folder, stack)
            loaded_s = time.perf_counter() - started_s
            if opened is None:
                print(f"{name}: not installed on this machine: not measured", file=sys.stderr)
                continue
            ask, size = opened
            assert all(map(ask, keys)), f"{name} has not what it was given"
            theirs_us = quantile(timed(ask, keys), 0.5)
            for figure, mine, theirs, unit, n in (
                ("lookup_p50_us", ours.lookup_us, theirs_us, "µs", len(keys)),
                ("feed_bytes_per_subject", ours.bytes_per_subject, size / ours.subjects, "B", ours.subjects),
                ("feed_load_s", ours.load_s, loaded_s, "s", ours.subjects),
            ):
                note = f"{ours.subjects:,} subjects; theirs is {theirs / mine:.3g} times ours"
                value, peer_value = round(mine, 2), round(theirs, 2)
                figures.append(
                    Figure.beside(
                        f"{figure}_beside_{name}", value, unit, n, peer=name, peer_value=peer_value, note=note
                    )
                )
    return figures


Ask = Callable[[bytes], object]
Opened = tuple[Ask, int]  # and the bytes that all of it takes


def redis_peer(elements: Elements, folder: Path, stack: contextlib.ExitStack, shared: bool = False) -> Opened | None:
    """GET over loopback from a real server; the reply is read by hand, which is the fastest client there is.

    Where the two processes run decides: on a core each (as two busy services are placed) a reply has to wake an idle
    core; on one core (`shared`) it is one switch. Both are measured, since a machine does now this and now that.
    """
    if not shutil.which("redis-server"):
        return None
    cores = sorted(os.sched_getaffinity(0))
    stack.callback(os.sched_setaffinity, 0, cores)
    os.sched_setaffinity(0, {cores[0] if shared else cores[-1]})
    port = free_port()
    quiet = ["--save", "", "--appendonly", "no", "--daemonize", "no"]
    server = subprocess.Popen(["redis-server", "--port", str(port), *quiet], stdout=subprocess.DEVNULL)
    os.sched_setaffinity(0, {cores[0]})
    stack.callback(server.wait)
    stack.callback(server.terminate)
    link = stack.enter_context(connected(port))
    for part in elements():
        _fill(link, part.tobytes())
    link.sendall(b"INFO memory\r\n")
    said = link.recv(65_536)
    while not said.endswith(b"\r\n\r\n"):  # a bulk string that ends with an empty line of its own
        said += link.recv(65_536)
    found = re.search(rb"used_memory:(\d+)", said)
    assert found

    def ask(key: bytes) -> bool:
        link.sendall(b"*2\r\n$3\r\nGET\r\n$16\r\n" + key + b"\r\n")
        return link.recv(64).startswith(b"$28\r\n")

    return ask, int(found[1])


def _fill(link: socket.socket, raw: bytes) -> None:
    for at in range(0, len(raw), 44 * 10_000):
        rows = raw[at : at + 44 * 10_000]
        commands = [
            b"*3\r\n$3\r\nSET\r\n$16\r\n" + rows[n : n + 16] + b"\r\n$28\r\n" + rows[n + 16 : n + 44] + b"\r\n"
            for n in range(0, len(rows), 44)
        ]
        link.sendall(b"".join(commands))
        left = 5 * len(commands)  # "+OK\r\n" each
        while left:
            left -= len(link.recv(left))


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


def _in_order(elements: Elements) -> Iterator[bytes]:
    """Everybody by key, as trees like it best, in portions; the sorting is part of the load, as it is of ours."""
    together = np.concatenate(list(elements()))
    together = together[order(together[:, :16])]
    for at in range(0, len(together), 1_000_000):
        yield together[at : at + 1_000_000].tobytes()


def sqlite_peer(elements: Elements, folder: Path, stack: contextlib.ExitStack) -> Opened:
    """A table with the key as its primary key, read from the same process."""
    base = sqlite3.connect(folder / "peer.sqlite")
    stack.callback(base.close)
    base.execute("PRAGMA journal_mode = OFF")
    base.execute("CREATE TABLE status (key BLOB PRIMARY KEY, state BLOB) WITHOUT ROWID")
    for raw in _in_order(elements):
        rows = ((raw[at : at + 16], raw[at + 16 : at + 44]) for at in range(0, len(raw), 44))
        base.executemany("INSERT INTO status VALUES (?, ?)", rows)
    base.commit()
    size = (folder / "peer.sqlite").stat().st_size
    return lambda key: base.execute("SELECT state FROM status WHERE key = ?", (key,)).fetchone(), size


def lmdb_peer(elements: Elements, folder: Path, stack: contextlib.ExitStack) -> Opened:
    """One read transaction a look-up, as a reader beside a writer must."""
    environment = lmdb.open(str(folder / "peer.lmdb"), map_size=64 << 30, sync=False)
    stack.callback(environment.close)
    for raw in _in_order(elements):
        with environment.begin(write=True) as transaction, transaction.cursor() as cursor:
            rows = [(raw[at : at + 16], raw[at + 16 : at + 44]) for at in range(0, len(raw), 44)]
            cursor.putmulti(rows, append=True)

    def ask(key: bytes) -> object:
        with environment.begin() as transaction:
            return transaction.get(key)

    return ask, (folder / "peer.lmdb" / "data.mdb").stat().st_blocks * 512


PEERS: Mapping[str, Callable[[Elements, Path, contextlib.ExitStack], Opened | None]] = {
    "redis": redis_peer,
    "redis_on_our_core": functools.partial(redis_peer, shared=True),
    "sqlite": sqlite_peer,
    "lmdb": lmdb_peer,
}
