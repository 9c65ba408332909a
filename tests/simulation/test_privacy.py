"""Personal data reaches nothing that the service writes or answers: stations run, and everything is searched."""

import asyncio
import base64
import gzip
import json
import logging
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from rich.console import Console

from gate.passage.record import letters
from gate.sim import demo
from gate.sim.passengers import Passenger
from gate.sim.people import Person
from tests.simulation.search import Secrets, Written, contents, find_leaks, page, secrets_of

# --- the search itself ---

NUMBER, NAME, CODE = (
    "310105199001010018",
    "欧阳安宁和平",
    "https://s.sh.gov.cn/0a1b2c3d4e5f60718293a4b5c6d7e81585000000000",
)
PLANTED = Secrets(frozenset({NUMBER}), frozenset({NAME, CODE}))


def _every(pattern: str) -> Callable[[bytes], bytes]:
    return lambda raw: "".join(pattern.format(byte) for byte in raw).encode()


COATINGS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "hex": lambda raw: raw.hex().encode(),
    "HEX": lambda raw: raw.hex().upper().encode(),
    "hex with colons": lambda raw: raw.hex(":").encode(),
    "hex with blanks": lambda raw: raw.hex(" ").encode(),
    "base64": base64.b64encode,
    "base64 for addresses": base64.urlsafe_b64encode,
    "percent": lambda raw: quote(raw, safe="").encode(),
    "percent, plus": lambda raw: quote_plus(raw).encode(),
    "percent, every byte": _every("%{:02x}"),
    "letters of the journal": lambda raw: letters(raw).encode(),
    "repr of bytes": lambda raw: repr(raw).encode(),
    "backslash-x of every byte": _every("\\x{:02x}"),
    "gzip": gzip.compress,
    "gzip in the middle of a file": lambda raw: b"\x1f\x8b header " + gzip.compress(raw) + b" trailer",
    "torn gzip": lambda raw: gzip.compress(raw + random.Random(1).randbytes(4000))[:-900],
    "zlib": zlib.compress,
    "gzip of base64": lambda raw: gzip.compress(base64.b64encode(raw)),
    "base64 of gzip": lambda raw: base64.b64encode(gzip.compress(raw)),
    "hex of gzip of percent": lambda raw: gzip.compress(quote(raw).encode()).hex().encode(),
}


@pytest.mark.parametrize("coating", COATINGS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "gbk"])
@pytest.mark.parametrize("secret", [NUMBER, NAME, CODE], ids=["number", "name", "code"])
def test_the_search_finds_a_secret_in_every_coating(secret: str, encoding: str, coating: str) -> None:
    """At each of the alignments that base64 and hex have, inside and outside the coating."""
    for before in ("", "a", "ab", "abc"):
        raw = (before + "|").encode(encoding) + secret.encode(encoding) + "|".encode(encoding)
        planted = b"log " + before.encode() + COATINGS[coating](raw) + b" end"
        assert find_leaks([("planted", planted)], PLANTED), before


@pytest.mark.parametrize("coating", COATINGS)
def test_the_search_finds_bytes_that_are_no_text(coating: str) -> None:
    """A paper's binding or a subject key, in whatever coating a log or a journal could give it."""
    secret = random.Random(3).randbytes(16)
    planted = b"log |" + COATINGS[coating](b"|" + secret + b"|") + b" end"
    assert find_leaks([("planted", planted)], Secrets(frozenset(), frozenset(), frozenset({secret})))


@pytest.mark.parametrize("text", [json.dumps(NAME), f"&#{'; &#'.join(str(ord(c)) for c in NAME)};".replace(" ", "")])
def test_the_search_finds_a_name_in_character_escapes(text: str) -> None:
    """As JSON and HTML write it where they are told to stay in ASCII."""
    assert find_leaks([("planted", text.encode())], PLANTED)


@pytest.mark.parametrize("at", range(11))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_the_search_finds_eight_digits_of_a_number(at: int, encoding: str) -> None:
    """Any eight in a row, also inside a longer run of digits; seven are not told."""
    eight = NUMBER[at : at + 8]
    for coating in COATINGS.values():
        assert find_leaks([("planted", coating(f"7{eight}7 ".encode(encoding)))], PLANTED)
    assert not find_leaks([("planted", f"7{eight[:7]}".encode(encoding))], PLANTED)


def test_the_search_finds_a_number_in_the_name_of_a_file(tmp_path: Path) -> None:
    """Folders too."""
    (tmp_path / NUMBER).mkdir()
    assert find_leaks(contents(tmp_path), PLANTED)


def test_the_search_is_silent_where_nothing_is() -> None:
    """Random bytes, digests, floats and other people's digits are no leak, and a leak's report quotes nobody."""
    noise = random.Random(2).randbytes(200_000)
    clean = [
        noise,
        noise.hex().encode(),
        b"3.14159265358979e-05 20261124T203717",
        b"12345678901234567",
        NAME[:2].encode(),
    ]
    assert find_leaks([("clean", raw) for raw in clean], PLANTED) == []
    told = find_leaks([("planted", NUMBER.encode() + NAME.encode())], PLANTED)
    assert len(told) == 2
    assert not find_leaks([("report", "".join(told).encode())], PLANTED)


# --- the demonstration ---

SECONDS = 15.0


def test_a_demonstration_writes_nothing_personal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Output, logs at their most talkative, metrics, journal, store, feeds: nothing of anybody who came."""
    came: list[Person] = []

    class Noted(Passenger):
        def __init__(self, person: Person, *given: Any) -> None:
            came.append(person)
            super().__init__(person, *given)

    monkeypatch.setattr(demo, "Passenger", Noted)
    with caplog.at_level(logging.DEBUG):  # as --verbose sets it, for the controller too
        written = asyncio.run(_demonstrate(tmp_path))
    written.insert(0, ("log of the demonstration", caplog.text.encode()))
    names = "\n".join(name for name, _ in written)
    assert len(came) >= SECONDS, "passengers came"
    assert b'outcome="PASSED"' in written[-1][1], "the metrics are those of a station at work"
    for part in ("data/store/SSM/manifest.json", "data/journal/journal-", "controller.log", "summary"):
        assert part in names
    assert find_leaks(written, secrets_of(came)) == []


async def _demonstrate(folder: Path) -> Written:
    """Run it as `gate demo` does; the last thing written is the last page of metrics."""
    with (folder / "summary").open("w") as out:
        console = Console(file=out)
        running = asyncio.create_task(demo.Demo(demo.Options(seconds=SECONDS, seed=7), folder, console).run())
        last = b""
        while not running.done():
            last = await page(folder / "controller.log") or last
            await asyncio.wait([running], timeout=0.5)
        demo.show(running.result(), console)
    return [*contents(folder), ("metrics", last)]
