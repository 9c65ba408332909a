"""One connection to a NATS server, and reading one of its consumers by bounded pulls. What for is not decided here.

A connection that breaks is not mended: its owner makes a new one after a wait with jitter. nats-py's own reconnecting
waits a fixed time, ends by itself on an error that it does not know, and hides that messages may have been missed.

TLS is demanded from any server that is not on loopback. nats-py goes on in clear text when a server says that it has no
TLS, even for `tls://`; so what the server said is looked at before anything is asked of it.
"""

import asyncio
import contextlib
import json
import re
import ssl
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext

from gate.sync.https import base_url, is_loopback
from gate.sync.source import SourceError

CONNECT_S = 10.0  # TCP, TLS, and the server's greeting
REQUEST_S = 10.0  # one question to JetStream; a busy cluster elects a leader in 2 to 5
CLOSE_S = 2.0  # a dead connection is not worth a longer good-bye
PING_S = 20.0  # two missed ones end a connection: 1 min
PORT = 4222  # NATS's own
_STREAM = re.compile(r"[A-Za-z0-9_-]{1,32}")  # NATS allows more; bucket names and subjects are made of it
_GIVE = "give nats://HOST:PORT/STREAM"


@dataclass(frozen=True, slots=True)
class Tls:
    """Whom to trust, and who we are; no CA file: the system's are trusted; no certificate: we are nobody."""

    ca_file: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """A context that verifies the server. Raises SourceError."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.private_key)
        except (OSError, ssl.SSLError) as error:
            raise SourceError(f"TLS files {self.ca_file} {self.certificate}: {error}: give PEM files") from error
        return context


SYSTEM = Tls()


@dataclass(frozen=True, slots=True)
class Address:
    """Where a stream is, and where its snapshots are: empty for the stream's own object store."""

    server: str
    stream: str
    snapshots: str = ""


def parse_address(address: str) -> Address:
    """`nats://HOST:PORT/STREAM?snapshots=https://…`, `tls://` too. Raises SourceError."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
        _ = parts.port  # raises when it is none
        query = dict(parse_qsl(parts.query, strict_parsing=True)) if parts.query else {}
    except ValueError:
        raise SourceError(f"the address is no URL: {_GIVE}") from None
    if parts.scheme not in ("nats", "tls") or not host:
        raise SourceError(f"{parts.scheme}://{host}: {_GIVE}")
    if "@" in parts.netloc or parts.fragment:
        raise SourceError(f"nats://{host}: {_GIVE} without a login, which would show in logs: use a client certificate")
    stream = parts.path.strip("/")
    if not _STREAM.fullmatch(stream):
        raise SourceError(f"nats://{host}/{stream}: a stream has 1 to 32 of A-Z a-z 0-9 _ -: {_GIVE}")
    if unknown := set(query) - {"snapshots"}:
        raise SourceError(
            f"nats://{host}/{stream}: unknown {', '.join(sorted(unknown))}: only snapshots=https://… is known"
        )
    snapshots = query.get("snapshots", "")
    if snapshots:
        base_url(snapshots)
    return Address(server_url(f"{parts.scheme}://{parts.netloc}"), stream, snapshots)


def server_url(server: str) -> str:
    """A server's URL with the scheme that says whether TLS is demanded. Raises SourceError."""
    parts = urlsplit(server)
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        raise SourceError(f"{parts.scheme}://{parts.hostname or ''}: give nats://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    secure = parts.scheme == "tls" or not is_loopback(parts.hostname)
    return f"{'tls' if secure else 'nats'}://{host}:{parts.port or PORT}"


def heed_cancel() -> None:
    """Raise a cancellation that was swallowed on the way: by nats-py's `_flush_pending`, or by 3.11's `wait_for`."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


class Link:
    """One connection. `lost` is set when it is gone, and so is every event that `watch` was given."""

    def __init__(self, server: str) -> None:
        self.server = server
        self.client = Client()
        self.js: JetStreamContext
        self.why = ""  # the last thing that nats-py complained of
        self._watchers: list[asyncio.Event] = []
        self.lost = asyncio.Event()
        self.watch(self.lost)

    def watch(self, event: asyncio.Event) -> None:
        """Set `event` too when the connection is gone."""
        self._watchers.append(event)

    async def open(self, tls: Tls, name: str) -> None:
        """Connect once. Raises SourceError."""
        secure = self.server.startswith("tls:")
        try:
            async with asyncio.timeout(CONNECT_S):
                await self.client.connect(
                    self.server,
                    name=name,
                    tls=tls.context() if secure else None,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,  # 0 would be for ever
                    reconnect_time_wait=0,
                    connect_timeout=int(CONNECT_S),
                    ping_interval=int(PING_S),
                    error_cb=self._complained,
                    closed_cb=self._closed,
                )
            heed_cancel()
        except (OSError, TimeoutError, ValueError, nats.errors.Error) as error:
            await self.close()
            text = self.why or str(error) or type(error).__name__
            raise SourceError(f"{self.server}: {text}: is the server up, and the address right?") from error
        # The one thing that nats-py offers no public name for; without it we would refuse.
        if secure and not getattr(self.client, "_server_info", {}).get("tls_required"):
            await self.close()
            raise SourceError(
                f"{self.server}: the server has no TLS: configure it there; clear text is for loopback only"
            )
        self.js = self.client.jetstream(timeout=REQUEST_S)

    async def close(self) -> None:
        """Say good-bye, or not for long."""
        with contextlib.suppress(Exception):  # a connection in whatever state; there is nothing left to save
            async with asyncio.timeout(CLOSE_S):
                await self.client.close()
        await self._closed()

    async def _complained(self, error: Exception) -> None:
        self.why = str(error) or type(error).__name__

    async def _closed(self) -> None:
        for event in self._watchers:
            event.set()


@dataclass(frozen=True, slots=True)
class Window:
    """How much one pull may bring, and how long the server holds it open."""

    messages: int
    bytes: int
    expires_s: float = 30.0  # after which we ask again; what is forgotten on the way costs no longer than this
    heartbeat_s: float = 10.0  # the server's sign of life in an open pull; a third of it is not enough, half the most

    @property
    def silence_s(self) -> float:
        """Without a sign for so long, the server or the way there is dead: two heartbeats missed, and some."""
        return self.heartbeat_s * 2.5


class Pull:
    """Reads a consumer: `take` what has come, `ask` for more. Never more under way than one window."""

    def __init__(self, link: Link, stream: str, consumer: str, window: Window) -> None:
        self.news = asyncio.Event()  # something came, or the connection is gone
        self.waiting = 0  # messages that the consumer had for us when it was made
        self.ended_empty = False  # the last pull ended because there is nothing more now
        self._link = link
        self._subject = f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = link.client.new_inbox()
        self._window = window
        self._came: deque[Msg] = deque()  # bounded by the window
        self._number = 0  # of the open pull
        self._left = 0  # messages that it may still bring
        self._brought = 0  # messages that it has brought
        self._silent_s = 0.0
        link.watch(self.news)

    async def open(self) -> None:
        """Be ready to receive."""
        self._subscription = await self._link.client.subscribe(f"{self._inbox}.*", cb=self._receive)

    async def close(self) -> None:
        """Receive no more."""
        with contextlib.suppress(nats.errors.Error, OSError):
            await self._subscription.unsubscribe()

    async def ask(self, *, wait: bool = True) -> None:
        """Open a pull unless one is open; without `wait` it ends at once when there is nothing. Raises SourceError."""
        self._check()
        if self._left > 0:
            return
        self._number += 1
        self._left, self._brought = self._window.messages, 0
        request: dict[str, int | bool] = {"batch": self._window.messages, "max_bytes": self._window.bytes}
        if wait:
            request["expires"] = int(self._window.expires_s * 1e9)
            request["idle_heartbeat"] = int(self._window.heartbeat_s * 1e9)
        else:
            request["no_wait"] = True
        try:
            await self._link.client.publish(
                self._subject, json.dumps(request).encode(), f"{self._inbox}.{self._number}"
            )
        except (nats.errors.Error, OSError) as error:
            raise SourceError(f"{self._link.server}: {error or type(error).__name__}") from error
        heed_cancel()

    def take(self) -> list[Msg]:
        """The messages that have come. Raises SourceError when the server ended the consumer or is gone."""
        self.news.clear()
        messages = []
        while self._came:
            message = self._came.popleft()
            status = (message.headers or {}).get("Status", "")
            if not status:
                self._left -= 1
                self._brought += 1
                messages.append(message)
            elif status != "100":
                self._ended(message, status)
        if not messages:
            self._check()
        return messages

    async def wait(self, timeout_s: float) -> None:
        """Until something came or so long. Raises SourceError when an open pull has been silent for too long."""
        wait_s = min(timeout_s, self._window.silence_s)
        try:
            async with asyncio.timeout(wait_s):
                await self.news.wait()
            self._silent_s = 0.0
        except TimeoutError:
            # Only time spent here counts: a loop that was busy elsewhere has not been listening.
            self._silent_s += wait_s if self._left > 0 else 0.0
        if self._silent_s >= self._window.silence_s:
            await self._link.close()
            raise SourceError(f"{self._link.server}: no sign of life for {self._silent_s:.0f} s: connecting anew")

    async def _receive(self, message: Msg) -> None:
        self._came.append(message)
        self.news.set()

    def _ended(self, message: Msg, status: str) -> None:
        text = (message.headers or {}).get("Description", "")
        if status == "503" or "Deleted" in text or "Not Found" in text:
            raise SourceError(
                f"{self._link.server}: JetStream says {status} {text}: the stream or our consumer is gone"
            )
        # 404 nothing there, 408 time is up, 409 the bytes are used up: the next pull goes on. An older pull's end is
        # old news.
        if message.subject == f"{self._inbox}.{self._number}":
            if status == "409" and not self._brought:  # asking again at once would go round and round
                raise SourceError(f"{self._link.server}: JetStream says {text}: connecting anew")
            self._left = 0
            self.ended_empty = status == "404"

    def _check(self) -> None:
        if self._link.lost.is_set():
            raise SourceError(
                f"{self._link.server}: the connection is gone ({self._link.why or 'closed'}): connecting anew"
            )


async def pull_all(pull: Pull, count: int, idle_s: float) -> AsyncIterator[Msg]:
    """`count` messages in order, as fast as they come. Raises SourceError when none comes for `idle_s`."""
    loop = asyncio.get_running_loop()
    left, heard_s = count, loop.time()
    while left > 0:
        await pull.ask()
        messages = pull.take()
        for message in messages:
            left -= 1
            yield message
        if messages:
            heard_s = loop.time()
        elif loop.time() - heard_s > idle_s:
            raise SourceError(f"{count - left} of {count} parts came, and no more for {idle_s:.0f} s")
        elif left > 0:
            await pull.wait(idle_s)
