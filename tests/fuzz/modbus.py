"""The board map and the simulated board's frames: any inputs give reports of the closed list, any bytes no crash."""

import asyncio
import struct

from drivers.contract import Direction
from drivers.simulated.relay_board import SimulatedRelayBoard, crc16, take_rtu
from drivers.turnstiles.modbus import codec
from drivers.turnstiles.modbus.codec import BoardMap, Inputs, counted, first_reports, reports, rtu_gap_s
from tests.fuzz.mutate import altered

REACHES = codec
_SETTINGS: dict[str, str | int | float | bool] = {
    "release_coil": 0,
    "pulse_ms": 300,
    "pulse_base": 0x200,
    "on_value": 0xFF00,
    "passed_counter_register": 4,
    "passed_exit_counter_register": 5,
}
for _number, _name in enumerate(("passed", "passed_exit", "occupied", "tailgating", "fire", "ready")):
    _SETTINGS[f"{_name}_input"] = _number
    _SETTINGS[f"{_name}_active"] = "low" if _name == "fire" else "high"
_MAP = BoardMap.of(_SETTINGS)
_BARE = BoardMap.of({"release_coil": 0, "pulse_ms": 300, "pulse_base": 0x200, "on_value": 0xFF00})
_BODIES = [
    bytes.fromhex(text)
    for text in ("01 01 0000 0008", "01 02 0000 0008", "01 04 0000 0002", "01 05 0200 0007", "01 0F 0000 0004 01 05")
]
_FRAMES = [body + crc16(body).to_bytes(2, "little") for body in _BODIES]
_LOOP = asyncio.new_event_loop()  # the board's pulses need one


def fuzz(data: bytes) -> None:
    _inputs(data)
    for stream in (data, altered(_FRAMES, data), data + altered(_FRAMES, data) + _FRAMES[1]):
        buffer = bytearray(stream)
        while (frame := take_rtu(buffer)) is not None:
            assert crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")
            _board(frame[:-2])
    _board(altered(_BODIES, data))


def _inputs(data: bytes) -> None:
    assert BoardMap.of(_SETTINGS) == _MAP
    before = Inputs()
    for byte in data[:256]:
        now = _MAP.decode([bool(byte >> bit & 1) for bit in range(8)])
        said = reports(before, now, frozenset(Direction))
        assert (not said) == (before == now) or before.passed or before.passed_exit or before.tailgating
        assert len(first_reports(before, now)) <= 3
        before = now
    counts, later = ({Direction.ENTRY: int.from_bytes(data[at : at + 2], "big")} for at in (0, 2))
    assert len(counted(counts, later)) <= codec.COUNTED_MAX
    assert set(_MAP.decode_counters([1, 2]).values()) == {1, 2}
    assert (_BARE.input_span, _BARE.counter_span) == ((0, 0), (0, 0))
    assert _MAP.counter_span == (4, 2)
    assert _MAP.timed_pulse(Direction.ENTRY).address != _MAP.coil(_MAP.hold, on=bool(data)).address
    assert 0 < rtu_gap_s(1 + sum(data)) < 39


def _board(request: bytes) -> None:
    board = SimulatedRelayBoard(unit=1)
    answer = _LOOP.run_until_complete(board._answer(request[0], request[1:]))
    assert answer is None or answer[0] in (request[1], request[1] | 0x80)
    assert answer is None or answer[0] < 0x80 or struct.unpack("BB", answer)[1] in (1, 2, 3)
