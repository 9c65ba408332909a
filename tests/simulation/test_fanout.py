"""The fan-out simulation, small: every station gets every delta, and all come back after a restart."""

import asyncio

import pytest

from tests.simulation.fanout import Plan, measure
from tests.support.nats import SERVER, WHY_NOT

pytestmark = pytest.mark.skipif(SERVER is None, reason=WHY_NOT)


def test_twenty_stations_get_every_delta_and_come_back() -> None:
    """20 real subscribers, 10 deltas: each received by all, sent once, and all return."""
    plan = Plan(subscribers=20, deltas=10, delta_bytes=20_000, spread_s=0.5)
    figures = {each["name"]: each["value"] for each in asyncio.run(measure(plan))}
    payload_kb = plan.subscribers * plan.delta_bytes / 1000
    # Headers, acknowledgements and pulls are small beside the deltas: nobody is sent a delta twice.
    assert payload_kb <= figures["fanout_server_kb_out_per_delta"] < 1.5 * payload_kb
    assert 0 < figures["fanout_last_p50_ms"] < 1000
    assert 0 < figures["storm_all_back_s"] < 10
