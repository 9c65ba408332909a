"""One question to a SAM_V reader and its answer: in limited time, repeated as section 6 of devices.md allows."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from drivers.contract import DeviceFault
from drivers.readers.samv.codec import HEARD_MAX, Command, Replies, Reply, StatusWord, dialect, encode, sam_id
from drivers.transport import ByteLink
from drivers.vitals import VitalSigns

SILENCE_S = 0.1  # section 6: inter-byte silence after which a frame is dead
TIMEOUTS_MAX = 3  # section 6: consecutive time-outs, then reopen
STATUS_S, RESET_S = 0.5, 1.0  # no source gives a limit: as long as a search; a self-test takes longer
SAM_ID_TRIES = 3  # two answers must agree: readers were seen to tell a wrong number now and then (devices.md 1.2, 3)

_SILENT = "no answer to 3 commands: check cable, power and speed"
_NOT_SAMV = "answers, but not as a SAM_V reader: check model and speed"
_T = TypeVar("_T")


class DeviceError(Exception):
    """The reader itself is the trouble."""

    def __init__(self, fault: DeviceFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class NoAnswerError(Exception):
    """No valid answer in time; `heard`: something else came instead, and `dialect` says what where it is known."""

    def __init__(self, heard: bool, dialect: str = "") -> None:
        super().__init__()
        self.heard = heard
        self.dialect = dialect


class Asker:
    """Asks over the link it is given. It outlives links: one reset in a row is all a reader gets."""

    def __init__(self, vitals: VitalSigns, may_reset: bool = True) -> None:
        self._vitals = vitals
        self._may_reset = may_reset
        self._replies = Replies()
        self._was_reset = False  # and has not been well since

    async def status(self, link: ByteLink, limit_s: float = STATUS_S) -> None:
        """A status check that ends well. Raises NoAnswerError, DeviceError, PortError."""
        if (await self.ask(link, Command.STATUS, limit_s)).status != StatusWord.OK:
            raise NoAnswerError(heard=True)

    async def sam_id(self, link: ByteLink) -> str:
        """The security module's number when it was told twice alike, else "". Raises DeviceError, PortError."""
        told: list[str] = []
        with contextlib.suppress(NoAnswerError):  # some readers do not tell it
            for _ in range(SAM_ID_TRIES):
                reply = await self.ask(link, Command.SAM_ID, STATUS_S)
                if reply.status != StatusWord.OK:
                    break
                if sam_id(reply) in told:
                    return sam_id(reply)
                told.append(sam_id(reply))
        return ""

    async def ask(self, link: ByteLink, command: Command, limit_s: float) -> Reply:
        """Send and wait for its answer. Raises NoAnswerError, DeviceError, PortError."""
        reply = await self._exchange(link, command, limit_s)
        if reply.status == StatusWord.COMMAND_CHECKSUM:  # section 6: resend once
            reply = await self._exchange(link, command, limit_s)
        unwell = reply.status == StatusWord.SELF_TEST_FAILED
        if unwell and self._may_reset and not self._was_reset:  # section 6: reset once, then fault
            self._was_reset = True
            with contextlib.suppress(NoAnswerError):  # a reset that is not answered has not helped: the next tells
                await self._exchange(link, Command.RESET, RESET_S)
            reply = await self._exchange(link, command, limit_s)
        _check_device(reply)
        self._was_reset = False
        return reply

    async def _exchange(self, link: ByteLink, command: Command, limit_s: float) -> Reply:
        loop = asyncio.get_running_loop()
        await link.discard_input()
        self._replies.drop()
        await link.write(encode(command))
        asked_s = loop.time()
        heard = bytearray()
        while (left_s := asked_s + limit_s - loop.time()) > 0:
            data = await link.read(min(left_s, SILENCE_S) if self._replies.partial else left_s)
            if not data:
                self._replies.drop()
                continue
            heard += data[: HEARD_MAX - len(heard)]
            for reply in self._replies.feed(data):
                if reply.answers(command):
                    self._vitals.good(loop.time() - asked_s)
                    return reply
        self._vitals.failed(DeviceFault.PROTOCOL_ERROR if heard else DeviceFault.NO_ANSWER)
        raise NoAnswerError(bool(heard), dialect(bytes(heard)))


async def insist(work: Callable[[], Awaitable[_T]]) -> _T:
    """What `work` gives, tried as often as section 6 allows. Raises DeviceError when nothing is answered."""
    errors = []
    for _ in range(TIMEOUTS_MAX):
        try:
            return await work()
        except NoAnswerError as error:
            errors.append(error)
    raise unanswered(errors)


def unanswered(errors: list[NoAnswerError]) -> DeviceError:
    """The fault that attempts amount to when none was answered."""
    if spoken := next((error.dialect for error in errors if error.dialect), ""):
        return DeviceError(DeviceFault.PROTOCOL_ERROR, f"not a SAM_V reader, it speaks {spoken}: use its own driver")
    if all(error.heard for error in errors):  # else it may be a gateway's heartbeat
        return DeviceError(DeviceFault.PROTOCOL_ERROR, _NOT_SAMV)
    return DeviceError(DeviceFault.NO_ANSWER, _SILENT)


def _check_device(reply: Reply) -> None:
    if reply.status == StatusWord.SELF_TEST_FAILED:
        raise DeviceError(DeviceFault.SELF_TEST_FAILED, "its self-test fails: replace the reader")
    if reply.status == StatusWord.NOT_AUTHORISED:
        raise DeviceError(DeviceFault.NOT_AUTHORISED, "its security module is not authorised: call the maker")
