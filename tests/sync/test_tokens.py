"""Static code tokens: each resolves to its person, in eleven bytes where that is enough and in full where not."""

import random
from pathlib import Path

import pytest

from gate.feed import table
from gate.feed.finding import Enrolled, Listed, Missing
from gate.feed.records import KEY_SCHEME
from gate.sync.publisher import Edition, Output, PublishError, publish
from gate.sync.rows import Row
from gate.sync.store import FeedStore, open_store
from gate.sync.tablefile import DamagedError, TableFile
from tests.support.region import NOW_S, RED, Region, Station, entry, found, key, parts, people


def token(number: int) -> bytes:
    """A made-up token key, a hash as real ones are."""
    return key(1_000_000 + number)


@pytest.fixture
def region(tmp_path: Path) -> Region:
    return Region(tmp_path / "akm")


def _store(tmp_path: Path, region: Region, *paths: Path) -> FeedStore:
    station = Station(tmp_path / "s", region)
    for path in paths:
        station.take(path)
    station.store.close()
    return open_store(tmp_path / "s", [region.issuer])


@pytest.mark.parametrize("many", [1, 64, 65, 20_000])
def test_every_token_finds_its_person_and_no_other_does(tmp_path: Path, region: Region, many: int) -> None:
    """All of them, by few buckets and by many; what was never issued resolves to nobody."""
    tokens = {key(n): token(n) for n in range(many)}
    store = _store(tmp_path, region, region.snapshot(1, people(range(many + 10)), tokens=tokens))
    for number in range(many):
        subject = store.subject_of(region.issuer, token(number))
        assert subject == key(number)[:7], "seven bytes are enough where nobody shares them"
    assert {store.subject_of(region.issuer, token(n)) for n in range(many, many + 2000)} == {None}
    assert store.subject_of("ZJ", token(0)) is None
    store.close()


def test_a_card_finds_its_person_beside_the_token(tmp_path: Path, region: Region) -> None:
    """Both of one line lead to one subject; a card that two people are given is refused by its lines."""
    tokens, cards = {key(1): token(1)}, {key(n): token(1000 + n) for n in (1, 2)}
    store = _store(tmp_path, region, region.snapshot(1, people(range(300)), tokens=tokens, cards=cards))
    named = [store.holder_of(region.issuer, token(1000 + n)) for n in (1, 2, 3)]
    assert named == [key(1)[:7], key(2)[:7], Missing.CARD_NOT_LINKED]
    assert store.subject_of(region.issuer, token(1)) == named[0]
    assert store.holder_of("ZJ", token(1001)) is Missing.NO_FEED
    store.close()
    with pytest.raises(PublishError, match=r"lines \d+ and \d+ give one token to two persons"):
        region.snapshot(2, people(range(300)), cards={key(1): token(7), key(2): token(7)})


def test_an_index_that_cannot_be_read_is_told_from_one_without_the_card(tmp_path: Path, region: Region) -> None:
    """A flipped bit in the bucket: not "this card is not linked", since it could hide whose it is."""
    store = _store(tmp_path, region, region.snapshot(1, people(range(3)), cards={key(1): token(1001)}))
    assert store.holder_of(region.issuer, token(1001)) == key(1)[:7]
    store.close()
    (base,) = (tmp_path / "s" / region.issuer).glob("*.snapshot")
    raw = bytearray(base.read_bytes())
    at = raw.index(token(1001)[table.FINGERPRINT])
    raw[at] ^= 1
    base.write_bytes(raw)
    store = open_store(tmp_path / "s", [region.issuer])
    assert store.holder_of(region.issuer, token(1001)) is Missing.STORE_DAMAGED
    assert store.subject_of(region.issuer, token(1001)) is None
    store.close()


def test_a_token_costs_eleven_bytes_and_its_share_of_a_bucket(tmp_path: Path, region: Region) -> None:
    """Issue 3 allows twelve, measured apart from the people."""
    plain = region.snapshot(1, people(range(20_000))).stat().st_size
    tokens = {key(n): token(n) for n in range(20_000)}
    with_tokens = region.snapshot(1, people(range(20_000)), tokens=tokens).stat().st_size
    assert 11 < (with_tokens - plain) / 20_000 < 12


def test_what_a_token_names_is_asked_by_its_seven_bytes(tmp_path: Path, region: Region) -> None:
    """The listed, the enrolled and whoever a delta changed since are found by what the token gave."""
    before = {**people(range(300)), key(1): entry(key(1), RED)}
    after = {**before, key(1): entry(key(1)), key(2): entry(key(2), RED)}
    del after[key(3)]
    tokens = {key(n): token(n) for n in range(300)}
    first = region.snapshot(1, before, tokens=tokens)
    change = region.publish(2, after, follows=1)[1]
    store = _store(tmp_path, region, first, change)
    named = [store.subject_of(region.issuer, token(n)) for n in range(4)]
    assert [len(subject or b"") for subject in named] == [7] * 4
    told = [found(store, region, subject or b"") for subject in named]
    assert [str(f.status) if isinstance(f, Listed | Enrolled) else "gone" for f in told] == [
        "GREEN",
        "GREEN",
        "RED",
        "gone",
    ]
    store.close()


def _alike(tail: int, tokens: bool = False) -> bytes:
    return (b"tok-fing" if tokens else b"sub-fing")[:7] + bytes([tail]) * 9


def test_alike_tokens_and_alike_people_are_told_in_full(tmp_path: Path, region: Region) -> None:
    """Tokens of one bucket and fingerprint, people of the same seven bytes: each token finds its own."""
    subjects = [_alike(1), _alike(2), *(key(n) for n in range(50))]
    tokens = {
        _alike(1): token(1),
        _alike(2): token(2),
        key(1): _alike(1, tokens=True),
        key(2): _alike(2, tokens=True),
        key(3): _alike(3, tokens=True),
    }
    people_ = {subject: entry(subject) for subject in subjects}
    people_[_alike(2)] = entry(_alike(2), RED)
    store = _store(tmp_path, region, region.snapshot(1, people_, tokens=tokens))
    named = {subject: store.subject_of(region.issuer, its) for subject, its in tokens.items()}
    assert named[_alike(1)] == _alike(1)
    assert named[_alike(2)] == _alike(2)
    for number in (1, 2, 3):
        subject = named[key(number)]
        assert subject
        assert key(number).startswith(subject)
    assert {len(named[key(number)] or b"") for number in (1, 2, 3)} == {7, 16}
    one, other = (found(store, region, named[_alike(n)] or b"") for n in (1, 2))
    assert isinstance(one, Enrolled)
    assert isinstance(other, Listed)
    store.close()


def test_one_token_of_two_people_is_refused(region: Region) -> None:
    """Whose it is would be chance, and one of them might be red: both lines are named, and nobody."""
    rows = [Row(n, entry(key(n)), token(n)) for n in range(2, 300)]
    rows[100] = Row(102, entry(key(102)), token(7))
    random.Random(1).shuffle(rows)
    edition = Edition(region.issuer, 1, NOW_S, NOW_S + 1, KEY_SCHEME, region.pepper_id, region.kind)
    with pytest.raises(PublishError, match=r"^lines 7 and 102 give one token to two persons") as refused:
        publish(rows, edition, region.private, Output(region.snapshot_path(1)))
    assert token(7).hex() not in str(refused.value)
    assert list(region.outbox.iterdir()) == []


def test_one_person_may_have_two_tokens_and_say_each_twice(tmp_path: Path, region: Region) -> None:
    """A renewed code; a row that came twice."""
    rows = [Row(2, entry(key(1)), token(1)), Row(3, entry(key(1)), token(2)), Row(4, entry(key(1)), token(2))]
    edition = Edition(region.issuer, 1, NOW_S, NOW_S + 1, KEY_SCHEME, region.pepper_id, region.kind)
    (header,) = publish(rows, edition, region.private, Output(region.snapshot_path(1)))
    assert (header.count, header.tokens) == (1, 2)
    store = _store(tmp_path, region, region.snapshot_path(1))
    assert store.subject_of(region.issuer, token(1)) == store.subject_of(region.issuer, token(2)) == key(1)[:7]
    store.close()


def test_a_flipped_byte_is_damage_or_the_right_person(tmp_path: Path, region: Region) -> None:
    """Every byte of token buckets, their offsets and the foot: never another person, and the check finds it."""
    tokens = {key(n): token(n) for n in range(70)}
    path = region.snapshot(1, people(range(70)), tokens=tokens)
    header, body = parts(path)
    assert header.tokens == 70
    foot = table.decode_foot(body[-table.FOOT_BYTES :])
    damaged = 0
    for at in range(foot.tokens_at, len(body)):
        (tmp_path / "t").write_bytes(body[:at] + bytes([body[at] ^ 0x10]) + body[at + 1 :])
        try:
            opened = TableFile(tmp_path / "t")
        except DamagedError:
            damaged += 1
            continue
        for number in (0, 1, 2, 33, 69, 100):
            try:
                assert opened.subject_of(token(number)) == (key(number)[:7] if number < 70 else None)
            except DamagedError:
                damaged += 1
        with pytest.raises(DamagedError):
            opened.check()
        opened.close()
    assert damaged > len(body) - foot.tokens_at
