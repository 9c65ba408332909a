"""One Modbus port, RTU or TCP, shared by the units on it: one request at a time, and nothing that acts late.

Wraps pymodbus' async client, whose interface changes in minor releases, so that it is used in this one file.
"""

import asyncio
import contextlib
import logging
import struct
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import WriteSingleCoilRequest
from pymodbus.pdu.register_message import WriteMultipleRegistersRequest

from drivers.contract import DeviceFault
from drivers.transport import OPEN_TIMEOUT_S, PortError, TcpAddress, open_transport, parse_port, refuse_to_wait
from drivers.turnstiles.modbus.codec import RegisterWrite, Write, rtu_gap_s
from drivers.turnstiles.modbus.turns import Turns
from drivers.vitals import VitalSigns

# pymodbus prints every lost frame with its bytes; our `Down` says the same once, in words.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

# A unit that was silent is listened to until somebody has waited so long for the line: with polls of 100 ms that leaves
# less than 150 ms between two looks, the shortest rest between two passage pulses.
PATIENCE_S = 0.03
GIVE_WAY_S = 0.01  # how late a release may be because of it
_WRITES = (5, 16)  # FC05, FC10
_IDENTITY_OBJECTS = 3  # VendorName, ProductCode, MajorMinorRevision: the basic ones of the Modbus specification 6.21
# Modbus exceptions after which the unit may act, or did: 04 it failed in the act, 05 it goes on working, 0B the gateway
# heard nothing.
_MAY_ACT = (0x04, 0x05, 0x0B)


class NoAnswerError(Exception):
    """The unit did not answer in time; whether it acted is not known."""


class GaveWayError(Exception):
    """A silent unit's turn was cut short for a write; it says nothing about the unit."""


class RefusedError(Exception):
    """The unit answered with a Modbus exception: it did not act. `code` 2 or 3: it has no such coil or value."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Line:
    """How a port is set up; the same for all units on it."""

    baud: int
    parity: str
    rtu_over_tcp: bool


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit and how long it may take to answer. `silent`: it last did not, so others come first."""

    address: int
    timeout_s: float
    silent: bool = False
    vitals: VitalSigns = field(default_factory=VitalSigns, compare=False)


class _RawCoil(WriteSingleCoilRequest):
    """FC05 with any value: a pulse length, or the 0100 of non-standard boards."""

    raw_value = 0

    def encode(self) -> bytes:
        return struct.pack(">HH", self.address, self.raw_value)


def _cancellations() -> int:
    """How often this task was cancelled so far: once already where a driver tidies up after its end."""
    task = asyncio.current_task()
    return task.cancelling() if task is not None else 0


def _still_wanted(cancelled_before: int) -> None:
    """Raise the cancellation that pymodbus turned into an error or answer of its own: who ends us waits for it."""
    if _cancellations() > cancelled_before:
        raise asyncio.CancelledError


def _request(unit: Unit, write: Write) -> ModbusPDU:
    if isinstance(write, RegisterWrite):
        return WriteMultipleRegistersRequest(address=write.address, registers=list(write.values), dev_id=unit.address)
    request = _RawCoil(address=write.address, bits=[True], dev_id=unit.address)
    request.raw_value = write.value
    return request


class Bus:
    """All requests of all units on one port. Get it by `join_bus`."""

    def __init__(self, port: str, line: Line) -> None:
        self.line = line
        self.users = 0
        self._port = port
        rtu = line.rtu_over_tcp or not isinstance(parse_port(port), TcpAddress)
        self._framer = FramerType.RTU if rtu else FramerType.SOCKET
        self._turns = Turns(rtu_gap_s(line.baud) if rtu else 0.0)
        self._client: AsyncModbusTcpClient | None = None
        self._sent: Callable[[], None] | None = None

    async def read_inputs(self, unit: Unit, first: int, count: int, coils: bool = False) -> Sequence[bool]:
        """Discrete inputs (FC02), or coils (FC01). Raises NoAnswerError, GaveWayError, RefusedError, PortError."""
        async with self._turn() as client:
            ask = client.read_coils if coils else client.read_discrete_inputs
            reply = await self._answer(unit, ask(first, count=count, device_id=unit.address), 1 if coils else 2)
            if len(reply.bits) < count:
                raise NoAnswerError
            return reply.bits

    async def read_registers(self, unit: Unit, first: int, count: int) -> Sequence[int]:
        """Input registers (FC04). Raises NoAnswerError, GaveWayError, RefusedError, PortError."""
        async with self._turn() as client:
            asked = client.read_input_registers(first, count=count, device_id=unit.address)
            reply = await self._answer(unit, asked, 4)
            if len(reply.registers) < count:
                raise NoAnswerError
            return reply.registers

    async def read_identity(self, unit: Unit) -> str:
        """Maker, product and revision (FC43/14, basic). Raises NoAnswerError, RefusedError, PortError."""
        async with self._turn() as client:
            reply = await self._answer(unit, client.read_device_information(device_id=unit.address), 43)
            told = getattr(reply, "information", {})
            return " ".join(told[number].decode("ascii", "replace") for number in sorted(told)[:_IDENTITY_OBJECTS])

    async def write(self, unit: Unit, write: Write, sent: Callable[[], None] | None = None) -> None:
        """FC05 or FC10; `sent` is called when the bytes go out. Raises NoAnswerError, RefusedError, PortError."""
        async with self._turn(write=True) as client:
            self._sent = sent
            try:
                request = _request(unit, write)
                reply = await self._answer(unit, client.execute(False, request), request.function_code)
            finally:
                self._sent = None
            if reply.address != write.address:
                raise NoAnswerError  # somebody else's late answer

    @contextlib.asynccontextmanager
    async def _turn(self, write: bool = False) -> AsyncIterator[AsyncModbusTcpClient]:
        await self._turns.take(write)
        try:
            client = await self._open()
            if write and isinstance(client.ctx.transport, asyncio.BaseTransport):
                refuse_to_wait(client.ctx.transport)
            yield client
        finally:
            self._turns.give_back()

    async def _answer(self, unit: Unit, asked: Awaitable[ModbusPDU] | ModbusPDU, function: int) -> ModbusPDU:
        assert self._client is not None  # noqa: S101 - _turn opened it
        assert not isinstance(asked, ModbusPDU)  # noqa: S101 - pymodbus types one interface for sync and async
        self._client.ctx.comm_params.timeout_connect = unit.timeout_s
        now = asyncio.get_running_loop().time
        asked_s, cancelled = now(), _cancellations()
        waiting = asyncio.ensure_future(asked)
        try:
            reply = await (self._listen(waiting) if unit.silent and function not in _WRITES else waiting)
        except GaveWayError:
            raise
        except (ModbusException, OSError) as error:
            self.close()
            _still_wanted(cancelled)
            unit.vitals.failed(DeviceFault.NO_ANSWER)
            raise NoAnswerError from error
        except BaseException:
            # What was not acknowledged must not be delivered later (devices.md 3.4).
            self.close()
            raise
        finally:
            waiting.cancel()
        _still_wanted(cancelled)
        if reply.isError():
            code = getattr(reply, "exception_code", 0)
            unit.vitals.failed(DeviceFault.PROTOCOL_ERROR)
            raise NoAnswerError if code in _MAY_ACT else RefusedError(code)
        if reply.function_code != function:
            unit.vitals.failed(DeviceFault.PROTOCOL_ERROR)
            self.close()
            raise NoAnswerError
        unit.vitals.good(now() - asked_s)
        return reply

    async def _listen(self, waiting: asyncio.Future[ModbusPDU]) -> ModbusPDU:
        """The answer of a unit that was silent, as long as nobody else wants the line."""
        while not (await asyncio.wait({waiting}, timeout=GIVE_WAY_S))[0]:
            if self._turns.waited_s >= PATIENCE_S:
                raise NoAnswerError  # not counted: it was not given its whole time
            if self._turns.writes_wait:
                raise GaveWayError
        return waiting.result()

    async def _open(self) -> AsyncModbusTcpClient:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        # Its TCP client for serial ports too: the transport is ours (drivers.transport), the frames are the framer's.
        client = AsyncModbusTcpClient(
            self._port,
            framer=self._framer,
            timeout=OPEN_TIMEOUT_S * 2,  # open_transport has its own, shorter one
            retries=0,  # a second open is never sent for one release
            reconnect_delay=0,
            trace_packet=self._trace,
        )
        client.ctx.call_create = lambda: self._transport(client)
        _ignore_garbage(client)
        if not await client.connect():
            raise PortError(DeviceFault.PORT_MISSING, f"{self._port} does not open: check cable, power and address")
        self._client = client
        return client

    async def _transport(self, client: AsyncModbusTcpClient) -> tuple[asyncio.BaseTransport, object]:
        transport = await open_transport(client.ctx, self._port, self.line.baud, self.line.parity)
        return transport, client.ctx

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if sending and self._sent:
            self._sent()
        return data

    def close(self) -> None:
        """Close at once; what is unsent is destroyed."""
        client, self._client = self._client, None
        if client is None:
            return
        if isinstance(client.ctx.transport, asyncio.WriteTransport):
            client.ctx.transport.abort()
        client.close()


def _ignore_garbage(client: AsyncModbusTcpClient) -> None:
    """A frame that pymodbus cannot decode is no answer; it would be a traceback in the log at every poll."""
    decode = client.ctx.callback_data

    def decode_or_drop(data: bytes, addr: tuple | None = None) -> int:  # type: ignore[type-arg] # as pymodbus types it
        try:
            return decode(data, addr)
        except Exception:
            return len(data)

    client.ctx.callback_data = decode_or_drop  # type: ignore[method-assign]


_buses: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Bus]]" = weakref.WeakKeyDictionary()


def join_bus(port: str, line: Line) -> Bus:
    """The bus of `port` in the running loop, shared by all units that name it; leave it by `leave_bus`.

    Raises PortError when another unit has set the port up otherwise.
    """
    buses = _buses.setdefault(asyncio.get_running_loop(), {})
    bus = buses.setdefault(port, Bus(port, line))
    if bus.line != line:
        text = f"{port} is open at {bus.line.baud} Bd, parity {bus.line.parity}: give its units the same settings"
        raise PortError(DeviceFault.PORT_BUSY, text)
    bus.users += 1
    return bus


def leave_bus(port: str, bus: Bus) -> None:
    """No more requests from this unit; the last one closes the port."""
    bus.users -= 1
    if not bus.users:
        bus.close()
        _buses[asyncio.get_running_loop()].pop(port, None)
