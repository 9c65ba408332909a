"""One process of the soak: simulated devices of some lanes, people walking through, faults; it writes its ledger.

`python -m tests.simulation.soak.yard PLAN`: says its lanes as a line of JSON, waits for the start on its input, and
ends when the plan does. It knows nothing of the station but what people and devices see.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

from gate.feed.records import CredentialStatus
from gate.sim.people import Person, make_people
from tests.simulation.soak.gates import Place, turned
from tests.simulation.soak.lanes import Lane, lane_id, make_lane

PEOPLE = 20_000  # nobody comes again before anti-passback has forgotten them (120 s) at 50 a second
CODES_OF = ("ZJ", "SKM", "AKM")  # whose codes lead to a person by the feed alone
STATUSES = (CredentialStatus.GREEN, CredentialStatus.RED)
RECOVERY_S = 2.5  # issue 2: within 2 s of the device's return; and the next look at a card
PATIENCE_S = 3.0  # a person waits so long for the gate
REFUSED_S = 1.5  # a refused one, until the sign is read: far above any decision, on a busy machine too
WALK_S = (0.05, 0.2)
SEEN_S = 0.08  # until the turnstile's next look has told the passage (50 ms)
REST_S = 5.5  # after a visit that a fault may have met: older grants have lapsed
FAULT_S, GAP_S = (0.4, 4.0), (0.5, 2.5)
# A machine that keeps one of us waiting so long of every WATCH_S makes devices late: a fault of its own, on all lanes.
WATCH_S, STARVED_S = 0.2, 0.08
CABLE: Mapping[str, Mapping[str, object]] = {
    "silent": {"silent": True},
    "late": {"late_ms": 700},
    "garbled": {"garbled_every": 2},
    "answers swapped": {"wrong_answer": True},
    "in pieces": {"chopped": 16},
}
# Frames without a checksum: an altered byte is taken for true (each driver's `unproved`).
NO_CHECKSUM = ("tpw-321asp", "uhppote")


@dataclass(frozen=True, slots=True)
class Plan:
    """What all processes of a soak share. Windows without and with faults take turns, beginning without."""

    seed: int
    lanes: int
    yards: int
    per_s: float
    windows: int
    window_s: float
    faulty: int  # how many lanes fail in a window with faults
    folder: str
    number: int = 0  # of this yard

    def faulty_lanes(self, window: int) -> list[str]:
        """Which lanes fail in that window."""
        if window % 2 == 0:
            return []
        draw = random.Random(f"{self.seed} {window}")
        return [lane_id(number) for number in sorted(draw.sample(range(self.lanes), self.faulty))]

    @property
    def mends_s(self) -> float:
        """So long before a window's end all is whole again: recovered, and older grants lapsed."""
        return min(RECOVERY_S + REST_S, self.window_s / 2)

    @property
    def quiet_s(self) -> float:
        """So long before the end nobody comes any more."""
        return 2 * PATIENCE_S


@dataclass(slots=True)
class Ledger:
    """What people and devices of some lanes saw; instants are UTC seconds."""

    visits: list[dict[str, Any]] = field(default_factory=list)
    faults: list[dict[str, Any]] = field(default_factory=list)
    openings: dict[str, list[float]] = field(default_factory=dict)
    tells: dict[str, bool] = field(default_factory=dict)
    within_s: dict[str, float] = field(default_factory=dict)


class Yard:
    """The lanes of one process."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._draw = random.Random(f"{plan.seed} yard {plan.number}")
        folder = Path(plan.folder) / "ports"
        self.lanes = [make_lane(number, folder) for number in range(plan.number, plan.lanes, plan.yards)]
        self._everybody = everybody(plan.seed)[plan.number :: plan.yards]  # no two yards share anybody
        self._people = _people(self._everybody)
        self.ledger = Ledger(
            openings={lane.id: lane.gate.opened.times for lane in self.lanes},
            tells={lane.id: lane.gate.tells for lane in self.lanes},
            within_s={lane.id: lane.gate.within_s for lane in self.lanes},
        )

    async def plug(self) -> None:
        """Every device."""
        for lane in self.lanes:
            for place in lane.places:
                await place.port.plug()

    def describe(self) -> str:
        """The lanes for whoever writes the files."""
        rows = [
            {"id": lane.id, "far": lane.far, "station": lane.station_toml(), "own": lane.toml()} for lane in self.lanes
        ]
        return json.dumps(rows)

    async def run(self, starts_s: float, pids: Sequence[int]) -> None:
        """People and faults, until the plan ends. `pids`: whose waiting for a core is watched."""
        plan = self._plan
        watching = asyncio.create_task(self._watch(pids))
        ends_s = starts_s + plan.windows * plan.window_s
        breaking = [asyncio.create_task(self._window(number, starts_s)) for number in range(plan.windows)]
        await self._crowd(starts_s, ends_s - plan.quiet_s)
        await asyncio.gather(*breaking)
        watching.cancel()

    # --- people ----------------------------------------------------------------------------------------------------

    async def _crowd(self, starts_s: float, ends_s: float) -> None:
        """A person every so often to the lane that has been free the longest; who finds none waits."""
        free: asyncio.Queue[Lane] = asyncio.Queue()
        for lane in self.lanes:
            free.put_nowait(lane)
        pass_share = sum(person.may_pass for person in self._everybody) / len(self._everybody)
        every_s = self._plan.yards / self._plan.per_s * pass_share
        due_s = starts_s
        inside: set[asyncio.Task[None]] = set()
        while due_s < ends_s:
            lane = await free.get()
            await asyncio.sleep(max(0.0, due_s - time.time()))
            due_s = max(due_s + every_s, time.time() - 1.0)  # a jam of more than a second is not made up for
            task = asyncio.create_task(self._pass(lane, free))
            inside.add(task)
            task.add_done_callback(inside.discard)
        await asyncio.gather(*inside)

    async def _pass(self, lane: Lane, free: asyncio.Queue[Lane]) -> None:
        await self._visit(lane, next(self._people[lane.reader.by_code]))
        free.put_nowait(lane)

    async def _visit(self, lane: Lane, person: Person) -> None:
        gate, due = lane.gate, person.may_pass
        await gate.wait(0.0)  # whatever opened before did so for somebody else
        visit: dict[str, Any] = {"lane": lane.id, "due": "GRANT" if due else "DENY", "at": time.time(), "walked": False}
        await lane.reader.show(person)
        if await gate.wait(PATIENCE_S if due else REFUSED_S):
            await asyncio.sleep(self._draw.uniform(*WALK_S))
            visit["walked"] = await gate.walk() is not False
        lane.reader.take_away()
        visit["until"] = time.time()
        self.ledger.visits.append(visit)
        await asyncio.sleep(SEEN_S if gate.tells else gate.within_s)
        if lane.trouble_s + RECOVERY_S >= visit["at"] or visit["walked"] != due:
            await asyncio.sleep(REST_S)

    # --- faults ----------------------------------------------------------------------------------------------------

    async def _window(self, number: int, starts_s: float) -> None:
        begins_s = starts_s + number * self._plan.window_s
        mended_s = begins_s + self._plan.window_s - self._plan.mends_s
        failing = set(self._plan.faulty_lanes(number))
        await asyncio.sleep(begins_s - time.time())
        await asyncio.gather(*(self._fail(lane, mended_s) for lane in self.lanes if lane.id in failing))

    async def _watch(self, pids: Sequence[int]) -> None:
        """Note when the machine gave one of the processes no core, though it would have run."""
        waited_s, at_s = [_waited_s(pid) for pid in pids], time.time()
        while True:
            await asyncio.sleep(WATCH_S)
            before, since_s, waited_s, at_s = waited_s, at_s, [_waited_s(pid) for pid in pids], time.time()
            if max(now - then for now, then in zip(waited_s, before, strict=True)) > STARVED_S:
                fault = {"lane": "", "device": "machine", "name": "no core", "from": since_s, "to": at_s}
                self.ledger.faults.append(fault)
                for lane in self.lanes:
                    lane.trouble_s = max(lane.trouble_s, at_s)

    async def _fail(self, lane: Lane, mended_s: float) -> None:
        while (left_s := mended_s - time.time()) > FAULT_S[0]:
            await self._one_fault(lane, min(self._draw.uniform(*FAULT_S), left_s))
            await asyncio.sleep(self._draw.uniform(*GAP_S))

    async def _one_fault(self, lane: Lane, seconds: float) -> None:
        place = self._draw.choice([place for place in lane.places if place.key == "port"])
        names = [*place.troubles, *_cable_of(place.toml), "unplugged"]
        fault: dict[str, Any] = {"lane": lane.id, "device": place.toml.split('"')[1], "name": self._draw.choice(names)}
        fault["from"] = time.time()
        lane.trouble_s = float("inf")
        await self._break(place, fault["name"], seconds)
        lane.trouble_s = fault["to"] = time.time()
        self.ledger.faults.append(fault)

    async def _break(self, place: Place, name: str, seconds: float) -> None:
        if name == "unplugged":
            await place.port.unplug()
            await asyncio.sleep(seconds)
            await place.port.plug()
            return
        begin, mend = place.troubles.get(name) or turned(place.cable, **CABLE[name])
        begin()
        await asyncio.sleep(seconds)
        mend()


def _waited_s(pid: int) -> float:
    """How long a process's main thread has waited for a core (sched-stats.rst of the kernel, second field)."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[1]) / 1e9


def _cable_of(toml: str) -> list[str]:
    checked = not any(name in toml for name in NO_CHECKSUM)
    return [name for name in CABLE if checked or name not in ("garbled", "answers swapped")]


def everybody(seed: int) -> list[Person]:
    """All people of a soak: they may pass, or are refused; nobody is undecided."""
    return [person for person in make_people(PEOPLE, seed) if person.status in STATUSES]


def _people(mine: Sequence[Person]) -> dict[bool, Iterator[Person]]:
    """By whether they show a code."""
    able = [person for person in mine if person.issuer in CODES_OF]
    codes: Sequence[Person] = able[: len(able) * 3 // 4]
    shown = {person.number for person in codes}
    return {True: cycle(codes), False: cycle([person for person in mine if person.number not in shown])}


async def _main(plan: Plan) -> None:
    yard = Yard(plan)
    await yard.plug()
    print(yard.describe(), flush=True)
    line = await asyncio.to_thread(sys.stdin.readline)
    if line.strip():
        starts_s, *pids = line.split()
        await yard.run(float(starts_s), [int(pid) for pid in pids])
        path = Path(plan.folder) / f"ledger-{plan.number}.json"
        path.write_text(json.dumps(asdict(yard.ledger)))
        print("written", flush=True)
    # Devices stay until the controller has ended: a vanishing board would be a fault of its own.
    await asyncio.to_thread(sys.stdin.readline)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):  # asyncio's own loop: uvloop does not read the master side of a pty
        asyncio.run(_main(Plan(**json.loads(sys.argv[1]))))
