"""Pictures for the camera's decoder: codes on phones in hard light and colour, an idle hall, photographs of others."""

import functools
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import segno

DATA = Path(os.environ.get("GATE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "qr"
SETS = ("qrcode-2", "qrcode-5")
WIDTH, HEIGHT = 640, 480  # px, of every frame
CHARSETS = ("utf-8", "shift_jis", "cp932", "gb18030", "iso-8859-1")
# 13.txt lacks the y of the code in 13.png, as does zxing's own: zxing-cpp and zbar both read it there, and 12.png is
# another painting of the same code.
_MISPRINTED = {"qrcode-2/13": b"The 2005 USGS aerial photography of the Washington Monument is censored."}
_FINE = 3  # a frame is drawn so many times larger and averaged, as a sensor's pixel averages what falls on it
_MODULE = 8  # px of a module on the screen that is drawn
_RIM = 13  # its shade around the screen
_JPEG = 90  # quality; with it the colours at half the size, as cameras send them

Frame = Any  # numpy array of uint8

BLACK = "#000000"
COLOURS = {  # dark modules of health codes on white; #FFC300 and #FFEB3B of devices.md 2.3, the others near them
    "green": "#4CAF50",
    "yellow": "#FFC300",
    "pale yellow": "#FFEB3B",
    "amber": "#FFD54F",
    "red": "#F44336",
    "deep red": "#E53935",
    "orange": "#FF9800",
}


@dataclass(frozen=True, slots=True)
class Light:
    """How a phone is held before the camera, and in what light."""

    module_px: float = 5.0
    screen: float = 1.0  # brightness of white on it, 1 = as bright as the camera shows
    hall: float = 0.5  # brightness of what is behind it
    veil: float = 0.0  # what the glass reflects, added to the screen
    defocus: float = 0.0  # modules, sigma
    motion: float = 0.0  # modules, along a row
    tilt: float = 0.0  # degrees about the upright axis, seen from three times the phone's size away
    turn: float = 0.0  # degrees


CONDITIONS: Mapping[str, Light] = {
    "plain": Light(),
    "dim, 30 %": Light(screen=0.3, hall=0.3),
    "dim, 15 %": Light(screen=0.15, hall=0.15),
    "dim, 8 %": Light(screen=0.08, hall=0.1),
    "dim, 30 %, bright hall": Light(screen=0.3, hall=1.2),
    "washed": Light(screen=0.4, veil=0.45),
    "washed more": Light(screen=0.25, veil=0.6),
    "defocused, half a module": Light(defocus=0.5),
    "defocused, 4 px": Light(module_px=4, defocus=0.4),
    "moved, 1 module": Light(motion=1.0),
    "moved, 1.5 modules": Light(motion=1.5),
    "tilted 30": Light(tilt=30),
    "tilted 45": Light(tilt=45),
    "tilted 30, turned 37": Light(tilt=30, turn=37),
    "small, 3 px": Light(module_px=3),
    "small, 2.5 px": Light(module_px=2.5),
    "small, 2 px": Light(module_px=2),
}


def payload(number: int) -> bytes:
    """A made-up health code of 63 characters."""
    return b"https://s.sh.gov.cn/" + b"ab" * 15 + b"%013d" % (1_585_000_000_000 + 7919 * number)


def held(text: bytes, dark: str = BLACK, light: Light | None = None, seed: int = 1) -> Frame:
    """A frame with a phone that shows a code whose modules have the colour `dark`."""
    light = light or Light()
    white, modules, rim = (share[:, :, None] for share in cv2.split(_shares(text, light)))
    colour = np.array([int(dark[at : at + 2], 16) for at in (5, 3, 1)], np.float32)
    covered = white + modules + rim
    shines = (255 * white + colour * modules + _RIM * rim) * light.screen + 255 * light.veil * covered
    return _taken(_hall() * light.hall * (1 - covered) + shines, light, seed)


def coloured(codes: int) -> Iterator[tuple[str, str, bytes, Frame]]:
    """Condition, colour, payload and frame: black first and then every colour, `codes` times in every condition."""
    for (condition, light), number in itertools.product(CONDITIONS.items(), range(codes)):
        for colour, dark in {"black": BLACK, **COLOURS}.items():
            yield condition, colour, payload(number), held(payload(number), dark, light, seed=number)


def idle(count: int, noise: float = 4.0) -> list[Frame]:
    """Frames of a hall with its signs and tiles and nobody in it; `noise`: grain of the sensor, sigma in levels."""
    frames = []
    for number in range(count):
        frame = np.clip(_hall(seed=number, soft=0.8), 0, 255).astype(np.uint8)
        rng = np.random.default_rng(number)
        for x, y, shade in rng.integers((0, 0, 0), (500, HEIGHT, 255), (40, 3)).tolist():
            cv2.putText(frame, "HANGZHOU EAST", (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (shade, 255 - shade, shade), 1)
        for y in range(320, HEIGHT, 20):
            cv2.line(frame, (0, y), (WIDTH, y), (90, 90, 90), 1)
        frames.append(_grained(cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 0.8), noise, number))
    return frames


def photographs() -> Iterator[tuple[Frame, frozenset[bytes]]]:
    """zxing's own photographs in four rotations, each with the payloads that its text may stand for."""
    for path in itertools.chain(*(sorted((DATA / name).glob("*.png")) for name in SETS)):
        # The texts are UTF-8; many of the codes hold the same text in a Japanese, Chinese or Western character set.
        text = path.with_suffix(".txt").read_bytes().decode()
        payloads = frozenset(text.encode(charset, "replace") for charset in CHARSETS)
        if misprinted := _MISPRINTED.get(f"{path.parent.name}/{path.stem}"):
            payloads = frozenset({misprinted})
        picture = cv2.imread(str(path))
        for quarters in range(4):
            yield np.ascontiguousarray(np.rot90(picture, quarters)), payloads


@functools.lru_cache(maxsize=2)  # the same for every colour
def _shares(text: bytes, light: Light) -> Frame:
    """Of each pixel, how much is white screen, dark module, rim of the phone."""
    code = segno.make(text, error="m", micro=False, boost_error=False)
    dark = np.array([list(row) for row in code.matrix_iter(scale=_MODULE, border=4)], np.float32)
    screen = cv2.merge([1 - dark, dark, np.zeros_like(dark)])
    for what in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        width = 3 * _MODULE
        screen = cv2.copyMakeBorder(screen, width, width, width, width, cv2.BORDER_CONSTANT, value=what)
    fine = cv2.warpPerspective(screen, _place(len(screen), light), (WIDTH * _FINE, HEIGHT * _FINE))
    return cv2.resize(fine, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def _place(side: int, light: Light) -> Frame:
    """Where on the fine frame a screen of `side` px comes to lie."""
    size, tilt, turn = light.module_px / _MODULE, np.deg2rad(light.tilt), np.deg2rad(light.turn)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], np.float64) * side / 2
    rotation = np.array([(np.cos(turn), -np.sin(turn)), (np.sin(turn), np.cos(turn))])
    across, down = (corners @ rotation.T * size).T
    away = 3 * side * size
    nearness = away / (away + across * np.sin(tilt))
    seen = np.stack([across * np.cos(tilt) * nearness + 320.3, down * nearness + 240.4], 1)
    return cv2.getPerspectiveTransform((corners + side / 2).astype(np.float32), (seen * _FINE).astype(np.float32))


def _taken(frame: Frame, light: Light, seed: int) -> Frame:
    """What the camera makes of the light: focus, motion, grain, JPEG."""
    frame = cv2.GaussianBlur(frame, (0, 0), max(light.defocus * light.module_px, 0.5))
    length = max(1, round(light.motion * light.module_px))
    frame = cv2.filter2D(frame, -1, np.full((1, length), 1 / length, np.float32))
    sent = cv2.imencode(".jpg", _grained(frame, 2.0, seed), [cv2.IMWRITE_JPEG_QUALITY, _JPEG])[1]
    return cv2.imdecode(sent, cv2.IMREAD_COLOR)


def _grained(frame: Frame, noise: float, seed: int) -> Frame:
    grain = np.random.default_rng(seed).normal(0, noise, frame.shape)
    return np.clip(frame + grain, 0, 255).astype(np.uint8)


@functools.cache
def _hall(seed: int = 3, soft: float = 3.0) -> Frame:
    rng = np.random.default_rng(seed)
    hall = np.zeros((HEIGHT, WIDTH, 3), np.float32)
    hall[:] = np.linspace(60, 150, HEIGHT)[:, None, None]
    least, most = (0, 0, 10, 10, 20, 20, 20), (WIDTH, HEIGHT, 160, 200, 220, 220, 220)
    for x, y, width, height, *colour in rng.integers(least, most, (60, 7)).tolist():
        cv2.rectangle(hall, (x, y), (x + width, y + height), colour, -1)
    return cv2.GaussianBlur(hall, (0, 0), soft)
