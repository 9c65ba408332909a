"""The QR readers that people would use instead of our cascade, each alone and as its manual shows it."""

from collections.abc import Callable, Mapping

import cv2
import zxingcpp
from pyzbar import pyzbar

from tests.support.pictures import Frame

_opencv = cv2.QRCodeDetector()


def zxing(frame: Frame) -> bytes | None:
    """zxing-cpp on plain grey, QR codes only."""
    codes = zxingcpp.read_barcodes(_grey(frame), formats=zxingcpp.BarcodeFormat.QRCode)
    return next((bytes(code.bytes) for code in codes if code.valid), None)


def zbar(frame: Frame) -> bytes | None:
    """zbar on plain grey, QR codes only."""
    codes = pyzbar.decode(_grey(frame), symbols=[pyzbar.ZBarSymbol.QRCODE])
    return codes[0].data if codes else None


def opencv(frame: Frame) -> bytes | None:
    """OpenCV's own detector."""
    try:
        return _opencv.detectAndDecode(frame)[0].encode() or None
    except (cv2.error, UnicodeDecodeError):  # payloads that are no text
        return None


def _grey(frame: Frame) -> Frame:
    return cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)


ENGINES: Mapping[str, Callable[[Frame], bytes | None]] = {"zxing-cpp": zxing, "pyzbar": zbar, "opencv": opencv}
