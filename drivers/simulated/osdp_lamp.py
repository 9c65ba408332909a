"""A simulated OSDP reader whose lamp and buzzer are said on the terminal."""

import asyncio
from collections.abc import Mapping

from drivers.simulated.osdp import simulated
from drivers.simulated.samv import plug_at

LOOK_S = 0.1
_COLOURS = ("none", "red", "green", "amber", "blue", "magenta", "cyan", "white")


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate osdp-lamp`: tells each change of the lamp and each beep, until cancelled."""
    device = simulated(options.get("unit", "0"), options.get("scbk_file", ""))
    async with plug_at(port, device.session) as plugged:
        print(f"osdp-lamp on {plugged.spec}", flush=True)
        shown, beeps = "", 0
        while True:
            await asyncio.sleep(LOOK_S)
            lamp = device.lamp()
            words = f"{_COLOURS[lamp[0]]} {lamp[1]}/{lamp[2]}"
            if words != shown or len(device.beeps) != beeps:
                shown, beeps = words, len(device.beeps)
                print(f"lamp {words}, {beeps} beeps", flush=True)
