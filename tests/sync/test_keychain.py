"""Which keys are believed: a chain from the installed root, merging what the issuer offers, revoking."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.ledger import Refusal
from gate.sync.keychain import (
    KeyFile,
    KeyRefusal,
    KeyRefused,
    KeyRow,
    Revocation,
    key_statement,
    merge_keys,
    revocation_statement,
    trusted_keys,
)
from gate.sync.keyring import verify_signature
from gate.sync.signing import Algorithm, SigningKey, generate
from tests.sync.test_keyring import NOW_S, Header

ED25519 = Algorithm.ED25519
DAY_S = 86_400


@dataclass
class House:
    """An issuer's own keys, signing what is asked."""

    rows: list[KeyRow]
    private: dict[str, SigningKey]

    def add(self, key_id: str, by: str, first_day: int = -1, days: int = 700) -> "House":
        key = generate(ED25519)
        row = KeyRow(
            key_id,
            key.public(),
            NOW_S + first_day * DAY_S,
            NOW_S + (first_day + days) * DAY_S,
            root=not by,
            signed_by=by,
        )
        self.private[key_id] = key
        self.rows.append(self.signed(row))
        return self

    def signed(self, row: KeyRow, issuer: str = "AKM") -> KeyRow:
        if not row.signed_by:
            return row
        return replace(row, signature=self.private[row.signed_by].sign(key_statement(issuer, row, row.signed_by)))

    def revoke(self, key_id: str, by: str) -> "House":
        signature = self.private[by].sign(revocation_statement("AKM", key_id, by))
        self.change(key_id, revocation=Revocation(by, signature))
        return self

    def change(self, key_id: str, /, **changes: Any) -> "House":
        self.rows = [replace(row, **changes) if row.key_id == key_id else row for row in self.rows]
        return self

    def resign(self, key_id: str, /, **changes: Any) -> "House":
        self.change(key_id, **changes)
        self.rows = [self.signed(row) if row.key_id == key_id else row for row in self.rows]
        return self

    @property
    def file(self) -> KeyFile:
        return KeyFile("AKM", tuple(self.rows))

    def copy(self) -> "House":
        return House(list(self.rows), dict(self.private))


def house() -> House:
    """A root and nothing else."""
    return House([], {}).add("k1", by="")


def merged(held: House, offered: House, now_s: float = NOW_S) -> KeyFile | KeyRefused:
    return merge_keys(held.file, offered.file, now_s)


def believed(file: KeyFile | KeyRefused) -> list[str]:
    """Ids of keys that verify something after the file went through its written form."""
    assert isinstance(file, KeyFile), str(file)
    return [key.key_id for key in trusted_keys(file).values() if not key.revoked]


def test_a_new_key_signed_by_an_old_one_is_taken_and_so_is_the_next() -> None:
    """The chain grows in one merge or in two, with the same result, and merging again changes nothing."""
    held = house()
    issuer = held.copy().add("k2", by="k1").add("k3", by="k2")
    at_once = merged(held, issuer)
    assert believed(at_once) == ["k1", "k2", "k3"]
    one = merge_keys(held.file, KeyFile("AKM", tuple(issuer.rows[:2])), NOW_S)
    assert isinstance(one, KeyFile)
    assert merge_keys(one, issuer.file, NOW_S) == at_once
    assert isinstance(at_once, KeyFile)
    assert merge_keys(at_once, issuer.file, NOW_S) == at_once
    assert merge_keys(at_once, held.file, NOW_S) == at_once  # an older file takes nothing away


_WRONG: list[tuple[str, Callable[[House], object], KeyRefusal]] = [
    ("not signed", lambda h: h.change("k2", signature=b""), KeyRefusal.UNSIGNED),
    ("names no signer", lambda h: h.change("k2", signed_by=""), KeyRefusal.UNSIGNED),
    ("says that it is a root", lambda h: h.change("k2", root=True, signed_by="", signature=b""), KeyRefusal.UNSIGNED),
    ("signed by a key that we do not hold", lambda h: h.change("k2", signed_by="k9"), KeyRefusal.UNKNOWN_SIGNER),
    ("signed by itself", lambda h: h.resign("k2", signed_by="k2"), KeyRefusal.UNKNOWN_SIGNER),
    ("another's signature", lambda h: h.change("k2", signature=bytes(64)), KeyRefusal.BAD_SIGNATURE),
    ("other bytes than signed", lambda h: h.change("k2", key=generate(ED25519).public()), KeyRefusal.BAD_SIGNATURE),
    ("another id than signed", lambda h: h.change("k2", key_id="k7"), KeyRefusal.BAD_SIGNATURE),
    ("longer than signed", lambda h: h.change("k2", not_after_utc_s=NOW_S + 900 * DAY_S), KeyRefusal.BAD_SIGNATURE),
    ("signed for another issuer", lambda h: h.rows.__setitem__(1, h.signed(h.rows[1], "ZJ")), KeyRefusal.BAD_SIGNATURE),
    (
        "begins after its signer's end",
        lambda h: h.resign("k2", not_before_utc_s=NOW_S + 699 * DAY_S),
        KeyRefusal.NO_OVERLAP,
    ),
    ("begins before its signer", lambda h: h.resign("k2", not_before_utc_s=NOW_S - 2 * DAY_S), KeyRefusal.NO_OVERLAP),
    (
        "valid for over three years",
        lambda h: h.resign("k2", not_after_utc_s=NOW_S + 1098 * DAY_S),
        KeyRefusal.VALID_TOO_LONG,
    ),
    ("the root with other bytes", lambda h: h.change("k1", key=generate(ED25519).public()), KeyRefusal.CHANGED_KEY),
    ("the root living longer", lambda h: h.change("k1", not_after_utc_s=NOW_S + 9999 * DAY_S), KeyRefusal.CHANGED_KEY),
    ("revoked by itself", lambda h: h.revoke("k2", by="k2"), KeyRefusal.BAD_REVOCATION),
    ("the root revoked by a younger one", lambda h: h.revoke("k1", by="k2"), KeyRefusal.BAD_REVOCATION),
    (
        "a revocation that nobody signed",
        lambda h: h.change("k2", revocation=Revocation("k1", bytes(64))),
        KeyRefusal.BAD_REVOCATION,
    ),
]


@pytest.mark.parametrize(("change", "why"), [case[1:] for case in _WRONG], ids=[case[0] for case in _WRONG])
def test_an_offered_key_is_refused_by_name(change: Callable[[House], object], why: KeyRefusal) -> None:
    """Nothing of such a file is taken, though it was good but for the one thing; the refusal says what to do."""
    held = house()
    offered = held.copy().add("k2", by="k1")
    assert believed(merged(held, offered)) == ["k1", "k2"]
    change(offered)
    refused = merged(held, offered)
    assert isinstance(refused, KeyRefused)
    assert refused.why is why
    assert str(refused).startswith(f"{why} at key ")


def test_a_younger_key_that_is_held_cannot_revoke_an_older_one() -> None:
    """A thief of the second cannot shut out the first, nor the first's other keys that are older than his."""
    held = house().add("k2", by="k1").add("k3", by="k1")
    for victim in ("k1", "k2"):
        refused = merged(held, held.copy().revoke(victim, by="k3"))
        assert isinstance(refused, KeyRefused)
        assert (refused.why, refused.key_id) == (KeyRefusal.BAD_REVOCATION, victim)


def test_a_key_that_calls_itself_a_root_is_taken_as_what_it_is() -> None:
    """Rightly signed and marked as root: it is held without the mark, and falls with its signer."""
    held = house().add("k2", by="k1")
    after = merged(held, held.copy().add("k3", by="k2").change("k3", root=True))
    assert believed(after) == ["k1", "k2", "k3"]
    assert isinstance(after, KeyFile)
    assert believed(merge_keys(after, held.copy().revoke("k2", by="k1").file, NOW_S)) == ["k1"]


def test_a_key_that_stands_before_its_signer_is_refused() -> None:
    """The order is the order of age, and only an older key signs."""
    held = house()
    offered = held.copy().add("k2", by="k1").add("k3", by="k2")
    offered.rows[1:] = reversed(offered.rows[1:])
    refused = merged(held, offered)
    assert isinstance(refused, KeyRefused)
    assert (refused.why, refused.key_id) == (KeyRefusal.UNKNOWN_SIGNER, "k3")


def test_a_key_signed_by_an_expired_or_future_key_is_refused() -> None:
    """Only who is valid today adds keys: a thief of an old key cannot date his own back; edges belong to the signer."""
    held = house()
    offered = held.copy().add("k2", by="k1")
    first, end = held.rows[0].not_before_utc_s, held.rows[0].not_after_utc_s
    assert believed(merged(held, offered, first)) == believed(merged(held, offered, end - 1)) == ["k1", "k2"]
    for now_s in (first - 1, end):
        refused = merged(held, offered, now_s)
        assert isinstance(refused, KeyRefused)
        assert refused.why is KeyRefusal.SIGNER_NOT_VALID_NOW


def test_an_expired_chain_that_was_taken_in_time_is_still_believed() -> None:
    """A station that followed each rotation needs nothing when the root has long expired."""
    held = house()
    issuer = held.copy().add("k2", by="k1", first_day=600).add("k3", by="k2", first_day=1200)
    two = merge_keys(held.file, KeyFile("AKM", tuple(issuer.rows[:2])), NOW_S + 600 * DAY_S)
    assert isinstance(two, KeyFile)
    assert believed(merge_keys(two, issuer.file, NOW_S + 1210 * DAY_S)) == ["k1", "k2", "k3"]


def test_too_many_keys_are_refused() -> None:
    """Sixteen are taken, the seventeenth is not."""
    held, issuer = house(), house()
    issuer.rows, issuer.private = list(held.rows), dict(held.private)
    for number in range(2, 17):
        issuer.add(f"k{number}", by="k1")
    assert len(believed(merged(held, issuer))) == 16
    refused = merged(held, issuer.add("k17", by="k1"))
    assert isinstance(refused, KeyRefused)
    assert refused.why is KeyRefusal.TOO_MANY_KEYS


def test_a_file_of_another_issuer_is_refused() -> None:
    """Even when its keys are ours."""
    held = house()
    refused = merge_keys(held.file, replace(held.file, issuer="ZJ"), NOW_S)
    assert isinstance(refused, KeyRefused)
    assert refused.why is KeyRefusal.WRONG_ISSUER


def test_with_a_revoked_key_fall_those_that_it_signed() -> None:
    """k3 hangs on k2; k4 was signed by the root and stays. Nothing that k2 signs later is taken."""
    held = house().add("k2", by="k1").add("k3", by="k2").add("k4", by="k1")
    issuer = held.copy().revoke("k2", by="k1")
    after = merged(held, issuer)
    assert believed(after) == ["k1", "k4"]
    assert isinstance(after, KeyFile)
    refused = merge_keys(after, KeyFile("AKM", tuple(issuer.copy().add("k5", by="k2").rows)), NOW_S)
    assert isinstance(refused, KeyRefused)
    assert refused.why is KeyRefusal.SIGNER_REVOKED
    through = merge_keys(after, KeyFile("AKM", tuple(issuer.copy().add("k5", by="k3").rows)), NOW_S)
    assert isinstance(through, KeyRefused)
    assert through.why is KeyRefusal.SIGNER_REVOKED


def test_a_revocation_is_never_taken_back() -> None:
    """Neither by a file without it, nor when the key that revoked is itself revoked later."""
    held = house().add("k2", by="k1").add("k3", by="k1")
    before = held.copy()
    once = merged(held, held.copy().revoke("k3", by="k2"))
    assert believed(once) == ["k1", "k2"]
    assert isinstance(once, KeyFile)
    assert merge_keys(once, before.file, NOW_S) == once
    assert believed(merge_keys(once, before.copy().revoke("k2", by="k1").file, NOW_S)) == ["k1"]


def test_a_revoked_key_revokes_nobody_and_an_expired_one_may() -> None:
    """A thief whom the issuer shut out cannot stop the feed; the root in its safe can still shut one out."""
    held = house().add("k2", by="k1").add("k3", by="k1")
    shut_out = held.copy().revoke("k2", by="k1")
    refused = merged(held, shut_out.copy().revoke("k3", by="k2"))
    assert isinstance(refused, KeyRefused)
    assert refused.why is KeyRefusal.BAD_REVOCATION
    assert refused.key_id == "k3"
    assert believed(merged(held, shut_out, NOW_S + 9999 * DAY_S)) == ["k1", "k3"]


def test_a_revoked_key_verifies_nothing() -> None:
    """By the name of a key that is not valid, whatever date the header claims; and not by the key's own verify."""
    held = house().add("k2", by="k1")
    keys = trusted_keys(held.copy().revoke("k2", by="k1").file)
    header = Header("k2")
    signature = held.private["k2"].sign(header.signed_bytes())
    assert verify_signature(trusted_keys(held.file), header, signature) is None
    assert verify_signature(keys, header, signature) is Refusal.KEY_NOT_VALID_THEN
    assert not keys["k2"].verify(signature, header.signed_bytes())


_HELD = house()
_ISSUER = _HELD.copy().add("k2", by="k1").add("k3", by="k2").add("k4", by="k1").revoke("k4", by="k2")
_THIEF = House([], {}).add("k8", by="").add("k9", by="k8")
_FIELDS = ["key_id", "key", "not_before_utc_s", "not_after_utc_s", "root", "signed_by", "signature", "revocation"]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.data())
def test_no_mixture_of_rows_brings_in_a_key_that_the_issuer_did_not_sign(data: st.DataObject) -> None:
    """Rows dropped, repeated, reordered, and their fields exchanged with a thief's: only signed keys get in."""
    pool = _ISSUER.rows + _THIEF.rows
    rows = data.draw(st.lists(st.sampled_from(pool), max_size=6))
    for _ in range(data.draw(st.integers(0, 3))):
        if rows:
            at = data.draw(st.integers(0, len(rows) - 1))
            name = data.draw(st.sampled_from(_FIELDS))
            rows[at] = replace(rows[at], **{name: getattr(data.draw(st.sampled_from(pool)), name)})
    result = merge_keys(_HELD.file, KeyFile("AKM", tuple(rows)), NOW_S)
    if isinstance(result, KeyRefused):
        return
    genuine = {(row.key_id, row.key.raw, row.not_before_utc_s, row.not_after_utc_s) for row in _ISSUER.rows}
    held = {(k.key_id, k.key.raw, k.not_before_utc_s, k.not_after_utc_s) for k in trusted_keys(result).values()}
    assert held <= genuine
    assert result.rows[0] == _HELD.rows[0]
