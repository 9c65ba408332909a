"""SAM_V replies: however bytes are cut, the same replies come out, and none with a wrong checksum."""

import contextlib

from drivers.readers.samv import codec
from drivers.readers.samv.codec import (
    ADDRESS_BYTES,
    PREAMBLE,
    Command,
    Replies,
    appended_address,
    card_text,
    dialect,
    encode,
    encode_reply,
    sam_id,
    same_sam,
)
from drivers.readers.samv.usb import SHEET, UsbReplies
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
    encode_reply(0x91),
    encode_reply(0x90, b" \0" * 35),
    bytes.fromhex("AAAAAA966900030001FC"),
    bytes.fromhex("0200033229FFE403"),
]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_REPLIES, data), data + altered(_REPLIES, data) + data[::-1] + _REPLIES[0]):
        _read(stream)
        _usb(stream)
        assert len(dialect(stream)) < 80  # words, never bytes
        with contextlib.suppress(ValueError):
            assert same_sam(stream.decode("latin-1"), stream.decode("latin-1"))


def _read(data: bytes) -> None:
    reader = Replies()
    whole = reader.feed(data)
    cut = Replies()
    parts = [reply for at in range(len(data)) for reply in cut.feed(data[at : at + 1])]
    assert whole == parts, "the same bytes, cut otherwise, gave other replies"
    for reply in whole:
        assert reply.sw12 or encode_reply(reply.status, reply.data) in data, "a reply that was never sent"
        assert not reply.data or repr(reply.data)[2:-1] not in repr(reply) or len(reply.data) < 4
        _address(reply)
        for command in Command:
            if reply.answers(command) and reply.status == 0x90:
                _use(command, reply)
    assert not whole or PREAMBLE in data
    # Whatever came before: after a silence the next frame is read.
    assert not reader.partial or len(data) > 0
    reader.drop()
    assert [reply.status for reply in reader.feed(_REPLIES[0])] == [0x9F]


def _usb(data: bytes) -> None:
    pipes = UsbReplies()
    for at in range(0, len(data), 16):
        pipes.feed((SHEET.header_in, SHEET.body_in)[at // 16 % 2], data[at : at + 16])
    pipes.drop()
    assert [len(pipes.feed(SHEET.header_in, _REPLIES[0][:7])), len(pipes.feed(SHEET.body_in, _REPLIES[0][7:]))] == [
        0,
        1,
    ]


def _address(reply: codec.Reply) -> None:
    try:
        assert appended_address(reply) == (reply.data if reply.status == 0x90 else None)
    except ValueError:
        assert reply.status != 0x91
        assert reply.status != 0x90 or len(reply.data) != ADDRESS_BYTES


def _use(command: Command, reply: codec.Reply) -> None:
    if command in (Command.READ, Command.READ_FINGERPRINT):
        text = card_text(command, reply)
        assert text is None or (len(text) == 256 and text in reply.data)
    if command is Command.SAM_ID:
        assert sam_id(reply).count("-") == 3
        assert same_sam(sam_id(reply), sam_id(reply))
