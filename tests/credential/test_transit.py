"""Shanghai's transit combined code: layout byte for byte, both seals, switches and times (health-codes.md 2.1 (2)).

Keys and contents are made up; the shape is the public decoder's.
"""

import base64
from dataclasses import replace

import pytest

from gate.credential.codeproblem import CodeProblem
from gate.credential.healthcode import HealthCode, judge_code, read_code
from gate.credential.transit import BODY_BYTES, LAYOUT, SUISHENMA, TRANSPORT, TransitCode, judge_seal, read_transit
from gate.moment import Moment
from gate.sim.codes import code_text, transit_body
from tests.credential.shipped import HEX, NOW_S, seal_keys, shipped

NOW = Moment(NOW_S, 0.0)
AT = {name: sum(length for _, length in LAYOUT[:index]) for index, (name, _) in enumerate(LAYOUT)}


def code_of(body: bytes) -> TransitCode:
    text = base64.urlsafe_b64encode(body).decode()
    code = read_transit(f"/{len(text):04d}{text}##")
    assert code is not None
    return code


def made(**changed: bytes) -> TransitCode:
    return code_of(transit_body(HEX, NOW_S, seal_keys(), **changed))


def problem(code: TransitCode) -> CodeProblem | None:
    return judge_seal(code, seal_keys().verifiers())


def test_the_layout_is_the_decoder_s() -> None:
    """211 bytes: sign 64, D 51 (not 47), E.1 32 with three bytes of amount and nine of rfu (not 2 and 8), E.2 64."""
    assert sum(length for _, length in LAYOUT) == BODY_BYTES == 64 + 51 + 32 + 64
    assert [AT[name] for name in ("uuid", "special", "client", "valid_until", "key_index", "card_no")] == [
        64, 96, 98, 100, 114, 115,
    ]  # fmt: skip
    assert [AT[name] for name in ("flags", "user_type", "max_amount", "valid_seconds", "generated_at")] == [
        125, 127, 128, 131, 133,
    ]  # fmt: skip
    assert [AT[name] for name in ("transport_key_index", "rfu", "transport_sign")] == [137, 138, 147]


def test_a_body_is_read_field_by_field() -> None:
    """A body put together here by hand, every byte of another value than its neighbours' fields."""
    d = HEX.encode() + b"\x40\x00" + b"07" + b"20200327132000" + b"\x01"
    e1 = (
        b"CARDNUMBER" + b"\x80\x01" + b"\x02" + b"\x00\x03\xe8" + b"\x00\x3c" + b"\x5e\x7c\x3b\xc0" + b"\x02" + b"R" * 9
    )
    code = code_of(b"S" * 64 + d + e1 + b"T" * 64)
    assert (code.part("sign"), code.part("transport_sign")) == (b"S" * 64, b"T" * 64)
    assert (code.part("uuid"), code.part("client"), code.part("card_no")) == (HEX.encode(), b"07", b"CARDNUMBER")
    assert [code.number(name) for name in ("user_type", "max_amount", "valid_seconds", "key_index")] == [2, 1000, 60, 1]
    assert code.number("transport_key_index") == 2
    assert code.generated_utc_s == 0x5E7C3BC0
    assert code.sealed_outside == d + e1 + b"T" * 64
    assert code.sealed_inside == HEX.encode() + b"07" + b"20200327132000" + e1
    assert (len(code.sealed_outside), len(code.sealed_inside)) == (147, 80)


@pytest.mark.requirement("R18")
def test_valid_until_is_beijing_time_and_generated_at_utc() -> None:
    """R18: 13:20 in Beijing is 05:20 UTC; the epoch needs no moving."""
    code = made(valid_until=b"20200326132000", generated_at=int(NOW_S).to_bytes(4, "big"))
    assert code.valid_until_utc_s == NOW_S
    assert code.generated_utc_s == NOW_S


@pytest.mark.requirement("R5")
def test_both_seals_hold_offline() -> None:
    """R5: a code of the right keys is authentic, and any byte of it changed is not (or is no code any more)."""
    good = made()
    assert problem(good) is None
    for at in range(0, BODY_BYTES, 5):
        body = bytearray(good.body)
        body[at] ^= 1
        text = base64.urlsafe_b64encode(bytes(body)).decode()
        changed = read_transit(f"/{len(text):04d}{text}##")
        assert changed is None or problem(changed) in (CodeProblem.CODE_NOT_AUTHENTIC, CodeProblem.CODE_KEY_MISSING)


@pytest.mark.requirement("R5")
def test_each_seal_is_needed() -> None:
    """R5: the outer one alone, or the inner one alone, or both by the wrong keys, proves nothing."""
    seals = seal_keys()
    swapped = replace(seals, suishenma=seals.transport, transport=seals.suishenma)
    for forged in (swapped, replace(seals, transport=seals.suishenma), replace(seals, suishenma=seals.transport)):
        assert problem(code_of(transit_body(HEX, NOW_S, forged))) is CodeProblem.CODE_NOT_AUTHENTIC


def test_the_inner_seal_leaves_out_special_as_the_decoder_does() -> None:
    """Contradiction 4: a seal over the comment's 82 bytes, `special` among them, is refused."""
    seals = seal_keys()
    code = made()
    with_special = code.part("uuid") + code.part("special") + code.sealed_inside[32:]
    assert len(with_special) == 82
    body = code.body[: AT["transport_sign"]] + seals.transport.sign(with_special)
    body = seals.suishenma.sign(body[64:]) + body[64:]
    assert problem(code_of(body)) is CodeProblem.CODE_NOT_AUTHENTIC


@pytest.mark.parametrize("missing", [(SUISHENMA, 1), (TRANSPORT, 2)])
def test_a_key_that_we_lack_is_named_so(missing: tuple[str, int]) -> None:
    """Neither "forged" nor "good": the station's own lack, by either index."""
    keys = dict(seal_keys().verifiers())
    del keys[missing]
    assert judge_seal(made(), keys) is CodeProblem.CODE_KEY_MISSING


def test_an_index_chooses_the_key() -> None:
    """The same keys under other indices are not these keys."""
    assert problem(made(key_index=b"\7")) is CodeProblem.CODE_KEY_MISSING
    assert problem(made(transport_key_index=b"\7")) is CodeProblem.CODE_KEY_MISSING


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"special": b"\0\0"}, CodeProblem.CODE_TRAVEL_DISABLED),
        ({"special": b"\xbf\xff"}, CodeProblem.CODE_TRAVEL_DISABLED),
        ({"special": b"\xff\xff"}, None),
        ({"flags": b"\0\0"}, CodeProblem.CODE_TRAVEL_DISABLED),
        ({"flags": b"\x7f\xff"}, CodeProblem.CODE_TRAVEL_DISABLED),
        ({"valid_until": b"20200326131959"}, CodeProblem.CODE_EXPIRED),  # one second before it was generated
        ({"valid_until": b"20200326132000"}, None),
    ],
)
def test_switches_and_times_inside_a_good_seal(changed: dict[str, bytes], expected: CodeProblem | None) -> None:
    """Travel enabled, rail enabled, generated before its end: judged only when both seals hold."""
    assert problem(made(**changed)) is expected


@pytest.mark.requirement("R18")
@pytest.mark.parametrize(
    ("changed", "later_s", "expected"),
    [
        ({}, 0, None),
        ({}, 90, None),  # 60 s of validity and 30 s of skew
        ({}, 91, CodeProblem.CODE_EXPIRED),
        ({}, -30, None),
        ({}, -31, CodeProblem.CODE_FROM_FUTURE),
        ({"valid_seconds": b"\0\x0a"}, 41, CodeProblem.CODE_EXPIRED),
        ({"valid_seconds": b"\0\0"}, 90, None),  # says nothing: the form's 60 s (health-codes.md 2.5)
        ({"valid_seconds": b"\0\0"}, 91, CodeProblem.CODE_EXPIRED),
        ({"valid_seconds": b"\xff\xff", "valid_until": b"20200326132010"}, 41, CodeProblem.CODE_EXPIRED),
        ({"valid_seconds": b"\xff\xff", "valid_until": b"20200326132010"}, 40, None),
    ],
)
def test_a_sealed_code_is_of_just_now(changed: dict[str, bytes], later_s: int, expected: CodeProblem | None) -> None:
    """R18: generated_at with valid_seconds, and valid_until, whichever ends first; through the QR's own text."""
    body = transit_body(HEX, NOW_S, seal_keys(), **changed)
    text = base64.urlsafe_b64encode(body).decode()
    code = read_code(f"https://s.sh.gov.cn/{len(text):04d}{text}##".encode(), shipped())
    assert isinstance(code, HealthCode)
    assert judge_code(code, seal_keys().verifiers(), NOW.plus(later_s), clock_trusted=True) is expected


@pytest.mark.requirement("R5")
def test_a_forged_time_is_forged_first() -> None:
    """R5: an expired code whose seal is broken is not authentic: an unproven time says nothing."""
    text = code_text("SSM_TRANSIT", HEX, NOW_S - 1000, seal_keys())
    forged = text.replace(text[40:44], "AAAA" if text[40:44] != "AAAA" else "BBBB", 1)
    code = read_code(forged.encode(), shipped())
    assert isinstance(code, HealthCode)
    assert judge_code(code, seal_keys().verifiers(), NOW, clock_trusted=True) is CodeProblem.CODE_NOT_AUTHENTIC


@pytest.mark.requirement("R5")
def test_one_showing_is_one_token() -> None:
    """R5: with padding or without, the same body is the same token, so that a replay of it is seen."""
    text = base64.urlsafe_b64encode(made().body).decode()
    written = [text, text.rstrip("=")]
    codes = [read_code(f"https://s.sh.gov.cn/{len(one):04d}{one}##".encode(), shipped()) for one in written]
    assert len({code.token for code in codes if isinstance(code, HealthCode)}) == 1


def test_nothing_of_a_body_is_shown() -> None:
    """Card number, uuid, kind of traveller and times stay out of every repr."""
    assert repr(made()) == "TransitCode()"
