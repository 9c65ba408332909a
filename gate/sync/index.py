"""The `index.json` of a folder of feed files, for a web server to serve beside them (`https.py` reads it)."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from gate.sync.feedfile import read_header
from gate.sync.https import INDEX
from gate.sync.source import ENTRIES_MAX, SUFFIXES

_CHUNK_BYTES = 1 << 20


def write_index(folder: Path) -> int:
    """List the feed files of `folder` in its index, which is replaced whole; how many. Raises RefusedError, OSError."""
    files = [path for path in sorted(folder.iterdir()) if path.suffix in SUFFIXES and not path.name.startswith(".")]
    rows = sorted(map(_row, files), key=lambda row: int(row["sequence"]))[-ENTRIES_MAX:]
    unfinished = folder / f".{INDEX}"
    with unfinished.open("w", encoding="ascii") as file:
        json.dump({"files": rows}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(folder / INDEX)
    return len(rows)


def _row(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        header, _ = read_header(file)
        file.seek(0)
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return {
        "name": path.name,
        "form": header.form,
        "sequence": header.sequence,
        "from_sequence": header.from_sequence,
        "bytes": path.stat().st_size,
        "sha256": digest.hexdigest(),
    }
