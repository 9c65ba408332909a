"""Looks at a frame for what plain grey hides: pictures in, grey pictures out, no state. devices.md 2.3 has the figures.

| pass      | finds                                                                                        |
|-----------|----------------------------------------------------------------------------------------------|
| stretched | yellow and dim screens: ITU-601 grey gives yellow and white the same shade                   |
| sharpened | defocus to half a module, motion to 1.5 modules                                              |
| evened    | a dim screen in a bright hall, and noise: contrast evened out place by place, then smoothed  |
| squared   | light modules that glare washed out                                                          |
| doubled   | modules down to 2 px: zxing needs 2.5                                                        |

The half size of devices.md is left out: deqr, its decoder there, is not among our libraries, and zxing looks at half
the size by itself. Only for the camera process.
"""

from typing import Any

import cv2
import numpy as np

SIDE_MAX = 1280  # px; a longer side holds no more of a code held before the lane, and costs four times as much
_CLIPPED = 0.001  # share of the darkest and of the brightest pixels that do not count for the contrast: specks, lamps
_AMOUNT = 2.5  # of the unsharp mask (devices.md 2.3)
_BLUR_PX = 2.0  # its sigma (devices.md 2.3)
_BLUR_DOUBLED_PX = 1.0  # before doubling, where 3 after it costs three times as much and reads less (measured)
_SMOOTH_PX = 1.2  # sigma; of a yellow screen at 8 % the grain of the camera is as strong as the modules (measured)
_TILES, _TILE_CONTRAST_MAX = (8, 8), 8.0  # a phone covers some of the tiles of 80 x 60 px; more contrast is grain

Frame = Any  # numpy array of uint8, height x width x 3 (BGR) or height x width


def fitted(frame: Frame) -> Frame:
    """The frame, made smaller when it is larger than any decoding needs."""
    scale = SIDE_MAX / max(frame.shape[:2])
    return frame if scale >= 1 else cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def grey(frame: Frame) -> Frame:
    """Ordinary grey (ITU-601)."""
    return np.ascontiguousarray(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if frame.ndim == 3 else frame)


def stretched(frame: Frame) -> Frame:
    """The mean of the channels with its contrast stretched to 0-255; zxing ignores 24 levels or less."""
    mean = _mean(frame)
    share = np.cumsum(cv2.calcHist([mean], [0], None, [256], [0, 256])) / mean.size
    low, high = (int(np.searchsorted(share, edge)) for edge in (_CLIPPED, 1 - _CLIPPED))
    return cv2.convertScaleAbs(cv2.subtract(mean, low), alpha=255 / max(high - low, 1))


def sharpened(frame: Frame) -> Frame:
    """Unsharp mask of the grey picture. Of plain grey only: it hurts yellow, which other passes find."""
    return _unsharp(grey(frame), _BLUR_PX)


def evened(frame: Frame) -> Frame:
    """The stretched mean with its contrast evened out place by place, and smoothed."""
    even = cv2.createCLAHE(_TILE_CONTRAST_MAX, _TILES).apply(stretched(frame))
    return cv2.GaussianBlur(even, (0, 0), _SMOOTH_PX)


def squared(frame: Frame) -> Frame:
    """Grey with its shadows deepened."""
    shade = grey(frame)
    return cv2.multiply(shade, shade, scale=1 / 255)


def doubled(frame: Frame) -> Frame:
    """The stretched mean sharpened, then twice the size."""
    return cv2.resize(_unsharp(stretched(frame), _BLUR_DOUBLED_PX), None, fx=2.0, fy=2.0)


PASSES = (stretched, sharpened, evened, squared, doubled)


def _mean(frame: Frame) -> Frame:
    """Of the three channels: every third mean of three neighbours along a row of BGRBGR…, twice as fast as a matrix."""
    if frame.ndim != 3:
        return np.ascontiguousarray(frame)
    row = frame.reshape(len(frame), -1)
    return np.ascontiguousarray(cv2.blur(row, (3, 1))[:, 1::3])


def _unsharp(shade: Frame, blur_px: float) -> Frame:
    side = 2 * round(2 * blur_px) + 1  # two sigma each way: a third cheaper than OpenCV's three, and reads as much
    return cv2.addWeighted(shade, 1 + _AMOUNT, cv2.GaussianBlur(shade, (side, side), blur_px), -_AMOUNT, 0)
