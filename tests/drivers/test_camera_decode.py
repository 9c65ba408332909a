"""Reading codes out of pictures: made by others, and by us in the colours and light that are hard."""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import segno

from drivers.scanners.camera import decode
from drivers.scanners.camera.decode import SIDE_MAX, Code, Decoder

DATA = Path(os.environ.get("GATE_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data") / "qr"
READ_RATE_MIN = 0.9  # of each set; measured 0.94 (qrcode-2) and 1.0 (qrcode-5)
CHARSETS = ("utf-8", "shift_jis", "cp932", "gb18030", "iso-8859-1")
YELLOW = (0, 195, 255)  # #FFC300 in BGR, the yellow of health codes


def photographs(name: str) -> list[Path]:
    if not (DATA / name).is_dir():
        reason = f"{DATA / name} is not there: set GATE_TEST_DATA to the folder of shared test data"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return sorted((DATA / name).glob("*.png"))


def frame(payload: bytes | str, dark: tuple[int, int, int] = (0, 0, 0), px: int = 5, **more: Any) -> Any:
    """640 x 480 with the code in its middle. `light`: of the screen, 0 to 1; `hall`: grey around it; `blur`: sigma."""
    code = segno.make(payload, error="m", micro=False, **more.pop("segno", {}))
    modules = np.array([list(row) for row in code.matrix_iter(scale=px, border=4)], bool)
    picture = np.full((480, 640, 3), more.get("hall", 90), np.float32)
    top, left = (480 - len(modules)) // 2, (640 - len(modules)) // 2
    screen = np.where(modules[:, :, None], np.array(dark, np.float32), np.float32(255)) * more.get("light", 1.0)
    picture[top : top + len(modules), left : left + len(modules)] = screen
    noise = np.random.default_rng(1).normal(0, 2, picture.shape)
    return np.clip(cv2.GaussianBlur(picture, (0, 0), more.get("blur", 0.6)) + noise, 0, 255).astype(np.uint8)


def payload_of(code: Code | None) -> bytes | None:
    return code.payload if code else None


@pytest.mark.parametrize("name", ["qrcode-2", "qrcode-5"])
def test_photographs_of_others_are_read_and_never_wrongly(name: str) -> None:
    """Most of zxing's photographs give the text beside them, and none gives another."""
    decoder = Decoder(fallback=False)
    read = wrong = 0
    pictures = photographs(name)
    for path in pictures:
        code = decoder.decode_thoroughly(cv2.imread(str(path)))
        if code is None:
            continue
        expected = path.with_suffix(".txt").read_bytes().decode()
        # The texts are UTF-8; many of the codes hold the same text in a Japanese, Chinese or Western character set.
        same = code.payload in {expected.encode(charset, "replace") for charset in CHARSETS}
        read, wrong = read + same, wrong + (not same)
    assert wrong == 0
    assert read / len(pictures) >= READ_RATE_MIN


@pytest.mark.parametrize(
    "hard",
    [
        pytest.param({"dark": YELLOW, "light": 0.2, "hall": 20}, id="yellow on a dim screen"),
        pytest.param({"dark": YELLOW, "light": 1.0}, id="yellow"),
        pytest.param({"dark": (54, 67, 244), "light": 0.3, "hall": 20}, id="red on a dim screen"),
        pytest.param({"dark": (80, 175, 76), "light": 0.3, "hall": 20}, id="green on a dim screen"),
        pytest.param({"light": 0.3, "hall": 220}, id="black on a dim screen in a bright hall"),
        pytest.param({"px": 2}, id="modules of 2 px"),
        pytest.param({"blur": 2.2}, id="out of focus"),
    ],
)
def test_hard_light_and_colour_are_read_within_six_frames(hard: dict[str, Any]) -> None:
    """The rescues take turns on the frames of one passenger's code; every one had its turn after six."""
    payload = b"https://s.sh.gov.cn/" + b"ab" * 15
    decoder = Decoder(fallback=False)
    seen = [payload_of(decoder.decode(frame(payload, **hard))) for _ in range(6)]
    assert payload in seen
    assert set(seen) <= {payload, None}
    assert payload_of(decoder.decode_thoroughly(frame(payload, **hard))) == payload


@pytest.mark.parametrize(
    ("needed", "hard"),
    [
        pytest.param("stretched", {"dark": YELLOW, "light": 0.06, "hall": 20}, id="yellow, very dim"),
        pytest.param("sharpened", {"px": 3, "blur": 2, "hall": 20}, id="small and out of focus"),
        pytest.param("evened", {"dark": YELLOW, "light": 0.3, "hall": 220}, id="yellow, dim, bright hall"),
        pytest.param("doubled", {"dark": YELLOW, "px": 2, "blur": 1.2}, id="yellow, modules of 2 px"),
        pytest.param("squared", {"dark": (200, 200, 200), "px": 2}, id="pale, modules of 2 px"),
    ],
)
def test_each_rescue_reads_what_no_other_look_does(needed: str, hard: dict[str, Any]) -> None:
    """Every rescue earns its time: without it this picture is not read, with all of them it is."""
    picture = frame(b"https://s.sh.gov.cn/" + b"ab" * 15, **hard)
    looks = {rescue.__name__: decode._zxing(rescue(picture)) for rescue in decode.PREPARATIONS}
    assert decode._zxing(picture) is None
    assert [name for name, code in looks.items() if code] == [needed]
    assert Decoder(fallback=False).decode_thoroughly(picture) == looks[needed]


@pytest.mark.parametrize("payload", [bytes(range(256)), bytes(range(256))[::-1] * 4, b"\0" * 40, b"\xff\xfe\n\r\t"])
def test_binary_codes_come_out_unchanged(payload: bytes) -> None:
    """Every byte value, also NUL and line ends."""
    assert Decoder(fallback=True).decode(frame(payload, px=3)) == Code(payload)


def test_chinese_text_comes_with_the_encoding_that_the_symbol_declares() -> None:
    """GB 18030 is believed only when the symbol says so; otherwise the bytes pass as they are."""
    decoder, text = Decoder(fallback=False), "健康码已核验"
    declared = decoder.decode(frame(text, segno={"encoding": "gb18030", "eci": True}))
    silent = decoder.decode(frame(text, segno={"encoding": "gb18030"}))
    unicode = decoder.decode(frame(text, segno={"encoding": "utf-8"}))
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
