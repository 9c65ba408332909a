"""Key and pepper files: read, refused, rotated, fetched by a station."""

import base64
import importlib.util
import json
import re
import shutil
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.ledger import Refusal
from gate.sync.keychain import KeyRefusal, KeyRefused
from gate.sync.keyring import (
    KeyFileError,
    install_keys,
    keygen,
    load_peppers,
    load_private_key,
    load_public_keys,
    parse_key_file,
    read_key_file,
    revoke_key,
    rotate_key,
    rotate_pepper,
    verify_signature,
)
from gate.sync.signing import Algorithm, generate, signing_key

ED25519, SM2 = Algorithm.ED25519, Algorithm.SM2
NOW = datetime(2026, 4, 10, 12, tzinfo=UTC)
NOW_S = int(NOW.timestamp())
SM2_POINT = bytes.fromhex(  # the public key of GB/T 32918.5-2017, Annex A.2
    "0409F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020"
    "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13"
)

needs_sm2 = pytest.mark.skipif(
    importlib.util.find_spec("tongsuopy") is None, reason="tongsuopy (the extra sm) has no wheel for this machine"
)


@dataclass(frozen=True)
class Header:
    """As much of a header as a signature needs."""

    key_id: str
    produced_utc_s: int = NOW_S

    def signed_bytes(self) -> bytes:
        return f"header of {self.key_id} at {self.produced_utc_s}".encode()


def _iso(days: int) -> str:
    return (NOW + timedelta(days=days)).isoformat()


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def test_files_of_the_old_form_keep_working(tmp_path: Path) -> None:
    """No algorithm, no root mark, two unsigned keys, and a private file without algorithm: all as before."""
    first, second = generate(ED25519), generate(ED25519)
    rows = [
        {"key_id": f"akm-{n}", "ed25519": _base64(key.public().raw), "not_before": _iso(-1), "not_after": _iso(9)}
        for n, key in enumerate((first, second))
    ]
    (tmp_path / "akm.keys").write_text(json.dumps({"issuer": "AKM", "keys": rows}))
    (tmp_path / "akm.private").write_text(
        json.dumps({"issuer": "AKM", "key_id": "akm-1", "ed25519": _base64(second.raw)})
    )
    private = load_private_key(tmp_path / "akm.private")
    keys = load_public_keys(tmp_path / "akm.keys", "AKM")
    header = Header("akm-1")
    assert verify_signature(keys, header, private.sign(header.signed_bytes())) is None
    assert keys["akm-1"].verify(private.sign(b"x"), b"x")
    assert not keys["akm-0"].verify(private.sign(b"x"), b"x")


def test_an_issuer_and_a_station_with_files_of_the_old_form_can_rotate(tmp_path: Path) -> None:
    """Both take the form with roots and signatures at the first rotation, and what was installed stays believed."""
    issuer = Issuer(tmp_path)
    for path in (issuer.keys, issuer.station, issuer.root):
        values = json.loads(path.read_text())
        for row in values.get("keys", [values]):
            row.pop("algorithm")
            row.pop("root", None)
        path.write_text(json.dumps(values))
    new = issuer.rotate(issuer.root)
    assert issuer.fetched() == (key_id(new),)
    assert issuer.verdict(new) is issuer.verdict(issuer.root) is None
    assert [row.root for row in read_key_file(issuer.station).rows] == [True, False]


def test_each_refusal_of_a_header_has_its_name(tmp_path: Path) -> None:
    """Unknown key, before and after its days, another's signature; the last instant of a key is not its own."""
    paths = keygen(tmp_path, "AKM", NOW)
    private = load_private_key(paths["private"])
    keys = load_public_keys(paths["keys"], "AKM")
    key = keys[private.key_id]

    def judged(header: Header, signed: Header | None = None) -> Refusal | None:
        return verify_signature(keys, header, private.sign((signed or header).signed_bytes()))

    first, end = int(key.not_before_utc_s), int(key.not_after_utc_s)
    assert (
        judged(Header(key.key_id)) is judged(Header(key.key_id, first)) is judged(Header(key.key_id, end - 1)) is None
    )
    assert judged(Header("other")) is Refusal.UNKNOWN_KEY
    assert judged(Header(key.key_id, first - 1)) is Refusal.KEY_NOT_VALID_THEN
    assert judged(Header(key.key_id, end)) is Refusal.KEY_NOT_VALID_THEN
    assert judged(Header(key.key_id), Header(key.key_id, NOW_S + 1)) is Refusal.BAD_SIGNATURE


def _good_row(**changes: Any) -> dict[str, Any]:
    row = {
        "key_id": "a",
        "ed25519": _base64(generate(ED25519).public().raw),
        "not_before": _iso(0),
        "not_after": _iso(9),
    }
    return {name: value for name, value in {**row, **changes}.items() if value is not ...}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "holds no key"),
        (["a"], r"keys\[0\].*key_id"),
        ([_good_row(key_id=...)], r"keys\[0\].*has no 'key_id'"),
        ([_good_row(key_id="a b")], "key_id must have"),
        ([_good_row(ed25519=...)], "has no 'ed25519'"),
        ([_good_row(ed25519="=")], "ed25519 is not base64"),
        ([_good_row(ed25519=_base64(b"x"))], "32 bytes"),
        ([_good_row(algorithm="rsa")], "algorithm must be ed25519 or sm2"),
        ([_good_row(algorithm="sm2")], "has no 'sm2'"),
        ([_good_row(algorithm=["sm2"])], r"keys\[0\]"),
        ([_good_row(not_before="2020-04-01")], "not_before has no offset"),
        ([_good_row(not_after="soon")], "not_after is not an ISO 8601 time"),
        ([_good_row(not_after=7)], "not_after is not an ISO 8601 time"),
        ([_good_row(not_after=_iso(0))], "not_after is not later"),
        ([_good_row(revoked=True)], r"keys\[0\]"),
        ([_good_row(), _good_row()], "there twice"),
        ([_good_row(root=True), _good_row(key_id="b")], r"keys\[1\]: UNSIGNED at key 'b'.*\"root\": true"),
        ([_good_row(root=True), _good_row(key_id="b", signed_by="a")], "UNSIGNED"),
        ([_good_row(key_id=f"k{n}") for n in range(17)], "TOO_MANY_KEYS"),
    ],
)
def test_a_bad_keys_file_says_what_and_where(tmp_path: Path, rows: list[Any], says: str) -> None:
    """Each fault names the file, the key and what is allowed."""
    path = tmp_path / "akm.keys"
    path.write_text(json.dumps({"issuer": "AKM", "keys": rows}))
    with pytest.raises(KeyFileError, match=says) as refused:
        load_public_keys(path, "AKM")
    assert str(refused.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 50_000, "is not JSON"),
        (b"[]", "has no 'keys'"),
        (b'{"keys": []}', "names no issuer"),
        (b" " * 65_537, "more than 65536 bytes"),
        (b'{"issuer": "ZJ", "keys": []}', "belongs to issuer 'ZJ'"),
    ],
)
def test_bytes_that_are_no_keys_file(raw: bytes, says: str) -> None:
    """Whatever comes over the network is refused before it costs much."""
    with pytest.raises(KeyFileError, match=says):
        parse_key_file(raw, "AKM")


def test_secrets_are_in_no_repr_and_no_error(tmp_path: Path) -> None:
    """The private key shows neither in reprs nor in what is said of a damaged file, nor in its cause."""
    paths = keygen(tmp_path, "AKM", NOW)
    private = load_private_key(paths["private"])
    secret = _base64(private.key.raw)
    assert stat.S_IMODE(paths["private"].stat().st_mode) == stat.S_IMODE(paths["pepper"].stat().st_mode) == 0o600
    shown = repr(private) + repr(private.key)
    paths["private"].write_text(f'{{"issuer": "AKM", "key_id": "a", "ed25519": "{secret}"')
    with pytest.raises(KeyFileError) as refused:
        load_private_key(paths["private"])
    shown += str(refused.value) + repr(refused.value.__cause__)
    for text in (secret, private.key.raw.hex(), repr(private.key.raw)):
        assert text not in shown


@pytest.fixture
def without_sm2(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tongsuopy", "tongsuopy.crypto", "tongsuopy.crypto.asymciphers"):
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.usefixtures("without_sm2")
def test_a_machine_without_sm2_misses_it_only_when_an_sm2_key_is_used(tmp_path: Path) -> None:
    """A file with both kinds loads and its Ed25519 key works; the SM2 key's use names the extra to install."""
    ed, path = generate(ED25519), tmp_path / "akm.keys"
    rows = [
        {"key_id": "a", "ed25519": _base64(ed.public().raw), "not_before": _iso(0), "not_after": _iso(9)},
        {
            "key_id": "b",
            "algorithm": "sm2",
            "sm2": _base64(SM2_POINT),
            "not_before": _iso(0),
            "not_after": _iso(9),
        },
    ]
    path.write_text(json.dumps({"issuer": "AKM", "keys": rows}))
    keys = load_public_keys(path, "AKM")
    assert verify_signature(keys, Header("a"), ed.sign(Header("a").signed_bytes())) is None
    for use in (
        lambda: verify_signature(keys, Header("b"), bytes(64)),
        lambda: signing_key(SM2, bytes(31) + b"\x07").sign(b"x"),
        lambda: keygen(tmp_path / "new", "AKM", NOW, SM2),
    ):
        with pytest.raises(KeyFileError, match=r"install the extra sm.*\[sm\]"):
            use()
    assert not (tmp_path / "new").exists()


class Issuer:
    """A publisher's folder, and a station that installed its first keys file by hand."""

    def __init__(self, folder: Path, algorithm: Algorithm = ED25519) -> None:
        paths = keygen(folder / "publisher", "AKM", NOW, algorithm)
        self.root, self.keys, self.pepper = paths["private"], paths["keys"], paths["pepper"]
        self.station = folder / "station.keys"
        shutil.copy(self.keys, self.station)

    def rotate(self, by: Path, day: datetime = NOW, algorithm: Algorithm = ED25519) -> Path:
        return rotate_key(by, self.keys, day, algorithm)["private"]

    def fetched(self, now: datetime = NOW) -> tuple[str, ...] | KeyRefused:
        """The station takes over what the issuer has now."""
        return install_keys(self.station, "AKM", self.keys.read_bytes(), now.timestamp())

    def verdict(self, private: Path, produced: datetime = NOW) -> Refusal | None:
        key = load_private_key(private)
        header = Header(key.key_id, int(produced.timestamp()))
        return verify_signature(load_public_keys(self.station, "AKM"), header, key.sign(header.signed_bytes()))


def key_id(private: Path) -> str:
    return load_private_key(private).key_id


@pytest.mark.parametrize(
    ("first", "second"),
    [(ED25519, ED25519), pytest.param(ED25519, SM2, marks=needs_sm2), pytest.param(SM2, ED25519, marks=needs_sm2)],
)
def test_a_rotated_key_is_believed_once_its_file_was_fetched(
    tmp_path: Path, first: Algorithm, second: Algorithm
) -> None:
    """Unknown before, good after, the old one good all along; three generations, also from one algorithm to another."""
    issuer = Issuer(tmp_path, first)
    later = NOW + timedelta(days=400)
    new = issuer.rotate(issuer.root, later, second)
    assert load_private_key(new).key.algorithm is second
    assert stat.S_IMODE(new.stat().st_mode) == 0o600
    assert issuer.verdict(new, later) is Refusal.UNKNOWN_KEY
    assert issuer.fetched(later) == (key_id(new),)
    assert issuer.verdict(new, later) is None
    assert issuer.verdict(issuer.root, later) is None
    much_later = later + timedelta(days=400)
    third = issuer.rotate(new, much_later)
    assert issuer.fetched(much_later) == (key_id(third),)
    assert issuer.verdict(third, much_later) is None
    assert issuer.verdict(issuer.root, much_later) is Refusal.KEY_NOT_VALID_THEN
    assert issuer.fetched(much_later) == ()


def test_a_key_rotated_on_its_signers_first_day_is_believed(tmp_path: Path) -> None:
    """Its own first day, otherwise the day before, is not earlier than its signer's."""
    issuer = Issuer(tmp_path)
    new = issuer.rotate(issuer.root, NOW - timedelta(days=1))
    assert issuer.fetched() == (key_id(new),)


def test_a_refused_file_leaves_the_stations_as_it_was(tmp_path: Path) -> None:
    """Byte for byte, nothing lying about, and the refusal is handed back, not raised."""
    issuer, stranger = Issuer(tmp_path / "a"), Issuer(tmp_path / "b")
    stranger.rotate(stranger.root)
    before = issuer.station.read_bytes()
    refused = install_keys(issuer.station, "AKM", stranger.keys.read_bytes(), NOW_S)
    assert isinstance(refused, KeyRefused)
    assert refused.why is KeyRefusal.CHANGED_KEY
    with pytest.raises(KeyFileError, match="is not JSON"):
        install_keys(issuer.station, "AKM", b"<html>", NOW_S)
    assert issuer.station.read_bytes() == before
    assert [path.name for path in issuer.station.parent.iterdir() if path.is_file()] == ["station.keys"]


def test_a_revoked_key_is_refused_and_the_issuer_goes_on_with_a_new_one(tmp_path: Path) -> None:
    """Second stolen, third hung on it, fourth signed by the root: who never held the stolen ones follows too."""
    issuer, newcomer = Issuer(tmp_path), tmp_path / "newcomer.keys"
    shutil.copy(issuer.station, newcomer)
    second = issuer.rotate(issuer.root)
    third = issuer.rotate(second)
    assert issuer.fetched() == (key_id(second), key_id(third))
    assert issuer.verdict(third) is None
    assert revoke_key(issuer.root, issuer.keys, key_id(third), NOW) == ()
    assert revoke_key(issuer.root, issuer.keys, key_id(second), NOW) == (key_id(third),)
    fourth = issuer.rotate(issuer.root)
    assert issuer.fetched() == (key_id(second), key_id(fourth))
    assert install_keys(newcomer, "AKM", issuer.keys.read_bytes(), NOW_S) == (key_id(second), key_id(fourth))
    assert issuer.verdict(second) is issuer.verdict(third) is Refusal.KEY_NOT_VALID_THEN
    assert issuer.verdict(fourth) is issuer.verdict(issuer.root) is None
    with pytest.raises(KeyFileError, match="is revoked"):
        issuer.rotate(second)


def test_what_a_stolen_key_had_revoked_stays_revoked_for_newcomers_too(tmp_path: Path) -> None:
    """Fourth revoked by third, which hangs on second; second revoked: the file names only believed revokers."""
    issuer = Issuer(tmp_path)
    shutil.copy(issuer.station, tmp_path / "newcomer.keys")
    second = issuer.rotate(issuer.root)
    third = issuer.rotate(second)
    fourth, fifth = issuer.rotate(issuer.root), issuer.rotate(issuer.root)
    revoke_key(third, issuer.keys, key_id(fourth), NOW)
    revoke_key(second, issuer.keys, key_id(fifth), NOW)
    revoke_key(issuer.root, issuer.keys, key_id(second), NOW)
    assert issuer.fetched() == tuple(map(key_id, (second, fourth, fifth)))
    shutil.copy(tmp_path / "newcomer.keys", issuer.station)
    sixth = issuer.rotate(issuer.root)
    assert issuer.fetched() == tuple(map(key_id, (second, fourth, fifth, sixth)))
    assert issuer.verdict(fourth) is issuer.verdict(fifth) is Refusal.KEY_NOT_VALID_THEN
    assert issuer.verdict(sixth) is None


def test_a_key_cannot_revoke_older_keys_or_itself(tmp_path: Path) -> None:
    """Nor one that is not there; the keys file stays as it was."""
    issuer = Issuer(tmp_path)
    second = issuer.rotate(issuer.root)
    before = issuer.keys.read_bytes()
    for victim in (key_id(issuer.root), key_id(second), "akm-1999-01"):
        with pytest.raises(KeyFileError, match="is not a key younger than"):
            revoke_key(second, issuer.keys, victim, NOW)
    assert issuer.keys.read_bytes() == before


def test_a_rotation_that_no_station_would_believe_is_not_made(tmp_path: Path) -> None:
    """With an expired key, a stranger's key, another issuer's file or a full file: said at once, nothing written."""
    issuer, stranger = Issuer(tmp_path / "a"), Issuer(tmp_path / "b")
    other = keygen(tmp_path / "zj", "ZJ", NOW)["keys"]
    names = sorted(issuer.root.parent.iterdir())
    before = issuer.keys.read_bytes()
    with pytest.raises(KeyFileError, match="is not valid today"):
        issuer.rotate(issuer.root, NOW + timedelta(days=731))
    with pytest.raises(KeyFileError, match="does not hold the public half"):
        rotate_key(stranger.root, issuer.keys, NOW)
    with pytest.raises(KeyFileError, match="belongs to issuer 'ZJ'"):
        rotate_key(issuer.root, other, NOW)
    assert sorted(issuer.root.parent.iterdir()) == names
    assert issuer.keys.read_bytes() == before
    for _ in range(15):
        issuer.rotate(issuer.root)
    with pytest.raises(KeyFileError, match="holds 16 keys"):
        issuer.rotate(issuer.root)
    assert len(load_public_keys(issuer.keys, "AKM")) == 16


def test_peppers_overlap_for_one_rotation(tmp_path: Path) -> None:
    """The second keeps the first beside it, the third drops it; the newest stands last; no id comes twice."""
    pepper = Issuer(tmp_path).pepper
    (first,) = load_peppers(pepper, "AKM").items()
    second = rotate_pepper(pepper, NOW)
    held = load_peppers(pepper, "AKM")
    assert list(held) == [first[0], second]
    assert held[first[0]] == first[1]
    third = rotate_pepper(pepper, NOW)
    assert list(load_peppers(pepper, "AKM")) == [second, third]
    assert load_peppers(pepper, "AKM")[second] == held[second]
    assert len({first[0], second, third, rotate_pepper(pepper, NOW)}) == 4
    assert len(set(load_peppers(pepper, "AKM").values())) == 2
    assert stat.S_IMODE(pepper.stat().st_mode) == 0o600


def test_written_keys_read_back_the_same(tmp_path: Path) -> None:
    """Roots, signatures, days and revocations survive the file."""
    issuer = Issuer(tmp_path)
    second = issuer.rotate(issuer.root)
    revoke_key(issuer.root, issuer.keys, key_id(second), NOW)
    issuer.fetched()
    file = read_key_file(issuer.keys, "AKM")
    assert [row.root for row in file.rows] == [True, False]
    assert file.rows[1].revocation is not None
    assert read_key_file(issuer.station, "AKM") == file


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9), st.integers(0, 9), st.booleans()), max_size=12))
def test_every_station_believes_what_the_issuer_does(history: list[tuple[bool, int, int, bool]]) -> None:
    """Any history of rotations and revocations, followed always, sometimes or only at the end: one set of keys."""
    with TemporaryDirectory() as folder:
        issuer = Issuer(Path(folder))
        stations = [Path(folder) / name for name in ("always", "sometimes", "newcomer")]
        for station in stations:
            shutil.copy(issuer.station, station)
        privates = [issuer.root]
        for rotates, by, victim, fetches in history:
            signer, refused = privates[by % len(privates)], ""
            try:
                if rotates:
                    privates.append(issuer.rotate(signer))
                else:
                    revoke_key(signer, issuer.keys, key_id(privates[victim % len(privates)]), NOW)
            except KeyFileError as error:
                refused = str(error)
            assert not refused or re.search("is revoked|does not hold the public half|is not a key younger", refused)
            for station in stations[: 1 + fetches]:
                assert isinstance(install_keys(station, "AKM", issuer.keys.read_bytes(), NOW_S), tuple)
        for station in stations:
            assert isinstance(install_keys(station, "AKM", issuer.keys.read_bytes(), NOW_S), tuple)
            assert _believed(station) == _believed(issuer.keys)


def _believed(keys: Path) -> set[str]:
    return {key.key_id for key in load_public_keys(keys, "AKM").values() if not key.revoked}
