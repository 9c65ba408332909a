"""From a frame to the code in it: zxing-cpp on every frame, and one rescue a missed frame, in turn.

Which rescues is from devices.md 2.3: yellow on a dim screen vanishes in ordinary grey and is found in the stretched
mean of the channels; a dim screen in a bright hall with the contrast evened out place by place; blur in the sharpened
picture; small modules in the doubled one. Imported only in the camera process.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np
import zxingcpp

SIDE_MAX = 1280  # a longer side holds no more of a code held before the lane, and costs four times as much
_CLIPPED = 0.001  # share of the darkest and of the brightest pixels that do not count for the contrast: specks, lamps
_THIRDS = np.full((1, 3), 1 / 3, np.float32)

Frame = Any  # numpy array of uint8, height x width x 3 (BGR) or height x width
Zbar = Callable[[Frame], "Code | None"]


@dataclass(frozen=True, slots=True)
class Code:
    """A code that was read: its bytes as the symbol holds them."""

    payload: bytes = field(repr=False)
    gb18030: bool = False  # the symbol says so itself


class Decoder:
    """Decodes one camera's frames. `fallback`: zbar takes its turn among the rescues, if it is installed."""

    def __init__(self, fallback: bool) -> None:
        zbar = _load_zbar() if fallback else None
        self._rescues = RESCUES if zbar is None else (*RESCUES, lambda frame: zbar(_grey(frame)))
        self._turns = itertools.cycle(self._rescues)
        self.detail = f"zxing-cpp {version('zxing-cpp')}" + _SECOND[fallback, zbar is not None]

    def decode(self, frame: Frame) -> Code | None:
        """The largest code in this frame: what is nearest to the camera. One more look when there seems to be none."""
        frame = _fitted(frame)
        return _zxing(frame) or next(self._turns)(frame)

    def decode_thoroughly(self, frame: Frame) -> Code | None:
        """The same with every rescue: for still pictures, after which no next frame shows the same code."""
        frame = _fitted(frame)
        looks = (rescue(frame) for rescue in self._rescues)
        return _zxing(frame) or next((code for code in looks if code), None)


def stretched(frame: Frame) -> Frame:
    """The mean of the channels with its contrast stretched to 0-255."""
    mean = cv2.transform(frame, _THIRDS) if frame.ndim == 3 else frame
    share = np.cumsum(cv2.calcHist([mean], [0], None, [256], [0, 256])) / mean.size
    low, high = (int(np.searchsorted(share, edge)) for edge in (_CLIPPED, 1 - _CLIPPED))
    return cv2.convertScaleAbs(cv2.subtract(mean, low), alpha=255 / max(high - low, 1))


def evened(frame: Frame) -> Frame:
    """The stretched mean with its contrast evened out in each of 8 x 8 places."""
    return cv2.createCLAHE(8.0, (8, 8)).apply(stretched(frame))


def sharpened(frame: Frame) -> Frame:
    """Unsharp mask of the grey picture. Of plain grey only: it hurts yellow, which other rescues find."""
    return _unsharp(_grey(frame))


def doubled(frame: Frame) -> Frame:
    """Twice the size and sharpened: modules down to 2 px."""
    return _unsharp(cv2.resize(stretched(frame), None, fx=2.0, fy=2.0, interpolation=cv2.INTER_CUBIC))


def squared(frame: Frame) -> Frame:
    """Grey with its shadows deepened: light modules that glare washed out."""
    grey = _grey(frame)
    return cv2.multiply(grey, grey, scale=1 / 255)


def _unsharp(grey: Frame) -> Frame:
    return cv2.addWeighted(grey, 3.5, cv2.GaussianBlur(grey, (0, 0), 2.0), -2.5, 0)  # sigma 2, amount 2.5


def _grey(frame: Frame) -> Frame:
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY) if frame.ndim == 3 else frame


def _fitted(frame: Frame) -> Frame:
    scale = SIDE_MAX / max(frame.shape[:2])
    return frame if scale >= 1 else cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _zxing(frame: Frame) -> Code | None:
    grey = np.ascontiguousarray(_grey(frame))
    # All formats cost twelve times as much on idle frames (devices.md 2.3).
    codes = zxingcpp.read_barcodes(grey, formats=zxingcpp.BarcodeFormat.QRCode)
    code = max((code for code in codes if code.valid), key=_extent, default=None)
    if code is None or not code.bytes:
        return None
    return Code(bytes(code.bytes), _declares_gb18030(code))


def _extent(code: Any) -> int:
    place = code.position
    corners = (place.top_left, place.top_right, place.bottom_right, place.bottom_left)
    turned = (*corners[1:], corners[0])
    shoelace: int = sum(a.x * b.y - b.x * a.y for a, b in zip(corners, turned, strict=True))  # twice the area
    return abs(shoelace)


def _declares_gb18030(code: Any) -> bool:
    """Whether the symbol's own ECI made zxing read GB 18030; without one it guesses, and never that."""
    payload = bytes(code.bytes)
    return not payload.isascii() and payload == str(code.text).encode("gb18030", "replace")


def _rescue(prepare: Callable[[Frame], Frame]) -> Callable[[Frame], Code | None]:
    return lambda frame: _zxing(prepare(frame))


PREPARATIONS = (stretched, sharpened, evened, doubled, squared)
RESCUES = tuple(map(_rescue, PREPARATIONS))
_SECOND = {  # (wanted, there)
    (True, True): ", zbar",
    (True, False): "; libzbar is not installed (apt install libzbar0), working without it",
    (False, False): "",
}


def _load_zbar() -> Zbar | None:
    """zbar, when its system library is there."""
    try:
        from pyzbar import pyzbar
    except (ImportError, OSError):
        return None

    def read(grey: Frame) -> Code | None:
        codes = pyzbar.decode(grey, symbols=[pyzbar.ZBarSymbol.QRCODE])
        code = max(codes, key=lambda code: code.rect.width * code.rect.height, default=None)
        # It alters binary payloads (devices.md 2.2: 256 bytes became 384), so only printable ASCII is believed.
        payload = b"" if code is None else bytes(code.data)
        return Code(payload) if payload and all(0x20 <= byte < 0x7F for byte in payload) else None

    return read
