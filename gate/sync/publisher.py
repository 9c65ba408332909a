"""The regional side: status rows in, a signed snapshot out, and the delta from the state before.

Bounded memory however many rows: they are sorted into 256 parts on disk, and each part is finished on its own. The
same rows, key, pepper and `produced` give the same bytes with Ed25519 (SM2 signs with a random number: there the
content digest).
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from gate.feed import delta, table
from gate.feed.digest import SetDigest
from gate.feed.envelope import NO_DIGEST, Form, Header, encode_prefix
from gate.feed.partitions import Default, Partition, canonical
from gate.feed.records import (
    ELEMENT_BYTES,
    KEY_BYTES,
    STATE_BYTES,
    CredentialStatus,
    Enrolment,
    Kind,
    StatusEntry,
    enrolment_day,
    region,
)
from gate.feed.states import Bytes2, fields, is_enrolled, is_exact, is_there, key_numbers, order, valid
from gate.sync.keyring import PrivateKey
from gate.sync.rows import Row
from gate.sync.spill import PARTS, Spill
from gate.sync.state import OldState, StateHead, Writing, write_state
from gate.sync.tablewriter import Hashing, TableWriter, ambiguous, salt_of
from gate.sync.tokens import TokenError, TokenTable

_LINE_BYTES = 4
_PROGRESS_ROWS = 4096


class PublishError(ValueError):
    """The rows cannot be published; the text names lines and what to do."""


@dataclass(frozen=True, slots=True)
class Edition:
    """What a publication says about itself."""

    issuer: str
    sequence: int
    produced_utc_s: int
    next_due_utc_s: int
    key_scheme: str
    pepper_id: str
    kind: Kind = Kind.FULL
    partitions: tuple[Partition, ...] = ()  # those of enrolled people that are missing are green from the beginning


@dataclass(slots=True)
class Output:
    """Where a publication goes: the snapshot, and on wish the state for the next delta, and the delta."""

    snapshot: Path
    state: Path | None = None
    delta: Path | None = None
    delta_from: Path | None = None
    progress: Callable[[int], None] = field(default=lambda rows: None)


def publish(rows: Iterable[Row], edition: Edition, key: PrivateKey, output: Output) -> list[Header]:
    """Write the files of `output`, each whole or not at all. Raises PublishError, RowError, OSError."""
    return _publish(edition, key, output, lambda into: _gather(rows, into, edition, output.progress))


def publish_elements(elements: Iterable[Bytes2], edition: Edition, key: PrivateKey, output: Output) -> list[Header]:
    """The same from elements (n, 44) as `feed/records.py` lays them out, for issuers who make them in bulk."""
    return _publish(edition, key, output, lambda into: _gather_elements(elements, into, output.progress))


def _publish(edition: Edition, key: PrivateKey, output: Output, gather: Callable[["_Gathered"], None]) -> list[Header]:
    if key.issuer != edition.issuer:
        raise PublishError(f"the key belongs to issuer {key.issuer!r}, not to {edition.issuer!r}")
    folder = output.snapshot.parent
    with ExitStack() as stack:
        old = None
        if output.delta_from:
            old = stack.enter_context(OldState(output.delta_from))
            _follows(old.head, edition)
        gathered = _Gathered(Spill(ELEMENT_BYTES + _LINE_BYTES, folder), Spill(2 * KEY_BYTES + _LINE_BYTES, folder))
        stack.callback(gathered.elements.close)
        stack.callback(gathered.tokens.close)
        gather(gathered)
        if len(gathered.classes) > table.CLASSES_MAX:
            raise PublishError(f"more than {table.CLASSES_MAX} pairs of partition and last day: publish kind FULL")
        return _write(gathered, edition, key, output, old, stack)


def _follows(head: StateHead, edition: Edition) -> None:
    for what, before, now in (
        ("issuer", head.issuer, edition.issuer),
        ("kind", head.kind, str(edition.kind)),
        ("pepper", head.pepper_id, edition.pepper_id),
    ):
        if before != now:
            raise PublishError(
                f"the state before has {what} {before!r}, not {now!r}: publish a snapshot without a delta"
            )
    if head.sequence >= edition.sequence:
        raise PublishError(f"sequence {edition.sequence} does not follow {head.sequence}")


@dataclass(slots=True)
class _Gathered:
    """All rows, sorted into parts, and what is known of them together."""

    elements: Spill
    tokens: Spill
    exact: int = 0
    compact: int = 0
    token_count: int = 0
    classes: set[Enrolment] = field(default_factory=set)


def _gather(rows: Iterable[Row], gathered: _Gathered, edition: Edition, progress: Callable[[int], None]) -> None:
    for count, row in enumerate(rows, 1):
        compact = edition.kind is Kind.NON_GREEN_WITH_ENROLMENT
        state = compacted(row.entry, edition.produced_utc_s) if compact else row.entry
        if isinstance(state, Enrolment):
            gathered.classes.add(state)
            gathered.compact += 1
        else:
            gathered.exact += 1
        line = row.line.to_bytes(_LINE_BYTES, "big")
        gathered.elements.add(row.entry.subject_key + state.encode() + line)
        for key in filter(None, (row.token_key, row.card_key)):
            gathered.tokens.add(row.entry.subject_key + key + line)
            gathered.token_count += 1
        if count % _PROGRESS_ROWS == 0:
            progress(count)


def _gather_elements(elements: Iterable[Bytes2], gathered: _Gathered, progress: Callable[[int], None]) -> None:
    count = 0
    for many in elements:
        states = many[:, KEY_BYTES:]
        if not valid(states).all() or not is_there(states).all():
            raise PublishError("an element has a state that cannot be published: see gate/feed/records.py")
        enrolled = is_enrolled(states)
        f = fields(states[enrolled])
        for number in np.unique(f["partition"].astype(np.int64) << 16 | f["until"]).tolist():
            gathered.classes.add(Enrolment(region(number >> 16), number & 0xFFFF))
        gathered.compact += int(enrolled.sum())
        gathered.exact += int((~enrolled).sum())
        lines = np.zeros((len(many), _LINE_BYTES), np.uint8)
        gathered.elements.add_many(np.concatenate([many, lines], axis=1))
        count += len(many)
        progress(count)


def compacted(entry: StatusEntry, produced_utc_s: int) -> StatusEntry | Enrolment:
    """The enrolment that says the same as `entry`, but for since when; `entry` itself when none does."""
    partition = entry.partition or entry.asserted_by
    day = enrolment_day(entry.valid_until_utc_s)
    plain = entry.status is CredentialStatus.GREEN and not (entry.reason or entry.revision or entry.residence)
    begun = entry.effective_utc_s <= produced_utc_s  # an enrolment is in effect at once
    # 000000, "the whole country", is no partition.
    if plain and begun and day is not None and partition == entry.asserted_by and int(partition):
        return Enrolment(partition, day)
    return entry


@dataclass(slots=True)
class _Totals:
    """What the parts add up to."""

    digest: SetDigest = field(default_factory=SetDigest)
    count: int = 0
    exact: int = 0


def _write(
    gathered: _Gathered, edition: Edition, key: PrivateKey, output: Output, old: OldState | None, stack: ExitStack
) -> list[Header]:
    classes = sorted(gathered.classes, key=lambda one: (one.partition, one.valid_until_day))
    body_path = output.snapshot.with_name(f".{output.snapshot.name}.{os.getpid()}.body")
    stack.callback(body_path.unlink, missing_ok=True)
    with write_state(output.state) as state:
        table_of = _write_table(gathered, edition, classes, body_path, state, old)
        partitions = _all_partitions(edition, classes)
        table_of.totals.digest.add_partitions(canonical(partitions))
        headers = [_header(edition, key, Form.SNAPSHOT, table_of.totals, partitions, **table_of.said)]
        # The delta first, so that a station which looks in between does not take everybody again; the state last, so
        # that what was not published is not built upon.
        if old and output.delta:
            changes = _together(table_of.changed)
            headers.append(_write_delta(edition, key, table_of.totals, partitions, old.head, changes, output.delta))
        _assemble(headers[0], key, body_path, output.snapshot)
        state.finish(StateHead.of(headers[0]))
    return headers


@dataclass(slots=True)
class _Written:
    """A snapshot's body on disk: what it adds up to, what its header says of it, what changed since the old state."""

    totals: _Totals
    said: dict[str, object] = field(default_factory=dict)
    changed: list[tuple[Bytes2, Bytes2, Bytes2]] = field(default_factory=list)


def _write_table(
    gathered: _Gathered,
    edition: Edition,
    classes: Sequence[Enrolment],
    path: Path,
    state: Writing,
    old: OldState | None,
) -> _Written:
    bits = table.bits_for(gathered.exact, gathered.compact)
    written, changes = _Written(_Totals()), 0
    with path.open("wb") as file, closing(TokenTable(gathered.token_count, path.parent)) as tokens:
        sink = Hashing(file)
        writer = TableWriter(sink, bits, salt_of(edition.issuer, edition.sequence, Form.SNAPSHOT))
        for until, elements, pairs in _chunks(gathered, bits):
            _note(written.totals, elements)
            _add(writer, elements, classes, bits, until)
            tokens.add(pairs, elements[:, :KEY_BYTES])
            state.write(elements.tobytes())
            if old:
                written.changed.append(_changed(old.until(until, bits), elements))
                changes += len(written.changed[-1][0])
                if changes > delta.CHANGES_MAX:  # before they fill the memory
                    raise PublishError(f"more than {delta.CHANGES_MAX} changes: publish a snapshot without a delta")
        try:
            foot = writer.finish(classes, tokens)
        except TokenError as error:
            raise PublishError(str(error)) from error
    written.said = {"content_digest": sink.sha256.hexdigest(), "body_bytes": sink.size, "tokens": foot.tokens}
    return written


def _chunks(gathered: _Gathered, bits: int) -> Iterator[tuple[int, Bytes2, Bytes2]]:
    """Until which bucket, the elements in order without doubles, and their tokens; whole buckets at a time."""
    parts = zip(gathered.elements.parts(), gathered.tokens.parts(), strict=True)
    if bits < 8:  # a bucket spans several parts, and all of them are small
        rows, pairs = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        yield 1 << bits, _without_doubles(rows), pairs
        return
    for part, (rows, pairs) in enumerate(parts, 1):
        yield (part << bits) // PARTS, _without_doubles(rows), pairs


def _without_doubles(rows: Bytes2) -> Bytes2:
    """Elements in order; the same subject twice is an error unless both lines say the same."""
    rows = rows[order(rows[:, :KEY_BYTES])]
    high, low = key_numbers(rows[:, :KEY_BYTES])
    again = np.zeros(len(rows), dtype=np.bool_)
    again[1:] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    places = np.flatnonzero(again)
    differs = (rows[places, KEY_BYTES:ELEMENT_BYTES] != rows[places - 1, KEY_BYTES:ELEMENT_BYTES]).any(axis=1)
    if differs.any():
        place = places[np.flatnonzero(differs)[0]]
        lines = sorted(int.from_bytes(rows[at, ELEMENT_BYTES:].tobytes(), "big") for at in (place - 1, place))
        raise PublishError(f"lines {lines[0]} and {lines[1]} speak of the same person and differ: keep the right one")
    return np.ascontiguousarray(rows[~again, :ELEMENT_BYTES])


def _note(totals: _Totals, elements: Bytes2) -> None:
    raw = elements.tobytes()
    totals.digest.add(raw[at : at + ELEMENT_BYTES] for at in range(0, len(raw), ELEMENT_BYTES))
    totals.count += len(elements)
    totals.exact += int(np.count_nonzero(is_exact(elements[:, KEY_BYTES:])))


def _add(writer: TableWriter, elements: Bytes2, classes: Sequence[Enrolment], bits: int, until: int) -> None:
    compact = is_enrolled(elements[:, KEY_BYTES:])
    places = np.flatnonzero(compact)
    # Who shares bucket and fingerprint with somebody enrolled is told exactly.
    compact[places[ambiguous(elements[places, :KEY_BYTES], bits)]] = False
    chosen = elements[compact]
    writer.add(elements[~compact], chosen[:, :KEY_BYTES], _class_numbers(chosen[:, KEY_BYTES:], classes), until)


def _class_numbers(states: Bytes2, classes: Sequence[Enrolment]) -> npt.NDArray[np.uint16]:
    known = np.array([int(one.partition) << 16 | one.valid_until_day for one in classes], dtype=np.int64)
    f = fields(states)
    wanted = f["partition"].astype(np.int64) << 16 | f["until"].astype(np.int64)
    return np.searchsorted(known, wanted).astype(np.uint16)


def _changed(before: Bytes2, after: Bytes2) -> tuple[Bytes2, Bytes2, Bytes2]:
    """Keys, states before and after, of those that differ; both sides in order."""
    together = np.concatenate([after, before])
    is_new = np.arange(len(together)) < len(after)
    places = order(together[:, :KEY_BYTES])
    together, is_new = together[places], is_new[places]
    high, low = key_numbers(together[:, :KEY_BYTES])
    again = np.zeros(len(together) + 1, dtype=np.bool_)
    again[1:-1] = (high[1:] == high[:-1]) & (low[1:] == low[:-1])
    first = np.flatnonzero(~again[:-1])
    states = np.concatenate([together[:, KEY_BYTES:], np.zeros((1, STATE_BYTES), np.uint8)])
    now = np.where(is_new[first, None], states[first], 0)
    then = np.where(is_new[first, None], np.where(again[first + 1, None], states[first + 1], 0), states[first])
    differs = (now != then).any(axis=1)
    return together[first[differs], :KEY_BYTES], then[differs], now[differs]


def _all_partitions(edition: Edition, classes: Sequence[Enrolment]) -> tuple[Partition, ...]:
    named = {one.code: one for one in edition.partitions}
    green = (Default(0, CredentialStatus.GREEN),)
    for one in classes:
        named.setdefault(one.partition, Partition(one.partition, edition.produced_utc_s, green))
    return tuple(named[code] for code in sorted(named))


def _header(
    edition: Edition, key: PrivateKey, form: Form, totals: _Totals, partitions: tuple[Partition, ...], **more: object
) -> Header:
    values: dict[str, object] = {
        "form": str(form),
        "issuer": edition.issuer,
        "sequence": edition.sequence,
        "from_sequence": 0,
        "kind": str(edition.kind),
        "produced_utc_s": edition.produced_utc_s,
        "next_due_utc_s": edition.next_due_utc_s,
        "count": totals.count,
        "exact_count": totals.exact,
        "changes": 0,
        "tokens": 0,
        "from_set_digest": NO_DIGEST,
        "set_digest": totals.digest.hexadecimal,
        "key_scheme": edition.key_scheme,
        "pepper_id": edition.pepper_id,
        "key_id": key.key_id,
        "partitions": partitions,
    }
    return Header(**(values | more))  # type: ignore[arg-type] # the fields' own types, checked when it is read


def _assemble(header: Header, key: PrivateKey, body: Path, out: Path) -> None:
    with body.open("rb") as file:
        _put(out, encode_prefix(header, key.sign(header.signed_bytes())), file)


def _put(out: Path, prefix: bytes, body: BinaryIO | bytes) -> None:
    """Write `out` whole or not at all. Raises OSError."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(prefix)
            if isinstance(body, bytes):
                file.write(body)
            else:
                while chunk := body.read(1 << 20):
                    file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(out)
    finally:
        temporary.unlink(missing_ok=True)


def _together(changed: Sequence[tuple[Bytes2, Bytes2, Bytes2]]) -> delta.Changes:
    keys, before, after = (np.concatenate(arrays) for arrays in zip(*changed, strict=True))
    return delta.Changes(keys, before, after)


def _write_delta(
    edition: Edition,
    key: PrivateKey,
    totals: _Totals,
    partitions: tuple[Partition, ...],
    since: StateHead,
    changes: delta.Changes,
    out: Path,
) -> Header:
    body = delta.encode(changes)
    header = _header(
        edition,
        key,
        Form.DELTA,
        totals,
        partitions,
        from_sequence=since.sequence,
        from_set_digest=since.set_digest,
        changes=len(changes.keys),
        content_digest=hashlib.sha256(body).hexdigest(),
        body_bytes=len(body),
    )
    _put(out, encode_prefix(header, key.sign(header.signed_bytes())), body)
    return header
