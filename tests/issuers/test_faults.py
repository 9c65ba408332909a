"""The desk against issuers that fail: the lane's time is kept, nobody is stormed, and nothing personal is told."""

import asyncio
import contextlib
import logging
import ssl
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gate.feed.finding import Answered, Silence, Unanswered
from gate.feed.records import CredentialStatus as Status
from gate.issuers.circuit import FAILURES_MAX, FIRST_S
from gate.issuers.desk import QUESTIONS_MAX, IssuerDesk
from gate.issuersettings import IssuerSettings
from gate.sim.issuer import Faults
from tests.issuers.support import (
    GUARD_S,
    HEALTH_CODE,
    INTERFACES,
    PERSONAL,
    World,
    holder,
    query,
    world,
)
from tests.rpc.certificates import Authority, authority

# Fault, and what a question that meets it ends as.
FAULTS: list[tuple[dict[str, Any], Silence]] = [
    ({"silent": True}, Silence.LATE),
    ({"slow_s": 3600.0}, Silence.LATE),
    ({"drip": True}, Silence.LATE),
    ({"status": 500}, Silence.UNINTELLIGIBLE),
    ({"status": 404}, Silence.UNINTELLIGIBLE),
    ({"status": 503}, Silence.BUSY),
    ({"status": 429}, Silence.BUSY),
    ({"status": 403}, Silence.NO_PERMISSION),
    ({"garbage": True}, Silence.UNINTELLIGIBLE),
    ({"zipped": True}, Silence.UNINTELLIGIBLE),
    ({"truncated": True}, Silence.UNREACHABLE),
    ({"redirect": "http://127.0.0.1:9/elsewhere"}, Silence.UNINTELLIGIBLE),
    ({"huge": True}, Silence.UNINTELLIGIBLE),
    ({"reset": True}, Silence.UNREACHABLE),
]


def tell(
    folder: Path,
    story: Callable[[World], Awaitable[None]],
    interface: str = "jiangsu-verify",
    **more: Any,
) -> None:
    """Run a story, all of it well within the time of a test."""

    async def run() -> None:
        async with asyncio.timeout(60), world(interface, folder, **more) as there:
            await story(there)

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(GUARD_S):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.requirement("R7")
@pytest.mark.parametrize(("fault", "why"), FAULTS, ids=lambda value: str(value))
def test_whatever_goes_wrong_the_lanes_time_is_kept(fault: dict[str, Any], why: Silence, tmp_path: Path) -> None:
    """R7: every fault ends in a reply that says what it was, within the lane's time; the next good answer is taken."""

    async def story(there: World) -> None:
        there.sim.faults = Faults(**fault)
        async with asyncio.timeout(GUARD_S):
            assert (await there.ask(within_s=0.4)).findings == (Unanswered("X", why),)
        there.sim.faults = Faults()
        assert isinstance((await there.ask(within_s=GUARD_S)).findings[0], Answered)

    tell(tmp_path, story)


@pytest.mark.requirement("R7")
def test_a_line_that_nobody_answers_keeps_the_lanes_time(tmp_path: Path) -> None:
    """R7: no server at all, and one that takes connections and never shakes hands for TLS."""

    async def story(there: World) -> None:
        closed = replace(query("jiangsu-verify", "http://127.0.0.1:9", tmp_path), timeout_s=0.8)
        mute = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = mute.sockets[0].getsockname()[1]
        shy = query("jiangsu-verify", f"https://127.0.0.1:{port}", tmp_path)
        desk = IssuerDesk([IssuerSettings("A", query=closed), IssuerSettings("B", query=shy)], there.time)
        async with asyncio.timeout(GUARD_S):
            assert (await desk.ask("A", None, HEALTH_CODE, 0.8)).findings == (Unanswered("A", Silence.UNREACHABLE),)
            assert (await desk.ask("B", None, HEALTH_CODE, 0.4)).findings == (Unanswered("B", Silence.LATE),)
            await desk.close()
        mute.close()

    tell(tmp_path, story)


@pytest.mark.requirement("R7")
def test_it_opens_stays_quiet_and_closes_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R7, no retry storm: of 500 questions to a dead issuer five arrive, then one probe; logged once each way."""
    caplog.set_level(logging.INFO, "gate.issuers")

    async def story(there: World) -> None:
        there.sim.faults = Faults(status=503)
        replies = [await there.ask() for _ in range(500)]
        assert there.sim.questions == FAILURES_MAX
        assert replies[0].findings == (Unanswered("X", Silence.BUSY),)
        assert replies[-1].findings == (Unanswered("X", Silence.UNREACHABLE),)
        assert not there.desk.asks("X")
        assert there.desk.unreachable() == {"X"}

        there.time.mono_s += FIRST_S
        assert there.desk.asks("X")
        await asyncio.gather(*(there.ask() for _ in range(100)))
        assert there.sim.questions == FAILURES_MAX + 1
        assert there.desk.unreachable() == {"X"}

        there.sim.faults = Faults()
        there.time.mono_s += 2 * FIRST_S
        first = await there.ask()
        assert isinstance(first.findings[0], Answered)
        assert there.desk.unreachable() == frozenset()
        replies = await asyncio.gather(*(there.ask(within_s=GUARD_S) for _ in range(20)))
        assert all(isinstance(reply.findings[0], Answered) for reply in replies)

    tell(tmp_path, story)
    assert [record.getMessage().split(";")[0] for record in caplog.records] == [
        "issuer X: unreachable (BUSY)",
        "issuer X: answers again",
    ]


def test_a_refused_verifier_is_said_once_and_closes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """NO_PERMISSION is for the operator to mend: one line when it begins, one when it ends."""
    caplog.set_level(logging.INFO, "gate.issuers")

    async def story(there: World) -> None:
        there.sim.faults = Faults(no_permission=True)
        for _ in range(2 * FAILURES_MAX):
            assert (await there.ask()).findings == (Unanswered("X", Silence.NO_PERMISSION),)
        assert there.desk.asks("X")
        there.sim.faults = Faults()
        await there.ask()

    tell(tmp_path, story)
    assert len(caplog.records) == 2
    assert "check its secret_file and verifier" in caplog.records[0].getMessage()


@pytest.mark.parametrize("interface", ["anhui-id", "guangdong-decode", "zhejiang-level"])
def test_a_party_of_strangers_does_not_close_an_issuer(interface: str, tmp_path: Path) -> None:
    """Whom it does not know says nothing against it: the next of its own people is answered."""

    async def story(there: World) -> None:
        known = there.sim.holders[:]
        there.sim.holders.clear()
        for _ in range(3 * FAILURES_MAX):
            assert (await there.ask()).findings == (Unanswered("X", Silence.UNINTELLIGIBLE),)
        there.sim.holders.extend(known)
        assert isinstance((await there.ask()).findings[0], Answered)

    tell(tmp_path, story, interface)


def test_a_hurried_lane_proves_nothing_against_an_issuer(tmp_path: Path) -> None:
    """Questions that were given less than half of the issuer's usual time do not open its circuit."""

    async def story(there: World) -> None:
        there.sim.faults = Faults(silent=True)
        for _ in range(FAILURES_MAX + 1):
            assert (await there.ask(within_s=0.3)).findings == (Unanswered("X", Silence.LATE),)
        assert there.desk.asks("X")
        assert (await there.ask(within_s=0.0)).findings == (Unanswered("X", Silence.LATE),)

    tell(tmp_path, story, timeout_s=0.7)


@pytest.mark.requirement("R7")
def test_over_the_limit_nobody_queues(tmp_path: Path) -> None:
    """R7: with so many questions under way the next one ends at once as BUSY and never reaches the issuer."""

    async def story(there: World) -> None:
        there.sim.faults = Faults(silent=True)
        waiting = [asyncio.create_task(there.ask(within_s=0.8)) for _ in range(QUESTIONS_MAX)]
        await asyncio.sleep(0)  # each has begun
        assert (await there.ask()).findings == (Unanswered("X", Silence.BUSY),)
        assert not any(task.done() for task in waiting)
        await asyncio.gather(*waiting)
        assert there.sim.questions <= QUESTIONS_MAX

    tell(tmp_path, story)


@pytest.mark.requirement("R7")
def test_ten_times_the_load_collapses_the_issuer_and_not_the_station(tmp_path: Path) -> None:
    """R7, Xi'an: over its capacity every answer takes for ever; all lanes end in time, and it is left in peace."""

    async def story(there: World) -> None:
        there.sim.faults = Faults(collapse_above=3)
        async with asyncio.timeout(GUARD_S):
            for _ in range(3):
                await asyncio.gather(*(there.ask(within_s=0.4) for _ in range(10 * 3)))
        assert there.desk.unreachable() == {"X"}
        asked = there.sim.questions
        assert asked <= QUESTIONS_MAX  # the first wave; after it the circuit is open
        await asyncio.gather(*(there.ask() for _ in range(300)))
        assert there.sim.questions == asked

    tell(tmp_path, story, timeout_s=0.4)


@pytest.mark.requirement("R7")
def test_with_all_issuers_down_everybody_is_answered_at_once(tmp_path: Path) -> None:
    """R7, Xi'an, December 2021: with every circuit open no question leaves the station, so nobody waits for one."""

    async def story() -> None:
        async with contextlib.AsyncExitStack() as stack:
            worlds = [await stack.enter_async_context(world(name, tmp_path)) for name in INTERFACES]
            for there in worlds:
                there.sim.faults = Faults(reset=True)
                for _ in range(FAILURES_MAX):
                    await there.ask()
            before = [there.sim.questions for there in worlds]
            for there in worlds * 50:
                assert (await there.ask(within_s=3600.0)).findings == (Unanswered("X", Silence.UNREACHABLE),)
            assert [there.sim.questions for there in worlds] == before

    asyncio.run(story())


def test_a_lane_that_stops_waiting_leaves_nothing_behind(tmp_path: Path) -> None:
    """Cancelled questions free their places, even the probe's; the issuer is asked as before."""

    async def story(there: World) -> None:
        there.sim.faults = Faults(silent=True)
        for _ in range(3):
            tasks = [asyncio.create_task(there.ask(within_s=GUARD_S)) for _ in range(QUESTIONS_MAX)]
            asked = there.sim.questions
            await until(lambda asked=asked: there.sim.questions > asked)  # type: ignore[misc]
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, asyncio.CancelledError) for end in ends)
        there.sim.faults = Faults()
        assert isinstance((await there.ask(within_s=GUARD_S)).findings[0], Answered)

    tell(tmp_path, story)


def test_a_cancelled_probe_lets_the_next_one_through(tmp_path: Path) -> None:
    """Else one impatient lane at the wrong moment would close an issuer for ever."""

    async def story(there: World) -> None:
        there.sim.faults = Faults(reset=True)
        for _ in range(FAILURES_MAX):
            await there.ask()
        there.time.mono_s += FIRST_S
        there.sim.faults, asked = Faults(silent=True), there.sim.questions
        probe = asyncio.create_task(there.ask(within_s=GUARD_S))
        await until(lambda: there.sim.questions > asked)
        probe.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await probe
        there.sim.faults = Faults()
        assert isinstance((await there.ask()).findings[0], Answered)

    tell(tmp_path, story)


@pytest.mark.requirement("R6")
def test_only_green_is_kept_and_only_as_long_as_the_rule_says(tmp_path: Path) -> None:
    """R6: a kept green ends with cache_s; anything else is asked anew, so a way back to green is not held up."""

    async def story(there: World) -> None:
        async def status(cache_s: float) -> Status:
            found: Status = (await there.ask(cache_s=cache_s)).findings[0].status
            return found

        sim = there.sim
        sim.holders = [holder(status=Status.RED)]
        assert [await status(60.0), await status(60.0), sim.questions] == [Status.RED, Status.RED, 2]
        sim.holders = [holder(status=Status.GREEN)]
        assert [await status(60.0), await status(60.0), sim.questions] == [Status.GREEN, Status.GREEN, 3]
        sim.holders = [holder(status=Status.RED)]
        there.time.mono_s += 59.0
        assert await status(60.0) is Status.GREEN
        assert await status(0.0) is Status.RED  # a rule that allows none gets none
        there.time.mono_s += 1.0
        assert await status(60.0) is Status.RED

    tell(tmp_path, story)


@pytest.mark.requirement("R6")
def test_a_kept_green_never_outlives_its_own_validity(tmp_path: Path) -> None:
    """R6: report_valid_date ends it, whatever the rule's cache_s."""

    async def story(there: World) -> None:
        now_s = int(there.time().utc_s)
        there.sim.holders = [holder(until_utc_s=now_s - 1)]
        await there.ask(cache_s=3600.0)
        await there.ask(cache_s=3600.0)
        assert there.sim.questions == 2

    tell(tmp_path, story, "guangdong-decode")


@pytest.mark.requirement("R10")
def test_an_answer_that_names_the_holder_is_not_kept(tmp_path: Path) -> None:
    """R10: the number lives for one passage, and not in a cache."""

    async def story(there: World) -> None:
        for _ in range(2):
            assert (await there.ask(cache_s=3600.0)).document is not None
        assert there.sim.questions == 2

    tell(tmp_path, story, "shaoxing-level")


@pytest.mark.requirement("R10")
@pytest.mark.parametrize("interface", INTERFACES)
def test_nothing_personal_is_logged_or_shown(
    interface: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """R10: with every fault, at the most talkative log level, no number, name, phone, code, token or key gets out."""
    caplog.set_level(logging.DEBUG)
    shown: list[str] = []

    async def story(there: World) -> None:
        for fault, _ in [({}, None), *FAULTS, ({"other_error": True}, None), ({"half": True}, None)]:
            there.sim.faults = Faults(**fault)
            there.time.mono_s += 3600.0  # the circuit tries again
            shown.append(repr(await there.ask(within_s=0.1)))
        shown.extend(map(repr, vars(there.desk).values()))
        for counter in there.desk._counters.values():
            shown.extend(map(repr, vars(counter).values()))

    tell(tmp_path, story, interface)
    out, err = capfd.readouterr()
    everything = "\n".join([*shown, out, err, *(repr(vars(record)) for record in caplog.records)])
    assert "issuer X" in everything
    assert [value for value in (*PERSONAL, "钱核验", "13800005678") if value in everything] == []


@pytest.mark.requirement("R10")
def test_a_fault_of_ours_is_logged_by_its_kind_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """R10: a text that cannot be encoded raises an error that quotes it; the log gets only its type."""
    bad = replace(HEALTH_CODE, text=f"{HEALTH_CODE.text}\ud800")

    async def story(there: World) -> None:
        assert (await there.ask(code=bad)).findings == (Unanswered("X", Silence.UNINTELLIGIBLE),)

    tell(tmp_path, story)
    (record,) = caplog.records
    assert record.getMessage() == "issuer X: UnicodeEncodeError while asking: please report this"
    assert record.exc_info is None
    assert "V5" not in repr(vars(record))


@pytest.mark.requirement("R10")
def test_a_cancelled_questions_traceback_names_nobody(tmp_path: Path) -> None:
    """R10: what a supervisor would print of a broken-off question."""

    async def story(there: World) -> None:
        there.sim.faults = Faults(silent=True)
        task = asyncio.create_task(there.ask(within_s=GUARD_S))
        await until(lambda: there.sim.questions > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await task
        text = "".join(traceback.format_exception(caught.value)) + repr(task)
        assert [value for value in PERSONAL if value in text] == []

    tell(tmp_path, story)


def _contexts(folder: Path, asks_clients: bool) -> ssl.SSLContext:
    identity = authority().identity(host="localhost")
    (folder / "server.pem").write_bytes(identity.certificate + identity.key)
    (folder / "ca.pem").write_bytes(authority().pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if asks_clients:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")
    return context


def test_over_tls_the_issuer_is_who_the_ca_file_says(tmp_path: Path) -> None:
    """Its own authority is believed; another one's certificate, or the system's authorities, are not."""
    context = _contexts(tmp_path, asks_clients=False)

    async def story(there: World) -> None:
        assert isinstance((await there.ask(within_s=GUARD_S)).findings[0], Answered)
        for ca_file in (_pem(tmp_path, authority("somebody else")), None):
            settings = query("jiangsu-verify", there.sim.url, tmp_path, ca_file=ca_file)
            desk = IssuerDesk([IssuerSettings("X", query=settings)], there.time)
            reply = await desk.ask("X", None, HEALTH_CODE, GUARD_S)
            assert reply.findings == (Unanswered("X", Silence.UNREACHABLE),)
            await desk.close()

    tell(tmp_path, story, tls=context, ca_file=tmp_path / "ca.pem")


def test_over_tls_we_say_who_we_are(tmp_path: Path) -> None:
    """An issuer that wants a client certificate gets the configured one, and answers nobody without."""
    context = _contexts(tmp_path, asks_clients=True)
    ours = authority().identity(unit="station")
    (tmp_path / "we.crt").write_bytes(ours.certificate)
    (tmp_path / "we.key").write_bytes(ours.key)
    files = {"certificate": tmp_path / "we.crt", "private_key": tmp_path / "we.key"}

    async def story(there: World) -> None:
        assert isinstance((await there.ask(within_s=GUARD_S)).findings[0], Answered)
        settings = query("jiangsu-verify", there.sim.url, tmp_path, ca_file=tmp_path / "ca.pem")
        desk = IssuerDesk([IssuerSettings("X", query=settings)], there.time)
        reply = await desk.ask("X", None, HEALTH_CODE, GUARD_S)
        assert reply.findings == (Unanswered("X", Silence.UNREACHABLE),)
        await desk.close()

    tell(tmp_path, story, tls=context, ca_file=tmp_path / "ca.pem", **files)


def _pem(folder: Path, other: Authority) -> Path:
    path = folder / "other.pem"
    path.write_bytes(other.pem)
    return path
