"""What the camera process counts: eight bytes or refused."""

from drivers.scanners.camera import codec
from drivers.scanners.camera.codec import decode_counts, encode_counts

REACHES = codec


def fuzz(data: bytes) -> None:
    for body in (data, data[:8].ljust(8, b"\0")):
        _count(body)


def _count(body: bytes) -> None:
    try:
        counts = decode_counts(body)
    except ValueError:
        assert len(body) != 8
        return
    assert encode_counts(counts) == body
