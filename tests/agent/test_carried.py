"""Everything that devices say and hear has its place on the wire: read from drivers.contract itself, so that the next
report or command cannot be forgotten."""

import asyncio
import dataclasses
import enum
import inspect
import typing
from typing import Any

import pytest

from drivers import contract
from gate import config
from gate.agent.prompts import Prompts
from gate.devicewire import WireError, report_message, report_of
from gate.rpc import device as rpc_device
from gate.station.far import FarLane
from gate.station.farwire import Hello, Mark
from gate.v1 import device_pb2
from tests.agent.test_hands import OpenAtRest, Scene, command

REPORTS = typing.get_args(contract.DeviceReport)
# Protocols that are not driven by themselves.
DEVICES = [
    each
    for _, each in inspect.getmembers(contract, inspect.isclass)
    if contract.Device in each.__mro__ and each is not contract.Device
]
KINDS = {"Turnstile": "turnstile", "NormallyOpen": "turnstile", "Prompt": "prompt"}


def values_of(annotation: Any) -> list[Any]:
    """Values that a field of this type may hold; of an enumeration all."""
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return list(annotation)
    if typing.get_origin(annotation) is tuple:
        return [(), tuple(values_of(typing.get_args(annotation)[0]))]
    return {bool: [True, False], bytes: [b"\x00text"], str: ["one"], int: [26], float: [36.5]}[annotation]


def reports_of(kind: type) -> list[contract.DeviceReport]:
    """Reports in which each field has had each of its values."""
    hints = typing.get_type_hints(kind)
    fields = {field.name: values_of(hints[field.name]) for field in dataclasses.fields(kind)}
    most = max(map(len, fields.values()), default=1)
    return [kind(**{name: values[n % len(values)] for name, values in fields.items()}) for n in range(most)]


@pytest.mark.parametrize("kind", REPORTS, ids=lambda kind: kind.__name__)
def test_every_report_arrives_as_it_was_said(kind: type) -> None:
    """With every value of every enumeration in it."""
    for said in reports_of(kind):
        if isinstance(said, contract.CodeReport):
            said = dataclasses.replace(said, encoding="gb18030")  # the one field with a rule of its own
        message = device_pb2.DeviceReport.FromString(report_message("a device", said).SerializeToString())
        assert (message.device, report_of(message)) == ("a device", said)


@pytest.mark.parametrize("encoding", ["", "utf_7", "idna", "bz2", "a\0b", "x" * 100_000])
def test_an_agent_does_not_choose_any_codec_of_python(encoding: str) -> None:
    """Only what scanners are set to: the others cost time, or raise what nobody names."""
    message = report_message("a device", contract.CodeReport(b"text", "QR", encoding))
    with pytest.raises(WireError) as caught:
        report_of(message)
    assert caught.value.field == "code.encoding"
    assert len(str(caught.value)) < 100


@pytest.mark.parametrize("took_s", [-1.0, 3e11])
def test_a_command_that_took_no_possible_time_is_refused(took_s: float) -> None:
    """It would spoil the sum of a metric for good."""
    with pytest.raises(WireError) as caught:
        report_of(report_message("a device", contract.Vitals((took_s,))))
    assert caught.value.field == "vitals.command_duration"


def test_the_wire_has_no_report_that_devices_do_not_know() -> None:
    """As many parts as reports, and each part read."""
    parts = [field.name for field in device_pb2.DeviceReport.DESCRIPTOR.oneofs_by_name["said"].fields]
    assert len(parts) == len(REPORTS)


def commands_of(protocol: type) -> list[str]:
    """What is told to such a device."""
    return [name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if name != "run" and name[0] != "_"]


@pytest.mark.parametrize("protocol", DEVICES, ids=lambda protocol: protocol.__name__)
def test_every_command_is_sent(protocol: type) -> None:
    """A far device has each command of its protocol with the same arguments, and it becomes a message of the wire."""
    kind = KINDS.get(protocol.__name__, "")
    assert bool(kind) == bool(commands_of(protocol)), f"{protocol.__name__}: what is a far one?"

    async def story() -> None:
        for name in commands_of(protocol):
            lane = FarLane(config.Lane("A1", "entry", (config.Device("it", "driver", kind, {}),)))
            lane.devices["it"].sink = lambda _: None
            stream = lane.attach(Hello(bytes(16), (("it", "driver", ""),)))
            lane.hear(stream, Mark(1, 0.5))
            told = getattr(lane.devices["it"], name)
            assert inspect.signature(told) == inspect.signature(getattr(protocol, name)).replace(
                parameters=list(inspect.signature(getattr(protocol, name)).parameters.values())[1:]
            )
            hints = typing.get_type_hints(getattr(protocol, name))
            arguments = [
                values_of(hints[name])[0]
                for name, parameter in inspect.signature(told).parameters.items()
                if parameter.default is parameter.empty
            ]
            answering = told(*arguments)
            task = asyncio.ensure_future(answering) if inspect.isawaitable(answering) else None
            async with asyncio.timeout(5):
                message = rpc_device._message(await anext(stream.messages()))
            body = getattr(message, message.WhichOneof("body"))
            assert body.device == "it"
            assert body.WhichOneof("order") == name
            if task:
                task.cancel()
            lane.device_ended()

    asyncio.run(story())


def test_an_agent_obeys_every_order() -> None:
    """Each order of the wire to a turnstile or a prompt becomes the command of that name at the device."""
    turnstile, prompt = OpenAtRest(), Told()
    turnstile.clear.set()

    async def story() -> None:
        scene = Scene()
        scene.turnstile = scene.hands._turnstile = turnstile
        orders = [field.name for field in device_pb2.DeviceCommand.DESCRIPTOR.oneofs_by_name["order"].fields]
        running = asyncio.create_task(scene.hands.run())
        async with asyncio.timeout(5):
            for number, order in enumerate(orders, 1):  # one after the other: a gate closes once at a time
                scene.hands.take(scene.chief, command(number, order, (7, 100.0)))
                while len(turnstile.done) < number or scene.hands._closing:
                    await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert sorted(done for done, _ in turnstile.done) == sorted(DONE[order] for order in orders)
        prompts = Prompts({"it": prompt})
        for order in device_pb2.PromptOrder.DESCRIPTOR.oneofs_by_name["order"].fields:
            told = device_pb2.PromptOrder(device="it", **{order.name: "GO"})
            prompts.take(scene.chief, told, in_charge=True)
            assert prompt.told[-1] == order.name
        assert set(orders) | set(prompt.told) == {name for each in DEVICES for name in commands_of(each)}

    asyncio.run(story())


DONE = {
    "release": "release",
    "hold_open": "hold",
    "end_hold": "end",
    "refuse": "refuse",
    "stand_closed": "closed",
    "stand_open": "open",
}


class Told:
    """A prompt that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def run(self, report: contract.ReportSink) -> None:
        await asyncio.Event().wait()

    def say(self, reason: str) -> None:
        self.told.append("say")

    def show(self, sign: contract.Sign) -> None:
        self.told.append("show")


def test_nothing_personal_is_in_a_report_of_the_wire_that_is_printed() -> None:
    """A protobuf message prints all that it holds: so no code of ours puts one into a text."""
    message = report_message("t", contract.Temperature(38.25))
    assert "38.25" in str(message)
    assert "38.25" not in repr(report_of(message))
    number = report_message("r", contract.CardNumberReport("12345678", 26, "wiegand-26"))
    assert "12345678" not in repr(report_of(number))
