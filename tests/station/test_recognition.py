"""Codes, papers and families at a real station: simulated devices on real ports, feeds of the test's own people."""

import asyncio
import dataclasses
import os
import time
from datetime import date, timedelta
from pathlib import Path

import pytest

from gate.credential import certificate
from gate.credential.documents import DocumentType, document
from gate.credential.transit import SUISHENMA, TRANSPORT
from gate.feed.records import CredentialStatus
from gate.feed.records import CredentialStatus as S
from gate.sim.codes import MADE_UP, SUISHENMA_KEY_INDEX, TRANSPORT_KEY_INDEX, SealKeys, code_text, make_seal_keys
from gate.sim.issuer import SimulatedIssuer
from gate.sim.issuerfaces import Access, Holder
from gate.sim.people import Person
from gate.station import station as station_module
from gate.station.chain import read_lines
from gate.station.clock import Clock
from gate.sync.certkeys import CommunitySigner, load_signer, make_community_keys
from gate.sync.codekeys import write_code_keys
from tests.support.house import OwnFeed, code_of, house, same_day_ahead, somebody, station_of, today
from tests.support.region import NOW

FORM = {"ZJ": "ZJ_V2", "SKM": "SKM_V5", "AKM": "AKM"}


# --- static codes -------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R4", "R5", "row:ZJ", "row:SKM", "row:AKM")
def test_a_static_code_alone_is_decided_by_what_its_feed_says_of_its_token(tmp_path: Path) -> None:
    """Of three issuers, green walks, red is denied and yellow referred, by the code alone; the journal says by what."""
    verdicts = {S.GREEN: "GRANT", S.RED: "DENY", S.YELLOW: "REFER"}
    folks = [somebody(n, status, issuer) for n, (issuer, status) in enumerate((i, s) for i in FORM for s in verdicts)]
    feeds = [OwnFeed(tmp_path, issuer) for issuer in FORM]
    for feed in feeds:
        feed.publish(1, [who for who in folks if who.issuer == feed.issuer])

    async def story() -> None:
        async with house(tmp_path, change=station_of(tmp_path, feeds)) as h:
            for who in folks:
                code = code_of(who, FORM[who.issuer])
                if who.status is S.GREEN:
                    await h.scan(code)
                    record = await h.walks()
                else:
                    record = await h.stays(0, h.scan(code))
                assert who.status is not None
                assert (record.verdict, record.reason) == (verdicts[who.status], f"STATUS_{who.status}")
                assert (record.issuer, record.credential) == (who.issuer, "CODE")
                assert "asking" not in record.stages_us

    asyncio.run(story())
    lines = [line for line in read_lines(tmp_path / "data" / "journal") if line["event"] == "passage"]
    assert len(lines) == len(folks)
    for who, line in zip(folks, lines, strict=True):
        shown = {key: line["circumstances"][key] for key in ("presented", "code_issuer", "code_form", "region")}
        form = FORM[who.issuer]
        assert shown == {"presented": "CODE", "code_issuer": who.issuer, "code_form": form, "region": "330100"}
        assert f"{line['rule_id']} {line['verdict']} {line['reason']}" in line["spoken"]


@pytest.mark.requirement("R2", "R3")
def test_a_code_that_nobody_lists_waits_for_its_card_and_no_longer_than_the_window(tmp_path: Path) -> None:
    """An unknown token asks for the card, and the card decides; without one it is referred, and never green."""
    green, red = somebody(1, S.GREEN, "ZJ"), somebody(2, S.RED, "ZJ")
    unknown = dataclasses.replace(green, token="f0" * 16)
    feed = OwnFeed(tmp_path, "ZJ")
    feed.publish(1, [green, red])

    async def story() -> None:
        async with house(tmp_path, change=station_of(tmp_path, [feed], pairing_window_s=0.5)) as h:
            began_s = time.monotonic()
            record = await h.stays(0, h.scan(code_of(unknown, "ZJ_V2")))
            assert time.monotonic() - began_s >= 0.5
            assert (record.verdict, record.reason, record.credential) == ("REFER", "CODE_NEEDS_CARD", "CODE")
        async with house(tmp_path, change=station_of(tmp_path, [feed])) as h:
            await h.scan(code_of(unknown, "ZJ_V2"))
            await h.says("CODE_NEEDS_CARD")
            assert not h.lanes[0].board.releases
            await h.tap(green)
            record = await h.walks()
            assert (record.reason, record.credential) == ("STATUS_GREEN", "CARD_AND_CODE")
            assert record.circumstances["code_form"] == "ZJ_V2"
            await h.scan(code_of(unknown, "ZJ_V2"))
            await h.says("CODE_NEEDS_CARD")
            record = await h.stays(0, h.tap(red))
            assert (record.verdict, record.reason) == ("DENY", "STATUS_RED")

    asyncio.run(story())


@pytest.mark.requirement("R3", "R5", "row:XKM")
def test_code_and_card_must_be_of_one_person(tmp_path: Path) -> None:
    """Another's green code opens nothing, whoever's card lies beside it; printed or on a phone, card or code first."""
    owner, other = somebody(1, S.GREEN, "XKM"), somebody(2, S.GREEN, "XKM")
    unknown = somebody(3, None, "XKM")
    friend = somebody(4, S.GREEN, "ZJ")
    feeds = [OwnFeed(tmp_path, "XKM"), OwnFeed(tmp_path, "ZJ")]
    feeds[0].publish(1, [owner, other])
    feeds[1].publish(1, [friend])
    paper = MADE_UP["XKM_PAPER"]
    issuers = f"""
[[issuer]]
id = "XKM"
[[issuer.code]]
host = "{paper.host}"
pattern = '{paper.pattern}'
form = "XKM_PAPER"
"""

    async def story() -> None:
        async with house(tmp_path, change=station_of(tmp_path, feeds, issuers=issuers)) as h:
            printed = code_of(owner, "XKM_PAPER")
            await h.scan(printed)
            await h.says("CODE_NEEDS_CARD")
            assert not h.lanes[0].board.releases, "a printed code is never the only credential"
            record = await h.stays(0, h.tap(other))
            assert (record.verdict, record.reason, record.credential) == ("REFER", "CODE_OF_ANOTHER", "CARD_AND_CODE")
            await h.scan(printed)
            await h.says("CODE_NEEDS_CARD")
            await h.tap(owner)
            assert (await h.walks()).reason == "STATUS_GREEN"
            await h.tap(unknown)
            await h.says("CARD_NEEDS_CODE")
            record = await h.stays(0, h.scan(code_of(friend, "ZJ_V2")))
            assert record.reason == "CODE_OF_ANOTHER"

    asyncio.run(story())


# --- dynamic codes --------------------------------------------------------------------------------------------------


@pytest.mark.requirement("R5", "row:SSM")
def test_one_showing_of_a_dynamic_code_serves_one_lane(tmp_path: Path) -> None:
    """While it waits at one lane, and after somebody walked on it, the next lane says that it was shown already."""
    green, next_one = somebody(1, S.GREEN, "SSM"), somebody(2, S.GREEN, "SSM")
    feed = OwnFeed(tmp_path, "SSM")
    feed.publish(1, [green, next_one])

    async def story() -> None:
        async with house(tmp_path, lanes=2, change=station_of(tmp_path, [feed])) as h:
            code = code_of(green, "SSM_APP")
            await h.scan(code, lane=0)
            await h.says("CODE_NEEDS_CARD", lane=0)
            assert (await h.stays(1, h.scan(code, lane=1))).reason == "CODE_REPLAYED"
            await h.tap(green, lane=0)
            assert (await h.walks(lane=0)).credential == "CARD_AND_CODE"
            assert (await h.stays(1, h.scan(code, lane=1))).reason == "CODE_REPLAYED"
            assert (await h.stays(0, h.scan(code, lane=0))).reason == "CODE_REPLAYED"
            await h.scan(code_of(next_one, "SSM_APP"), lane=1)
            await h.says("CODE_NEEDS_CARD", lane=1)
            await h.tap(next_one, lane=1)
            await h.walks(lane=1)

    asyncio.run(story())


class _Shanghai:
    """The issuer that is asked about its codes, the seals' keys, and the station's file that names both."""

    def __init__(self, folder: Path) -> None:
        self.seals = make_seal_keys()
        self.sim = SimulatedIssuer("guangdong-decode")
        self._folder = folder / "operator"
        self._folder.mkdir()

    async def toml(self, with_keys: bool = True) -> str:
        keys, secret = self._folder / "ssm-code.keys", self._folder / "ssm.secret"
        seals = {
            (SUISHENMA, SUISHENMA_KEY_INDEX): self.seals.suishenma.public().raw,
            (TRANSPORT, TRANSPORT_KEY_INDEX): self.seals.transport.public().raw,
        }
        write_code_keys(keys, seals)
        access = Access()
        secret.write_text(f'app_id = "{access.app_id}"\nsecret_key = "{access.secret_key}"\n')
        secret.chmod(0o600)
        return f"""
[[issuer]]
id = "SSM"
{f'code_keys_file = "{keys}"' if with_keys else ""}
[issuer.query]
interface = "guangdong-decode"
url = "{await self.sim.start()}/ask"
secret_file = "{secret}"
"""

    def code(self, who: Person, age_s: float = 0.0, seals: SealKeys | None = None) -> bytes:
        """A transit code made so long ago; the issuer knows whose it is."""
        text = code_text("SSM_TRANSIT", who.token, time.time() - age_s, seals or self.seals)
        status = who.status or S.UNKNOWN
        self.sim.holders.append(Holder(who.number, who.name, code=text, status=status))
        return text.encode()


def _flipped(code: bytes, at: int) -> bytes:
    """The same code with one character changed to its neighbour in the alphabet of base64url."""
    letter = code[at : at + 1]
    return code[:at] + (b"B" if letter != b"B" else b"C") + code[at + 1 :]


@pytest.mark.requirement("R5", "R18", "row:SSM")
def test_a_transit_code_proves_itself_and_its_issuer_tells_the_colour(tmp_path: Path) -> None:
    """Both seals, its validity and its time are judged offline; only then is the issuer asked, once a code."""
    green, red, third = (somebody(n, status, "SSM") for n, status in enumerate((S.GREEN, S.RED, S.GREEN)))

    async def story() -> None:
        shanghai = _Shanghai(tmp_path)
        async with house(tmp_path, change=station_of(tmp_path, [], issuers=await shanghai.toml())) as h:
            await h.scan(shanghai.code(green))
            record = await h.walks()
            assert (record.reason, record.finding, record.issuer) == ("STATUS_GREEN", "ISSUER_ANSWERED", "SSM")
            assert record.circumstances["code_form"] == "SSM_TRANSIT"
            record = await h.stays(0, h.scan(shanghai.code(red)))
            assert (record.verdict, record.reason) == ("DENY", "STATUS_RED")
            assert shanghai.sim.questions == 2
            good = shanghai.code(third)
            for at in (30, 120, 230):  # within the outer seal, what both cover, and the inner seal
                assert (await h.stays(0, h.scan(_flipped(good, at)))).reason == "CODE_NOT_AUTHENTIC"
            forged = shanghai.code(third, seals=make_seal_keys())
            assert (await h.stays(0, h.scan(forged))).reason == "CODE_NOT_AUTHENTIC"
            old = shanghai.code(third, age_s=100)  # valid for 60 s, and 30 s of skew
            assert (await h.stays(0, h.scan(old))).reason == "CODE_EXPIRED"
            early = shanghai.code(third, age_s=-100)
            assert (await h.stays(0, h.scan(early))).reason == "CODE_FROM_FUTURE"
            assert shanghai.sim.questions == 2, "what is not authentic or not of now is nobody's question"
        await shanghai.sim.stop()

    asyncio.run(story())


@pytest.mark.requirement("R2", "row:SSM")
def test_without_its_keys_a_transit_code_is_not_believed(tmp_path: Path) -> None:
    """The issuer would say green; a station that cannot check the seals says so and asks nobody."""

    async def story() -> None:
        shanghai = _Shanghai(tmp_path)
        toml = await shanghai.toml(with_keys=False)
        async with house(tmp_path, change=station_of(tmp_path, [], issuers=toml)) as h:
            code = shanghai.code(somebody(1, S.GREEN, "SSM"))
            record = await h.stays(0, h.scan(code))
            assert (record.verdict, record.reason) == ("REFER", "CODE_KEY_MISSING")
            assert shanghai.sim.questions == 0
        await shanghai.sim.stop()

    asyncio.run(story())


# --- paper ------------------------------------------------------------------------------------------------------------


def _community(folder: Path, region: str = "330106") -> CommunitySigner:
    return load_signer(make_community_keys(folder, "XIHU", region, NOW - timedelta(days=7))["private"])


def _paper(signer: CommunitySigner, who: Person, valid_on: date, issued_on: date | None = None) -> bytes:
    text = certificate.issue(
        document(DocumentType.RESIDENT_ID, who.number),
        key_id=signer.private.key_id,
        region=signer.region,
        issued_on=issued_on or valid_on,
        valid_on=valid_on,
        salt=os.urandom(certificate.SALT_BYTES),
        sign=signer.private.sign,
    )
    return text.encode()


@pytest.mark.requirement("R3")
def test_a_paper_certificate_counts_with_its_holders_card_on_its_day(tmp_path: Path) -> None:
    """Alone it asks for the card; another's card, another day and another signer each have their own words."""
    elder, other, *more = (somebody(n, None, "ZJ", "19800101") for n in range(5))
    feed = OwnFeed(tmp_path, "ZJ")
    feed.publish(1, [somebody(9, S.GREEN, "ZJ")])
    signer = _community(tmp_path / "community")
    forger = _community(tmp_path / "forger")
    policy = f'certificate_keys = "{tmp_path}/community"'

    async def story() -> None:
        await same_day_ahead()
        day = today()
        async with house(tmp_path, change=station_of(tmp_path, [feed], policy=policy)) as h:
            await h.scan(_paper(signer, elder, day))
            await h.says("CERTIFICATE_NEEDS_CARD")
            assert not h.lanes[0].board.releases
            record = await h.stays(0, h.tap(other))
            assert (record.verdict, record.reason) == ("REFER", "CERTIFICATE_OF_ANOTHER")
            await h.tap(elder)
            await h.says("CARD_NEEDS_CODE")
            await h.scan(_paper(signer, elder, day))
            record = await h.walks()
            assert (record.verdict, record.reason, record.finding) == ("GRANT", "CERTIFICATE_VALID", "CERTIFIED")
            assert (record.credential, record.asserted_by) == ("CARD_AND_CERTIFICATE", "330106")
            for who, by, valid_on, reason in (
                (more[0], signer, day - timedelta(days=1), "CERTIFICATE_EXPIRED"),
                (more[1], signer, day + timedelta(days=1), "CERTIFICATE_EXPIRED"),
                (more[2], forger, day, "CERTIFICATE_NOT_AUTHENTIC"),
            ):
                await h.tap(who)
                await h.says("CARD_NEEDS_CODE")
                paper = _paper(by, who, valid_on, min(valid_on, day))
                assert (await h.stays(0, h.scan(paper))).reason == reason

    asyncio.run(story())


@pytest.mark.requirement("R3")
def test_a_paper_of_no_use_asks_nobody_for_a_card(tmp_path: Path) -> None:
    """Forged or of yesterday: it is said at once; and a station with no community's keys believes no paper at all."""
    elder = somebody(1, None, "ZJ", "19800101")
    signer, forger = _community(tmp_path / "community"), _community(tmp_path / "forger")
    policy = f'certificate_keys = "{tmp_path}/community"'

    async def story() -> None:
        await same_day_ahead()
        day = today()
        async with house(tmp_path, change=station_of(tmp_path, [], policy=policy)) as h:
            assert (await h.stays(0, h.scan(_paper(forger, elder, day)))).reason == "CERTIFICATE_NOT_AUTHENTIC"
            yesterday = _paper(signer, elder, day - timedelta(days=1))
            assert (await h.stays(0, h.scan(yesterday))).reason == "CERTIFICATE_EXPIRED"
        async with house(tmp_path, change=station_of(tmp_path, [])) as h:
            assert (await h.stays(0, h.scan(_paper(signer, elder, day)))).reason == "CERTIFICATE_NOT_AUTHENTIC"

    asyncio.run(story())


@pytest.mark.requirement("R18")
def test_by_a_clock_in_doubt_nothing_has_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step of the clock neither a code nor a paper is called expired or good: the clock is what is wrong."""
    wall = {"step": 0.0}
    monkeypatch.setattr(station_module, "Clock", lambda trust: Clock(trust, wall=lambda: time.time() + wall["step"]))
    elder, other = (somebody(n, None, "ZJ", "19800101") for n in range(2))
    signer = _community(tmp_path / "community")
    policy = f'certificate_keys = "{tmp_path}/community"'

    async def story() -> None:
        await same_day_ahead()
        day = today()
        async with house(tmp_path, change=station_of(tmp_path, [], policy=policy)) as h:
            wall["step"] = 3600.0
            h.station.clock.check()
            h.station._housekeeping()
            for who, valid_on in ((elder, day), (other, day - timedelta(days=1))):
                await h.tap(who)
                await h.says("CARD_NEEDS_CODE")
                record = await h.stays(0, h.scan(_paper(signer, who, valid_on)))
                assert (record.verdict, record.reason) == ("REFER", "CLOCK_UNTRUSTED")
            for age_s in (0, 3600):
                code = code_of(elder, "SSM_APP", time.time() - age_s)
                assert (await h.stays(0, h.scan(code))).reason == "CODE_TIME_UNCHECKED"

    asyncio.run(story())


# --- families ---------------------------------------------------------------------------------------------------------


def _born(years: int) -> str:
    return f"{today().year - years}0101"


@pytest.mark.requirement("R19")
@pytest.mark.parametrize("years", [10, 70])
def test_a_dependant_follows_at_the_guardians_own_lane(tmp_path: Path, years: int) -> None:
    """A child or an old person without a code walks after the family at that lane, and at no other; never a red one."""
    guardian = somebody(1, S.GREEN, "ZJ")
    first, second, red = (somebody(n, None, "ZJ", _born(years)) for n in (2, 3, 4))
    red = dataclasses.replace(red, status=CredentialStatus.RED)
    feed = OwnFeed(tmp_path, "ZJ")
    feed.publish(1, [guardian, red])
    alone = "GUARDIAN_NEEDED" if years < 18 else "NOT_COVERED"

    async def story() -> None:
        async with house(tmp_path, lanes=2, change=station_of(tmp_path, [feed], pairing_window_s=0.5)) as h:
            assert (await h.stays(0, h.tap(first))).reason == alone
            await h.tap(guardian)
            await h.walks()
            assert (await h.stays(1, h.tap(second, lane=1))).reason == alone
            assert (await h.stays(0, h.tap(red))).reason == "STATUS_RED"
            await h.tap(first)
            record = await h.walks()
            assert (record.verdict, record.reason) == ("GRANT", "WITH_GUARDIAN")
            assert record.circumstances["guardian"] is True

    asyncio.run(story())
