"""Feeds from the publisher's bytes to the reader's finding; a far side that publishes wrong things on purpose."""

import dataclasses
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.finding import Band, Freshness, FreshnessLimits, Listed, Missing, NotListed, Unknown
from gate.feed.ledger import Held, Refusal, Standing, judge
from gate.feed.records import (
    KEY_SCHEME,
    CredentialStatus,
    SnapshotError,
    SnapshotHeader,
    StatusEntry,
    decode_entry,
    decode_header,
    encode_prefix,
)
from gate.moment import Moment
from gate.sync.keyring import KeyFileError, keygen, load_peppers, load_private_key, load_public_keys
from gate.sync.publisher import Edition, PublishError, Row, publish
from gate.sync.snapshot import SnapshotRefusedError, Trust, verify
from gate.sync.store import open_store

NOW = datetime.now(UTC)
NOW_S = int(NOW.timestamp())
MOMENT = Moment(float(NOW_S), 0.0)


class Region:
    """One issuer with its keys, able to publish right and wrong."""

    def __init__(self, folder: Path, issuer: str = "AKM") -> None:
        self.folder = folder
        self.issuer = issuer
        paths = keygen(folder, issuer, NOW)
        self.private = load_private_key(paths["private"])
        self.keys_file, self.pepper_file = paths["keys"], paths["pepper"]
        self.pepper_id = next(iter(load_peppers(paths["pepper"], issuer)))

    @property
    def trust(self) -> Trust:
        return Trust(self.issuer, load_public_keys(self.keys_file, self.issuer), frozenset({self.pepper_id}))

    def snapshot(self, sequence: int = 1, count: int = 3, status: str = "GREEN", produced_s: int = NOW_S) -> Path:
        rows = [Row(n, StatusEntry(key(n), CredentialStatus(status), "340000", NOW_S)) for n in range(count)]
        edition = Edition(self.issuer, sequence, produced_s, produced_s + 86400, KEY_SCHEME, self.pepper_id)
        out = self.folder / f"{self.issuer.lower()}-{sequence}.snapshot"
        publish(rows, edition, self.private, out)
        return out

    def signed(self, **wrong: object) -> Path:
        """A snapshot whose header says something else, rightly signed."""
        path = self.snapshot()
        raw = path.read_bytes()
        entries = raw[-3 * 32 :]
        header = decode_header(raw[76:-96])
        header = dataclasses.replace(header, **wrong)  # type: ignore[arg-type]
        path.write_bytes(encode_prefix(header, self.private.key.sign(header.signed_bytes())) + entries)
        return path


def key(number: int) -> bytes:
    return number.to_bytes(4, "big") * 4


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "akm")


def _flip(at: int) -> Callable[[bytes], bytes]:
    return lambda raw: raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda raw: b"", Refusal.NOT_A_SNAPSHOT),
        (lambda raw: b"PK\x03\x04" + raw, Refusal.NOT_A_SNAPSHOT),
        (lambda raw: raw[:60], Refusal.NOT_A_SNAPSHOT),
        (lambda raw: raw[:120], Refusal.TRUNCATED),
        (lambda raw: raw[:-1], Refusal.TRUNCATED),
        (lambda raw: raw[:-32], Refusal.TRUNCATED),
        (lambda raw: raw + b"\0", Refusal.TRAILING_BYTES),
        (_flip(-7), Refusal.ALTERED),
        (_flip(20), Refusal.BAD_SIGNATURE),
        (lambda raw: raw.replace(b'"sequence":1', b'"sequence":2'), Refusal.BAD_SIGNATURE),
        (lambda raw: raw.replace(b'"sequence":1', b'"sequence":1 ')[:12] + raw[12:], None),
        (lambda raw: raw[:-96] + raw[-64:-32] + raw[-96:-64] + raw[-32:], Refusal.UNSORTED),
        (lambda raw: raw[:-16] + b"\0" + raw[-15:], Refusal.BAD_ENTRY),
    ],
)
def test_a_damaged_file_is_refused_by_name(
    region: Region, change: Callable[[bytes], bytes], why: Refusal | None
) -> None:
    """Cut, prolonged, flipped, reordered: each has its own name."""
    path = region.snapshot()
    path.write_bytes(change(path.read_bytes()))
    if why is None:
        assert verify(path, region.trust).count == 3
        return
    with pytest.raises(SnapshotRefusedError) as refused:
        verify(path, region.trust)
    assert refused.value.why is why


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"issuer": "ZJ"}, Refusal.WRONG_ISSUER),
        ({"key_id": "other"}, Refusal.UNKNOWN_KEY),
        ({"key_scheme": "gate/subject/2"}, Refusal.UNKNOWN_SCHEME),
        ({"pepper_id": "1999-01"}, Refusal.UNKNOWN_PEPPER),
        ({"produced_utc_s": NOW_S - 5 * 366 * 86400}, Refusal.KEY_NOT_VALID_THEN),
        ({"count": 2}, Refusal.TRAILING_BYTES),
        ({"count": 4}, Refusal.TRUNCATED),
        ({"content_digest": "0" * 64}, Refusal.ALTERED),
    ],
)
def test_a_wrong_statement_is_refused_though_rightly_signed(
    region: Region, wrong: dict[str, object], why: Refusal
) -> None:
    """The signature proves who said it, not that it is so."""
    with pytest.raises(SnapshotRefusedError) as refused:
        verify(region.signed(**wrong), region.trust)
    assert refused.value.why is why


def test_another_regions_key_signs_nothing_here(region: Region, tmp_path: Path) -> None:
    """A snapshot signed by somebody else under our key's name is a bad signature."""
    other = Region(tmp_path / "other")
    with pytest.raises(SnapshotRefusedError) as refused:
        verify(other.snapshot(), region.trust)
    assert refused.value.why in (Refusal.BAD_SIGNATURE, Refusal.UNKNOWN_KEY)


def _header(sequence: int = 5, produced_s: int = NOW_S, digest: str = "a" * 64) -> SnapshotHeader:
    return SnapshotHeader("AKM", sequence, "FULL", produced_s, produced_s + 1, 1, digest, KEY_SCHEME, "p", "k")


@pytest.mark.parametrize(
    ("header", "judged"),
    [
        (_header(6), Standing.NEWER),
        (_header(9), Standing.NEWER),
        (_header(4), Refusal.OLDER),
        (_header(5), Standing.HELD_ALREADY),
        (_header(5, digest="b" * 64), Refusal.SAME_SEQUENCE_OTHER_CONTENT),
        (_header(6, produced_s=NOW_S - 1), Refusal.PRODUCED_EARLIER),
        (_header(6, produced_s=NOW_S + 3600), Refusal.FROM_THE_FUTURE),
        (_header(6, produced_s=NOW_S + 60), Standing.NEWER),
    ],
)
def test_what_may_replace_what_is_held(header: SnapshotHeader, judged: Standing | Refusal) -> None:
    """Only a later sequence, produced later, and not in the future."""
    assert judge(Held.of(_header(5)), header, MOMENT) is judged


def test_bands_follow_the_limits_and_the_future_is_not_fresh() -> None:
    """FRESH, AGED, EXPIRED at their limits; a time from the future is no better than a long past one."""
    limits = FreshnessLimits(100.0, 200.0)
    for age_s, band in ((0, "FRESH"), (99, "FRESH"), (100, "AGED"), (199, "AGED"), (200, "EXPIRED"), (-301, "EXPIRED")):
        assert Freshness(MOMENT.utc_s - age_s).band(limits, MOMENT) is Band(band)


_APPLY = """
import sys
from pathlib import Path
from gate.sync.snapshot import SnapshotRefusedError, open_snapshot
from gate.sync.store import StoreWriter
from gate.sync.keyring import load_public_keys
from gate.sync.snapshot import Trust
store, path, keys, issuer, pepper_id = sys.argv[1:]
with open(path, "rb") as file:
    try:
        StoreWriter(Path(store)).apply(
            open_snapshot(file, Trust(issuer, load_public_keys(Path(keys), issuer), frozenset({pepper_id})))
        )
    except SnapshotRefusedError as error:
        sys.exit(str(error.why))
"""


def _apply(store: Path, region: Region, path: Path) -> str:
    """Apply in a process of its own, as in service (LMDB is not to be opened twice in one); "" or the refusal."""
    arguments = [str(store), str(path), str(region.keys_file), region.issuer, region.pepper_id]
    done = subprocess.run([sys.executable, "-c", _APPLY, *arguments], capture_output=True, text=True, check=False)
    return done.stderr.strip()


def test_the_store_finds_what_was_published(region: Region, tmp_path: Path) -> None:
    """Listed, not listed, no feed, no pepper are four answers; a reader that was there first sees the store appear."""
    store = open_store(tmp_path / "store", ["AKM", "ZJ"])
    assert store.find({"AKM": key(1)}, MOMENT)[0] == Unknown("AKM", Missing.NO_FEED)
    assert _apply(tmp_path / "store", region, region.snapshot(count=2000)) == ""
    listed, other = store.find({"AKM": key(1), "ZJ": key(1)}, MOMENT)
    assert isinstance(listed, Listed)
    assert (listed.status, listed.sequence, listed.asserted_by) == ("GREEN", 1, "340000")
    assert other == Unknown("ZJ", Missing.NO_FEED)
    assert isinstance(store.find({"AKM": b"?" * 16}, MOMENT)[0], NotListed)
    assert store.find({}, MOMENT)[0] == Unknown("AKM", Missing.PEPPER_MISSING)
    assert _apply(tmp_path / "store", region, region.snapshot(2, status="RED")) == ""
    assert isinstance(found := store.find({"AKM": key(1)}, MOMENT)[0], Listed)
    assert (found.status, found.sequence) == ("RED", 2)
    assert isinstance(store.find({"AKM": key(1999)}, MOMENT)[0], NotListed), "what the new one does not list is gone"
    store.close()


def test_a_refused_snapshot_leaves_the_last_good_one(region: Region, tmp_path: Path) -> None:
    """The entries turn out wrong in the middle of applying: nothing has changed."""
    assert _apply(tmp_path / "store", region, region.snapshot(count=30_000)) == ""
    bad = region.snapshot(2, count=30_000, status="RED")
    raw = bytearray(bad.read_bytes())
    raw[-7] ^= 1
    bad.write_bytes(raw)
    assert _apply(tmp_path / "store", region, bad) == "ALTERED"
    store = open_store(tmp_path / "store", ["AKM"])
    found = store.find({"AKM": key(1)}, MOMENT)[0]
    assert isinstance(found, Listed)
    assert (found.status, found.sequence) == ("GREEN", 1)
    store.close()


def test_a_flipped_bit_is_never_another_status(region: Region, tmp_path: Path) -> None:
    """Every single byte of one stored value flipped in the file: unknown, and never another colour."""
    assert _apply(tmp_path / "store", region, region.snapshot(count=1)) == ""
    raw = (tmp_path / "store" / "data.mdb").read_bytes()
    entry = StatusEntry(key(0), CredentialStatus.GREEN, "340000", NOW_S).encode()
    places = [at for at in range(len(raw)) if raw.startswith(entry, at)]
    assert places, "the value was found in the file"
    seen = set()
    for offset in range(16, 36):
        damaged = bytearray(raw)
        for at in places:
            damaged[at + offset] ^= 0x02
        folder = tmp_path / f"copy-{offset}"
        shutil.copytree(tmp_path / "store", folder)
        (folder / "data.mdb").write_bytes(damaged)
        store = open_store(folder, ["AKM"])
        seen.add(store.find({"AKM": key(0)}, MOMENT)[0])
        store.close()
    assert seen == {Unknown("AKM", Missing.STORE_DAMAGED)}


def _worker(folder: Path, region: Region, source: Path) -> "subprocess.Popen[str]":
    worker = subprocess.Popen(
        [sys.executable, "-m", "gate.sync.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    feed = {
        "issuer": region.issuer,
        "source": f"dir:{source}",
        "public_keys_file": str(region.keys_file),
        "pepper_file": str(region.pepper_file),
    }
    missing = {**feed, "issuer": "ZJ", "source": "dir:/nowhere"}
    offset_s = time.time() - time.monotonic()
    assert worker.stdin is not None
    worker.stdin.write(json.dumps({"store": str(folder), "feeds": [missing, feed], "offset_s": offset_s}) + "\n")
    worker.stdin.flush()
    return worker


def _hear(worker: "subprocess.Popen[str]", event: str) -> dict[str, object]:
    assert worker.stdout is not None
    for line in worker.stdout:
        said: dict[str, object] = json.loads(line)
        if said["event"] == event:
            return said
    raise AssertionError(f"the feed process ended without {event}")


def test_the_feed_process_applies_refuses_and_ends_with_its_station(region: Region, tmp_path: Path) -> None:
    """One broken source stops no other; an older file is refused by name; closing stdin ends it."""
    region.snapshot(5)
    worker = _worker(tmp_path / "store", region, region.folder)
    try:
        assert _hear(worker, "source_failed")["issuer"] == "ZJ"
        assert _hear(worker, "applied")["sequence"] == 5
        _hear(worker, "ready")
        region.snapshot(3)
        assert str(_hear(worker, "refused")["detail"]).startswith("OLDER")
        assert worker.stdin is not None
        worker.stdin.close()
        assert worker.wait(timeout=10) == 0
    finally:
        worker.kill()
        worker.wait()


def test_a_killed_feed_process_leaves_a_whole_store(region: Region, tmp_path: Path) -> None:
    """kill -9 at different instants of applying: what is read is the old state or the new one, never a mixture."""
    region.snapshot(1, count=20_000)
    for sequence, delay_s in ((2, 0.0), (3, 0.02), (4, 0.05), (5, 0.1)):
        worker = _worker(tmp_path / "store", region, region.folder)
        _hear(worker, "ready")
        region.snapshot(sequence, count=20_000, status="RED" if sequence % 2 else "GREEN")
        time.sleep(delay_s)  # where in its work the process is killed is the point
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        store = open_store(tmp_path / "store", ["AKM"])
        found = {store.find({"AKM": key(n)}, MOMENT)[0] for n in range(0, 20_000, 997)}
        assert len({(f.status, f.sequence) for f in found if isinstance(f, Listed)}) == 1
        assert all(isinstance(f, Listed) for f in found)
        store.close()


def test_key_files_that_cannot_be_used_say_where_and_what_to_do(region: Region, tmp_path: Path) -> None:
    """Missing, of another issuer, torn: path and remedy; secrets are never overwritten."""
    with pytest.raises(KeyFileError, match="gate feed keygen"):
        load_peppers(tmp_path / "none", "AKM")
    with pytest.raises(KeyFileError, match="belongs to issuer 'AKM'"):
        load_peppers(region.pepper_file, "ZJ")
    region.pepper_file.write_text("{")
    with pytest.raises(KeyFileError, match="is not JSON"):
        load_peppers(region.pepper_file, "AKM")
    with pytest.raises(KeyFileError, match="is there already"):
        keygen(region.folder, "AKM", NOW + timedelta(days=1))


def test_two_lines_of_one_person_that_differ_are_refused(region: Region) -> None:
    """Line numbers, not the person."""
    rows = [
        Row(2, StatusEntry(key(1), CredentialStatus.GREEN, "340000", NOW_S)),
        Row(9, StatusEntry(key(1), CredentialStatus.RED, "340000", NOW_S)),
    ]
    edition = Edition("AKM", 1, NOW_S, NOW_S + 1, KEY_SCHEME, region.pepper_id)
    with pytest.raises(PublishError, match="lines 2 and 9"):
        publish(rows, edition, region.private, region.folder / "x.snapshot")
    assert not (region.folder / "x.snapshot").exists()


_ENTRIES = st.builds(
    StatusEntry,
    st.binary(min_size=16, max_size=16),
    st.sampled_from(CredentialStatus),
    st.integers(0, 999_999).map(lambda n: f"{n:06d}"),
    st.integers(1, 2**32 - 1),
    st.one_of(st.none(), st.integers(1, 2**32 - 1)),
    st.integers(0, 255),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(_ENTRIES)
def test_entries_come_back_as_they_were(entry: StatusEntry) -> None:
    """32 bytes and back; the key is in no repr."""
    assert decode_entry(entry.encode()) == entry
    assert len(entry.encode()) == 32
    assert "subject_key" not in repr(entry)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.binary(max_size=40))
def test_zeroed_or_random_bytes_are_no_status_by_accident(raw: bytes) -> None:
    """What decodes is exactly what was encoded; zeros are an error."""
    try:
        assert decode_entry(raw).encode() == raw
    except SnapshotError:
        return
    with pytest.raises(SnapshotError):
        decode_entry(bytes(32))


def test_a_header_in_another_form_is_no_header() -> None:
    """One canonical form: spaces, other orders or types are refused, or two files could have one signature."""
    raw = _header().encode()
    assert decode_header(raw) == _header()
    for other in (raw.replace(b",", b", "), raw.replace(b":5}", b':"5"}'), b"[]", b"\xff", raw[:-1]):
        with pytest.raises(SnapshotError):
            decode_header(other)
    assert io.BytesIO(raw).read() == raw
