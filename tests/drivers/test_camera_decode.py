"""Reading codes out of frames: light and colour that are hard, each pass, binary and Chinese codes, zbar's turn."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import segno

from drivers.scanners.camera import decode, passes
from drivers.scanners.camera.decode import ZBAR_EVERY_ROUNDS, Code, Decoder
from drivers.scanners.camera.passes import PASSES, SIDE_MAX
from tests.support.pictures import BLACK, COLOURS, Light, held, payload

PALE = COLOURS["pale yellow"]


def frame(text: bytes | str, px: int = 5, **how: Any) -> Any:
    """640 x 480 with the code in its middle, as sharp as drawn."""
    code = segno.make(text, error="m", micro=False, **how)
    modules = np.array([list(row) for row in code.matrix_iter(scale=px, border=4)], bool)
    picture = np.full((480, 640, 3), 90, np.uint8)
    top, left = (480 - len(modules)) // 2, (640 - len(modules)) // 2
    picture[top : top + len(modules), left : left + len(modules)] = np.where(modules[:, :, None], 0, 255)
    return picture


def payload_of(code: Code | None) -> bytes | None:
    return code.payload if code else None


@pytest.mark.parametrize(
    ("dark", "light"),
    [
        pytest.param(PALE, Light(screen=0.15, hall=0.1), id="yellow on a dim screen"),
        pytest.param(COLOURS["red"], Light(screen=0.08, hall=0.1), id="red on a very dim screen"),
        pytest.param(PALE, Light(screen=0.3, hall=1.2), id="yellow on a dim screen in a bright hall"),
        pytest.param(PALE, Light(module_px=2), id="yellow, modules of 2 px"),
        pytest.param(PALE, Light(defocus=0.5), id="yellow, out of focus"),
    ],
)
def test_hard_light_and_colour_are_read_within_five_more_frames(dark: str, light: Light) -> None:
    """The passes take turns on the frames of one passenger's code; every one had its turn after five."""
    text, decoder = payload(0), Decoder(fallback=True)
    picture = held(text, dark, light)
    seen = [payload_of(decoder.decode(picture)) for _ in PASSES]
    assert decode._zxing(passes.grey(picture)) is None
    assert text in seen
    assert set(seen) <= {text, None}


@pytest.mark.parametrize(
    ("needed", "dark", "light"),
    [
        pytest.param("stretched", PALE, Light(module_px=4, screen=0.3, defocus=0.4), id="yellow, dim, out of focus"),
        pytest.param("sharpened", BLACK, Light(module_px=3, defocus=0.6), id="small and out of focus"),
        pytest.param("evened", PALE, Light(screen=0.08, hall=0.1), id="yellow, at 8 %"),
        pytest.param("squared", COLOURS["green"], Light(2.25, screen=0.85, veil=0.3, tilt=35), id="washed, tilted"),
        pytest.param("doubled", PALE, Light(module_px=2), id="yellow, modules of 2 px"),
    ],
)
def test_each_pass_reads_what_no_other_does(needed: str, dark: str, light: Light) -> None:
    """Every pass earns its time: without it this picture is not read, with all of them it is."""
    picture = held(payload(0), dark, light)
    looks = {prepare.__name__: decode._zxing(prepare(picture)) for prepare in PASSES}
    assert decode._zxing(passes.grey(picture)) is None
    assert [name for name, code in looks.items() if code] == [needed]
    assert Decoder(fallback=False).decode_thoroughly(picture) == looks[needed]


@pytest.mark.parametrize("screen", [1.0, 0.08])
def test_light_modules_on_dark_are_read(screen: float) -> None:
    """A phone in dark mode, bright and dim."""
    dark_mode = cv2.convertScaleAbs(255 - frame(b"dark mode"), alpha=screen)
    decoder = Decoder(fallback=False)
    assert b"dark mode" in [payload_of(decoder.decode(dark_mode)) for _ in PASSES]


@pytest.mark.parametrize("binary", [bytes(range(256)), bytes(range(256))[::-1] * 4, b"\0" * 40, b"\xff\xfe\n\r\t"])
def test_binary_codes_come_out_unchanged(binary: bytes) -> None:
    """Every byte value, also NUL and line ends."""
    assert Decoder(fallback=True).decode(frame(binary, px=3)) == Code(binary)


def test_chinese_text_comes_with_the_encoding_that_the_symbol_declares() -> None:
    """GB 18030 is believed only when the symbol says so; otherwise the bytes pass as they are."""
    decoder, text = Decoder(fallback=False), "健康码已核验"
    declared = decoder.decode(frame(text, encoding="gb18030", eci=True))
    silent = decoder.decode(frame(text, encoding="gb18030"))
    unicode = decoder.decode(frame(text, encoding="utf-8"))
    assert declared == Code(text.encode("gb18030"), gb18030=True)
    assert silent == Code(text.encode("gb18030"), gb18030=False)
    assert unicode == Code(text.encode(), gb18030=False)


def test_of_two_codes_the_larger_counts() -> None:
    """The next person's phone in the background is not read while one is held before the camera."""
    both = np.hstack([frame(b"behind", px=3), frame(b"before", px=8)])
    assert payload_of(Decoder(fallback=False).decode(both)) == b"before"


def test_wide_frames_are_made_smaller_and_read() -> None:
    """A 4K frame costs no more than a small one."""
    wide = cv2.resize(frame(b"far away"), None, fx=6, fy=6)
    assert wide.shape[1] > SIDE_MAX
    assert payload_of(Decoder(fallback=False).decode(wide)) == b"far away"


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 2000, 3), (480, 640), (3, 3, 3), (2, 1, 3)])
def test_frames_without_code_give_nothing(shape: tuple[int, ...]) -> None:
    """Odd sizes and noise: no code, no error."""
    noise = np.random.default_rng(2).integers(0, 256, shape, np.uint8)
    assert Decoder(fallback=False).decode_thoroughly(noise) is None
    assert Decoder(fallback=False).decode_thoroughly(np.zeros(shape, np.uint8)) is None


class FakeZbar(ModuleType):
    """pyzbar as the decoder uses it, that sees what it is told in every frame."""

    ZBarSymbol = SimpleNamespace(QRCODE=64)

    def __init__(self, data: bytes) -> None:
        super().__init__("pyzbar.pyzbar")
        rect = SimpleNamespace(width=10, height=10)
        self.decode = lambda frame, symbols: [SimpleNamespace(data=data, rect=rect)]


@pytest.mark.parametrize(
    ("data", "believed"),
    [
        (b"https://s.sh.gov.cn/0123", True),
        ("½¡¿µÂë".encode(), False),
        (b"\x80\x81", False),
        (b"a\0b", False),
        (b"", False),
    ],
)
def test_of_zbar_only_printable_ascii_is_believed(monkeypatch: pytest.MonkeyPatch, data: bytes, believed: bool) -> None:
    """zbar alters binary payloads without saying so; a wrong payload is worse than none."""
    fake = FakeZbar(data)
    package = ModuleType("pyzbar")
    monkeypatch.setattr(package, "pyzbar", fake, raising=False)
    monkeypatch.setitem(sys.modules, "pyzbar", package)
    monkeypatch.setitem(sys.modules, "pyzbar.pyzbar", fake)
    decoder = Decoder(fallback=True)
    assert decoder.detail.endswith(", zbar")
    blank = np.full((100, 100, 3), 128, np.uint8)
    assert payload_of(decoder.decode_thoroughly(blank)) == (data if believed else None)
    assert Decoder(fallback=False).decode_thoroughly(blank) is None


def test_zbar_has_its_turn_seldom_on_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs as much as many passes: once in ten rounds, and no round is without every pass."""
    turns: list[str] = []
    monkeypatch.setattr(decode, "RESCUES", tuple((lambda _, name=p.__name__: turns.append(name)) for p in PASSES))
    monkeypatch.setattr(decode, "_load_zbar", lambda: lambda _: turns.append("zbar"))
    decoder, blank = Decoder(fallback=True), np.full((100, 100, 3), 128, np.uint8)
    names = [prepare.__name__ for prepare in PASSES]
    for _ in range(len(names) * ZBAR_EVERY_ROUNDS + 1):
        decoder.decode(blank)
    assert turns == names * ZBAR_EVERY_ROUNDS + ["zbar"]
