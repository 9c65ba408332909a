"""What the drivers of serial turnstile controllers have in common: run, ask, answer a command once and honestly.

Their protocols number nothing: an answer that comes late looks like the next command's. So after a question without an
answer nothing is commanded before the line was quiet for one time-out and, where the protocol has a harmless question,
before that was answered: the controller answers in order, hence everything older has come and was dropped.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from drivers.contract import Answer, DeviceFault, Direction, Down, ReportSink, Up
from drivers.registry import SettingValue
from drivers.transport import REOPEN_S, PortError, open_link
from drivers.turnstiles.wire import Opener, Wire, join_wire, leave_wire
from drivers.vitals import VitalSigns

SILENT_LOOKS_MAX = 3  # looks without an answer before the controller counts as down, as with relay boards
PARTIAL_S = 0.1  # a frame that pauses for so long is dead: 96 characters at 9600 Bd
QUIET_MAX_S = 2.0  # for a line to fall quiet; one that never does is not our controller's
STOP_S = 0.5  # to withdraw a release when we stop; a stopping controller waits for all its lanes

Frame = TypeVar("Frame")


class NoAnswerError(Exception):
    """The controller did not answer in time; whether it acted is not known."""


class FrameReader(Protocol[Frame]):
    """A codec's reader of what the controller sends."""

    def feed(self, data: bytes) -> list[Frame]:
        """Whole frames so far; noise is skipped."""

    def reset(self) -> None:
        """Forget a frame that never ended."""


class Sent:
    """Whether a command's bytes went out; tells whoever measures."""

    def __init__(self, tell: Callable[[], None] | None = None) -> None:
        self._tell = tell
        self.was = False

    def __call__(self) -> None:
        """The bytes go out now."""
        self.was = True
        if self._tell:
            self._tell()


Act = Callable[[Sent], Awaitable[Answer]]


class SerialTurnstile(Generic[Frame]):
    """One controller. A model says how it greets, looks, frees and holds, and what it makes of a frame."""

    poll_s = 1.0  # between two looks
    wait_s = 0.0  # how long the controller itself keeps a release; 0 where we end it

    def __init__(
        self, port: str, settings: Mapping[str, SettingValue], frames: FrameReader[Frame], opener: Opener = open_link
    ) -> None:
        self._port = port
        self._baud = int(settings["baud"])
        self._timeout_s = float(settings["timeout_ms"]) / 1000
        self._frames = frames
        self._opener = opener
        self._wire: Wire | None = None
        self._vitals = VitalSigns()
        self._mine = asyncio.Lock()  # one command or look of this unit at a time
        self._holding = asyncio.Lock()  # one hold, or end of one, after the other
        self._stir = asyncio.Event()
        self._cut_by: PortError | None = None
        self._waits: tuple[Callable[[Frame], bool], asyncio.Future[Frame]] | None = None
        self._up = False
        self._said: DeviceFault | None = None
        self._held = False  # by us
        self._doubt = False  # an answer may still be on its way
        self._identity = ""  # its own number, once it was told
        self._failed_s = self._heard_s = self._byte_s = float("-inf")

    # --- what a model says ---------------------------------------------------------------------------------------

    async def _greet(self, report: ReportSink) -> str:
        """Prove that the controller is there, as far as its protocol allows; the words for `Up`."""
        raise NotImplementedError

    async def _fence(self) -> None:
        """Ask something harmless whose answer comes after all older ones."""

    async def _look(self, report: ReportSink) -> None:
        """What is to be done every `poll_s`. Raises NoAnswerError, PortError."""

    async def _free(self, direction: Direction, until_s: float, sent: Sent) -> Answer:
        """Free the barrier once, of no effect after `until_s`. Raises NoAnswerError, PortError."""
        raise NotImplementedError

    async def _hold(self, on: bool, sent: Sent) -> Answer:
        """Hold the barrier open, or end it. Raises NoAnswerError, PortError."""
        raise NotImplementedError

    async def _leave(self) -> None:
        """Withdraw what may not outlive us. Raises NoAnswerError, PortError."""

    def _heard(self, frame: Frame) -> None:
        """A frame that answers nothing."""

    # --- the device ----------------------------------------------------------------------------------------------

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._up, self._said = False, None
        attempt = 0
        try:
            while True:
                try:
                    await self._serve(report)
                except PortError as error:
                    fault, detail = error.fault, str(error)
                except NoAnswerError:
                    fault, detail = DeviceFault.NO_ANSWER, f"{self._port}: no answer: check power, wiring and speed"
                attempt = 0 if self._up else attempt
                self._down(report, fault, detail)
                await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
                attempt += 1
        finally:
            await self._stop()

    async def release(self, direction: Direction, lifetime_s: float, sent: Callable[[], None] | None = None) -> Answer:
        """Free the barrier once. See `drivers.contract.Turnstile`."""
        if lifetime_s < self.wait_s:
            return Answer.REFUSED  # the controller would keep it longer than it may live, and cannot be told not to
        said = Sent(sent)
        until_s = asyncio.get_running_loop().time() + lifetime_s
        try:
            async with asyncio.timeout(lifetime_s):
                return await self._command(lambda said: self._free(direction, until_s, said), said)
        except TimeoutError:  # what was on its way is destroyed
            return Answer.UNKNOWN if said.was else Answer.REFUSED

    async def hold_open(self) -> Answer:
        """Hold the barrier open."""
        async with self._holding:
            before = self._held
            answer = await self._command(lambda said: self._set_held(True, said), Sent())
            if answer is Answer.REFUSED:
                self._held = before
            return answer

    async def end_hold(self) -> Answer:
        """End a hold of ours. Of no other: these controllers do not tell an emergency opening from a hold."""
        async with self._holding:  # who asks a second time may not hear of an end that is only on its way
            if not self._held:
                return Answer.ACCEPTED
            answer = await self._command(lambda said: self._set_held(False, said), Sent())
            if answer is not Answer.ACCEPTED:
                self._held = True
            return answer

    async def _set_held(self, on: bool, sent: Sent) -> Answer:
        self._held = on
        return await self._hold(on, sent)

    async def _command(self, act: Act, said: Sent) -> Answer:
        try:
            async with self._mine:
                if not self._up:
                    return Answer.REFUSED
                await self._clear_doubt()
                return await act(said)
        except (NoAnswerError, PortError):
            return Answer.UNKNOWN if said.was else Answer.REFUSED

    # --- the wire ------------------------------------------------------------------------------------------------

    async def _ask(
        self,
        frame: bytes,
        wanted: Callable[[Frame], bool],
        sent: Sent | None = None,
        urgent: bool = False,
        thanks: Callable[[Frame], bytes] | None = None,
    ) -> Frame:
        """Send `frame` once, wait for a wanted one and send `thanks` for it. Raises NoAnswerError, PortError."""
        assert self._wire is not None  # noqa: S101 - whoever asks has joined
        async with self._wire.turn(urgent) as link:
            answer: asyncio.Future[Frame] = asyncio.get_running_loop().create_future()
            self._waits = wanted, answer
            asked_s = asyncio.get_running_loop().time()
            try:
                if sent:
                    link.check()
                    sent()
                await link.write(frame)
                async with asyncio.timeout(self._timeout_s):
                    got = await answer
                self._vitals.good(asyncio.get_running_loop().time() - asked_s)
                if thanks:
                    await link.write(thanks(got))
                return got
            except BaseException as error:
                # What was not acknowledged must not be delivered later (devices.md 3.4).
                self._doubt, self._failed_s = True, asyncio.get_running_loop().time()
                self._wire.close()
                if isinstance(error, TimeoutError):
                    self._vitals.failed(DeviceFault.NO_ANSWER)
                    raise NoAnswerError from error
                raise
            finally:
                self._waits = None

    def hear(self, data: bytes) -> None:
        """Bytes from the wire, this unit's or another's."""
        now_s = asyncio.get_running_loop().time()
        if now_s - self._byte_s > PARTIAL_S:
            self._frames.reset()
        self._byte_s = now_s
        for frame in self._frames.feed(data):
            self._heard_s = now_s
            if self._waits and not self._waits[1].done() and self._waits[0](frame):
                self._waits[1].set_result(frame)
            else:
                self._vitals.good()
                self._heard(frame)

    def cut(self, error: PortError | None) -> None:
        """The port is closed; it is opened again at once, or after the driver has said that it was lost."""
        self._frames.reset()
        self._cut_by = error or self._cut_by
        self._stir.set()
        if error and self._waits and not self._waits[1].done():
            self._waits[1].set_exception(error)

    async def _clear_doubt(self) -> None:
        """Make sure that no older answer can come any more. Raises NoAnswerError, PortError."""
        if not self._doubt:
            return
        await self._quiet()
        self._doubt = False
        await self._fence()

    async def _quiet(self) -> None:
        """Until nothing came for one time-out."""
        assert self._wire is not None  # noqa: S101 - whoever asks has joined
        await self._wire.open()
        now = asyncio.get_running_loop().time
        limit_s = now() + QUIET_MAX_S
        while (due_s := max(self._heard_s, self._failed_s) + self._timeout_s) > now():
            if due_s > limit_s + self._timeout_s:
                raise NoAnswerError
            await asyncio.sleep(due_s - now())

    # --- the loop ------------------------------------------------------------------------------------------------

    async def _serve(self, report: ReportSink) -> None:
        self._wire = self._wire or join_wire(self._port, self._baud, self, self._opener)
        self._cut_by = None
        async with self._mine:
            await self._wire.open()
            if self._doubt:
                await self._quiet()
            self._doubt = False
            detail = await self._greet(report)
        self._up, self._said = True, None
        report(Up(detail, self._identity))
        silent = 0
        while True:
            await self._pause(self._wire)
            try:
                async with self._mine:
                    await self._clear_doubt()
                    await self._look(report)
                silent = 0
                self._vitals.tell(report, asyncio.get_running_loop().time())
            except NoAnswerError:
                silent += 1
                if silent >= SILENT_LOOKS_MAX:
                    raise

    def _pause_s(self) -> float:
        """How long until the next look."""
        return self.poll_s

    async def _pause(self, wire: Wire) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s()):
                await self._stir.wait()
        self._stir.clear()
        if self._cut_by:
            raise self._cut_by
        await wire.open()  # one of us closed it: a passage may be told at any time

    def _down(self, report: ReportSink, fault: DeviceFault, detail: str) -> None:
        if self._up or self._said is not fault:
            report(Down(fault, detail))
        self._up, self._said = False, fault

    async def _stop(self) -> None:
        self._up = False
        if self._wire is None:
            return
        try:
            with contextlib.suppress(NoAnswerError, PortError, TimeoutError):
                async with asyncio.timeout(STOP_S), self._mine:
                    await self._leave()
        finally:
            leave_wire(self._port, self._wire, self)
            self._wire = None


def ordered(settings: Mapping[str, Any], key: str, choices: tuple[str, str]) -> dict[Direction, str]:
    """Which of the two `choices` is entry, by the setting `key`; the other one is exit."""
    first, second = choices if settings[key] == choices[0] else choices[::-1]
    return {Direction.ENTRY: first, Direction.EXIT: second}
