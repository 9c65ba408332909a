"""The controller as a process of its own, on the nights that a station has."""

import asyncio
import resource
import signal
import socket
import sys
from pathlib import Path

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gate.station.chain import read_lines, verify_chain
from gate.v1 import lane_pb2, lane_pb2_grpc
from tests.bench.load import Controller, controller


async def _until_page(station: Controller, line: str) -> None:
    async with asyncio.timeout(15):
        while line not in await asyncio.to_thread(station.page):
            await asyncio.sleep(0.1)


async def _pass_one(station: Controller, number: int) -> None:
    lane = station.lanes[0]
    lane.reader.present(station.people[number].card())
    assert await lane.board.wait_release(5.0)
    lane.reader.remove()
    await lane.board.pass_through()


def test_a_full_disk_is_said_costs_no_passage_and_is_told_afterwards() -> None:
    """JOURNAL_FULL appears, people pass, and when there is room again every record is written."""

    async def story() -> None:
        async with controller(1, fast=False) as station:
            pid = station.process.pid
            await _pass_one(station, 0)
            await _until_page(station, 'outcome="PASSED"} 1.0')
            _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
            await _pass_one(station, 1)
            await _until_page(station, 'gate_degraded{cause="JOURNAL_FULL"} 1.0')
            await _pass_one(station, 2)
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
            await _until_page(station, 'gate_degraded{cause="JOURNAL_FULL"} 0.0')
            await _until_page(station, 'outcome="PASSED"} 3.0')
            journal = station.folder / "data" / "journal"
            async with asyncio.timeout(10):
                while sum(line.get("outcome") == "PASSED" for line in read_lines(journal)) < 3:
                    await asyncio.sleep(0.1)
            assert verify_chain(journal) == []

    asyncio.run(story())


def test_sigterm_ends_it_in_good_order() -> None:
    """Exit 0, a closed journal, no socket left behind."""

    async def story() -> None:
        async with controller(2, fast=False) as station:
            await _pass_one(station, 0)
            station.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(station.process.wait(), 15) == 0
            lines = list(read_lines(station.folder / "data" / "journal"))
            assert lines[-1]["event"] == "closed"
            assert not (station.folder / "operator.sock").exists()

    asyncio.run(story())


def test_a_second_controller_on_the_same_data_is_refused() -> None:
    """Two writers would break the journal's chain: the second ends with one line and exit 3."""

    async def story() -> None:
        async with controller(1, fast=False) as station:
            second = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "gate", "run", "--config", str(station.folder / "station.toml")),
                stderr=asyncio.subprocess.PIPE,
            )
            _, said = await asyncio.wait_for(second.communicate(), 15)
            assert second.returncode == 3
            assert b"gate: " in said

    asyncio.run(story())


def test_only_the_right_role_may_act(tmp_path: Path) -> None:
    """The ticketing socket cannot open a gate; the operator's can; health is for anybody."""

    async def story() -> None:
        async with controller(1, fast=False) as station:
            release = lane_pb2.ReleaseLaneRequest(lane_id="A1", operator="desk-1", why="paper certificate seen")
            async with grpc.aio.insecure_channel(f"unix:{station.folder}/ticketing.sock") as channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await lane_pb2_grpc.LaneServiceStub(channel).ReleaseLane(release)
                assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
                health = health_pb2_grpc.HealthStub(channel)
                lane = health_pb2.HealthCheckRequest(service="gate.lane.A1")
                async with asyncio.timeout(10):
                    while (await health.Check(lane)).status != health_pb2.HealthCheckResponse.SERVING:
                        await asyncio.sleep(0.1)
            async with grpc.aio.insecure_channel(f"unix:{station.folder}/operator.sock") as channel:
                await lane_pb2_grpc.LaneServiceStub(channel).ReleaseLane(release)
                assert await station.lanes[0].board.wait_release(5.0)

    asyncio.run(story())


def test_noise_on_every_port_hurts_nobody() -> None:
    """Garbage from scanner and reader: no release, no crash, and the next card passes."""

    async def story() -> None:
        async with controller(1, fast=False) as station:
            lane = station.lanes[0]
            await lane.scanner.scan(bytes(range(256)) * 8)
            lane.reader.knobs.noise_before = bytes.fromhex("AAAAAAAA9669FFFF00") * 20
            lane.reader.knobs.heartbeat = b"\x41\x41\x41\x41"
            lane.reader.knobs.chunk = 1
            await _pass_one(station, 0)
            await _until_page(station, 'outcome="PASSED"} 1.0')
            assert len(lane.board.releases) == 1

    asyncio.run(story())


def test_metrics_that_cannot_listen_are_named() -> None:
    """A taken port ends the controller with the address and exit 3."""

    async def story() -> None:
        async with controller(1, fast=False) as station:
            with socket.socket() as taken:
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                text = (station.folder / "station.toml").read_text()
                other = station.folder / "other.toml"
                text = text.replace('[metrics]\nlisten = "127.0.0.1:0"', f'[metrics]\nlisten = "127.0.0.1:{port}"')
                text = text.replace("/data", "/data2").replace(".sock", "2.sock")
                other.write_text(text.split("[[lane]]")[0])
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "gate", "run", "--config", str(other), stderr=asyncio.subprocess.PIPE
                )
                _, said = await asyncio.wait_for(process.communicate(), 15)
                assert process.returncode == 3
                assert str(port).encode() in said

    asyncio.run(story())
