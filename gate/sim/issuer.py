"""A simulated issuer as a program: speaks one interface over HTTP from a table of people, with fault knobs.

    python -m gate.sim.issuer people.toml --interface jiangsu-verify --port 8450

It prints its URL and serves until Ctrl-C. The table: `[access]` (what a caller must know: app_id, secret_key, source,
token, app_key, secret, city_code, site_id) and `[[holder]]` (number, name, phone, code, token, status, …: `Holder`).
It checks keys and signatures with code of its own, as the real one would. A fault is turned on while it runs by

    curl -d '{"silent": true}' URL/_faults        (any fields of `Faults`; {} turns all off)

Nobody in it is real, and it does not belong on a network: it listens on loopback only.
"""

import argparse
import asyncio
import contextlib
import json
import ssl
import sys
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gate.feed.records import CredentialStatus
from gate.sim.issuerfaces import FACES, Access, Holder, Post

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 64 * 1024
HUGE_CHUNK = b" " * 65_536
DRIP_S = 0.02
_LATER_S = 3600.0  # "silent": longer than any test or demonstration


@dataclass(slots=True)
class Faults:
    """What this issuer does wrong."""

    silent: bool = False  # takes the question and never answers
    slow_s: float = 0.0  # answers after so long
    drip: bool = False  # answers byte by byte
    status: int = 0  # answers with this HTTP status
    garbage: bool = False  # answers with bytes that are no JSON
    truncated: bool = False  # announces a whole answer and sends half of it
    redirect: str = ""  # sends the caller elsewhere
    huge: bool = False  # answers without end
    reset: bool = False  # cuts the connection
    zipped: bool = False  # claims a compression that nobody asked for
    half: bool = False  # leaves the status out of its answer
    mixed_up: str = ""  # answers about this number instead of the one asked for
    no_permission: bool = False  # this verifier may not ask
    other_error: bool = False  # "other" error of its interface
    collapse_above: int = 0  # over so many questions at once each answer takes `collapse_s`; 0: never
    collapse_s: float = 10.0


@dataclass(slots=True)
class SimulatedIssuer:
    """One issuer on a port of loopback."""

    interface: str
    holders: list[Holder] = field(default_factory=list)
    access: Access = field(default_factory=Access)
    faults: Faults = field(default_factory=Faults)
    url: str = ""
    questions: int = 0  # requests that arrived whole
    most_under_way: int = 0
    refused: list[str] = field(default_factory=list)  # why requests were not such as the interface wants
    _under_way: int = 0
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, port: int = 0, tls: ssl.SSLContext | None = None) -> str:
        """Listen; the URL to ask at."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port, ssl=tls, limit=HEAD_BYTES_MAX)
        bound = self._server.sockets[0].getsockname()[1]
        self.url = f"{'https://localhost' if tls else 'http://127.0.0.1'}:{bound}"
        return self.url

    async def stop(self) -> None:
        """Stop listening and drop everybody."""
        if self._server:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - the loop runs us as one
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                while await self._one(await _request(reader), writer):
                    await writer.drain()
        except asyncio.CancelledError:  # stop(): nobody awaits this task for anything else
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _one(self, post: Post, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection goes on."""
        if post.path == "/_faults":
            self.faults = Faults(**json.loads(post.body))
            return _write(writer, 200, b"{}")
        self.questions += 1
        self._under_way += 1
        self.most_under_way = max(self.most_under_way, self._under_way)
        try:
            await asyncio.sleep(self._delay_s())
            return await self._answer(post, writer)
        finally:
            self._under_way -= 1

    def _delay_s(self) -> float:
        faults = self.faults
        if faults.silent:
            return _LATER_S
        collapsed = faults.collapse_above and self._under_way > faults.collapse_above
        return faults.collapse_s if collapsed else faults.slow_s

    async def _answer(self, post: Post, writer: asyncio.StreamWriter) -> bool:
        faults = self.faults
        if faults.reset:
            return False
        if faults.redirect:
            return _write(writer, 307, b"", f"location: {faults.redirect}")
        if faults.status:
            return _write(writer, faults.status, b'{"message": "maintenance"}')
        if faults.huge:
            return await _without_end(writer)
        body = b"\xff<html>\x00 not JSON" if faults.garbage else self._json(post)
        if faults.zipped:
            return _write(writer, 200, body, "content-encoding: gzip")
        if faults.truncated:
            _write(writer, 200, body[: len(body) // 2], length=len(body))
            await writer.drain()
            return False
        if faults.drip:
            return await _drip(writer, body)
        return _write(writer, 200, body)

    def _json(self, post: Post) -> bytes:
        face = FACES[self.interface]
        if self.faults.no_permission or self.faults.other_error:
            answer = face.refusal(self.faults.no_permission)
        else:
            answer = face.answer(post, self.access, self.holders, self.refused)
        if self.faults.half:
            face.halve(answer)
        text = json.dumps(answer, ensure_ascii=False)
        if self.faults.mixed_up:
            for holder in self.holders:
                text = text.replace(holder.number, self.faults.mixed_up)
        return text.encode()


async def _request(reader: asyncio.StreamReader) -> Post:
    """One whole POST. Raises ValueError for anything else."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = head[0].split(" ")
    headers = {key.lower(): value for key, value in (line.split(": ", 1) for line in head[1:] if line)}
    length = int(headers.get("content-length", "0"))
    if method != "POST" or not 0 <= length <= BODY_BYTES_MAX:
        raise ValueError("not a POST of ours")
    return Post(urlsplit(target).path, headers.get("content-type", ""), await reader.readexactly(length))


def _write(writer: asyncio.StreamWriter, status: int, body: bytes, *headers: str, length: int = -1) -> bool:
    """Write a reply; a `length` that is not the body's is a lie. True: the connection goes on."""
    size = len(body) if length < 0 else length
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {size}", *headers, "", ""]
    writer.write("\r\n".join(lines).encode() + body)
    return True


async def _without_end(writer: asyncio.StreamWriter) -> bool:
    writer.write(b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:  # until the caller hangs up: drain raises then
        writer.write(f"{len(HUGE_CHUNK):x}\r\n".encode() + HUGE_CHUNK + b"\r\n")
        await writer.drain()


async def _drip(writer: asyncio.StreamWriter, body: bytes) -> bool:
    _write(writer, 200, b"", length=len(body))
    for byte in body:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(DRIP_S)
    return True


def read_people(text: str) -> tuple[Access, list[Holder]]:
    """The table of a program's people. Raises ValueError that names what is not known."""
    raw = tomllib.loads(text)
    access = Access(**_known(Access, raw.get("access", {})))
    holders = []
    for row in raw.get("holder", []):
        values: dict[str, Any] = _known(Holder, row)
        values["status"] = CredentialStatus(values.get("status", "GREEN"))
        reports = values.get("reports", {})
        values["reports"] = {region: CredentialStatus(status) for region, status in reports.items()}
        holders.append(Holder(**values))
    return access, holders


def _known(kind: type, row: dict[str, Any]) -> dict[str, Any]:
    names = {each.name for each in fields(kind)}
    if unknown := sorted(set(row) - names):
        raise ValueError(f"{unknown[0]!r} is not known; allowed here: {', '.join(sorted(names))}")
    return dict(row)


async def _run(issuer: SimulatedIssuer, port: int) -> None:
    print(await issuer.start(port), flush=True)
    try:
        await asyncio.Event().wait()
    finally:
        await issuer.stop()


def main(arguments: list[str] | None = None) -> int:
    """The program. Exit status 2 when the table cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m gate.sim.issuer", description="one simulated issuer on loopback")
    parser.add_argument("people", type=Path, help="TOML file with [access] and [[holder]]")
    parser.add_argument("--interface", required=True, choices=sorted(FACES))
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    given = parser.parse_args(arguments)
    try:
        access, holders = read_people(given.people.read_text("utf-8"))
    except (OSError, ValueError, TypeError) as error:
        print(f"{given.people}: {error}: correct the table", file=sys.stderr)
        return 2
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(SimulatedIssuer(given.interface, holders, access), given.port))
    return 0


if __name__ == "__main__":
    sys.exit(main())
