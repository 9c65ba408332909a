"""The key of a secure channel, from a file that only the service may read."""

import os
import stat
from pathlib import Path

from drivers.contract import DeviceFault
from drivers.transport import PortError

KEY_BYTES = 16
DEFAULT_KEY = bytes(range(0x30, 0x40))  # SCBK-D of the standard: printed in it, hence no secret
FILE_BYTES_MAX = 64  # 32 hexadecimal digits and an end of line; what is longer is another file


def read_key(path: str) -> bytes | None:
    """The key in `path` (32 hexadecimal digits), None when no file is named. Raises PortError saying what is wrong."""
    if not path:
        return None
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise PortError(DeviceFault.NOT_AUTHORISED, f"scbk_file {path} is open to others: chmod 600 it")
        with Path(path).open("rb") as file:
            text = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PortError(
            DeviceFault.NOT_AUTHORISED, f"scbk_file {path}: {error.strerror}: give the key's file"
        ) from error
    return _parsed(text, path)


def _parsed(text: bytes, path: str) -> bytes:
    try:
        key = bytes.fromhex(text.decode("ascii")) if len(text) <= FILE_BYTES_MAX else b""
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        # `from None`: a message of fromhex may show the digits.
        raise PortError(DeviceFault.NOT_AUTHORISED, f"scbk_file {path} does not hold 32 hexadecimal digits") from None
    if key == DEFAULT_KEY:
        raise PortError(DeviceFault.NOT_AUTHORISED, f"scbk_file {path} holds the public default key: set another")
    return key
