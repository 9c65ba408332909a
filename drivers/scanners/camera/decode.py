"""From a frame to the code in it: zxing-cpp on every frame, and one rescue pass a missed frame, in turn (passes.py).

A still picture gets every pass until one reads it. zbar is the last fallback. Imported only in the camera process.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import zxingcpp

from drivers.scanners.camera.passes import PASSES, Frame, fitted, grey, stretched

ZBAR_EVERY_ROUNDS = 10  # it costs as much as five passes on an idle frame and read nothing that they do not (measured)

Look = Callable[[Frame], "Code | None"]


@dataclass(frozen=True, slots=True)
class Code:
    """A code that was read: its bytes as the symbol holds them."""

    payload: bytes = field(repr=False)
    gb18030: bool = False  # the symbol says so itself


class Decoder:
    """Decodes one camera's frames. `fallback`: zbar takes its turn after the passes, if it is installed."""

    def __init__(self, fallback: bool) -> None:
        zbar = _load_zbar() if fallback else None
        last = (zbar,) if zbar else ()
        self._looks = (*RESCUES, *last)
        self._turns = itertools.cycle((*RESCUES * ZBAR_EVERY_ROUNDS, *last))
        self.detail = f"zxing-cpp {version('zxing-cpp')}" + _SECOND[fallback, zbar is not None]

    def decode(self, frame: Frame) -> Code | None:
        """The largest code in this frame: what is nearest to the camera. One more look when there seems to be none."""
        frame = fitted(frame)
        return _zxing(grey(frame)) or next(self._turns)(frame)

    def decode_thoroughly(self, frame: Frame) -> Code | None:
        """The same with every look: for still pictures, after which no next frame shows the same code."""
        frame = fitted(frame)
        looks = (look(frame) for look in self._looks)
        return _zxing(grey(frame)) or next((code for code in looks if code), None)


def _zxing(shade: Frame, invert: bool = True) -> Code | None:
    # All formats cost twelve times as much on idle frames (devices.md 2.3).
    codes = zxingcpp.read_barcodes(shade, formats=zxingcpp.BarcodeFormat.QRCode, try_invert=invert)
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


def _rescue(prepare: Callable[[Frame], Frame]) -> Look:
    # Light modules on dark are looked for in plain grey and, for dim screens, stretched: elsewhere a third of the cost.
    return lambda frame: _zxing(prepare(frame), invert=prepare is stretched)


RESCUES = tuple(map(_rescue, PASSES))
_SECOND = {  # (wanted, there)
    (True, True): ", zbar",
    (True, False): "; libzbar is not installed (apt install libzbar0), working without it",
    (False, False): "",
}


def _load_zbar() -> Look | None:
    """zbar, when its system library is there."""
    try:
        from pyzbar import pyzbar
    except (ImportError, OSError):
        return None

    def read(frame: Frame) -> Code | None:
        codes = pyzbar.decode(grey(frame), symbols=[pyzbar.ZBarSymbol.QRCODE])
        code = max(codes, key=lambda code: code.rect.width * code.rect.height, default=None)
        # It alters binary payloads (devices.md 2.2: 256 bytes became 384), so only printable ASCII is believed.
        payload = b"" if code is None else bytes(code.data)
        return Code(payload) if payload and all(0x20 <= byte < 0x7F for byte in payload) else None

    return read
