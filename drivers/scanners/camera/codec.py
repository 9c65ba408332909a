"""Messages between the controller and the camera process: length-prefixed, typed, bounded. No IO.

    length u32 | kind u8 | camera u16 | body

The body of a CODE is the QR's bytes, of UP and DOWN a short text of ours (a fault, a colon, a sentence for DOWN).
"""

import enum
import struct
from dataclasses import dataclass, field

PAYLOAD_BYTES_MAX = 4096  # a QR symbol holds at most 2,953 bytes
_HEAD = struct.Struct(">IBH")
_BODY_MAX = PAYLOAD_BYTES_MAX


class Kind(enum.IntEnum):
    """What the camera process says."""

    CODE = 1
    UP = 2
    DOWN = 3


@dataclass(frozen=True, slots=True)
class Message:
    """One message about one camera, by its number."""

    kind: Kind
    camera: int
    body: bytes = field(repr=False)  # may be a passenger's code


class BrokenStreamError(Exception):
    """What came is no message of ours: the process is broken and must be started again."""


def encode(message: Message) -> bytes:
    """The bytes of a message. Raises ValueError when the body is too long."""
    if len(message.body) > _BODY_MAX:
        raise ValueError(f"a body of {len(message.body)} bytes: at most {_BODY_MAX}")
    return _HEAD.pack(len(message.body), message.kind, message.camera) + message.body


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
            if length > _BODY_MAX or kind not in Kind._value2member_map_:
                raise BrokenStreamError(f"length {length}, kind {kind}")
            if len(self._buffer) < _HEAD.size + length:
                break
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
            del self._buffer[: _HEAD.size + length]
            messages.append(Message(Kind(kind), camera, body))
        return messages
