"""SAM_V replies: however bytes are cut, the same replies come out, and none with a wrong checksum."""

from drivers.readers.samv.codec import PREAMBLE, Replies, encode_reply


def fuzz(data: bytes) -> None:
    whole = Replies().feed(data)
    cut = Replies()
    parts = [reply for at in range(len(data)) for reply in cut.feed(data[at : at + 1])]
    assert whole == parts, "the same bytes, cut otherwise, gave other replies"
    for reply in whole:
        assert reply.sw12 or encode_reply(reply.status, reply.data) in data, "a reply that was never sent"
    assert not whole or PREAMBLE in data
