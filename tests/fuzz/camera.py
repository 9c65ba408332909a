"""Pipes of the camera process: however bytes are cut the same messages come, and what is no message is refused."""

from drivers.scanners.camera.codec import (
    BrokenStreamError,
    Message,
    Messages,
    decode_order,
    encode,
    encode_order,
)


def fuzz(data: bytes) -> None:
    whole, whole_broke = _feed([data])
    cut, cut_broke = _feed([data[at : at + 1] for at in range(len(data))])
    assert whole_broke == cut_broke
    # A portion with a broken message in it is given up whole; byte by byte, what stood before it came out already.
    assert cut[: len(whole)] == whole
    assert data.startswith(b"".join(map(encode, cut)))
    assert whole_broke or whole == cut
    try:
        order = decode_order(data)
    except BrokenStreamError:
        return
    assert repr(decode_order(encode_order(order))) == repr(order)


def _feed(portions: list[bytes]) -> tuple[list[Message], bool]:
    messages, found = Messages(), []
    for portion in portions:
        try:
            found += messages.feed(portion)
        except BrokenStreamError:
            return found, True
    return found, False
