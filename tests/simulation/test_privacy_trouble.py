"""Personal data stays in memory on a station's worst day: hostile bytes, refused calls, broken input, crashes."""

import asyncio
import contextlib
import os
import random
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.json_format import MessageToJson

from drivers.readers.samv.codec import StatusWord, encode_reply
from drivers.simulated.cards import card_text
from gate.sim.passengers import Habit, Passenger
from gate.sim.people import Person, make_people
from gate.sim.world import Addresses, SimulatedLane, make_lane, publish_feeds, station_toml
from gate.v1 import feed_pb2, lane_pb2, passage_pb2, status_pb2
from gate.v1.feed_pb2_grpc import FeedServiceStub
from gate.v1.lane_pb2_grpc import LaneServiceStub
from gate.v1.passage_pb2_grpc import PassageServiceStub
from gate.v1.status_pb2_grpc import StatusServiceStub
from tests.simulation.search import Written, contents, find_leaks, page, secrets_of

ROOT = Path(__file__).parents[2]
# Long enough to be sought in every encoding, GBK included.
NAMES = ("欧阳安宁和平", "司马清明远山", "上官江海云月", "诸葛星辰春夏", "夏侯秋冬平安", "皇甫明月清江")
# Everything that makes Python, asyncio and gRPC talkative.
TALKATIVE = {"PYTHONDEVMODE": "1", "GRPC_VERBOSITY": "DEBUG", "PYTHONPATH": str(ROOT)}


@dataclass(slots=True)
class Station:
    """A controller in its own process, told to say everything, and whatever it said or answered."""

    folder: Path
    lanes: Sequence[SimulatedLane]
    people: Sequence[Person]
    process: asyncio.subprocess.Process
    answers: Written = field(default_factory=list)

    @property
    def operator(self) -> str:
        """The operator's socket."""
        return f"unix:{self.folder}/operator.sock"

    @property
    def ticketing(self) -> str:
        """The ticket system's socket."""
        return f"unix:{self.folder}/ticketing.sock"

    def written(self) -> Written:
        """All files, whoever wrote them, and all answers."""
        return [*contents(self.folder), *self.answers]

    async def ask(self, name: str, call: Awaitable[Any]) -> None:
        """Keep what `call` answers, or its error with all that comes with it."""
        try:
            reply = await call
        except grpc.aio.AioRpcError as error:
            more = [f"{key}={value!r}" for key, value in error.trailing_metadata() or ()]
            said = f"{error.code()} {error.details()} {error.debug_error_string()} {more}"
            self.answers.append((f"error of {name}", said.encode()))
        else:
            self.answers += [(name, reply.SerializeToString()), (f"{name} as JSON", MessageToJson(reply).encode())]


def _crowd() -> list[Person]:
    return [replace(p, name=NAMES[n % len(NAMES)]) for n, p in enumerate(make_people(14, seed=23))]


def _environment(folder: Path) -> dict[str, str]:
    """Home, temporary and working folder lie where they are searched."""
    for name in ("cwd", "home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    return os.environ | TALKATIVE | {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}


@contextlib.asynccontextmanager
async def _station(folder: Path, lanes: Sequence[SimulatedLane], run: int) -> AsyncIterator[Station]:
    """Run number `run` of the station in `folder`, until the block ends or it does."""
    with (folder / f"log-{run}").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gate", "--verbose", "run", "--config", str(folder / "station.toml")),
            stdout=log,
            stderr=log,
            cwd=folder / "cwd",
            env=_environment(folder),
        )
    station = Station(folder, lanes, _crowd(), process)
    try:
        await _until_up(station)
        yield station
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 20)


async def _until_up(station: Station) -> None:
    async with grpc.aio.insecure_channel(station.operator) as link, asyncio.timeout(30):
        while True:
            with contextlib.suppress(grpc.aio.AioRpcError):
                listed = await LaneServiceStub(link).ListLanes(lane_pb2.ListLanesRequest())
                if all(device.up for lane in listed.lanes for device in lane.devices):
                    return
            await asyncio.sleep(0.1)


@contextlib.asynccontextmanager
async def _world(folder: Path) -> AsyncIterator[list[SimulatedLane]]:
    """Feeds, a station file, one lane with a serial scanner and one with a camera."""
    publish_feeds(folder / "feeds", _crowd())
    lanes = [make_lane(0, folder / "ports"), make_lane(1, folder / "ports", camera=True)]
    for lane in lanes:
        await lane.plug()
    (folder / "station.toml").write_text(station_toml(folder, lanes, Addresses("127.0.0.1:0", "127.0.0.1:0")))
    yield lanes
    for lane in lanes:
        await lane.unplug()


def test_a_day_of_trouble_writes_nothing_personal(tmp_path: Path) -> None:
    """Every habit, hostile codes and cards, refused calls, wrong command lines, crashes, a new start."""

    async def story() -> Written:
        written: Written = []
        async with _world(tmp_path) as lanes:
            async with _station(tmp_path, lanes, run=1) as station:
                await _everybody_comes(station)
                await _hostile_codes(station)
                await _hostile_cards(station)
                await _calls(station)
                await asyncio.to_thread(_command_lines, station)
                written += [("metrics", await page(tmp_path / "log-1")), *station.answers]
                await _children_crash(station)
                await _crash(station)
            async with _station(tmp_path, lanes, run=2) as station:
                green = next(person for person in station.people if person.may_pass)
                await Passenger(green, Habit.CODE_THEN_CARD, lanes[0], random.Random(1)).visit()
                written.append(("metrics", await _page_with(tmp_path / "log-2", b'outcome="PASSED"')))
        return [*written, *contents(tmp_path)]

    written = asyncio.run(story())
    said = dict(written)
    assert b"Fatal Python error" in said["log-1"], "the crash left its traceback"
    for part in (
        "data/store/SSM/manifest.json",
        "data/journal/journal-",
        "error of garbage",
        "gate query",
        "gate feed publish",
    ):
        assert any(part in name for name in said), part
    pictures = [name for name, raw in written if raw.startswith((b"\x89PNG", b"\xff\xd8\xff"))]
    assert all(name.startswith("ports/") for name in pictures), "only the simulated camera makes pictures"
    assert find_leaks(written, secrets_of(_crowd())) == []


async def _page_with(log: Path, text: bytes) -> bytes:
    async with asyncio.timeout(10):
        while text not in (said := await page(log)):
            await asyncio.sleep(0.1)
    return said


async def _everybody_comes(station: Station) -> None:
    async def queue(lane: SimulatedLane, people: Sequence[Person]) -> None:
        for person, habit in zip(people, Habit, strict=False):
            await Passenger(person, habit, lane, random.Random(1)).visit()

    half = len(station.people) // 2
    first, second = station.lanes
    await asyncio.gather(queue(first, station.people[:half]), queue(second, station.people[half:]))


async def _hostile_codes(station: Station) -> None:
    """Codes that carry a person in the clear, whole, torn and oversized; the last one is awaited in the journal."""
    person, scanner = station.people[0], station.lanes[0].scanner
    number, name = person.number.encode(), person.name.encode()
    before = (await _passages(station)).count("CODE_NOT_HEALTH")
    for code in (
        number,
        name,
        person.name.encode("gbk"),
        person.card(),
        b"https://s.sh.gov.cn.evil/?id=" + number + b"&name=" + name,
        (number + b"," + name + b";") * 70,  # near the largest QR code
        person.code[:-5],
        person.code * 2,
        b"\xff\xfe" + person.number.encode("utf-16-le"),
    ):
        await scanner.scan(code)
        await station.lanes[1].scanner.scan(code)
    await scanner.scan(number * 230)  # 4 KB: more than any code, as an engine gone wrong sends
    await scanner.scan(b"https://example.com/the-end")
    async with asyncio.timeout(20):
        while (await _passages(station)).count("CODE_NOT_HEALTH") == before:
            await asyncio.sleep(0.1)


async def _passages(station: Station) -> str:
    async with grpc.aio.insecure_channel(station.operator) as link:
        listed = await PassageServiceStub(link).ListPassages(passage_pb2.ListPassagesRequest())
        return MessageToJson(listed)


async def _hostile_cards(station: Station) -> None:
    """Cards of no known kind, with letters in the number, and frames that break with a person inside."""
    reader, person = station.lanes[0].reader, station.people[1]
    wrong = person.number[:-1] + ("1" if person.number[-1] != "1" else "2")
    cards = [
        card_text("Z" if flag == "Z" else flag, name=person.name, number=number)
        for flag, number in (
            (" ", wrong),
            ("J", person.number),
            ("Y", person.number),
            (" ", person.number[:-4] + "ABCD"),
        )
    ]
    cards.append(person.card()[:248] + "Z".encode("utf-16-le") + person.number.encode("utf-16-le")[:6])
    for card in cards:
        reader.present(card)
        assert await reader.wait_read(5.0)
        reader.remove()
    # The answer of a reading, by whoever shares the line: with a wrong checksum, then torn.
    whole = encode_reply(StatusWord.OK, bytes.fromhex("01000000") + person.card())
    for broken in (whole[:-1] + bytes([whole[-1] ^ 0xFF]), whole[:-40]):
        reader.knobs.late_reply, finds = broken, reader.finds
        async with asyncio.timeout(10):
            while reader.finds == finds:
                await asyncio.sleep(0.05)
        reader.knobs.late_reply = b""
        await _until_up(station)
    reader.present(station.people[0].card())  # once this is read, the driver is done with what came before
    assert await reader.wait_read(5.0)
    reader.remove()


async def _calls(station: Station) -> None:
    """What a ticket system and an operator may ask, rightly and wrongly, and all that comes back."""
    person = station.people[2]
    async with grpc.aio.insecure_channel(station.ticketing) as link:
        check = StatusServiceStub(link).CheckStatus
        for name, fields in _queries(person).items():
            await station.ask(name, check(status_pb2.CheckStatusRequest(**fields)))
        batch = [status_pb2.CheckStatusRequest(**fields) for fields in _queries(person).values()]
        many = status_pb2.BatchCheckStatusRequest(requests=batch)
        await station.ask("batch", StatusServiceStub(link).BatchCheckStatus(many))
        raw = link.unary_unary("/gate.v1.StatusService/CheckStatus", response_deserializer=lambda raw: raw)
        garbage = b"\x0a\x7f" + person.number.encode() + b"\xff" + person.name.encode("gbk")
        await station.ask("garbage", raw(garbage))
        await station.ask("too much", raw(garbage * 100_000))
        listing = LaneServiceStub(link).ListLanes(lane_pb2.ListLanesRequest())
        await station.ask("not my role", listing)
    async with grpc.aio.insecure_channel(station.operator) as link:
        await station.ask("lanes", LaneServiceStub(link).ListLanes(lane_pb2.ListLanesRequest()))
        await station.ask("passages", PassageServiceStub(link).ListPassages(passage_pb2.ListPassagesRequest()))
        await station.ask("feeds", FeedServiceStub(link).ListFeeds(feed_pb2.ListFeedsRequest()))
        await station.ask("no such lane", LaneServiceStub(link).GetLane(lane_pb2.GetLaneRequest(lane_id=person.number)))


def _queries(person: Person) -> dict[str, dict[str, Any]]:
    asked = {"purpose": "ticket purchase", "order_id": "order-1"}
    passport, resident = status_pb2.DOCUMENT_TYPE_PASSPORT, status_pb2.DOCUMENT_TYPE_RESIDENT_ID
    wrong = person.number[:-1] + ("1" if person.number[-1] != "1" else "2")

    def document(kind: int, number: str) -> dict[str, Any]:
        return {"document": status_pb2.Document(type=kind, number=number), **asked}

    return {
        "known": document(resident, person.number),
        "wrong check digit": document(resident, wrong),
        "wrong kind": document(passport, person.number),
        "name for number": document(resident, person.name),
        "no purpose": {"document": status_pb2.Document(type=resident, number=person.number)},
        "no kind": document(0, person.number),
        "long number": document(resident, person.number * 50),
        "code": {"code_content": person.code.decode(), **asked},
        "other code": {"code_content": f"https://s.sh.gov.cn.evil/?id={person.number}&n={person.name}", **asked},
        "long code": {"code_content": person.number * 300, **asked},
        "region": {**document(resident, person.number), "origin_region": person.number},
        "purpose": {**document(resident, person.number), "purpose": person.name * 20},
    }


def _command_lines(station: Station) -> None:
    """Commands with a person on standard input or in a file, right and wrong, with all their tracebacks."""
    person, folder = station.people[3], station.folder
    wrong = person.number[:-1] + ("1" if person.number[-1] != "1" else "2")
    ask = ("query", "--purpose", "test", "--order-id", "1", "--controller", station.ticketing)
    _gate(station, *ask, stdin=person.number)
    _gate(station, *ask, "--json", stdin=person.number)
    _gate(station, *ask, stdin=wrong)
    _gate(station, *ask, "--code", stdin=person.code.decode())
    _gate(station, *ask, "--code", stdin=f"{person.name} {person.number}")
    _gate(station, *ask[:-1], "127.0.0.1:1", stdin=person.number)
    _gate(station, "status", "--controller", station.operator, "--json")
    _gate(station, "replay", str(folder / "data" / "journal"))
    region = folder.parent / f"{folder.name}-region"  # the region's own files: they hold numbers and are not searched
    region.mkdir()
    keys = folder / "feeds" / "keys"
    secrets = ("--key", str(keys / "akm.private"), "--pepper", str(keys / "akm.pepper"), "--sequence", "9")
    head = "document_type,number,status,asserted_by,effective_at\n"
    for n, row in enumerate(
        (
            f"RESIDENT_ID,{wrong},GREEN,340000,2020-02-20T00:00:00Z\n",
            f"RESIDENT_ID,{person.number},PURPLE,340000,2020-02-20T00:00:00Z\n",
            f"{person.number},{person.name},GREEN,340000,2020-02-20T00:00:00Z\n",
            f"RESIDENT_ID,{person.number},GREEN,340000,{person.number}\n",
            f"RESIDENT_ID,{person.number},GREEN,{person.name},2020-02-20T00:00:00Z\n",
            f"RESIDENT_ID,{person.number},GREEN,340000,2020-02-20T00:00:00Z,{person.name},{person.name},{person.number}\n",
            f'RESIDENT_ID,"{person.number},GREEN\n',
        )
    ):
        rows = region / f"{n}.csv"
        rows.write_text(head + row)
        _gate(station, "feed", "publish", str(rows), str(folder / f"wrong-{n}.snapshot"), *secrets)


def _gate(station: Station, *arguments: str, stdin: str = "") -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gate", "--verbose", *arguments],  # the line that it says without is in the traceback
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=station.folder / "cwd",
        env=_environment(station.folder),
        timeout=30,
        check=False,
    )
    station.answers.append((f"gate {' '.join(arguments[:2])}", done.stdout))


async def _children_crash(station: Station) -> None:
    """Feed process and camera process die with a code before the camera, and are started again."""
    lane, person = station.lanes[1], station.people[5]
    await lane.scanner.scan(person.code)
    before = _children(station)
    assert len(before) == 2
    for child in before:
        os.kill(child, signal.SIGABRT)
    async with asyncio.timeout(20):
        while len(_children(station) - before) < 2:
            await asyncio.sleep(0.1)
    await _until_up(station)


def _children(station: Station) -> set[int]:
    pid = station.process.pid
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def _crash(station: Station) -> None:
    """The controller dies with a code waiting and a card on the reader."""
    lane, person = station.lanes[0], station.people[4]
    await lane.scanner.scan(person.code)
    lane.reader.present(person.card())
    assert await lane.reader.wait_read(5.0)
    station.process.send_signal(signal.SIGABRT)
    await asyncio.wait_for(station.process.wait(), 20)
    lane.reader.remove()


@pytest.fixture
def cores() -> Iterator[None]:
    """What this test starts may write core files as large as it likes, into its working folder."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0 or "/" in Path("/proc/sys/kernel/core_pattern").read_text():
        pytest.skip("this machine writes no core files into the working folder")
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


@pytest.mark.usefixtures("cores")
def test_a_crash_leaves_no_memory_on_disk(tmp_path: Path) -> None:
    """A core file would hold whoever stood at a lane: none is written, whatever the machine's limit."""

    async def story() -> None:
        async with _world(tmp_path) as lanes, _station(tmp_path, lanes, run=1) as station:
            await _children_crash(station)
            await _crash(station)

    asyncio.run(story())
    assert list((tmp_path / "cwd").iterdir()) == []
