"""What the camera process says and what a camera is told: kinds of messages and settings. No IO, no clock."""

import enum
import struct
from dataclasses import dataclass, field

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
class FrameCounts:
    """What became of frames that were not looked at for a code."""

    skipped: int = 0  # a newer one had come
    broken: int = 0  # stored pictures that are none


def encode_counts(counts: FrameCounts) -> bytes:
    """The body of COUNTS."""
    return _COUNTS.pack(min(counts.skipped, 0xFFFFFFFF), min(counts.broken, 0xFFFFFFFF))


def decode_counts(body: bytes) -> FrameCounts:
    """The counts in the body of COUNTS. Raises ValueError."""
    if len(body) != _COUNTS.size:
        raise ValueError(f"counts of {len(body)} bytes")
    return FrameCounts(*_COUNTS.unpack(body))
