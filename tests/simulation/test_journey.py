"""The journalist's trip of 1 March 2020 through real controllers, and what its judge must not let pass."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console

from gate.cli import run
from gate.sim import journey
from gate.sim.journey import CODES, DAYS, STOPS, Due, Shown, due_at, missing, needed_at, problem_of, show_journey
from tests.simulation.search import Secrets, contents, find_leaks

LOCAL_ONLY = {  # the only code of the four that each gate took on 1 March, and what it said to the others
    "1 Shanghai Hongqiao, departure": ("SSM", "REFER NOT_RECOGNISED_HERE"),
    "2 Hangzhou East, arrival": ("ZJ", "DENY LOCAL_CODE_REQUIRED"),
    "3 Hangzhou metro": ("ZJ", "DENY LOCAL_CODE_REQUIRED"),
    "4 Hangzhou bus": ("ZJ", "DENY LOCAL_CODE_REQUIRED"),
    "5 Shanghai Hongqiao, arrival": ("SSM", "REFER NOT_RECOGNISED_HERE"),
    "6 Wujiang": ("SCM", "DENY LOCAL_CODE_REQUIRED"),
}
FIRST, LATER = DAYS


@pytest.fixture(scope="module")
def trip(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Shown], str, Path]:
    """The whole trip, made once: every presentation, what was printed, and where all was written."""
    import asyncio

    folder = tmp_path_factory.mktemp("journey")
    out = io.StringIO()
    console = Console(file=out, width=120)
    shown = asyncio.run(journey.Journey(folder, console).run())
    out.write(f"\nall as due: {show_journey(shown, 0.0, console)}\n")
    return shown, out.getvalue(), folder


@pytest.mark.parametrize("gate", [gate.name for gate in STOPS])
def test_on_1_march_each_gate_takes_its_own_code_and_explains_every_refusal(
    trip: tuple[list[Shown], str, Path], gate: str
) -> None:
    """Refused, one code after the other, with the reason of that gate, its rule, and words in both languages."""
    *refused, last = [one for one in trip[0] if (one.day, one.stop) == (FIRST, gate)]
    taken, refusal = LOCAL_ONLY[gate]
    assert (last.code, last.told) == (taken, "GRANT STATUS_GREEN")
    assert refused, "no gate took the code that was shown first"
    for one in refused:
        assert one.told == refusal
        assert not one.opened
        assert one.rule_id
        for words in (one.sentence, one.next_step):
            assert all(words[language].strip() for language in ("zh", "en"))
        assert one.sentence["zh"] != one.sentence["en"]


@pytest.mark.parametrize("gate", [gate.name for gate in STOPS])
@pytest.mark.parametrize("code", CODES)
def test_on_26_march_every_gate_opens_at_the_first_code_whichever_it_is(
    trip: tuple[list[Shown], str, Path], gate: str, code: str
) -> None:
    """Twenty-four presentations, twenty-four grants; the turnstile really opened, where there is one."""
    (one,) = [one for one in trip[0] if (one.day, one.stop, one.code) == (LATER, gate, code)]
    assert (one.told, one.rule_id) == ("GRANT STATUS_GREEN", "delta/green")
    assert one.opened == (gate != "4 Hangzhou bus")
    assert one.way == ("issuer asked" if code == "SSM" else "token index")


def test_the_trip_is_told_and_counted(trip: tuple[list[Shown], str, Path]) -> None:
    """17 presentations then, 6 afterwards; the signs' own words, in both languages, stand in what is printed."""
    shown, printed, _ = trip
    needed = {day: [needed_at(shown, day, gate.name) for gate in STOPS] for day in DAYS}
    assert needed == {FIRST: [2, 3, 3, 3, 2, 4], LATER: [1, 1, 1, 1, 1, 1]}
    assert "all as due: True" in printed
    flat = "".join(printed.split())
    for words in ("杭州只认本市健康码", "Suzhou accepts only its own code", "Green. Please pass", "17", "LOCAL_CODE"):
        assert "".join(words.split()) in flat


def test_no_station_of_the_trip_writes_the_traveller_down(trip: tuple[list[Shown], str, Path]) -> None:
    """Ten controllers' stores, journals and logs, and the printed tables: neither the number nor a code."""
    _, printed, folder = trip
    codes = journey.Journey(folder / "again", Console(file=io.StringIO()))._prepare()
    traveller = codes["ZJ"]
    secrets = Secrets(
        frozenset({traveller.number}), frozenset({one.token for one in codes.values()} | {traveller.code.decode()})
    )
    written = [("printed", printed.encode()), *contents(folder)]
    assert any("hongqiao/data/journal" in name for name, _ in written)
    assert find_leaks(written, secrets) == []


# --- the judge: a trip that went otherwise is not good ---


def _perfect() -> list[Shown]:
    words = {"zh": "话", "en": "words"}
    return [
        Shown(day, gate.name, code, due.verdict, due.rule_id, due.way, words, words)
        for day in DAYS
        for gate in STOPS
        for code, due in due_at(day, gate).items()
    ]


def _judged(shown: list[Shown]) -> tuple[bool, str]:
    out = io.StringIO()
    return show_journey(shown, 1.0, Console(file=out, width=200)), out.getvalue()


def test_a_perfect_trip_is_good() -> None:
    """And has 17 + 24 presentations."""
    good, _ = _judged(_perfect())
    assert good
    assert len(_perfect()) == 41


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"told": "GRANT STATUS_GREEN"}, "was GRANT STATUS_GREEN"),
        ({"told": "REFER CODE_NEEDS_CARD"}, "was REFER CODE_NEEDS_CARD"),
        ({"told": ""}, "was nothing"),
        ({"rule_id": "common/red"}, "common/red"),
        ({"way": "issuer asked"}, "issuer asked"),
        ({"problem": "the sign has no words"}, "no words"),
    ],
)
def test_one_presentation_that_went_otherwise_is_named(change: dict[str, str], said: str) -> None:
    """Another verdict, another rule, another way, silence, or a sign without words: each is a problem."""
    due = due_at(FIRST, STOPS[1])["NGL"]
    one = Shown(FIRST, STOPS[1].name, "NGL", due.verdict, due.rule_id, due.way)
    assert problem_of(one, due) == ""
    assert said in problem_of(replace(one, **change), due)  # type: ignore[arg-type]


def test_a_problem_or_a_gap_makes_the_trip_bad() -> None:
    """One problem among 41, or one presentation that never happened: not good, and it is said where."""
    perfect = _perfect()
    good, printed = _judged([replace(perfect[0], problem="it rained"), *perfect[1:]])
    assert not good
    assert "1 Shanghai Hongqiao, departure, NGL: it rained" in printed
    good, printed = _judged(perfect[:-1])
    assert not good
    assert missing(perfect[:-1]) == ["2020-03-26 6 Wujiang, SCM: was never shown"]
    assert "NOT everything was as due" in printed


def test_a_due_is_written_out_when_it_is_missed() -> None:
    """Whoever reads the problem sees verdict, rule and way."""
    assert str(Due("", "", "token index")) == "nothing (no rule, token index)"


@pytest.mark.parametrize(("good", "exits"), [(True, False), (False, True)])
def test_the_command_ends_as_the_trip_did(monkeypatch: pytest.MonkeyPatch, good: bool, exits: bool) -> None:
    """`gate demo --journey`: exit status 1 when anything was otherwise than due."""
    monkeypatch.setattr(journey, "run_journey", lambda *_: good)
    if not exits:
        run.demo(journey=True)
        return
    with pytest.raises(typer.Exit) as ended:
        run.demo(journey=True)
    assert ended.value.exit_code == 1
