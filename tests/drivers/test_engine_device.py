"""QR engines that take orders, on real ports: set-up, confirmation, triggers, and answers that are no codes."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import CodeReport, DeviceFault, Down, Up
from drivers.scanners.engine import device
from drivers.scanners.engine.device import profiles
from drivers.simulated.engine import EngineKnobs, SimulatedEngine
from tests.drivers.scanner_bench import CODE, bench

ASKED = {"newland": ["@DEVQRY*"], "honeywell": ["232BAD?!"], "gm65": ["07010000010141"]}
MUTE = {"newland-legacy", "honeywell-stx"}


def at(profile: str, knobs: EngineKnobs | None = None) -> SimulatedEngine:
    made = profiles()[profile]
    return SimulatedEngine(made.prefix, made.suffix, knobs)


@pytest.mark.parametrize("profile", list(profiles()))
@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("chunk", [0, 1, 7])
def test_every_make_is_asked_and_its_codes_are_read(tmp_path: Path, profile: str, tcp: bool, chunk: int) -> None:
    """Asked first where it can answer; then whole codes and no others, however bytes arrive."""
    engine = at(profile, EngineKnobs(chunk=chunk))

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, tcp, profile=profile) as b:
            await b.until_up()
            await engine.scan(CODE)
            await engine.scan(b"second")
            await b.until(lambda: len(b.read) >= 2)
            assert b.read == [CodeReport(CODE, ""), CodeReport(b"second", "")]
        assert engine.orders == ASKED.get(profile, [])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "orders"),
    [
        ({"profile": "newland", "mode": "sense"}, ["@DEVQRY*", "#SCNMOD2"]),
        ({"profile": "newland", "engine_same_code_ms": 1000}, ["@DEVQRY*", "#RRDDUR1000"]),
        (
            {"profile": "newland", "mode": "trigger", "trigger_every_s": 20},
            ["@DEVQRY*", "#SCNMOD0", "#ORTSET20000", "@SCNTRG1"],
        ),
        ({"profile": "newland-legacy", "mode": "trigger"}, ["\x01T\x04"]),
        ({"profile": "honeywell", "mode": "trigger"}, ["232BAD?!", "\x16T\r"]),
        ({"profile": "gm65", "mode": "sense"}, ["07010000010141", "080100007f"]),
        (
            {"profile": "gm65", "mode": "trigger", "trigger_every_s": 20},
            ["07010000010141", "080100007d", "08010006c8", "0801000201"],
        ),
    ],
)
def test_it_is_set_up_as_configured(tmp_path: Path, given: dict[str, Any], orders: list[str]) -> None:
    """The maker's orders for mode, order time-out, same-code interval and the first scan, in this order."""
    engine = at(given["profile"])

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, **given) as b:
            await b.until_up()
            await b.until(lambda: len(engine.orders) >= len(orders))
            heard = [got[: len(order)] for got, order in zip(engine.orders, orders, strict=False)]
            assert heard == orders
            await engine.scan(CODE)
            await b.until(lambda: b.read == [CodeReport(CODE, "")])

    asyncio.run(scenario())


@pytest.mark.parametrize("profile", ["newland", "newland-legacy", "honeywell", "gm65"])
def test_a_scan_is_started_again_after_a_code_and_after_its_time(tmp_path: Path, profile: str) -> None:
    """mode = trigger: a code ends a scan, and so does the time without one; answers to it are never codes."""
    engine = at(profile)
    start = {"newland": "@SCNTRG1", "newland-legacy": "\x01T\x04", "honeywell": "\x16T\r", "gm65": "0801000201"}[
        profile
    ]

    def starts() -> int:
        return sum(order.startswith(start) for order in engine.orders)

    async def scenario() -> None:
        async with bench(
            "engine-scanner", engine.session, tmp_path, profile=profile, mode="trigger", trigger_every_s=25
        ) as b:
            await b.until(lambda: starts() == 1)
            await engine.scan(CODE)
            await b.until(lambda: starts() == 2)
            assert b.read == [CodeReport(CODE, "")]
        again = at(profile)
        async with bench(
            "engine-scanner", again.session, tmp_path / "b", profile=profile, mode="trigger", trigger_every_s=0.5
        ) as b:
            await b.until(lambda: sum(order.startswith(start) for order in again.orders) >= 3)
            assert b.read == []

    asyncio.run(scenario())


def test_an_engine_that_was_started_is_stopped(tmp_path: Path) -> None:
    """The stop order goes out when the driver ends."""
    engine = at("newland")

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, tcp=True, mode="trigger") as b:
            await b.until(lambda: "@SCNTRG1" in engine.orders)
        assert engine.orders[-1] == "@SCNTRG0"

    asyncio.run(scenario())


@pytest.mark.parametrize("profile", ["newland", "honeywell", "gm65"])
@pytest.mark.parametrize(
    ("knobs", "fault"),
    [
        (EngineKnobs(silent=True), DeviceFault.NO_ANSWER),
        (EngineKnobs(answer_s=1.0), DeviceFault.NO_ANSWER),
        (EngineKnobs(garbled=1000), DeviceFault.PROTOCOL_ERROR),
    ],
    ids=["silent", "late", "garbles every answer"],
)
def test_an_engine_that_cannot_be_asked_is_down(
    tmp_path: Path, profile: str, knobs: EngineKnobs, fault: DeviceFault
) -> None:
    """Never up without an answer; and what it said instead is no code."""
    engine = at(profile, knobs)

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, profile=profile, timeout_ms=50) as b:
            assert (await b.until_down()).fault is fault
            assert [type(report) for report in b.said] == [Down]

    asyncio.run(scenario())


@pytest.mark.parametrize(("status", "words"), [(0x15, "refuses the value"), (0x05, "does not know it")])
def test_a_refused_order_is_named(tmp_path: Path, status: int, words: str) -> None:
    """NAK and ENQ to a set-up order: down, and the operator reads which order and why."""
    engine = at("newland", EngineKnobs(refuse={"#SCNMOD2": status}))

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, mode="sense") as b:
            down = await b.until_down()
            assert down.fault is DeviceFault.PROTOCOL_ERROR
            assert "#SCNMOD2" in down.detail
            assert words in down.detail

    asyncio.run(scenario())


def test_a_refused_question_still_shows_that_it_is_there(tmp_path: Path) -> None:
    """ENQ to the health order (an older firmware does not know it) is an answer."""
    engine = at("newland", EngineKnobs(refuse={"@DEVQRY": 0x05}))

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path) as b:
            await b.until_up()
            assert b.said == [Up()]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "knobs", [EngineKnobs(garbled=1), EngineKnobs(noise_before=b"\0\0"), EngineKnobs(echo_prefix=True)]
)
@pytest.mark.parametrize("profile", ["newland", "honeywell", "gm65"])
def test_one_spoiled_answer_or_noise_is_no_fault_and_no_code(tmp_path: Path, profile: str, knobs: EngineKnobs) -> None:
    """The order is sent again; what came instead is never reported as a code."""
    engine = at(profile, knobs)

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, profile=profile, timeout_ms=150) as b:
            await b.until_up()
            await engine.scan(CODE)
            await b.until(lambda: bool(b.read))
            assert b.said == [Up(), CodeReport(CODE, "")]

    asyncio.run(scenario())


def test_codes_are_acknowledged_where_the_engine_wants_it(tmp_path: Path) -> None:
    """STX code ETX: one ACK each, no repetition; and a repetition after a lost ACK is the same presentation."""
    engine = at("honeywell-stx", EngineKnobs(wants_ack_s=5))

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, profile="honeywell-stx") as b:
            await b.until_up()
            await engine.scan(CODE)
            assert engine.sent == 1
            await engine.send(b"\x02" + CODE + b"\x03")
            await engine.scan(b"second")
            assert b.read == [CodeReport(CODE, ""), CodeReport(b"second", "")]

    asyncio.run(scenario())


def test_a_code_from_before_the_start_is_nobodys(tmp_path: Path) -> None:
    """What an engine kept while nobody listened is not said."""
    engine = at("newland")

    async def session(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"old\r\n")
        await engine.session(reader, writer)

    async def scenario() -> None:
        async with bench("engine-scanner", session, tmp_path, tcp=True) as b:
            await b.until_up()
            await engine.scan(CODE)
            await b.until(lambda: bool(b.read))
            assert b.read == [CodeReport(CODE, "")]

    asyncio.run(scenario())


def test_an_engine_that_falls_silent_is_noticed_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle check finds it gone although its port is open; it is up again by itself."""
    monkeypatch.setattr(device, "CHECK_EVERY_S", 0.05)
    engine = at("newland")

    async def scenario() -> None:
        async with bench("engine-scanner", engine.session, tmp_path, timeout_ms=50) as b:
            await b.until_up()
            engine.knobs.silent = True
            assert (await b.until_down()).fault is DeviceFault.NO_ANSWER
            engine.knobs.silent = False
            await b.until_up()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"profile": "honeywell", "mode": "sense"}, "mode"),
        ({"profile": "honeywell-stx", "mode": "trigger"}, "mode"),
        ({"profile": "gm65", "engine_same_code_ms": 500}, "engine_same_code_ms"),
        ({"suffix": "码"}, "suffix"),
    ],
)
def test_what_a_make_cannot_do_is_refused_by_name(given: dict[str, Any], key: str) -> None:
    """Before anything is opened, with what to do instead."""
    checked = registry.check_settings(registry.driver("engine-scanner"), {"port": "/dev/null", **given})
    with pytest.raises(registry.SettingError) as refused:
        registry.create("engine-scanner", checked)
    assert refused.value.key == key


def test_the_choices_are_the_profiles() -> None:
    """driver.toml offers exactly the makes of profiles.toml."""
    assert set(registry.driver("engine-scanner").settings["profile"].choices) == set(profiles())
