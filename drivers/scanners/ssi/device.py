"""A Zebra scanner at work: set up, enabled, every decode acknowledged and said once, and found again after a loss."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping

from drivers.contract import CodeReport, DeviceFault, ReadProblem, ReportSink, Unread
from drivers.registry import SettingError, SettingValue
from drivers.reopening import DeviceError, Reopening
from drivers.scanners.same_code import SameCode
from drivers.scanners.ssi.codec import RETRANSMIT, WAKE, Broken, Cause, Codes, Layout, Opcode, Packet, Packets, encode
from drivers.transport import ByteLink, PortError, open_link, port_setting

TRIES = 3  # SE955 guide: "the host should limit the number of retries"; the scanner's own limit is the same
SILENCE_S = 0.2  # DS9908 guide, Host Character Timeout: longer between two bytes, and the packet is dead
CONTINUED_S = 6.0  # three sendings of the next part with 2 s between them; after that the code is lost
WAKE_S = 0.01  # a decoder that slept needs so long before it listens (public driver of an SSI engine)
CHECK_EVERY_S = 30.0  # as often as an idle SAM_V reader is asked
LAST_WORD_S = 0.05  # for the last packets to go out before closing destroys them; 14 bytes take 15 ms at 9600 Bd
NO_BEEP = 0xFF
# Parameters and values (DS9908 guide): sent as a temporary change, so that no flash is worn and power-off undoes them.
PACKETED, HANDSHAKE, TRIGGER_HOST = bytes([0xEE, 1]), bytes([0x9F, 1]), bytes([0x8A, 8])
_HINT = "set the scanner to SSI host, packeted decode data and ACK/NAK by the bar codes of its manual"


class SsiScanner(Reopening):
    """One scanner; settings as `driver.toml` declares them."""

    def __init__(self, settings: Mapping[str, SettingValue]) -> None:
        super().__init__()
        self._port = port_setting(settings)
        self._baud = int(settings["baud"])
        self._answer_s = float(settings["timeout_ms"]) / 1000
        self._host_trigger = settings["trigger"] == "host"
        self._trigger_every_s = float(settings["trigger_every_s"])
        self._set_up = bool(settings["set_up"])
        layout = Layout(_suffix(settings), bool(settings["aim"]), str(settings["encoding"]))
        self._codes = Codes(layout, secrets.token_bytes(16))  # outlives the port: what is sent again may come after it
        self._same = SameCode(float(settings["same_code_s"]))
        self._packets = Packets()
        self._naks = 0
        self._code_s = 0.0  # when a decode packet came last
        self._session_s = float("-inf")  # when the last session was started; a code ends it
        self._heard = False  # anything at all since the last command

    async def open(self) -> ByteLink:
        """Open the port."""
        return await open_link(self._port, self._baud)

    async def serve(self, link: ByteLink, report: ReportSink) -> None:
        """Set up, then listen until the port is lost or the scanner stops answering."""
        now = asyncio.get_running_loop().time
        self._packets, self._naks = Packets(), 0
        self._codes.drop()
        self.say_up(report, await self._begin(link, report))
        checked_s = now()
        while True:
            await self._trigger(link, report)
            await self._listen(link, report, self._wait_s())
            self.vitals.tell(report, now())
            if now() - checked_s >= CHECK_EVERY_S:
                await self._ask(link, report, Opcode.REQUEST_REVISION)
                checked_s = now()

    async def leave(self, link: ByteLink) -> None:
        """Codes that nobody hears must not be beeped as read: no scanning while nobody listens."""
        if self.is_up:
            stop = encode(Opcode.STOP_SESSION) if self._host_trigger else b""
            with contextlib.suppress(PortError):  # when it is gone, nothing is left to switch off
                await link.write(stop + encode(Opcode.SCAN_DISABLE))
                await asyncio.sleep(LAST_WORD_S)
        link.close()

    async def _begin(self, link: ByteLink, report: ReportSink) -> str:
        """Wake, ask who it is, set up, enable; what it is."""
        await link.write(WAKE)
        await asyncio.sleep(WAKE_S)
        revision = await self._ask(link, report, Opcode.REQUEST_REVISION)
        if self._set_up:
            wanted = PACKETED + HANDSHAKE + (TRIGGER_HOST if self._host_trigger else b"")
            await self._order(link, report, Opcode.PARAM_SEND, bytes([NO_BEEP]) + wanted)
        await self._order(link, report, Opcode.SCAN_ENABLE)
        self._session_s = float("-inf")
        if revision.opcode != Opcode.REPLY_REVISION:
            return "revision not told"
        return "".join(c for c in revision.data.decode("ascii", "replace") if c.isascii() and c.isprintable())[:64]

    async def _trigger(self, link: ByteLink, report: ReportSink) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._host_trigger and now_s - self._session_s >= self._trigger_every_s:
            self._session_s = now_s
            await self._order(link, report, Opcode.START_SESSION)

    def _wait_s(self) -> float:
        if self._packets.partial:
            return SILENCE_S
        wait_s = CONTINUED_S if self._codes.partial else CHECK_EVERY_S
        return min(wait_s, self._trigger_every_s) if self._host_trigger else wait_s

    async def _order(self, link: ByteLink, report: ReportSink, opcode: Opcode, data: bytes = b"") -> None:
        """A command that must be acknowledged. Raises DeviceError when it is refused."""
        answer = await self._ask(link, report, opcode, data)
        if answer.opcode == Opcode.NAK:
            raise DeviceError(DeviceFault.PROTOCOL_ERROR, f"refuses {opcode.name}: {_HINT}")

    async def _ask(self, link: ByteLink, report: ReportSink, opcode: Opcode, data: bytes = b"") -> Packet:
        """The answer to a command, sent as often as allowed. Raises DeviceError when there is none."""
        now, self._heard = asyncio.get_running_loop().time, False
        for again in range(TRIES):
            asked_s = now()
            await link.write(encode(opcode, data, RETRANSMIT if again else 0))
            answer = await self._answer(link, report, opcode)
            if answer and not (answer.opcode == Opcode.NAK and answer.data[:1] == bytes([Cause.RESEND])):
                self.vitals.good(now() - asked_s)
                return answer
            self.vitals.failed(DeviceFault.PROTOCOL_ERROR if self._heard else DeviceFault.NO_ANSWER)
        if self._heard:
            raise DeviceError(DeviceFault.PROTOCOL_ERROR, f"answers, but not as SSI: {_HINT}")
        raise DeviceError(DeviceFault.NO_ANSWER, f"no answer to {TRIES} commands: check cable, power and speed")

    async def _answer(self, link: ByteLink, report: ReportSink, asked: Opcode) -> Packet | None:
        """What answers `asked` within the time-out; codes that come in between are said."""
        good = Opcode.REPLY_REVISION if asked is Opcode.REQUEST_REVISION else Opcode.ACK
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._answer_s
        while (left_s := ends_s - loop.time()) > 0:
            wait_s = min(left_s, SILENCE_S) if self._packets.partial else left_s
            for packet in await self._listen(link, report, wait_s):
                if packet.opcode in (good, Opcode.NAK):
                    return packet
        return None

    async def _listen(self, link: ByteLink, report: ReportSink, wait_s: float) -> list[Packet]:
        """One read: codes are said and acknowledged; other packets are given back."""
        data = await link.read(wait_s)
        self._heard = self._heard or bool(data)
        others = []
        broken = False
        for found in self._packets.feed(data) if data else self._packets.silence():
            if isinstance(found, Broken):
                broken = True
            elif found.opcode in (Opcode.DECODE, Opcode.EVENT):
                await self._take(found, link, report)
                broken = False
            else:
                others.append(found)
        if broken:
            await self._refuse(link, report)
        self._give_up_late(report)
        return others

    async def _take(self, packet: Packet, link: ByteLink, report: ReportSink) -> None:
        self._naks = 0
        if packet.opcode == Opcode.DECODE:
            now_s = self._code_s = asyncio.get_running_loop().time()
            if (said := self._codes.take(packet, now_s)) is not None:
                self._session_s = float("-inf")  # a session ends with its code
                self._say(said, report)
        await link.write(encode(Opcode.ACK))  # last: if this fails it is sent again, and known again

    async def _refuse(self, link: ByteLink, report: ReportSink) -> None:
        """A garbled decode: asked for again as often as a scanner sends it again, then the passenger is told."""
        self._naks += 1
        self.vitals.failed(DeviceFault.PROTOCOL_ERROR)
        if self._naks < TRIES:
            await link.write(encode(Opcode.NAK, bytes([Cause.RESEND])))
        else:
            self._naks = 0
            self._say(Unread(ReadProblem.CODE_UNREADABLE), report)

    def _give_up_late(self, report: ReportSink) -> None:
        late = asyncio.get_running_loop().time() - self._code_s >= CONTINUED_S
        if self._codes.partial and late and (lost := self._codes.drop()):
            self._say(lost, report)

    def _say(self, said: CodeReport | Unread, report: ReportSink) -> None:
        if not self.is_up:
            return  # scanned before anybody listened: that passenger may be gone
        mark = said.payload if isinstance(said, CodeReport) else said.problem.encode()
        if self._same.is_new(mark, asyncio.get_running_loop().time()):
            report(said)
        else:
            self.vitals.good()  # a code held on is not said again, and yet the scanner is well


def create(settings: Mapping[str, SettingValue]) -> SsiScanner:
    """A scanner with checked settings; opens nothing yet. Raises SettingError for a wrong port or suffix."""
    return SsiScanner(settings)


def _suffix(settings: Mapping[str, SettingValue]) -> bytes:
    try:
        return str(settings["suffix"]).encode("ascii")
    except UnicodeEncodeError:
        raise SettingError("suffix", f"{settings['suffix']!r} is not ASCII") from None
