"""What the camera process counts, as bytes."""

import pytest

from drivers.scanners.camera.codec import FrameCounts, decode_counts, encode_counts


@pytest.mark.parametrize(("count", "body"), [(0, "00000000"), (258, "00000102"), (1 << 40, "ffffffff")])
def test_counts_are_four_bytes_each_and_never_overflow(count: int, body: str) -> None:
    """Skipped frames, then broken pictures, big-endian; more than fit are as many as fit."""
    assert encode_counts(FrameCounts(count, 7)) == bytes.fromhex(body + "00000007")
    assert encode_counts(FrameCounts(7, count)) == bytes.fromhex("00000007" + body)
    assert decode_counts(bytes.fromhex(body + "00000007")) == FrameCounts(min(count, 0xFFFFFFFF), 7)


@pytest.mark.parametrize("body", [b"", b"\0\0\1", b"\0\0\0\1", b"\0" * 9])
def test_counts_of_another_size_are_refused(body: bytes) -> None:
    """They are no message of ours."""
    with pytest.raises(ValueError, match="bytes"):
        decode_counts(body)
