"""What a far lane adds to a decision: a message of the agent up and the controller's answer down, over real gRPC.

The agent's side is a process of its own, as it is at a lane; both ends are on this machine, so a network comes on top.
"""

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path

import grpc.aio
import uvloop

from gate.devicewire import mark
from gate.v1 import device_pb2, device_pb2_grpc
from tests.agent.far import far_house
from tests.bench.figures import Figure, quantile

MESSAGES = 2000
EVERY_S = 0.005  # faster than any lane, slower than the wire


def measure() -> list[Figure]:
    """`agent_hop_p50_ms` and `agent_hop_p99_ms`."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        spent_ms = runner.run(_served())
    note = "a message up and its answer down, agent in its own process, loopback"
    return [
        Figure(f"agent_hop_p{round(q * 100)}_ms", round(quantile(spent_ms, q), 3), "ms", len(spent_ms), note)
        for q in (0.5, 0.99)
    ]


async def _served() -> list[float]:
    with tempfile.TemporaryDirectory() as folder:
        async with far_house(Path(folder), agents=False) as far:
            arguments = ("-m", "tests.bench.agent", f"127.0.0.1:{far.port}")
            agent = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
            said, _ = await agent.communicate()
            return [float(each) for each in json.loads(said)]


async def _spent_ms(address: str) -> list[float]:
    """Milliseconds of each message and its answer."""
    async with grpc.aio.insecure_channel(address) as channel:
        call = device_pb2_grpc.DeviceServiceStub(channel).Attach()
        hello = device_pb2.AttachHello(lane_id="A1", session_id=bytes(16))
        for name in ("samv", "line-scanner", "modbus-relay"):
            hello.devices.add(name=name, driver=name)
        await call.write(device_pb2.AttachRequest(hello=hello))
        await call.read()
        spent = []
        for number in range(1, MESSAGES + 1):
            started_s = time.perf_counter()
            report = device_pb2.DeviceReport(
                device="modbus-relay", occupied=device_pb2.Walkway(occupied=number % 2 > 0)
            )
            await call.write(device_pb2.AttachRequest(mark=mark(number, started_s), report=report))
            while (await call.read()).WhichOneof("body") != "heard":
                pass  # a lease, once a second
            spent.append((time.perf_counter() - started_s) * 1000)
            await asyncio.sleep(EVERY_S)
        call.cancel()
        return spent


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as agent_runner:
        print(json.dumps(agent_runner.run(_spent_ms(sys.argv[1]))))
