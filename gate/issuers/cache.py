"""Answers kept for as long as the terms allow, by a keyed hash that dies with the process.

Only answers that are green and nothing else are kept: a passenger's way back to green is never held up by us, and how
long a new red may be overlooked is what `answers_kept_s` of terms.toml says. An answer that tells whose code it is is
not kept: the number lives for one passage.
"""

import hmac
import secrets
from collections import OrderedDict

from gate.feed.finding import Answered
from gate.feed.records import CredentialStatus
from gate.issuers.ask import Reply
from gate.moment import Moment

ENTRIES_MAX = 4096  # a full train's passengers at a line of gates twice over; about 2 MB. The oldest goes first


class AnswerCache:
    """What issuers answered lately."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._kept: OrderedDict[bytes, tuple[float, float, Reply]] = OrderedDict()  # until mono_s, valid until utc_s

    def key(self, issuer: str, subject: str) -> bytes:
        """What a subject is kept under."""
        return hmac.digest(self._key, f"{issuer}\0{subject}".encode(errors="surrogatepass"), "sha256")

    def find(self, key: bytes, now: Moment) -> Reply | None:
        """The answer, as long as it may be used."""
        until_mono_s, valid_until_utc_s, reply = self._kept.get(key, (0.0, 0.0, None))
        if reply is None:
            return None
        if now.mono_s < until_mono_s and now.utc_s < valid_until_utc_s:
            return reply
        del self._kept[key]
        return None

    def keep(self, key: bytes, reply: Reply, now: Moment, cache_s: float) -> None:
        """Keep a wholly green answer for `cache_s` seconds, and never beyond its own validity."""
        green = [f for f in reply.findings if isinstance(f, Answered) and f.status is CredentialStatus.GREEN]
        if cache_s <= 0 or reply.document is not None or not green or len(green) != len(reply.findings):
            return
        valid_until_s = min((f.valid_until_utc_s for f in green if f.valid_until_utc_s is not None), default=None)
        ends_utc_s = float("inf") if valid_until_s is None else float(valid_until_s)
        self._kept.pop(key, None)
        self._kept[key] = (now.mono_s + cache_s, ends_utc_s, reply)
        while len(self._kept) > ENTRIES_MAX:
            self._kept.popitem(last=False)
