"""TPW frames: whatever comes, only whole frames are found, counts are numbers, and no count makes a crowd."""

from drivers.contract import Direction
from drivers.turnstiles.tpw import codec
from drivers.turnstiles.tpw.codec import (
    CONNECT,
    CONTENT_MAX,
    COUNTED_MAX,
    DONE,
    Frame,
    Frames,
    Kind,
    counted,
    encode,
    freed,
    passing,
    read_count,
)
from tests.fuzz.mutate import altered

REACHES = codec
_SENT = [CONNECT, DONE, Frame(Kind.ENTRY_COUNT, b"12"), Frame(Kind.MODEL, b"TPW"), passing(frozenset(Direction))]


def fuzz(data: bytes) -> None:
    for address in (None, 2):
        frames = [encode(frame, address) for frame in _SENT]
        for stream in (data, altered(frames, data), data + altered(frames, data) + frames[0]):
            whole = Frames(address).feed(stream)
            pieces = Frames(address)
            assert [frame for byte in stream for frame in pieces.feed(bytes([byte]))] == whole
            assert all(encode(frame, address) in stream for frame in whole)
            for frame in whole:
                assert frame.count is None or 0 <= frame.count < 10**10
            pieces.reset()
            assert pieces.feed(frames[0]) == [CONNECT]
    try:
        assert Frames().feed(encode(Frame(Kind.PANEL, data))) == [Frame(Kind.PANEL, data)]
    except ValueError:
        assert len(data) > CONTENT_MAX
    free = freed(Frame(Kind.PASSING, data[:2]))
    assert freed(passing(free)) == free
    for direction in Direction:
        assert encode(read_count(direction))
        assert len(counted(direction, len(data), sum(data[:2]))) <= COUNTED_MAX
