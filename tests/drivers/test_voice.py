"""Voice modules: frames byte for byte, one prompt at a time, and none said when it is no longer true."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers import registry
from drivers.contract import DeviceFault
from drivers.prompts import newest as newest_module
from drivers.prompts.newest import Newest
from drivers.prompts.voice.codec import PROFILES, Frames, Heard, Profile
from drivers.prompts.wave.codec import Track, parse_tracks
from drivers.simulated.ports import PtyPort
from drivers.simulated.voice_module import SimulatedVoice
from tests.drivers.prompt_bench import at_work

AA, DF, SHORT = PROFILES["dfr0534"], PROFILES["dfplayer"], PROFILES["dfplayer-short"]
# DFRobot's wiki of DFR0534; a table of the DFPlayer's commands with and without checksum; devices.md 7.6.
SENT = [
    (AA.play_track(8), "AA07020008BB"),
    (AA.play_track(244), "AA070200F4A7"),
    (AA.set_volume(20), "AA130114D2"),
    (AA.ask_state(), "AA0100AB"),
    (DF.play_track(1), "7EFF0612000001FEE8EF"),
    (DF.play_track(255), "7EFF06120000FFFDEAEF"),
    (DF.set_volume(15), "7EFF060600000FFEE6EF"),
    (DF.ask_state(), "7EFF0642000000FEB9EF"),
    (SHORT.play_track(1), "7EFF0612000001EF"),
    (SHORT.play_track(0x7CF), "7EFF06120007CFEF"),
]


@pytest.mark.parametrize(("frame", "expected"), SENT, ids=[expected for _, expected in SENT])
def test_commands_are_those_of_the_manuals(frame: bytes, expected: str) -> None:
    """Byte for byte."""
    assert frame.hex().upper() == expected


def whole(profile: Profile, data: bytes) -> list[Heard]:
    return Frames(profile).feed(data)


def byte_by_byte(profile: Profile, data: bytes) -> list[Heard]:
    frames = Frames(profile)
    return [one for at in range(len(data)) for one in frames.feed(data[at : at + 1])]


def with_bytes_following(profile: Profile, data: bytes) -> list[Heard]:
    return Frames(profile).feed(data + data[:3])


@pytest.mark.parametrize("arrives", [whole, byte_by_byte, with_bytes_following])
@pytest.mark.parametrize(
    ("profile", "frame", "heard"),
    [
        (AA, "AA010101AD", Heard(1, 1)),
        (DF, "7EFF0642000001FEB8EF", Heard(0x42, 1)),
        (DF, "7EFF063D000002FEBCEF", Heard(0x3D, 2)),
        (DF, "7EFF0640000000FEBBEF", Heard(0x40, 0)),
        (DF, "7EFF0642000001EF", Heard(0x42, 1)),
        (SHORT, "7EFF0642000001FEB8EF", Heard(0x42, 1)),
    ],
)
def test_answers_are_read_however_they_arrive(
    arrives: Callable[[Profile, bytes], list[Heard]], profile: Profile, frame: str, heard: Heard
) -> None:
    """Whole, byte by byte, with bytes following; with noise before."""
    data = bytes.fromhex(frame)
    assert arrives(profile, data) == [heard]
    assert arrives(profile, b"\x00\x7e\xaa" + data)[-1:] == [heard] or profile is AA  # AA 7E there begins a long frame


@pytest.mark.parametrize("name", PROFILES)
def test_a_reason_becomes_its_track_at_the_volume_that_is_set(tmp_path: Path, name: str) -> None:
    """The volume first, then the shipped number of the reason; a reason without a track says nothing."""

    async def story() -> None:
        voice = SimulatedVoice("dfr0534" if name == "dfr0534" else "dfplayer")
        voice.chatty = True
        async with (
            PtyPort(tmp_path / "voice", voice.session) as port,
            at_work("voice-module", port=port.spec, profile=name, volume=17) as bench,
        ):
            await bench.until_up()
            bench.device.say("NO_SUCH_REASON")
            bench.device.say("STATUS_RED")
            await voice.wait_played()
            assert (voice.volume, voice.played, voice.unknown) == (17, [3], [])

    asyncio.run(story())


def test_of_two_that_wait_the_newer_is_said() -> None:
    """One place only; and nothing that waited longer than a sign stands."""

    async def story() -> None:
        newest = Newest()
        newest.put("STATUS_GREEN")
        newest.put("STATUS_RED")
        await newest.wait(1.0)
        assert (newest.take(), newest.take()) == ("STATUS_RED", "")
        newest.put("STATUS_RED")
        newest._since_s -= newest_module.LIFE_S + 0.1
        assert newest.take() == ""

    asyncio.run(story())


def test_what_was_said_to_a_dead_module_is_not_said_when_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be taken for the next passenger's."""
    monkeypatch.setattr(newest_module, "LIFE_S", 0.0)

    async def story() -> None:
        voice = SimulatedVoice()
        port = PtyPort(tmp_path / "voice", voice.session)
        async with at_work("voice-module", port=str(tmp_path / "voice")) as bench:
            await bench.until_down()
            bench.device.say("EMERGENCY_OPEN")
            async with port:
                await bench.until_up()
                monkeypatch.setattr(newest_module, "LIFE_S", 3.0)
                bench.device.say("STATUS_RED")
                await voice.wait_played()
                assert voice.played == [3]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("silent", "bad_sum", "fault"), [(True, False, DeviceFault.NO_ANSWER), (False, True, DeviceFault.PROTOCOL_ERROR)]
)
def test_a_silent_module_and_one_that_garbles_are_down(
    tmp_path: Path, silent: bool, bad_sum: bool, fault: DeviceFault
) -> None:
    """Each with its own fault, said once; a busy one (40 00) is up."""

    async def story() -> None:
        voice = SimulatedVoice()
        voice.silent, voice.bad_sum = silent, bad_sum
        async with PtyPort(tmp_path / "voice", voice.session) as port, at_work("voice-module", port=port.spec) as bench:
            assert (await bench.until_down()).fault is fault
        busy = SimulatedVoice("dfplayer")
        busy.busy = True
        async with (
            PtyPort(tmp_path / "busy", busy.session) as port,
            at_work("voice-module", port=port.spec, profile="dfplayer") as bench,
        ):
            await bench.until_up()

    asyncio.run(story())


# --- tracks.csv ------------------------------------------------------------------------------------------------------


def test_a_track_table_is_read_with_and_without_files() -> None:
    """Also as a spreadsheet saves it: with a byte order mark, CR LF and more columns."""
    assert parse_tracks("track,reason\n1,STATUS_GREEN\n") == {"STATUS_GREEN": Track(1)}
    text = '\ufefftrack,file,reason,zh\r\n2,0002.wav,STATUS_RED,"红码, 不能"\r\n'
    assert parse_tracks(text) == {"STATUS_RED": Track(2, "0002.wav")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1"),
        ("track,reason\n", "names no track"),
        ("number,reason\n1,X\n", "line 1: needs the columns"),
        ("track,reason\n0,STATUS_RED\n", "line 2: track must be 1 to 2999"),
        ("track,reason\n3000,STATUS_RED\n", "line 2: track"),
        ("track,reason\n1,red\n", "line 2: reason"),
        ("track,file,reason\n1,../x.wav,STATUS_RED\n", "line 2: file"),
        ("track,reason\n" + "1,STATUS_RED\n" * 501, "not a track table"),
    ],
)
def test_a_wrong_table_says_where(text: str, says: str) -> None:
    """The line and what to do."""
    with pytest.raises(ValueError, match=says):
        parse_tracks(text)


def test_a_table_of_the_site_s_own_is_used_and_a_wrong_one_refused_at_once(tmp_path: Path) -> None:
    """By its absolute path; before anything is opened."""
    info = registry.driver("voice-module")
    path = tmp_path / "tracks.csv"
    for given, says in (("tracks.csv", "not an absolute path"), (str(path), "No such file")):
        with pytest.raises(registry.SettingError, match=says) as caught:
            registry.create("voice-module", registry.check_settings(info, {"port": "x", "tracks": given}))
        assert caught.value.key == "tracks"
    path.write_text("track,reason\n77,STATUS_RED\n")

    async def story() -> None:
        voice = SimulatedVoice()
        async with (
            PtyPort(tmp_path / "voice", voice.session) as port,
            at_work("voice-module", port=port.spec, tracks=str(path)) as bench,
        ):
            await bench.until_up()
            bench.device.say("STATUS_RED")
            assert await voice.wait_played() == 77

    asyncio.run(story())
