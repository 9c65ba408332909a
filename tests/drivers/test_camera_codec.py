"""What the camera process counts, as bytes."""

import pytest

from drivers.scanners.camera.codec import decode_count, encode_count


@pytest.mark.parametrize(("count", "body"), [(0, "00000000"), (258, "00000102"), (1 << 40, "ffffffff")])
def test_a_count_is_four_bytes_and_never_overflows(count: int, body: str) -> None:
    """Skipped frames, big-endian; more than fit are as many as fit."""
    assert encode_count(count) == bytes.fromhex(body)
    assert decode_count(bytes.fromhex(body)) == min(count, 0xFFFFFFFF)


@pytest.mark.parametrize("body", [b"", b"\0\0\1", b"\0\0\0\0\1"])
def test_a_count_of_another_size_is_refused(body: bytes) -> None:
    """It is no message of ours."""
    with pytest.raises(ValueError, match="bytes"):
        decode_count(body)
