"""A whole station for a test: signed feeds, simulated devices on real ports, the station in the test's own loop."""

import asyncio
import contextlib
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import grpc.aio

from drivers.simulated.cards import card_text
from gate.config import Grpc
from gate.credential.cardnumber import card_number
from gate.credential.documents import DocumentType, document
from gate.credential.subject import card_key, subject_key, token_key
from gate.feed.records import CredentialStatus, Kind, StatusEntry
from gate.moment import Moment
from gate.passage.record import PassageRecord
from gate.rpc.server import RpcServer
from gate.sim.codes import code_text, indexed_token
from gate.sim.people import ISSUERS, TRANSIT_SCHEME, Person
from gate.sim.world import Addresses, SimulatedLane, make_lane, publish_feeds, station_toml
from gate.station.station import Station
from gate.sync.keyring import load_peppers
from tests.support.region import Region

KNOWN_SINCE_S = 1_581_696_000  # 2020-02-14T16:00Z: the people of own feeds have had their status since then


def person(number: str, status: CredentialStatus | None, issuer: str = "SSM") -> Person:
    """A made-up person."""
    token = hashlib.sha256(number.encode()).hexdigest()[:32]
    return Person("测试员", number, issuer, status, " ", token)


def people() -> dict[str, Person]:
    """One person a colour, and one of whom nobody has heard."""
    return {
        "green": person(_valid("31010519900101001"), CredentialStatus.GREEN),
        "red": person(_valid("33010619850203002"), CredentialStatus.RED, "ZJ"),
        "yellow": person(_valid("32010219780304003"), CredentialStatus.YELLOW, "SKM"),
        "stranger": person(_valid("34010219991231004"), None, "AKM"),
        "second": person(_valid("31010519910101001"), CredentialStatus.GREEN),
    }


def somebody(serial: int, status: CredentialStatus | None, issuer: str, born: str = "19900101") -> Person:
    """A made-up person of any age; `serial` (below 1,000) tells people apart."""
    return person(_valid(f"310105{born}{serial:03d}"), status, issuer)


def code_of(who: Person, form: str, utc_s: float | None = None) -> bytes:
    """The text of somebody's code of `form`, shown now or then."""
    return code_text(form, who.token, time.time() if utc_s is None else utc_s).encode()


def _valid(body: str) -> str:
    from stdnum.iso7064 import mod_11_2

    return body + mod_11_2.calc_check_digit(body)


@dataclass(slots=True)
class House:
    """A running station and what surrounds it."""

    station: Station
    lanes: Sequence[SimulatedLane]
    folder: Path
    people: dict[str, Person]

    async def until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Wait for `condition`; fails when it is not so in time."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def record(self, **fields: str) -> PassageRecord:
        """The newest passage with these fields, as soon as it is there."""
        found: list[PassageRecord] = []

        def there() -> bool:
            found[:] = [
                r for r in self.station.recent.newest(100) if all(getattr(r, k) == v for k, v in fields.items())
            ]
            return bool(found)

        await self.until(there)
        return found[0]

    async def tap(self, who: Person, lane: int = 0) -> None:
        """Somebody lays their card on the reader until it was read."""
        reader = self.lanes[lane].reader
        reader.present(who.card())
        assert await reader.wait_read(5.0)
        reader.remove()

    async def scan(self, code: bytes, lane: int = 0) -> None:
        """A code, or a certificate, is held before the scanner."""
        await self.lanes[lane].scanner.scan(code)

    async def walks(self, lane: int = 0) -> PassageRecord:
        """Whoever was just presented is released and walks; their record."""
        before = self._records(lane)
        assert await self.lanes[lane].board.wait_release(5.0), f"not released: {self.sign(lane)}"
        await self.lanes[lane].board.pass_through()
        return await self._next_record(lane, len(before))

    async def stays(self, lane: int, show: Awaitable[None]) -> PassageRecord:
        """Whoever is presented by `show` is not released; their record."""
        before, releases = self._records(lane), len(self.lanes[lane].board.releases)
        await show
        record = await self._next_record(lane, len(before))
        assert record.outcome == "NOT_RELEASED"
        assert len(self.lanes[lane].board.releases) == releases
        return record

    async def says(self, reason: str, lane: int = 0, seconds: float = 5.0) -> None:
        """Wait until the lane's sign shows this reason."""
        await self.until(lambda: self.sign(lane) == reason, seconds)

    def sign(self, lane: int = 0) -> str:
        """The reason on a lane's sign."""
        return self.station.lane(self.lanes[lane].id).sign_reason

    def _records(self, lane: int) -> Sequence[PassageRecord]:
        return [record for record in self.station.recent.newest(1000) if record.lane == self.lanes[lane].id]

    async def _next_record(self, lane: int, count: int) -> PassageRecord:
        await self.until(lambda: len(self._records(lane)) > count)
        return self._records(lane)[-1 - count]

    def metric(self, name: str, **labels: str) -> float | None:
        """A metric's value; None while there is none of these labels."""
        return self.station.metrics.registry.get_sample_value(name, labels)

    @contextlib.asynccontextmanager
    async def rpc(self) -> AsyncIterator[grpc.aio.Channel]:
        """A channel to the station's real gRPC surface, whose caller may do everything."""
        surface = RpcServer(Grpc(("127.0.0.1:0",), trust_loopback=True), self.station, lambda *call: None)
        await surface.start()
        try:
            async with grpc.aio.insecure_channel(surface.addresses[0]) as channel:
                yield channel
        finally:
            await surface.stop()

    def lane_works(self, lane: str) -> bool:
        """Whether all devices of the lane are up."""
        return self.station.lane(lane).works


def unreadable_card() -> bytes:
    """A card of a type nobody knows."""
    return card_text(" ", valid_from="20200101", valid_until="长期")[:248] + "Z".encode("utf-16-le") + b" \0" * 3


class OwnFeed:
    """One issuer's feed of a test's own people: by document, and by the token of their static codes."""

    def __init__(self, folder: Path, issuer: str, kind: Kind = Kind.NON_GREEN_WITH_ENROLMENT, region: str = "") -> None:
        self.issuer = issuer
        self.region = Region(folder / "feeds" / issuer.lower(), issuer, kind)
        self.asserted_by = region or ISSUERS[issuer][0]
        self.pepper = load_peppers(self.region.pepper_file, issuer)[self.region.pepper_id]

    def key(self, who: Person) -> bytes:
        """The subject key of somebody."""
        return subject_key(self.pepper, document(DocumentType(who.document_type), who.number))

    def publish(self, sequence: int, folks: Iterable[Person], follows: int = 0, until_s: int | None = None) -> None:
        """Their status as a snapshot, or as a delta that follows; `until_s` is how long all of it is valid."""
        entries, tokens, cards = {}, {}, {}
        for who in folks:
            assert who.status is not None, "nobody's status is in no feed"
            key = self.key(who)
            entries[key] = StatusEntry(
                key, who.status, self.asserted_by, KNOWN_SINCE_S, until_s, partition=self.asserted_by
            )
            tokens[key] = token_key(self.pepper, self.issuer, self._token(who))
            if who.transit_number:
                card = card_number(TRANSIT_SCHEME, who.transit_number)
                cards[key] = card_key(self.pepper, self.issuer, card)
        more = {"produced_s": int(time.time()), "tokens": tokens, "cards": cards}
        if follows:
            self.region.delta(follows, sequence, entries, **more)
        else:
            self.region.publish(sequence, entries, **more)  # type: ignore[arg-type]

    def _token(self, who: Person) -> str:
        form = {"ZJ": "ZJ_V2", "SKM": "SKM_V5", "AKM": "AKM"}.get(self.issuer, "")
        return indexed_token(form, who.token) or who.token

    def toml(self) -> str:
        """The feed as `station.toml` has it."""
        region = self.region
        return f"""
[[feed]]
issuer = "{self.issuer}"
source = "dir:{region.outbox}"
public_keys_file = "{region.keys_file}"
pepper_file = "{region.pepper_file}"
"""


def station_of(
    folder: Path,
    feeds: Sequence[OwnFeed],
    region: str = "330100",
    policy: str = "",
    issuers: str = "",
    pairing_window_s: float = 5.0,
) -> Callable[[str], str]:
    """A `change` for `house`: the same lanes in a station of a test's own feeds, rules and issuers."""
    (folder / "feeds").mkdir(exist_ok=True)  # so that nobody else's feeds are made

    def change(text: str) -> str:
        lanes = text[text.index("\n[[lane]]") :]
        for key, more in (
            ("release_within_s", f"pairing_window_s = {pairing_window_s}"),
            ("suffix", "same_code_s = 0.0"),  # a test's passengers show a code twice when they mean it
            ('driver = "samv"', "poll_interval_ms = 50"),
        ):
            lanes = lanes.replace(f"\n{key}", f"\n{more}\n{key}")
        return f"""[station]
id = "test"
region = "{region}"
data_dir = "{folder}/data"
[clock]
trust = "stepped-only"
[metrics]
listen = "127.0.0.1:0"
[policy]
{policy}
{"".join(feed.toml() for feed in feeds)}{issuers}{lanes}"""

    return change


def today() -> date:
    """The day in China."""
    return Moment(time.time(), 0.0).beijing_day


async def same_day_ahead() -> None:
    """Return when the day in China stays the same for the length of a test: at midnight half a minute later."""
    while Moment(time.time(), 0.0).plus(30.0).beijing_day != today():
        await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def house(folder: Path, lanes: int = 1, change: Callable[[str], str] = str) -> AsyncIterator[House]:
    """Run a station with `lanes` simulated lanes until the block ends; `change` edits its station.toml."""
    from gate.config import parse

    folks = people()
    if not (folder / "feeds").exists():  # else the station is started again where it ran before
        publish_feeds(folder / "feeds", list(folks.values()))
    simulated = [make_lane(number, folder / "ports") for number in range(lanes)]
    for lane in simulated:
        await lane.plug()
    text = station_toml(folder, simulated, Addresses("127.0.0.1:0", "127.0.0.1:0"))
    station = Station(parse(change(text), folder))
    running = asyncio.create_task(station.run())
    built = House(station, simulated, folder, folks)
    try:
        async with asyncio.timeout(20):
            await station.ready.wait()
        await built.until(lambda: all(state.works for state in station.lanes()))
        yield built
    finally:
        station.stop()
        await asyncio.wait_for(running, 20)
        for lane in simulated:
            await lane.unplug()
