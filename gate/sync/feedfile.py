"""A feed file read in bounded memory, and believed in nothing before it is verified."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from gate.feed import delta
from gate.feed.envelope import PREFIX_BYTES, Form, Header, decode_header, lengths
from gate.feed.ledger import REMEDY, Refusal
from gate.feed.records import KEY_SCHEME, FeedError
from gate.sync.keyring import PublicKey, verify_signature
from gate.sync.tablefile import DamagedError, TableFile
from gate.sync.tablewriter import salt_of

_CHUNK_BYTES = 1 << 20
# Compressed, 2 M changes of 72 bytes never grow by more than zlib's few bytes in a thousand.
DELTA_BYTES_MAX = 160 << 20


class RefusedError(Exception):
    """A file is not applied. `why` is its name, the text explains and says what to do; neither quotes an entry."""

    def __init__(self, why: Refusal, text: str = "") -> None:
        super().__init__(f"{why}: {text}; {REMEDY[why]}" if text else f"{why}: {REMEDY[why]}")
        self.why = why


class UnreadableError(Exception):
    """A file that a source offered cannot be read (any more): the source's trouble, not the store's."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Whose files are believed: one issuer, its keys and the peppers we hold."""

    issuer: str
    keys: Mapping[str, PublicKey]
    pepper_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class FeedFile:
    """A file whose header is verified; its body is verified when it is read."""

    path: Path
    header: Header
    body_at: int = field(repr=False)


def open_feed(path: Path, trust: Trust) -> FeedFile:
    """Read and verify the header. Raises RefusedError, UnreadableError."""
    with _opened(path) as file:
        header, signature = read_header(file)
        body_at = file.tell()
    if header.issuer != trust.issuer:
        raise RefusedError(Refusal.WRONG_ISSUER, f"it is of {header.issuer}, expected {trust.issuer}")
    refusal = verify_signature(dict(trust.keys), header, signature)
    if refusal:
        raise RefusedError(refusal, f"key {header.key_id!r}")
    if header.key_scheme != KEY_SCHEME:
        raise RefusedError(Refusal.UNKNOWN_SCHEME, repr(header.key_scheme))
    if header.pepper_id not in trust.pepper_ids:
        raise RefusedError(Refusal.UNKNOWN_PEPPER, repr(header.pepper_id))
    return FeedFile(path, header, body_at)


def read_header(file: BinaryIO) -> tuple[Header, bytes]:
    """The header, unverified, and its signature; the file then stands at its body. Raises RefusedError, OSError."""
    try:
        signature_bytes, header_bytes = lengths(file.read(PREFIX_BYTES))
        signature, raw = file.read(signature_bytes), file.read(header_bytes)
        if len(raw) < header_bytes:
            raise RefusedError(Refusal.TRUNCATED, "it ends in its header")
        return decode_header(raw), signature
    except FeedError as error:
        raise RefusedError(Refusal.NOT_A_FEED, str(error)) from error


def copy_verified(feed: FeedFile, to: Path) -> None:
    """Copy the whole file and check its body. Raises as `_body`, OSError of the copy; `to` may be there in part."""
    with _opened(feed.path) as source, to.open("wb") as target:
        target.write(source.read(feed.body_at))
        for chunk in _body(source, feed.header):
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise UnreadableError(f"{path}: {error.strerror}") from error
    with file:
        yield file


def _body(source: BinaryIO, header: Header) -> Iterator[bytes]:
    """The body from where `source` stands, verified when the last chunk was taken. Raises RefusedError.

    Nothing is read past the signed length: a source cannot fill a disk with a file that never ends.
    """
    digest, left = hashlib.sha256(), header.body_bytes
    while left:
        try:
            chunk = source.read(min(left, _CHUNK_BYTES))
        except OSError as error:
            raise UnreadableError(f"{source.name}: {error.strerror}") from error
        if not chunk:
            raise RefusedError(Refusal.TRUNCATED, f"{left} bytes of its body are missing")
        digest.update(chunk)
        left -= len(chunk)
        yield chunk
    if source.read(1):
        raise RefusedError(Refusal.TRAILING_BYTES, "it goes on behind its body")
    if digest.hexdigest() != header.content_digest:
        raise RefusedError(Refusal.ALTERED, "its body is not the one that was signed")


def check_table(path: Path, feed: FeedFile) -> None:
    """Whether the body of a snapshot is a whole table and holds what the header says. Raises RefusedError, OSError."""
    header = feed.header
    try:
        opened = TableFile(path, feed.body_at)
    except DamagedError as error:
        raise RefusedError(Refusal.BAD_BODY, str(error)) from error
    try:
        opened.check()
        foot = opened.foot
        if foot.exact + foot.compact != header.count or foot.tokens != header.tokens:
            raise RefusedError(Refusal.WRONG_COUNT, "the table has not as many entries as the header says")
        if foot.salt != salt_of(header.issuer, header.sequence, Form.SNAPSHOT):
            raise RefusedError(Refusal.BAD_BODY, "the table was made for another issuer or state")
    except DamagedError as error:
        raise RefusedError(Refusal.BAD_BODY, str(error)) from error
    finally:
        opened.close()


def read_body(feed: FeedFile) -> bytes:
    """The verified body of a delta. Raises RefusedError, UnreadableError."""
    if feed.header.body_bytes > DELTA_BYTES_MAX:
        raise RefusedError(Refusal.BAD_BODY, f"a delta of more than {DELTA_BYTES_MAX} bytes")
    with _opened(feed.path) as file:
        file.seek(feed.body_at)
        return b"".join(_body(file, feed.header))


def verify(path: Path, trust: Trust) -> Header:
    """Check a whole file as the station would, but for what it follows on. Raises RefusedError, UnreadableError."""
    feed = open_feed(path, trust)
    if feed.header.form == Form.DELTA:
        decoded(feed)
        return feed.header
    with _opened(path) as file:
        file.seek(feed.body_at)
        for _ in _body(file, feed.header):
            pass  # it is the reading that verifies
    check_table(path, feed)
    return feed.header


def decoded(feed: FeedFile) -> delta.Changes:
    """The verified changes of a delta. Raises RefusedError, UnreadableError."""
    try:
        return delta.decode(read_body(feed), feed.header.changes)
    except FeedError as error:
        raise RefusedError(Refusal.BAD_BODY, str(error)) from error
