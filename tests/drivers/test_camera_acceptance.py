"""Issue 5, "QR by camera": how many codes are read, of others' photographs and of coloured codes in hard light.

What it costs is measured in tests/bench/qr.py, with three times as many coloured codes.
"""

import os

import pytest

from drivers.scanners.camera.decode import Decoder
from tests.support.engines import ENGINES
from tests.support.pictures import COLOURS, CONDITIONS, DATA, SETS, coloured, photographs

PHOTOGRAPHS = 216  # 54 in four rotations
CODES = 2  # of each colour in each condition
COLOURED_READ_MIN = 0.99  # of those that are read in black


@pytest.fixture
def _photographs() -> None:
    if not all((DATA / name).is_dir() for name in SETS):
        reason = f"{DATA} is not there: set GATE_TEST_DATA to the folder of shared test data"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)


@pytest.mark.usefixtures("_photographs")
def test_more_photographs_are_read_than_by_any_engine_alone_and_none_wrongly() -> None:
    """Of zxing's photographs in four rotations; zxing-cpp, zbar and OpenCV read the same pictures here and now."""
    decoder = Decoder(fallback=True)
    theirs, ours, wrong, seen = dict.fromkeys(ENGINES, 0), 0, 0, 0
    for picture, payloads in photographs():
        seen += 1
        for name, read in ENGINES.items():
            theirs[name] += read(picture) in payloads
        code = decoder.decode_thoroughly(picture)
        ours += code is not None and code.payload in payloads
        wrong += code is not None and code.payload not in payloads
    assert seen == PHOTOGRAPHS
    assert wrong == 0
    assert ours > max(theirs.values()), theirs


def test_coloured_codes_are_read_wherever_black_ones_are() -> None:
    """Dim, washed, blurred, tilted and small; the same code, light and grain in seven colours and in black."""
    decoder = Decoder(fallback=False)
    black, read = 0, dict.fromkeys(COLOURS, 0)
    black_is_read = False
    for _, colour, text, frame in coloured(CODES):
        code = decoder.decode_thoroughly(frame)
        right = code is not None and code.payload == text
        if colour == "black":
            black_is_read = right
            black += right
        else:
            read[colour] += right and black_is_read
    assert black == CODES * len(CONDITIONS), "a condition in which black is unreadable claims nothing of the colours"
    assert sum(read.values()) / (black * len(COLOURS)) >= COLOURED_READ_MIN, read
