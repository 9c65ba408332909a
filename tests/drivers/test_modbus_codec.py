"""What a relay board's coils and inputs mean: pure, by the map in the settings."""

import pytest

from drivers import registry
from drivers.contract import Direction, Emergency, Occupied, Passed, Ready, Tailgating
from drivers.simulated.relay_board import crc16, take_rtu
from drivers.turnstiles.modbus.codec import BoardMap, CoilWrite, Inputs, counted, first_reports, reports
from drivers.turnstiles.modbus.maps import resolved

BOTH = frozenset(Direction)


def board(**given: object) -> BoardMap:
    info = registry.driver("modbus-relay")
    return BoardMap.of(resolved(registry.check_settings(info, {"port": "/dev/x", **given})))


def test_the_timed_pulse_is_the_page_s_frame() -> None:
    """`01 05 02 00 00 07 8D B0` closes relay 0 for 700 ms (devices.md 3.3)."""
    write = board(pulse_ms=700).timed_pulse(0, 0.7)
    assert isinstance(write, CoilWrite)
    frame = bytes([1, 5]) + write.address.to_bytes(2, "big") + write.value.to_bytes(2, "big")
    assert frame + crc16(frame).to_bytes(2, "little") == bytes.fromhex("010502000007 8DB0".replace(" ", ""))


def test_each_direction_has_its_relay_and_the_hold_its_own() -> None:
    """Without further coils one relay does everything."""
    one = board(release_coil=3)
    assert one.timed_pulse(one.release[Direction.EXIT], 0.3).address == 0x203
    assert one.coil(*one.holds, on=True) == CoilWrite(3, 0xFF00)
    three = board(release_coil=0, release_exit_coil=1, hold_coil=2)
    assert three.timed_pulse(three.release[Direction.EXIT], 0.3).address == 0x201
    assert three.coil(*three.holds, on=False) == CoilWrite(2, 0)


def test_another_board_s_values_are_configuration() -> None:
    """`01 05 00 01 01 00 9D 9A`: ON is 0100 and relays start at 1 on the board of devices.md 3.3's last line."""
    cheap = board(release_coil=1, on_value=0x0100, pulse_base=0x0400)
    write = cheap.coil(1, on=True)
    assert isinstance(write, CoilWrite)
    frame = bytes([1, 5]) + write.address.to_bytes(2, "big") + write.value.to_bytes(2, "big")
    assert frame + crc16(frame).to_bytes(2, "little") == bytes.fromhex("0105000101009D9A")
    assert cheap.timed_pulse(1, 0.3).address == 0x0401


def test_polarity_decides_what_a_level_means() -> None:
    """Fire is a normally closed contact: no signal is fire."""
    wired = board(passed_input=2, fire_input=5, ready_input=3, ready_active="low")
    assert wired.input_span == (2, 4)
    quiet = wired.decode([False, False, False, True])
    assert (quiet.passed, quiet.ready, quiet.fire) == (False, True, False)
    assert wired.decode([False, False, False, False]).fire, "a cut wire is fire"


def test_changes_are_said_once_and_passages_by_their_edge() -> None:
    """A pulse is one passage however long it lasts."""
    before, now = Inputs(), Inputs(passed=True, occupied=True)
    assert reports(before, now, BOTH) == [Passed(Direction.ENTRY), Occupied(True)]
    assert reports(now, now, BOTH) == []
    assert reports(now, Inputs(), BOTH) == [Occupied(False)]
    assert reports(before, Inputs(passed_exit=True), BOTH) == [Passed(Direction.EXIT)]
    assert reports(before, Inputs(tailgating=True), BOTH) == [Tailgating()]
    assert reports(before, Inputs(fire=True, ready=False), BOTH) == [Emergency(True), Ready(False)]
    assert reports(before, now, frozenset({Direction.EXIT})) == [Occupied(True)], "a counter counts the entries"


def test_the_first_look_reports_states_and_no_passage_of_before() -> None:
    """A contact that is closed when we come is nobody's passage of ours."""
    assert first_reports(None, Inputs(passed=True, fire=True)) == [Emergency(True), Ready(True)]


def test_what_ended_while_the_line_was_cut_is_said() -> None:
    """Nobody stays in the walkway, and no fire burns, for ever because of a cut line."""
    before = Inputs(occupied=True, fire=True, passed=True)
    assert first_reports(before, Inputs(tailgating=True)) == [Emergency(False), Ready(True), Occupied(False)]


@pytest.mark.parametrize(
    ("before", "now", "passages"), [(5, 5, 0), (5, 7, 2), (65535, 1, 2), (5, 0, 0), (5, 300, 0), (None, 9, 0)]
)
def test_counters_count_what_was_between_polls(before: int | None, now: int, passages: int) -> None:
    """Two people between two polls are two; a wrap is none lost; a reset board is no crowd."""
    earlier = {} if before is None else {Direction.ENTRY: before}
    assert counted(earlier, {Direction.ENTRY: now}) == [Passed(Direction.ENTRY)] * passages


def test_the_simulated_board_finds_requests_in_noise() -> None:
    """Our peer's own frame reader: noise before, a wrong checksum, two at once."""
    frame = bytes.fromhex("0105020000078DB0")
    buffer = bytearray(b"\x00\xff" + frame[:-1] + b"\x00" + frame + frame)
    assert take_rtu(buffer) == frame
    assert take_rtu(buffer) == frame
    assert take_rtu(buffer) is None
