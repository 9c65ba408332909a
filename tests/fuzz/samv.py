"""SAM_V replies: however bytes are cut, the same replies come out, and none with a wrong checksum."""

from drivers.readers.samv import codec
from drivers.readers.samv.codec import PREAMBLE, Command, Replies, card_text, encode, encode_reply, sam_id
from drivers.simulated.cards import card_text as make_text
from tests.fuzz.mutate import altered

REACHES = codec
_TEXT = make_text("J", name="测试", number="810000199408230021")
_PHOTO = PREAMBLE + bytes(1019)
_REPLIES = [
    encode_reply(0x9F, bytes(4)),
    encode_reply(0x90, bytes(8)),
    encode_reply(0x80),
    encode_reply(0x90, bytes.fromhex("050003002BA63301D20296490A0B0C0D")),
    encode_reply(0x90, bytes.fromhex("01000400") + _TEXT + _PHOTO),
    encode_reply(0x90, bytes.fromhex("010004000400") + _TEXT + _PHOTO + bytes(1024)),
    b"".join(map(encode, Command)),
]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_REPLIES, data), data + altered(_REPLIES, data) + data[::-1] + _REPLIES[0]):
        _read(stream)


def _read(data: bytes) -> None:
    reader = Replies()
    whole = reader.feed(data)
    cut = Replies()
    parts = [reply for at in range(len(data)) for reply in cut.feed(data[at : at + 1])]
    assert whole == parts, "the same bytes, cut otherwise, gave other replies"
    for reply in whole:
        assert reply.sw12 or encode_reply(reply.status, reply.data) in data, "a reply that was never sent"
        assert not reply.data or repr(reply.data)[2:-1] not in repr(reply) or len(reply.data) < 4
        for command in Command:
            if reply.answers(command) and reply.status == 0x90:
                _use(command, reply)
    assert not whole or PREAMBLE in data
    # Whatever came before: after a silence the next frame is read.
    assert not reader.partial or len(data) > 0
    reader.drop()
    assert [reply.status for reply in reader.feed(_REPLIES[0])] == [0x9F]


def _use(command: Command, reply: codec.Reply) -> None:
    if command in (Command.READ, Command.READ_FINGERPRINT):
        text = card_text(command, reply)
        assert text is None or (len(text) == 256 and text in reply.data)
    if command is Command.SAM_ID:
        assert sam_id(reply).count("-") == 3
