"""A journalist's trip of 1 March 2020, once by the rules of that day and once by those of 26 March (issue 4).

Shanghai Hongqiao, Hangzhou East, Hangzhou's metro and bus, back to Hongqiao, then Wujiang in Suzhou: with the codes of
Shanghai, Hangzhou, Suzhou and Nanjing, all green. Every station is a controller in a process of its own with its region
and its devices on real ports; all have the same signed feeds. What is printed is what the stations say over gRPC.

By the rules of the day the traveller holds up one code after the other until one is accepted; afterwards the first
opens every gate, whichever it is, so all four are shown at each. What must come of it stands in `_OF_1_MARCH`, by hand.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from gate.feed.records import CredentialStatus
from gate.sim.controller import Controller, DemoError, start
from gate.sim.controller import stop as stop_process
from gate.sim.people import Person, make_people
from gate.sim.signs import LANGUAGES, Signs, answered, untold, verdict_of
from gate.sim.town import Town, make_town
from gate.sim.world import Addresses, SimulatedLane, Site, make_lane, publish_feeds, station_toml

DAYS = (date(2020, 3, 1), date(2020, 3, 26))
JOURNEY_S = 300.0  # issue 4: five minutes; about half a minute on two cores
PAIRING_S = 0.5  # the shortest that a station allows: this traveller never takes the card out
UP_S = 30.0  # every device of every lane, with five controllers starting at once
ANSWER_S = 10.0  # an issuer's 0.8 s, the pairing window, and a machine with much to do
CROWD = 200  # others in the feeds
_FREE = Addresses("127.0.0.1:0", "127.0.0.1:0")


@dataclass(frozen=True, slots=True)
class Stop:
    """One gate of the trip."""

    name: str
    station: str
    lane: str = "A1"


@dataclass(frozen=True, slots=True)
class Station:
    """One station of the trip: its region, and which of its lanes lead out or have no turnstile."""

    id: str
    region: str  # GB/T 2260
    lanes: tuple[tuple[str, bool], ...] = (("entry", True),)  # direction, turnstile


STATIONS = (
    Station("hongqiao", "310112", (("entry", True), ("exit", True))),
    Station("hangzhou-east", "330104", (("exit", True),)),
    Station("hangzhou-metro", "330106"),
    Station("hangzhou-bus", "330106", (("entry", False),)),
    Station("wujiang", "320509"),
)
STOPS = (
    Stop("1 Shanghai Hongqiao, departure", "hongqiao"),
    Stop("2 Hangzhou East, arrival", "hangzhou-east"),
    Stop("3 Hangzhou metro", "hangzhou-metro"),
    Stop("4 Hangzhou bus", "hangzhou-bus"),
    Stop("5 Shanghai Hongqiao, arrival", "hongqiao", "A2"),
    Stop("6 Wujiang", "wujiang"),
)
# In the order in which the traveller holds them up. Nothing says which lay on top; this order shows every refusal.
CODES: Mapping[str, str] = {"NGL": "Nanjing", "SSM": "Shanghai", "ZJ": "Hangzhou", "SCM": "Suzhou"}


@dataclass(frozen=True, slots=True)
class Due:
    """What a presentation must come to."""

    verdict: str  # and reason
    rule_id: str
    way: str  # how the colour was known that decided

    def __str__(self) -> str:
        return f"{self.verdict or 'nothing'} ({self.rule_id or 'no rule'}, {self.way})"


_TOKEN, _ASKED, _RULE = "token index", "issuer asked", "whatever its colour"
_SHANGHAI_NO = Due("REFER NOT_RECOGNISED_HERE", "common/not-recognised", _TOKEN)
_HANGZHOU_NO = Due("DENY LOCAL_CODE_REQUIRED", "hangzhou/own-code-only", _TOKEN)
_HANGZHOU_UNASKED = replace(_HANGZHOU_NO, way=_RULE)  # no colour could change it, so nobody asks Shanghai for one
_SUZHOU_NO = Due("DENY LOCAL_CODE_REQUIRED", "suzhou/own-code-only", _TOKEN)
# "A code if there is one" counted Shanghai's own and the three provinces' (27 February); Hangzhou and Suzhou counted
# their own alone, whatever colour another had (health-codes.md 1.7, 2.2, 2.3, 2.7). Where two rules grant for the same
# reason, the first by its id is told: Hangzhou's own code is one of the provinces'.
_SHANGHAI = {"NGL": _SHANGHAI_NO, "SSM": Due("GRANT STATUS_GREEN", "delta/code-or-slip", _ASKED)}
_HANGZHOU = {
    "NGL": _HANGZHOU_NO,
    "SSM": _HANGZHOU_UNASKED,
    "ZJ": Due("GRANT STATUS_GREEN", "delta/code-or-slip", _TOKEN),
}
_SUZHOU = {
    "NGL": _SUZHOU_NO,
    "SSM": replace(_SUZHOU_NO, way=_RULE),
    "ZJ": _SUZHOU_NO,
    "SCM": Due("GRANT STATUS_GREEN", "suzhou/own-green", _TOKEN),
}
_OF_1_MARCH = {
    stop.name: due for stop, due in zip(STOPS, (_SHANGHAI, *[_HANGZHOU] * 3, _SHANGHAI, _SUZHOU), strict=True)
}
_OF_26_MARCH = {code: Due("GRANT STATUS_GREEN", "delta/green", _ASKED if code == "SSM" else _TOKEN) for code in CODES}


def due_at(day: date, stop: Stop) -> Mapping[str, Due]:
    """What each code that is shown at this gate must come to, in the order of their showing."""
    return _OF_1_MARCH[stop.name] if day == DAYS[0] else _OF_26_MARCH


@dataclass(frozen=True, slots=True)
class Shown:
    """One presentation, as the station told it."""

    day: date
    stop: str
    code: str  # issuer
    told: str  # "" when the station said nothing
    rule_id: str = ""
    way: str = ""
    sentence: Mapping[str, str] = field(default_factory=dict)
    next_step: Mapping[str, str] = field(default_factory=dict)
    opened: bool = False
    problem: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the traveller could go on."""
        return self.told.startswith("GRANT")


def problem_of(shown: Shown, due: Due) -> str:
    """What is otherwise than the rules demand; "" if nothing."""
    if shown.problem:
        return shown.problem
    said = Due(shown.told, shown.rule_id, shown.way)
    if said != due:
        return f"was {said}, due {due}"
    return ""


class Gate:
    """One gate with the traveller before it."""

    def __init__(self, day: date, stop: Stop, lane: SimulatedLane, signs: Signs, town: Town) -> None:
        self._day = day
        self._stop = stop
        self._lane = lane
        self._signs = signs
        self._town = town

    async def show_all(self, codes: Mapping[str, Person]) -> list[Shown]:
        """Every code that is due here, one after the other."""
        shown = []
        for issuer, due in due_at(self._day, self._stop).items():
            one = await self._show(codes[issuer])
            shown.append(replace(one, problem=problem_of(one, due)))
        return shown

    async def _show(self, person: Person) -> Shown:
        text = person.code.decode()
        with self._town.shows(person, text):
            await self._lane.scanner.scan(text.encode())
            lane, passage, opened = await answered(self._lane, self._signs, ANSWER_S)
        blank = Shown(self._day, self._stop.name, person.issuer, "")
        if passage is None:
            return replace(blank, opened=opened, problem="the station said nothing")
        told, problem = verdict_of(passage), untold(lane, passage)
        if opened is not (told.startswith("GRANT") and self._lane.turnstile):
            problem = f"told {told}, and the gate {'opened' if opened else 'stayed closed'}"
        return replace(
            blank,
            told=told,
            rule_id=passage.rule_id,
            way=_way(passage),
            sentence=dict(lane.sign_text.sentence),
            next_step=dict(lane.sign_text.next_step),
            opened=opened,
            problem=problem,
        )


def _way(passage: Any) -> str:
    """How the colour was known that decided."""
    if not passage.issuer:
        return _RULE
    return _ASKED if "asking" in passage.stage_microseconds else _TOKEN


@dataclass(slots=True)
class Journey:
    """The whole trip, on both days."""

    folder: Path
    console: Console

    async def run(self) -> list[Shown]:
        """Every presentation. Raises DemoError."""
        codes = await asyncio.to_thread(self._prepare)
        town = await asyncio.to_thread(make_town, self.folder / "town")
        await town.open()
        shown: list[Shown] = []
        try:
            async with asyncio.timeout(JOURNEY_S):
                for day in DAYS:
                    self.console.print(f"starting {len(STATIONS)} stations that decide by the rules of {day}")
                    shown += await self._day(day, town, codes)
        except TimeoutError:
            raise DemoError(f"the journey took longer than {JOURNEY_S:g} s: see the logs in {self.folder}") from None
        finally:
            await town.close()
        return shown

    def _prepare(self) -> Mapping[str, Person]:
        """Signed feeds of every issuer, the traveller in four of them; the traveller's codes by issuer."""
        first, *others = make_people(len(CODES) + CROWD, seed=20200301)
        codes = {
            issuer: replace(first, issuer=issuer, status=CredentialStatus.GREEN, flag=" ", token=other.token)
            for issuer, other in zip(CODES, others, strict=False)
        }
        publish_feeds(self.folder / "feeds", [*codes.values(), *others[len(CODES) :]])
        return codes

    async def _day(self, day: date, town: Town, codes: Mapping[str, Person]) -> list[Shown]:
        """All stations at once: each has its own gate, and the traveller's codes hold at all."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._station(station, day, town, codes)) for station in STATIONS]
        shown = [one for task in tasks for one in task.result()]
        order = {stop.name: number for number, stop in enumerate(STOPS)}
        return sorted(shown, key=lambda one: order[one.stop])

    async def _station(self, station: Station, day: date, town: Town, codes: Mapping[str, Person]) -> list[Shown]:
        folder = self.folder / day.isoformat() / station.id
        folder.mkdir(parents=True)
        lanes = [_lane(number, folder, *one) for number, one in enumerate(station.lanes)]
        async with contextlib.AsyncExitStack() as open_things:
            for lane in lanes:
                await lane.plug()
                open_things.push_async_callback(lane.unplug)
            controller = await self._start(folder, station, day, lanes, town)
            open_things.push_async_callback(_end, controller)
            signs = await open_things.enter_async_context(Signs(controller.grpc[0]))
            if not await signs.until_up(UP_S):
                raise DemoError(f"a device of {station.id} did not come up: see {controller.log}")
            gates = [
                (stop, lane) for stop in STOPS for lane in lanes if (stop.station, stop.lane) == (station.id, lane.id)
            ]
            return [one for stop, lane in gates for one in await Gate(day, stop, lane, signs, town).show_all(codes)]

    async def _start(
        self, folder: Path, station: Station, day: date, lanes: Sequence[SimulatedLane], town: Town
    ) -> Controller:
        site = Site(station.id, station.region, day)
        config = folder / "station.toml"
        config.write_text(station_toml(folder, lanes, _FREE, site, town, self.folder / "feeds"), "utf-8")
        return await start(config, folder / "controller.log")


async def _end(controller: Controller) -> None:
    code = await stop_process(controller.process)
    if code != 0:
        raise DemoError(f"a controller ended with {code}: see {controller.log}")


def _lane(number: int, folder: Path, direction: str, turnstile: bool) -> SimulatedLane:
    lane = make_lane(number, folder / "ports")
    lane.direction, lane.turnstile, lane.pairing_window_s = direction, turnstile, PAIRING_S
    return lane


def show_journey(shown: Sequence[Shown], spent_s: float, console: Console) -> bool:
    """Print every presentation and what it came to; whether all was as the rules demand."""
    for day in DAYS:
        mine = [one for one in shown if one.day == day]
        if all(one.accepted for one in mine):
            console.print(_opened(day, mine))
        else:
            console.print(f"[bold]by the rules of {day}[/bold]", *[_told(gate, mine) for gate in STOPS], sep="\n")
    console.print(_needed_table(shown))
    refused = Table("rules of", "refused", "times", title="refusals by reason", title_justify="left")
    for (day, told), count in sorted(Counter((one.day, one.told) for one in shown if not one.accepted).items()):
        refused.add_row(str(day), told or "nothing was said", str(count))
    console.print(refused)
    problems = [f"{one.day} {one.stop}, {one.code}: {one.problem}" for one in shown if one.problem]
    problems += missing(shown)
    for problem in problems:
        console.print(f"[bold]NOT AS DUE[/bold] {problem}", soft_wrap=True)
    good = "NOT everything was as due" if problems else "everything was as the rules of the day demand"
    granted = sum(one.accepted for one in shown)
    console.print(f"{len(shown)} presentations, {granted} accepted, in {spent_s:.0f} s: {good}", soft_wrap=True)
    return not problems


def missing(shown: Sequence[Shown]) -> list[str]:
    """What should have been shown and was not."""
    there = {(one.day, one.stop, one.code) for one in shown}
    due = [(day, stop.name, code) for day in DAYS for stop in STOPS for code in due_at(day, stop)]
    return [f"{day} {stop}, {code}: was never shown" for day, stop, code in due if (day, stop, code) not in there]


def needed_at(shown: Sequence[Shown], day: date, gate: str) -> int | None:
    """Which presentation was the first that opened this gate; None when none did."""
    accepted = [one.accepted for one in shown if (one.day, one.stop) == (day, gate)]
    return accepted.index(True) + 1 if True in accepted else None


def _needed_table(shown: Sequence[Shown]) -> Table:
    table = Table("presentations until the gate opened", *map(str, DAYS))
    needed = {day: [needed_at(shown, day, gate.name) for gate in STOPS] for day in DAYS}
    for number, gate in enumerate(STOPS):
        table.add_row(gate.name, *[str(needed[day][number] or "never") for day in DAYS])
    table.add_row("in all", *[str(sum(count or 0 for count in needed[day])) for day in DAYS])
    return table


def _told(gate: Stop, shown: Sequence[Shown]) -> Table:
    """One presentation after the other at one gate, with the sign's words."""
    table = Table(title=gate.name, title_justify="left", show_lines=True)
    for name in ("code", "verdict, rule, how known", "the sign says"):
        table.add_column(name, overflow="fold")
    for one in (one for one in shown if one.stop == gate.name):
        verdict = one.told.replace(" ", "\n") or "nothing"
        words = [f"{one.sentence.get(each, '')}  {one.next_step.get(each, '')}" for each in LANGUAGES]
        table.add_row(f"{CODES[one.code]}\n{one.code}", f"{verdict}\n{one.rule_id}\n{one.way}", "\n".join(words))
    return table


def _opened(day: date, shown: Sequence[Shown]) -> Table:
    """A day on which every code was accepted: a line for each gate, with how each colour was known."""
    table = Table("gate", *[f"{name} {code}" for code, name in CODES.items()])
    table.title, table.title_justify = f"by the rules of {day} every gate opened at every code", "left"
    for gate in STOPS:
        mine = {one.code: one.way for one in shown if one.stop == gate.name}
        table.add_row(gate.name, *[mine.get(code, "not shown") for code in CODES])
    rules = ", ".join(dict.fromkeys(one.rule_id for one in shown))
    words = dict.fromkeys(" ".join(one.sentence.get(each, "") for each in LANGUAGES) for one in shown)
    table.caption, table.caption_justify = f"{rules}: {'; '.join(words)}", "left"
    return table


def run_journey(console: Console, keep: Path | None = None) -> bool:
    """Make the trip and print it; whether all was as due. Raises DemoError, OSError."""
    folder = keep or Path(tempfile.mkdtemp(prefix="gate-journey-"))
    folder.mkdir(parents=True, exist_ok=True)
    started_s = time.monotonic()
    try:
        shown = asyncio.run(Journey(folder, console).run())
    except KeyboardInterrupt:
        _tidy(folder, keep)
        raise  # when anything else ends it, its files stay for whoever looks
    good = show_journey(shown, time.monotonic() - started_s, console)
    _tidy(folder, keep)
    return good


def _tidy(folder: Path, keep: Path | None) -> None:
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)
