"""Lines of a QR engine: however bytes are cut, the same codes come out, and none is longer than any code of ours."""

from drivers.contract import CodeReport
from drivers.scanners.line import codec
from drivers.scanners.line.codec import PAYLOAD_BYTES_MAX, Framing, Lines
from tests.fuzz.mutate import altered

REACHES = codec
FRAMINGS = (
    Framing(),
    Framing(prefix=b"\x02", aim=True),
    Framing(suffix=b"\r", aim=True, answers=True),
    Framing(prefix=b"QR", suffix=b"\x03"),
    Framing(suffix=b""),
)


def fuzz(data: bytes) -> None:
    for framing in FRAMINGS:
        line = framing.prefix + b"]Q1https://s.sh.gov.cn/0\xd6\xd0" + framing.suffix
        answered = b"\x06\x02\x010000SCNTRG1;\x03" + line
        _read(framing, data)
        _read(framing, altered([line, answered, line[:-1], 2 * line], data) + data)
    _read(FRAMINGS[sum(data) % len(FRAMINGS)], data * 40)


def _read(framing: Framing, data: bytes) -> None:
    whole, cut = Lines(framing), Lines(framing)
    codes = whole.feed(data)
    assert codes == [code for at in range(len(data)) for code in cut.feed(data[at : at + 1])]
    last = whole.silence()
    assert last == cut.silence()
    codes += last
    assert not whole.partial
    assert not cut.partial
    for code in codes:
        assert not isinstance(code, CodeReport) or 0 < len(code.payload) <= PAYLOAD_BYTES_MAX
        assert not isinstance(code, CodeReport) or code.payload in data
    # Whatever came before, the next code is read.
    said = whole.feed(b"\0" + framing.prefix + b"next" + framing.suffix) + whole.silence()
    assert CodeReport(b"next", "") in said
