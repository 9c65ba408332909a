"""Pipes of the camera process: however bytes are cut the same messages come, and what is no message is refused."""

from drivers.scanners.camera import codec
from drivers.scanners.camera.codec import (
    BrokenStreamError,
    CameraSettings,
    Kind,
    Message,
    Messages,
    Order,
    decode_counts,
    decode_order,
    encode,
    encode_counts,
    encode_order,
)
from tests.fuzz.mutate import altered

REACHES = codec
_MESSAGES = [encode(Message(Kind.CODE, 3, b"https://s.sh.gov.cn/")) + encode(Message(Kind.BEAT, 0))] + [
    encode(Message(kind, number)) for number, kind in enumerate(Kind)
]
_ORDERS = [
    encode_order(Order(7)),
    encode_order(Order(7, CameraSettings("rtsp://camera/1", only_new=True, exposure_ms=8.5, torch=True))),
    b'{"camera": 1, "fps": 2.5, "source": ""}',
    b'{"camera": "1"}',
]


def fuzz(data: bytes) -> None:
    for stream in (data, altered(_MESSAGES, data), altered(_MESSAGES, data) + data):
        _listen(stream)
    for line in (data, altered(_ORDERS, data), b'{"camera": ' + data):
        _obey(line)
    for body in (data, data[:8].ljust(8, b"\0")):
        _count(body)
    _say(Message(Kind.CODE, len(data), data * 20))
    _order(Order(len(data), CameraSettings(data.decode("latin-1") * 20)))


def _listen(data: bytes) -> None:
    whole, whole_broke = _feed([data])
    cut, cut_broke = _feed([data[at : at + 1] for at in range(len(data))])
    assert whole_broke == cut_broke
    # A portion with a broken message in it is given up whole; byte by byte, what stood before it came out already.
    assert cut[: len(whole)] == whole
    assert data.startswith(b"".join(map(encode, cut)))
    assert whole_broke or whole == cut


def _count(body: bytes) -> None:
    try:
        counts = decode_counts(body)
    except BrokenStreamError:
        assert len(body) != 8
        return
    assert encode_counts(counts) == body


def _obey(line: bytes) -> None:
    try:
        order = decode_order(line)
    except BrokenStreamError:
        return
    _order(order)


def _order(order: Order) -> None:
    try:
        line = encode_order(order)
    except ValueError:
        return  # longer than any order that is sent
    assert repr(decode_order(line)) == repr(order)  # not ==: fps may be NaN


def _say(message: Message) -> None:
    try:
        raw = encode(message)
    except ValueError:
        assert len(message.body) > codec.PAYLOAD_BYTES_MAX
        return
    assert Messages().feed(raw) == [message]
    assert not message.body or repr(message.body)[2:-1] not in repr(message) or len(message.body) < 32


def _feed(portions: list[bytes]) -> tuple[list[Message], bool]:
    messages, found = Messages(), []
    for portion in portions:
        try:
            found += messages.feed(portion)
        except BrokenStreamError:
            return found, True
    return found, False
