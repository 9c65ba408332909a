"""Answers of QR engines: however bytes are cut, the same answers and the same text come out, and no byte is made up."""

from contextlib import suppress

from drivers.contract import CodeReport
from drivers.scanners.engine import codec
from drivers.scanners.engine.codec import ANSWER_BYTES_MAX, Answers, Status, answers, parse_profile
from drivers.scanners.engine.device import profiles
from drivers.scanners.line.codec import Framing, Lines
from tests.fuzz.mutate import altered

REACHES = codec
_CODE = b"https://s.sh.gov.cn/0123456789\r\n"
_STREAMS = [
    b"\x02\x010000@SCNTRG1\x06;\x03" + _CODE,
    b"\x02\x010000#ORTSET99999\x15;\x03\x02\x010000@DEVQRY0\x05;\x03" + _CODE,
    b"\x16M\r232BAD9\x06!" + _CODE + b"232BAD\x05!",
    bytes.fromhex("020000013EE4AC") + _CODE + bytes.fromhex("02000001003331"),
    b"\x02\x010000" + _CODE * 4,
    b"232BADxyz" + _CODE,
]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_STREAMS, data), data + altered(_STREAMS, data) + data[::-1]):
        for profile in profiles().values():
            _read(profile, stream)
            for order in (profile.start, profile.health, *sum(profile.modes.values(), ())):
                assert not order or profile.dialect.encode(order.format(ms=5000, tenths=50))
    with suppress(ValueError):
        assert parse_profile({"dialect": data[:8].decode("latin-1"), "sense": ["x"]}).modes == {"sense": ("x",)}


def _read(profile: codec.Profile, data: bytes) -> None:
    whole, cut = Answers(profile.dialect), Answers(profile.dialect)
    found, text = whole.feed(data)
    parts = [cut.feed(data[at : at + 1]) for at in range(len(data))]
    assert found == [one for some, _ in parts for one in some]
    assert text == b"".join(some for _, some in parts)
    assert whole.partial == cut.partial
    held = whole.silence()
    assert held == cut.silence()
    assert len(held) < ANSWER_BYTES_MAX
    assert not whole.partial
    assert len(text) + len(held) <= len(data)
    assert all(one.status in Status and (answers(one, profile.health) or one.order) for one in found)
    lines = Lines(Framing(answers=True))
    said = lines.feed(text + held) + lines.silence()
    assert all(not isinstance(code, CodeReport) or code.payload in text + held for code in said)
