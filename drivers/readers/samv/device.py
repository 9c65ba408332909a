"""A SAM_V reader at work: finds, selects and reads cards, says what it read once per presented card, and comes back.

Presence cannot be inferred from the reader: some keep answering 9F while a read card rests, others answer 80. So a card
is the same presentation while its identity repeats within `same_card_s`, and on readers that answer 9F until a run of
80s of at least a second.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping

from drivers.contract import CardReport, DeviceFault, Down, ReadProblem, ReportSink, Unread, Up
from drivers.readers.samv.codec import Command, Replies, Reply, StatusWord, card_text, encode, sam_id
from drivers.registry import SettingValue
from drivers.transport import ByteLink, PortError, open_link

REOPEN_S = (0.1, 0.3, 0.5, 1.0)  # at most 1 s, so that a lane is back within 2 s of its reader
SILENCE_S = 0.1  # section 6: inter-byte silence after which a frame is dead
TIMEOUTS_MAX = 3  # section 6: consecutive time-outs, then reopen
STATUS_EVERY_S = 30.0  # section 6: status check when idle
AGAIN_S = 0.3  # section 6: after "present again"
GONE_S = 1.0  # section 6: a run of 80s this long ends the presentation on readers that answer 9F
UNREAD_EVERY_S = 2.0  # a bad card that rests is said again this often, not at every poll

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


class _DeviceError(Exception):
    """The reader itself is the trouble."""

    def __init__(self, fault: DeviceFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class _NoAnswerError(Exception):
    """No valid answer in time."""


class SamvReader:
    """One reader; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = str(settings["port"])
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
        self._replies.drop()
        detail = await self._greet(link)
        self._up, self._last_down = True, None
        report(Up(detail))
        timeouts = 0
        checked_s = now()
        while True:
            try:
                if now() - checked_s >= STATUS_EVERY_S:
                    checked_s = now()
                    await self._status(link)
                pause_s = await self._poll(link, report)
                timeouts = 0
            except _NoAnswerError:
                timeouts += 1
                if timeouts >= TIMEOUTS_MAX:
                    raise _DeviceError(DeviceFault.NO_ANSWER, _SILENT) from None
                pause_s = 0.0
            await asyncio.sleep(pause_s)

    async def _greet(self, link: ByteLink) -> str:
        for _ in range(TIMEOUTS_MAX):
            try:
                await self._status(link)
                return "SAM " + sam_id(await self._ask(link, Command.SAM_ID, 0.5))
            except _NoAnswerError:
                continue
        raise _DeviceError(DeviceFault.NO_ANSWER, _SILENT)

    async def _status(self, link: ByteLink) -> None:
        reply = await self._ask(link, Command.STATUS, 0.5)
        if reply.status == StatusWord.SELF_TEST_FAILED:
            await self._ask(link, Command.RESET, 1.0)
            reply = await self._ask(link, Command.STATUS, 0.5)
        self._check_device(reply)

    def _check_device(self, reply: Reply) -> None:
        if reply.status == StatusWord.SELF_TEST_FAILED:
            raise _DeviceError(DeviceFault.SELF_TEST_FAILED, "its self-test fails: replace the reader")
        if reply.status == StatusWord.NOT_AUTHORISED:
            raise _DeviceError(DeviceFault.NOT_AUTHORISED, "its security module is not authorised: call the maker")

    async def _poll(self, link: ByteLink, report: ReportSink) -> float:
        """One round of find, select, read; how long to wait before the next."""
        now = asyncio.get_running_loop().time()
        found = await self._ask(link, Command.FIND, self._limit_s[Command.FIND])
        self._check_device(found)
        if found.status != StatusWord.CARD_FOUND:
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
        self._check_device(reply)
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
        """Send and wait for its answer. Raises _NoAnswerError, PortError."""
        for _ in range(2):  # section 6: on status 10 resend once
            reply = await self._exchange(link, command, limit_s)
            if reply.status != StatusWord.COMMAND_CHECKSUM:
                return reply
        return reply

    async def _exchange(self, link: ByteLink, command: Command, limit_s: float) -> Reply:
        loop = asyncio.get_running_loop()
        await link.discard_input()
        self._replies.drop()
        await link.write(encode(command))
        ends_s = loop.time() + limit_s
        while (left_s := ends_s - loop.time()) > 0:
            data = await link.read(min(left_s, SILENCE_S) if self._replies.partial else left_s)
            if not data:
                self._replies.drop()
                continue
            for reply in self._replies.feed(data):
                if reply.answers(command):
                    return reply
        raise _NoAnswerError


def create(settings: Mapping[str, SettingValue]) -> SamvReader:
    """A reader with checked settings; opens nothing yet."""
    return SamvReader(settings)
