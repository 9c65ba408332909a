"""What is in service of one issuer, as its folder in the store says: one small file, replaced whole.

    store/AKM/manifest.json     what is held, which file is the base, which overlays lie over it
    store/AKM/base-7.snapshot   the issuer's signed file, verbatim
    store/AKM/over-9-0.table    changes since, exact; the newest first in the manifest

Nothing in the folder is ever changed in place: a file is written under another name, synced, and renamed.
"""

import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gate.feed.ledger import Held
from gate.feed.partitions import decode_partitions, encode_partitions
from gate.feed.records import FeedError

NAME = "manifest.json"
VERSION = 2  # 1 was the LMDB of the first release's drafts
OVERLAYS_MAX = 12  # the tiers of `writer.py` give at most six; a look-up reads one bucket of each


class ManifestError(Exception):
    """The manifest cannot be used. `other_version`: it is whole, and of another release."""

    def __init__(self, text: str, other_version: bool = False) -> None:
        super().__init__(text)
        self.other_version = other_version


@dataclass(frozen=True, slots=True)
class Manifest:
    """One state of one issuer's folder."""

    held: Held
    base: str  # file name
    base_at: int  # where the table begins in it
    overlays: tuple[str, ...]  # file names, the newest first


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put `manifest` in service. Raises OSError; then the one before stays."""
    held = asdict(manifest.held) | {"partitions": encode_partitions(manifest.held.partitions)}
    body = {"held": held, "base": manifest.base, "base_at": manifest.base_at, "overlays": list(manifest.overlays)}
    text = json.dumps(body, sort_keys=True)
    whole = json.dumps({"version": VERSION, "check": zlib.crc32(text.encode()), "body": text})
    unfinished = folder / f".{NAME}"
    with unfinished.open("w", encoding="ascii") as file:
        file.write(whole)
        file.flush()
        _mark(file.fileno(), manifest.held.sequence)
        os.fsync(file.fileno())
    unfinished.rename(folder / NAME)
    sync_folder(folder)


def _mark(fd: int, sequence: int) -> None:
    """Readers tell manifests apart by inode and time: the sequence below the millisecond keeps two of them apart.

    Kernels before 6.13 give all files of four milliseconds one time, and the inode of the last but one is free again.
    """
    status = os.fstat(fd)
    os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns // 1_000_000 * 1_000_000 + sequence % 1_000_000))


def read_manifest(folder: Path) -> Manifest | None:
    """What is in service; None when nothing ever was. Raises ManifestError, OSError."""
    try:
        text = (folder / NAME).read_text("ascii")
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ManifestError("is damaged") from error
    try:
        whole = json.loads(text)
        if whole["version"] != VERSION:
            raise ManifestError(f"is of version {whole['version']}, this release reads {VERSION}", other_version=True)
        if zlib.crc32(whole["body"].encode()) != whole["check"]:
            raise ManifestError("is damaged")
        return _manifest(json.loads(whole["body"]))
    except (FeedError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ManifestError("is damaged") from error


def _manifest(body: Mapping[str, Any]) -> Manifest:
    partitions = decode_partitions(body["held"]["partitions"])
    held = Held(**{**body["held"], "partitions": partitions})
    overlays = tuple(body["overlays"])
    if len(overlays) > OVERLAYS_MAX:
        raise FeedError("too many overlays")
    return Manifest(held, body["base"], body["base_at"], overlays)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` last over a power loss. Raises OSError."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
