"""The board map and the simulated board's frames: any inputs give reports of the closed list, any bytes no crash."""

import asyncio
import struct

from drivers.contract import Direction
from drivers.simulated.relay_board import BoardKnobs, SimulatedRelayBoard, crc16, take_rtu
from drivers.turnstiles.modbus import codec
from drivers.turnstiles.modbus.codec import BoardMap, Inputs, PassageContact, counted, first_reports, reports, rtu_gap_s
from drivers.turnstiles.modbus.maps import resolved
from tests.fuzz.mutate import altered

REACHES = codec
_SETTINGS: dict[str, str | int | float | bool] = {
    "board": "waveshare-v2",
    "profile": "none",
    "release_coil": 0,
    "passed_counter_register": 4,
    "passed_exit_counter_register": 5,
}
for _number, _name in enumerate(("passed", "passed_exit", "occupied", "tailgating", "fire", "ready")):
    _SETTINGS[f"{_name}_input"] = _number
    _SETTINGS[f"{_name}_active"] = "low" if _name == "fire" else "high"
_MAP = BoardMap.of(resolved(_SETTINGS))
_BARE = BoardMap.of(resolved({"board": "lc-tech-8r", "profile": "none", "release_coil": 0}))
_BODIES = [
    bytes.fromhex(text)
    for text in (
        "01 01 0000 0008",
        "01 02 0000 0008",
        "01 04 0000 0002",
        "01 05 0200 0007",
        "01 0F 0000 0004 01 05",
        "01 10 0003 0002 04 0004 0014",
    )
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
    assert BoardMap.of(resolved(_SETTINGS)) == _MAP
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
    length_s = sum(data) / 100
    assert _MAP.timed_pulse(0, length_s).address != _MAP.coil(*_MAP.holds, on=bool(data)).address
    assert _BARE.timed_pulse(1, length_s).address == 8
    _contact(data)
    assert 0 < rtu_gap_s(1 + sum(data)) < 39


def _contact(data: bytes) -> None:
    contact, now_s, passages, begun = PassageContact(1.0), 0.0, 0, 0
    for byte in data[:256]:
        active, now_s = bool(byte & 1), now_s + byte / 100
        begun += active and not contact.active
        passages += contact.see(active, now_s, first=byte == 0xFF)
        assert contact.active is active
        assert active or not contact.stuck(now_s)
    assert passages <= begun


def _board(request: bytes) -> None:
    models = ("waveshare-v2", "lc-tech-8r", "value-0100", "plain")
    board = SimulatedRelayBoard(unit=1, knobs=BoardKnobs(board=models[sum(request) % len(models)]))
    answer = _LOOP.run_until_complete(board._answer(request[0], request[1:]))
    assert answer is None or answer[0] in (request[1], request[1] | 0x80)
    assert answer is None or answer[0] < 0x80 or struct.unpack("BB", answer)[1] in (1, 2, 3)
