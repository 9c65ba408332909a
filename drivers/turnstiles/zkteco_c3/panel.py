"""One panel and its doors: one connection (a panel does not bear several), one question at a time, its log read once.

The log is emptied by whoever reads it, so it is read here and told to all doors. A question without an answer closes
the connection, unsent bytes destroyed (devices.md 3.4), and a new one is opened; only when that fails too it is down.
"""

import asyncio
import contextlib
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from drivers.contract import DeviceFault, DeviceReport
from drivers.transport import REOPEN_S, ByteLink, PortError, open_link
from drivers.turnstiles.controller import NoAnswerError, Sent
from drivers.turnstiles.modbus.turns import Turns
from drivers.turnstiles.zkteco_c3.codec import (
    NO_SUCH_COMMAND,
    WRONG_PASSWORD,
    Command,
    Event,
    Frames,
    RefusedError,
    Session,
    parameters,
    records,
    text_records,
)
from drivers.vitals import VitalSigns

STOP_S = 0.5  # to say good-bye; a stopping controller waits for all its lanes
OLD_LOOKS_MAX = 64  # looks for events of before we came; a panel that has more to tell tells them as new
PASSWORD_MAX = 32  # bytes; a longer file is no password
ASKED = b"~SerialNumber,DeviceName,FirmVer,LockCount"


class ForbiddenError(Exception):
    """The doors are held or a fire is on since the operation was asked for: it was not sent."""


@dataclass(frozen=True, slots=True)
class Line:
    """How a panel is spoken to; the same for all its doors."""

    timeout_s: float
    poll_s: float
    password_file: str = ""


class Door(Protocol):
    """One turnstile behind the panel."""

    def up(self, detail: str, doors: int, serial: str) -> None:
        """The panel answers, has so many doors (0 when it does not say) and this serial number ("" likewise)."""

    def vitals(self, said: DeviceReport) -> None:
        """How its questions went."""

    def down(self, fault: DeviceFault, detail: str) -> None:
        """It does not."""

    def heard(self, events: Sequence[Event], old: bool) -> None:
        """What its log told; `old` events are of before we were connected."""

    def standing(self) -> list[bytes]:
        """Operations that must hold on a new connection too: the panel may have lost its power."""


class Panel:
    """One panel. Get it by `join_panel`."""

    def __init__(self, port: str, line: Line) -> None:
        self.line = line
        self.doors: list[Door] = []
        self._port = port
        self._turns = Turns(0.0)
        self._stir = asyncio.Event()
        self._link: ByteLink | None = None
        self._session = Session()
        self._frames = Frames()
        self._log = Command.LOG
        self._ready = False  # connected and logged in
        self._up: tuple[str, int, str] | None = None  # as the doors were told
        self._failures = 0
        self._vitals = VitalSigns()
        self._working: asyncio.Task[None] | None = None

    # --- for its doors -------------------------------------------------------------------------------------------

    def join(self, door: Door) -> None:
        """One more door; the first one starts the work."""
        self.doors.append(door)
        if self._working is None:
            self._working = asyncio.create_task(self._work())
        elif self._up:
            door.up(*self._up)

    async def leave(self, door: Door) -> None:
        """One door less; the last one ends the work."""
        self.doors.remove(door)
        if self.doors or self._working is None:
            return
        self._working.cancel()
        try:
            await asyncio.wait({self._working})
            with contextlib.suppress(NoAnswerError, RefusedError, PortError, TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._ask(Command.DISCONNECT)
        finally:
            self._close()

    async def control(self, operation: bytes, sent: Sent, until_s: float, may: Callable[[], bool]) -> None:
        """Carry out an operation, sent by `until_s` of the loop's clock, and if it `may` be then, or never.

        Raises NoAnswerError, RefusedError, PortError, ForbiddenError; only with the first may it have acted.
        """
        async with self._turn(write=True):
            if not self._ready:
                raise PortError(DeviceFault.PORT_LOST, f"{self._port} is not connected")
            if not may():
                raise ForbiddenError
            if asyncio.get_running_loop().time() > until_s:
                raise NoAnswerError
            await self._ask(Command.CONTROL, operation, sent)

    # --- the wire ------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _turn(self, write: bool) -> AsyncIterator[None]:
        await self._turns.take(write)
        try:
            yield
        finally:
            self._turns.give_back()

    async def _ask(self, command: Command, data: bytes = b"", sent: Sent | None = None) -> bytes:
        """Ask once. Raises NoAnswerError, RefusedError, PortError (then nothing was sent)."""
        link = self._link
        if link is None:
            raise PortError(DeviceFault.PORT_LOST, f"{self._port} is not connected")
        now = asyncio.get_running_loop().time
        try:
            request = self._session.request(command, data)
            if sent:
                link.check()
                sent()
            asked_s = now()
            await link.write(request)
            async with asyncio.timeout(self.line.timeout_s):
                answer = await self._answer(link)
            self._vitals.good(now() - asked_s)
            return answer
        except RefusedError:
            self._vitals.failed(DeviceFault.PROTOCOL_ERROR)
            raise
        except BaseException as error:
            # What was not acknowledged must not be delivered later (devices.md 3.4).
            self._close()
            if isinstance(error, (TimeoutError, PortError)):
                self._vitals.failed(DeviceFault.NO_ANSWER)
                raise NoAnswerError from error
            raise

    async def _answer(self, link: ByteLink) -> bytes:
        while True:
            for frame in self._frames.feed(await link.read(self.line.timeout_s)):
                if (data := self._session.answer(frame)) is not None:
                    return data

    def _close(self) -> None:
        link, self._link = self._link, None
        self._ready = False
        self._stir.set()
        if link:
            link.close()

    # --- the loop ------------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while True:
                try:
                    await self._connect()
                    await self._watch()
                except Exception as error:  # whoever is told of a passage may fail: nobody goes on deaf and "up"
                    self._close()
                    self._failed(error)
                await asyncio.sleep(REOPEN_S[min(self._failures, len(REOPEN_S)) - 1])
        except asyncio.CancelledError:
            self._ready = False
            raise

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        if self._up and self._failures == 1:
            return  # a lost connection is opened again before anybody is told
        self._up = None
        fault, detail = _fault(self._port, error)
        for door in list(self.doors):
            with contextlib.suppress(Exception):  # the one that fails may not keep it from the others
                door.down(fault, detail)

    async def _connect(self) -> None:
        """Open, log in, learn what it is, and empty its log of what happened before."""
        self._session, self._frames = Session(), Frames()
        self._link = await open_link(self._port)
        await self._log_in(_password(self.line.password_file))
        told = parameters(await self._ask(Command.PARAMETERS, ASKED))
        for door in list(self.doors):
            for operation in door.standing():
                await self._ask(Command.CONTROL, operation)
        for _ in range(OLD_LOOKS_MAX):
            events = await self._look()
            self._tell(events, old=not self._up)
            if not events:
                break
        self._ready = True
        if not self._up:
            count = told.get("LockCount", "")
            self._up = detail_of(told), int(count) if count.isdigit() else 0, told.get("~SerialNumber", "")
            for door in list(self.doors):
                door.up(*self._up)

    async def _log_in(self, password: bytes) -> None:
        try:
            await self._ask(Command.CONNECT_SESSION, password)
        except RefusedError as error:
            if error.code != NO_SUCH_COMMAND:
                raise
            self._session.id = None
            await self._ask(Command.CONNECT, password)

    async def _watch(self) -> None:
        while True:
            async with self._turn(write=False):
                events = await self._look()
            self._failures = 0
            self._tell(events, old=False)
            self._vitals.tell(self._tell_vitals, asyncio.get_running_loop().time())
            if events:
                continue  # there may be more: a panel tells one at a time
            self._stir.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.line.poll_s):
                    await self._stir.wait()

    async def _look(self) -> list[Event]:
        data = await self._ask(self._log)
        if self._log is Command.TEXT_LOG:
            return text_records(data)
        try:
            return records(data)
        except ValueError:
            self._log = Command.TEXT_LOG
            return []

    def _tell_vitals(self, said: DeviceReport) -> None:
        for door in list(self.doors):
            door.vitals(said)

    def _tell(self, events: Sequence[Event], old: bool) -> None:
        if events:
            for door in list(self.doors):
                door.heard(events, old)


def _password(path: str) -> bytes:
    """What the panel wants to hear first. Raises PortError."""
    if not path:
        return b""
    try:
        password = Path(path).read_bytes().strip()
    except OSError as error:
        raise PortError(DeviceFault.NOT_AUTHORISED, f"password_file: {error.strerror}: {path}") from error
    if not 0 < len(password) <= PASSWORD_MAX:
        raise PortError(DeviceFault.NOT_AUTHORISED, f"password_file: {path} must hold 1 to {PASSWORD_MAX} bytes")
    return password


def detail_of(told: dict[str, str]) -> str:
    """Model, firmware and serial number, as far as they are told."""
    names = ("DeviceName", "FirmVer", "~SerialNumber")
    return " ".join(filter(None, (told.get(name, "") for name in names))) or "C3 panel"


def _fault(port: str, error: Exception) -> tuple[DeviceFault, str]:
    match error:
        case PortError():
            return error.fault, str(error)
        case NoAnswerError():
            return (
                DeviceFault.NO_ANSWER,
                f"{port}: no answer of a C3 panel: check address and other programs on it",
            )
        case RefusedError(code=code) if code == WRONG_PASSWORD:
            return DeviceFault.NOT_AUTHORISED, f"{port} refuses the password: set password_file to the panel's"
        case RefusedError():
            return DeviceFault.PROTOCOL_ERROR, f"{port}: {error}"
    return DeviceFault.PORT_LOST, type(error).__name__


_panels: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Panel]]" = weakref.WeakKeyDictionary()


def join_panel(port: str, line: Line, door: Door) -> Panel:
    """The panel at `port` in the running loop, shared by all doors that name it; leave it by `leave_panel`.

    Raises PortError when another door speaks to it otherwise.
    """
    panels = _panels.setdefault(asyncio.get_running_loop(), {})
    panel = panels.setdefault(port, Panel(port, line))
    if panel.line != line:
        text = f"{port} is open with other settings: give its doors the same timeout_ms, poll_ms and password_file"
        raise PortError(DeviceFault.PORT_BUSY, text)
    panel.join(door)
    return panel


async def leave_panel(port: str, panel: Panel, door: Door) -> None:
    """No more of this door; the last one closes the connection."""
    if panel.doors == [door]:
        _panels[asyncio.get_running_loop()].pop(port, None)
    await panel.leave(door)
