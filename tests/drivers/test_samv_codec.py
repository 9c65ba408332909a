"""SAM_V frames of devices.md section 6: golden commands and replies, each read in every way."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.readers.samv.codec import (
    BUFFER_MAX,
    EXPECTED,
    Command,
    Replies,
    Reply,
    StatusWord,
    appended_address,
    card_text,
    dialect,
    encode,
    encode_reply,
    sam_id,
    same_sam,
)
from drivers.simulated.cards import card_text as make_text

# The column "Full frame" of section 6, word for word.
COMMANDS = {
    Command.RESET: "AAAAAA9669000310FFEC",
    Command.STATUS: "AAAAAA9669000311FFED",
    Command.SAM_ID: "AAAAAA9669000312FFEE",
    Command.FIND: "AAAAAA96690003200122",
    Command.SELECT: "AAAAAA96690003200221",
    Command.READ: "AAAAAA96690003300132",
    Command.READ_ADDRESS: "AAAAAA96690003300330",
    Command.READ_MANAGEMENT_ID: "AAAAAA96690003300536",
    Command.READ_FINGERPRINT: "AAAAAA96690003301023",
}
TEXT = make_text(" ", name="测试", number="310105199001010018", valid_from="20200101", valid_until="长期")


def _with_checksum(head: str, data: bytes = b"") -> bytes:
    """A frame from the page's head, its checksum computed here, apart from the codec."""
    raw = bytes.fromhex(head) + data
    check = 0
    for byte in raw[5:]:
        check ^= byte
    return raw + bytes([check])


_PHOTO = bytes(range(256)) * 4
_SW = {
    "ok": 0x90, "absent": 0x91, "found": 0x9F, "checksum": 0x10, "length": 0x11, "parameter": 0x21, "permit": 0x23,
    "unknown": 0x24, "card refuses": 0x31, "sam refuses": 0x32, "information": 0x33, "finger": 0x37,
    "info length": 0x3F, "unknown card": 0x40, "read": 0x41, "random": 0x47, "self test": 0x60, "authorised": 0x66,
    "no card": 0x80, "select": 0x81,
}  # fmt: skip
REPLIES: dict[str, tuple[bytes, int, bytes]] = {
    "status of the page": (bytes.fromhex("AAAAAA9669000400009094"), 0x90, b""),
    "find with four bytes": (_with_checksum("AAAAAA9669000800009F", bytes(4)), 0x9F, bytes(4)),
    "find with none": (_with_checksum("AAAAAA9669000400009F"), 0x9F, b""),
    "select of the page": (bytes.fromhex("AAAAAA9669000C00009000000000000000009C"), 0x90, bytes(8)),
    "sam id": (_with_checksum("AAAAAA96690014000090", bytes(range(16))), 0x90, bytes(range(16))),
    "text and photo": (
        _with_checksum("AAAAAA9669050800009001000400", TEXT + _PHOTO),
        0x90,
        bytes.fromhex("01000400") + TEXT + _PHOTO,
    ),
    "text, photo and fingerprint": (
        _with_checksum("AAAAAA9669090A000090010004000400", TEXT + _PHOTO + _PHOTO),
        0x90,
        bytes.fromhex("010004000400") + TEXT + _PHOTO + _PHOTO,
    ),
    "address": (_with_checksum("AAAAAA9669004A000090", b" \0" * 35), 0x90, b" \0" * 35),
    **{name: (_with_checksum(f"AAAAAA966900040000{word:02X}"), word, b"") for name, word in _SW.items()},
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_those_of_the_sheet(command: Command) -> None:
    """Byte for byte."""
    assert encode(command) == bytes.fromhex(COMMANDS[command])


def test_set_rf_bytes_carries_its_data() -> None:
    """61 FF 50, as the sheet prints it."""
    assert encode(Command.SET_RF_BYTES, b"\x50") == bytes.fromhex("AAAAAA9669000461FF50CA")


def whole(data: bytes) -> list[Reply]:
    return Replies().feed(data)


def byte_by_byte(data: bytes) -> list[Reply]:
    replies = Replies()
    return [reply for at in range(len(data)) for reply in replies.feed(data[at : at + 1])]


def with_bytes_following(data: bytes) -> list[Reply]:
    return Replies().feed(data + bytes.fromhex("AAAAAA966900"))


def after_noise(data: bytes) -> list[Reply]:
    return Replies().feed(bytes.fromhex("00FFAAAA41414141AA") + data)


@pytest.mark.parametrize("read", [whole, byte_by_byte, with_bytes_following, after_noise])
@pytest.mark.parametrize("name", REPLIES)
def test_replies_are_read_in_every_way(name: str, read: Callable[[bytes], list[Reply]]) -> None:
    """Every reply of the page: whole, byte by byte, with bytes following, after noise that ends in AA."""
    frame, status, data = REPLIES[name]
    assert read(frame) == [Reply(status, data)]


def test_every_status_word_of_the_page_is_known() -> None:
    """None is missing and none is made up."""
    assert {word.value for word in StatusWord} == set(_SW.values())


@pytest.mark.parametrize(
    "frame",
    [
        bytes.fromhex("AAAAAA9669000400009095"),  # checksum
        bytes.fromhex("AAAAAA966900031 0FFEC".replace(" ", "")),  # own echo
        bytes.fromhex("AAAAAA96690002000092"),  # too short to be a reply
        bytes.fromhex("AAAAAA9669FFFF00009090"),  # longer than any reply
        bytes.fromhex("AAAAAA9669000300 01FC".replace(" ", "")),  # CVR_100AU: a sum, not an XOR
    ],
)
def test_what_is_no_reply_is_dropped_and_the_next_one_is_read(frame: bytes) -> None:
    """Echoes, other dialects, impossible lengths: nothing comes of them, and they cost nothing that follows."""
    good = REPLIES["no card"][0]
    assert Replies().feed(frame + good) in ([Reply(0x80, b"")], [])
    replies = Replies()
    replies.feed(frame)
    replies.drop()
    assert replies.feed(good) == [Reply(0x80, b"")]


def test_a_preamble_inside_a_photo_is_no_frame() -> None:
    """Nothing is looked for inside an accepted frame."""
    photo = (REPLIES["found"][0] * 100)[:1024]
    frame = _with_checksum("AAAAAA9669050800009001000400", TEXT + photo)
    assert len(whole(frame)) == 1


def test_text_is_taken_by_the_replys_own_lengths() -> None:
    """30 01 and 30 10 give the same text; lengths that contradict the reply give none."""
    for command, name in ((Command.READ, "text and photo"), (Command.READ_FINGERPRINT, "text, photo and fingerprint")):
        assert card_text(command, whole(REPLIES[name][0])[0]) == TEXT
    broken = bytes.fromhex("01010400") + TEXT + _PHOTO
    assert card_text(Command.READ, Reply(0x90, broken)) is None


def test_only_a_possible_answer_is_one() -> None:
    """A 9F is no answer to select, and a short 90 none to read: late answers are not taken for others."""
    assert not Reply(0x9F, b"").answers(Command.SELECT)
    assert not Reply(0x90, bytes(8)).answers(Command.READ)
    assert not Reply(0x90, b"", sw12=1).answers(Command.STATUS)
    assert Reply(0x80, b"").answers(Command.FIND)
    assert set(EXPECTED) == set(Command)


def test_the_sam_id_is_printed_as_on_the_label() -> None:
    """Little-endian groups of the sheet."""
    data = bytes.fromhex("0500 0300 2BA63301 D2029649 0A0B0C0D".replace(" ", ""))
    assert sam_id(Reply(0x90, data)) == "05.03-20162091-1234567890-0218893066"


_STREAM = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from([frame for frame, _, _ in REPLIES.values()]),
        st.sampled_from([bytes.fromhex(frame) for frame in COMMANDS.values()]),
    ),
    max_size=8,
).map(b"".join)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(_STREAM, st.lists(st.integers(1, 400), max_size=20))
def test_portions_make_no_difference(stream: bytes, sizes: list[int]) -> None:
    """However a stream is cut, the same replies come out, and each of them was in it with its checksum."""
    replies, parts, at = Replies(), [], 0
    for size in sizes:
        parts += replies.feed(stream[at : at + size])
        at += size
    parts += replies.feed(stream[at:])
    assert parts == whole(stream)
    for reply in parts:
        assert reply.sw12 or encode_reply(reply.status, reply.data) in stream


def test_endless_noise_is_not_kept() -> None:
    """The buffer is bounded whatever comes."""
    replies = Replies()
    for _ in range(100):
        replies.feed(b"\xaa\xaa\xaa\x96\x69\x09\x0a" + bytes(500))
    assert len(replies._buffer) <= BUFFER_MAX


def test_noise_made_of_frame_heads_does_not_hold_the_controller() -> None:
    """64 KiB in which a largest frame seems to begin at every seventh byte: about 50 ms of CPU."""
    noise = bytes.fromhex("AAAAAA9669090A") * (65536 // 7)
    started_s = time.process_time()
    assert Replies().feed(noise) == []
    assert time.process_time() - started_s < 0.15


@pytest.mark.parametrize(
    ("command", "data", "answers"),
    [
        (Command.SELECT, bytes(8), True),
        (Command.SELECT, bytes(1288), False),
        (Command.STATUS, b"", True),
        (Command.STATUS, bytes(1288), False),
        (Command.SAM_ID, bytes(16), True),
        (Command.SAM_ID, bytes(1288), False),
        (Command.READ, bytes(1288), True),
        (Command.READ, bytes(8), False),
    ],
)
def test_a_90_with_another_amount_of_data_answers_another_command(command: Command, data: bytes, answers: bool) -> None:
    """A late read is no select, and never a security module's number that would show a person's bytes to operators."""
    assert Reply(StatusWord.OK, data).answers(command) is answers


@pytest.mark.parametrize(
    ("size", "length", "whole_frame"), [(1024, 0x090A, 2321), (512, 0x070A, 1809), (0, 0x050A, 1297)]
)
def test_a_fingerprint_of_any_size_is_read_by_len_alone(size: int, length: int, whole_frame: int) -> None:
    """30 10 brings 1,024, 512 or 0 bytes of fingerprint (devices.md 1.3, 4): the text is the same."""
    lengths = bytes.fromhex("01000400") + size.to_bytes(2, "big")
    frame = _with_checksum(f"AAAAAA9669{length:04X}000090", lengths + TEXT + _PHOTO + bytes(size))
    assert len(frame) == whole_frame
    for read in (whole, byte_by_byte, with_bytes_following, after_noise):
        reply = read(frame)[0]
        assert reply.answers(Command.READ_FINGERPRINT)
        assert card_text(Command.READ_FINGERPRINT, reply) == TEXT


def test_no_appended_address_is_no_failure() -> None:
    """91 to 30 03 is success without content, 90 brings 70 bytes; anything else is refused."""
    assert appended_address(Reply(0x91, b"")) is None
    assert appended_address(whole(REPLIES["address"][0])[0]) == b" \0" * 35
    for reply in (Reply(0x90, bytes(69)), Reply(0x41, b""), Reply(0x41, bytes(70))):
        with pytest.raises(ValueError, match="no appended address"):
            appended_address(reply)


def test_a_sam_is_the_same_however_its_number_is_padded() -> None:
    """Nine or ten digits in the last two groups is disputed (devices.md 1.3, 5); another number is another module."""
    assert same_sam("05.03-20162091-1234567890-0218893066", "5.3-20162091-1234567890-218893066")
    assert not same_sam("05.03-20162091-1234567890-0218893066", "05.03-20162091-1234567890-0218893067")
    with pytest.raises(ValueError, match="not as"):
        same_sam("05.03-20162091-1234567890-0218893066", "reader 5")


@pytest.mark.parametrize(
    "page", ["AAAAAA966900030001FC", "AAAAAA96690003 00817C", "AAAAAA96690003 00827B", "AAAAAA96690003 00837A"]
)
def test_the_dialect_of_sums_is_known_and_is_no_reply(page: str) -> None:
    """The four commands of devices.md 1.3, 7, and a reply so summed: told by name, whatever stands around."""
    frame = bytes.fromhex(page)
    body = bytes.fromhex("0004000090")
    reply = frame[:5] + body + bytes([-sum(body) & 0xFF])
    for heard in (frame, reply, b"\0AA" + frame + b"\0"):
        assert "complement of the sum" in dialect(heard)
        assert not Replies().feed(heard)


@pytest.mark.parametrize("page", ["020003CA0102C903", "020003 3229FF E403", "020002300636 03"])
def test_the_dialect_of_numbers_is_known(page: str) -> None:
    """Frames of devices.md 1.3, 8 (its <xor> computed here): 02, length, payload, XOR of the payload, 03."""
    assert "reads numbers only" in dialect(bytes.fromhex(page))


@pytest.mark.parametrize("frame", [frame for frame, _, _ in REPLIES.values()] + [b"", b"AAAA", bytes(64), b"\x02\x00"])
def test_no_true_reply_is_taken_for_a_dialect(frame: bytes) -> None:
    """Nor its beginning, a gateway's heartbeat, zeros or a lone 02."""
    assert dialect(frame) == ""
    assert dialect(frame[:64]) == ""


@pytest.mark.parametrize(
    "garbled",
    [
        "AAAAAA96690904000010 14",  # Telpo: Len high byte garbled (devices.md 1.2, 5)
        "AA00AAAA9669000C0000900000000000009C",  # Qt, FDX3S: a 00 inserted into the preamble (1.2, 10)
        "AAAAAA966900040000009094",  # a 00 inserted into the body
    ],
)
def test_a_garbled_reply_is_none_and_the_next_is_read_after_a_silence(garbled: str) -> None:
    """Never taken for `not found`; after 100 ms of silence nothing is left of it."""
    replies = Replies()
    assert replies.feed(bytes.fromhex(garbled)) == []
    replies.drop()
    assert replies.feed(REPLIES["no card"][0]) == [Reply(0x80, b"")]


def test_a_stray_00_after_a_reply_costs_nothing() -> None:
    """`...000400001014 00` (devices.md 1.2, 5): the reply is read, and so is the next."""
    frame = bytes.fromhex("AAAAAA966900040000101400")
    replies = Replies()
    assert replies.feed(frame) == [Reply(0x10, b"")]
    assert replies.feed(REPLIES["no card"][0]) == [Reply(0x80, b"")]
