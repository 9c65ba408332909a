"""Personal data reaches nothing that the service writes: a demonstration runs, and everything is searched."""

import asyncio
import base64
import gzip
import random
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from gate.sim.people import Person, make_people

SECONDS = 15
SEED = 7
# Shorter needles are in any binary by chance; every number and code is longer, and so are most names.
NEEDLE_BYTES_MIN = 6


def _forms(secret: str) -> set[bytes]:
    """A secret in every coating that the issue names."""
    forms = set()
    for coding in ("utf-8", "utf-16-le", "gbk"):
        raw = secret.encode(coding)
        forms |= {raw, raw.hex().encode(), raw.hex().upper().encode()}
        for shift in range(3):  # base64 depends on where in the stream the secret begins
            coded = base64.b64encode(b"\0" * shift + raw)
            forms.add(coded[4 if shift else 0 : len(coded) - 4])
    quoted = urllib.parse.quote(secret, safe="")
    forms |= {quoted.encode(), urllib.parse.quote_plus(secret).encode(), quoted.lower().encode()}
    return {form for form in forms if len(form) >= NEEDLE_BYTES_MIN}


def _contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            raw = path.read_bytes()
            yield path.name, raw
            if raw.startswith(b"\x1f\x8b"):
                yield f"{path.name} (unpacked)", gzip.decompress(raw)


def find_leaks(written: list[tuple[str, bytes]], people: list[Person]) -> list[str]:
    """Where a person's number, name or code, or eight digits of a number in a row, stand in what was written."""
    leaks = []
    needles = {form for p in people for secret in (p.number, p.name, p.code.decode()) for form in _forms(secret)}
    windows = {p.number[at : at + 8] for p in people for at in range(10)}
    for name, raw in written:
        leaks += [f"{name}: a form of a secret" for needle in needles if needle in raw]
        for run in re.findall(rb"[0-9]{8,}", raw):
            digits = run.decode()
            if any(digits[at : at + 8] in windows for at in range(len(digits) - 7)):
                leaks.append(f"{name}: eight digits of a number")
    return leaks


def test_the_search_finds_what_is_there() -> None:
    """The search itself sees each coating, so its silence means something."""
    people = make_people(3, seed=1)
    secret = people[0].number
    for form in _forms(secret) | {secret[4:12].encode()}:
        assert find_leaks([("planted", b"noise " + form + b" noise")], people), form
    assert not find_leaks([("clean", b"nothing here 12345678")], people)


def test_a_demonstration_writes_nothing_personal(tmp_path: Path) -> None:
    """Journal, logs, store, metrics, output: no number, no name, no code text, in any coating."""
    out, page = asyncio.run(_demonstrate(tmp_path))
    written = [("output", out), ("metrics", page), *_contents(tmp_path / "data")]
    written.append(("log", (tmp_path / "controller.log").read_bytes()))
    names = {name for name, _ in written}
    assert "data.mdb" in names, "the store was searched"
    assert any(name.startswith("journal-") for name in names), "the journal was searched"
    people = make_people(10_000, SEED)
    draw = random.Random(SEED)
    presented = draw.sample(people, len(people))[: 4 * SECONDS]
    assert b"gate_passages_total" in page, "passages were made"
    assert find_leaks(written, presented) == []


async def _demonstrate(folder: Path) -> tuple[bytes, bytes]:
    demo = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "gate", "--verbose", "demo", "--seconds", str(SECONDS), "--seed", str(SEED), "--keep", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert demo.stdout is not None
    out, page = bytearray(), b""
    while line := await demo.stdout.readline():
        out += line
        if line.startswith(b"files"):
            address = re.search(rb"http://\S+", bytes(out))
            assert address
            await asyncio.sleep(SECONDS * 0.8)  # the page of a station at work: passages must have happened
            page = await asyncio.to_thread(_fetch, address[0].decode())
    assert await demo.wait() == 0, out.decode()[-2000:]
    return bytes(out), page


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as reply:
        page: bytes = reply.read()
        return page
