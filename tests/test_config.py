"""station.toml: the contract's own block loads, and everything else that is wrong is refused with place and remedy."""

import re
from pathlib import Path

import pytest

from gate.config import ConfigError, load, parse

# The block of contract.md, word for word.
CONTRACT = """
[station]
id = "hangzhou-east"
region = "330100"                 # GB/T 2260
data_dir = "/var/lib/gate"        # store, journal, keys: 0700
languages = ["zh", "en"]

[clock]
trust = "kernel"                  # kernel: adjtimex must say synchronised | stepped-only: wall against monotonic

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
"""


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
        ('"dir:/srv', '"ftp:/srv', "feed[0].source", "dir: https: or nats:"),
        ('"127.0.0.1:8080"', '"0.0.0.0:8080"', "console.listen", "[console.tls]"),
        ('["127.0.0.1:50051"]', '["0.0.0.0:50051"]', "grpc.listen", "[grpc.tls]"),
        ('["127.0.0.1:50051"]', '["nowhere"]', "grpc.listen[0]", "HOST:PORT"),
        ('"entry" ', '"in" ', "lane[0].direction", "'entry', 'exit', 'both'"),
        ('trust = "kernel" ', 'trust = "blind" ', "clock.trust", "stepped-only"),
        ('["zh", "en"]', '["fr"]', "station.languages", "'zh', 'en'"),
        ("[journal]", "[jurnal]", "jurnal", "did you mean 'journal'"),
        ('issuer = "AKM" ', 'issuer = "akm" ', "feed[0].issuer", "capitals"),
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
