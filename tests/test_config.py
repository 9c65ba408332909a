"""station.toml: the contract's own block loads, and everything else that is wrong is refused with place and remedy."""

import grp
import os
import re
from datetime import date
from pathlib import Path

import pytest

from drivers import registry
from gate.config import ConfigError, load, load_lane, parse

# The block of contract.md, word for word.
CONTRACT = """
[station]
id = "hangzhou-east"
region = "330100"                 # GB/T 2260
data_dir = "/var/lib/gate"        # store, journal, keys: 0700
languages = ["zh", "en"]

[clock]
trust = "kernel"                  # kernel: adjtimex must say synchronised | stepped-only: wall against monotonic, 2 s (demo, tests)

[grpc]
listen = ["127.0.0.1:50051"]
operator_socket = "/run/gate/operator.sock"     # one unix socket per role, guarded by mode and group
ticketing_socket = "/run/gate/ticketing.sock"
trust_loopback = false            # true (demo only, warns): plaintext loopback TCP may call everything
# mutual TLS, required for any address that is not loopback; roles by client certificate
# [grpc.tls]
# certificate = "station.crt"
# private_key = "station.key"
# client_ca = "clients.pem"

[metrics]
listen = "127.0.0.1:9464"

[console]
listen = "127.0.0.1:8080"         # any other address needs [console.tls]; without it: refused at start

[journal]
keep_days = 14

[[feed]]
issuer = "AKM"                    # SSM ZJ SKM SCM XKM NGL AKM NATIONAL, or any other named in the rules
source = "dir:/srv/feeds/akm"     # dir: | https: | nats:
public_keys_file = "akm.keys"     # several keys with validity dates; a new one is signed by an old one
pepper_file = "akm.pepper"        # two epochs during a rotation

[policy]
rules_dir = "recognition"         # default: those shipped

[[lane]]
id = "A1"
direction = "entry"               # entry | exit | both
[[lane.device]]
driver = "samv"
port = "/dev/serial/by-id/…"
baud = 115200
[[lane.device]]
driver = "line-scanner"
port = "/dev/ttyACM0"
suffix = "\\r\\n"
[[lane.device]]
driver = "modbus-relay"
port = "tcp:192.168.1.20:502"     # or a serial port
unit = 1
release_coil = 0
passed_input = 0
"""  # noqa: E501 - word for word


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "akm.keys").write_text("{}")
    (tmp_path / "akm.pepper").write_text("{}")
    (tmp_path / "recognition").mkdir()
    return tmp_path


def test_the_contracts_block_loads(folder: Path) -> None:
    """Word for word, with the files it names in place."""
    config = parse(CONTRACT, folder)
    assert config.station_id == "hangzhou-east"
    assert [device.driver for device in config.lanes[0].devices] == ["samv", "line-scanner", "modbus-relay"]
    assert config.lanes[0].devices[2].settings["unit"] == 1
    assert config.feeds[0].source == "dir:/srv/feeds/akm"


@pytest.mark.parametrize(
    ("old", "new", "place", "says"),
    [
        ("keep_days", "keep_day", "journal.keep_day", "did you mean 'keep_days'"),
        ("keep_days = 14", 'keep_days = "14"', "journal.keep_days", "whole number"),
        ("keep_days = 14", "keep_days = 0", "journal.keep_days", "1 to 366"),
        ("keep_days = 14", "keep_days = true", "journal.keep_days", "whole number"),
        ('region = "330100" ', 'region = "3301" ', "station.region", "6 or 12 digits"),
        ('"samv"', '"samw"', "lane[0].device[0].driver", "did you mean 'samv'"),
        ("baud = 115200", "baud = 115201", "lane[0].device[0].baud", "not one of"),
        ("baud = 115200", "bauds = 115200", "lane[0].device[0].bauds", "did you mean 'baud'"),
        ("unit = 1", "unit = 300", "lane[0].device[2].unit", "outside 1 to 247"),
        ('port = "/dev/ttyACM0"\n', "", "lane[0].device[1].port", "missing"),
        ("/dev/ttyACM0", "tcp:192.168.1.20:502", "lane[0].device[2].port", "already used"),
        ('"akm.keys"', '"none.keys"', "feed[0].public_keys_file", "is not there"),
        ('"recognition"', '"nowhere"', "policy.rules_dir", "not a folder"),
        (
            '"dir:/srv',
            '"ftp:/srv',
            "feed[0].source",
            "must be dir:FOLDER, https://HOST/FOLDER/ or nats://HOST:PORT/STREAM",
        ),
        ('"127.0.0.1:8080"', '"0.0.0.0:8080"', "console.listen", "[console.tls]"),
        ('["127.0.0.1:50051"]', '["0.0.0.0:50051"]', "grpc.listen", "[grpc.tls]"),
        ('["127.0.0.1:50051"]', '["nowhere"]', "grpc.listen[0]", "HOST:PORT"),
        ('"entry" ', '"in" ', "lane[0].direction", "'entry', 'exit', 'both'"),
        ('trust = "kernel" ', 'trust = "blind" ', "clock.trust", "stepped-only"),
        ('["zh", "en"]', '["fr"]', "station.languages", "'zh', 'en'"),
        ("[journal]", "[jurnal]", "jurnal", "did you mean 'journal'"),
        ('issuer = "AKM" ', 'issuer = "akm" ', "feed[0].issuer", "capitals"),
        ('region = "330100" ', 'region = "３３０１００" ', "station.region", "6 or 12 digits"),
        ('"127.0.0.1:9464"', '"127.0.0.1:²"', "metrics.listen", "HOST:PORT"),
        ('"127.0.0.1:9464"', '"127.0.0.1:99999"', "metrics.listen", "0-65535"),
        ('"127.0.0.1:9464"', '"::1:9464"', "metrics.listen", "IPv6 host in []"),
        ('"127.0.0.1:9464"', '"127.0.0.1:8080"', "console.listen", "is the place of metrics.listen"),
        ('"127.0.0.1:9464"', '"localhost:50051"', "metrics.listen", "is the place of grpc.listen[0]"),
        ("/run/gate/ticketing.sock", "/run/gate/operator.sock", "grpc.ticketing_socket", "give each listener its own"),
        ("/run/gate/ticketing.sock", "/run/../run/gate/operator.sock", "grpc.ticketing_socket", "grpc.operator_socket"),
        ("/run/gate/ticketing.sock", "", "grpc.ticketing_socket", "must be the path"),
        ("/run/gate/ticketing.sock", "a\\u0000b", "grpc.ticketing_socket", "must be the path"),
        ("trust_loopback = false", 'auditor_group = "root"', "grpc.auditor_group", "give auditor_socket too"),
        ("trust_loopback = false", 'operator_group = "no-such"', "grpc.operator_group", "groupadd"),
        ("[journal]", "[console.tls]\nfoo = 1\n[journal]", "console.tls.certificate", "is missing"),
        ('data_dir = "/var/lib/gate"', 'data_dir = "akm.keys"', "station.data_dir", "is not a folder"),
        ('"akm.keys"', '"recognition"', "feed[0].public_keys_file", "is a folder: give a file"),
        ('"dir:/srv/feeds/akm"', '"dir:akm.keys"', "feed[0].source", "is not a folder"),
        ('"tcp:192.168.1.20:502"', '"tcp:192.168.1.20"', "lane[0].device[2].port", "tcp:HOST:PORT"),
        ('"/dev/ttyACM0"', '""', "lane[0].device[1].port", "give the device's path"),
        ("[[lane]]", "[lane]", "lane", "write each as [[lane]]"),
        ("passed_input = 0", "timeout_ms = nan", "lane[0].device[2].timeout_ms", "not an integer"),
        ('suffix = "\\r\\n"', "same_code_s = nan", "lane[0].device[1].same_code_s", "a number with an end"),
    ],
)
def test_what_is_wrong_is_named_with_place_and_remedy(folder: Path, old: str, new: str, place: str, says: str) -> None:
    """One thing wrong, one error: the path inside the file, and what is allowed."""
    assert old in CONTRACT
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        parse(CONTRACT.replace(old, new, 1), folder)
    assert place in str(caught.value)


def test_two_units_may_share_a_bus_and_two_lanes_may_not_share_an_id(folder: Path) -> None:
    """Same port and another unit address is a bus; the same id twice is a mistake."""
    second = CONTRACT[CONTRACT.index("[[lane]]") :].replace("/dev/", "/dev/other/")
    both = CONTRACT + second.replace('"A1"', '"A2"').replace("unit = 1", "unit = 2")
    assert len(parse(both, folder).lanes) == 2
    with pytest.raises(ConfigError, match="already used"):
        parse(CONTRACT + second.replace('"A1"', '"A2"'), folder)
    with pytest.raises(ConfigError, match="stands twice"):
        parse(CONTRACT + second.replace("unit = 1", "unit = 2"), folder)


LANES = CONTRACT.index("[[lane]]")


def lanes(*devices: str) -> str:
    """The contract's block with lanes of one device each."""
    return CONTRACT[:LANES] + "".join(
        f'[[lane]]\nid = "L{number}"\n[[lane.device]]\n{device}\n' for number, device in enumerate(devices)
    )


def relay(port: str, unit: int = 1, more: str = "") -> str:
    return f'driver = "modbus-relay"\nport = "{port}"\nunit = {unit}\nrelease_coil = 0\npassed_input = 0\n{more}'


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tcp:board.lan:502", "tcp:BOARD.lan:502"),
        ("tcp:board.lan:502", "tcp:board.lan.:0502"),
        ("tcp:localhost:502", "tcp:127.0.0.1:502"),
        ("tcp:[::1]:502", "tcp:[0:0::1]:502"),
        ("reader", "link"),
        ("reader", "./reader"),
    ],
)
def test_one_port_in_two_spellings_is_one_port(one: str, other: str, folder: Path) -> None:
    """A symbolic link, another case, a zero before the number: the same device for two is still refused."""
    (folder / "reader").touch()
    (folder / "link").symlink_to("reader")
    with pytest.raises(ConfigError, match=r"lane\[1\].device\[0\].port.* is already used by lane\[0\]"):
        parse(lanes(relay(one), relay(other)), folder)
    with pytest.raises(ConfigError, match="write both the same"):  # a bus is opened by its name, once
        parse(lanes(relay(one), relay(other, unit=2)), folder)


def test_a_udp_address_is_an_address(folder: Path) -> None:
    """Not a file beside the configuration; two doors of a controller share it, and a wrong one is named."""
    gate = 'driver = "uhppote"\nport = "udp:10.0.0.9:60000"\nunit = '
    config = parse(lanes(gate + "1", gate + "2"), folder)
    assert [lane.devices[0].settings["port"] for lane in config.lanes] == ["udp:10.0.0.9:60000"] * 2
    with pytest.raises(ConfigError, match="write both the same"):
        parse(lanes(gate.replace("60000", "6000") + "1", gate.replace("60000", "06000") + "2"), folder)
    with pytest.raises(ConfigError, match="udp:HOST:PORT with a port of 1-65535"):
        parse(lanes(gate.replace("60000", "0") + "1"), folder)


def test_a_release_may_not_end_before_the_controller_s_wait(folder: Path) -> None:
    """PERCo ST-01 keeps a pulse for 8 s: a lane that forgets it after 7 would meet somebody whom nobody granted."""
    st01 = relay("tcp:a:502", more='profile = "perco-st01"\nstop_coil = 2')
    text = lanes(st01).replace("[[lane.device]]", "release_within_s = 7.0\n[[lane.device]]")
    with pytest.raises(ConfigError, match=r"lane\[0\].release_within_s: is 7, but .* make it 8 or more"):
        parse(text, folder)
    assert parse(text.replace("= 7.0", "= 8.0"), folder).lanes[0].devices[0].wait_s == 8.0
    potential = text.replace("stop_coil", 'control = "potential"\nstop_coil')
    assert parse(potential, folder).lanes[0].release_within_s == 7.0, "by potential we end it ourselves"


def test_only_what_closes_on_a_refusal_can_stand_open(folder: Path) -> None:
    """A lane that is normally open needs the relay on the controller's Stop."""
    text = lanes(relay("tcp:a:502")).replace("[[lane.device]]", "normally_open = true\n[[lane.device]]")
    with pytest.raises(ConfigError, match=r"lane\[0\].normally_open: needs .* stop_coil"):
        parse(text, folder)
    assert parse(text + "stop_coil = 2\n", folder).lanes[0].normally_open


def test_a_board_s_map_lies_beside_the_station_file(folder: Path) -> None:
    """A relative path starts there; a map that does not fit is refused at the device's own key."""
    text = lanes(relay("tcp:a:502", more='board_file = "board.toml"'))
    with pytest.raises(ConfigError, match=r"lane\[0\].device\[0\].board_file.*No such file"):
        parse(text, folder)
    (folder / "board.toml").write_text('sentence = "Ours."\nsource = "Its label."\nrelays = [1, 4]\n')
    with pytest.raises(ConfigError, match=r"lane\[0\].device\[0\].release_coil.*relays 1 to 4"):
        parse(text, folder)
    assert parse(text.replace("release_coil = 0", "release_coil = 1"), folder)


@pytest.mark.parametrize("info", registry.drivers().values(), ids=list(registry.drivers()))
def test_a_station_can_name_every_driver(info: registry.DriverInfo, folder: Path) -> None:
    """By its place alone, and the scheme of cards where it reads bare numbers; a file it names lies beside the file."""
    places = {"pty": "/dev/ttyUSB0", "tcp": "tcp:a:502", "udp": "udp:a:60000", "pcsc": "pcsc:ACR"}
    text = f'driver = "{info.name}"\n'
    text += f'port = "{places[info.ports[0]]}"\n' if info.ports else 'source = "pictures"\n'
    text += 'card_scheme = "shanghai-transit"\n' if info.card_numbers == {} else ""
    files = [name for name in info.settings if name.endswith("_file") and name != "board_file"]
    text += "".join(f'{name} = "a.key"\n' for name in files)
    (device,) = parse(lanes(text), folder).lanes[0].devices
    assert (device.driver, device.kind) == (info.name, info.kind)
    assert all(device.settings[name] == str(folder / "a.key") for name in files)
    with pytest.raises(ConfigError, match=r"lane\[0\].device\[0\].portt: driver .* has no setting 'portt'"):
        parse(lanes(text + "portt = 1\n"), folder)


def test_two_drivers_cannot_share_a_port(folder: Path) -> None:
    """Whatever their unit addresses."""
    scanner = 'driver = "line-scanner"\nport = "/dev/ttyUSB0"'
    with pytest.raises(ConfigError, match="already used"):
        parse(lanes(relay("/dev/ttyUSB0", unit=7), scanner), folder)


def test_a_reader_and_a_turnstile_of_one_bus_share_a_port(folder: Path) -> None:
    """OSDP devices of two drivers, each with its own unit; not with one unit, and not with a device of another bus."""
    reader, gate = (f'driver = "{name}"\nport = "/dev/ttyUSB0"\nunit = 1' for name in ("osdp", "osdp-output"))
    reader += '\ncard_scheme = "shanghai-transit"'
    assert len(parse(lanes(reader, gate.replace("unit = 1", "unit = 2")), folder).lanes) == 2
    for other in (gate, relay("/dev/ttyUSB0", unit=2), reader):
        with pytest.raises(ConfigError, match="already used"):
            parse(lanes(reader, other), folder)


def test_a_readers_lamp_stands_on_the_readers_own_unit(folder: Path) -> None:
    """It is a part of that device; a second lamp of one reader is one too many, and the line still has one speed."""
    reader = 'driver = "osdp"\nport = "/dev/ttyUSB0"\nunit = 1\ncard_scheme = "shanghai-transit"'
    lamp = 'driver = "osdp-lamp"\nport = "/dev/ttyUSB0"\nreader_unit = 1'
    assert len(parse(lanes(reader, lamp), folder).lanes) == 2
    assert len(parse(lanes(lamp, reader, lamp.replace("= 1", "= 2")), folder).lanes) == 3
    with pytest.raises(ConfigError, match="already used"):
        parse(lanes(reader, lamp, lamp), folder)
    with pytest.raises(ConfigError, match="baud"):
        parse(lanes(reader, lamp + "\nbaud = 19200"), folder)


def test_a_reader_of_bare_numbers_needs_its_scheme(folder: Path) -> None:
    """Near or far: without one, and with a name that no feed could have; an agent's own file need not know it."""
    osdp = 'driver = "osdp"\nport = "/dev/ttyUSB0"'
    with pytest.raises(ConfigError, match=r"lane\[0\].device\[0\].card_scheme: is missing.*shanghai-transit"):
        parse(lanes(osdp), folder)
    with pytest.raises(ConfigError, match=r"lane\[0\].device\[0\].card_scheme: is missing"):
        parse(lanes('driver = "osdp"').replace("[[lane]]", "[[lane]]\nremote = true"), folder)
    for wrong in ("Shanghai", "a b", "-a", "a" * 33, "上海"):
        with pytest.raises(ConfigError, match=r"lane\[0\].device\[0\].card_scheme.*small letters"):
            parse(lanes(f'{osdp}\ncard_scheme = "{wrong}"'), folder)
    with pytest.raises(ConfigError, match="card_scheme"):  # a scanner reads no cards
        parse(lanes('driver = "line-scanner"\nport = "/dev/ttyUSB0"\ncard_scheme = "a"'), folder)
    (device,) = parse(lanes(f'{osdp}\ncard_scheme = "shanghai-transit"'), folder).lanes[0].devices
    assert (device.card_scheme, "card_scheme" in device.settings) == ("shanghai-transit", False)
    path = folder / "lane.toml"
    path.write_text(f'[[lane]]\nid = "A1"\n[[lane.device]]\n{osdp}\n')
    assert load_lane(path).devices[0].card_scheme == ""


@pytest.mark.parametrize("setting", ["baud = 19200", 'parity = "E"', "timeout_ms = 700"])
def test_a_bus_has_one_speed(setting: str, folder: Path) -> None:
    """Two units of one port with other baud, parity or patience: the port is opened once, so one of them is wrong."""
    name = setting.split()[0]
    with pytest.raises(ConfigError, match=re.escape(f"lane[1].device[0].{name}")):
        parse(lanes(relay("/dev/ttyUSB0"), relay("/dev/ttyUSB0", 2, setting)), folder)
    assert len(parse(lanes(relay("/dev/ttyUSB0"), relay("/dev/ttyUSB0", 2)), folder).lanes) == 2


def test_a_camera_is_never_shared_and_its_address_never_told(folder: Path) -> None:
    """A stream's address may hold a password."""
    camera = 'driver = "camera-scanner"\nsource = "rtsp://user:hush@camera/1"'
    with pytest.raises(ConfigError, match="already used") as caught:
        parse(lanes(camera, camera), folder)
    assert "hush" not in str(caught.value)
    with pytest.raises(ConfigError, match="already used"):
        parse(
            lanes(
                camera.replace("rtsp://user:hush@camera/1", "0"),
                camera.replace("rtsp://user:hush@camera/1", "/dev/video0"),
            ),
            folder,
        )


def test_a_readers_name_is_no_path(folder: Path) -> None:
    """A PC/SC reader's port is kept as written; one reader for two lanes is refused."""
    reader = 'driver = "pcsc"\nport = "pcsc:ACS ACR122U [PICC] (1234)"'
    config = parse(lanes(reader), folder)
    assert config.lanes[0].devices[0].settings["port"] == "pcsc:ACS ACR122U [PICC] (1234)"
    with pytest.raises(ConfigError, match=r"lane\[1\].device\[0\].port.* is already used by lane\[0\]"):
        parse(lanes(reader, reader), folder)


def test_relative_places_start_at_the_files_folder(folder: Path) -> None:
    """Ports too, wherever the service was started; a folder of pictures keeps its final slash."""
    pictures = 'driver = "camera-scanner"\nsource = "pictures/"'
    config = parse(lanes('driver = "samv"\nport = "ports/reader"', pictures), folder)
    assert config.lanes[0].devices[0].settings["port"] == f"{folder}/ports/reader"
    assert config.lanes[1].devices[0].settings["source"] == f"{folder}/pictures/"


def test_sixty_four_lanes_load(folder: Path) -> None:
    """A long gate line; and more than the service carries is refused with the number."""
    samv = [f'driver = "samv"\nport = "/dev/reader{number}"' for number in range(201)]
    assert len(parse(lanes(*samv[:64]), folder).lanes) == 64
    with pytest.raises(ConfigError, match="lane: has 201 entries: at most 200"):
        parse(lanes(*samv), folder)


def test_an_empty_list_of_lanes_loads(folder: Path) -> None:
    """A station that only answers ticket systems."""
    assert parse(lanes(), folder).lanes == ()


def test_the_days_of_a_station_are_read(folder: Path) -> None:
    """The rules of a day, the end of checking, open and closed days, the communities' keys; all absent is ordinary."""
    (folder / "communities").mkdir()
    days = """rules_of = 2020-03-26
checking_until = 2022-12-07
open_days = [2020-10-01, 2020-10-02]
closed_days = [2020-01-25]
certificate_keys = "communities"
"""
    policy = parse(CONTRACT.replace("[policy]\n", f"[policy]\n{days}"), folder).policy
    assert (policy.rules_of, policy.checking_until) == (date(2020, 3, 26), date(2022, 12, 7))
    assert policy.open_days == {date(2020, 10, 1), date(2020, 10, 2)}
    assert policy.closed_days == {date(2020, 1, 25)}
    assert policy.certificate_keys == folder / "communities"
    plain = parse(CONTRACT, folder).policy
    assert (plain.rules_of, plain.checking_until, plain.open_days, plain.closed_days, plain.certificate_keys) == (
        None, None, frozenset(), frozenset(), None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("line", "place", "says"),
    [
        ("rules_of = 3", "policy.rules_of", "must be a day such as 2020-03-26"),
        ('rules_of = "2020-03-26"', "policy.rules_of", "must be a day such as 2020-03-26"),
        ("rules_of = 2020-03-26T00:00:00", "policy.rules_of", "must be a day such as 2020-03-26"),
        ("checking_until = 2022-12-07T00:00:00Z", "policy.checking_until", "must be a day such as 2020-03-26"),
        ("open_days = 2020-10-01", "policy.open_days", "must be a list"),
        ("open_days = [1]", "policy.open_days", "must be a list of days such as 2020-10-01, at most"),
        ("open_days = [2020-10-01T00:00:00Z]", "policy.open_days", "must be a list of days"),
        (
            "open_days = [2020-10-01]\nclosed_days = [2020-10-01]",
            "policy.closed_days",
            "is in open_days too",
        ),
        ('certificate_keys = "none"', "policy.certificate_keys", "is not there: give a .keys file or their folder"),
        ('rule_dir = "x"', "policy.rule_dir", "rules_dir"),
    ],
)
def test_a_day_that_is_none_is_named(folder: Path, line: str, place: str, says: str) -> None:
    """An instant is no day: compared with one it would stop the station on its first passenger."""
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        parse(CONTRACT.replace("[policy]\n", f"[policy]\n{line}\n"), folder)
    assert place in str(caught.value)


def test_two_feeds_of_one_issuer_are_refused(folder: Path) -> None:
    """By place and name."""
    feed = CONTRACT[CONTRACT.index("[[feed]]") : CONTRACT.index("[policy]")]
    with pytest.raises(ConfigError, match=re.escape("feed[1].issuer: 'AKM' stands twice")):
        parse(CONTRACT.replace("[policy]", feed + "[policy]"), folder)


def test_every_role_may_have_a_socket_with_its_group(folder: Path) -> None:
    """One unix socket per role, guarded by mode and group."""
    own = grp.getgrgid(os.getgid()).gr_name
    text = CONTRACT.replace(
        "trust_loopback = false", f'lane_socket = "lane.sock"\nfeed_socket = "feed.sock"\nfeed_group = "{own}"'
    )
    config = parse(text, folder).grpc
    assert (config.lane_socket, config.feed_socket) == (folder / "lane.sock", folder / "feed.sock")
    assert config.socket_groups == {"feed": own}


def test_every_error_names_the_file(folder: Path) -> None:
    """And the place inside it, from every table."""
    path = folder / "my.toml"
    for text, place in (
        ("[station]", "station.data_dir"),
        (CONTRACT.replace("unit = 1", "unti = 1"), "device[2].unti"),
    ):
        path.write_text(text, "utf-8")
        with pytest.raises(ConfigError, match=re.escape(f"{path}: ")) as caught:
            load(path)
        assert place in str(caught.value)


def test_a_whole_table_is_not_poured_into_an_error(folder: Path) -> None:
    """What is shown of a wrong value is short."""
    with pytest.raises(ConfigError) as caught:
        parse(CONTRACT.replace('id = "A1"', f'id = "{"x" * 5000}"'), folder)
    assert len(str(caught.value)) < 300


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    """Missing, binary, not TOML: each says so and names the file."""
    with pytest.raises(ConfigError, match="give the station's TOML file"):
        load(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load(tmp_path / "binary.toml")
    (tmp_path / "broken.toml").write_text("[station")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(tmp_path / "broken.toml")
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 9000}{']' * 9000}")
    with pytest.raises(ConfigError, match="nested too deep"):
        load(tmp_path / "deep.toml")
    with pytest.raises(ConfigError, match="larger than"):
        load(Path("/dev/zero"))
    with pytest.raises(ConfigError, match="Is a directory: give"):
        load(tmp_path)
