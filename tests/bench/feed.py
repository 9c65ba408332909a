"""The feed measured: size, load, look-ups beside Redis, SQLite and LMDB, deltas, and how long a change takes to a gate.

Five million people by default; `make bench FEED=full` measures the whole Delta.
"""

import contextlib
import hashlib
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from gate.credential.documents import DocumentType, document
from gate.credential.subject import KEY_SCHEME, subject_key
from gate.feed import delta as delta_body
from gate.feed.delta import Changes
from gate.feed.digest import SetDigest
from gate.feed.envelope import Form, Header, encode_prefix
from gate.feed.finding import Enrolled, Listed, NotCovered
from gate.feed.records import DAY_S, DAY_ZERO_UTC_S, CredentialStatus, Enrolment, Kind, StatusEntry
from gate.feed.states import Bytes2, order
from gate.feed.table import FOOT_BYTES
from gate.moment import Moment
from gate.sync.feedfile import Trust, open_feed
from gate.sync.keyring import PrivateKey, keygen, load_peppers, load_private_key, load_public_keys
from gate.sync.publisher import Edition, Output, publish, publish_elements
from gate.sync.rows import Row
from gate.sync.store import FeedStore, open_store
from gate.sync.tablefile import TableFile
from gate.sync.writer import StoreWriter
from tests.bench import peers
from tests.bench.figures import Figure, median_ratio, quantile, timed

DELTA = 235_213_670  # people of Shanghai, Jiangsu, Zhejiang and Anhui, seventh census (operations.md 2.3)
DEFAULT = 5_000_000
ISSUER = "ZJ"
NON_GREEN = 0.01
CITIES = ("310000", "320100", "320500", "330100", "330200", "330300", "340100")
CHUNK = 2_000_000
LOOKUPS = 200_000
PEER_LOOKUPS = 50_000
STRANGERS = 10_000_000
CHANGES = 200_000
PAIR_S = 30.0  # contract.md: alternating pairs of at least 30 s
PAIRS = 5


@dataclass(slots=True)
class Land:
    """A made-up country: its publisher, and what is known of some of its people."""

    folder: Path
    subjects: int
    key: PrivateKey
    pepper: bytes
    pepper_id: str
    now_s: int
    issuer: str = ISSUER
    non_green: list[Bytes2] = field(default_factory=list)
    sample: Bytes2 = field(default_factory=lambda: np.zeros((0, 44), np.uint8))

    def elements(self) -> Iterator[Bytes2]:
        """Everybody, 1 % of them red; the same each time."""
        rng = np.random.default_rng(7)
        left = self.subjects
        today = (self.now_s - DAY_ZERO_UTC_S) // DAY_S
        greens = [Enrolment(city, today + days).encode() for city in CITIES for days in range(1, 60)]
        green = np.array([np.frombuffer(raw, np.uint8) for raw in greens])
        red = np.frombuffer(red_state(self.now_s), np.uint8)
        while left:
            many = min(left, CHUNK)
            left -= many
            states = green[rng.integers(0, len(green), many)]
            is_red = rng.random(many) < NON_GREEN
            states[is_red] = red
            elements = np.concatenate([rng.integers(0, 256, (many, 16), dtype=np.uint8), states], axis=1)
            self.non_green.append(elements[is_red])
            if not len(self.sample):
                self.sample = elements
            yield elements


def red_state(now_s: int) -> bytes:
    """A red with everything told."""
    entry = StatusEntry(b"", CredentialStatus.RED, "330100", now_s - 3600, now_s + 9 * DAY_S, 4, "330100", 1, "330100")
    return entry.encode()


def make_land(folder: Path, subjects: int, issuer: str = ISSUER) -> Land:
    """Keys and pepper."""
    paths = keygen(folder / "keys", issuer, datetime.now(UTC))
    pepper_id, pepper = next(iter(load_peppers(paths["pepper"], issuer).items()))
    return Land(folder, subjects, load_private_key(paths["private"]), pepper, pepper_id, int(time.time()), issuer)


def publish_land(land: Land, sequence: int, snapshot: Path) -> Header:
    """Everybody, as a signed snapshot."""
    kind = Kind.NON_GREEN_WITH_ENROLMENT
    due_s = land.now_s + DAY_S
    edition = Edition(land.issuer, sequence, land.now_s, due_s, KEY_SCHEME, land.pepper_id, kind)
    return publish_elements(land.elements(), edition, land.key, Output(snapshot))[0]


def trust(land: Land) -> Trust:
    """What the station believes."""
    return Trust(ISSUER, load_public_keys(land.folder / "keys" / "zj.keys", ISSUER), frozenset({land.pepper_id}))


def moment(land: Land) -> Moment:
    """Now, by the land's clock."""
    return Moment(float(land.now_s), 0.0)


def anonymous_mb() -> float:
    """RssAnon of this process in MB."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def publish_and_load(land: Land) -> tuple[list[Figure], Header]:
    """Size on disk, and how long a station takes from file to service: copied, hashed, every bucket checked, synced."""
    snapshot = land.folder / "zj-1.snapshot"
    started_s = time.perf_counter()
    header = publish_land(land, 1, snapshot)
    published_s = time.perf_counter() - started_s
    store = StoreWriter(land.folder / "store")
    writer = store.issuer(ISSUER)
    started_s = time.perf_counter()
    writer.take(open_feed(snapshot, trust(land)), moment(land))
    loaded_s = time.perf_counter() - started_s
    store.close()
    note = f"{land.subjects:,} subjects, {NON_GREEN:.0%} non-green"
    size = sum(path.stat().st_size for path in (land.folder / "store" / ISSUER).iterdir())
    snapshot.unlink()
    return [
        Figure("feed_bytes_per_subject", round(size / land.subjects, 3), "B", land.subjects, note),
        Figure("feed_load_s", round(loaded_s, 2), "s", 1, note),
        Figure("feed_publish_s", round(published_s, 1), "s", 1, note + ", signed snapshot from elements"),
    ], header


def lookups(land: Land, store: FeedStore, keys: Sequence[bytes]) -> list[Figure]:
    """One issuer with its HMAC, warm and from a cold page cache; and eight issuers."""
    now = moment(land)
    person = document(DocumentType.PASSPORT, "E12345678")

    def one(key: bytes) -> object:
        subject_key(land.pepper, person)  # the price of a key; the key itself is the sampled person's
        return store.find({ISSUER: key}, now)

    note = f"{land.subjects:,} subjects, HMAC included"
    warm = timed(one, keys)
    warm = timed(one, keys)
    drop_caches()
    cold = timed(one, keys[:2000])
    several = several_issuers(land)
    all_of = [f"I{n}" for n in range(8)]

    def find_all(key: bytes) -> object:
        return several.find({issuer: subject_key(land.pepper, person)[:0] + key for issuer in all_of}, now)

    timed(find_all, keys[: LOOKUPS // 8])
    everybody = timed(find_all, keys[: LOOKUPS // 8])
    several.close()
    return [
        Figure("lookup_p50_us", round(quantile(warm, 0.5), 2), "µs", len(warm), note),
        Figure("lookup_p99_us", round(quantile(warm, 0.99), 2), "µs", len(warm), note),
        Figure("lookup_cold_p99_us", round(quantile(cold, 0.99), 1), "µs", len(cold), note + ", page cache dropped"),
        Figure("find_p50_us", round(quantile(everybody, 0.5), 2), "µs", len(everybody), "8 issuers, 8 HMACs"),
        Figure("find_p99_us", round(quantile(everybody, 0.99), 2), "µs", len(everybody), "8 issuers, 8 HMACs"),
    ]


def token_figure(land: Land) -> Figure:
    """What a static code token costs in a snapshot, beside everything else."""
    count = 200_000
    rng = np.random.default_rng(5)
    keys = rng.integers(0, 256, (count, 2, 16), dtype=np.uint8)
    today = land.now_s - land.now_s % DAY_S
    rows = (
        Row(n, StatusEntry(k[0].tobytes(), CredentialStatus.GREEN, "330100", today), k[1].tobytes())
        for n, k in enumerate(keys)
    )
    out = land.folder / "tokens.snapshot"
    edition = Edition(ISSUER, 1, land.now_s, land.now_s + DAY_S, KEY_SCHEME, land.pepper_id)
    publish(rows, edition, land.key, Output(out))
    opened = TableFile(out, open_feed(out, trust(land)).body_at)
    size = out.stat().st_size - opened.foot.tokens_at - FOOT_BYTES
    opened.close()
    out.unlink()
    return Figure("feed_bytes_per_token", round(size / count, 3), "B", count, "static code tokens, measured apart")


def several_issuers(land: Land) -> FeedStore:
    """Eight issuers with the same feed: links to one store's folder."""
    folder = land.folder / "several"
    folder.mkdir()
    for number in range(8):
        (folder / f"I{number}").symlink_to(land.folder / "store" / ISSUER)
    return open_store(folder, [f"I{number}" for number in range(8)])


def drop_caches() -> None:
    """Forget all clean pages of files; without root, only as far as the kernel lets us."""
    os.sync()
    with contextlib.suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("1\n")


def exactness(land: Land, store: FeedStore) -> list[Figure]:
    """All non-green people, and ten million who were never enrolled."""
    now = moment(land)
    red = np.frombuffer(red_state(land.now_s), np.uint8)
    wrong = checked = 0
    for elements in land.non_green:
        assert (elements[:, 16:] == red).all()
        for row in np.ascontiguousarray(elements[:, :16]):
            found = store.find({ISSUER: row.tobytes()}, now)[0]
            checked += 1
            wrong += not (isinstance(found, Listed) and found.status is CredentialStatus.RED)
    rng = np.random.default_rng(8)
    taken = 0
    for _ in range(STRANGERS // CHUNK):
        for row in rng.integers(0, 256, (CHUNK, 16), dtype=np.uint8):
            taken += not isinstance(store.find({ISSUER: row.tobytes()}, now)[0], NotCovered)
    return [
        Figure("feed_wrong_green", wrong, "subjects", checked, "every non-green subject asked"),
        Figure("feed_taken_for_enrolled", taken, "subjects", STRANGERS, "never enrolled"),
    ]


def write_delta(land: Land, before: Header, elements: Bytes2, states: Bytes2, out: Path) -> Header:
    """The delta that gives these people these states."""
    elements, states = elements[order(elements[:, :16])], states[order(elements[:, :16])]
    changes = Changes(elements[:, :16], elements[:, 16:], states)
    digest = SetDigest(before.set_digest)
    digest.remove(changes.elements(changes.before))
    digest.add(changes.elements(changes.after))
    body = delta_body.encode(changes)
    subjects, exact = changes.growth
    header = Header(
        form=str(Form.DELTA),
        issuer=before.issuer,
        sequence=before.sequence + 1,
        from_sequence=before.sequence,
        kind=before.kind,
        produced_utc_s=before.produced_utc_s,
        next_due_utc_s=before.next_due_utc_s,
        count=before.count + subjects,
        exact_count=before.exact_count + exact,
        changes=len(elements),
        tokens=0,
        body_bytes=len(body),
        content_digest=hashlib.sha256(body).hexdigest(),
        from_set_digest=before.set_digest,
        set_digest=digest.hexadecimal,
        key_scheme=before.key_scheme,
        pepper_id=before.pepper_id,
        key_id=before.key_id,
        partitions=before.partitions,
    )
    out.write_bytes(encode_prefix(header, land.key.sign(header.signed_bytes())) + body)
    return header


def deltas(land: Land, header: Header, many: int) -> tuple[list[Path], Header]:
    """`many` deltas of 200,000 people each, who turn red and back."""
    red = np.frombuffer(red_state(land.now_s), np.uint8)
    paths = []
    for number in range(many):
        at = (number // 2 * CHANGES) % max(1, len(land.sample) - CHANGES + 1)
        some = land.sample[at : at + CHANGES]
        some = some[some[:, 16] == 16]
        reds = np.concatenate([some[:, :16], np.tile(red, (len(some), 1))], axis=1)
        first, last = (some, reds[:, 16:]) if number % 2 == 0 else (reds, some[:, 16:])
        path = land.folder / f"zj-{header.sequence + 1}.delta"
        header = write_delta(land, header, first, last, path)
        paths.append(path)
    return paths, header


_TAKER = """
import os, sys
from pathlib import Path
from gate.moment import Moment
from gate.sync.feedfile import Trust, open_feed
from gate.sync.keyring import load_public_keys
from gate.sync.writer import StoreWriter
store, keys, pepper_id, now_s = sys.argv[1:]
os.nice(10)
writer = StoreWriter(Path(store)).issuer("ZJ")
trust = Trust("ZJ", load_public_keys(Path(keys), "ZJ"), frozenset({pepper_id}))
print("ready", flush=True)
import time
for line in sys.stdin:
    feed = open_feed(Path(line.strip()), trust)
    started = time.perf_counter()
    writer.take(feed, Moment(float(now_s), 0.0))
    print(time.perf_counter() - started, flush=True)
"""


def delta_figures(land: Land, store: FeedStore, header: Header, keys: Sequence[bytes], pair_s: float) -> list[Figure]:
    """Entries a second, taken by a process of its own; and what that does to look-ups, in alternating pairs."""
    arguments = [str(land.folder / "store"), str(land.folder / "keys" / "zj.keys"), land.pepper_id, str(land.now_s)]
    command = [sys.executable, "-c", _TAKER, *arguments]
    taker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert taker.stdin
    assert taker.stdout
    taker.stdout.readline()
    now = moment(land)
    speeds: list[float] = []
    pairs: list[tuple[float, float]] = []
    for _ in range(PAIRS):
        idle = _looked(store, keys, now, pair_s, lambda: None)
        paths, header = deltas(land, header, 2 * max(1, int(pair_s) // 2))  # red, and back
        waiting = iter(paths)
        asked = 0
        os.set_blocking(taker.stdout.fileno(), False)

        def feed_one(waiting: Iterator[Path] = waiting) -> None:
            nonlocal asked
            line = taker.stdout.readline() if taker.stdout else ""
            if line:
                speeds.append(CHANGES / float(line))
                asked -= 1
                store.refresh()
            if asked == 0 and (path := next(waiting, None)):
                assert taker.stdin
                taker.stdin.write(f"{path}\n")
                taker.stdin.flush()
                asked += 1

        busy = _looked(store, keys, now, pair_s, feed_one)
        os.set_blocking(taker.stdout.fileno(), True)
        for path in waiting:
            taker.stdin.write(f"{path}\n")
            taker.stdin.flush()
            asked += 1
        for _ in range(asked):
            taker.stdout.readline()
        pairs.append((busy, idle))
    taker.stdin.close()
    taker.wait()
    ratio = round(median_ratio(pairs), 3)
    note = f"{land.subjects:,} subjects, {CHANGES:,} changes a delta, signature to synced manifest"
    return [
        Figure("feed_delta_entries_per_s", round(statistics.median(speeds)), "1/s", len(speeds), note),
        Figure(
            "lookup_p99_us_under_deltas",
            round(statistics.median(busy for busy, _ in pairs), 2),
            "µs",
            len(pairs),
            f"{land.subjects:,} subjects, median of {PAIRS} pairs of {pair_s:g} s",
            "idle",
            round(statistics.median(idle for _, idle in pairs), 2),
            ratio,
        ),
    ]


def _looked(store: FeedStore, keys: Sequence[bytes], now: Moment, seconds: float, between: Callable[[], None]) -> float:
    """p99 of look-ups for `seconds`, a hundred at a time at about 5 ms, as lanes ask."""
    spent: list[float] = []
    ends_s = time.monotonic() + seconds
    draw = random.Random(3)
    while time.monotonic() < ends_s:
        spent += timed(lambda key: store.find({ISSUER: key}, now), draw.choices(keys, k=100))
        between()
        time.sleep(0.005)
    return quantile(spent, 0.99)


def measure(subjects: int, pair_s: float = PAIR_S, with_peers: bool = True) -> list[Figure]:
    """All figures of the feed for a land of `subjects`."""
    with tempfile.TemporaryDirectory(prefix="gate-bench-feed-") as name:
        folder = Path(name)
        land = make_land(folder, subjects)
        figures, header = publish_and_load(land)
        for path in land.folder.glob("*.snapshot"):
            path.unlink()
        before_mb = anonymous_mb()
        store = open_store(land.folder / "store", [ISSUER])
        rows = land.sample[np.random.default_rng(9).integers(0, len(land.sample), LOOKUPS), :16]
        keys = [row.tobytes() for row in rows]
        grown_mb = anonymous_mb() - before_mb
        assert isinstance(store.find({ISSUER: keys[0]}, moment(land))[0], Enrolled | Listed)
        figures += [*lookups(land, store, keys), token_figure(land)]
        figures.append(
            Figure("feed_store_rss_mb", round(grown_mb, 1), "MB", 1, "RssAnon; includes the sample's 200,000 keys")
        )
        figures += exactness(land, store)
        if with_peers:
            now = moment(land)
            ours = timed(lambda key: store.find({ISSUER: key}, now), keys[:PEER_LOOKUPS])
            found = {figure.name: figure.value for figure in figures}
            size, load_s = found["feed_bytes_per_subject"], found["feed_load_s"]
            mine = peers.Ours(quantile(ours, 0.5), size, load_s, subjects)
            figures += peers.beside(land.elements, folder, mine, keys[:PEER_LOOKUPS])
        figures += delta_figures(land, store, header, keys, pair_s)
        store.close()
        return figures
