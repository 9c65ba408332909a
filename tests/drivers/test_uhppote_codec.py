"""UHPPOTE messages: the package's encoder and decoder against our simulated controller, and what they mean."""

import asyncio
import subprocess
import sys
from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest
from uhppoted import decode, encode
from uhppoted.uhppote_async import UhppoteAsync

from drivers.contract import Direction, Emergency, Passed, Ready
from drivers.simulated.ports import TcpPort, UdpPort
from drivers.simulated.uhppote import SimulatedDoor, SimulatedUhppote
from drivers.turnstiles.uhppote import library
from drivers.turnstiles.uhppote.codec import (
    EVENTS_MAX,
    DoorMap,
    Frames,
    Look,
    first_states,
    is_event,
    look,
    new_events,
    number_of,
    numbered,
    serial_of,
    states,
)
from tests.conformance.plug import _free_port

PROVES = [("uhppote", "uhppoted encoder")]  # tests/conformance/test_proofs.py
SERIAL = 405419896
# uhppoted-lib-python README and tests/uhppoted/test_decode.py.
ASKED_CONTROLLER = bytes.fromhex("1794000078372a18") + bytes(56)
CONTROLLER = bytes.fromhex("1794000078372a18c0a80164ffffff00c0a80101001223344556089220181105") + bytes(32)
STATUS = bytes.fromhex(
    "1720000078372a184e00000002010301a1987c00202208230947062c0001000000000001030949390000000000000000"
    "27070922082300000000000000000000"
)


def seen(relays: int = 0, fire: bool = False, locked: bool = False, last_event: int = 0) -> Look:
    return Look(relays, fire, locked, last_event)


async def heard(gate: SimulatedUhppote, request: bytearray) -> bytes:
    return gate.hear(bytes(request))


def test_messages_are_those_of_the_package_s_pages() -> None:
    """Asked for and answered byte for byte; the answer whole, in pieces, with bytes around it."""
    messages = library.load()
    assert messages.request("get_controller", SERIAL) == ASKED_CONTROLLER
    assert SimulatedUhppote().hear(ASKED_CONTROLLER) == CONTROLLER
    told = messages.answer("get_controller", CONTROLLER)
    assert (told.controller, told.version) == (SERIAL, "v8.92")
    for message in (CONTROLLER, STATUS):
        assert Frames().feed(message) == [message]
        pieces = Frames()
        assert [one for byte in message for one in pieces.feed(bytes([byte]))] == [message]
        assert Frames().feed(b"\x17\x20\x00" + message + message + b"\x17") == [message] * 2


def test_only_our_controller_s_messages_are_read() -> None:
    """Another serial number, start or function is noise."""
    reader = Frames()
    reader.serial = SERIAL
    assert reader.feed(CONTROLLER) == [CONTROLLER]
    assert reader.feed(CONTROLLER[:4] + b"\x79" + CONTROLLER[5:]) == []
    reader.reset()
    assert reader.feed(b"\x19" + CONTROLLER[1:]) == []
    reader.reset()
    assert reader.feed(CONTROLLER[:1] + b"\x99" + CONTROLLER[2:]) == []
    assert serial_of(CONTROLLER) == SERIAL


def test_a_status_is_read_as_a_look() -> None:
    """The package's own vector: relays 7, byte 50 is 9, event 78; a card number shows nowhere."""
    now = look(library.load().answer("get_status", STATUS))
    assert now == seen(relays=7, locked=True, last_event=78)
    assert [now.is_open(door) for door in (1, 2, 3, 4)] == [True, True, True, False]
    assert "8165537" not in repr(now)


def test_an_answer_that_the_package_cannot_read_is_none() -> None:
    """Whatever it raises, it is a ValueError without the message's bytes."""
    for name, message in (("get_status", CONTROLLER), ("get_controller", b""), ("no_such", STATUS)):
        with pytest.raises(ValueError, match=r"^no \w+ answer") as caught:
            library.load().answer(name, message)
        assert caught.value.__cause__ is None


REQUESTS: dict[str, tuple[bytearray, Any, dict[str, Any]]] = {
    "get-controller": (
        encode.get_controller_request(0),
        decode.get_controller_response,
        {"controller": SERIAL, "ip_address": IPv4Address("192.168.1.100"), "version": "v8.92"},
    ),
    "get-door-control": (
        encode.get_door_control_request(SERIAL, 3),
        decode.get_door_control_response,
        {"door": 3, "mode": 3, "delay": 7},
    ),
    "set-door-control": (
        encode.set_door_control_request(SERIAL, 3, 1, 4),
        decode.set_door_control_response,
        {"door": 3, "mode": 1, "delay": 4},
    ),
    "open-door": (encode.open_door_request(SERIAL, 2), decode.open_door_response, {"opened": True}),
    "get-status": (
        encode.get_status_request(SERIAL),
        decode.get_status_response,
        {"relays": 0, "inputs": 2, "event_index": 1, "event_type": 2, "event_door": 2, "event_reason": 23},
    ),
    "get-event": (
        encode.get_event_request(SERIAL, 1),
        decode.get_event_response,
        {"index": 1, "event_type": 2, "door": 2, "reason": 23, "access_granted": True},
    ),
    "record-special-events": (
        encode.record_special_events_request(SERIAL, True),
        decode.record_special_events_response,
        {"updated": True},
    ),
    "set-listener": (
        encode.set_listener_request(SERIAL, IPv4Address("127.0.0.1"), 60001),
        decode.set_listener_response,
        {"ok": True},
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_package_s_encoder_and_our_controller_understand_each_other(name: str) -> None:
    """Its request is decoded by the simulator, the answer by its decoder; another controller's is not answered."""
    request, read, wanted = REQUESTS[name]
    gate = SimulatedUhppote()
    gate.doors[3] = SimulatedDoor(3, 7)
    gate.set_fire(True)
    gate.events.append((2, 2, 23))
    answer = asyncio.run(heard(gate, request))
    told = read(answer)
    assert {field: getattr(told, field) for field in wanted} == wanted
    assert asyncio.run(heard(SimulatedUhppote(serial=1), request)) == b"" or name == "get-controller"


def test_a_request_s_number_is_repeated() -> None:
    """At offset 40, where the package leaves zeros; a controller that does not repeat it answers with zeros."""
    gate = SimulatedUhppote()
    request = numbered(bytes(encode.get_status_request(SERIAL)), 0xA1B2C3D4)
    assert request[40:44].hex() == "d4c3b2a1"
    assert number_of(asyncio.run(heard(gate, bytearray(request)))) == 0xA1B2C3D4
    assert decode.get_status_response(asyncio.run(heard(gate, bytearray(request)))).sequence_no == 0xA1B2C3D4
    gate.echoes = False
    assert number_of(asyncio.run(heard(gate, bytearray(request)))) == 0


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_the_package_s_own_client_works_with_our_controller(protocol: str) -> None:
    """Opened, held, looked at by uhppoted itself, over the wire; its listener hears the controller's event."""

    async def story() -> None:
        gate = SimulatedUhppote()
        udp = UdpPort(gate.session, "127.0.0.1", _free_port())
        async with udp if protocol == "udp" else TcpPort(gate.session) as port:
            where = port.spec.split(":", 1)[1]
            listen = f"127.0.0.1:{_free_port()}"
            client = UhppoteAsync("127.0.0.1", "127.0.0.1:60000", listen)
            controller = (SERIAL, where, protocol)
            heard: asyncio.Queue[Any] = asyncio.Queue()
            listening = asyncio.create_task(client.listen(heard.put_nowait))
            await asyncio.sleep(0.05)  # its socket: the package does not say when it is there
            await client.set_listener(controller, IPv4Address("127.0.0.1"), int(listen.partition(":")[2]))
            assert (await client.open_door(controller, 1)).opened
            assert (await client.get_status(controller)).relays == 1
            assert (await client.set_door_control(controller, 2, 1, 5)).mode == 1
            assert (await client.get_status(controller)).relays == 3
            assert (await client.get_event(controller, 1)).reason == 44
            event = await asyncio.wait_for(heard.get(), 5)
            assert (event.controller, event.event_door, event.event_reason) == (SERIAL, 1, 44)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            assert gate.released == [Direction.ENTRY]

    asyncio.run(story())


def test_the_package_is_not_imported_before_it_is_needed() -> None:
    """Building the device imports none of it: a station without such a controller needs no extra."""
    code = (
        "import sys; from drivers import registry; i = registry.driver('uhppote');"
        "registry.create('uhppote', registry.check_settings(i, {'port': 'udp:127.0.0.1:60000'}));"
        "assert not [name for name in sys.modules if name.startswith('uhppoted')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_events_are_known_by_controller() -> None:
    """Both starts of events; a short one, another controller's and another function's are none."""
    assert is_event(STATUS, SERIAL)
    assert is_event(b"\x19" + STATUS[1:], SERIAL)
    assert not is_event(STATUS[:-1], SERIAL)
    assert not is_event(STATUS, SERIAL + 1)
    assert not is_event(CONTROLLER, SERIAL)
    assert not is_event(b"\x18" + STATUS[1:], SERIAL)


def test_states_are_said_when_they_change() -> None:
    """Fire and force lock; the first look says whether it is ready, and a fire, or the end of one of before."""
    assert first_states(None, seen()) == [Ready(True)]
    assert first_states(None, seen(fire=True, locked=True)) == [Emergency(True), Ready(False)]
    assert first_states(seen(fire=True), seen()) == [Emergency(False), Ready(True)]
    assert states(seen(), seen(relays=3, last_event=9)) == []
    assert states(seen(), seen(fire=True)) == [Emergency(True)]
    assert states(seen(locked=True), seen()) == [Ready(True)]


def test_new_events_are_those_since() -> None:
    """In order; none when the list was emptied, or jumped."""
    assert list(new_events(seen(last_event=5), seen(last_event=8))) == [6, 7, 8]
    assert list(new_events(seen(last_event=8), seen(last_event=8))) == []
    assert list(new_events(seen(last_event=8), seen(last_event=1))) == []
    assert len(new_events(seen(), seen(last_event=EVENTS_MAX))) == EVENTS_MAX
    assert list(new_events(seen(), seen(last_event=EVENTS_MAX + 1))) == []


def test_an_opened_door_s_sensor_tells_a_passage() -> None:
    """Of the direction it is wired to; closed, opened remotely, swiped, another door: none."""
    wired = DoorMap.of({"unit": 1, "passed_sensor": 1, "passed_exit_sensor": 4})

    def told(kind: int, door: int, reason: int) -> list[Any]:
        return wired.reports(SimpleNamespace(index=1, event_type=kind, door=door, reason=reason))

    assert told(2, 1, 23) == [Passed(Direction.ENTRY)]
    assert told(2, 4, 23) == [Passed(Direction.EXIT)]
    assert [told(*event) for event in ((2, 1, 24), (2, 1, 44), (1, 1, 23), (2, 2, 23))] == [[]] * 4
    assert DoorMap.of({"unit": 2}).doors == {Direction.ENTRY: 2, Direction.EXIT: 2}
