"""A SAM_V reader at work: finds, selects and reads cards, says what it read once per presented card, and comes back.

Presence cannot be inferred from the reader: some keep answering 9F while a read card rests, others answer 80. So a card
is the same presentation while its identity repeats within `same_card_s`, and on readers that answer 9F until a run of
80s of at least a second.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping, Sequence

from drivers.contract import CardReport, DeviceFault, Down, ReadProblem, ReportSink, Unread, Up
from drivers.readers.samv.ask import Asker, DeviceError, NoAnswerError, insist
from drivers.readers.samv.codec import Command, Reply, StatusWord, card_text, same_sam
from drivers.readers.samv.speed import BAUDS, open_at_its_speed
from drivers.registry import SettingError, SettingValue
from drivers.transport import REOPEN_S, ByteLink, PortError, TcpAddress, open_link, parse_port, port_setting
from drivers.vitals import VitalSigns

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


class SamvReader:
    """One reader; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])  # 0: find it out
        self._bauds: Sequence[int] = BAUDS
        self._sam_id = _checked_sam_id(str(settings["sam_id"]))
        self._poll_s = float(settings["poll_interval_ms"]) / 1000
        self._limit_s = {
            Command.FIND: float(settings["find_timeout_ms"]) / 1000,
            Command.SELECT: float(settings["select_timeout_ms"]) / 1000,
            Command.READ: float(settings["read_timeout_ms"]) / 1000,
        }
        self._same_card_s = float(settings["same_card_s"])
        self._vitals = VitalSigns()
        self._asker = Asker(self._vitals)
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
                link = await self._open()
                await self._serve(link, report)
            except (PortError, DeviceError) as error:
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

    async def _open(self) -> ByteLink:
        if self._baud or isinstance(parse_port(self._port), TcpAddress):  # a converter knows the speed itself
            return await open_link(self._port, self._baud or BAUDS[0])
        link, baud = await open_at_its_speed(self._port, self._asker, self._bauds)
        self._bauds = (baud, *(other for other in BAUDS if other != baud))  # it keeps its speed over restarts
        return link

    async def _serve(self, link: ByteLink, report: ReportSink) -> None:
        now = asyncio.get_running_loop().time
        await insist(lambda: self._asker.status(link))
        told = await self._asker.sam_id(link)
        self._check_identity(told)
        self._up, self._last_down = True, None
        report(Up(f"SAM {told}" if told else "SAM id not told", told))
        checked_s = now()
        while True:
            if now() - checked_s >= STATUS_EVERY_S:
                await insist(lambda: self._asker.status(link))
                checked_s = now()
            wait_s = await insist(lambda: self._poll(link, report))
            self._vitals.tell(report, now())
            await asyncio.sleep(wait_s)

    def _check_identity(self, told: str) -> None:
        if not self._sam_id or (told and same_sam(told, self._sam_id)):
            return
        answers = f"SAM {told} answers" if told else "it does not tell its SAM id"
        text = f"{answers}, SAM {self._sam_id} is configured: were two readers swapped?"
        raise DeviceError(DeviceFault.WRONG_DEVICE, text)

    async def _poll(self, link: ByteLink, report: ReportSink) -> float:
        """One round of find, select, read; how long to wait before the next."""
        now = asyncio.get_running_loop().time()
        found = await self._asker.ask(link, Command.FIND, self._limit_s[Command.FIND])
        if found.status not in (StatusWord.CARD_FOUND, StatusWord.NO_CARD):
            raise NoAnswerError(heard=True)
        if found.status == StatusWord.NO_CARD:
            self._left_s = now if self._left_s is None else self._left_s
            if self._rests_as_found and now - self._left_s >= GONE_S:
                self._resting = None
            return self._poll_s
        # A resting card is read again each time: only its identity tells it from the next passenger's.
        return await self._read(link, report)

    async def _read(self, link: ByteLink, report: ReportSink) -> float:
        selected = await self._asker.ask(link, Command.SELECT, self._limit_s[Command.SELECT])
        if selected.status != StatusWord.OK:
            return self._failed(selected, report)
        read = await self._asker.ask(link, Command.READ, self._limit_s[Command.READ])
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


def create(settings: Mapping[str, SettingValue]) -> SamvReader:
    """A reader with checked settings; opens nothing yet. Raises SettingError for a wrong port or number."""
    return SamvReader(settings)


def _checked_sam_id(printed: str) -> str:
    try:
        return printed if not printed or same_sam(printed, printed) else ""
    except ValueError as error:
        raise SettingError("sam_id", str(error)) from None
