"""Lines of a QR engine: however bytes are cut, the same codes come out, and none is longer than any code of ours."""

from drivers.scanners.line.codec import PAYLOAD_BYTES_MAX, Framing, Lines


def fuzz(data: bytes) -> None:
    framing = Framing(prefix=b"\x02", suffix=b"\r\n", aim=True)
    whole = Lines(framing).feed(data)
    cut = Lines(framing)
    parts = [scan for at in range(len(data)) for scan in cut.feed(data[at : at + 1])]
    assert [scan.payload for scan in whole] == [scan.payload for scan in parts]
    assert all(scan.payload is None or 0 < len(scan.payload) <= PAYLOAD_BYTES_MAX for scan in whole)
