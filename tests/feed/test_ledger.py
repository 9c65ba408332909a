"""What may follow what is held, what to take next, what is said of a standstill: tables of cases, and properties."""

import dataclasses
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gate.feed.envelope import NO_DIGEST, Form, Header
from gate.feed.ledger import (
    OVERDUE_S_MAX,
    REMEDY,
    Held,
    Refusal,
    Standing,
    gap_before,
    judge,
    next_of,
    standstill,
)
from gate.feed.partitions import Partition
from gate.moment import Moment

NOW_S = 1_600_000_000
NOW = Moment(float(NOW_S), 0.0)
A, B, C = "a" * 64, "b" * 64, "c" * 64


def _header(**values: object) -> Header:
    given_ = {
        "form": "SNAPSHOT",
        "issuer": "AKM",
        "sequence": 5,
        "from_sequence": 0,
        "kind": "FULL",
        "produced_utc_s": NOW_S - 100,
        "next_due_utc_s": NOW_S + 100,
        "count": 3,
        "exact_count": 2,
        "changes": 0,
        "tokens": 1,
        "body_bytes": 10,
        "content_digest": C,
        "from_set_digest": NO_DIGEST,
        "set_digest": A,
        "key_scheme": "gate/subject/1",
        "pepper_id": "p1",
        "key_id": "k1",
        "partitions": (),
    }
    return Header(**(given_ | values))  # type: ignore[arg-type]


def snapshot(sequence: int, **values: object) -> Header:
    return _header(sequence=sequence, **values)


def delta(from_sequence: int, sequence: int, **values: object) -> Header:
    start = {"form": "DELTA", "from_sequence": from_sequence, "from_set_digest": A, "set_digest": B}
    return _header(sequence=sequence, **(start | values))


HELD = Held.of(_header())


@pytest.mark.parametrize(
    ("offered", "judged"),
    [
        # snapshots
        (snapshot(6), Standing.NEWER),
        (snapshot(99), Standing.NEWER),
        (snapshot(6, kind="RED_YELLOW"), Standing.NEWER),
        (snapshot(6, pepper_id="p2", key_id="k2"), Standing.NEWER),
        (snapshot(5), Standing.NEW_BASE),
        (snapshot(5, set_digest=B), Refusal.FORK),
        (snapshot(4), Refusal.OLDER),
        (snapshot(4, set_digest=B), Refusal.OLDER),
        (snapshot(6, produced_utc_s=NOW_S - 101), Refusal.PRODUCED_EARLIER),
        (snapshot(6, produced_utc_s=NOW_S - 100), Standing.NEWER),
        # the clock
        (snapshot(6, produced_utc_s=NOW_S + 300), Standing.NEWER),
        (snapshot(6, produced_utc_s=NOW_S + 301), Refusal.FROM_THE_FUTURE),
        (delta(5, 6, produced_utc_s=NOW_S + 301), Refusal.FROM_THE_FUTURE),
        (snapshot(6, next_due_utc_s=NOW_S - int(OVERDUE_S_MAX)), Standing.NEWER),
        (snapshot(6, next_due_utc_s=NOW_S - int(OVERDUE_S_MAX) - 1), Refusal.EXPIRED),
        (delta(5, 6, next_due_utc_s=NOW_S - int(OVERDUE_S_MAX) - 1), Refusal.EXPIRED),
        # deltas
        (delta(5, 6), Standing.NEWER),
        (delta(5, 9), Standing.NEWER),
        (delta(4, 5, set_digest=A), Standing.HELD_ALREADY),
        (delta(4, 5, set_digest=B), Refusal.FORK),
        (delta(3, 4), Standing.HELD_ALREADY),
        (delta(6, 7), Refusal.GAP),
        (delta(4, 6), Refusal.GAP),
        (delta(5, 6, from_set_digest=B), Refusal.FORK),
        (delta(5, 6, kind="RED_YELLOW"), Refusal.KIND_CHANGED),
        (delta(5, 6, pepper_id="p2"), Refusal.PEPPER_CHANGED),
        (delta(5, 6, key_id="k2"), Standing.NEWER),
        (delta(5, 6, produced_utc_s=NOW_S - 101), Refusal.PRODUCED_EARLIER),
    ],
)
def test_what_may_follow_what_is_held(offered: Header, judged: Standing | Refusal) -> None:
    """Gap, fork, rollback, replay, other content of the same sequence, other kind or pepper, both ends of time."""
    assert judge(HELD, offered, NOW) is judged


@pytest.mark.parametrize(
    ("offered", "judged"),
    [
        (snapshot(1), Standing.NEWER),
        (delta(1, 2), Refusal.NO_BASE),
        (snapshot(1, produced_utc_s=NOW_S + 301), Refusal.FROM_THE_FUTURE),
        (snapshot(1, next_due_utc_s=0), Refusal.EXPIRED),
    ],
)
def test_what_may_come_first(offered: Header, judged: Standing | Refusal) -> None:
    """A snapshot of any sequence, of our time."""
    assert judge(None, offered, NOW) is judged


def test_what_is_held_is_what_the_header_said() -> None:
    """Every field by its name: no two of one type are exchanged."""
    partitions = (Partition("340100", 0, ()),)
    header = _header(partitions=partitions)
    assert dataclasses.asdict(Held.of(header)) == {
        name: value
        for name, value in dataclasses.asdict(header).items()
        if name in {field.name for field in dataclasses.fields(Held)}
    }


def test_every_refusal_has_its_remedy() -> None:
    """Whoever reads a refusal is told what to do."""
    assert set(REMEDY) == set(Refusal)
    assert all(len(text) > 10 for text in REMEDY.values())


@dataclass(frozen=True)
class Offered:
    form: str
    sequence: int
    from_sequence: int = 0


def _s(sequence: int) -> Offered:
    return Offered(Form.SNAPSHOT, sequence)


def _d(from_sequence: int, sequence: int) -> Offered:
    return Offered(Form.DELTA, sequence, from_sequence)


@pytest.mark.parametrize(
    ("held", "offers", "want_base", "chosen"),
    [
        (None, [], False, None),
        (None, [_d(1, 2)], False, None),
        (None, [_s(1), _s(3), _s(2), _d(3, 4)], False, _s(3)),
        (HELD, [_s(5), _d(4, 5), _s(4)], False, None),
        (HELD, [_s(5), _s(4)], True, _s(5)),
        (HELD, [_s(4)], True, None),
        (HELD, [_d(5, 6), _s(6), _s(7)], False, _d(5, 6)),
        (HELD, [_d(5, 6), _d(5, 9), _d(6, 10)], False, _d(5, 9)),
        (HELD, [_d(6, 7), _s(7)], False, _s(7)),
        (HELD, [_d(6, 7), _d(7, 8)], False, None),
        (HELD, [_d(5, 5), _d(5, 4)], False, None),
        (HELD, [Offered(Form.SNAPSHOT, 0)], False, None),
        (HELD, [_d(5, 6), _s(5)], True, _d(5, 6)),
    ],
)
def test_what_is_taken_next(held: Held | None, offers: list[Offered], want_base: bool, chosen: Offered | None) -> None:
    """The delta that leads furthest, else the newest snapshot, else nothing."""
    assert next_of(held, offers, want_base) == chosen


@pytest.mark.parametrize(
    ("held", "offers", "missing"),
    [
        (None, [_d(7, 8)], 0),
        (HELD, [], 0),
        (HELD, [_d(5, 6), _d(6, 7)], 1),  # until the first of them is taken; then it starts from what is held
        (HELD, [_d(6, 7)], 1),
        (HELD, [_d(9, 10), _d(8, 9)], 3),
        (HELD, [_d(3, 4), _s(9)], 0),
    ],
)
def test_how_much_is_missing(held: Held | None, offers: list[Offered], missing: int) -> None:
    """Sequences between what is held and the first delta behind it."""
    assert gap_before(held, offers) == missing


@pytest.mark.parametrize(
    ("held", "offers", "said"),
    [
        (None, [], None),
        (None, [_s(3)], None),
        (None, [_s(3), _d(3, 4)], None),
        (None, [_d(3, 4), _d(4, 5)], (_d(4, 5), Refusal.NO_BASE)),
        (None, [Offered(Form.SNAPSHOT, 0)], None),
        (HELD, [], None),
        (HELD, [_s(4), _s(3), _d(3, 4)], (_s(4), Refusal.OLDER)),
        (HELD, [_s(4), _s(5)], None),
        (HELD, [_s(4), _d(6, 7)], None),
    ],
)
def test_a_source_that_leads_nowhere_is_named(
    held: Held | None, offers: list[Offered], said: tuple[Offered, Refusal] | None
) -> None:
    """Gone back to older states, or changes without anything to change; not merely up to date or waiting."""
    assert standstill(held, offers) == said


_OFFERS = st.lists(
    st.one_of(
        st.builds(_s, st.integers(0, 12)),
        st.tuples(st.integers(1, 12), st.integers(1, 12)).filter(lambda t: t[0] < t[1]).map(lambda t: _d(*t)),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(_OFFERS, st.one_of(st.none(), st.integers(1, 12)), st.booleans())
def test_every_step_leads_on_and_they_end(offers: list[Offered], sequence: int | None, want_base: bool) -> None:
    """Taking what is chosen never goes back, and ends after at most as many steps as there are files."""
    held = dataclasses.replace(HELD, sequence=sequence) if sequence else None
    for _ in range(len(offers) + 1):
        chosen = next_of(held, offers, want_base)
        if chosen is None:
            return
        assert held is None or chosen.sequence > held.sequence or (want_base and chosen.form == Form.SNAPSHOT)
        assert chosen.form == Form.SNAPSHOT or (held and chosen.from_sequence == held.sequence)
        held, want_base = dataclasses.replace(HELD, sequence=chosen.sequence), False
    raise AssertionError("it does not end")
