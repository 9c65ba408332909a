"""One Modbus port, RTU or TCP, shared by the units on it: one request at a time, and nothing that acts late.

Wraps pymodbus' async client, whose interface changes in minor releases, so that it is used in this one file.
"""

import asyncio
import logging
import struct
import weakref
from collections.abc import Callable, Sequence

from pymodbus.client import AsyncModbusSerialClient, AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU
from pymodbus.pdu.bit_message import WriteSingleCoilRequest

from drivers.contract import DeviceFault
from drivers.transport import PortError, TcpAddress, forbid_late_delivery, parse_port
from drivers.turnstiles.modbus.codec import CoilWrite

# pymodbus prints every lost frame with its bytes; our `Down` says the same once, in words.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)


class NoAnswerError(Exception):
    """The unit did not answer in time; whether it acted is not known."""


class RefusedError(Exception):
    """The unit answered with a Modbus exception: it did not act. `code` 2 or 3: it has no such coil or value."""

    def __init__(self, code: int) -> None:
        super().__init__(f"Modbus exception {code}")
        self.code = code


class _RawCoil(WriteSingleCoilRequest):
    """FC05 with any value: a pulse length, or the 0100 of non-standard boards."""

    raw_value = 0

    def encode(self) -> bytes:
        return struct.pack(">HH", self.address, self.raw_value)


class Bus:
    """All requests of all units on one port. Get it by `shared_bus`."""

    def __init__(self, port: str, baud: int, parity: str, rtu_over_tcp: bool, timeout_s: float) -> None:
        self._address = parse_port(port)
        self._port = port
        self._baud = baud
        self._parity = parity
        self._framer = FramerType.RTU if rtu_over_tcp else FramerType.SOCKET
        self._timeout_s = timeout_s
        self._lock = asyncio.Lock()
        self._client: AsyncModbusSerialClient | AsyncModbusTcpClient | None = None
        self._sent: Callable[[], None] | None = None

    @property
    def connected(self) -> bool:
        """Whether the port is open."""
        return self._client is not None and self._client.connected

    async def read_inputs(self, unit: int, first: int, count: int, coils: bool = False) -> Sequence[bool]:
        """Discrete inputs (FC02), or coils (FC01). Raises NoAnswerError, RefusedError, PortError."""
        async with self._lock:
            client = await self._open()
            ask = client.read_coils if coils else client.read_discrete_inputs
            reply = await self._answer(ask(first, count=count, device_id=unit), 1 if coils else 2)
            if len(reply.bits) < count:
                raise NoAnswerError
            return reply.bits

    async def read_registers(self, unit: int, first: int, count: int) -> Sequence[int]:
        """Input registers (FC04). Raises NoAnswerError, RefusedError, PortError."""
        async with self._lock:
            client = await self._open()
            reply = await self._answer(client.read_input_registers(first, count=count, device_id=unit), 4)
            if len(reply.registers) < count:
                raise NoAnswerError
            return reply.registers

    async def write_coil(self, unit: int, write: CoilWrite, sent: Callable[[], None] | None = None) -> None:
        """FC05; `sent` is called when the bytes go out. Raises NoAnswerError, RefusedError, PortError."""
        async with self._lock:
            client = await self._open()
            request = _RawCoil(address=write.address, bits=[True], dev_id=unit)
            request.raw_value = write.value
            self._sent = sent
            try:
                reply = await self._answer(client.execute(False, request), 5)
            finally:
                self._sent = None
            if reply.address != write.address:
                raise NoAnswerError  # somebody else's late answer

    async def _answer(self, asked: object, function: int) -> ModbusPDU:
        try:
            reply: ModbusPDU = await asked  # type: ignore[misc] # pymodbus types one interface for sync and async
        except (ModbusException, OSError) as error:
            # What was not acknowledged must not be delivered later (devices.md 3.4).
            self.close()
            raise NoAnswerError from error
        if reply.isError():
            raise RefusedError(getattr(reply, "exception_code", 0))
        if reply.function_code != function:
            self.close()
            raise NoAnswerError
        return reply

    async def _open(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        if self._client is not None and self._client.connected:
            return self._client
        self.close()
        client = self._new_client()
        try:
            opened = await client.connect()
        except (OSError, ModbusException) as error:
            raise PortError(DeviceFault.PORT_MISSING, f"{self._port}: {error}") from error
        if not opened:
            client.close()
            raise PortError(DeviceFault.PORT_MISSING, f"{self._port} does not open: check cable, power and address")
        if isinstance(client, AsyncModbusTcpClient):
            forbid_late_delivery(client.ctx.transport.get_extra_info("socket"))
        self._client = client
        return client

    def _new_client(self) -> AsyncModbusSerialClient | AsyncModbusTcpClient:
        if isinstance(self._address, TcpAddress):
            return AsyncModbusTcpClient(
                self._address.host,
                port=self._address.port,
                framer=self._framer,
                timeout=self._timeout_s,
                retries=0,  # a second open is never sent for one release
                reconnect_delay=0,
                trace_packet=self._trace,
            )
        return AsyncModbusSerialClient(
            self._address,
            framer=FramerType.RTU,
            baudrate=self._baud,
            parity=self._parity,
            timeout=self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._trace,
        )

    def _trace(self, sending: bool, data: bytes) -> bytes:
        if sending and self._sent:
            self._sent()
        return data

    def close(self) -> None:
        """Close at once; what is unsent is destroyed."""
        client, self._client = self._client, None
        if client is None:
            return
        transport = client.ctx.transport
        if isinstance(transport, asyncio.WriteTransport) and isinstance(client, AsyncModbusTcpClient):
            transport.abort()
        client.close()


_buses: "weakref.WeakValueDictionary[tuple[int, str], Bus]" = weakref.WeakValueDictionary()


def shared_bus(port: str, baud: int, parity: str, rtu_over_tcp: bool, timeout_s: float) -> Bus:
    """The bus of `port` in the running loop; units that name the same port share it."""
    key = (id(asyncio.get_running_loop()), port)
    bus = _buses.get(key)
    if bus is None:
        bus = _buses[key] = Bus(port, baud, parity, rtu_over_tcp, timeout_s)
    return bus
