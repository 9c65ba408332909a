"""Exposure and torch by V4L2: the bytes of the kernel's headers, and devices that do not take them."""

import pytest

from drivers.scanners.camera import controls
from drivers.scanners.camera.controls import apply, encode, exposure, torch


def test_the_request_is_that_of_the_kernel() -> None:
    """_IOWR('V', 28, 8 bytes): direction, size, type, number as in asm-generic/ioctl.h."""
    request = 3 << 30 | 8 << 16 | ord("V") << 8 | 28
    assert request == controls.VIDIOC_S_CTRL


@pytest.mark.parametrize(
    ("wanted", "sent"),
    [
        pytest.param(exposure(8.5), ["01099a0001000000", "02099a0055000000"], id="8.5 ms: manual, 85 units of 100 us"),
        pytest.param(exposure(0.01), ["01099a0001000000", "02099a0001000000"], id="never zero units"),
        pytest.param(torch(), ["01099c0002000000"], id="flash LED in torch mode"),
    ],
)
def test_controls_are_laid_out_as_v4l2_control(wanted: tuple[controls.Control, ...], sent: list[str]) -> None:
    """Identifier and value, 32 bits each in the machine's order (linux/v4l2-controls.h; little-endian here)."""
    assert [encode(control).hex() for control in wanted] == sent


def test_a_device_without_them_is_named_and_nothing_fails() -> None:
    """/dev/null answers ENOTTY to the request, as a camera does EINVAL; a device that is not there is the same."""
    for device in ("/dev/null", "/dev/video97"):
        assert apply(device, 8.5, lit=True) == "; it does not take exposure and torch as set, working without"
    assert apply("/dev/null", 0.0, lit=True) == "; it does not take torch as set, working without"


def test_what_is_not_wanted_is_not_touched() -> None:
    """Without settings the device is not even opened."""
    assert apply("/dev/nowhere", 0.0, lit=False) == ""
