"""Transit cards at a real station: libosdp's own peripheral device tells them as Wiegand bits, a feed says whose."""

import asyncio
import contextlib
import logging
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from drivers.prompts.osdp_lamp.codec import COLOURS
from drivers.simulated.osdp import SimulatedOsdp, wiegand26
from drivers.simulated.ports import PtyPort
from gate.feed.records import CredentialStatus as S
from gate.passage.record import PassageRecord
from gate.sim.people import TRANSIT_SCHEME, Person
from gate.station import rulefiles
from gate.station.chain import read_lines
from tests.simulation.search import contents, find_leaks, secrets_of
from tests.support.house import House, OwnFeed, code_of, house, somebody, station_of


def _rider(serial: int, status: S | None, issuer: str = "SSM") -> Person:
    """Somebody with a transit card, of as many digits as the search for leaks needs."""
    return replace(somebody(serial, status, issuer), transit_number=str(0xF00000 + serial))


@contextlib.asynccontextmanager
async def _reading(
    folder: Path, feeds: list[OwnFeed], policy: str = "", chip_reader: Callable[[str], str] = str
) -> AsyncIterator[tuple[House, SimulatedOsdp]]:
    """A lane that reads ID cards, codes and, by OSDP, transit cards."""
    reader = SimulatedOsdp()
    async with PtyPort(folder / "osdp", reader.session) as port:
        device = f'[[lane.device]]\ndriver = "osdp"\nport = "{port.spec}"\ncard_scheme = "{TRANSIT_SCHEME}"\n'
        change = station_of(folder, feeds, policy=policy)
        async with house(folder, change=lambda text: change(text) + chip_reader(device)) as h:
            await h.until(lambda: reader.online)
            yield h, reader


async def _touches(h: House, reader: SimulatedOsdp, number: str) -> None:
    reader.present(26, wiegand26(int(number)))


async def _walks(h: House, reader: SimulatedOsdp, who: Person) -> PassageRecord:
    await _touches(h, reader, who.transit_number)
    return await h.walks()


def test_a_transit_card_opens_for_its_holder_and_the_journal_decides_it_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Green walks, red does not; replay agrees; and the numbers are in no file, log, metric or error."""
    green, red = _rider(1, S.GREEN), _rider(2, S.RED)
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [green, red, *(somebody(n, S.GREEN, "SSM") for n in range(3, 40))])

    async def story() -> bytes:
        async with _reading(tmp_path, [feed]) as (h, reader):
            record = await _walks(h, reader, green)
            assert (record.verdict, record.reason, record.outcome) == ("GRANT", "STATUS_GREEN", "PASSED")
            assert (record.credential, record.issuer) == ("CARD_NUMBER", "SSM")
            record = await h.stays(0, _touches(h, reader, red.transit_number))
            assert (record.verdict, record.reason, record.credential) == ("DENY", "STATUS_RED", "CARD_NUMBER")
            return generate_latest(h.station.metrics.registry)

    with caplog.at_level(logging.DEBUG):
        metrics = asyncio.run(story())
    journal = tmp_path / "data" / "journal"
    lines = [line for line in read_lines(journal) if line["event"] == "passage"]
    assert [line["circumstances"] for line in lines] == [
        {"presented": "CARD_NUMBER", "card_scheme": TRANSIT_SCHEME, "region": "330100"}
    ] * 2
    again = subprocess.run(
        [sys.executable, "-m", "gate", "replay", str(journal)], capture_output=True, text=True, check=False
    )
    assert (again.returncode, "2 decisions, 0 would differ" in again.stdout) == (0, True), again.stdout + again.stderr
    written = [*contents(tmp_path), ("log", caplog.text.encode()), ("metrics", metrics)]
    assert find_leaks(written, secrets_of([green, red])) == []
    assert find_leaks([*written, ("planted", green.transit_number.encode())], secrets_of([green])), (
        "the search can fail"
    )


@pytest.mark.requirement("R14")
@pytest.mark.parametrize("first", ["transit card", "ID card"])
def test_one_person_passes_once_by_whichever_card(tmp_path: Path, first: str) -> None:
    """The transit card and the ID card are of one subject: what the one took, the other does not take again."""
    who, next_one = _rider(1, S.GREEN), _rider(2, S.GREEN)
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [who, next_one])

    async def story() -> None:
        async with _reading(tmp_path, [feed]) as (h, reader):
            if first == "ID card":
                await h.tap(who)
                await h.walks()
                record = await h.stays(0, _touches(h, reader, who.transit_number))
            else:
                await _walks(h, reader, who)
                record = await h.stays(0, h.tap(who))
            assert (record.verdict, record.reason) == ("DENY", "ALREADY_PASSED")
            assert (await _walks(h, reader, next_one)).outcome == "PASSED"

    asyncio.run(story())


@pytest.mark.requirement("R2", "R3")
def test_a_card_that_no_index_has_asks_for_the_id_card_or_a_code(tmp_path: Path) -> None:
    """Neither no nor green: the sign says so, and the ID card, or the code, then decides alone."""
    who, other = _rider(1, S.GREEN, "ZJ"), _rider(2, S.GREEN, "ZJ")
    feed = OwnFeed(tmp_path, "ZJ")
    feed.publish(1, [replace(one, transit_number="") for one in (who, other)])

    async def story() -> None:
        async with _reading(tmp_path, [feed]) as (h, reader):
            await _touches(h, reader, who.transit_number)
            await h.says("CARD_NOT_KNOWN")
            assert not h.lanes[0].board.releases
            await h.tap(who)
            record = await h.walks()
            assert (record.reason, record.credential) == ("STATUS_GREEN", "CARD")
            await _touches(h, reader, other.transit_number)
            await h.says("CARD_NOT_KNOWN")
            await h.scan(code_of(other, "ZJ_V2"))
            record = await h.walks()
            assert (record.reason, record.circumstances["presented"]) == ("STATUS_GREEN", "CODE")

    asyncio.run(story())


def test_the_readers_lamp_follows_the_lanes_sign(tmp_path: Path) -> None:
    """On the reader's own port and unit: green for the green rider, dark between, red for the red one."""
    green, red = _rider(1, S.GREEN), _rider(2, S.RED)
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [green, red])

    def with_lamp(reader: str) -> str:
        lamp = reader.replace('"osdp"', '"osdp-lamp"').replace(f'card_scheme = "{TRANSIT_SCHEME}"\n', "")
        return reader + lamp

    async def story() -> None:
        async with _reading(tmp_path, [feed], chip_reader=with_lamp) as (h, reader):
            await _touches(h, reader, green.transit_number)
            await h.until(lambda: reader.lamp()[0] == COLOURS["green"])
            assert (await h.walks()).outcome == "PASSED"
            await h.until(lambda: reader.lamp()[0] == COLOURS["none"])
            await h.stays(0, _touches(h, reader, red.transit_number))
            await h.until(lambda: reader.lamp()[0] == COLOURS["red"])

    asyncio.run(story())


def test_a_region_may_take_no_card_numbers(tmp_path: Path) -> None:
    """`card_schemes = []` in its terms: the green's card is not even looked up, and the ID card is asked for."""
    who = _rider(1, S.GREEN)
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [who])
    rules = tmp_path / "rules"
    shutil.copytree(Path(rulefiles.__file__).parents[1] / "policy" / "recognition", rules)
    terms = rules / "terms.toml"
    terms.write_text(terms.read_text("utf-8").replace("repeat_after_s", "card_schemes = []\nrepeat_after_s"), "utf-8")

    async def story() -> None:
        async with _reading(tmp_path, [feed], policy=f'rules_dir = "{rules}"') as (h, reader):
            await _touches(h, reader, who.transit_number)
            await h.says("CARD_NOT_ACCEPTED")
            await h.tap(who)
            assert (await h.walks()).credential == "CARD"

    asyncio.run(story())


def test_a_card_is_worth_what_its_holders_feed_still_is(tmp_path: Path) -> None:
    """An index of three days ago finds the holder, and nothing can be built on what it says: FEED_EXPIRED."""
    who = _rider(1, S.GREEN)
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [who])
    rules = tmp_path / "rules"
    shutil.copytree(Path(rulefiles.__file__).parents[1] / "policy" / "recognition", rules)
    terms = rules / "terms.toml"
    text = terms.read_text("utf-8").replace("aged_after_h = 26", "aged_after_h = 0.00001")
    terms.write_text(text.replace("expired_after_h = 50", "expired_after_h = 0.00001"), "utf-8")

    async def story() -> None:
        async with _reading(tmp_path, [feed], policy=f'rules_dir = "{rules}"') as (h, reader):
            await _touches(h, reader, who.transit_number)
            await h.says("FEED_EXPIRED")
            assert not h.lanes[0].board.releases

    asyncio.run(story())


def test_two_schemes_may_give_one_number_to_two_people(tmp_path: Path) -> None:
    """The number of a green rider, read by the reader of another scheme, is nobody's."""
    who = _rider(1, S.GREEN)
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [who])

    async def story() -> None:
        other = lambda device: device.replace(TRANSIT_SCHEME, "another-city")  # noqa: E731
        async with _reading(tmp_path, [feed], chip_reader=other) as (h, reader):
            await _touches(h, reader, who.transit_number)
            await h.says("CARD_NOT_KNOWN")
            assert not h.lanes[0].board.releases

    asyncio.run(story())


def test_a_lane_that_reads_transit_cards_only_asks_for_no_id_card(tmp_path: Path) -> None:
    """There is nothing to tap it on: who is not known goes to staff at once, without five seconds of waiting."""
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [_rider(1, S.GREEN)])

    def only(reader: str) -> str:
        return f'[[lane]]\nid = "B1"\n{reader}'

    async def story() -> None:
        async with _reading(tmp_path, [feed], chip_reader=only) as (h, reader):
            await _touches(h, reader, "11259375")
            await h.until(lambda: h.station.lane("B1").sign_reason == "CARD_NOT_KNOWN")
            assert h.station.lane("B1").front == "IDLE", "nothing more is waited for"
            record = await h.record(lane="B1")
            assert (record.verdict, record.reason, record.outcome) == ("REFER", "CARD_NOT_KNOWN", "SHOWN")

    asyncio.run(story())
