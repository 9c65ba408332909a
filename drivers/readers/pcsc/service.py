"""pcscd as pyscard's plain functions reach it. Only for the PC/SC process and for probing.

Its monitors are not used: they end when pcscd restarts, miss removals with two readers and a card that is there at the
start (devices.md 4.4). Here each reader has a context of its own, asked again and again with a limit.
"""

import ctypes
import importlib
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from drivers.contract import DeviceFault, ReadProblem
from drivers.readers.pcsc.codec import ABSENT_READER, CHANGED, Code, ReaderError, card_problem, reader_error

WAIT_MS = 250  # how long a look at the reader waits for a change; pcscd says of a change at once
UNAWARE = 0  # SCARD_STATE_UNAWARE: tell how it is, whatever was known
_WANTED = (
    "PC/SC readers need pyscard: sudo apt install gcc python3-dev swig libpcsclite-dev, then"
    " pip install 'station-smart-gate[pcsc]'"
)


class CardError(Exception):
    """The card did not answer; `problem` is why."""

    def __init__(self, problem: ReadProblem) -> None:
        super().__init__(str(problem))
        self.problem = problem


def load_library() -> Any:
    """pyscard's C interface. Raises ReaderError when it or libpcsclite is not installed."""
    try:
        library = importlib.import_module("smartcard.scard")
    except ImportError as error:
        raise ReaderError(DeviceFault.LIBRARY_MISSING, _WANTED) from error
    try:
        ctypes.CDLL("libpcsclite.so.1")  # pyscard loads it at the first call and crashes where it is missing
    except OSError as error:
        text = "libpcsclite.so.1 is missing: sudo apt install pcscd libpcsclite1"
        raise ReaderError(DeviceFault.LIBRARY_MISSING, text) from error
    return library


class Service:
    """One context with pcscd; every call raises ReaderError when pcscd or the reader is the trouble."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._context: Any = None

    def __enter__(self) -> Self:
        code, context = self._library.SCardEstablishContext(self._library.SCARD_SCOPE_SYSTEM)
        _check(code)
        self._context = context
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._library.SCardReleaseContext(self._context)

    def readers(self) -> Sequence[str]:
        """The names of all readers."""
        code, names = self._library.SCardListReaders(self._context, [])
        if _plain(code) == Code.NO_READERS:
            return ()
        _check(code)
        return tuple(names)

    def state(self, name: str, known: int) -> int:
        """The reader's state when it is no longer the `known` one, at the latest after `WAIT_MS`."""
        look = self._library.SCardGetStatusChange
        code, states = look(self._context, WAIT_MS, [(name, known)])
        if _plain(code) == Code.TIMEOUT:  # not every change is told: that another program took the card was not
            code, states = look(self._context, 0, [(name, UNAWARE)])
        _check(code, name)
        state = int(states[0][1])
        if state & ABSENT_READER:
            raise reader_error(Code.READER_UNAVAILABLE, name)
        return state & ~CHANGED

    def ask(self, name: str, command: bytes) -> tuple[float, bytes]:
        """How long the card's answer took, and the answer. Raises CardError, ReaderError."""
        library = self._library
        protocols = library.SCARD_PROTOCOL_T0 | library.SCARD_PROTOCOL_T1
        code, card, protocol = library.SCardConnect(self._context, name, library.SCARD_SHARE_SHARED, protocols)
        _check_card(code, name)
        try:
            header = library.SCARD_PCI_T0 if protocol == library.SCARD_PROTOCOL_T0 else library.SCARD_PCI_T1
            asked_s = time.monotonic()
            code, answer = library.SCardTransmit(card, header, list(command))
            took_s = time.monotonic() - asked_s
            _check_card(code, name)
            if len(answer) < 2:  # not even a status: vpcd's way to say that the card is gone
                raise CardError(ReadProblem.CARD_UNREADABLE)
            return took_s, bytes(answer)
        finally:
            library.SCardDisconnect(card, library.SCARD_LEAVE_CARD)


def _plain(code: int) -> int:
    return code & 0xFFFFFFFF  # a C long, which is signed on some machines


def _check(code: int, name: str = "") -> None:
    if _plain(code):
        raise reader_error(_plain(code), name)


def _check_card(code: int, name: str) -> None:
    if not _plain(code):
        return
    if problem := card_problem(_plain(code)):
        raise CardError(problem)
    raise reader_error(_plain(code), name)
