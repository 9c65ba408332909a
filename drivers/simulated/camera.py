"""A simulated camera: a folder into which pictures of phones with codes are put, as passengers hold them up."""

import asyncio
import itertools
import os
import struct
import zlib
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from drivers.simulated.line_scanner import made_up_code

KEPT_PICTURES = 100  # seven seconds at 15 frames a second; older ones were looked at long ago
_WIDTH, _HEIGHT = 640, 480
_MODULE_PX_MIN = 3  # zxing needs 2.5 (devices.md 2.3)

Colour = tuple[int, int, int]  # red, green, blue
BLACK: Colour = (0, 0, 0)
WHITE: Colour = (255, 255, 255)
HALL: Colour = (90, 90, 90)


class SimulatedCamera:
    """Shows codes to a `camera-scanner` whose source is `spec`."""

    def __init__(self, folder: Path) -> None:
        self.spec = f"{folder}/"
        self._folder = folder
        self._numbers = itertools.count()
        self._kept: deque[Path] = deque()
        folder.mkdir(parents=True, exist_ok=True)

    async def scan(self, payload: bytes) -> None:
        """What a passenger does at any scanner."""
        await asyncio.to_thread(self.show, payload)

    def show(self, payload: bytes, dark: Colour = BLACK, light: Colour = WHITE, hall: Colour = HALL) -> None:
        """Hold a code up: the colours of its modules, of the screen, and of what is behind."""
        self.put(picture(payload, dark, light, hall))

    def put(self, png: bytes) -> None:
        """Add a picture, whole or not at all."""
        path = self._folder / f"{next(self._numbers):08d}.png"
        temporary = path.with_name(f".{path.name}")
        temporary.write_bytes(png)
        os.replace(temporary, path)
        self._kept.append(path)
        if len(self._kept) > KEPT_PICTURES:
            self._kept.popleft().unlink(missing_ok=True)


def picture(payload: bytes, dark: Colour = BLACK, light: Colour = WHITE, hall: Colour = HALL) -> bytes:
    """A PNG of 640 x 480 (more for the largest codes) with the code in its middle."""
    import zxingcpp

    code = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode)
    image = memoryview(zxingcpp.write_barcode_to_image(code, scale=1))
    modules: list[list[int]] = image.tolist()  # type: ignore[assignment] # two dimensions, typed as one
    scale = max(_MODULE_PX_MIN, 440 // len(modules))
    side = len(modules) * scale
    width, height = max(_WIDTH, side), max(_HEIGHT, side)
    left, top = (width - side) // 2, (height - side) // 2
    empty = b"\2" * width
    rows = [empty] * top
    for line in modules:
        inner = b"".join((b"\0" if module < 128 else b"\1") * scale for module in line)
        rows += [empty[:left] + inner + empty[left + side :]] * scale
    rows += [empty] * (height - top - side)
    return _png(width, rows, (dark, light, hall))


def _png(width: int, rows: list[bytes], palette: tuple[Colour, ...]) -> bytes:
    """Palette indices as a PNG (W3C Portable Network Graphics): written here so that no station loads OpenCV for it."""
    header = struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 1)
    chunks = ((b"IHDR", header), (b"PLTE", b"".join(map(bytes, palette))), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate camera-scanner --port dir:FOLDER`: a code every `every_s` seconds, until cancelled."""
    kind, _, path = port.partition(":")
    if kind != "dir" or not path:
        raise ValueError(f"{port!r} is not dir:FOLDER")
    camera = SimulatedCamera(Path(path))
    print(f"camera-scanner source {camera.spec}", flush=True)
    for number in itertools.count(1):
        await asyncio.sleep(float(options.get("every_s", "5")))
        await camera.scan(made_up_code(number))
