"""What the camera process counts: four bytes or refused."""

from drivers.scanners.camera import codec
from drivers.scanners.camera.codec import decode_count, encode_count

REACHES = codec


def fuzz(data: bytes) -> None:
    for body in (data, data[:4].ljust(4, b"\0")):
        _count(body)


def _count(body: bytes) -> None:
    try:
        count = decode_count(body)
    except ValueError:
        assert len(body) != 4
        return
    assert encode_count(count) == body
