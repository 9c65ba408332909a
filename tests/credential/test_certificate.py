"""The paper certificate of a community: what reads, what is believed, for whom and on which day."""

import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.credential.certificate import Certificate, CertificateProblem, issue, judge, read_certificate
from gate.credential.documents import DocumentType, document
from gate.moment import Moment
from gate.policy.verdict import Reason

DAY = date(2020, 3, 1)
KEY_ID = "330106_xihu-2020-03"
SECRET = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
HOLDER = document(DocumentType.RESIDENT_ID, "310105199001010018")
STRANGER = document(DocumentType.RESIDENT_ID, "330106198502030020")
SALT = bytes(range(100, 116))


def beijing(day: date, hour: int = 0, minute: int = 0, second: int = 0) -> float:
    """UTC seconds of an hour in China."""
    at = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=UTC)
    return at.timestamp() - 8 * 3600


@dataclass(frozen=True)
class Key:
    """A community's public key as a station believes it."""

    secret: Ed25519PrivateKey = SECRET
    region: str = "330106"
    not_before_utc_s: float = beijing(date(2020, 2, 1))
    not_after_utc_s: float = beijing(date(2020, 4, 1))
    revoked: bool = False

    def verify(self, signature: bytes, message: bytes) -> bool:
        try:
            self.secret.public_key().verify(signature, message)
        except InvalidSignature:
            return False
        return not self.revoked


def paper(
    issued_on: date = DAY,
    valid_on: date = DAY,
    region: str = "330106",
    salt: bytes = SALT,
    sign: Callable[[bytes], bytes] = SECRET.sign,
) -> str:
    return issue(HOLDER, key_id=KEY_ID, region=region, issued_on=issued_on, valid_on=valid_on, salt=salt, sign=sign)


def read(text: str) -> Certificate:
    found = read_certificate(text.encode())
    assert isinstance(found, Certificate)
    return found


def judged(
    text: str, now_utc_s: float = beijing(DAY, 12), key: Key | None = None, trusted: bool = True
) -> CertificateProblem | None:
    return judge(read(text), HOLDER, {KEY_ID: key or Key()}, Moment(now_utc_s, 0.0), trusted)


@pytest.mark.requirement("R3")
def test_paper_and_its_holders_card_are_enough() -> None:
    """Authentic, of today, of this document: nothing is wrong; it names authority, region and days, and no colour."""
    found = read(paper())
    assert judged(paper()) is None
    assert (found.key_id, found.region, found.issued_on, found.valid_on) == (KEY_ID, "330106", DAY, DAY)
    assert not {name for name in Certificate.__slots__ if "status" in name or "colour" in name}


def test_the_bytes_are_those_of_the_description() -> None:
    """The fields stand where the module says; the signature covers all before it, with its context."""
    raw = base64.urlsafe_b64decode(paper().removeprefix("GATECERT1:") + "===")
    assert raw[:8] == (330106).to_bytes(4, "big") + (60).to_bytes(2, "big") * 2  # 60 days after 1 January 2020
    assert raw[8:24] == SALT
    assert raw[40:41] + raw[41:-64] == bytes([len(KEY_ID)]) + KEY_ID.encode()
    SECRET.public_key().verify(raw[-64:], b"gate/certificate/1\0" + raw[:-64])


@pytest.mark.parametrize(
    ("now_utc_s", "problem"),
    [
        (beijing(DAY) - 1, CertificateProblem.CERTIFICATE_EXPIRED),
        (beijing(DAY), None),
        (beijing(DAY, 23, 59, 59), None),
        (beijing(DAY + timedelta(days=1)), CertificateProblem.CERTIFICATE_EXPIRED),
    ],
)
@pytest.mark.requirement("R18")
def test_it_is_valid_for_the_one_day_in_china(now_utc_s: float, problem: CertificateProblem | None) -> None:
    """From Beijing's midnight to the next one, not UTC's; the evening before it was made counts as little as after."""
    assert judged(paper(issued_on=DAY - timedelta(days=1)), now_utc_s) is problem


@pytest.mark.requirement("R18")
def test_a_clock_in_doubt_judges_no_day() -> None:
    """It says so, of the authentic ones; a forgery is a forgery at any hour."""
    assert judged(paper(), trusted=False) is CertificateProblem.CLOCK_UNTRUSTED
    assert judged(paper(sign=lambda _: bytes(64)), trusted=False) is CertificateProblem.CERTIFICATE_NOT_AUTHENTIC


@pytest.mark.parametrize(
    "key",
    [
        Key(secret=Ed25519PrivateKey.from_private_bytes(bytes(32))),
        Key(region="330102"),
        Key(revoked=True),
        Key(not_before_utc_s=beijing(DAY) + 1),
        Key(not_after_utc_s=beijing(DAY)),
    ],
    ids=["another's key", "another region's key", "revoked", "not yet valid", "no longer valid"],
)
def test_only_a_key_of_its_region_and_its_day_makes_it_authentic(key: Key) -> None:
    """Each of the five, alone, is enough to refuse; and so is a key that nobody knows."""
    assert judged(paper(), key=key) is CertificateProblem.CERTIFICATE_NOT_AUTHENTIC
    assert judge(read(paper()), HOLDER, {}, Moment(beijing(DAY, 12), 0.0), True) is (
        CertificateProblem.CERTIFICATE_NOT_AUTHENTIC
    )


def test_it_is_bound_to_one_document() -> None:
    """Another number, or the same number on a document of another type, is another person; none is "tap a card"."""
    now = Moment(beijing(DAY, 12), 0.0)
    text = issue(
        document(DocumentType.PASSPORT, "12345678"),
        key_id=KEY_ID, region="330106", issued_on=DAY, valid_on=DAY, salt=SALT, sign=SECRET.sign,
    )  # fmt: skip
    for other in (STRANGER, document(DocumentType.TAIWAN_TRAVEL_PERMIT, "12345678")):
        assert judge(read(text), other, {KEY_ID: Key()}, now, True) is CertificateProblem.CERTIFICATE_OF_ANOTHER
    assert judge(read(text), None, {KEY_ID: Key()}, now, True) is CertificateProblem.CERTIFICATE_NEEDS_CARD


def test_whoever_holds_a_useless_paper_is_not_asked_for_a_card() -> None:
    """Without a document an old or forged paper is named so at once."""
    late = Moment(beijing(DAY + timedelta(days=1)), 0.0)
    assert judge(read(paper()), None, {KEY_ID: Key()}, late, True) is CertificateProblem.CERTIFICATE_EXPIRED
    assert judge(read(paper()), None, {}, late, True) is CertificateProblem.CERTIFICATE_NOT_AUTHENTIC


def test_two_papers_of_one_person_look_unrelated() -> None:
    """With another salt the binding is another one, so that papers cannot be sorted by person without guessing."""
    assert read(paper()).binding != read(paper(salt=bytes(16))).binding


@pytest.mark.requirement("R10")
def test_nothing_of_the_person_is_in_a_repr() -> None:
    """Neither salt, binding nor signed bytes: a logged one could be tried against all numbers."""
    shown = repr(read(paper()))
    assert KEY_ID in shown
    for name in ("salt", "binding", "signed", "signature"):
        assert name not in shown


@pytest.mark.requirement("R16")
def test_it_reads_as_scanners_send_it() -> None:
    """Line ends, a byte-order mark, full-width letters, another encoding."""
    text = paper()
    wide = "".join(chr(ord(each) + 0xFEE0) if each.isalnum() else each for each in text)
    for payload in (f"{text}\r\n".encode(), f"\ufeff{text} ".encode(), wide.encode()):
        assert read_certificate(payload) == read(text)
    assert read_certificate(text.encode("utf-16"), "utf-16") == read(text)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"\xff\xfe", b"GATECERT", b"gatecert1:AA", b"GATECERTIFICATE:AA", b"https://s.sh.gov.cn/GATECERT1:",
        b"x" + paper().encode(), b"GATECERT1:" + b"A" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_certificate_is_left_to_others(payload: bytes) -> None:
    """None, and no exception; unknown encodings too."""
    assert read_certificate(payload) is None
    assert read_certificate(payload, "no-such-encoding") is None


def _rebuilt(change: Callable[[bytearray], None]) -> str:
    raw = bytearray(base64.urlsafe_b64decode(paper().removeprefix("GATECERT1:") + "==="))
    change(raw)
    return "GATECERT1:" + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _set(at: int, value: bytes) -> Callable[[bytearray], None]:
    def change(raw: bytearray) -> None:
        raw[at : at + len(value)] = value

    return change


@pytest.mark.parametrize(
    "text",
    [
        "GATECERT1:",
        "GATECERT1:AAAA",
        "GATECERT1:" + "A" * 241,
        "GATECERT2:" + paper().split(":")[1],
        paper() + "=",
        paper()[:-1],
        paper()[:-1] + "!",
        paper()[:20] + "\n" + paper()[20:],
        _rebuilt(_set(0, (1_000_000).to_bytes(4, "big"))),
        _rebuilt(_set(6, (59).to_bytes(2, "big"))),
        _rebuilt(_set(6, (62).to_bytes(2, "big"))),
        _rebuilt(_set(40, b"\x00")),
        _rebuilt(_set(40, b"\xff")),
        _rebuilt(_set(41, b"\xc3")),
        _rebuilt(lambda raw: raw.extend(b"x")),
    ],
)
def test_a_damaged_one_is_unreadable(text: str) -> None:
    """Cut, padded, of a later version, of no possible region, days or key id: its own problem, never an exception."""
    assert read_certificate(text.encode()) is CertificateProblem.CERTIFICATE_UNREADABLE


def test_no_flipped_bit_is_believed() -> None:
    """Each bit of the whole: unreadable or not authentic, never good and never merely another's."""
    raw = base64.urlsafe_b64decode(paper().removeprefix("GATECERT1:") + "===")
    now = Moment(beijing(DAY, 12), 0.0)
    for at, bit in itertools.product(range(len(raw)), range(8)):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << bit
        text = "GATECERT1:" + base64.urlsafe_b64encode(flipped).rstrip(b"=").decode()
        found = read_certificate(text.encode())
        if isinstance(found, Certificate):
            assert judge(found, HOLDER, {KEY_ID: Key()}, now, True) is CertificateProblem.CERTIFICATE_NOT_AUTHENTIC
        else:
            assert found is CertificateProblem.CERTIFICATE_UNREADABLE


def test_every_certificate_has_one_spelling() -> None:
    """The last character's unused bits must be zero: no second text means the same paper."""
    texts = [paper()[:-1] + each for each in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    same = [text for text in texts if read_certificate(text.encode()) == read(paper())]
    assert same == [paper()]


@pytest.mark.parametrize(
    "wrong",
    [
        {"issued_on": DAY - timedelta(days=2)},
        {"issued_on": DAY + timedelta(days=1)},
        {"issued_on": date(2019, 12, 31), "valid_on": date(2020, 1, 1)},
        {"issued_on": date(2300, 1, 1), "valid_on": date(2300, 1, 1)},
        {"salt": b"short"},
        {"region": "33010"},
        {"region": "３３０１０６"},
        {"sign": lambda _: b"short"},
    ],
)
def test_nothing_is_issued_that_no_gate_would_take(wrong: dict[str, object]) -> None:
    """More than a day ahead, backwards, days that do not fit, a poor salt, a false region or signature: ValueError."""
    with pytest.raises(ValueError, match=r"needs 16 bytes|six digits|no gate would read"):
        paper(**wrong)  # type: ignore[arg-type]


def test_every_problem_has_its_sentence() -> None:
    """They are reasons of the one list."""
    assert set(CertificateProblem) <= set(Reason)


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=300), st.sampled_from(["utf-8", "gb18030", "latin-1", "utf-16", "nonsense"]))
def test_any_bytes_have_an_answer(noise: bytes, encoding: str) -> None:
    """No payload raises, with the prefix before it or not."""
    for payload in (noise, b"GATECERT1:" + noise, b"GATECERT1:" + base64.urlsafe_b64encode(noise).rstrip(b"=")):
        found = read_certificate(payload, encoding)
        assert found is None or isinstance(found, Certificate | CertificateProblem)
