"""Mach Power frames: whatever comes, only the unit's own answers with a right check are found."""

from drivers.turnstiles.machpower import codec
from drivers.turnstiles.machpower.codec import SYNC, Frames, Order, Reply, encode, encode_reply
from tests.fuzz.mutate import altered

REACHES = codec
_FRAMES = [encode_reply(Reply(1, order | 0x80, 0)) for order in Order] + [encode(1, order) for order in Order]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_FRAMES, data), data + altered(_FRAMES, data) + _FRAMES[0]):
        whole = Frames(1).feed(stream)
        pieces = Frames(1)
        assert [reply for byte in stream for reply in pieces.feed(bytes([byte]))] == whole
        for reply in whole:
            assert encode_reply(reply) in stream
            assert (reply.unit, reply.first & 0x80) == (1, 0x80)
            assert sum(reply.takes(order) for order in Order) <= 1
        pieces.reset()
        assert pieces.feed(_FRAMES[0]) == [Reply(1, 0xC0, 0)]
    if data:
        assert encode(data[0], Order.OPEN_LEFT)[0] == SYNC
