"""What surrounds a demonstration station: signed feeds of all issuers, simulated devices on real ports, its file."""

import asyncio
import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from drivers.simulated.camera import SimulatedCamera
from drivers.simulated.line_scanner import SimulatedLineScanner
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.relay_board import PASSED, PASSED_EXIT, SimulatedRelayBoard
from drivers.simulated.samv import SimulatedSamv
from gate.credential.cardnumber import card_number
from gate.credential.documents import DocumentType, document
from gate.credential.subject import KEY_SCHEME, card_key, subject_key, token_key
from gate.feed.records import Kind
from gate.sim.people import ISSUERS, TRANSIT_SCHEME, Person
from gate.sim.town import Town
from gate.sync import publisher
from gate.sync.keyring import keygen, load_peppers, load_private_key
from gate.sync.rows import NEEDED, KeysOf, read_rows

DAY_S = 86_400
# City issuers tell everybody exactly; the provinces and Shanghai enrol their greens.
SMALL_ISSUERS = ("SCM", "XKM", "NGL", "NATIONAL")
RELEASE_WITHIN_S = 4.0  # shorter than a real turnstile's 5 to 8 s, so that a short demonstration shows a lapse


def publish_feeds(folder: Path, people: Sequence[Person], sequence: int = 1, only: str = "") -> None:
    """One signed snapshot for every issuer (or `only` one), as the regions make them; the first also makes the keys."""
    now = datetime.now(UTC)
    produced_s = int(now.timestamp())
    for issuer, (region, _) in ISSUERS.items():
        if only not in ("", issuer):
            continue
        stem = issuer.lower()
        if sequence == 1:
            keygen(folder / "keys", issuer, now)
        private, pepper_file = folder / "keys" / f"{stem}.private", folder / "keys" / f"{stem}.pepper"
        rows = folder / f"{stem}.csv"
        _write_csv(rows, [p for p in people if p.issuer == issuer and p.status is not None], region, now)
        pepper_id, pepper = next(iter(load_peppers(pepper_file, issuer).items()))

        def key_of(kind: str, number: str, pepper: bytes = pepper) -> bytes:
            return subject_key(pepper, document(DocumentType(kind), number))

        def token_key_of(token: str, pepper: bytes = pepper, issuer: str = issuer) -> bytes:
            return token_key(pepper, issuer, token)

        def card_key_of(scheme: str, number: str, pepper: bytes = pepper, issuer: str = issuer) -> bytes:
            return card_key(pepper, issuer, card_number(scheme, number))

        out = folder / stem / f"{stem}-{sequence}.snapshot"
        out.parent.mkdir(exist_ok=True)
        kind = Kind.FULL if issuer in SMALL_ISSUERS else Kind.NON_GREEN_WITH_ENROLMENT
        edition = publisher.Edition(issuer, sequence, produced_s, produced_s + DAY_S, KEY_SCHEME, pepper_id, kind)
        output = publisher.Output(out)
        keys = KeysOf(key_of, token_key_of, card_key_of)
        publisher.publish(read_rows(rows, keys), edition, load_private_key(private), output)
        rows.unlink()  # the region's own data: the station never sees a number


def _write_csv(path: Path, people: Sequence[Person], region: str, now: datetime) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*NEEDED, "token", "card_scheme", "card_number"])
        for person in people:
            known = [person.document_type, person.number, person.status, region, now.isoformat()]
            card = [TRANSIT_SCHEME, person.transit_number] if person.transit_number else ["", ""]
            writer.writerow([*known, person.indexed_token, *card])


@dataclass(slots=True)
class SimulatedLane:
    """One lane's devices, and the ports they are plugged into."""

    id: str
    reader: SimulatedSamv
    scanner: SimulatedLineScanner | SimulatedCamera
    board: SimulatedRelayBoard
    reader_port: SimulatedPort
    board_port: SimulatedPort
    scanner_port: SimulatedPort | None  # None: a camera has no port
    turnstile: bool = True  # False: a bus door, where verdicts are shown and nobody is counted
    direction: str = "entry"
    pairing_window_s: float | None = None  # None: the service's own
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)  # held by whoever stands before it

    @property
    def ports(self) -> list[SimulatedPort]:
        """All ports of the lane."""
        board = self.board_port if self.turnstile else None
        return [port for port in (self.reader_port, self.scanner_port, board) if port]

    async def plug(self) -> None:
        """Plug every device in."""
        for port in self.ports:
            await port.plug()

    async def unplug(self) -> None:
        """Pull every plug."""
        for port in self.ports:
            await port.unplug()

    def toml(self) -> str:
        """The lane as `station.toml` has it."""
        camera = f'driver = "camera-scanner"\nsource = "{getattr(self.scanner, "spec", "")}"'
        line = f'driver = "line-scanner"\nport = "{self.scanner_port and self.scanner_port.spec}"\nsuffix = "\\r\\n"'
        window = "" if self.pairing_window_s is None else f"pairing_window_s = {self.pairing_window_s}\n"
        return f"""
[[lane]]
id = "{self.id}"
direction = "{self.direction}"
release_within_s = {RELEASE_WITHIN_S}
{window}[[lane.device]]
driver = "samv"
port = "{self.reader_port.spec}"
[[lane.device]]
{line if self.scanner_port else camera}
{self._board_toml() if self.turnstile else ""}"""

    def _board_toml(self) -> str:
        passed = f"passed_exit_input = {PASSED_EXIT}" if self.direction == "exit" else f"passed_input = {PASSED}"
        return f"""[[lane.device]]
driver = "modbus-relay"
port = "{self.board_port.spec}"
unit = {self.board.unit}
release_coil = 0
{passed}
tailgating_input = 3
fire_input = 4
ready_input = 5
"""


def make_lane(number: int, folder: Path, camera: bool = False) -> SimulatedLane:
    """Lane `number`: serial and networked devices take turns, so that every transport is in use."""
    lane_id = f"{'ABCDEFGH'[number // 12 % 8]}{number % 12 + 1}"
    reader, board = SimulatedSamv(serial=number + 1), SimulatedRelayBoard()
    serial = number % 2 == 0
    scanner: SimulatedLineScanner | SimulatedCamera
    scanner_port: SimulatedPort | None = None
    if camera:
        scanner = SimulatedCamera(folder / f"{lane_id}-camera")
    else:
        scanner = SimulatedLineScanner()
        scanner_port = PtyPort(folder / f"{lane_id}-scanner", scanner.session)
    return SimulatedLane(
        lane_id,
        reader,
        scanner,
        board,
        PtyPort(folder / f"{lane_id}-reader", reader.session) if serial else TcpPort(reader.session),
        TcpPort(board.tcp) if serial else PtyPort(folder / f"{lane_id}-board", board.rtu),
        scanner_port,
    )


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the demonstration station listens."""

    grpc: str
    metrics: str


@dataclass(frozen=True, slots=True)
class Site:
    """Where a simulated station is, and by the rules of which day it decides."""

    id: str = "demo"
    region: str = "330100"
    rules_of: date | None = None  # None: of today


def station_toml(
    folder: Path,
    lanes: Sequence[SimulatedLane],
    addresses: Addresses,
    site: Site = Site(),
    town: Town | None = None,
    feeds: Path | None = None,
) -> str:
    """The whole station file. `town`: whose issuer is asked and whose paper counts; `feeds`: where, if not below."""
    of_day = f"rules_of = {site.rules_of.isoformat()}\n" if site.rules_of else ""
    policy = of_day + (town.policy() if town else "")
    head = f"""[station]
id = "{site.id}"
region = "{site.region}"
data_dir = "{folder}/data"

[clock]
trust = "stepped-only"

[grpc]
listen = ["{addresses.grpc}"]
operator_socket = "{folder}/operator.sock"
ticketing_socket = "{folder}/ticketing.sock"
trust_loopback = true

[metrics]
listen = "{addresses.metrics}"
"""
    parts = [head, f"\n[policy]\n{policy}" if policy else "", _feeds_toml(feeds or folder / "feeds")]
    return "".join([*parts, town.issuers() if town else "", *[lane.toml() for lane in lanes]])


def _feeds_toml(folder: Path) -> str:
    return "".join(
        f"""
[[feed]]
issuer = "{issuer}"
source = "dir:{folder}/{issuer.lower()}"
public_keys_file = "{folder}/keys/{issuer.lower()}.keys"
pepper_file = "{folder}/keys/{issuer.lower()}.pepper"
"""
        for issuer in ISSUERS
    )
