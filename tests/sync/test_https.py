"""The `https:` source against a web server on loopback that misbehaves on purpose."""

import asyncio
import contextlib
import hashlib
import json
import os
import ssl
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gate.sync.backoff import Backoff
from gate.sync.https import HttpsSource, Limits, base_url, parse_index
from gate.sync.source import ENTRIES_MAX, Entry, Form, Outcome, SourceError
from tests.rpc.certificates import authority

QUICK = Limits(
    period_s=0.02, connect_s=2, idle_s=0.5, index_s=5, whole_s=20, retry_first_s=0.01, retry_most_s=0.05, tries=4
)


@dataclass(slots=True)
class Request:
    path: str
    headers: dict[str, str]


@dataclass(slots=True)
class Site:
    """A folder of files, and what its server does wrong."""

    files: dict[str, bytes] = field(default_factory=dict)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)  # lines of the index
    asked: list[Request] = field(default_factory=list)
    answer: Callable[[Request, asyncio.StreamWriter], Awaitable[bool]] | None = None  # True: it has answered
    url: str = ""

    def put(self, name: str, body: bytes, sequence: int, form: str = "DELTA", **other: Any) -> None:
        """Publish a file and its line in the index."""
        self.files[name] = body
        line = {"name": name, "form": form, "sequence": sequence, "from_sequence": sequence - 1, "bytes": len(body)}
        self.told[name] = line | {"sha256": hashlib.sha256(body).hexdigest()} | other

    def body(self, name: str) -> bytes | None:
        if name == "index.json":
            return json.dumps({"files": list(self.told.values())}).encode()
        return self.files.get(name)

    def ranges(self, name: str) -> list[str]:
        return [request.headers.get("range", "") for request in self.asked if request.path.endswith(name)]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines[1:] if line)
                request = Request(lines[0].split()[1], {key.lower(): value for key, value in headers.items()})
                self.asked.append(request)
                if self.answer is None or not await self.answer(request, writer):
                    await self.right(request, writer)
                await writer.drain()
                if writer.is_closing():
                    return

    async def right(self, request: Request, writer: asyncio.StreamWriter) -> None:
        """As a good server does."""
        body = self.body(request.path.rsplit("/", 1)[1])
        if body is None:
            reply(writer, 404, b"")
            return
        etag = etag_of(body)
        if request.headers.get("if-none-match") == etag:
            reply(writer, 304, None, etag=etag)
            return
        wanted = request.headers.get("range")
        if wanted and request.headers.get("if-range") == etag:
            at = int(wanted.removeprefix("bytes=").rstrip("-"))
            reply(writer, 206, body[at:], etag=etag, content_range=f"bytes {at}-{len(body) - 1}/{len(body)}")
            return
        reply(writer, 200, body, etag=etag)


def etag_of(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:16]}"'


def reply(
    writer: asyncio.StreamWriter, status: int, body: bytes | None, length: int | None = None, **headers: str
) -> None:
    """Write a whole reply; a `length` that is not the body's is a lie."""
    lines = [f"HTTP/1.1 {status} X", *(f"{key.replace('_', '-')}: {value}" for key, value in headers.items())]
    if body is not None:
        lines.append(f"content-length: {len(body) if length is None else length}")
    writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))


def cut(writer: asyncio.StreamWriter, body: bytes, at: int, etag: str = "") -> None:
    """The head of a whole reply, and only `at` bytes of its body."""
    reply(writer, 200, body[:at], len(body), **({"etag": etag} if etag else {}))
    writer.close()


@contextlib.asynccontextmanager
async def serving(site: Site, context: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    server = await asyncio.start_server(site.serve, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    site.url = f"{'https://localhost' if context else 'http://127.0.0.1'}:{port}/feeds/akm/"
    try:
        yield site
    finally:
        server.close()


def tell(story: Callable[[Site, HttpsSource], Awaitable[None]], folder: Path, limits: Limits = QUICK) -> None:
    """Run a story with a site and a source of it."""

    async def told() -> None:
        async with asyncio.timeout(30), serving(Site()) as site:
            source = HttpsSource(site.url, folder / "fetched", limits=limits)
            try:
                await story(site, source)
            finally:
                await source.close()
        assert not list((folder / "fetched").iterdir()), "nothing is left behind"

    asyncio.run(told())


async def only(source: HttpsSource) -> Entry:
    await source.changed()
    (entry,) = await source.catalogue()
    return entry


def test_files_of_the_index_are_fetched(tmp_path: Path) -> None:
    """The catalogue is the index; a fetched file has the published bytes and is gone after TAKEN."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("akm-1.snapshot", b"s" * 100_000, 1, "SNAPSHOT")
        site.put("akm-2.delta", b"d" * 100, 2)
        await source.changed()
        snapshot, delta = sorted(await source.catalogue(), key=lambda entry: entry.sequence)
        assert snapshot == Entry("akm-1.snapshot", Form.SNAPSHOT, 1, 0, 100_000)
        assert delta == Entry("akm-2.delta", Form.DELTA, 2, 1, 100)
        path = await source.fetch(snapshot)
        assert path.read_bytes() == site.files["akm-1.snapshot"]
        await source.settled(snapshot, Outcome.TAKEN)
        assert not path.exists()
        assert {request.headers["accept-encoding"] for request in site.asked} == {"identity"}

    tell(story, tmp_path)


def test_an_unchanged_index_costs_a_304_and_a_change_wakes(tmp_path: Path) -> None:
    """`changed` sleeps through 304s and returns for the next delta."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        await only(source)
        waiting = asyncio.create_task(source.changed())
        while len(site.asked) < 5:
            await asyncio.sleep(0.01)
        assert not waiting.done()
        assert all("if-none-match" in request.headers for request in site.asked[1:])
        site.put("2", b"two", 2)
        await waiting
        assert len(await source.catalogue()) == 2

    tell(story, tmp_path)


def test_a_lying_304_hides_a_delta_for_a_bounded_time_only(tmp_path: Path) -> None:
    """A server that says 304 for ever is asked without ETag when `unconditional_s` is over, and the delta is seen."""

    async def lie(request: Request, writer: asyncio.StreamWriter) -> bool:
        if "if-none-match" in request.headers:
            reply(writer, 304, None)
            return True
        return False

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        await only(source)
        site.answer = lie
        site.put("2", b"two", 2)
        began = asyncio.get_running_loop().time()
        await source.changed()
        assert len(await source.catalogue()) == 2
        assert asyncio.get_running_loop().time() - began > 0.2, (
            "the lie was believed for a while, or nothing was tested"
        )

    tell(story, tmp_path, replace(QUICK, unconditional_s=0.3))


def test_a_304_that_nobody_asked_for_is_a_failure(tmp_path: Path) -> None:
    """Without If-None-Match a 304 says nothing: SourceError, not an empty catalogue."""

    async def lie(request: Request, writer: asyncio.StreamWriter) -> bool:
        reply(writer, 304, None)
        return True

    async def story(site: Site, source: HttpsSource) -> None:
        site.answer = lie
        with pytest.raises(SourceError, match="HTTP 304"):
            await source.changed()

    tell(story, tmp_path)


@pytest.mark.parametrize("trouble", ["later", "failure", "bad index"])
def test_after_trouble_the_index_is_asked_for_whole(trouble: str, tmp_path: Path) -> None:
    """After LATER, a failed request, or an index that is none, the next request carries no ETag."""

    async def broken(request: Request, writer: asyncio.StreamWriter) -> bool:
        reply(writer, 500 if trouble == "failure" else 200, b"{", etag='"new"')
        return True

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        entry = await only(source)
        if trouble == "later":
            await source.settled(entry, Outcome.LATER)
        else:
            site.answer = broken
            with pytest.raises(SourceError):
                await source.changed()
            site.answer = None
        site.asked.clear()
        waiting = asyncio.create_task(source.changed())
        while not site.asked:
            await asyncio.sleep(0)
        waiting.cancel()
        assert "if-none-match" not in site.asked[0].headers

    tell(story, tmp_path)


def test_a_cut_download_is_resumed(tmp_path: Path) -> None:
    """Cut in half, the rest is asked for by range and validator; the whole file comes once over the line."""
    body = os.urandom(3_000_000)

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", body, 1)
        entry = await only(source)
        sent: list[int] = []

        async def half(request: Request, writer: asyncio.StreamWriter) -> bool:
            if sent:
                return False
            sent.append(len(body) // 2)
            cut(writer, body, sent[0], etag_of(body))
            return True

        site.answer = half
        assert (await source.fetch(entry)).read_bytes() == body
        begin, rest = site.ranges("/1")
        assert begin == ""
        assert 0 < int(rest.removeprefix("bytes=").rstrip("-")) <= sent[0]
        assert site.asked[-1].headers["if-range"] == etag_of(body)

    tell(story, tmp_path)


@pytest.mark.parametrize(
    ("how", "requests"), [("no validator", 2), ("range ignored", 2), ("wrong part", 3), ("other etag", 3)]
)
def test_what_cannot_be_resumed_begins_again(how: str, requests: int, tmp_path: Path) -> None:
    """No spliced file: without a strong validator, or when another part is sent, everything is asked for again."""
    body = os.urandom(4_000_000)

    async def story(site: Site, source: HttpsSource) -> None:
        # Without a digest where a splice could show, so that nothing else catches it.
        digest = {"sha256": ""} if requests == 3 else {}
        site.put("1", body, 1, **digest)
        entry = await only(source)
        count = 0

        async def wrong(request: Request, writer: asyncio.StreamWriter) -> bool:
            nonlocal count
            count += 1
            if count == 1:
                cut(writer, body, 3_000_000, "" if how == "no validator" else etag_of(body))
            elif how == "range ignored":
                reply(writer, 200, body, etag=etag_of(body))
            elif how == "wrong part" and "range" in request.headers:
                reply(writer, 206, body[5:], etag=etag_of(body), content_range=f"bytes 5-3999999/{len(body)}")
            elif how == "other etag" and "range" in request.headers:
                at = int(request.headers["range"][6:-1])
                reply(
                    writer, 206, bytes(len(body) - at), etag='"other"', content_range=f"bytes {at}-3999999/{len(body)}"
                )
            else:
                return False
            return True

        site.answer = wrong
        assert (await source.fetch(entry)).read_bytes() == body
        assert len(site.ranges("/1")) == requests

    tell(story, tmp_path)


def test_a_file_that_changes_in_mid_download_is_never_spliced(tmp_path: Path) -> None:
    """The second half would be of another file of equal length: the new one is fetched whole."""
    old, new = b"o" * 1_000_000, b"n" * 1_000_000

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", old, 1)
        entry = await only(source)

        async def swap(request: Request, writer: asyncio.StreamWriter) -> bool:
            site.answer = None
            cut(writer, old, 500_000, etag_of(old))
            site.put("1", new, 1)
            return True

        site.answer = swap
        fetched = (await source.fetch(entry)).read_bytes()
        assert fetched == new
        assert await only(source) == entry  # by then the index names the new bytes
        await source.settled(entry, Outcome.TAKEN)

    tell(story, tmp_path)


def test_a_wrong_digest_in_the_index_is_a_hint_only(tmp_path: Path) -> None:
    """Damaged once: fetched again and right. The same bytes twice: handed on, for the signature decides."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"right", 1)
        entry = await only(source)

        async def damage(request: Request, writer: asyncio.StreamWriter) -> bool:
            site.answer = None
            reply(writer, 200, b"wrong")
            return True

        site.answer = damage
        path = await source.fetch(entry)
        assert path.read_bytes() == b"right"
        assert len(site.ranges("/1")) == 2
        await source.settled(entry, Outcome.TAKEN)
        site.put("2", b"right", 2, sha256="0" * 64)
        del site.told["1"]
        assert (await source.fetch(await only(source))).read_bytes() == b"right"
        assert len(site.ranges("/2")) == 2

    tell(story, tmp_path)


@pytest.mark.parametrize(("announced", "why"), [(3, "more than 3 bytes"), (9, "the index says 9")])
def test_a_wrong_length_is_refused(announced: int, why: str, tmp_path: Path) -> None:
    """A file longer than its line is cut at the limit, a shorter one is not taken for whole."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"12345", 1, bytes=announced)
        with pytest.raises(SourceError, match=why):
            await source.fetch(await only(source))

    tell(story, tmp_path)


def test_nothing_is_ever_larger_than_the_limit(tmp_path: Path) -> None:
    """A file of unannounced length that does not end is given up at `file_bytes_max`."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"", 1, bytes=0)
        entry = await only(source)

        async def endless(request: Request, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(bytes(100_000))
                await writer.drain()

        site.answer = endless
        with pytest.raises(SourceError, match="more than 1000000 bytes"):
            await source.fetch(entry)

    tell(story, tmp_path, replace(QUICK, file_bytes_max=1_000_000))


def test_a_large_file_needs_little_memory(tmp_path: Path) -> None:
    """64 MB pass through in less than 8 MB of Python's memory, so 1.6 GB do too."""
    size, part = 64_000_000, bytes(64_000)

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"", 1, bytes=size, sha256=hashlib.sha256(bytes(size)).hexdigest())
        entry = await only(source)

        async def stream(request: Request, writer: asyncio.StreamWriter) -> bool:
            reply(writer, 200, b"", size)
            for _ in range(size // len(part)):
                writer.write(part)
                await writer.drain()
            return True

        site.answer = stream
        tracemalloc.start()
        try:
            path = await source.fetch(entry)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert path.stat().st_size == size
        assert peak < 8_000_000
        assert len(site.ranges("/1")) == 1

    tell(story, tmp_path, replace(QUICK, idle_s=10))


def test_an_index_of_10_gb_is_given_up_early(tmp_path: Path) -> None:
    """An index that announces 10 GB and sends without end is refused at its limit, in bounded memory."""

    async def story(site: Site, source: HttpsSource) -> None:
        sent = 0

        async def endless(request: Request, writer: asyncio.StreamWriter) -> bool:
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\n")
            while True:
                writer.write(b" " * 100_000)
                sent += 100_000
                await writer.drain()

        site.answer = endless
        with pytest.raises(SourceError, match="no index of ours"):
            await source.changed()
        assert sent < 50_000_000  # what sockets hold, and not 10 GB

    tell(story, tmp_path)


def test_a_silent_server_is_given_up(tmp_path: Path) -> None:
    """No byte for `idle_s`, and a drop now and then beyond `index_s`: SourceError, both in bounded time."""

    async def story(site: Site, source: HttpsSource) -> None:
        async def silent(request: Request, writer: asyncio.StreamWriter) -> bool:
            await asyncio.sleep(20)
            return True

        async def dripping(request: Request, writer: asyncio.StreamWriter) -> bool:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)

        site.answer = silent
        with pytest.raises(SourceError, match="is the server up"):
            await source.changed()
        site.answer = dripping
        with pytest.raises(SourceError, match="not whole after"):
            await source.changed()

    tell(story, tmp_path, replace(QUICK, idle_s=0.3, index_s=1.0))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://127.0.0.2:1/index.json", "another host"),
        ("http://localhost:1/", "another host"),
        ("//evil.example/x", "another host"),
        ("index.json", "over 3 redirects"),
        ("http://h:x/", "Invalid URL"),
    ],
)
def test_redirects_stay_on_the_host_and_end(location: str, why: str, tmp_path: Path) -> None:
    """No redirect leads elsewhere, and none leads round and round."""

    async def story(site: Site, source: HttpsSource) -> None:
        async def redirect(request: Request, writer: asyncio.StreamWriter) -> bool:
            reply(writer, 302, b"", location=location)
            return True

        site.answer = redirect
        with pytest.raises(SourceError, match=why):
            await source.changed()
        assert len(site.asked) <= 4

    tell(story, tmp_path)


def test_a_redirect_on_the_same_host_is_followed(tmp_path: Path) -> None:
    """A moved file is found."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        entry = await only(source)

        async def moved(request: Request, writer: asyncio.StreamWriter) -> bool:
            if request.path.startswith("/feeds"):
                reply(writer, 301, b"", location="/new/1")
                return True
            return False

        site.answer = moved
        assert (await source.fetch(entry)).read_bytes() == b"one"

    tell(story, tmp_path)


def test_compression_that_was_not_asked_for_is_refused(tmp_path: Path) -> None:
    """A gzip bomb is not unpacked."""

    async def story(site: Site, source: HttpsSource) -> None:
        async def packed(request: Request, writer: asyncio.StreamWriter) -> bool:
            reply(writer, 200, b"\x1f\x8b", content_encoding="gzip")
            return True

        site.answer = packed
        with pytest.raises(SourceError, match="comes as gzip"):
            await source.changed()

    tell(story, tmp_path)


def test_refused_stays_away_until_it_changes(tmp_path: Path) -> None:
    """A refused file is not offered again; the same name with other bytes is."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"bad", 1)
        entry = await only(source)
        await source.fetch(entry)
        await source.settled(entry, Outcome.REFUSED)
        assert await source.catalogue() == []
        site.put("1", b"good", 1)
        entry = await only(source)
        assert (await source.fetch(entry)).read_bytes() == b"good"

    tell(story, tmp_path)


def test_later_keeps_the_file_and_backs_off(tmp_path: Path) -> None:
    """A file that was fetched is not fetched again after LATER, and each further LATER may wait longer."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        for _ in range(4):
            entry = await only(source)
            assert (await source.fetch(entry)).read_bytes() == b"one"
            await source.settled(entry, Outcome.LATER)
        assert len(site.ranges("/1")) == 1
        assert source._backoff.failures == 4
        await source.settled(await only(source), Outcome.TAKEN)
        assert source._backoff.failures == 0

    tell(story, tmp_path)


def test_a_fetched_file_stays_until_it_is_settled(tmp_path: Path) -> None:
    """An index that changes meanwhile takes no file out of the worker's hands; after LATER it does."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        entry = await only(source)
        path = await source.fetch(entry)
        del site.told["1"]
        await source.changed()
        assert path.read_bytes() == b"one"
        await source.settled(entry, Outcome.LATER)
        await source.changed()
        assert not path.exists()

    tell(story, tmp_path)


def test_a_missing_file_is_asked_for_less_and_less_often(tmp_path: Path) -> None:
    """An index whose file is not there costs no storm: each failure waits longer, and an index that changes ends it."""

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        del site.files["1"]
        for failures in (1, 2, 3):
            entry = await only(source)
            with pytest.raises(SourceError, match="HTTP 404: publish it"):
                await source.fetch(entry)
            assert source._backoff.failures == failures
        site.put("1", b"ones", 1)
        await only(source)
        assert source._backoff.failures == 0

    tell(story, tmp_path)


def test_a_server_that_stays_down_is_said_after_a_few_tries(tmp_path: Path) -> None:
    """503 for ever: `tries` requests, then SourceError; what had come is kept for the next fetch."""
    body = os.urandom(500_000)

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", body, 1)
        entry = await only(source)
        count = 0

        async def down(request: Request, writer: asyncio.StreamWriter) -> bool:
            nonlocal count
            count += 1
            if count == 1:
                cut(writer, body, 250_000, etag_of(body))
            else:
                reply(writer, 503, b"")
            return True

        site.answer = down
        with pytest.raises(SourceError, match="503"):
            await source.fetch(entry)
        site.answer = None
        site.asked.clear()
        assert (await source.fetch(entry)).read_bytes() == body
        assert int(site.ranges("/1")[0][6:-1]) > 0

    tell(story, tmp_path)


def test_proxies_of_the_environment_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy variable that somebody left behind changes nothing."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def story(site: Site, source: HttpsSource) -> None:
        site.put("1", b"one", 1)
        await only(source)

    tell(story, tmp_path)


def test_tls_is_verified(tmp_path: Path) -> None:
    """With our CA the index is read; with the system's CAs the same server is refused."""
    identity = authority("web of the region").identity(host="localhost")
    (tmp_path / "ca").write_bytes(authority("web of the region").pem)
    (tmp_path / "pem").write_bytes(identity.certificate + identity.key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pem")

    async def told() -> None:
        async with asyncio.timeout(20), serving(Site(), context) as site:
            site.put("1", b"one", 1)
            trusting = HttpsSource(site.url, tmp_path / "a", ca_file=tmp_path / "ca", limits=QUICK)
            assert (await trusting.fetch(await only(trusting))).read_bytes() == b"one"
            await trusting.close()
            strict = HttpsSource(site.url, tmp_path / "b", limits=QUICK)
            with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
                await strict.changed()
            await strict.close()

    asyncio.run(told())


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("http://gate.example/feeds/", "loopback only"),
        ("http://10.0.0.1/", "loopback only"),
        ("ftp://h/", "give https"),
        ("https:///x", "no host"),
        ("https://u:secret@h/", "alone"),
        ("https://h/?token=secret", "alone"),
        ("https://h:x/", "no URL"),
    ],
)
def test_a_wrong_address_says_what_is_wrong(address: str, why: str) -> None:
    """Each mistake has its sentence, and no sentence holds a secret."""
    with pytest.raises(SourceError, match=why) as caught:
        base_url(address)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "no {"),
        (b'{"files": {}}', "no {"),
        (b'{"files": [1]}', r"files\[0\] is no object"),
        *(
            (json.dumps({"files": [{"name": name, "form": "DELTA", "sequence": 1}]}).encode(), r"files\[0\].name")
            for name in ("", ".", "..", ".x", "a/b", "a\\b", "a\0", "ä", "-x", "x" * 129, None, 1)
        ),
        (b'{"files": [{"name": "a", "form": "delta"}]}', "form"),
        (b'{"files": [{"name": "a", "form": []}]}', "form"),
        (b'{"files": [{"name": "a", "form": "DELTA", "sequence": true}]}', "sequence"),
        (b'{"files": [{"name": "a", "form": "DELTA", "sequence": 1.0}]}', "sequence"),
        (b'{"files": [{"name": "a", "form": "DELTA", "bytes": -1}]}', "bytes"),
        (b'{"files": [{"name": "a", "form": "DELTA", "bytes": 9223372036854775808}]}', "bytes"),
        (b'{"files": [{"name": "a", "form": "DELTA", "sha256": "A"}]}', "sha256"),
        (b'{"files": [{"name": "a", "form": "DELTA"}, {"name": "a", "form": "DELTA"}]}', "twice"),
    ],
)
def test_a_bad_index_is_named(raw: bytes, why: str) -> None:
    """Nothing that is not a plain list of files is read as one, and the error says where."""
    with pytest.raises(ValueError, match=why):
        parse_index(raw)


def test_of_too_many_files_the_newest_are_kept() -> None:
    """An index of a publisher that never cleans up still brings the newest state."""
    files = [{"name": f"a{n}", "form": "DELTA", "sequence": n} for n in range(ENTRIES_MAX + 10)]
    found = parse_index(json.dumps({"files": files}).encode())
    assert len(found) == ENTRIES_MAX
    assert min(listing.entry.sequence for listing in found.values()) == 10


def test_waits_are_drawn_between_nothing_and_a_doubling_limit() -> None:
    """Full jitter: never longer than the limit, doubling up to `most_s`, none after a success."""
    longest = Backoff(1.0, 10.0, lambda: 1.0)
    waits = []
    for _ in range(6):
        longest.failed()
        waits.append(longest.wait_s())
    assert waits == [1, 2, 4, 8, 10, 10]
    shortest = Backoff(1.0, 10.0, lambda: 0.0, failures=5)
    assert shortest.wait_s() == 0
    longest.worked()
    assert longest.wait_s() == 0
    assert Backoff(1.0, 10.0, lambda: 1.0, failures=100_000).wait_s() == 10


def test_polls_of_many_stations_spread(tmp_path: Path) -> None:
    """Periods of stations are drawn from half to one and a half, so that they do not stay in step."""
    draws = iter([0.0, 0.5, 1.0])
    source = HttpsSource("http://127.0.0.1:1/", tmp_path / "x", limits=Limits(period_s=20.0), draw=lambda: next(draws))
    assert [source._pause_s() for _ in range(3)] == [10.0, 20.0, 30.0]
    asyncio.run(source.close())
