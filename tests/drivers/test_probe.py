"""What is on a port: each driver's own question against simulated devices, and pymodbus' server for Modbus."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from pymodbus import ModbusDeviceIdentification
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers import probe, registry
from drivers.contract import DeviceFault
from drivers.readers.samv.codec import Command
from drivers.scanners.ssi.probe import ssi_revision
from drivers.simulated.digicon import SimulatedDigicon
from drivers.simulated.line_scanner import MAKERS, SimulatedLineScanner
from drivers.simulated.machpower import SimulatedMachPower
from drivers.simulated.osdp import SimulatedOsdp
from drivers.simulated.ports import PtyPort, SimulatedPort, TcpPort
from drivers.simulated.relay_board import SimulatedRelayBoard
from drivers.simulated.samv import SimulatedSamv
from drivers.simulated.serial_thermometer import SimulatedThermometer
from drivers.simulated.tpw import SimulatedTpw
from drivers.simulated.uhppote import SimulatedUhppote
from drivers.simulated.zkteco_c3 import SimulatedC3
from drivers.transport import PortError
from tests.conformance.plug import Plug
from tests.drivers.osdp import shared_line

SAM = "05.03-20162091-1234567890-0218893066"


def found(tries: list[probe.Tried]) -> tuple[str, str]:
    return tries[-1].driver, tries[-1].says


@contextlib.asynccontextmanager
async def at(folder: Path, device: object, kind: str) -> AsyncIterator[SimulatedPort]:
    session = getattr(device, "session", None) or getattr(device, "tcp" if kind == "tcp" else "rtu")
    async with PtyPort(folder / "device", session) if kind == "pty" else TcpPort(session) as port:
        yield port


@pytest.mark.parametrize("speed", [115200, 9600])
def test_a_card_reader_is_found_with_its_speed_and_number(tmp_path: Path, speed: int) -> None:
    """By status check and SAM id; it was asked nothing else, and never reset."""

    async def story() -> None:
        reader = SimulatedSamv()
        reader.knobs.speed = speed
        async with at(tmp_path, reader, "pty") as port:
            reader.port = port
            assert found(await probe.find(port.spec)) == ("samv", f"SAM_V reader at {speed} Bd, SAM {SAM}")
        assert set(reader.asked) == {Command.STATUS, Command.SAM_ID}

    asyncio.run(story())


@pytest.mark.parametrize(("status", "says"), [(0x60, "self-test"), (0x66, "not authorised")])
def test_a_broken_card_reader_is_one_all_the_same(tmp_path: Path, status: int, says: str) -> None:
    """60 and 66 are answers that only such a reader gives; a probe resets nothing."""

    async def story() -> None:
        reader = SimulatedSamv()
        reader.knobs.force = dict.fromkeys(Command, status)
        async with at(tmp_path, reader, "tcp") as port:
            driver, said = found(await probe.find(port.spec))
        assert driver == "samv"
        assert says in said
        assert Command.RESET not in reader.asked

    asyncio.run(story())


@pytest.mark.parametrize(
    ("addresses", "says"),
    [((5,), "unit 5, "), ((0, 3), "unit 0, .*; unit 3, "), ((100,), "a device of an address not found, ")],
)
def test_osdp_devices_are_found_with_speed_and_address(tmp_path: Path, addresses: tuple[int, ...], says: str) -> None:
    """One, several of one line, and one of an address that is not tried; none is told to do anything."""

    async def story() -> None:
        devices = [SimulatedOsdp(address) for address in addresses]
        async with PtyPort(tmp_path / "device", shared_line(*devices)) as port:
            driver, said = found(await probe.find(port.spec))
        assert driver == "osdp"
        assert re.match(f"OSDP at 9600 Bd, {says}vendor 0000CA, model 1, serial 00000007, firmware 1.2.3", said), said
        assert not any(device.outputs or device.leds or device.beeps for device in devices)

    asyncio.run(story())


def test_an_osdp_device_is_found_at_its_speed_among_noise(tmp_path: Path) -> None:
    """At other speeds it is heard as nonsense, or not at all; what talks without end is none."""

    async def story() -> None:
        device = SimulatedOsdp(1)

        async def only_fast(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ear = asyncio.StreamReader()
            serving = asyncio.create_task(device.session(ear, writer))
            try:
                while data := await reader.read(256):
                    if port.speed == 38400:
                        ear.feed_data(data)
                    else:
                        writer.write(b"S\x00noise")
            finally:
                serving.cancel()
                await asyncio.gather(serving, return_exceptions=True)

        port = PtyPort(tmp_path / "device", only_fast)
        async with port:
            tried = await probe._try(registry.driver("osdp"), port.spec)
        assert tried.says.startswith("OSDP at 38400 Bd, unit 1, ")

        async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                writer.write(b"S\x01" * 100)
                await asyncio.sleep(0.01)

        async with TcpPort(babble) as talking:
            assert await probe._try(registry.driver("osdp"), talking.spec) == probe.Tried("osdp")

    asyncio.run(story())


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("pty", "Modbus RTU at 9600 Bd, parity N, unit 1"),
        ("tcp", "Modbus TCP, unit 1"),
        ("rtu", "Modbus RTU over TCP, unit 1"),
    ],
)
def test_a_relay_board_is_found_and_no_relay_moves(tmp_path: Path, kind: str, says: str) -> None:
    """On each transport; a board that tells no identity is found by its coil; nothing was written."""

    async def story() -> None:
        board = SimulatedRelayBoard()
        async with at(tmp_path, board, kind) as port:
            assert found(await probe.find(port.spec)) == ("modbus-relay", says)
        assert board.writes == []
        assert board.releases == []

    asyncio.run(story())


def test_an_independent_modbus_server_tells_its_maker() -> None:
    """FC43/14 of pymodbus' own server: maker, product, revision."""

    async def story() -> None:
        device = SimDevice(id=1, simdata=[SimData(0, values=[False] * 16, datatype=DataType.BITS)])
        identity = ModbusDeviceIdentification(
            info_name={"VendorName": "ACME", "ProductCode": "R8", "MajorMinorRevision": "2.1"}
        )
        server = ModbusTcpServer(device, address=("127.0.0.1", 0), identity=identity)
        await server.serve_forever(background=True)
        port = server.transport.sockets[0].getsockname()[1]
        try:
            assert found(await probe.find(f"tcp:127.0.0.1:{port}")) == (
                "modbus-relay",
                "Modbus TCP, unit 1: ACME R8 2.1",
            )
        finally:
            await server.shutdown()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("maker", "driver", "says"),
    [
        ("honeywell", "engine-scanner", "Honeywell"),
        ("newland", "engine-scanner", "Newland"),
        ("zebra", "ssi-scanner", "revision SIM 1.0 00"),
    ],
)
def test_an_engine_is_told_by_its_makers_question(tmp_path: Path, maker: str, driver: str, says: str) -> None:
    """And what it was sent is no trigger of any maker (devices.md 2.1)."""

    async def story() -> None:
        engine = SimulatedLineScanner()
        engine.answers = MAKERS[maker]
        async with at(tmp_path, engine, "tcp") as port:
            told_by, said = found(await probe.find(port.spec))
        assert told_by == driver
        assert says in said
        for trigger in (b"\x16T\r", b"SCNTRG1", b"\x01T\x04", bytes.fromhex("04E40400FF14")):
            assert trigger not in engine.received

    asyncio.run(story())


def test_a_code_held_before_an_engine_is_not_shown(tmp_path: Path) -> None:
    """Whatever a silent or talking stranger says, a probe shows none of its bytes."""

    async def story() -> None:
        async def passenger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(256):
                writer.write(b"https://s.sh.gov.cn/310105199001010018\r\n")

        async with TcpPort(passenger) as port:
            tries = await probe.find(port.spec)
        assert [each.driver for each in tries] == [info.name for info in probe.askers()]
        assert not any(each.says for each in tries)
        assert "310105" not in repr(tries)

    asyncio.run(story())


def test_a_port_that_cannot_be_opened_is_said_once(tmp_path: Path) -> None:
    """No driver after the first is let try."""
    with pytest.raises(PortError) as caught:
        asyncio.run(probe.find(str(tmp_path / "none")))
    assert caught.value.fault is DeviceFault.PORT_MISSING


def test_a_driver_that_never_ends_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that asks for ever costs its limit, and the next is let ask."""

    async def story() -> None:
        async def for_ever(settings: object) -> str | None:
            await asyncio.Event().wait()
            return None

        async with TcpPort(SimulatedRelayBoard().tcp) as port:
            monkeypatch.setattr("drivers.readers.samv.probe.identify", for_ever)
            monkeypatch.setattr(probe, "IDENTIFY_S", 1.0)
            tries = await probe.find(port.spec)
        assert "not done" in next(each.trouble for each in tries if each.driver == "samv")
        assert found(tries)[0] == "modbus-relay"

    asyncio.run(story())


@pytest.mark.parametrize("info", probe.askers(), ids=lambda info: info.name)
def test_every_question_waits_a_limited_time(info: registry.DriverInfo, tmp_path: Path) -> None:
    """A port where nobody answers: None, well within the limit, at all speeds."""

    async def story() -> None:
        async def nobody(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(256):
                pass

        async with PtyPort(tmp_path / "device", nobody) as port:
            tried = await probe._try(info, port.spec)
        assert tried == probe.Tried(info.name)

    asyncio.run(story())


def test_a_stable_name_is_found(tmp_path: Path) -> None:
    """By where the names of /dev/serial/by-id lead; none is made up."""
    device, other = tmp_path / "ttyUSB0", tmp_path / "ttyUSB1"
    device.touch()
    other.touch()
    names = tmp_path / "by-id"
    names.mkdir()
    (names / "usb-reader").symlink_to(device)
    assert probe.stable_name(str(device), names) == str(names / "usb-reader")
    assert probe.stable_name(str(other), names) == ""
    assert probe.stable_name(str(device), tmp_path / "none") == ""


def test_an_ssi_revision_is_only_one_with_its_checksum() -> None:
    """REPLY_REVISION of the manual's form, after noise and with bytes following; another sum is none."""
    frame = MAKERS["zebra"][bytes.fromhex("04A30400FF55")]
    assert ssi_revision(b"\x05\x00" + frame + b"\x01") == "SIM 1.0 00"
    assert ssi_revision(frame[:-1] + b"\x00") is None
    assert ssi_revision(frame[:-1]) is None
    assert ssi_revision(bytes(300)) is None


# Who names the simulated device of each driver, and what is said of it. None: nobody can tell it by a question that
# moves nothing, and nobody takes it for something else.
NAMED = {
    "samv": ("samv", f"SAM_V reader, SAM {SAM}"),
    "modbus-relay": ("modbus-relay", "Modbus TCP, unit 1"),
    "light-buzzer": ("modbus-relay", "Modbus TCP, unit 1"),  # what hangs on its relays nobody can ask
    "tpw-321asp": ("tpw-321asp", "TPW-321ASP"),
    "uhppote": ("uhppote", "UHPPOTE controller 405419896, firmware v8.92"),
    "zkteco-c3": ("zkteco-c3", "C3 panel C3-400 AC Ver 4.3.4 Apr 27 2017 DDG8130016092200401"),
    "engine-scanner": ("engine-scanner", "Newland engine"),  # the simulated one knows every maker's orders
    "ssi-scanner": ("ssi-scanner", "Zebra SSI engine in packet mode, revision SIM-SSI-1.0 SIMULATED 00 0000"),
    "voice-module": ("voice-module", "voice module, profile dfr0534"),
    "serial-thermometer": ("serial-thermometer", "thermometer module, protocol 5a5a45"),
    "digicon-tx1500": None,  # it knows orders only
    "machpower-eb": None,  # likewise; what its "end of the ban" does to an arm that is down is not told
    "line-scanner": None,
    "wedge-scanner": None,
}
NETWORKED = [info for info in registry.drivers().values() if info.name in NAMED]


def test_each_simulated_device_is_named_for_what_it_is(tmp_path: Path) -> None:
    """By its own driver or, where none can tell it by asking, by nobody."""

    async def named(info: registry.DriverInfo) -> tuple[str, str] | None:
        plug = Plug(info, "tcp", tmp_path)
        await plug.plug()
        try:
            tries = await probe.find(plug.setting["port"])
        finally:
            await plug.unplug()
        return found(tries) if any(each.says for each in tries) else None

    async def story() -> None:
        told = await asyncio.gather(*map(named, NETWORKED))
        assert dict(zip((info.name for info in NETWORKED), told, strict=True)) == NAMED

    asyncio.run(story())


@pytest.mark.parametrize("name", ["tpw-321asp", "uhppote"])
def test_a_board_on_udp_is_asked_by_those_who_speak_it(name: str, tmp_path: Path) -> None:
    """No serial driver takes udp: for the path of a port."""

    async def story() -> None:
        plug = Plug(registry.driver(name), "udp", tmp_path)
        await plug.plug()
        try:
            tries = await probe.find(plug.setting["port"])
        finally:
            await plug.unplug()
        assert found(tries) == NAMED[name]
        assert {each.driver for each in tries} <= {"tpw-321asp", "uhppote"}

    asyncio.run(story())


GATES: dict[str, Callable[[], Any]] = {
    "digicon-tx1500": SimulatedDigicon,
    "machpower-eb": SimulatedMachPower,
    "tpw-321asp": SimulatedTpw,
    "uhppote": SimulatedUhppote,
    "zkteco-c3": SimulatedC3,
    "modbus-relay": SimulatedRelayBoard,
}


def test_no_question_moves_any_gate() -> None:
    """Every driver's questions, all of them, put to every make's controller: nobody is released, nothing is set."""

    async def asked(name: str) -> None:
        gate = GATES[name]()
        async with TcpPort(getattr(gate, "session", None) or gate.rtu) as port:
            for info in probe.askers():
                await probe._try(info, port.spec)
        moved = [*getattr(gate, "released", ()), *getattr(gate, "releases", ()), *getattr(gate, "opened", ())]
        assert moved == [], name
        assert not getattr(gate, "writes", ()), name
        orders = (bytes([0x14]), b"H", b"A", b"D", b"L", b"C")  # passing modes of a TPW, releases of a Digicon
        assert not [frame for frame in getattr(gate, "received", ()) if bytes(frame).startswith(orders)]

    async def story() -> None:
        await asyncio.gather(*map(asked, GATES))

    asyncio.run(story())


def test_a_line_that_echoes_is_no_device(tmp_path: Path) -> None:
    """Two-wire adapters send back what is sent: nobody takes their own question for an answer.

    Modbus is asked on its serial line, for Modbus TCP knows no such line.
    """

    async def story() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(256):
                writer.write(data)

        async with TcpPort(echo) as port, PtyPort(tmp_path / "line", echo) as line:
            for info in probe.askers():
                tried = await probe._try(info, line.spec if info.name == "modbus-relay" else port.spec)
                assert not tried.says, tried

    asyncio.run(story())


def test_a_thermometer_is_found_and_nobody_s_temperature_is_told(tmp_path: Path) -> None:
    """In each dialect, without the number that it measured."""

    async def story() -> None:
        for protocol in ("5a5a45", "aa55", "register"):
            module = SimulatedThermometer(protocol, celsius=38.25)
            async with TcpPort(module.session) as port:
                tried = await probe._try(registry.driver("serial-thermometer"), port.spec)
            assert tried == probe.Tried("serial-thermometer", f"thermometer module, protocol {protocol}")

    asyncio.run(story())


def test_a_panel_with_a_password_is_one_all_the_same() -> None:
    """It refuses, as only such a panel does; its log is not read."""

    async def story() -> None:
        panel = SimulatedC3()
        panel.password = b"secret"
        async with TcpPort(panel.session) as port:
            assert found(await probe.find(port.spec)) == ("zkteco-c3", "C3 panel, wants a password")

    asyncio.run(story())
