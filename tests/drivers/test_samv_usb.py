"""SAM_V over USB (devices.md 1.8): which bytes go on which pipe, and replies put together again."""

import pytest

from drivers.readers.samv.codec import Command, Reply, encode, encode_reply
from drivers.readers.samv.usb import SHEET, UsbReplies, single_pipe, transfers

FOUND = encode_reply(0x9F, bytes(4))
READ = encode_reply(0x90, bytes.fromhex("01000400") + bytes(256) + (FOUND * 100)[:1024])
ADAPTER = single_pipe(0x02, 0x81)


def test_a_command_goes_out_as_header_and_body() -> None:
    """Preamble and Len on 02, the rest on 06; find of the sheet."""
    assert list(transfers(encode(Command.FIND))) == [
        (0x02, bytes.fromhex("AAAAAA96690003")),
        (0x06, bytes.fromhex("200122")),
    ]


def test_an_adapter_with_one_pipe_takes_frames_whole() -> None:
    """One transfer, the frame of the serial line."""
    assert list(transfers(encode(Command.FIND), ADAPTER)) == [(0x02, bytes.fromhex("AAAAAA96690003200122"))]


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
@pytest.mark.parametrize("frame", [FOUND, READ])
def test_replies_are_put_together_from_packets_of_any_size(frame: bytes, size: int) -> None:
    """Header on 81 and body on 85, in packets; a body that was there first waits for its header."""
    reply = Reply(frame[9], frame[10:-1])
    header, body = frame[:7], frame[7:]
    for order in ((0x81, 0x85), (0x85, 0x81)):
        pipes = UsbReplies()
        parts = {0x81: header, 0x85: body}
        found = [
            each
            for pipe in order
            for at in range(0, len(parts[pipe]), size)
            for each in pipes.feed(pipe, parts[pipe][at : at + size])
        ]
        assert found == [reply]


@pytest.mark.parametrize("size", [1, 64, 4096])
def test_an_adapter_with_one_pipe_is_read_like_a_line(size: int) -> None:
    """Whole, byte by byte, with bytes following."""
    stream = FOUND + READ + FOUND[:6]
    pipes = UsbReplies(ADAPTER)
    found = [each for at in range(0, len(stream), size) for each in pipes.feed(0x81, stream[at : at + size])]
    assert [reply.status for reply in found] == [0x9F, 0x90]


def test_what_is_broken_costs_nothing_that_follows_a_drop() -> None:
    """A wrong checksum, and noise before a header: no reply of it, and the next command's answer is read."""
    pipes = UsbReplies()
    assert pipes.feed(0x81, b"\x00\xaa" + FOUND[:7]) == []
    assert pipes.feed(0x85, FOUND[7:-1] + b"\x00") == []
    pipes.feed(0x85, b"\x01\x02")
    pipes.drop()
    assert pipes.feed(0x81, FOUND[:7]) == []
    assert pipes.feed(0x85, FOUND[7:]) == [Reply(0x9F, bytes(4))]


def test_another_endpoint_is_refused() -> None:
    """A mix-up of pipes is said, not guessed at."""
    with pytest.raises(ValueError, match="endpoint 06"):
        UsbReplies().feed(SHEET.body_out, b"")
