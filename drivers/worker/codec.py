"""What a controller and a worker process say to each other over pipes: bounded, typed, no IO.

to the process    one line of JSON an order: a device's number, with its settings to start it, without to stop it
from the process  length u32 | kind u8 | device u16 | body

Each driver has its own kinds of messages; BEAT, UP and DOWN mean the same in all of them.
"""

import enum
import json
import struct
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Generic, TypeVar

PAYLOAD_BYTES_MAX = 4096  # a QR symbol holds at most 2,953 bytes, a card's answer less
ORDER_BYTES_MAX = 16384  # a path of 4,096 characters, each escaped, with room for the rest
DEVICE_MAX = 0xFFFF
_HEAD = struct.Struct(">IBH")

BEAT = 0  # the process lives; once a second, device 0, body empty
UP = 3  # body: a detail for operators
DOWN = 4  # body: name of a DeviceFault, colon, a detail for operators

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Message:
    """One message about one device, by its number."""

    kind: int
    device: int
    body: bytes = field(default=b"", repr=False)  # may be a passenger's code or card


@dataclass(frozen=True, slots=True)
class Order(Generic[S]):
    """Start a device, or stop it (`settings` None)."""

    device: int
    settings: S | None = None


class BrokenStreamError(Exception):
    """What came is none of ours: the process is broken and must be started again. The text holds no body."""


def encode(message: Message) -> bytes:
    """The bytes of a message. Raises ValueError when its body is too long."""
    if len(message.body) > PAYLOAD_BYTES_MAX:
        raise ValueError(f"a body of {len(message.body)} bytes: at most {PAYLOAD_BYTES_MAX}")
    return _HEAD.pack(len(message.body), message.kind, message.device) + message.body


class Messages:
    """Cuts the stream into messages of the given kinds."""

    def __init__(self, kinds: type[enum.IntEnum]) -> None:
        self._kinds = frozenset(int(kind) for kind in kinds)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes in any portions; give the messages that are complete now. Raises BrokenStreamError."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEAD.size:
            length, kind, device = _HEAD.unpack_from(self._buffer)
            if length > PAYLOAD_BYTES_MAX or kind not in self._kinds:
                raise BrokenStreamError(f"length {length}, kind {kind}")
            if len(self._buffer) < _HEAD.size + length:
                break
            body = bytes(self._buffer[_HEAD.size : _HEAD.size + length])
            del self._buffer[: _HEAD.size + length]
            messages.append(Message(kind, device, body))
        return messages


def encode_order(order: Order[Any]) -> bytes:
    """The line of an order. Raises ValueError when it is too long."""
    settings = {} if order.settings is None else asdict(order.settings)
    line = json.dumps({"device": order.device, **settings}).encode() + b"\n"
    if len(line) > ORDER_BYTES_MAX:
        raise ValueError(f"an order of {len(line)} bytes: at most {ORDER_BYTES_MAX}")
    return line


def decode_order(line: bytes, settings_type: type[S]) -> Order[S]:
    """The order in a line; its settings are a dataclass of plain values. Raises BrokenStreamError."""
    try:
        given = json.loads(line)
        device = given.pop("device")
        types = {item.name: item.type for item in fields(settings_type)}  # type: ignore[arg-type] # a dataclass
        well_formed = type(device) is int and 0 <= device <= DEVICE_MAX
        well_formed &= all(types[name] is type(value) for name, value in given.items())
        order = Order(device, settings_type(**given) if given else None)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BrokenStreamError("a line that is no order") from None
    if not well_formed:
        raise BrokenStreamError("an order with a wrong type")
    return order
