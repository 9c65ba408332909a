"""Knobs of simulators do what they say, as a driver sees it; `gate devices simulate` passes them on so."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from drivers import registry
from drivers.contract import Answer, CardReport, Direction, Down, Emergency, Passed, Ready, Unread, Up
from drivers.simulated.ports import plug_at
from drivers.simulated.wire import FAULTS, WireFaults
from drivers.transport import open_link
from tests.conformance.plug import Plug

NONE = registry.Setting("", "string", "")
_CONVERT: dict[str, Callable[[str], Any]] = {
    "boolean": lambda text: text == "true",
    "integer": int,
    "number": float,
    "string": str,
}
WIRED: dict[str, object] = {"passed_input": 0, "fire_input": 4, "ready_input": 5, "timeout_ms": 200}


class Told:
    """A driver at work before `simulate`, and what it said."""

    def __init__(self, device: Any) -> None:
        self.device = device
        self.said: list[Any] = []

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    async def reported(self, report: Any, count: int = 1) -> None:
        await self.until(lambda: self.said.count(report) >= count)

    async def some(self, kind: type, count: int = 1) -> None:
        await self.until(lambda: sum(isinstance(report, kind) for report in self.said) >= count)


@contextlib.asynccontextmanager
async def simulated(name: str, folder: Path, knobs: dict[str, str], **settings: object) -> AsyncIterator[Told]:
    info = registry.driver(name)
    plug = Plug(info, "pty" if "pty" in info.ports else "tcp", folder)
    typed = {key: _CONVERT[info.knobs[key].type](text) for key, text in knobs.items()}
    registry.check_knobs(info, typed)  # no knob that `gate devices simulate` would refuse
    device = asyncio.create_task(importlib.import_module(info.simulator).simulate(plug.spec, knobs))
    told = Told(registry.create(name, registry.check_settings(info, {**plug.setting, **settings})))
    running = asyncio.create_task(told.device.run(told.said.append))
    try:
        await told.some(Up)
        yield told
    finally:
        for task in (running, device):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def test_a_stuck_passage_contact_counts_one_person(tmp_path: Path) -> None:
    """Closed since the first passage: the second release is accepted, and nobody more is counted."""

    async def story() -> None:
        async with simulated("modbus-relay", tmp_path, {"stuck_passage": "true"}, **WIRED) as told:
            assert await told.device.release(Direction.ENTRY, 2.0) is Answer.ACCEPTED
            await told.reported(Passed(Direction.ENTRY))
            assert await told.device.release(Direction.ENTRY, 2.0) is Answer.ACCEPTED
            await asyncio.sleep(2.0)  # 0.8 s of walking, 0.3 s of pulse, and polls of 0.1 s
            assert told.said.count(Passed(Direction.ENTRY)) == 1

    asyncio.run(story())


# Every turnstile that tells passages, with the settings by which it does; and which reports a broken fire loop.
TELLS: dict[str, dict[str, object]] = {
    "modbus-relay": WIRED,
    "osdp-output": {"passed_input": 0, "fire_input": 4, "ready_input": 5},
    "zkteco-c3": {"passed_sensor": 1, "fire_input": 1, "open_s": 1},
    "uhppote": {"passed_sensor": 1},
    "tpw-321asp": {},
    "digicon-tx1500": {},
}
LOOPED = {"modbus-relay", "osdp-output", "zkteco-c3"}
TELLS_NO_PASSAGE = {"machpower-eb"}


def test_every_simulator_has_the_knobs_that_apply_to_it() -> None:
    """The cable's on a port; a stuck sensor where passages are told; a cut fire loop; a card pulled, or resting."""
    infos = registry.drivers()
    turnstiles = {name for name, info in infos.items() if info.kind == "turnstile"}
    assert turnstiles - TELLS_NO_PASSAGE == {name for name, info in infos.items() if "stuck_passage" in info.knobs}
    assert turnstiles - TELLS_NO_PASSAGE == set(TELLS)
    assert {name for name, info in infos.items() if "fire" in info.knobs.get("wire_break", NONE).choices} == LOOPED
    assert {"pulled_early", "rests_as_found"} <= set(infos["samv"].knobs)  # the one reader that is read in steps
    cable = {field.name for field in fields(WireFaults)}
    # A PC/SC reader has pcscd between it and its cable.
    lines = [info for info in infos.values() if "port" in info.settings and info.ports != ("pcsc",)]
    assert all(cable <= set(info.knobs) for info in lines)


@pytest.mark.parametrize("stuck", ["false", "true"])
@pytest.mark.parametrize("name", sorted(set(TELLS) - {"modbus-relay"}))
def test_a_stuck_passage_sensor_counts_nobody(tmp_path: Path, name: str, stuck: str) -> None:
    """The release is accepted, the person walks, and only a sensor that works says so."""

    async def story() -> None:
        async with simulated(name, tmp_path, {"stuck_passage": stuck}, **TELLS[name]) as told:
            assert await told.device.release(Direction.ENTRY, 6.0) is Answer.ACCEPTED
            if stuck == "false":
                await told.reported(Passed(Direction.ENTRY))
            else:
                await asyncio.sleep(2.5)  # 0.8 s of walking, 0.3 s of pulse, and the longest look of 1 s
                assert not any(isinstance(report, Passed) for report in told.said)

    asyncio.run(story())


@pytest.mark.parametrize("name", sorted(LOOPED))
def test_a_broken_fire_loop_is_a_fire(tmp_path: Path, name: str) -> None:
    """On every driver that watches one; whole, it is none."""

    async def story() -> None:
        for wire in ("none", "fire"):
            async with simulated(name, tmp_path / wire, {"wire_break": wire}, **TELLS[name]) as told:
                if wire == "fire":
                    await told.reported(Emergency(True))
                else:
                    await asyncio.sleep(1.0)  # several looks of each
                    assert Emergency(True) not in told.said

    asyncio.run(story())


def test_a_panel_s_broken_sensor_wire_tells_one_opening(tmp_path: Path) -> None:
    """Nobody was released: one passage is told, which the lane takes for an intrusion, and no more."""

    async def story() -> None:
        async with simulated("zkteco-c3", tmp_path, {"wire_break": "passed"}, **TELLS["zkteco-c3"]) as told:
            await told.reported(Passed(Direction.ENTRY))
            assert await told.device.release(Direction.ENTRY, 6.0) is Answer.ACCEPTED
            await asyncio.sleep(2.0)  # 0.8 s of walking, and looks
            assert told.said.count(Passed(Direction.ENTRY)) == 1

    asyncio.run(story())


@pytest.mark.parametrize(("wire", "report"), [("fire", Emergency(True)), ("ready", Ready(False))])
def test_a_broken_wire_is_heard(tmp_path: Path, wire: str, report: object) -> None:
    """The fire loop's break is a fire; a turnstile whose ready wire broke takes no release."""

    async def story() -> None:
        async with simulated("modbus-relay", tmp_path, {"wire_break": wire}, **WIRED) as told:
            await told.reported(report)

    asyncio.run(story())


def test_a_broken_passage_wire_counts_nobody(tmp_path: Path) -> None:
    """Released and gone through, and no contact says so."""

    async def story() -> None:
        async with simulated("modbus-relay", tmp_path, {"wire_break": "passed"}, **WIRED) as told:
            assert await told.device.release(Direction.ENTRY, 2.0) is Answer.ACCEPTED
            await asyncio.sleep(1.5)  # 0.8 s of walking, 0.3 s of pulse, and polls of 0.1 s
            assert Passed(Direction.ENTRY) not in told.said

    asyncio.run(story())


@pytest.mark.parametrize("rests_as_found", ["true", "false"])
def test_a_resting_card_is_one_person_both_ways(tmp_path: Path, rests_as_found: str) -> None:
    """A card that rests for a second among polls of 50 ms is one report; the next is another."""

    async def story() -> None:
        knobs = {"every_s": "0.2", "rests_as_found": rests_as_found}
        async with simulated("samv", tmp_path, knobs, poll_interval_ms=50) as told:
            await told.some(CardReport, 3)
            texts = [report.text for report in told.said if isinstance(report, CardReport)]
            assert len(set(texts)) == len(texts)

    asyncio.run(story())


def test_a_card_pulled_mid_read_is_no_card(tmp_path: Path) -> None:
    """Gone between select and read: said as unread, never as a card."""

    async def story() -> None:
        async with simulated("samv", tmp_path, {"every_s": "0.1", "pulled_early": "true"}) as told:
            await told.some(Unread)
            assert not any(isinstance(report, CardReport) for report in told.said)

    asyncio.run(story())


@pytest.mark.parametrize("name", ["samv", "line-scanner", "modbus-relay"])
def test_a_port_that_comes_and_goes(tmp_path: Path, name: str) -> None:
    """`unplug_every_s`: down, and up again, more than once."""

    async def story() -> None:
        FAULTS.set(WireFaults(unplug_every_s=1.0))
        async with simulated(name, tmp_path, {}) as told:
            await told.some(Up, 3)
            assert sum(isinstance(report, Down) for report in told.said) >= 2

    asyncio.run(story())


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64):
        writer.write(data)


@pytest.mark.parametrize(
    ("faults", "hears"),
    [
        ({}, [b"one!", b"two!", b"six!"]),
        ({"silent": True}, [b"", b"", b""]),
        ({"wrong_answer": True}, [b"", b"one!", b"two!"]),
        ({"garbled_every": 1}, [b"on0!", b"tw:!", b"si-!"]),
        ({"garbled_every": 2}, [b"one!", b"tw:!", b"six!"]),
    ],
)
def test_each_fault_of_a_cable_is_what_it_says(faults: dict[str, Any], hears: list[bytes]) -> None:
    """What is heard within 0.3 s of each of three questions to a device that says what it is told."""

    async def story() -> None:
        FAULTS.set(WireFaults(**faults))
        async with plug_at("tcp:127.0.0.1:0", _echo) as port:
            link = await open_link(port.spec)
            heard = []
            for question in (b"one!", b"two!", b"six!"):
                await link.write(question)
                heard.append(await link.read(0.3))
            link.close()
        assert heard == hears

    asyncio.run(story())


def test_a_chopped_answer_comes_in_pieces() -> None:
    """Two bytes at a time, and all of them."""

    async def story() -> None:
        FAULTS.set(WireFaults(chopped=2))
        async with plug_at("tcp:127.0.0.1:0", _echo) as port:
            link = await open_link(port.spec)
            await link.write(b"abcdef")
            pieces = [await link.read(2.0)]
            while b"".join(pieces) != b"abcdef":
                pieces.append(await link.read(2.0))
            link.close()
        assert len(pieces) > 1
        assert pieces[0] == b"ab"

    asyncio.run(story())


def test_a_late_answer_is_late_and_whole() -> None:
    """Not before its time, and nothing of it is lost."""

    async def story() -> None:
        FAULTS.set(WireFaults(late_ms=300))
        loop = asyncio.get_running_loop()
        async with plug_at("tcp:127.0.0.1:0", _echo) as port:
            link = await open_link(port.spec)
            asked_s = loop.time()
            await link.write(b"one!")
            assert await link.read(5.0) == b"one!"
            assert loop.time() - asked_s >= 0.299  # the loop's clock may be a tick coarser
            link.close()

    asyncio.run(story())
