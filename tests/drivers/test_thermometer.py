"""Thermometer modules: the makers' own frames, however they arrive; and what a module on a real port leads to."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.contract import DeviceFault, MeasuredAt, Temperature
from drivers.simulated.ports import PtyPort
from drivers.simulated.serial_thermometer import SimulatedThermometer
from drivers.thermometers.serial.codec import AA55, FIVE_A, Dialect, Frames, is_person, register_dialect
from tests.drivers.prompt_bench import at_work

REGISTER = register_dialect(0xA4)
BODY, FOREHEAD = MeasuredAt.BODY, MeasuredAt.FOREHEAD
Read = list[Temperature | None]


def whole(dialect: Dialect, data: bytes) -> Read:
    return Frames(dialect).feed(data)


def byte_by_byte(dialect: Dialect, data: bytes) -> Read:
    frames = Frames(dialect)
    return [one for at in range(len(data)) for one in frames.feed(data[at : at + 1])]


def with_bytes_following(dialect: Dialect, data: bytes) -> Read:
    return Frames(dialect).feed(data + data[:3])


ARRIVALS = (whole, byte_by_byte, with_bytes_following)
# Each from the page that drivers/thermometers/serial/codec.py names; the register module's whole frame is made here.
VECTORS = [
    (FIVE_A, "5A5A45040C780D19A7", Temperature(31.92, FOREHEAD)),
    (AA55, "AA5506240730", Temperature(36.7, BODY)),
    (REGISTER, "A4030707610E100AF00EAAE6", Temperature(37.54, BODY)),
    (REGISTER, "A40308020E10CF", Temperature(36.0, FOREHEAD)),
    (REGISTER, "A4060301AE", None),
    (FIVE_A, "5A5A4504FF9C0D19BE", Temperature(-1.0, FOREHEAD)),
]


@pytest.mark.parametrize("arrives", ARRIVALS)
@pytest.mark.parametrize(("dialect", "frame", "expected"), VECTORS, ids=[frame for _, frame, _ in VECTORS])
def test_the_makers_frames_are_read(
    arrives: Callable[[Dialect, bytes], Read], dialect: Dialect, frame: str, expected: Temperature | None
) -> None:
    """Whole, byte by byte, with bytes following."""
    assert arrives(dialect, bytes.fromhex(frame)) == [expected]


@pytest.mark.parametrize(("dialect", "frame", "expected"), VECTORS[:3], ids=["5a5a45", "aa55", "register"])
def test_an_altered_frame_is_no_temperature(dialect: Dialect, frame: str, expected: Temperature) -> None:
    """Whichever byte is altered, nothing is read of it, and the frame behind it is."""
    good = bytes.fromhex(frame)
    for at in range(len(good)):
        bad = good[:at] + bytes([good[at] ^ 0x01]) + good[at + 1 :]
        assert whole(dialect, bad + good * 3)[-1] == expected
        assert len(whole(dialect, bad + good * 3)) <= 3


def test_the_question_is_that_of_the_page() -> None:
    """A5 15 BA asks a 5A5A45 module; registers 07 to 0D are asked of the other; AA55 is not asked."""
    assert (FIVE_A.ask.hex(), REGISTER.ask.hex(), AA55.ask) == ("a515ba", "a4030707b5", b"")


@pytest.mark.parametrize(("celsius", "person"), [(31.99, False), (32.0, True), (36.6, True), (42.9, True), (43, False)])
def test_only_what_a_person_can_be_is_a_person(celsius: float, person: bool) -> None:
    """A wall and a cup of tea are nobody."""
    assert is_person(celsius) is person


@pytest.mark.parametrize("protocol", ["5a5a45", "aa55", "register"])
def test_who_stands_before_it_is_told_and_a_wall_is_not(tmp_path: Path, protocol: str) -> None:
    """A wall of 24 degrees: up, and no temperature; then somebody's, to a tenth."""

    async def story() -> None:
        module = SimulatedThermometer(protocol, 24.0, every_s=0.05)
        async with (
            PtyPort(tmp_path / "warm", module.session) as port,
            at_work("serial-thermometer", port=port.spec, protocol=protocol, poll_ms=100) as bench,
        ):
            await bench.until_up()
            module.celsius = 36.6
            await bench.until(lambda: len(bench.said) >= 2)
            told = bench.said[1]
            assert isinstance(told, Temperature)
            assert told.celsius == pytest.approx(36.6, abs=0.05)
            assert told.kind is (FOREHEAD if protocol == "5a5a45" else BODY)

    asyncio.run(story())


def test_the_site_s_calibration_makes_a_body_of_a_forehead(tmp_path: Path) -> None:
    """With forehead_to_body_c a reading is the body's, so much warmer."""

    async def story() -> None:
        module = SimulatedThermometer(celsius=36.0)
        async with (
            PtyPort(tmp_path / "warm", module.session) as port,
            at_work("serial-thermometer", port=port.spec, forehead_to_body_c=0.8, poll_ms=100) as bench,
        ):
            await bench.until(lambda: len(bench.said) >= 2)
            assert bench.said[1] == Temperature(36.8, BODY)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("silent", "protocol", "fault"),
    [(True, "5a5a45", DeviceFault.NO_ANSWER), (False, "aa55", DeviceFault.PROTOCOL_ERROR)],
)
def test_silence_and_another_module_s_frames_are_told_apart(
    tmp_path: Path, silent: bool, protocol: str, fault: DeviceFault
) -> None:
    """Nothing for 1.5 s: no answer. Frames of another kind: the wrong protocol is set."""

    async def story() -> None:
        module = SimulatedThermometer(protocol, every_s=0.05)
        module.silent = silent
        async with (
            PtyPort(tmp_path / "warm", module.session) as port,
            at_work("serial-thermometer", port=port.spec) as bench,
        ):
            assert (await bench.until_down()).fault is fault
            assert len(bench.said) == 1

    asyncio.run(story())
