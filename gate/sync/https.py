"""The `https:` source: a folder behind a web server, with an `index.json` that lists its files.

    {"files": [{"name": "akm-42.delta", "form": "DELTA", "sequence": 42, "from_sequence": 41,
                "bytes": 61234, "sha256": "…"}]}

What the index says is a hint: it bounds a download and tells of damage on the way, and the signature decides. An ETag
never hides a new delta (EU apps lost revocations on HTTP 304): it is kept only together with the parsed index that it
came with, forgotten after any failure or LATER, and at least every ten minutes the index is asked for without it.

Plain `http:` is for loopback only: labs and tests. No proxy, no `.netrc`, no compression; redirects on the same origin
only. Whether a file is believed is never the business of this module (source.py).
"""

import asyncio
import contextlib
import ipaddress
import json
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gate.sync.backoff import DRAW, Backoff
from gate.sync.source import ENTRIES_MAX, Entry, Form, Outcome, SourceError
from gate.sync.spool import Spool, TooLongError, prepare

log = logging.getLogger(__name__)

INDEX = "index.json"
REDIRECTS_MAX = 3  # one for a moved folder and one for a final slash, with one to spare
REFUSED_MAX = 1000  # remembered refusals; an index keeps far fewer bad files
CHUNK_BYTES = 64 * 1024
SEQUENCE_MAX = 2**63 - 1
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")  # a file of ours; no path, no hidden or temporary file
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_MEND = {404: "publish it, or mend the address", 401: "the server wants a login", 403: "the server forbids it"}


@dataclass(frozen=True, slots=True)
class Limits:
    """Every wait and size, each with its reason; tests shorten them."""

    period_s: float = 20.0  # a change by the minute is seen within half of one
    jitter: float = 0.5  # of the period, either way: stations started by one power cut are spread after two polls
    unconditional_s: float = 600.0  # the longest that a lying 304 can hide anything
    connect_s: float = 10.0
    idle_s: float = 30.0  # no byte for so long: the far side is gone
    index_s: float = 30.0  # the whole index; it has 1 MB at most
    whole_s: float = 4 * 3600.0  # 1.6 GB over 1 Mbit/s take 3.6 h; later than that a newer snapshot is near
    retry_first_s: float = 1.0
    retry_most_s: float = 300.0  # as stale as a come-back of the server may find us
    tries: int = 6  # in a row that brought no new byte, then the worker hears of it
    index_bytes_max: int = 2 * 1024 * 1024  # 4,096 files at 300 bytes each, and room
    file_bytes_max: int = 4 * 1024**3  # 235.2 million people at 8 B are 1.9 GB (issue 3); twice that


@dataclass(frozen=True, slots=True)
class Listing:
    """One line of the index."""

    entry: Entry
    sha256: str = ""


class _AgainError(Exception):
    """A download was cut; what came is kept and the rest is asked for."""


class HttpsSource:
    """Files below one `https://HOST/PATH/`. After a failure `changed` waits by itself; its caller only loops."""

    def __init__(
        self,
        address: str,
        folder: Path,
        *,
        ca_file: Path | None = None,
        limits: Limits = Limits(),
        draw: Callable[[], float] = DRAW,
    ) -> None:
        self._base = base_url(address)
        self._folder = folder
        self._limits = limits
        self._draw = draw
        self._backoff = Backoff(limits.retry_first_s, limits.retry_most_s, draw)
        self._client = _client(self._base, ca_file, limits)
        self._listings: dict[str, Listing] | None = None  # the last index, by name
        self._etag = ""
        self._due_s = float("-inf")  # the loop's clock when the index is asked for next; the first time at once
        self._asked_s = float("-inf")  # the loop's clock when the index was last asked for unconditionally
        self._again = True  # the first time, and after trouble with a file: return although nothing changed
        self._stuck = (
            False  # a file made trouble: only a settled file or another index ends the back-off, no mere index
        )
        self._refused: dict[Listing, None] = {}
        self._held: dict[str, tuple[Listing, Path]] = {}  # fetched and not settled, or to be taken later
        self._later: set[str] = set()  # of these, the ones that are in nobody's hands now
        self._partial: tuple[Listing, str, Spool] | None = None  # cut off, with the validator of what came
        prepare(folder)

    async def changed(self) -> None:
        """Wait until the index differs from the last one, or an entry is due again. Raises SourceError."""
        loop = asyncio.get_running_loop()
        while True:
            # By a due time, so that a caller who gives up waiting and comes back does not put the next look off.
            await asyncio.sleep(max(0.0, self._due_s - loop.time()))
            before = self._listings
            await self._refresh()
            self._due_s = loop.time() + self._pause_s()
            if self._again or self._listings != before:
                self._again = False
                return

    async def catalogue(self) -> Sequence[Entry]:
        """What the last index lists, without what was refused; asks nobody. Raises SourceError before the first one."""
        if self._listings is None:
            raise SourceError(f"{self._base}{INDEX}: not read yet")
        return [listing.entry for listing in self._listings.values() if listing not in self._refused]

    async def fetch(self, entry: Entry) -> Path:
        """The whole file, resumed where an earlier attempt was cut. Raises SourceError."""
        listing = (self._listings or {}).get(entry.name)
        if listing is None or listing.entry != entry:
            raise self._failure(f"{entry.name}: not in the index any more: look at the catalogue again")
        held = self._held.get(entry.name)
        self._later.discard(entry.name)
        if held and held[0] == listing and held[1].exists():
            return held[1]
        self._again = self._stuck = True  # until it is settled; a cut does not wait for another index
        try:
            async with asyncio.timeout(self._limits.whole_s):
                path = await self._download(listing)
        except TimeoutError:
            raise self._failure(
                f"{entry.name}: not whole after {self._limits.whole_s:.0f} s: is the line fast enough?"
            ) from None
        except OSError as error:
            self._drop_partial()
            raise self._failure(f"{self._folder}: {error.strerror or error}: free or mend the disk") from error
        self._held[entry.name] = (listing, path)
        return path

    async def settled(self, entry: Entry, outcome: Outcome) -> None:
        """TAKEN and REFUSED end the file's stay here; LATER keeps it, and asks for the index afresh."""
        if outcome is Outcome.LATER:
            self._etag = ""
            self._later |= {entry.name} & self._held.keys()
            self._again = self._stuck = True
            self._put_off()
            return
        listing = self._held[entry.name][0] if entry.name in self._held else (self._listings or {}).get(entry.name)
        if outcome is Outcome.REFUSED and listing:
            self._refused[listing] = None
            while len(self._refused) > REFUSED_MAX:
                del self._refused[next(iter(self._refused))]
        self._let_go(entry.name)
        self._again = self._stuck = False
        self._backoff.worked()

    async def close(self) -> None:
        """End the connections and remove what was fetched."""
        self._drop_partial()
        for name in list(self._held):
            self._let_go(name)
        await self._client.aclose()

    # The index.

    def _pause_s(self) -> float:
        if self._backoff.failures:
            return self._backoff.wait_s()
        return self._limits.period_s * (1 + self._limits.jitter * (2 * self._draw() - 1))

    async def _refresh(self) -> None:
        before = self._listings
        try:
            async with asyncio.timeout(self._limits.index_s):
                await self._ask_index()
        except TimeoutError:
            raise self._failure(f"{self._base}{INDEX}: not whole after {self._limits.index_s:.0f} s") from None
        except (httpx.HTTPError, _AgainError) as error:
            raise self._failure(f"{self._base}{INDEX}: {_say(error)}: is the server up?") from error
        if not self._stuck or self._listings != before:
            self._stuck = False
            self._backoff.worked()
        for name in list(self._later):
            if (self._listings or {}).get(name) != self._held[name][0]:
                self._let_go(name)

    async def _ask_index(self) -> None:
        now_s = asyncio.get_running_loop().time()
        conditional = bool(self._etag) and now_s - self._asked_s < self._limits.unconditional_s
        headers = {"If-None-Match": self._etag} if conditional else {}
        async with self._get(INDEX, headers) as reply:
            if reply.status_code == 304 and conditional:
                return
            if reply.status_code != 200:
                raise self._failure(f"{self._base}{INDEX}: {_status(reply)}")
            raw = bytearray()
            async for chunk in reply.aiter_raw(CHUNK_BYTES):
                raw += chunk
                if len(raw) > self._limits.index_bytes_max:
                    raise self._failure(
                        f"{self._base}{INDEX}: over {self._limits.index_bytes_max} bytes: no index of ours"
                    )
            try:
                self._listings = parse_index(bytes(raw))
            except ValueError as error:
                raise self._failure(f"{self._base}{INDEX}: {error}: publish it again") from error
            self._etag, self._asked_s = reply.headers.get("etag", ""), now_s

    # One file.

    async def _download(self, listing: Listing) -> Path:
        waits = Backoff(self._limits.retry_first_s, self._limits.retry_most_s, self._draw)
        doubted = ""
        while True:
            had = self._partial[2].size if self._partial else 0
            try:
                await self._receive(listing)
            except (httpx.HTTPError, _AgainError) as error:
                came = self._partial[2].size if self._partial else 0
                waits.failures = 1 if came > had else waits.failures + 1
                if waits.failures >= self._limits.tries:
                    raise self._failure(
                        f"{listing.entry.name}: {_say(error)}, {waits.failures} times in a row"
                    ) from error
                await asyncio.sleep(waits.wait_s())
                continue
            except TooLongError as error:
                self._drop_partial()
                raise self._failure(f"{error}: not what the index announced") from error
            path, digest = await self._whole()
            if not listing.sha256 or digest in (listing.sha256, doubted):
                # The same bytes twice: then the index is wrong and not the line, and the signature decides.
                return path
            log.warning("%s: not the bytes that the index announced; fetching it once more", listing.entry.name)
            doubted = digest

    async def _receive(self, listing: Listing) -> None:
        """Bring the partial file to its end. Raises httpx.HTTPError, _AgainError, TooLongError, SourceError."""
        validator, spool = await self._begin(listing)
        resumed = bool(spool.size)
        headers = {"Range": f"bytes={spool.size}-", "If-Range": validator} if resumed else {}
        async with self._get(listing.entry.name, headers) as reply:
            if reply.status_code == 200 or (resumed and reply.status_code == 206):
                if not (resumed and _continues(reply, spool.size, validator)):
                    await spool.restart()
                    if reply.status_code == 206:
                        raise _AgainError("the server sent another part than was asked for")
                self._partial = (listing, _validator(reply) or (validator if reply.status_code == 206 else ""), spool)
                async for chunk in reply.aiter_raw(CHUNK_BYTES):
                    await spool.write(chunk)
            elif resumed and reply.status_code == 416:  # the file is shorter now
                await spool.restart()
                raise _AgainError("the file changed")
            elif reply.status_code in (429, 500, 502, 503, 504):
                raise _AgainError(_status(reply))
            else:
                self._drop_partial()
                raise self._failure(f"{listing.entry.name}: {_status(reply)}")
        if listing.entry.size and spool.size != listing.entry.size:
            self._drop_partial()
            raise self._failure(f"{listing.entry.name}: {spool.size} bytes, and the index says {listing.entry.size}")

    async def _begin(self, listing: Listing) -> tuple[str, Spool]:
        """The partial file to go on with; without a strong validator it begins again."""
        if self._partial and (self._partial[0] != listing or not self._partial[2].intact):
            self._drop_partial()
        if self._partial:
            _, validator, spool = self._partial
            if spool.size and not validator:
                await spool.restart()
            return validator, spool
        bytes_max = min(listing.entry.size or self._limits.file_bytes_max, self._limits.file_bytes_max)
        spool = Spool(self._folder, listing.entry.name, bytes_max)
        self._partial = (listing, "", spool)
        return "", spool

    async def _whole(self) -> tuple[Path, str]:
        assert self._partial is not None  # noqa: S101 - _receive has just filled it
        path, digest = await self._partial[2].finish()
        self._partial = None
        return path, digest

    # Small things.

    @contextlib.asynccontextmanager
    async def _get(self, name: str, headers: dict[str, str]) -> AsyncIterator[httpx.Response]:
        """A reply to a GET of `name`, after at most a few redirects on the same origin."""
        url = self._base.join(name)
        for _ in range(REDIRECTS_MAX + 1):
            async with self._client.stream("GET", url, headers=headers) as reply:
                if not reply.has_redirect_location:
                    coding = reply.headers.get("content-encoding", "identity")
                    if coding != "identity":
                        raise self._failure(f"{url}: comes as {coding}, which was not asked for: mend the server")
                    yield reply
                    return
                url = url.join(reply.headers["location"])
                if _origin(url) != _origin(self._base):
                    raise self._failure(
                        f"{self._base}{name}: redirects to another host: give that address if it is right"
                    )
        raise self._failure(f"{self._base}{name}: over {REDIRECTS_MAX} redirects: mend the server")

    def _failure(self, text: str) -> SourceError:
        self._etag = ""
        self._put_off()
        return SourceError(text)

    def _put_off(self) -> None:
        self._backoff.failed()
        self._due_s = asyncio.get_running_loop().time() + self._backoff.wait_s()

    def _let_go(self, name: str) -> None:
        held = self._held.pop(name, None)
        self._later.discard(name)
        if held:
            held[1].unlink(missing_ok=True)

    def _drop_partial(self) -> None:
        if self._partial:
            self._partial[2].discard()
            self._partial = None


def base_url(address: str) -> httpx.URL:
    """The folder's URL, with its final slash. Raises SourceError that says what to mend."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, ValueError):
        raise SourceError("the address is no URL: give https://HOST/PATH/") from None
    if url.userinfo or url.query or url.fragment:
        raise SourceError(f"https://{url.host}: give https://HOST/PATH/ alone: a login or a query would show in logs")
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.host)):
        raise SourceError(f"{url.scheme}://{url.host}: give https://HOST/PATH/; http:// is for loopback only")
    if not url.host:
        raise SourceError("the address names no host: give https://HOST/PATH/")
    return url if url.path.endswith("/") else url.copy_with(path=f"{url.path}/")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, without asking a name server."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def parse_index(raw: bytes) -> dict[str, Listing]:
    """The files of an index by name, the newest sequences if there are too many. Raises ValueError."""
    try:
        index = json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("no JSON") from None
    files = index.get("files") if isinstance(index, dict) else None
    if not isinstance(files, list):
        raise ValueError('no {"files": […]}')
    listings: dict[str, Listing] = {}
    for number, line in enumerate(files):
        listing = _listing(line, f"files[{number}]")
        if listing.entry.name in listings:
            raise ValueError(f"files[{number}].name is there twice")
        listings[listing.entry.name] = listing
    newest = sorted(listings.values(), key=lambda listing: listing.entry.sequence)[-ENTRIES_MAX:]
    return {listing.entry.name: listing for listing in newest}


def _listing(line: Any, where: str) -> Listing:
    if not isinstance(line, dict):
        raise ValueError(f"{where} is no object")
    name, form, sha256 = line.get("name"), line.get("form"), line.get("sha256", "")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{where}.name is no plain file name")
    if form not in list(Form):
        raise ValueError(f"{where}.form is neither SNAPSHOT nor DELTA")
    if not isinstance(sha256, str) or (sha256 and not _SHA256.fullmatch(sha256)):
        raise ValueError(f"{where}.sha256 is not 64 small hexadecimal digits")
    numbers = [_whole_number(line, key, where) for key in ("sequence", "from_sequence", "bytes")]
    return Listing(Entry(name, Form(form), *numbers), sha256)


def _whole_number(line: dict[str, Any], key: str, where: str) -> int:
    value = line.get(key, 0)
    if type(value) is not int or not 0 <= value <= SEQUENCE_MAX:
        raise ValueError(f"{where}.{key} is no whole number from 0")
    return value


def _client(base: httpx.URL, ca_file: Path | None, limits: Limits) -> httpx.AsyncClient:
    try:
        verify: ssl.SSLContext | bool = base.scheme == "https" and ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SourceError(f"ca_file {ca_file}: {error}: give a file of PEM certificates") from error
    return httpx.AsyncClient(
        verify=verify,
        trust_env=False,  # no proxy and no .netrc by surprise
        follow_redirects=False,
        timeout=httpx.Timeout(limits.idle_s, connect=limits.connect_s),
        limits=httpx.Limits(max_connections=2, max_keepalive_connections=1),  # one task uses it
        headers={"Accept-Encoding": "identity", "Cache-Control": "no-cache", "User-Agent": "station-smart-gate"},
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _validator(reply: httpx.Response) -> str:
    """The strong ETag; a weak one, or a date of whole seconds, may name two different files."""
    etag: str = reply.headers.get("etag", "")
    return etag if etag.startswith('"') else ""


def _continues(reply: httpx.Response, at: int, validator: str) -> bool:
    """Whether a 206 holds the bytes from `at` of the very file that was begun."""
    found = _CONTENT_RANGE.fullmatch(reply.headers.get("content-range", ""))
    same = reply.headers.get("etag", validator) == validator
    return reply.status_code == 206 and same and found is not None and int(found[1]) == at


def _status(reply: httpx.Response) -> str:
    return f"HTTP {reply.status_code}: {_MEND.get(reply.status_code, 'see the server’s log')}"


def _say(error: Exception) -> str:
    return str(error) or type(error).__name__
