"""From a frame to the codes in it: zxing-cpp on every frame, and one rescue a missed frame, in turn.

The order and the figures are those of devices.md 2.3: yellow on a dim screen vanishes in ordinary grey and is found in
the stretched mean of the channels; blur in the sharpened picture; small modules in the doubled one. Imported only in
the camera process.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import zxingcpp

WIDTH_MAX = 1280  # wider frames hold no more of a code held before the lane, and cost four times as much

Frame = Any  # numpy array, height x width x 3 (BGR) or height x width


def stretched_mean(frame: Frame) -> Frame:
    """The mean of the channels with its contrast stretched to 0-255."""
    mean = frame.mean(axis=2) if frame.ndim == 3 else frame.astype(np.float32)
    low, high = float(mean.min()), float(mean.max())
    return np.ascontiguousarray((mean - low) * (255.0 / max(high - low, 1.0)), dtype=np.uint8)


def sharpened(frame: Frame, sigma: float = 2.0, amount: float = 2.5) -> Frame:
    """Unsharp mask of the grey picture."""
    grey = _grey(frame)
    soft = cv2.GaussianBlur(grey, (0, 0), sigma)
    return cv2.addWeighted(grey, 1.0 + amount, soft, -amount, 0)


def doubled(frame: Frame) -> Frame:
    """Twice the size and sharpened: modules down to 2 px."""
    return sharpened(cv2.resize(_grey(frame), None, fx=2.0, fy=2.0, interpolation=cv2.INTER_CUBIC), sigma=3.0)


def _grey(frame: Frame) -> Frame:
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if frame.ndim == 3 else frame


_RESCUES: tuple[Callable[[Frame], Frame], ...] = (stretched_mean, sharpened, doubled)


class Decoder:
    """Decodes one camera's frames. `fallback` True: zbar has the last look at every fourth missed frame."""

    def __init__(self, fallback: bool) -> None:
        self._zbar = _load_zbar() if fallback else None
        self.lacks = "" if self._zbar or not fallback else "libzbar is not installed: zxing-cpp alone decodes"
        self._turn: Iterator[int] = itertools.cycle(range(len(_RESCUES) + (self._zbar is not None)))

    def decode(self, frame: Frame) -> list[bytes]:
        """The payloads of all QR codes that are read in this frame."""
        if frame.shape[1] > WIDTH_MAX:
            scale = WIDTH_MAX / frame.shape[1]
            frame = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return _zxing(frame) or self._rescue(frame)

    def decode_thoroughly(self, frame: Frame) -> list[bytes]:
        """Every rescue on one picture: for still pictures, where no next frame comes."""
        found = self.decode(frame)
        for _ in range(len(_RESCUES) + 1):
            found = found or self._rescue(frame)
        return found

    def _rescue(self, frame: Frame) -> list[bytes]:
        turn = next(self._turn)
        if turn < len(_RESCUES):
            return _zxing(_RESCUES[turn](frame))
        return self._zbar(_grey(frame)) if self._zbar else []


def _zxing(frame: Frame) -> list[bytes]:
    codes = zxingcpp.read_barcodes(np.ascontiguousarray(frame), formats=zxingcpp.BarcodeFormat.QRCode)
    return [bytes(code.bytes) for code in codes if code.valid]


def _load_zbar() -> Callable[[Frame], list[bytes]] | None:
    """zbar, when its system library is there. It alters binary payloads (devices.md 2.2): only ASCII is believed."""
    try:
        from pyzbar import pyzbar
    except (ImportError, OSError):
        return None

    def read(grey: Frame) -> list[bytes]:
        codes = pyzbar.decode(grey, symbols=[pyzbar.ZBarSymbol.QRCODE])
        return [bytes(code.data) for code in codes if bytes(code.data).isascii()]

    return read
