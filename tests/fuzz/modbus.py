"""The board map and the simulated board's frames: any inputs give reports of the closed list, any bytes no crash."""

from drivers.contract import Direction
from drivers.simulated.relay_board import crc16, take_rtu
from drivers.turnstiles.modbus.codec import BoardMap, Inputs, counted, reports

_SETTINGS: dict[str, str | int | float | bool] = {
    "release_coil": 0,
    "pulse_ms": 300,
    "pulse_base": 0x200,
    "on_value": 0xFF00,
}
for _number, _name in enumerate(("passed", "passed_exit", "occupied", "tailgating", "fire", "ready")):
    _SETTINGS[f"{_name}_input"] = _number
    _SETTINGS[f"{_name}_active"] = "low" if _name == "fire" else "high"
_MAP = BoardMap.of(_SETTINGS)


def fuzz(data: bytes) -> None:
    before = Inputs()
    for byte in data[:256]:
        now = _MAP.decode([bool(byte >> bit & 1) for bit in range(8)])
        said = reports(before, now, frozenset(Direction))
        assert (not said) == (before == now) or before.passed or before.passed_exit or before.tailgating
        before = now
    counts = {Direction.ENTRY: int.from_bytes(data[:2], "big")}
    later = {Direction.ENTRY: int.from_bytes(data[2:4], "big")}
    assert len(counted(counts, later)) <= 4
    buffer = bytearray(data)
    while (frame := take_rtu(buffer)) is not None:
        assert crc16(frame[:-2]) == int.from_bytes(frame[-2:], "little")
