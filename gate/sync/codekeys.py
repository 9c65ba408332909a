"""Public keys of signed health codes (Shanghai's transit code, health-codes.md 2.1): `[[issuer]] code_keys_file`.

    [[key]]
    signer = "suishenma"        # or "transport": whose seal of the code it checks
    index = 1                   # as the code names it, 0 to 255
    public_key = "…"            # base64 of the SM2 point, 65 bytes: 04, x, y

New keys come with a new index and stand beside the old ones until those codes have expired: at most a day.
"""

import base64
import binascii
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gate.sync.signing import Algorithm, KeyFileError, VerifyingKey, verifying_key

KEYS_MAX = 512  # two signers with an index of one byte each
BYTES_MAX = 1 << 17  # 512 keys of 200 characters
SIGNERS = ("suishenma", "transport")


def load_code_keys(path: Path) -> Mapping[tuple[str, int], VerifyingKey]:
    """The keys by signer and index. Raises KeyFileError naming file, key and what is allowed."""
    try:
        raw = path.read_bytes()
        rows = tomllib.loads(raw[:BYTES_MAX].decode("utf-8")).get("key", [])
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KeyFileError(f"{path}: {error}: give a TOML file with [[key]] tables") from error
    if len(raw) > BYTES_MAX or not isinstance(rows, list) or not 1 <= len(rows) <= KEYS_MAX:
        raise KeyFileError(f"{path}: needs 1 to {KEYS_MAX} [[key]] tables, {BYTES_MAX} bytes at most")
    keys: dict[tuple[str, int], VerifyingKey] = {}
    for number, row in enumerate(rows, 1):
        try:
            name, key = _key(row)
        except (KeyError, TypeError, ValueError, binascii.Error) as error:
            raise KeyFileError(f"{path}: key {number}: {error}: see [[key]] in the README") from error
        if name in keys:
            raise KeyFileError(f"{path}: key {number}: {name[0]} has index {name[1]} twice")
        keys[name] = key
    return keys


def _key(row: Any) -> tuple[tuple[str, int], VerifyingKey]:
    if not isinstance(row, dict) or set(row) != {"signer", "index", "public_key"}:
        raise ValueError("needs exactly signer, index and public_key")
    if row["signer"] not in SIGNERS:
        raise ValueError(f"signer must be one of {', '.join(SIGNERS)}")
    if type(row["index"]) is not int or not 0 <= row["index"] <= 255:
        raise ValueError("index must be 0 to 255")
    key = verifying_key(Algorithm.SM2, base64.b64decode(str(row["public_key"]), validate=True))
    key.verifies(bytes(64), b"")  # SM2 that is not installed must stop the start, not the first passenger
    return (row["signer"], row["index"]), key


def write_code_keys(path: Path, keys: Mapping[tuple[str, int], bytes]) -> None:
    """Write such a file. Raises OSError."""
    rows = [
        f'[[key]]\nsigner = "{signer}"\nindex = {index}\npublic_key = "{base64.b64encode(raw).decode("ascii")}"\n'
        for (signer, index), raw in sorted(keys.items())
    ]
    path.write_text("\n".join(rows), "utf-8")
