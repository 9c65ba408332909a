"""Whether a Modbus unit is on a port: by reading one coil and, where it tells them, its maker and product."""

from collections.abc import Iterator, Mapping

from drivers.contract import DeviceFault
from drivers.registry import SettingValue
from drivers.transport import PortError, TcpAddress, parse_port, port_setting
from drivers.turnstiles.modbus.bus import Bus, Line, NoAnswerError, RefusedError, Unit, join_bus, leave_bus

ANSWER_S = 0.2  # at 4800 Bd question and answer take 40 ms
BAUDS = (9600, 115200, 19200, 38400, 57600, 4800)  # boards' defaults first
_FIRST_COIL = 0


async def identify(settings: Mapping[str, SettingValue]) -> str | None:
    """How the unit is spoken to and what it tells of itself; None when none answers. Raises PortError."""
    port = port_setting(settings)
    address = int(settings["unit"])
    for line, words in _lines(port, str(settings["parity"])):
        bus = join_bus(port, line)
        try:
            if (told := await _told(bus, Unit(address, ANSWER_S))) is not None:
                return f"Modbus {words}, unit {address}{told and ': '}{told}"
        finally:
            leave_bus(port, bus)
    return None


def _lines(port: str, parity: str) -> Iterator[tuple[Line, str]]:
    if isinstance(parse_port(port), TcpAddress):
        yield Line(BAUDS[0], parity, rtu_over_tcp=False), "TCP"
        yield Line(BAUDS[0], parity, rtu_over_tcp=True), "RTU over TCP"
        return
    for baud in BAUDS:
        yield Line(baud, parity, rtu_over_tcp=False), f"RTU at {baud} Bd, parity {parity}"


async def _told(bus: Bus, unit: Unit) -> str | None:
    try:
        await bus.read_inputs(unit, _FIRST_COIL, 1, coils=True)
    except RefusedError as error:
        return f"it answers exception {error.code} to reading a coil"
    except NoAnswerError:
        return None
    except PortError as error:
        if error.fault is DeviceFault.PORT_LOST:  # it hung up on frames that it does not know
            return None
        raise
    try:
        return _printable(await bus.read_identity(unit))
    except (NoAnswerError, RefusedError, PortError):
        return ""  # few boards tell


def _printable(told: str) -> str:
    return "".join(letter for letter in told if letter.isascii() and letter.isprintable())[:80]
