"""A simulated turnstile on an OSDP device: whoever is released walks through, and input 0 pulses."""

import asyncio
from collections.abc import Mapping

from drivers.simulated.osdp import SimulatedOsdp, simulated
from drivers.simulated.samv import plug_at

PASSED, FIRE, READY = 0, 4, 5
_WIRES = {"fire": FIRE, "ready": READY}
PASSED_PULSE_S = 0.3  # TiSO: the shortest passage pulse found (devices.md 3.1)
WALK_S = 0.8


async def pass_through(device: SimulatedOsdp, number: int = PASSED) -> None:
    """One person walks through."""
    device.set_input(number, active=True)
    await asyncio.sleep(PASSED_PULSE_S)
    device.set_input(number, active=False)


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate osdp-output`: everybody who is released walks through, until cancelled."""
    device = simulated(options.get("unit", "0"), options.get("scbk_file", ""))
    broken, stuck = options.get("wire_break", "none"), options.get("stuck_passage") == "true"
    for name, number in _WIRES.items():
        device.inputs[number] = int(broken != name)
    async with plug_at(port, device.session) as plugged:
        print(f"osdp-output on {plugged.spec}", flush=True)
        while True:
            while not await device.wait_release(60.0):
                pass
            print(f"release {device.releases}", flush=True)
            await asyncio.sleep(WALK_S)
            if broken != "passed" and not stuck:
                await pass_through(device)
