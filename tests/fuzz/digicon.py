"""Digicon frames: whatever comes, only frames with a right BCC are found, however the bytes are cut."""

from drivers.turnstiles.digicon import codec
from drivers.turnstiles.digicon.codec import COMMANDS_MAX, Code, Frames, encode
from tests.fuzz.mutate import altered

REACHES = codec
_FRAMES = [encode(code) for code in Code] + [encode(Code.ALWAYS_FREE, Code.FREE_H)]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_FRAMES, data), data + altered(_FRAMES, data) + _FRAMES[0]):
        whole = Frames().feed(stream)
        pieces = Frames()
        assert [frame for byte in stream for frame in pieces.feed(bytes([byte]))] == whole
        assert all(encode(*frame) in stream for frame in whole)
        pieces.reset()
        assert pieces.feed(_FRAMES[0]) == [bytes([Code.FREE_H])]
    try:
        assert Frames().feed(encode(*data[:4])) == [data[:4]]
    except ValueError:
        assert not 0 < len(data[:4]) <= COMMANDS_MAX
