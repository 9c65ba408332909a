"""A SAM_V reader at work: finds, selects and reads cards, says what it read once per presented card, and comes back.

Presence cannot be inferred from the reader: some keep answering 9F while a read card rests, others answer 80. So a card
is the same presentation while its identity repeats within `same_card_s`, and on readers that answer 9F until a run of
80s of at least a second.
"""

import asyncio
import contextlib
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from drivers.contract import CardReport, DeviceFault, Down, ReadProblem, ReportSink, Unread, Up
from drivers.readers.samv.codec import Command, Replies, Reply, StatusWord, card_text, encode, sam_id
from drivers.registry import SettingValue
from drivers.transport import REOPEN_S, ByteLink, PortError, open_link, port_setting

SILENCE_S = 0.1  # section 6: inter-byte silence after which a frame is dead
TIMEOUTS_MAX = 3  # section 6: consecutive time-outs, then reopen
STATUS_EVERY_S = 30.0  # section 6: status check when idle
STATUS_S, RESET_S = 0.5, 1.0  # no source gives a limit: as long as a search; a self-test takes longer
AGAIN_S = 0.3  # section 6: after "present again"
GONE_S = 1.0  # section 6: a run of 80s this long ends the presentation on readers that answer 9F
UNREAD_EVERY_S = 2.0  # a bad card that rests is said again this often, not at every poll

_T = TypeVar("_T")
_UNREAD = {
    StatusWord.SELECT_FAILED: ReadProblem.CARD_REMOVED,
    StatusWord.NO_CARD: ReadProblem.CARD_REMOVED,
    StatusWord.READ_FAILED: ReadProblem.CARD_REMOVED,
    StatusWord.CARD_REFUSED_SAM: ReadProblem.CARD_NOT_AUTHENTIC,
    StatusWord.SAM_REFUSED_CARD: ReadProblem.CARD_NOT_AUTHENTIC,
    StatusWord.INFORMATION_VERIFICATION: ReadProblem.CARD_NOT_AUTHENTIC,
    StatusWord.UNKNOWN_CARD: ReadProblem.CARD_UNKNOWN_TYPE,
}


_SILENT = "no answer to 3 commands: check cable, power and speed"
_NOT_SAMV = "answers, but not as a SAM_V reader: check model and speed"


class _DeviceError(Exception):
    """The reader itself is the trouble."""

    def __init__(self, fault: DeviceFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class _NoAnswerError(Exception):
    """No valid answer in time; `heard`: something else came instead."""

    def __init__(self, heard: bool) -> None:
        super().__init__()
        self.heard = heard


class SamvReader:
    """One reader; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._poll_s = float(settings["poll_interval_ms"]) / 1000
        self._limit_s = {
            Command.FIND: float(settings["find_timeout_ms"]) / 1000,
            Command.SELECT: float(settings["select_timeout_ms"]) / 1000,
            Command.READ: float(settings["read_timeout_ms"]) / 1000,
        }
        self._same_card_s = float(settings["same_card_s"])
        self._replies = Replies()
        self._key = secrets.token_bytes(16)
        self._resting: bytes | None = None  # keyed hash of the card that was read last
        self._read_s = float("-inf")  # when it was read
        self._left_s: float | None = None  # since when the reader answers 80
        self._rests_as_found = False  # the reader answers 9F while a read card rests
        self._last_down: DeviceFault | None = None
        self._unread_s = float("-inf")
        self._up = False

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._up, self._last_down = False, None
        attempt = 0
        while True:
            link: ByteLink | None = None
            try:
                link = await open_link(self._port, self._baud)
                await self._serve(link, report)
            except (PortError, _DeviceError) as error:
                attempt = 0 if self._up else attempt
                self._down(report, error.fault, str(error))
            finally:
                if link:
                    link.close()
            await asyncio.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
            attempt += 1

    def _down(self, report: ReportSink, fault: DeviceFault, detail: str) -> None:
        said, self._last_down = self._last_down, fault
        if self._up or said is not fault:
            report(Down(fault, detail))
        self._up = False

    async def _serve(self, link: ByteLink, report: ReportSink) -> None:
        now = asyncio.get_running_loop().time
        await _insist(lambda: self._status(link))
        detail = await self._sam_id(link)
        self._up, self._last_down = True, None
        report(Up(detail))
        checked_s = now()
        while True:
            if now() - checked_s >= STATUS_EVERY_S:
                await _insist(lambda: self._status(link))
                checked_s = now()
            await asyncio.sleep(await _insist(lambda: self._poll(link, report)))

    async def _status(self, link: ByteLink) -> None:
        if (await self._ask(link, Command.STATUS, STATUS_S)).status != StatusWord.OK:
            raise _NoAnswerError(heard=True)

    async def _sam_id(self, link: ByteLink) -> str:
        with contextlib.suppress(_NoAnswerError):  # some readers do not tell it
            reply = await self._ask(link, Command.SAM_ID, STATUS_S)
            if reply.status == StatusWord.OK:
                return f"SAM {sam_id(reply)}"
        return "SAM id not told"

    async def _poll(self, link: ByteLink, report: ReportSink) -> float:
        """One round of find, select, read; how long to wait before the next."""
        now = asyncio.get_running_loop().time()
        found = await self._ask(link, Command.FIND, self._limit_s[Command.FIND])
        if found.status not in (StatusWord.CARD_FOUND, StatusWord.NO_CARD):
            raise _NoAnswerError(heard=True)
        if found.status == StatusWord.NO_CARD:
            self._left_s = now if self._left_s is None else self._left_s
            if self._rests_as_found and now - self._left_s >= GONE_S:
                self._resting = None
            return self._poll_s
        # A resting card is read again each time: only its identity tells it from the next passenger's.
        return await self._read(link, report)

    async def _read(self, link: ByteLink, report: ReportSink) -> float:
        selected = await self._ask(link, Command.SELECT, self._limit_s[Command.SELECT])
        if selected.status != StatusWord.OK:
            return self._failed(selected, report)
        read = await self._ask(link, Command.READ, self._limit_s[Command.READ])
        if read.status != StatusWord.OK:
            return self._failed(read, report)
        text = card_text(Command.READ, read)
        if text is None:
            return self._unread(ReadProblem.CARD_UNREADABLE, report)
        self._card(text, report)
        return self._poll_s

    def _card(self, text: bytes, report: ReportSink) -> None:
        now = asyncio.get_running_loop().time()
        mark = hashlib.blake2b(text, key=self._key, digest_size=16).digest()
        same = mark == self._resting and (self._rests_as_found or now - self._read_s < self._same_card_s)
        if same and self._left_s is None:
            self._rests_as_found = True  # read again without having left
        if not same:
            report(CardReport(text))
        self._resting, self._read_s, self._left_s = mark, now, None

    def _failed(self, reply: Reply, report: ReportSink) -> float:
        status = StatusWord(reply.status) if reply.status in StatusWord._value2member_map_ else StatusWord.UNKNOWN
        return self._unread(_UNREAD.get(status, ReadProblem.CARD_UNREADABLE), report)

    def _unread(self, problem: ReadProblem, report: ReportSink) -> float:
        now = asyncio.get_running_loop().time()
        recently_read = now - self._read_s < GONE_S
        if not recently_read and now - self._unread_s >= UNREAD_EVERY_S:
            self._unread_s = now
            report(Unread(problem))
        return AGAIN_S

    async def _ask(self, link: ByteLink, command: Command, limit_s: float) -> Reply:
        """Send and wait for its answer. Raises _NoAnswerError, _DeviceError, PortError."""
        reply = await self._exchange(link, command, limit_s)
        if reply.status == StatusWord.COMMAND_CHECKSUM:  # section 6: resend once
            reply = await self._exchange(link, command, limit_s)
        if reply.status == StatusWord.SELF_TEST_FAILED:  # section 6: reset once, then fault
            await self._exchange(link, Command.RESET, RESET_S)
            reply = await self._exchange(link, command, limit_s)
        _check_device(reply)
        return reply

    async def _exchange(self, link: ByteLink, command: Command, limit_s: float) -> Reply:
        loop = asyncio.get_running_loop()
        await link.discard_input()
        self._replies.drop()
        await link.write(encode(command))
        ends_s = loop.time() + limit_s
        heard = False
        while (left_s := ends_s - loop.time()) > 0:
            data = await link.read(min(left_s, SILENCE_S) if self._replies.partial else left_s)
            if not data:
                self._replies.drop()
                continue
            heard = True
            for reply in self._replies.feed(data):
                if reply.answers(command):
                    return reply
        raise _NoAnswerError(heard)


async def _insist(work: Callable[[], Awaitable[_T]]) -> _T:
    """What `work` gives, tried as often as section 6 allows. Raises _DeviceError when nothing is answered."""
    heard = 0
    for _ in range(TIMEOUTS_MAX):
        try:
            return await work()
        except _NoAnswerError as error:
            heard += error.heard
    if heard == TIMEOUTS_MAX:  # else it may be a gateway's heartbeat
        raise _DeviceError(DeviceFault.PROTOCOL_ERROR, _NOT_SAMV)
    raise _DeviceError(DeviceFault.NO_ANSWER, _SILENT)


def _check_device(reply: Reply) -> None:
    if reply.status == StatusWord.SELF_TEST_FAILED:
        raise _DeviceError(DeviceFault.SELF_TEST_FAILED, "its self-test fails: replace the reader")
    if reply.status == StatusWord.NOT_AUTHORISED:
        raise _DeviceError(DeviceFault.NOT_AUTHORISED, "its security module is not authorised: call the maker")


def create(settings: Mapping[str, SettingValue]) -> SamvReader:
    """A reader with checked settings; opens nothing yet. Raises SettingError for a port that cannot be one."""
    return SamvReader(settings)
