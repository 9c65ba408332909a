"""Exposure and torch of a Linux camera (V4L2), set by ioctl: OpenCV knows no torch and does not say what is lacking.

Numbers from linux/videodev2.h and linux/v4l2-controls.h. The kernel takes controls while another opens the pictures.
"""

import fcntl
import os
import struct

VIDIOC_S_CTRL = 0xC008561C  # _IOWR('V', 28, struct v4l2_control)
_CONTROL = struct.Struct("=Ii")  # id, value

_EXPOSURE_AUTO, _MANUAL = 0x009A0901, 1
_EXPOSURE_ABSOLUTE, _UNITS_PER_MS = 0x009A0902, 10  # in 100 us
_FLASH_LED_MODE, _TORCH = 0x009C0901, 2

Control = tuple[int, int]


def exposure(exposure_ms: float) -> tuple[Control, ...]:
    """What sets a fixed exposure: shorter than a phone's picture is drawn shows bands, longer blurs a hand's motion."""
    return (_EXPOSURE_AUTO, _MANUAL), (_EXPOSURE_ABSOLUTE, max(1, round(exposure_ms * _UNITS_PER_MS)))


def torch() -> tuple[Control, ...]:
    """What lights the camera's lamp."""
    return ((_FLASH_LED_MODE, _TORCH),)


def encode(control: Control) -> bytes:
    """struct v4l2_control."""
    return _CONTROL.pack(*control)


def apply(device: str, exposure_ms: float, lit: bool) -> str:
    """Set what is wanted (0 and False: leave as it is); what the camera did not take, in words, or nothing."""
    wanted = {"exposure": exposure(exposure_ms) if exposure_ms else (), "torch": torch() if lit else ()}
    refused = [name for name, controls in wanted.items() if not _set(device, controls)]
    return f"; it does not take {' and '.join(refused)} as set, working without" if refused else ""


def _set(device: str, controls: tuple[Control, ...]) -> bool:
    if not controls:
        return True
    try:
        opened = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        for control in controls:
            fcntl.ioctl(opened, VIDIOC_S_CTRL, encode(control))
    except OSError:  # EINVAL: no such control; ERANGE: not in its range; EBUSY, ENOTTY: not now, not here
        return False
    finally:
        os.close(opened)
    return True
