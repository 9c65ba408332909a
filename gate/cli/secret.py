"""One secret from standard input: arguments stand in the list of processes, where everybody can read them."""

import sys

_BYTES_MAX = 1 << 16  # far above the longest code of 4 KB, so that what is refused was no secret of ours


def from_standard_input(what: str) -> str:
    """Asked for on a terminal without showing it, else all of standard input. Raises ConfigError, never quoting it."""
    if sys.stdin.isatty():
        from getpass import getpass

        text = getpass(f"{what} (is not shown): ")
    else:
        text = _piped(what)
    if not text.strip():
        raise _refused(f"is empty: give {what}, e.g. < FILE")
    return text.strip()


def _piped(what: str) -> str:
    raw = sys.stdin.buffer.read(_BYTES_MAX + 1)
    if len(raw) > _BYTES_MAX:
        raise _refused(f"has more than {_BYTES_MAX} bytes: give {what} alone")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise _refused(f"is not UTF-8 text: give {what} so") from None


def _refused(why: str) -> Exception:
    from gate.config import ConfigError

    return ConfigError("standard input", why)
