"""A keyboard-wedge scanner at work: its input device is taken for ourselves alone, and its typing cut into codes."""

import asyncio
import errno
import fcntl
import os
import stat
from collections.abc import Mapping

from drivers.contract import CodeReport, DeviceFault, ReportSink, Unread
from drivers.registry import SettingValue
from drivers.reopening import DeviceError, Reopening
from drivers.scanners.same_code import SameCode
from drivers.scanners.wedge.codec import KEY_ENTER, KEY_KPENTER, KEY_TAB, Events, NotInputError, Typing
from drivers.transport import READ_LIMIT, ByteLink, PortError, TcpAddress, open_link, parse_port, port_setting

EVIOCGRAB = 0x40044590  # linux/input.h: _IOW('E', 0x90, int); from then on nobody else sees the keys
IDLE_READ_S = 60.0  # a scanner is silent between passengers; the wait only bounds one read
_ENDS = {"enter": frozenset({KEY_ENTER, KEY_KPENTER}), "tab": frozenset({KEY_TAB}), "silence": frozenset[int]()}
_PATH = "take its name under /dev/input/by-id/, ending in -event-kbd"


class WedgeScanner(Reopening):
    """One scanner; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        super().__init__()
        self._port = port_setting(settings)
        self._idle_s = float(settings["idle_timeout_ms"]) / 1000
        self._end_keys = _ENDS[str(settings["ends_with"])]
        self._same = SameCode(float(settings["same_code_s"]))
        self._grabbed = True

    async def open(self) -> ByteLink:
        """Open the input device and take it for ourselves."""
        if isinstance(parse_port(self._port), TcpAddress):
            self._grabbed = False
            return await open_link(self._port)
        link, self._grabbed = await _open_input(self._port)
        return link

    async def serve(self, link: ByteLink, report: ReportSink) -> None:
        """Listen until the device is lost."""
        events, typing = Events(), Typing(self._end_keys)
        self.say_up(report, "" if self._grabbed else "not grabbed: its keys reach other programs too")
        while True:
            data = await link.read(self._idle_s if typing.partial or events.partial else IDLE_READ_S)
            if not data:
                events.drop()
                self._say(typing.silence(), report)
                continue
            try:
                pressed = events.feed(data)
            except NotInputError:
                text = f"these are no input events of this machine: {_PATH}"
                raise DeviceError(DeviceFault.PROTOCOL_ERROR, text) from None
            for event in pressed:
                self._say(typing.feed(event), report)
            self.vitals.good()
            self.vitals.tell(report, asyncio.get_running_loop().time())

    def _say(self, said: CodeReport | Unread | None, report: ReportSink) -> None:
        if said is None:
            return
        mark = said.payload if isinstance(said, CodeReport) else said.problem.encode()
        if self._same.is_new(mark, asyncio.get_running_loop().time()):
            report(said)


class _InputLink(ByteLink):
    """An input device: nothing is written to it."""

    def __init__(self, reader: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self._reader = reader
        self._transport = transport

    def close(self) -> None:
        """Close at once; the kernel gives the keys back to others."""
        self._transport.close()


async def _open_input(path: str) -> tuple[ByteLink, bool]:
    """The device and whether it is ours alone. Raises PortError with fault and remedy."""
    try:
        # A device node is opened without waiting, so it needs no thread.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise _input_error(path, error) from error
    try:
        if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
            raise PortError(DeviceFault.PORT_MISSING, f"{path} is no device: {_PATH}")
        grabbed = _grab(path, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    reader = asyncio.StreamReader(limit=READ_LIMIT)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return _InputLink(reader, transport), grabbed


def _grab(path: str, descriptor: int) -> bool:
    """Take the keys away from everybody else; False for a line that carries events and is no input device."""
    try:
        fcntl.ioctl(descriptor, EVIOCGRAB, 1)
    except OSError as error:
        if os.isatty(descriptor):
            return False
        if error.errno in (errno.ENOTTY, errno.EINVAL):
            raise PortError(DeviceFault.PORT_MISSING, f"{path} is no input device: {_PATH}") from error
        raise _input_error(path, error) from error
    return True


def _input_error(path: str, error: OSError) -> PortError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortError(DeviceFault.PORT_DENIED, f"{path}: permission denied: add the service's user to group input")
    if error.errno == errno.EBUSY:
        return PortError(DeviceFault.PORT_BUSY, f"{path} is grabbed by another program: stop it")
    if error.errno in (errno.ENODEV, errno.EIO):
        return PortError(DeviceFault.PORT_LOST, f"{path}: {os.strerror(error.errno)}: unplug it and plug it again")
    return PortError(DeviceFault.PORT_MISSING, f"{path} is not there: check cable and power; {_PATH}")


def create(settings: Mapping[str, SettingValue]) -> WedgeScanner:
    """A scanner with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return WedgeScanner(settings)
