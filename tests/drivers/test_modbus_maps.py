"""Board maps and controller profiles: the shipped files, a station's own, and what does not fit together."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Direction
from drivers.registry import SettingError
from drivers.simulated.relay_board import crc16
from drivers.turnstiles.modbus.codec import BoardMap, RegisterWrite
from drivers.turnstiles.modbus.maps import FILE_BYTES_MAX, resolved, shipped

INFO = registry.driver("modbus-relay")
OWN = 'sentence = "Ours."\nsource = "The cabinet\'s drawing."\n'
BY_STOP = {"perco-st01", "perco-tripod", "perco-ttr10a", "idtronic"}


def settings(**given: object) -> dict[str, Any]:
    return resolved(registry.check_settings(INFO, {"port": "/dev/x", **given}))


def frame(unit: int, given: dict[str, Any], relay: int, length_s: float | None, on: bool = True) -> bytes:
    """The RTU frame of a timed pulse, or of a coil without a length."""
    board = BoardMap.of(given)
    write = board.coil(relay, on) if length_s is None else board.timed_pulse(relay, length_s)
    body = bytes([unit, 5]) + write.address.to_bytes(2, "big")
    if isinstance(write, RegisterWrite):
        values = b"".join(value.to_bytes(2, "big") for value in write.values)
        body = bytes([unit, 16]) + write.address.to_bytes(2, "big") + b"\x00\x02\x04" + values
    else:
        body += write.value.to_bytes(2, "big")
    return body + crc16(body).to_bytes(2, "little")


def test_the_choices_are_the_files() -> None:
    """Every shipped map can be named and every name has its file; each says what it is of and where that stands."""
    assert set(INFO.settings["board"].choices) == set(shipped("boards"))
    assert set(INFO.settings["profile"].choices) == {"none", *shipped("profiles")}
    for kind in ("boards", "profiles"):
        for each in shipped(kind).values():
            assert each.sentence.endswith(".")
            assert each.source


def test_the_files_travel_with_the_driver() -> None:
    """They are read as the package's resources, not from a path of the source tree."""
    folder = resources.files("drivers.turnstiles.modbus").joinpath("boards")
    assert {entry.name for entry in folder.iterdir()} >= {"waveshare-v2.toml", "lc-tech-8r.toml"}


@pytest.mark.parametrize(
    ("board", "unit", "relay", "length_s", "expected"),
    [
        ("waveshare-v2", 1, 0, 0.7, "010502000007 8DB0"),  # devices.md 3.3
        ("lc-tech-8r", 1, 0, 2.0, "01100003000204 0004 0014 F274"),  # a user's program for the board
        ("lc-tech-8r", 0xFE, 0, 1.0, "FE100003000204 0004 000A 416B"),
        ("lc-tech-8r", 0xFE, 1, 1.0, "FE100008000204 0004 000A 00D8"),
        ("lc-tech-8r", 0xFE, 3, 1.0, "FE100012000204 0004 000A 81AB"),
        ("value-0100", 1, 1, None, "010500010100 9D9A"),  # devices.md 3.3
        ("plain", 1, 0, None, "01050000FF00 8C3A"),
    ],
)
def test_a_board_s_frame_is_the_published_one(
    board: str, unit: int, relay: int, length_s: float | None, expected: str
) -> None:
    """Byte for byte, the checksum too."""
    given = settings(board=board, release_coil=relay)
    assert frame(unit, given, relay, length_s) == bytes.fromhex(expected)


def test_off_is_off_on_every_board() -> None:
    """`01 05 00 01 00 00 9C 0A` also where on is 0100."""
    for board in shipped("boards"):
        given = settings(board=board, release_coil=1)
        assert frame(1, given, 1, None, on=False) == bytes.fromhex("0105000100009C0A")


def test_without_a_board_nothing_has_changed() -> None:
    """What a station file of before the maps means, it means still."""
    given = settings()
    assert (given["pulse"], given["pulse_base"], given["on_value"], given["pulse_ms"]) == ("auto", 0x200, 0xFF00, 300)
    assert (given["control"], given["hold"], given["passage_wait_s"]) == ("pulse", "level", 0.0)
    levels = {key: value for key, value in given.items() if key.endswith("_active")}
    assert {key for key, value in levels.items() if value == "low"} == {"fire_active"}


def test_the_station_file_goes_before_profile_before_board(tmp_path: Path) -> None:
    """Each says what it knows; who is nearer to the wires has the last word."""
    own = tmp_path / "own.toml"
    own.write_text(f'{OWN}[settings]\npulse = "coil"\npulse_ms = 500\non_value = 256\npassed_active = "high"\n')
    given = settings(board_file=str(own), profile="tiso-jetpan", on_value=512)
    assert (given["pulse"], given["pulse_ms"], given["on_value"]) == ("coil", 300, 512)
    ttr = settings(board_file=str(own), profile="perco-ttr10a", stop_coil=2, passed_exit_active="high")
    assert (ttr["passed_active"], ttr["passed_exit_active"]) == ("low", "high")


@pytest.mark.parametrize("name", sorted(shipped("profiles")))
def test_a_profile_s_release_pulse_and_wait_are_its_manual_s(name: str) -> None:
    """At least 100 ms, waits of 5 or 8 s; a controller held by Stop says so until its wire or another one is named."""
    wired = {"stop_coil": 3} if name in BY_STOP else {}
    given = settings(profile=name, **wired)
    assert given["pulse_ms"] >= 100
    assert given["passage_wait_s"] in (5.0, 8.0)
    assert given["fire_active"] == "low", "a cut fire loop is a fire"
    assert BoardMap.of(given).held_by_stop is (name in BY_STOP)
    if name in BY_STOP:
        with pytest.raises(SettingError, match="Stop input") as caught:
            settings(profile=name)
        assert caught.value.key == "stop_coil"
        assert not BoardMap.of(settings(profile=name, hold_coil=3)).held_by_stop


def test_both_directions_have_their_unlock_and_their_hold() -> None:
    """By potential a hold is both unlocks; with a relay for holding it is that one."""
    board = BoardMap.of(settings(control="potential", passed_input=0, release_exit_coil=1))
    assert board.release == {Direction.ENTRY: 0, Direction.EXIT: 1}
    assert board.holds == (0, 1)
    assert BoardMap.of(settings(release_exit_coil=1)).holds == (0,)
    assert BoardMap.of(settings(release_exit_coil=1, hold_coil=4)).holds == (4,)


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"board": "value-0100"}, "release_coil", "relays 1 to 8"),
        ({"board": "lc-tech-8r", "release_exit_coil": 8}, "release_exit_coil", "relays 0 to 7"),
        ({"stop_coil": 0}, "stop_coil", "release_coil"),
        ({"stop_coil": 2, "hold_coil": 2}, "stop_coil", "hold_coil"),
        ({"control": "potential"}, "control", "passed_input"),
        ({"board": "waveshar"}, "board", "waveshare-v2"),
        ({"profile": "perco"}, "profile", "perco-st01"),
        ({"pulse_ms": 90}, "pulse_ms", "100"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(given: dict[str, object], key: str, words: str) -> None:
    """The setting, what is wrong and what is allowed."""
    with pytest.raises(SettingError, match=words) as caught:
        settings(**given)
    assert caught.value.key == key


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sentence = ", "not TOML"),
        ('sentence = "x"', "lacks source"),
        (f"{OWN}relay = 3\n", "'relay'"),
        (f"{OWN}relays = [3]\n", "first, last"),
        (f"{OWN}relays = [3, 300]\n", "first, last"),
        (f"{OWN}settings = 3\n", "must be a table"),
        (f'{OWN}[settings]\nport = "x"\n', "without port"),
        (f"{OWN}[settings]\non_valu = 3\n", "on_value"),
        (f'{OWN}[settings]\npulse = "never"\n', "settings.pulse"),
        ("#" * (FILE_BYTES_MAX + 1), "larger"),
        (b"\xff", "UTF-8"),
        (None, "No such file"),
    ],
)
def test_a_map_of_the_station_s_own_is_checked(tmp_path: Path, text: str | bytes | None, words: str) -> None:
    """The file, the place inside it, and what is allowed."""
    path = tmp_path / "own.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SettingError, match=words) as caught:
        settings(board_file=str(path))
    assert caught.value.key == "board_file"
    assert str(path) in str(caught.value)


def test_a_map_knows_only_settings_of_the_driver() -> None:
    """The shipped ones too, with the driver's own bounds."""
    for kind in ("boards", "profiles"):
        for entry in resources.files("drivers.turnstiles.modbus").joinpath(kind).iterdir():
            raw = tomllib.loads(entry.read_text("utf-8"))
            assert registry.check_settings(INFO, {"port": "x", **raw["settings"]})
