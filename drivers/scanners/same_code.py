"""The same code, seen again and again while a passenger holds it before the glass, is one presentation."""

import hashlib
import secrets


class SameCode:
    """Says the same payload once within an interval; keeps a keyed hash of it, never the payload."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._key = secrets.token_bytes(16)
        self._mark = b""
        self._seen_s = float("-inf")

    def is_new(self, payload: bytes, now_s: float) -> bool:
        """Whether to say it. A code held before the scanner stays the same for as long as it is seen."""
        mark = hashlib.blake2b(payload, key=self._key, digest_size=16).digest()
        again = mark == self._mark and now_s - self._seen_s < self._interval_s
        self._mark, self._seen_s = mark, now_s
        return not again
