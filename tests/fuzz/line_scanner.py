"""Lines of a QR engine: however bytes are cut, the same codes come out, and none is longer than any code of ours."""

from drivers.contract import CodeReport
from drivers.scanners.line.codec import PAYLOAD_BYTES_MAX, Framing, Lines

FRAMINGS = (
    Framing(),
    Framing(prefix=b"\x02", aim=True),
    Framing(suffix=b"\r", aim=True, answers=True),
    Framing(prefix=b"QR", suffix=b"\x03"),
    Framing(suffix=b""),
)


def fuzz(data: bytes) -> None:
    for framing in FRAMINGS:
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
