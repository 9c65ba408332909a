"""The search for personal data: peels every coating off what was written, layer by layer, until secrets lie bare.

Peeling what was written, instead of coating what is sought, finds a secret wherever it begins in a longer text: base64
and hex depend on that. Bare means a number, a name or a code in a text encoding, or eight digits of a number.
"""

import asyncio
import base64
import contextlib
import re
import urllib.parse
import urllib.request
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gate.sim.people import Person

Written = list[tuple[str, bytes]]  # its name, and what it holds

ENCODINGS = ("utf-8", "utf-16-le", "utf-16-be", "gbk")
# Four bytes (two characters in GBK) stand in megabytes by chance; tests that plant names plant longer ones.
NEEDLE_BYTES_MIN = 6
LAYERS = 3  # e.g. the gzip of a base64 of a hex: deeper is no accident of a log or a store
UNPACKED_BYTES_MAX = 32 << 20  # of one packed stream
DIGITS_IN_A_ROW = 8

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{8,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_HEX = re.compile(rb"(?:[0-9A-Fa-f][ :,-]?){12,}")
_SEPARATORS = b" :,-"
_LETTERS = re.compile(rb"[a-p]{12,}")  # how journal and decision ids write bytes (gate/passage/record.py)
_TO_HEX = bytes.maketrans(b"abcdefghijklmnop", b"0123456789abcdef")
_ESCAPE = re.compile(rb"\\x([0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|&#([0-9]{2,6});|&#x([0-9A-Fa-f]{2,6});")
_PACKED = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]")
_DIGITS = re.compile(rb"[0-9]{8,}|(?:[0-9]\x00){8,}|(?:\x00[0-9]){8,}")
# Eight digits of somebody stand in random ones by chance: SHA-256 in hex, and what a float has behind its point.
_RANDOM = re.compile(rb"\b[0-9a-f]{64}\b|(?<![\w.])[0-9]{1,4}\.[0-9]+(?:e-[0-9]+)?(?![\w.])")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What must be nowhere."""

    numbers: frozenset[str] = field(repr=False)
    texts: frozenset[str] = field(repr=False)  # names, codes, tokens, papers, passwords
    raw: frozenset[bytes] = field(default=frozenset(), repr=False)  # what is no text: bindings, seals, keys

    def needles(self) -> frozenset[bytes]:
        """Each secret in each encoding that has it."""
        coded = set(self.raw)
        for secret in self.numbers | self.texts:
            for encoding in ENCODINGS:
                coded.add(secret.encode(encoding))
        return frozenset(needle for needle in coded if len(needle) >= NEEDLE_BYTES_MIN)

    def windows(self) -> frozenset[str]:
        """Eight digits in a row of every number."""
        starts = ((number, at) for number in self.numbers for at in range(len(number) - DIGITS_IN_A_ROW + 1))
        return frozenset(number[at : at + DIGITS_IN_A_ROW] for number, at in starts)


def find_leaks(written: Iterable[tuple[str, bytes]], secrets: Secrets) -> list[str]:
    """Where secrets stand in `written` (name and content); it tells the place and the kind, never the secret."""
    needles, windows = secrets.needles(), secrets.windows()
    leaks: dict[str, None] = {}
    for name, raw in written:
        for bare in _peeled(raw):
            if any(needle in bare for needle in needles):
                leaks[f"{name}: a number, a name or a code"] = None
            if any(window in windows for window in _digits(bare)):
                leaks[f"{name}: eight digits of a number"] = None
    return list(leaks)


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file under `folder`, its path included: a secret may be a file's name."""
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        yield f"name of {name}", name.encode()
        if path.is_file() and not path.is_symlink():
            yield name, path.read_bytes()


def secrets_of(people: Sequence[Person]) -> Secrets:
    """Everything personal about `people`."""
    texts = {p.name for p in people} | {p.code.decode() for p in people}
    texts |= {p.token[:30] for p in people}  # as much of it as every showing of a dynamic code has
    numbers = {p.number for p in people} | {p.transit_number for p in people if p.transit_number}
    return Secrets(frozenset(numbers), frozenset(texts))


async def page(log: Path) -> bytes:
    """The metrics of the station that writes `log`, at the address it tells there; nothing while it is not there."""
    with contextlib.suppress(OSError):
        found = re.findall(r"metrics at (http://\S+)", log.read_text("utf-8"))
        return await asyncio.to_thread(_fetch, found[-1]) if found else b""
    return b""


def _fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as reply:
        text: bytes = reply.read()
        return text


def _digits(bare: bytes) -> Iterator[str]:
    for run in _DIGITS.findall(_RANDOM.sub(b"", bare)):
        digits = run.replace(b"\0", b"").decode()
        for at in range(len(digits) - DIGITS_IN_A_ROW + 1):
            yield digits[at : at + DIGITS_IN_A_ROW]


def _peeled(raw: bytes) -> Iterator[bytes]:
    """`raw`, and what shows when up to LAYERS coatings are taken off it, in any order."""
    seen, layer = {raw}, {raw}
    yield raw
    for _ in range(LAYERS):
        inner = {each for outer in layer for each in _uncoat(outer)}
        layer = {each for each in inner - seen if len(each) >= NEEDLE_BYTES_MIN}
        seen |= layer
        yield from layer


def _uncoat(raw: bytes) -> Iterator[bytes]:
    """What `raw` holds under one coating of each kind."""
    for found in _PACKED.finditer(raw):
        yield _unpack(raw[found.start() :])
    runs = _BASE64.findall(raw)
    for shift in range(4):  # where four characters begin to make three bytes, nobody knows
        yield b"\n".join(_from_base64(run[shift:]) for run in runs)
    pairs = [run.translate(None, _SEPARATORS) for run in _HEX.findall(raw)]
    for nibbles in (pairs, [run.translate(_TO_HEX) for run in _LETTERS.findall(raw)]):
        for shift in range(2):
            yield b"\n".join(
                bytes.fromhex(run[shift : shift + (len(run) - shift) // 2 * 2].decode()) for run in nibbles
            )
    if b"%" in raw:
        yield urllib.parse.unquote_to_bytes(raw.replace(b"+", b" "))
    if _ESCAPE.search(raw):
        yield _ESCAPE.sub(_unescape, raw)


def _from_base64(run: bytes) -> bytes:
    whole = run[:-1] if len(run) % 4 == 1 else run  # one character alone is no byte
    return base64.b64decode(whole.translate(_URL_SAFE) + b"=" * (-len(whole) % 4))


def _unescape(found: re.Match[bytes]) -> bytes:
    byte, unit, decimal, hexadecimal = found.groups()
    if byte:
        return bytes.fromhex(byte.decode())
    point = int(decimal) if decimal else int(unit or hexadecimal, 16)
    return chr(min(point, 0x10FFFF)).encode("utf-8", "surrogatepass")


def _unpack(raw: bytes) -> bytes:
    """What a gzip or zlib stream at the start of `raw` gives; as much as there is of a torn one."""
    unpacker, out = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32), bytearray()
    try:
        for at in range(0, len(raw), 4096):
            out += unpacker.decompress(raw[at : at + 4096], UNPACKED_BYTES_MAX)
            if unpacker.eof or len(out) >= UNPACKED_BYTES_MAX:
                break
    except zlib.error:
        pass  # what came before the damage counts
    return bytes(out)
