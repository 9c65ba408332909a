"""Partitions of a publication as their issuer writes them, in TOML.

[[partition]]
code = "330100"                       # GB/T 2260
as_of = 2020-04-01T00:00:00+08:00     # as of when the region reported
[[partition.default]]
from = 2020-03-26T00:00:00+08:00
status = "GREEN"
[[partition.default]]
from = 2020-04-01T14:00:00+08:00      # "this city is yellow from 14:00"
status = "YELLOW"
reason = 7
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from gate.feed.partitions import DEFAULTS_MAX, Default, Partition, decode_partitions, encode_partitions
from gate.feed.records import CredentialStatus, FeedError

_CODE = re.compile(r"(?!000000)[0-9]{6}")


class PartitionFileError(ValueError):
    """The file cannot be used; the text names path, place and what is allowed."""


def read_partitions(path: Path) -> tuple[Partition, ...]:
    """The partitions in the TOML file. Raises PartitionFileError."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise PartitionFileError(f"{path}: {error.strerror}: give a TOML file with [[partition]] tables") from error
    except ValueError as error:
        raise PartitionFileError(f"{path}: is not TOML: {error}") from error
    rows = raw.get("partition")
    if not isinstance(rows, list) or set(raw) != {"partition"}:
        raise PartitionFileError(f"{path}: must hold [[partition]] tables and nothing else")
    partitions = [_partition(row, f"{path}: partition[{index}]") for index, row in enumerate(rows)]
    try:
        return decode_partitions(encode_partitions(partitions))
    except FeedError as error:
        raise PartitionFileError(f"{path}: {error}") from error


def _partition(row: Mapping[str, Any], where: str) -> Partition:
    _only(row, {"code", "as_of", "default"}, where)
    code, rows = row.get("code"), row.get("default")
    if not isinstance(code, str) or not _CODE.fullmatch(code):
        raise PartitionFileError(f'{where}.code: must be a GB/T 2260 code of six digits as text, e.g. "330100"')
    if not isinstance(rows, list) or not 0 < len(rows) <= DEFAULTS_MAX:
        raise PartitionFileError(f"{where}.default: must be 1 to {DEFAULTS_MAX} [[partition.default]] tables")
    defaults = [_default(one, f"{where}.default[{n}]") for n, one in enumerate(rows)]
    return Partition(code, _second(row, "as_of", where), tuple(defaults))


def _default(row: Mapping[str, Any], where: str) -> Default:
    _only(row, {"from", "status", "reason"}, where)
    status, reason = row.get("status"), row.get("reason", 0)
    if not isinstance(status, str) or status not in set(CredentialStatus):
        raise PartitionFileError(f"{where}.status: must be one of {', '.join(CredentialStatus)}")
    if type(reason) is not int or not 0 <= reason < 256:
        raise PartitionFileError(f"{where}.reason: must be a whole number, 0 to 255")
    return Default(_second(row, "from", where), CredentialStatus(status), reason)


def _only(row: Any, allowed: set[str], where: str) -> None:
    if not isinstance(row, dict):
        raise PartitionFileError(f"{where}: must be a table")
    for key in row:
        if key not in allowed:
            raise PartitionFileError(f"{where}.{key}: is not known; allowed are {', '.join(sorted(allowed))}")


def _second(row: Mapping[str, Any], key: str, where: str) -> int:
    value = row.get(key)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise PartitionFileError(f"{where}.{key}: must be a time with its offset, e.g. 2020-04-01T14:00:00+08:00")
    second = int(value.timestamp())
    if not 0 <= second < 1 << 32:
        raise PartitionFileError(f"{where}.{key}: must lie between 1970 and 2106")
    return second
