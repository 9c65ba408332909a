"""A PC/SC reader at work, the controller's side: the PC/SC process looks at it; each presented card is said once."""

import asyncio
import hashlib
import secrets
from collections.abc import Mapping

from drivers.contract import DeviceFault, DeviceReport, Down, ReadProblem, ReportSink, Unread, Up
from drivers.readers.pcsc.codec import Kind, PcscSettings, Read, card_report, decode_answer, wanted_reader
from drivers.readers.pcsc.process import shared_process
from drivers.registry import SettingError, SettingValue
from drivers.vitals import VitalSigns
from drivers.worker.codec import Message, Order, encode_order


class PcscReader:
    """One reader; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        self.settings = PcscSettings(wanted_reader(str(settings["port"])), str(settings["read"]))
        self._read = Read(self.settings.read)
        self._chip_reversed = bool(settings["chip_reversed"])
        self._same_card_s = float(settings["same_card_s"])
        self._report: ReportSink = lambda report: None
        self._vitals = VitalSigns()
        self._key = secrets.token_bytes(16)
        self._mark = b""  # keyed hash of the last card's answer
        self._rests = False  # that card has not left, as far as is known; a restart of pcscd hides it for a while
        self._left_s = float("-inf")
        self._up = False
        self._said: DeviceFault | None = None

    async def run(self, report: ReportSink) -> None:
        """Work until cancelled."""
        self._report, self._up, self._said = report, False, None
        await shared_process().serve(self)

    def hear(self, message: Message) -> None:
        """The PC/SC process said something about this reader. Raises ValueError when it is no such thing."""
        now_s = asyncio.get_running_loop().time()
        match message.kind:
            case Kind.ANSWER:
                took_s, answer = decode_answer(message.body)
                self._vitals.good(took_s)
                self._presented(answer, now_s)
            case Kind.UNREAD:
                self._report(Unread(ReadProblem(message.body.decode("ascii"))))
            case Kind.LEFT:
                self._left(now_s)
            case Kind.WELL:
                self._vitals.good()
                self._vitals.tell(self._report, now_s)
            case Kind.UP:
                self._said, self._up = None, True
                identity, _, detail = message.body.decode("utf-8", "replace").partition("\n")
                self._report(Up(detail, identity))
            case Kind.DOWN:
                fault, _, detail = message.body.decode("utf-8", "replace").partition(":")
                self._down(DeviceFault(fault), detail)

    def lost(self, why: str) -> None:
        """The PC/SC process is gone and will be started again."""
        self._down(DeviceFault.WORKER_LOST, why)

    def _presented(self, answer: bytes, now_s: float) -> None:
        said: DeviceReport = card_report(self._read, answer, self._chip_reversed)
        if isinstance(said, Unread):
            self._report(said)
            return
        mark = hashlib.blake2b(answer, key=self._key, digest_size=16).digest()
        same = mark == self._mark and (self._rests or now_s - self._left_s < self._same_card_s)
        self._mark, self._rests = mark, True
        if not same:
            self._report(said)

    def _left(self, now_s: float) -> None:
        if self._rests:
            self._left_s = now_s
        self._rests = False

    def _down(self, fault: DeviceFault, detail: str) -> None:
        if self._up or self._said is not fault:
            self._report(Down(fault, detail))
        self._up, self._said = False, fault


def create(settings: Mapping[str, SettingValue]) -> PcscReader:
    """A reader with checked settings; opens nothing yet. Raises SettingError for a port that is no reader's name."""
    try:
        reader = PcscReader(settings)
        encode_order(Order(0, reader.settings))
    except ValueError as error:
        raise SettingError("port", str(error)) from None
    return reader
