"""The output map: any report of inputs is decoded or refused, every command is one that the device ends or holds."""

import contextlib

from drivers.contract import Direction
from drivers.turnstiles.osdp_output import codec
from drivers.turnstiles.osdp_output.codec import PERMANENT_OFF, PERMANENT_ON, TEMPORARY_ON, OutputMap

REACHES = codec


def fuzz(data: bytes) -> None:
    settings: dict[str, str | int | float | bool] = {"release_output": sum(data) % 256, "pulse_ms": 100 + len(data)}
    for number, name in zip(data, ("passed", "fire", "ready"), strict=False):
        settings |= {f"{name}_input": number % 12, f"{name}_active": "low" if number & 1 else "high"}
    outputs = OutputMap.of(settings)
    for direction in Direction:
        pulse = outputs.pulse(direction)
        assert pulse["control_code"] == TEMPORARY_ON
        assert pulse["timer_count"] >= 1
    assert {outputs.holding(on)["control_code"] for on in (True, False)} == {PERMANENT_ON, PERMANENT_OFF}
    with contextlib.suppress(IndexError):
        said = outputs.decode(data[:10])
        assert set(said) == set(outputs.inputs)
        opposite = outputs.decode([not level for level in data[:10]])
        assert all(said[name] is not opposite[name] for name in said)
