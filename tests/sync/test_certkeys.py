"""Key files of certifying communities: made, rotated, revoked, loaded by a station, refused by name."""

import importlib.util
import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from gate.credential.certificate import Certificate, CertificateProblem, issue, judge, read_certificate
from gate.credential.documents import DocumentType, document
from gate.moment import Moment
from gate.sync import certkeys
from gate.sync.certkeys import load_community_keys, load_signer, make_community_keys
from gate.sync.keyring import keygen, revoke_key, rotate_key
from gate.sync.signing import Algorithm, KeyFileError, Sm2Verifying

NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
DAY = date(2026, 4, 10)  # in China too: it is eight in the evening there
HOLDER = document(DocumentType.PASSPORT, "E12345678")

needs_sm2 = pytest.mark.skipif(
    importlib.util.find_spec("tongsuopy") is None, reason="tongsuopy (the extra sm) has no wheel for this machine"
)


def verdict(private: Path, keys: Path, day: date = DAY) -> CertificateProblem | None:
    """A paper made with this private key today, before a station that believes these keys."""
    signer = load_signer(private)
    text = issue(
        HOLDER,
        key_id=signer.private.key_id,
        region=signer.region,
        issued_on=day,
        valid_on=day,
        salt=bytes(16),
        sign=signer.private.sign,
    )
    read = read_certificate(text.encode())
    assert isinstance(read, Certificate)
    noon = datetime(day.year, day.month, day.day, 4, tzinfo=UTC)
    return judge(read, HOLDER, load_community_keys(keys), Moment(noon.timestamp(), 0.0), True)


@pytest.mark.parametrize("algorithm", [Algorithm.ED25519, pytest.param(Algorithm.SM2, marks=needs_sm2)])
def test_a_community_certifies_and_a_station_believes(tmp_path: Path, algorithm: Algorithm) -> None:
    """From keygen to a good paper on the same day; the private half is its owner's alone."""
    paths = make_community_keys(tmp_path, "XIHU", "330106", NOW, algorithm)
    assert verdict(paths["private"], paths["keys"]) is None
    assert paths["private"].stat().st_mode & 0o777 == 0o600
    key = load_community_keys(paths["keys"])["330106_xihu-2026-04"]
    assert (key.authority, key.region) == ("XIHU", "330106")


@pytest.mark.parametrize("hour", [0, 15, 16, 23])
def test_a_new_key_is_good_on_its_first_day_at_any_hour(tmp_path: Path, hour: int) -> None:
    """Also when in China the next day has begun."""
    made = NOW.replace(hour=hour)
    paths = make_community_keys(tmp_path, "XIHU", "330106", made)
    assert verdict(paths["private"], paths["keys"], (made + timedelta(hours=8)).date()) is None


def test_rotation_and_revocation_are_those_of_the_feeds(tmp_path: Path) -> None:
    """`gate feed rotate-key` and `revoke-key` work on these files, and the region stays."""
    paths = make_community_keys(tmp_path, "XIHU", "330106", NOW)
    newer = rotate_key(paths["private"], paths["keys"], NOW)["private"]
    newest = rotate_key(newer, paths["keys"], NOW)["private"]
    assert verdict(newer, paths["keys"]) is verdict(newest, paths["keys"]) is None
    revoke_key(paths["private"], paths["keys"], load_signer(newer).private.key_id, NOW)
    for fallen in (newer, newest):
        assert verdict(fallen, paths["keys"]) is CertificateProblem.CERTIFICATE_NOT_AUTHENTIC
    assert verdict(paths["private"], paths["keys"]) is None


def test_a_folder_holds_the_keys_of_many(tmp_path: Path) -> None:
    """All NAME.keys in it; the same key in two of them is refused with the name of the one read last."""
    for region, name in (("330106", "XIHU"), ("310105", "XINJING")):
        make_community_keys(tmp_path, name, region, NOW)
    assert {key.region for key in load_community_keys(tmp_path).values()} == {"330106", "310105"}
    shutil.copy(tmp_path / "330106_xihu.keys", tmp_path / "zz.keys")
    with pytest.raises(KeyFileError, match=r"zz\.keys: key id '330106_xihu-2026-04' is in another file too"):
        load_community_keys(tmp_path)


def test_a_feeds_key_certifies_nobody(tmp_path: Path) -> None:
    """Neither in the station's folder nor as a signer: its issuer is no REGION_NAME."""
    paths = keygen(tmp_path, "AKM", NOW)
    for load in (lambda: load_community_keys(paths["keys"]), lambda: load_signer(paths["private"])):
        with pytest.raises(KeyFileError, match=r"akm\.\w+: is no community's"):
            load()


def test_a_file_under_another_regions_name_is_not_believed(tmp_path: Path) -> None:
    """The region is in the signed statements: a later key does not follow its file to another one."""
    paths = make_community_keys(tmp_path, "XIHU", "330106", NOW)
    rotate_key(paths["private"], paths["keys"], NOW)
    values = json.loads(paths["keys"].read_text())
    paths["keys"].write_text(json.dumps(values | {"issuer": "310105_XIHU"}))
    with pytest.raises(KeyFileError, match="its signature is not that of the key that it names"):
        load_community_keys(paths["keys"])


@pytest.mark.parametrize(
    ("name", "region"), [("xihu", "330106"), ("TOOLONGNAME", "330106"), ("XIHU", "3301"), ("", "330106")]
)
def test_a_name_that_would_not_load_is_not_made(tmp_path: Path, name: str, region: str) -> None:
    """Refused with what is allowed, and no file is left."""
    with pytest.raises(KeyFileError, match="six digits"):
        make_community_keys(tmp_path, name, region, NOW)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A second keygen says what to do instead, and leaves the first key."""
    paths = make_community_keys(tmp_path, "XIHU", "330106", NOW)
    before = paths["private"].read_bytes()
    with pytest.raises(KeyFileError, match="is there already"):
        make_community_keys(tmp_path, "XIHU", "330106", NOW)
    assert paths["private"].read_bytes() == before


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No path, an empty folder, more files than any station needs."""
    with pytest.raises(KeyFileError, match="is not there: make one with gate certificate keygen"):
        load_community_keys(tmp_path / "none")
    with pytest.raises(KeyFileError, match=r"holds 0 files NAME\.keys: 1 to"):
        load_community_keys(tmp_path)
    monkeypatch.setattr(certkeys, "FILES_MAX", 1)
    for name in ("XIHU", "GULOU"):
        make_community_keys(tmp_path, name, "330106", NOW)
    with pytest.raises(KeyFileError, match="holds 2 files"):
        load_community_keys(tmp_path)


@needs_sm2
def test_an_algorithm_that_is_not_installed_stops_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not the first passenger with a paper."""
    paths = make_community_keys(tmp_path, "XIHU", "330106", NOW, Algorithm.SM2)

    def missing(self: Sm2Verifying, signature: bytes, message: bytes) -> bool:
        raise KeyFileError("this is an SM2 key, and SM2 is not installed")

    monkeypatch.setattr(Sm2Verifying, "verifies", missing)
    with pytest.raises(KeyFileError, match=r"xihu\.keys: this is an SM2 key"):
        load_community_keys(paths["keys"])
