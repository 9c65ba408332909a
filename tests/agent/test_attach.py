"""Who may drive a lane, one at a time, and what is left when agent or controller is killed or started again."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from gate.agent.agent import Agent
from gate.agent.link import Link
from gate.config import Config, Grpc, Lane, load_lane, parse
from gate.rpc.server import RpcServer
from gate.tomltable import ConfigError
from gate.v1 import device_pb2, device_pb2_grpc
from tests.agent.far import FarHouse, far_house, remote
from tests.rpc.certificates import authority, channel, station_tls
from tests.rpc.station import refusal, sockets
from tests.support.house import people


def hello(lane_id: str = "A1", session: bytes = bytes(16)) -> device_pb2.AttachRequest:
    made = device_pb2.AttachHello(lane_id=lane_id, session_id=session)
    for name in ("samv", "line-scanner", "modbus-relay"):
        made.devices.add(name=name, driver=name)
    return device_pb2.AttachRequest(hello=made)


async def attach(link: grpc.aio.Channel, *messages: device_pb2.AttachRequest) -> device_pb2.AttachResponse:
    call = device_pb2_grpc.DeviceServiceStub(link).Attach()
    for message in messages:
        await call.write(message)
    answer: device_pb2.AttachResponse = await call.read()
    return answer


def said(**what: Any) -> device_pb2.AttachRequest:
    """A report of the reader's."""
    report = device_pb2.DeviceReport(device="samv", **what)
    return device_pb2.AttachRequest(mark=device_pb2.Mark(number=1), report=report)


async def until_the_end(call: Any) -> None:
    """Read whatever the controller still tells."""
    while await call.read() is not grpc.aio.EOF:
        pass


def test_only_the_role_lane_attaches_and_only_to_its_certificates_lane(tmp_path: Path) -> None:
    """Of sockets the lane's; of certificates one with the role lane, and with a gate:lane name only that lane."""

    async def story() -> None:
        async with far_house(tmp_path, lanes=2, agents=False) as far:
            tls = Grpc(("0.0.0.0:0",), tls=station_tls(tmp_path), lane_socket=tmp_path / "lane.sock")
            rpc = RpcServer(tls, far.house.station, lambda *call: None)
            operator = RpcServer(sockets(tmp_path / "other"), far.house.station, lambda *call: None)
            await rpc.start()
            await operator.start()
            try:
                async with grpc.aio.insecure_channel(f"unix:{tmp_path}/other/operator.sock") as link:
                    code, reason, _ = await refusal(attach(link, hello()))
                    assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "ROLE_NOT_PERMITTED")
                async with grpc.aio.insecure_channel(f"unix:{tmp_path}/lane.sock") as link:
                    assert (await attach(link, hello())).HasField("welcome")
                both = authority().identity(unit="lane", uri="gate:lane:A2")
                async with channel(rpc.addresses[0], both) as link:
                    code, _, _ = await refusal(attach(link, hello("A1", b"1" * 16)))
                    assert code is grpc.StatusCode.PERMISSION_DENIED
                    assert (await attach(link, hello("A2", b"2" * 16))).HasField("welcome")
            finally:
                await rpc.stop()
                await operator.stop()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (device_pb2.AttachRequest(beat=device_pb2.AttachBeat()), "INVALID_ARGUMENT"),
        (hello("Z9"), "NOT_FOUND"),
        (hello(session=b"short"), "INVALID_ARGUMENT"),
        (
            device_pb2.AttachRequest(hello=device_pb2.AttachHello(lane_id="A1", session_id=bytes(16))),
            "FAILED_PRECONDITION",
        ),
    ],
)
def test_a_wrong_beginning_is_refused(message: device_pb2.AttachRequest, code: str, tmp_path: Path) -> None:
    """No hello, no such lane, no session, other devices: the canonical code and a reason; the right one is welcome."""

    async def story() -> None:
        async with far_house(tmp_path, agents=False) as far, grpc.aio.insecure_channel(far.wire.address) as link:
            refused, reason, _ = await refusal(attach(link, message))
            assert (refused.name, bool(reason)) == (code, True)
            assert (await attach(link, hello())).HasField("welcome")

    asyncio.run(story())


def test_messages_that_make_no_sense_end_the_stream(tmp_path: Path) -> None:
    """An unknown device, fault or answer, or no mark: INVALID_ARGUMENT naming the field, and the lane is free again."""
    stamp = device_pb2.Mark(number=1)
    bad = [
        device_pb2.AttachRequest(beat=device_pb2.AttachBeat()),
        device_pb2.AttachRequest(mark=stamp),
        device_pb2.AttachRequest(mark=stamp, report=device_pb2.DeviceReport(device="none")),
        device_pb2.AttachRequest(mark=stamp, report=device_pb2.DeviceReport(device="samv")),
        device_pb2.AttachRequest(
            mark=stamp, report=device_pb2.DeviceReport(device="samv", down=device_pb2.DeviceDown(fault="TIRED"))
        ),
        device_pb2.AttachRequest(
            mark=stamp,
            report=device_pb2.DeviceReport(device="samv", card=device_pb2.CardText(text=bytes(9000))),
        ),
        device_pb2.AttachRequest(mark=stamp, answered=device_pb2.CommandAnswered()),
        said(temperature=device_pb2.Warmth(celsius=float("nan"), measured_at="BODY")),
        said(temperature=device_pb2.Warmth(celsius=36.6, measured_at="SHOE")),
        said(number=device_pb2.CardNumber(number="1" * 9000, format="ascii")),
    ]

    async def story() -> None:
        async with far_house(tmp_path, agents=False) as far, grpc.aio.insecure_channel(far.wire.address) as link:
            for number, message in enumerate(bad, 1):
                if message.HasField("mark"):
                    message.mark.number = number  # of one session: a number that was heard is not looked at again
                call = device_pb2_grpc.DeviceServiceStub(link).Attach()
                await call.write(hello())
                assert (await call.read()).HasField("welcome")
                await call.write(message)
                code, reason, _ = await refusal(until_the_end(call))
                assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_INVALID")
            assert far.records() == []

    asyncio.run(story())


def test_a_second_agent_waits_until_the_first_is_gone(tmp_path: Path) -> None:
    """Refused while the first is heard; the lane is its when the first is cut off. Nobody else's lane notices."""

    async def story() -> None:
        async with far_house(tmp_path, lanes=2) as far:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{far.port}") as link:
                code, _, _ = await refusal(attach(link, hello()))
                assert code is grpc.StatusCode.ALREADY_EXISTS
            first = far.agents[0]
            far.start_agent(0)  # keeps trying
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await far.house.until(far.drives[0].attached.is_set)
            await far.works(0)
            await far.house.tap(far.house.people["green"])
            assert (await far.house.walks()).outcome == "PASSED"
            await far.house.tap(far.house.people["second"], lane=1)
            assert (await far.house.walks(lane=1)).outcome == "PASSED"
            assert [record.lane for record in far.records()] == [far.lanes[0].id, far.lanes[1].id]

    asyncio.run(story())


def test_a_controller_that_is_started_again_finds_its_lanes(tmp_path: Path) -> None:
    """Who walks meanwhile has the record of the stop, and no other; the next person passes."""

    async def story() -> None:
        async with far_house(tmp_path, within_s=8.0) as far:
            await far.house.tap(far.house.people["green"])
            assert await far.lanes[0].board.wait_release(5)
            await far.stop()  # waits 5 s for the person, who dawdles
            assert [record.outcome for record in far.records()] == ["CONTROLLER_STOPPED"]
            await far.lanes[0].board.pass_through()
            await far.start()
            await far.works()
            assert far.records() == []
            await far.one_more_passes()

    asyncio.run(story())


def test_an_agent_that_the_controller_does_not_want_ends_and_says_why(tmp_path: Path) -> None:
    """A lane of another id, and a lane whose devices hang on the controller: ConfigError, exit status 2."""

    async def story() -> None:
        async with far_house(tmp_path, agents=False) as far:
            other = tmp_path / "other.toml"
            other.write_text(far.lanes[0].toml().replace('"A1"', '"Z9"', 1))
            with pytest.raises(ConfigError, match="NOT_FOUND"):
                await Agent(load_lane(other), Link(far.wire.address)).run()

    asyncio.run(story())


def test_an_agents_process_is_killed_in_the_middle_of_a_passage(tmp_path: Path) -> None:
    """Over mutual TLS; the record says what is not known, the new process drives the lane, and nothing is opened."""

    async def story() -> None:
        async with far_house(tmp_path, agents=False, within_s=4.0) as far, tls_server(far, tmp_path) as arguments:
            first = await started(arguments, tmp_path)
            await far.works()
            await far.house.tap(far.house.people["green"])
            assert await far.lanes[0].board.wait_release(5)
            first.send_signal(signal.SIGKILL)
            await first.wait()
            second = await started(arguments, tmp_path)
            assert (await far.house.record(verdict="GRANT")).outcome == "BARRIER_FAULTED"
            releases = len(far.lanes[0].board.releases)
            await far.one_more_passes()
            assert len(far.lanes[0].board.releases) == releases + 1
            second.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(second.wait(), 10) == 0
            said = (tmp_path / "agent.log").read_text()
            assert "attached to" in said
            assert not any(person.number in said for person in people().values())

    asyncio.run(story())


@contextlib.asynccontextmanager
async def tls_server(far: FarHouse, folder: Path) -> AsyncIterator[list[str]]:
    """The controller behind mutual TLS; how an agent of A1 is started."""
    tls, station = station_tls(folder), authority().identity(host="localhost")
    tls.certificate.write_bytes(station.certificate)
    tls.private_key.write_bytes(station.key)
    rpc = RpcServer(Grpc(("0.0.0.0:0",), tls=tls), far.house.station, lambda *call: None)
    await rpc.start()
    own = authority().identity(unit="lane", uri="gate:lane:A1")
    files = {"ca.pem": authority().pem, "a1.crt": own.certificate, "a1.key": own.key}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    port = rpc.addresses[0].rpartition(":")[2]
    try:
        yield [
            *(sys.executable, "-m", "gate", "lane-agent", "--config", str(far.lane_file())),
            *("--controller", f"localhost:{port}", "--ca", str(folder / "ca.pem")),
            *("--certificate", str(folder / "a1.crt"), "--key", str(folder / "a1.key")),
        ]
    finally:
        await rpc.stop()


async def started(arguments: list[str], folder: Path) -> asyncio.subprocess.Process:
    with (folder / "agent.log").open("a") as log:
        return await asyncio.create_subprocess_exec(*arguments, stderr=log, stdout=log, env=dict(os.environ))


def test_a_far_lane_is_configured_by_drivers_alone(tmp_path: Path) -> None:
    """`remote = true`: driver and side; a setting of the device itself, or remote in the agent's file, is refused."""
    station = f'[station]\nid = "t"\nregion = "330100"\ndata_dir = "{tmp_path}"\n'
    lane = '[[lane]]\nid = "B1"\nremote = true\ndirection = "both"\n'
    device = '[[lane.device]]\ndriver = "samv"\nside = "exit"\n[[lane.device]]\ndriver = "samv"\n'
    config: Config = parse(station + lane + device, tmp_path)
    assert [(d.name, d.kind, dict(d.settings)) for d in config.lanes[0].devices] == [
        ("samv", "card-reader", {"side": "exit"}),
        ("samv-2", "card-reader", {}),
    ]
    with pytest.raises(ConfigError, match=r"lane\[0\]\.device\[0\]\.port"):
        parse(station + lane + device.replace("side =", 'port = "x"\nside =', 1), tmp_path)
    file = tmp_path / "lane.toml"
    file.write_text('when_cut_off = "hold"\n[[lane]]\nid = "B1"\n[[lane.device]]\ndriver = "samv"\nport = "x"\n')
    read: Lane = load_lane(file)
    assert (read.id, read.devices[0].settings["port"]) == ("B1", str(tmp_path / "x"))
    for text, place in ((lane, "lane"), ("", "lane"), ('when_cut_off = "open"\n' + lane, "when_cut_off")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=place):
            load_lane(file)


@pytest.mark.parametrize(
    ("link", "says"),
    [
        (Link("10.1.2.3:50051"), "not loopback"),
        (Link("gate.station:50051"), "not loopback"),
        (Link("nowhere"), "HOST:PORT"),
        (Link("127.0.0.1:1", ca=Path("ca.pem")), "all three"),
        (Link("gate:1", Path("none"), Path("none"), Path("none")), "none: No such file"),
        (Link("unix:/x", Path("none"), Path("none"), Path("none")), "a socket needs none"),
    ],
)
def test_personal_data_leaves_the_machine_only_inside_tls(link: Link, says: str) -> None:
    """Plaintext is for loopback and sockets; half an identity, or a file that is not there, is named."""
    with pytest.raises(ConfigError, match=says):
        link.check()
    Link("127.0.0.1:50051").check()
    Link("[::1]:50051").check()
    Link("unix:/run/gate/lane.sock").check()


def test_the_station_file_of_these_tests_is_a_far_one() -> None:
    """The helper leaves of a device its driver alone."""
    assert remote('x\n[[lane]]\nid = "A1"\n[[lane.device]]\ndriver = "samv"\nport = "p"\n') == (
        'x\n[[lane]]\nid = "A1"\nremote = true\n[[lane.device]]\ndriver = "samv"\n'
    )
