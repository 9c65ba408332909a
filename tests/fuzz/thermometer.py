"""Frames of thermometer modules: however bytes are cut the same readings come out, and each is one that was sent."""

from drivers.contract import MeasuredAt
from drivers.thermometers.serial import codec
from drivers.thermometers.serial.codec import AA55, FIVE_A, Dialect, Frames, is_person, register_dialect
from tests.fuzz.mutate import altered

REACHES = codec
REGISTER = register_dialect(0xA4)
FRAMES: tuple[tuple[Dialect, tuple[bytes, ...]], ...] = (
    (FIVE_A, (bytes.fromhex("5A5A45040C780D19A7"),)),
    (AA55, (bytes.fromhex("AA5506240730"), bytes.fromhex("AA5506240B34"))),
    (REGISTER, (bytes.fromhex("A4030707610E100AF00EAAE6"), bytes.fromhex("A4060301AE"), bytes.fromhex("A403010106AF"))),
)
LONGEST = 21  # an ID, 03, 00, 10, sixteen registers and a sum


def fuzz(data: bytes) -> None:
    for dialect, frames in FRAMES:
        _read(dialect, frames[0], data)
        _read(dialect, frames[0], altered([*frames, frames[0] * 2], data) + data)


def _read(dialect: Dialect, good: bytes, data: bytes) -> None:
    whole, cut = Frames(dialect), Frames(dialect)
    found = whole.feed(data)
    assert found == [one for at in range(len(data)) for one in cut.feed(data[at : at + 1])]
    assert len(found) <= len(data) // 5
    for one in found:
        assert one is None or (-328 <= one.celsius <= 328 and one.kind in MeasuredAt)
        assert one is None or is_person(one.celsius) or one.celsius < 32 or one.celsius > 42.9
    whole.silence()
    assert whole.feed(good) == Frames(dialect).feed(good) != []
    # Without a silence too, the next frames are read once at most one length of rubbish was thrown away.
    assert Frames(dialect).feed(good)[0] in cut.feed(good * (LONGEST // len(good) + 3))
