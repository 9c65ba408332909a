"""What the controller and the camera process say to each other over pipes: bounded, typed, no IO.

to the process    one line of JSON an order: a camera's number, with its settings to start it, without to stop it
from the process  length u32 | kind u8 | camera u16 | body
"""

import enum
import json
import struct
from dataclasses import asdict, dataclass, field, fields

PAYLOAD_BYTES_MAX = 4096  # a QR symbol holds at most 2,953 bytes
ORDER_BYTES_MAX = 16384  # a path of 4,096 characters, each escaped, with room for the rest
CAMERA_MAX = 0xFFFF
_HEAD = struct.Struct(">IBH")
_COUNTS = struct.Struct(">II")


class Kind(enum.IntEnum):
    """What the camera process says."""

    BEAT = 0  # it lives; once a second, body empty
    CODE = 1  # body: the QR's bytes
    CODE_GB18030 = 2  # the same, and the symbol itself says that they are GB 18030 (ECI 29 or 32)
    UP = 3  # body: a detail for operators
    DOWN = 4  # body: name of a DeviceFault, colon, a detail for operators
    COUNTS = 5  # it gives frames; at most once a second. Body: `FrameCounts` since this was last said


@dataclass(frozen=True, slots=True)
class Message:
    """One message about one camera, by its number."""

    kind: Kind
    camera: int
    body: bytes = field(default=b"", repr=False)  # may be a passenger's code


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """One camera, as its `driver.toml` declares it."""

    source: str = field(repr=False)  # a stream's URL may hold a password
    fps: float = 15.0
    loop: bool = False
    same_code_s: float = 2.5
    fallback: bool = True
    only_new: bool = False  # of stored pictures only those that come from now on: the process was started again
    exposure_ms: float = 0.0  # 0: as the camera is
    torch: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """Start a camera, or stop it (`settings` None)."""

    camera: int
    settings: CameraSettings | None = None


class BrokenStreamError(Exception):
    """What came is none of ours: the process is broken and must be started again. The text holds no body."""


def encode(message: Message) -> bytes:
    """The bytes of a message. Raises ValueError when its body is too long."""
    if len(message.body) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a body of {len(message.body)} bytes: at most {PAYLOAD_BYTES_MAX}")
    return _HEAD.pack(len(message.body), message.kind, message.camera) + message.body


@dataclass(frozen=True, slots=True)
class FrameCounts:
    """What became of frames that were not looked at for a code."""

    skipped: int = 0  # a newer one had come
    broken: int = 0  # stored pictures that are none


def encode_counts(counts: FrameCounts) -> bytes:
    """The body of COUNTS."""
    return _COUNTS.pack(min(counts.skipped, 0xFFFFFFFF), min(counts.broken, 0xFFFFFFFF))


def decode_counts(body: bytes) -> FrameCounts:
    """The counts in the body of COUNTS. Raises BrokenStreamError."""
    if len(body) != _COUNTS.size:
        raise BrokenStreamError(f"counts of {len(body)} bytes")
    return FrameCounts(*_COUNTS.unpack(body))


class Messages:
    """Cuts the stream into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes in any portions; give the messages that are complete now. Raises BrokenStreamError."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEAD.size:
            length, kind, camera = _HEAD.unpack_from(self._buffer)
            if length > PAYLOAD_BYTES_MAX or kind not in Kind._value2member_map_:
                raise BrokenStreamError(f"length {length}, kind {kind}")
            if len(self._buffer) < _HEAD.size + length:
                break
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
            del self._buffer[: _HEAD.size + length]
            messages.append(Message(Kind(kind), camera, body))
        return messages


def encode_order(order: Order) -> bytes:
    """The line of an order. Raises ValueError when it is too long."""
    settings = {} if order.settings is None else asdict(order.settings)
    line = json.dumps({"camera": order.camera, **settings}).encode() + b"\n"
    if len(line) > ORDER_BYTES_MAX:
        raise ValueError(f"an order of {len(line)} bytes: at most {ORDER_BYTES_MAX}")
    return line


def decode_order(line: bytes) -> Order:
    """The order in a line. Raises BrokenStreamError."""
    try:
        given = json.loads(line)
        camera = given.pop("camera")
        types = {item.name: item.type for item in fields(CameraSettings)}
        well_formed = type(camera) is int and 0 <= camera <= CAMERA_MAX
        well_formed &= all(types[name] is type(value) for name, value in given.items())
        order = Order(camera, CameraSettings(**given) if given else None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BrokenStreamError("a line that is no order") from None
    if not well_formed:
        raise BrokenStreamError("an order with a wrong type")
    return order
