"""A simulated camera: a folder into which pictures of phones with codes are put, as a passenger holds them up."""

import asyncio
import itertools
import os
from collections.abc import Mapping
from pathlib import Path


class SimulatedCamera:
    """Shows codes to a `camera-scanner` whose source is `folder`."""

    def __init__(self, folder: Path) -> None:
        self.spec = f"{folder}/"
        self._folder = folder
        self._numbers = itertools.count()
        folder.mkdir(parents=True, exist_ok=True)

    async def scan(self, payload: bytes) -> None:
        """What a passenger does at any scanner."""
        await asyncio.to_thread(self.show, payload)

    def show(self, payload: bytes, dark: tuple[int, int, int] = (0, 0, 0)) -> None:
        """Hold a code up: `dark` is the BGR colour of its modules."""
        import cv2

        name = f"{next(self._numbers):08d}.png"
        ready, picture = cv2.imencode(".png", picture_of(payload, dark))
        if not ready:
            raise ValueError("the picture cannot be encoded")
        temporary = self._folder / f".{name}"
        temporary.write_bytes(picture.tobytes())
        os.replace(temporary, self._folder / name)  # whole or not at all


def picture_of(payload: bytes, dark: tuple[int, int, int]) -> "object":
    """A 640 x 480 frame (BGR) with the code in its middle, on a phone's white screen."""
    import cv2
    import numpy as np
    import zxingcpp

    code = zxingcpp.create_barcode(payload, zxingcpp.BarcodeFormat.QRCode)
    modules = np.array(zxingcpp.write_barcode_to_image(code, scale=1))
    scale = 400 // modules.shape[0]
    large = cv2.resize(modules, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    frame = np.full((480, 640, 3), 90, np.uint8)  # the hall behind
    top, left = (480 - large.shape[0]) // 2, (640 - large.shape[1]) // 2
    screen = np.where(large[:, :, None] < 128, np.array(dark, np.uint8), np.uint8(255))
    frame[top - 20 : top + large.shape[0] + 20, left - 20 : left + large.shape[1] + 20] = 255
    frame[top : top + large.shape[0], left : left + large.shape[1]] = screen
    return frame


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate camera-scanner`: a code every `every_s` seconds into the folder `dir:PATH`."""
    kind, _, path = port.partition(":")
    if kind != "dir" or not path:
        raise ValueError(f"{port!r} is not dir:FOLDER")
    camera = SimulatedCamera(Path(path))
    print(f"camera-scanner source {camera.spec}", flush=True)
    for number in itertools.count(1):
        await asyncio.sleep(float(options.get("every_s", "5")))
        camera.show(b"https://s.sh.gov.cn/" + f"{number:030x}1585000000000".encode())
