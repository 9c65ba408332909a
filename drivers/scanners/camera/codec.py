"""What the camera process says and what a camera is told: kinds of messages and settings. No IO, no clock."""

import enum
import struct
from dataclasses import dataclass, field

_COUNT = struct.Struct(">I")


class Kind(enum.IntEnum):
    """What the camera process says."""

    BEAT = 0  # it lives; once a second, body empty
    CODE = 1  # body: the QR's bytes
    CODE_GB18030 = 2  # the same, and the symbol itself says that they are GB 18030 (ECI 29 or 32)
    UP = 3  # body: a detail for operators
    DOWN = 4  # body: name of a DeviceFault, colon, a detail for operators
    SKIPPED = 5  # body: u32, frames that were not decoded since this was last said: a newer one had come


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


def encode_count(count: int) -> bytes:
    """The body of SKIPPED."""
    return _COUNT.pack(min(count, 0xFFFFFFFF))


def decode_count(body: bytes) -> int:
    """How many frames were skipped. Raises ValueError."""
    if len(body) != _COUNT.size:
        raise ValueError(f"a count of {len(body)} bytes")
    (count,) = _COUNT.unpack(body)
    return int(count)
