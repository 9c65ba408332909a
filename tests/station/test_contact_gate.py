"""A whole station whose lane hangs on a contact controller: open at rest, by potential; on simulated devices."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from drivers.contract import Direction
from drivers.simulated.contact_gate import STOP, SimulatedContactGate
from drivers.turnstiles.modbus.device import SHUT_S
from tests.support.house import House, house

ENTRY = Direction.ENTRY


def _with(lane: str, device: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        return text.replace("release_coil = 0\n", f"release_coil = 0\nstop_coil = {STOP}\n{device}\n").replace(
            "[[lane.device]]", f"{lane}\n[[lane.device]]", 1
        )

    return change


def _gate(h: House, **how: bool) -> SimulatedContactGate:
    return SimulatedContactGate(h.lanes[0].board, **how)  # type: ignore[arg-type]


def test_flaps_that_stand_open_close_on_who_is_refused(tmp_path: Path) -> None:
    """A green passes an open gate and is counted; a red sees it close, and open again for the next."""

    async def story() -> None:
        async with house(tmp_path, change=_with("normally_open = true", "refuse_ms = 500")) as h:
            gate = _gate(h, normally_open=True)
            assert gate.is_open(ENTRY)
            await h.tap(h.people["green"])
            assert await h.lanes[0].board.wait_release(5.0)
            assert await gate.walk(ENTRY)
            assert (await h.record(verdict="GRANT")).outcome == "PASSED"
            await h.tap(h.people["red"])
            await h.until(lambda: not gate.is_open(ENTRY))
            assert (await h.record(verdict="DENY")).outcome == "NOT_RELEASED"
            assert not await gate.walk(ENTRY)
            await h.until(lambda: gate.is_open(ENTRY))

    asyncio.run(story())


def test_an_emergency_opens_flaps_that_were_closed_on_a_refusal(tmp_path: Path) -> None:
    """The fire loop is lost while somebody was just refused: Stop is let go, and no card closes it any more."""

    async def story() -> None:
        async with house(tmp_path, change=_with("normally_open = true", "refuse_ms = 10000")) as h:
            gate = _gate(h, normally_open=True)
            await h.tap(h.people["red"])
            await h.until(lambda: gate.board.coils[STOP])
            gate.board.set_fire(True)
            await h.until(lambda: not gate.board.coils[STOP])
            await h.says("EMERGENCY_OPEN")
            await h.tap(h.people["red"])
            gate.board.set_fire(False)
            await h.until(lambda: not h.station._lanes["A1"].core.emergency_input)
            h.station.reset_emergency("A1", "op")
            await h.until(lambda: not h.station.lane("A1").emergency)
            assert not gate.board.coils[STOP]

    asyncio.run(story())


def test_a_closed_lane_stands_closed_and_lets_nobody_be_shut_in(tmp_path: Path) -> None:
    """CLOSED closes flaps for longer than Stop lasts; ENTRY opens them, and so does a fire, until it is reset."""

    async def story() -> None:
        async with house(tmp_path, change=_with("normally_open = true", "refuse_ms = 500")) as h:
            gate, loop = _gate(h, normally_open=True), asyncio.get_running_loop()
            for mode, is_open in (("CLOSED", False), ("ENTRY", True), ("CLOSED", False)):
                h.station.set_mode("A1", mode, "op")
                await h.until(lambda is_open=is_open: gate.is_open(ENTRY) is is_open)  # type: ignore[misc]
            until_s = loop.time() + 2 * SHUT_S
            while loop.time() < until_s:
                assert not gate.is_open(ENTRY)
                await asyncio.sleep(0.05)
            await h.tap(h.people["green"])
            await h.says("LANE_CLOSED")
            gate.board.set_fire(True)
            await h.until(lambda: not gate.board.coils[STOP], 1.0)
            gate.board.set_fire(False)
            await h.until(lambda: not h.station._lanes["A1"].core.emergency_input)
            assert not gate.board.coils[STOP]
            h.station.reset_emergency("A1", "op")
            await h.until(lambda: not gate.is_open(ENTRY))
            h.station.release("A1", "entry", "op", "seen")
            await h.until(lambda: gate.is_open(ENTRY))
            assert await gate.walk(ENTRY)
            await h.until(lambda: not gate.is_open(ENTRY))
        assert gate.is_open(ENTRY), "a station that stopped left it closed"

    asyncio.run(story())


@pytest.mark.parametrize("board", ["waveshare-v2", "plain"])
def test_a_potential_gate_lets_one_person_through_a_grant(tmp_path: Path, board: str) -> None:
    """Open until the granted person is in it, closed behind them; a lapse closes it too."""

    async def story() -> None:
        device = f'board = "{board}"\nprofile = "perco-st01"\ncontrol = "potential"'
        async with house(tmp_path, change=_with("", device)) as h:
            h.lanes[0].board.knobs.board = board
            gate = _gate(h, potential=True)
            await h.tap(h.people["green"])
            await h.until(lambda: gate.is_open(ENTRY))
            assert await gate.walk(ENTRY)
            assert not await gate.walk(ENTRY)
            assert (await h.record(verdict="GRANT")).outcome == "PASSED"
            await h.tap(h.people["second"])
            await h.until(lambda: gate.is_open(ENTRY))
            assert (await h.record(outcome="LAPSED")).verdict == "GRANT"
            await h.until(lambda: not gate.is_open(ENTRY), 1.0)

    asyncio.run(story())
