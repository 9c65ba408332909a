"""An OSDP reader's lamp and buzzer: told by colour, rhythm and beeps, beside the reader's cards, and never for ever."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import osdp
import pytest

from drivers import registry
from drivers.contract import DeviceFault, Sign
from drivers.prompts.osdp_lamp.codec import COLOURS, LASTS_UNITS, UNIT_MS, Lamp
from drivers.prompts.osdp_lamp.device import AGAIN_S
from drivers.readers.osdp.codec import Frames
from drivers.simulated.osdp import LEDS, SimulatedOsdp, wiegand26
from drivers.simulated.ports import PtyPort
from tests.drivers.osdp import KEY, OTHER_KEY, Bench, driven, key_file, shared_line

PROVES = [("osdp-lamp", "libosdp PD")]  # the simulated device is osdp.PeripheralDevice's own C code
GREEN, AMBER, RED = (COLOURS["green"], 1, 0), (COLOURS["amber"], 5, 5), (COLOURS["red"], 2, 2)
DARK = (0, 0, 0)
SIGNS = (Sign.GO, Sign.STAFF, Sign.NO)


def _lamp(**given: object) -> Lamp:
    info = registry.driver("osdp-lamp")
    return Lamp.of(registry.check_settings(info, {"port": "x", **given}))


# --- what is told --------------------------------------------------------------------------------------------------


def test_signs_differ_by_more_than_colour() -> None:
    """Whoever sees no colours has the rhythm, whoever sees nothing the beeps: each is another for each sign."""
    looks = [_lamp().show(sign) for sign in SIGNS]
    beeps = [_lamp().beep(sign) for sign in SIGNS]
    rhythms = {(look["on_count"], look["off_count"]) for look in looks}
    sounds = {beep["rep_count"] for beep in beeps if beep}
    assert (len({look["on_color"] for look in looks}), len(rhythms), len(sounds)) == (3, 3, 3)
    assert _lamp().beep(Sign.READY) is None
    assert [_lamp(buzzer=False).beep(sign) for sign in SIGNS] == [None] * 3


def test_a_sign_is_told_again_before_it_ends() -> None:
    """Twice at least; and it ends, so that nothing shines on for a lane that nobody runs."""
    for sign in SIGNS:
        look = _lamp().show(sign)
        assert look["temporary"]
        assert look["timer_count"] == LASTS_UNITS
        assert 2 * AGAIN_S < look["timer_count"] * UNIT_MS / 1000 < 5
    assert not _lamp().at_rest()["temporary"]


def test_the_frames_are_those_of_the_standard(tmp_path: Path) -> None:
    """What stands on the line, byte for byte: LED control (69) of 14 bytes, buzzer control (6A) of 5."""
    heard = Frames()
    told: list[tuple[int, bytes]] = []

    async def story() -> None:
        reader = SimulatedOsdp()

        async def session(stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ear = asyncio.StreamReader()
            serving = asyncio.create_task(reader.session(ear, writer))
            try:
                while data := await stream.read(256):
                    told.extend((frame.code, frame.raw) for frame in heard.feed(data) if not frame.reply)
                    ear.feed_data(data)
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

        settings = {"ready_colour": "blue", "reader_number": 1, "led_number": 2}
        async with PtyPort(tmp_path / "port", session) as port, driven(port.spec, "osdp-lamp", **settings) as bench:
            await bench.up()
            bench.device.show(Sign.NO)
            await bench.until(lambda: len(reader.beeps) == 1)

    asyncio.run(story())
    led = [raw[6:20].hex(" ") for code, raw in told if code == 0x69]
    beep = [raw[6:11].hex(" ") for code, raw in told if code == 0x6A]
    # reader, lamp, temporary: code, on, off, colour on, colour off, timer (2); permanent: code, on, off, colours
    assert "01 02 00 00 00 00 00 00 00 01 01 00 04 04" in led
    assert "01 02 02 02 02 01 00 1e 00 00 00 00 00 00" in led
    assert beep == ["01 02 02 02 03"]  # reader, tone, on, off, count


# --- at work --------------------------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def _lit(folder: Path, reader: SimulatedOsdp, **settings: object) -> AsyncIterator[tuple[Bench, PtyPort]]:
    async with PtyPort(folder / "port", reader.session) as port, driven(port.spec, "osdp-lamp", **settings) as bench:
        await bench.up()
        yield bench, port


async def _beeps(bench: Bench, reader: SimulatedOsdp, sign: Sign, count: int) -> None:
    """The sign is shown and calls once; on a busy machine the line may fail just then, and that beep is lost."""
    for _ in range(3):
        before = len(reader.beeps)
        bench.device.show(Sign.READY)
        bench.device.show(sign)
        with contextlib.suppress(TimeoutError):
            await bench.until(lambda before=before: len(reader.beeps) > before, 3.0)  # type: ignore[misc]
            assert [beep["rep_count"] for beep in reader.beeps[before:]] == [count]
            return
    pytest.fail(f"no beep for {sign}")


@pytest.mark.parametrize("secure", [True, False], ids=["secure channel", "plain"])
def test_the_lamp_follows_the_sign_and_beeps_once_a_change(tmp_path: Path, secure: bool) -> None:
    """Each sign in its look, READY dark; told again without a beep; dark at the latest three seconds after we left."""

    async def story() -> None:
        reader = SimulatedOsdp(key=KEY if secure else None)
        async with PtyPort(tmp_path / "port", reader.session) as port:
            settings = {"scbk_file": key_file(tmp_path)} if secure else {}
            async with driven(port.spec, "osdp-lamp", **settings) as bench:
                await bench.up()
                for sign, look, beeps in zip(SIGNS, (GREEN, AMBER, RED), (1, 2, 3), strict=True):
                    await _beeps(bench, reader, sign, beeps)
                    await bench.until(lambda look=look: reader.lamp() == look)  # type: ignore[misc]
                bench.device.show(Sign.READY)
                await bench.until(lambda: reader.lamp()[0] == 0)
                await _beeps(bench, reader, Sign.GO, 1)
                told, heard = len(reader.leds), len(reader.beeps)
                await bench.until(lambda: len(reader.leds) >= told + 2)  # it is told again, twice
                assert reader.lamp() == GREEN
                assert len(reader.beeps) == heard
            assert reader.lamp() == GREEN
            await bench.until(lambda: reader.lamp() == (0, 1, 0), LASTS_UNITS * UNIT_MS / 1000 + 1)

    asyncio.run(story())


def test_a_reader_that_was_away_shows_the_sign_again_and_does_not_beep(tmp_path: Path) -> None:
    """A sign is a state and still true; a beep of long ago would call the next passenger."""

    async def story() -> None:
        reader = SimulatedOsdp()
        async with _lit(tmp_path, reader, ready_colour="blue") as (bench, _):
            bench.device.show(Sign.GO)
            await bench.until(lambda: reader.lamp() == GREEN)
            reader.knobs.silent = True
            assert (await bench.down()).fault is DeviceFault.NO_ANSWER
            bench.device.show(Sign.NO)
            beeps = len(reader.beeps)
            reader.knobs.silent = False
            reader.restart()
            await bench.up(2, 2.0)
            await bench.until(lambda: reader.lamp() == RED)
            await asyncio.sleep(AGAIN_S + 0.2)  # the next telling: by then a beep would have come
            assert len(reader.beeps) == beeps
            bench.device.show(Sign.READY)
            await bench.until(lambda: reader.lamp()[0] == COLOURS["blue"])

    asyncio.run(story())


def test_a_reader_without_a_lamp_is_said_once(tmp_path: Path) -> None:
    """It refuses the command: Down with what to look for, and it is not told every second what it cannot do."""

    async def story() -> None:
        reader = SimulatedOsdp()
        settings = {"led_number": LEDS}  # they are counted from 0
        async with (
            PtyPort(tmp_path / "port", reader.session) as port,
            driven(port.spec, "osdp-lamp", **settings) as bench,
        ):
            text = f"refuses lamp {LEDS} of reader 0"
            await bench.until(lambda: any(text in down.detail for down in bench.downs))
            assert bench.downs[-1].fault is DeviceFault.PROTOCOL_ERROR
            said = len(bench.states)
            await asyncio.sleep(AGAIN_S + 0.2)
            assert len(bench.states) == said

    asyncio.run(story())


# --- beside the reader -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", list(itertools.permutations(("osdp", "osdp-lamp"))), ids=" then ".join)
def test_reader_and_lamp_share_one_unit_whichever_comes_first(tmp_path: Path, order: tuple[str, str]) -> None:
    """Both are up, cards are read while the lamp shows, and either goes on when the other has left."""

    async def story() -> None:
        reader = SimulatedOsdp()
        async with PtyPort(tmp_path / "port", reader.session) as port:
            async with driven(port.spec, order[0]) as first:
                await first.up()
                async with driven(port.spec, order[1]) as second:
                    await second.up()
                    cards, lamp = (first, second) if order[0] == "osdp" else (second, first)
                    lamp.device.show(Sign.GO)
                    reader.present(26, wiegand26(77))
                    await cards.until(lambda: cards.numbers == ["77"] and reader.lamp() == GREEN)
                    assert lamp.numbers == []
                if order[0] == "osdp":
                    reader.present(26, wiegand26(78))
                    await first.until(lambda: first.numbers == ["77", "78"])
                else:
                    first.device.show(Sign.NO)
                    await first.until(lambda: reader.lamp() == RED)
            assert reader.sessions == 1

    asyncio.run(story())


def test_the_lamps_of_two_readers_on_one_line_show_their_own_signs(tmp_path: Path) -> None:
    """Four devices of ours, two units, one port; a second lamp of one unit is refused by what to do."""

    async def story() -> None:
        left, right = SimulatedOsdp(1), SimulatedOsdp(2)
        async with PtyPort(tmp_path / "port", shared_line(left, right)) as port, contextlib.AsyncExitStack() as stack:
            lamps, readers = [], []
            for unit in (1, 2):
                readers.append(await stack.enter_async_context(driven(port.spec, unit=unit)))
                lamps.append(await stack.enter_async_context(driven(port.spec, "osdp-lamp", reader_unit=unit)))
            for bench in (*lamps, *readers):
                await bench.up()
            lamps[0].device.show(Sign.GO)
            lamps[1].device.show(Sign.NO)
            await lamps[1].until(lambda: (left.lamp(), right.lamp()) == (GREEN, RED))
            async with driven(port.spec, "osdp-lamp", reader_unit=2) as third:
                down = await third.down()
            assert (down.fault, "own unit" in down.detail) == (DeviceFault.PORT_BUSY, True)

    asyncio.run(story())


def test_reader_and_lamp_need_the_same_key(tmp_path: Path) -> None:
    """Two keys for one device cannot both be right."""

    async def story() -> None:
        reader = SimulatedOsdp(key=KEY)
        files = key_file(tmp_path), key_file(tmp_path, OTHER_KEY, name="other")
        async with PtyPort(tmp_path / "port", reader.session) as port, driven(port.spec, scbk_file=files[0]) as cards:
            await cards.up()
            async with driven(port.spec, "osdp-lamp", scbk_file=files[1]) as lamp:
                down = await lamp.down()
            assert (down.fault, "scbk_file" in down.detail) == (DeviceFault.PORT_BUSY, True)
            async with driven(port.spec, "osdp-lamp", scbk_file=files[0]) as lamp:
                await lamp.up()

    asyncio.run(story())


def test_the_simulated_device_is_libosdps_own() -> None:
    """What the lamp is proved by is the code behind osdp.PeripheralDevice."""
    reader = SimulatedOsdp()
    assert reader._library is osdp.peripheral_device.osdp_sys
