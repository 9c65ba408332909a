"""A simulated card for vpcd, the virtual PC/SC reader of vsmartcard, and a pcscd of one's own that has such a reader.

vpcd listens on TCP for each of its two slots; a card connects to it. Each message is two bytes of length, high byte
first, and as many bytes. One byte is a command of the reader: 0 power off, 1 power on, 2 reset, 4 tell the ATR, which
alone is answered. All else is an APDU, answered by an APDU. A card that hangs up was taken away.

pcscd takes the socket that it is handed as systemd hands it (sd_listen_fds): so it runs beside the system's, anywhere.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from drivers.readers.pcsc.codec import COMMANDS, Read
from drivers.simulated.cards import card_text, made_up_number

READER = "Virtual PCD 00 00"  # the first slot
SOCKET = "pcscd.comm"  # the own pcscd's, in its folder
_PCSCD = shutil.which("pcscd", path=os.defpath + ":/usr/sbin:/usr/local/sbin")
_VPCD = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so"
_RUN = "/run/pcscd"
_ATR_COMMAND = b"\4"
# A contactless storage card as PC/SC part 3, 3.1.3.2.3.2 makes it up: MIFARE Classic 1K.
ATR = bytes.fromhex("3B8F8001804F0CA000000306030001000000006A")
GOOD = b"\x90\x00"
END_S = 2.0  # pcscd ends at once when told to


@dataclass(slots=True)
class CardKnobs:
    """How a card misbehaves; the defaults are a good card."""

    pulled_early: bool = False  # away in the middle of a command
    status: bytes = GOOD
    cut_bytes: int = 0
    answer_s: float = 0.0
    sizes: bytes = bytes.fromhex("01000400")  # text and photo, as a SAM_V reader's 30 01 begins


class VirtualCard:
    """What is laid on the reader at `host`:`port` of vpcd."""

    def __init__(self, port: int, host: str = "127.0.0.1", knobs: CardKnobs | None = None) -> None:
        self.knobs = knobs or CardKnobs()
        self.asked = 0  # commands
        self._address = host, port
        self._task: asyncio.Task[None] | None = None

    async def present(self, text: bytes = b"", uid: bytes = b"") -> None:
        """Lay a card down. Raises OSError when nobody listens."""
        await self.remove()
        reader, writer = await asyncio.open_connection(*self._address)
        answers = {COMMANDS[Read.ID_CARD]: self.knobs.sizes + text if text else b"", COMMANDS[Read.UID]: uid}
        self._task = asyncio.create_task(self._lie(reader, writer, answers))

    async def remove(self) -> None:
        """Take it away."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._task = None

    async def _lie(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: Mapping[bytes, bytes]
    ) -> None:
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):  # the reader is gone
                while True:
                    message = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
                    if len(message) > 1 and self.knobs.pulled_early:
                        return
                    if answer := ATR if message == _ATR_COMMAND else await self._answer(message, answers):
                        writer.write(len(answer).to_bytes(2, "big") + answer)
        finally:
            writer.transport.abort()

    async def _answer(self, message: bytes, answers: Mapping[bytes, bytes]) -> bytes:
        if len(message) <= 1:
            return b""
        self.asked += 1
        await asyncio.sleep(self.knobs.answer_s)
        if self.knobs.status != GOOD:
            return self.knobs.status
        data = answers.get(message, b"")
        return data[: len(data) - self.knobs.cut_bytes] + GOOD if data else bytes.fromhex("6A81")


def lacks() -> str:
    """What this machine needs for a pcscd of one's own and has not; "" when it has all."""
    wanted = {"pcscd": bool(_PCSCD), "vsmartcard-vpcd": os.path.exists(_VPCD)}
    missing = " ".join(package for package, is_there in wanted.items() if not is_there)
    if missing:
        return f"{missing}: sudo apt install {missing}"
    if os.geteuid() != 0 and not os.path.isdir(_RUN):
        return f"{_RUN}, which pcscd makes for root only: sudo mkdir {_RUN}"
    try:
        import smartcard  # noqa: F401 - whether it is there
    except ImportError:
        return "pyscard: pip install 'station-smart-gate[pcsc]'"
    return ""


class OwnPcscd:
    """A pcscd in `folder` with vpcd on two free TCP ports; a program finds it by PCSCLITE_CSOCK_NAME = `socket`."""

    def __init__(self, folder: Path) -> None:
        self.socket = str(folder.absolute() / SOCKET)
        self.process: asyncio.subprocess.Process | None = None
        self.vpcd_port = _two_free_ports()
        self._folder = folder.absolute()

    async def start(self) -> None:
        """Run it. Raises ValueError when it is not installed."""
        if missing := lacks():
            raise ValueError(f"a PC/SC service of one's own needs {missing}")
        configuration = self._write_configuration()
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.socket)
            listening.listen()
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", _HAND_OVER, str(listening.fileno()), str(_PCSCD)),
                *("--foreground", "-c", str(configuration), *await _without_polkit()),
                pass_fds=[listening.fileno()],
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )

    def _write_configuration(self) -> Path:
        configuration = self._folder / "reader.conf.d"
        configuration.mkdir(parents=True, exist_ok=True)
        (configuration / "vpcd").write_text(
            f'FRIENDLYNAME "Virtual PCD"\nDEVICENAME /dev/null:0x{self.vpcd_port:X}\n'
            f"LIBPATH {_VPCD}\nCHANNELID 0x{self.vpcd_port:X}\n"
        )
        self._forget_socket()
        return configuration

    def _forget_socket(self) -> None:
        Path(self.socket).unlink(missing_ok=True)

    async def stop(self) -> None:
        """End it as its own signal does, or kill it."""
        self._forget_socket()
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            async with asyncio.timeout(END_S):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def _without_polkit() -> list[str]:
    """The option of pcscd 2: whoever started it may use it. Older ones have neither polkit nor the option."""
    pipe = asyncio.subprocess.PIPE
    asked = await asyncio.create_subprocess_exec(str(_PCSCD), "--help", stdout=pipe, stderr=pipe)
    said, _ = await asked.communicate()
    return [option for option in ("--disable-polkit",) if option.encode() in said]


# A process id must be told to pcscd and is known only to itself. PR_SET_PDEATHSIG: it ends with whoever started it.
_HAND_OVER = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 15);"
    "fd = int(sys.argv[1]); os.dup2(fd, 3); os.set_inheritable(3, True);"
    "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); os.execv(sys.argv[2], sys.argv[2:])"
)


def _two_free_ports() -> int:
    """A port that is free, and the next one."""
    for _ in range(100):
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                second.bind(("127.0.0.1", port + 1))
                return port
    raise OSError("no two neighbouring TCP ports are free")


@asynccontextmanager
async def _vpcd(port: str) -> AsyncIterator[tuple[str, int]]:
    """Where vpcd listens for the port `pcsc:FOLDER` or `tcp:HOST:PORT`."""
    kind, _, rest = port.partition(":")
    host, _, number = rest.rpartition(":")
    if kind == "tcp" and host and number.isdigit():
        yield host, int(number)
    elif kind == "pcsc" and rest:
        own = OwnPcscd(Path(rest))
        try:
            await own.start()
            print(f"PC/SC service: PCSCLITE_CSOCK_NAME={own.socket}", flush=True)
            yield "127.0.0.1", own.vpcd_port
        finally:
            await own.stop()
    else:
        raise ValueError(f"{port!r} is not pcsc:FOLDER or tcp:HOST:PORT")


async def simulate(port: str, options: Mapping[str, str]) -> None:
    """`gate devices simulate pcsc`: a made-up card for a second, every `every_s` seconds, until cancelled.

    `tcp:HOST:PORT` is where the vpcd of the system's pcscd listens (127.0.0.1:35963); `pcsc:FOLDER` starts one's own.
    """
    every_s = float(options.get("every_s", "5"))
    knobs = CardKnobs(
        pulled_early=options.get("pulled_early") == "true",
        status=bytes.fromhex(options.get("status", "9000")),
        cut_bytes=int(options.get("cut_bytes", "0")),
        answer_s=int(options.get("answer_ms", "0")) / 1000,
    )
    async with _vpcd(port) as (host, number):
        card = VirtualCard(number, host, knobs)
        print(f"pcsc on pcsc:{READER}", flush=True)
        try:
            await _come_and_go(card, every_s, options.get("rests") == "true")
        finally:
            await card.remove()


async def _come_and_go(card: VirtualCard, every_s: float, rests: bool) -> None:
    count = 0
    while True:
        await asyncio.sleep(every_s)
        count += 1
        text = card_text(" ", name="测试", number=made_up_number(count), valid_from="20200101", valid_until="长期")
        with contextlib.suppress(OSError):  # pcscd is still starting, or gone: the next card may be read
            await card.present(text, bytes.fromhex("04") + count.to_bytes(6, "big"))
        await asyncio.sleep(1.0)
        if rests:
            await asyncio.Event().wait()
        await card.remove()
