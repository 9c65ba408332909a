"""Issuers asked by a real station over real HTTP: their answers, their silence, their return, and whose code it is."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from gate.feed.records import CredentialStatus as S
from gate.feed.records import Kind
from gate.issuers import circuit
from gate.issuers.circuit import FAILURES_MAX
from gate.sim.issuer import Faults, SimulatedIssuer
from gate.sim.issuerfaces import Access, Holder
from gate.sim.people import Person
from gate.station import station as station_module
from gate.v1 import lane_pb2
from gate.v1.lane_pb2_grpc import LaneServiceStub
from tests.support.house import House, OwnFeed, code_of, house, somebody, station_of

ACCESS = Access()
VERIFIER = '{ department = "客运部", name = "钱核验", phone = "13800005678", position = "出站口" }'


def _asked(issuer: str, url: str, *lines: str) -> str:
    """One `[[issuer]]` that may be asked."""
    return "\n".join(("", "[[issuer]]", f'id = "{issuer}"', "[issuer.query]", f'url = "{url}/ask"', *lines, ""))


def _secret(folder: Path, **values: str) -> str:
    path = folder / "issuer.secret"
    path.write_text("".join(f'{key} = "{value}"\n' for key, value in values.items()))
    path.chmod(0o600)
    return f'secret_file = "{path}"'


def _anhui(url: str) -> str:
    lines = (f'city_code = "{ACCESS.city_code}"', f'site_id = "{ACCESS.site_id}"', 'verifier = { name = "钱核验" }')
    return _asked("AKM", url, 'interface = "anhui-id"', *lines)


def _told(who: Person, form: str = "") -> Holder:
    """Somebody as their issuer knows them."""
    code = code_of(who, form).decode() if form else ""
    return Holder(who.number, who.name, code=code, status=who.status or S.UNKNOWN)


def _reader_only(change: Callable[[str], str]) -> Callable[[str], str]:
    """The same station; its first lane has no scanner, so that nothing but the card can be tried there."""
    scanner = re.compile(r'\[\[lane\.device\]\]\ndriver = "line-scanner".*?(?=\[\[lane\.device\]\])', re.DOTALL)
    return lambda text: scanner.sub("", change(text), count=1)


class _Anhui:
    """Anhui as of 2020: the feed names red and yellow, everybody else must be asked for."""

    def __init__(self, folder: Path) -> None:
        self.greens = [somebody(n, S.GREEN, "AKM") for n in range(20)]
        self.red, self.listed = somebody(50, S.RED, "AKM"), somebody(51, S.RED, "AKM")
        self.neighbours = [somebody(60 + n, S.GREEN, "SSM") for n in range(3)]
        self.feeds = [OwnFeed(folder, "AKM", Kind.RED_YELLOW), OwnFeed(folder, "SSM")]
        self.feeds[0].publish(1, [self.listed])
        self.feeds[1].publish(1, self.neighbours)
        self.sim = SimulatedIssuer("anhui-id", [_told(who) for who in (*self.greens, self.red)])

    async def change(self, folder: Path) -> Callable[[str], str]:
        issuers = _anhui(await self.sim.start())
        return _reader_only(station_of(folder, self.feeds, issuers=issuers, pairing_window_s=1.0))


@pytest.mark.requirement("R2", "row:AKM")
def test_whoever_a_red_and_yellow_feed_does_not_name_is_asked_for(tmp_path: Path) -> None:
    """Absence is no green: the issuer's green opens, its red denies, and whom the feed names it is not asked about."""

    async def story() -> None:
        anhui = _Anhui(tmp_path)
        async with house(tmp_path, lanes=2, change=await anhui.change(tmp_path)) as h:
            await h.tap(anhui.greens[0])
            record = await h.walks()
            assert (record.reason, record.finding, record.issuer) == ("STATUS_GREEN", "ISSUER_ANSWERED", "AKM")
            assert "asking" in record.stages_us
            record = await h.stays(0, h.tap(anhui.red))
            assert (record.verdict, record.reason, record.finding) == ("DENY", "STATUS_RED", "ISSUER_ANSWERED")
            record = await h.stays(0, h.tap(anhui.listed))
            assert (record.verdict, record.reason, record.finding) == ("DENY", "STATUS_RED", "LISTED")
            assert (anhui.sim.questions, anhui.sim.refused) == (2, [])
        await anhui.sim.stop()

    asyncio.run(story())


@pytest.mark.requirement("R7")
def test_a_silent_issuer_costs_one_lane_its_time_and_no_other_lane_anything(tmp_path: Path) -> None:
    """Within the lane's 0.8 s it is decided that the issuer cannot be reached, in words; the next lane goes on."""

    async def story() -> None:
        anhui = _Anhui(tmp_path)
        async with house(tmp_path, lanes=2, change=await anhui.change(tmp_path)) as h, h.rpc() as channel:
            anhui.sim.faults = Faults(silent=True)
            waiting = asyncio.create_task(h.stays(0, h.tap(anhui.greens[0])))
            await h.until(lambda: anhui.sim.questions == 1)
            await h.tap(anhui.neighbours[0], lane=1)
            beside = await h.walks(lane=1)
            record = await waiting
            assert (record.verdict, record.reason) == ("REFER", "ISSUER_UNREACHABLE")
            assert 700_000 < record.stages_us["asking"] < 1_500_000  # 0.8 s, and a busy machine's delay
            assert beside.reason == "STATUS_GREEN"
            assert sum(beside.stages_us[stage] for stage in ("lookup", "release")) < 500_000, "it waited for nobody"
            await h.says("ISSUER_UNREACHABLE")
            sign = (await LaneServiceStub(channel).GetLane(lane_pb2.GetLaneRequest(lane_id="A1"), timeout=5)).lane
            assert "not your fault" in sign.sign_text.sentence["en"]
            assert "不是您的问题" in sign.sign_text.sentence["zh"]
            assert all(sign.sign_text.next_step[language] for language in ("zh", "en"))
            await h.tap(anhui.greens[1], lane=1)
            await h.says("CARD_NEEDS_CODE", lane=1)  # that lane can read a code, and another issuer's may help
        await anhui.sim.stop()

    asyncio.run(story())


@pytest.mark.requirement("R7")
def test_an_issuer_that_fell_is_left_in_peace_and_comes_back_by_one_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After five failures nobody is asked and all are answered at once; one probe at a time finds it well again."""
    monkeypatch.setattr(circuit, "FIRST_S", 600.0)  # the test says when the circuit's time is up
    monkeypatch.setattr(station_module, "HOUSEKEEPING_S", 0.05)

    async def story() -> None:
        anhui = _Anhui(tmp_path)
        async with house(tmp_path, lanes=2, change=await anhui.change(tmp_path)) as h:
            arriving = iter(anhui.greens)

            async def refused() -> None:
                record = await h.stays(0, h.tap(next(arriving)))
                assert (record.verdict, record.reason) == ("REFER", "ISSUER_UNREACHABLE")
                assert record.finding == "ISSUER_UNREACHABLE"

            anhui.sim.faults = Faults(reset=True)
            for _ in range(FAILURES_MAX):
                await refused()
            assert anhui.sim.questions == FAILURES_MAX, "one question a passenger, and no retry"
            await _down(h, 1.0)
            for _ in range(3):
                await refused()
            assert "asking" not in h.station.recent.newest(1)[0].stages_us
            assert anhui.sim.questions == FAILURES_MAX
            await h.tap(anhui.neighbours[0], lane=1)
            await h.walks(lane=1)
            _time_is_up(h)
            await refused()  # the probe, which fails
            await refused()
            assert anhui.sim.questions == FAILURES_MAX + 1
            anhui.sim.faults = Faults()
            _time_is_up(h)
            await h.tap(next(arriving))
            assert (await h.walks()).finding == "ISSUER_ANSWERED"
            assert anhui.sim.questions == FAILURES_MAX + 2
            await _down(h, 0.0)
        await anhui.sim.stop()

    asyncio.run(story())


def _time_is_up(h: House) -> None:
    h.station._desk._counters["AKM"].circuit._due_s = 0.0


async def _down(h: House, value: float) -> None:
    """Wait until metric and lanes say that an issuer is down (1), or that none is."""
    await h.until(lambda: h.metric("gate_degraded", cause="ISSUER_UNREACHABLE") == value)
    for state in h.station.lanes():
        assert ("ISSUER_UNREACHABLE(AKM)" in state.degraded) is bool(value)


@pytest.mark.requirement("R3", "R4", "row:SKM")
def test_a_code_alone_is_enough_where_its_issuer_answers(tmp_path: Path) -> None:
    """Jiangsu is sent the complete string by a named verifier; green opens, and each refusal of its has its words."""
    green, red, strange = (somebody(n, s, "SKM") for n, s in enumerate((S.GREEN, S.RED, None)))
    expired = somebody(4, S.GREEN, "SKM")
    holders = [_told(green, "SKM_V5"), _told(red, "SKM_V5")]
    code = code_of(expired, "SKM_V5")
    holders.append(Holder(expired.number, expired.name, code=code.decode(), code_expired=True))

    async def story() -> None:
        sim = SimulatedIssuer("jiangsu-verify", holders)
        secret = _secret(tmp_path, source=ACCESS.source, token=ACCESS.token)
        how = ('interface = "jiangsu-verify"', f"verifier = {VERIFIER}", secret)
        issuers = _asked("SKM", await sim.start(), *how)
        feed = OwnFeed(tmp_path, "SKM", Kind.RED_YELLOW)
        feed.publish(1, [somebody(9, S.RED, "SKM")])
        change = station_of(tmp_path, [feed], issuers=issuers, pairing_window_s=0.5)
        async with house(tmp_path, change=change) as h:
            await h.scan(code_of(green, "SKM_V5"))
            record = await h.walks()
            assert (record.reason, record.finding, record.credential) == ("STATUS_GREEN", "ISSUER_ANSWERED", "CODE")
            assert (await h.stays(0, h.scan(code_of(red, "SKM_V5")))).reason == "STATUS_RED"
            record = await h.stays(0, h.scan(code_of(strange, "SKM_V5")))
            assert (record.verdict, record.reason) == ("REFER", "CODE_NOT_KNOWN")
            record = await h.stays(0, h.scan(code))
            assert (record.verdict, record.reason, record.rule_id) == ("REFER", "CODE_EXPIRED", "common/code-expired")
            assert (sim.questions, sim.refused) == (4, [])
        await sim.stop()

    asyncio.run(story())


@pytest.mark.requirement("R5", "row:ZJ")
def test_whose_code_it_is_the_issuer_tells_and_every_feed_is_asked_about_them(tmp_path: Path) -> None:
    """A green of the issuer does not outweigh a red of another region, and another's card beside it opens nothing."""
    green, red_elsewhere = somebody(1, S.GREEN, "ZJ"), somebody(2, S.GREEN, "ZJ")
    unknown = somebody(3, None, "ZJ")
    shanghai = OwnFeed(tmp_path, "SSM")
    shanghai.publish(1, [somebody(2, S.RED, "SSM")])  # the same number
    form = "ZJ_V0"  # a code that no feed lists

    async def story() -> None:
        sim = SimulatedIssuer("shaoxing-level", [_told(green, form), _told(red_elsewhere, form)])
        secret = _secret(tmp_path, app_key=ACCESS.app_key, secret=ACCESS.secret)
        how = ('interface = "zhejiang-level"', 'sign = "hmac-sha256"', 'device_id = "D001"', secret)
        issuers = _asked("ZJ", await sim.start(), *how)
        async with house(tmp_path, change=station_of(tmp_path, [shanghai], issuers=issuers)) as h:
            await h.scan(code_of(green, form))
            record = await h.walks()
            assert (record.reason, record.finding, record.issuer) == ("STATUS_GREEN", "ISSUER_ANSWERED", "ZJ")
            record = await h.stays(0, h.scan(code_of(red_elsewhere, form)))
            assert (record.verdict, record.reason, record.issuer) == ("DENY", "STATUS_RED", "SSM")
            assert {finding["issuer"] for finding in record.findings} == {"SSM", "ZJ"}, "both are kept"
            await h.tap(unknown)
            await h.says("CARD_NEEDS_CODE")
            record = await h.stays(0, h.scan(code_of(green, form)))
            assert (record.verdict, record.reason) == ("REFER", "CODE_OF_ANOTHER")
            assert sim.refused == []
        await sim.stop()

    asyncio.run(story())
