"""The PC/SC process: `python -m drivers.readers.pcsc.worker`. Looks at all PC/SC readers, away from the lanes."""

import threading
import time
from typing import Any

from drivers.contract import DeviceFault, ReadProblem
from drivers.readers.pcsc.codec import (
    ANSWER_BYTES_MAX,
    COMMANDS,
    EXCLUSIVE,
    PRESENT,
    Kind,
    PcscSettings,
    Read,
    ReaderError,
    choose_reader,
    encode_answer,
    serial_number,
)
from drivers.readers.pcsc.service import UNAWARE, CardError, Service, load_library
from drivers.worker.child import CannotStartError, Condition, Voice, serve

REOPEN_S = (0.1, 0.3, 0.5)  # at most 0.5 s, so that a lane is back within 2 s of pcscd or its reader
# Reading takes a second at most; a reader's driver gives up on a card after a few. libpcsclite itself waits for ever.
STALLED_S = 5.0
_STALLED = DeviceFault.NO_ANSWER, f"pcscd or the reader hangs for {STALLED_S:.0f} s: unplug the reader, restart pcscd"
TRIES = 3  # of a card that is being put down, or pulled
AGAIN_S = 0.3  # devices.md 6: after a failed read

_claimed: "dict[str, Reader]" = {}  # by reader's name
_claiming = threading.Lock()


class Reader:
    """One reader: a thread that looks at it and reads each card that comes."""

    def __init__(self, number: int, settings: PcscSettings, voice: Voice, library: Any) -> None:
        self.stopped = False
        self._number = number
        self._wanted = settings.reader
        self._command = COMMANDS[Read(settings.read)]
        self._voice = voice
        self._library = library
        self._condition = Condition(number, voice, STALLED_S, _STALLED)
        self._looked = False

    def start(self) -> None:
        """Start its thread; a daemon, for pcscd may hold it for ever."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Say no more, and end at the next look."""
        self.stopped = True

    def check(self) -> None:
        """Once a beat: say that it hangs, or that it works."""
        self._condition.check()
        looked, self._looked = self._looked, False
        if looked:
            self._say(Kind.WELL)

    def _say(self, kind: Kind, body: bytes = b"") -> None:
        if not self.stopped:
            self._voice.say(kind, self._number, body)

    def _run(self) -> None:
        attempt = refused = 0
        while not self.stopped:
            try:
                with Service(self._library) as service:
                    name = choose_reader(service.readers(), self._wanted)
                    self._claim(name)
                    attempt = refused = 0
                    self._watch(service, name)
            except ReaderError as error:
                refused = refused + 1 if error.fault is DeviceFault.PORT_DENIED else 0
                # pcscd that dies while it is asked looks like one that refuses; that one does so again.
                if not self.stopped and refused != 1:
                    self._condition.down(error.fault, str(error))
            finally:
                self._release()
            time.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
            attempt += 1

    def _claim(self, name: str) -> None:
        with _claiming:
            holder = _claimed.get(name)
            if holder and not holder.stopped:
                raise ReaderError(DeviceFault.PORT_BUSY, f"{name} is another device of this station: name one of each")
            _claimed[name] = self

    def _release(self) -> None:
        with _claiming:
            for name in [name for name, holder in _claimed.items() if holder is self]:
                del _claimed[name]

    def _watch(self, service: Service, name: str) -> None:
        """Look at the reader until it is lost. A card is read once when it comes, also if it was there before us."""
        known, before, due = UNAWARE, UNAWARE, False
        while not self.stopped:
            known = service.state(name, known)
            if self.stopped:
                return
            self._tell(name, known)
            if known != before:
                due = self._changed(before, known, due)
                before = known
            if due and not known & EXCLUSIVE:
                due = False
                self._read(service, name)

    def _tell(self, name: str, state: int) -> None:
        if state & EXCLUSIVE:
            self._condition.down(DeviceFault.PORT_BUSY, f"another program holds {name} for itself: end it")
            return
        self._condition.up(f"{serial_number(name)}\n{name}")
        self._looked = True

    def _changed(self, before: int, known: int, due: bool) -> bool:
        """Whether a card is to be read."""
        first, changes = before == UNAWARE, (known >> 16) - (before >> 16)
        if known & PRESENT:
            return due or first or changes != 0  # no change: another program began or ended using the same card
        if not first and not before & PRESENT and changes > 1:  # it came and went between two looks
            self._say(Kind.UNREAD, ReadProblem.CARD_REMOVED.encode())
        self._say(Kind.LEFT)
        return False

    def _read(self, service: Service, name: str) -> None:
        for _ in range(TRIES):
            try:
                took_s, answer = service.ask(name, self._command)
            except CardError as error:
                problem = error.problem  # not to be trusted alone: one was seen to be removed that lay there
                time.sleep(AGAIN_S)
                if not service.state(name, UNAWARE) & PRESENT:
                    problem = ReadProblem.CARD_REMOVED
                    break
            else:
                self._say(Kind.ANSWER, encode_answer(took_s, answer[-ANSWER_BYTES_MAX - 1 :]))  # too long stays so
                return
        self._say(Kind.UNREAD, problem.encode())


def make(number: int, settings: PcscSettings, voice: Voice) -> Reader:
    """A reader. Raises CannotStartError when a library is missing."""
    try:
        return Reader(number, settings, voice, load_library())
    except ReaderError as error:
        raise CannotStartError(error.fault, str(error)) from error


if __name__ == "__main__":
    serve(make, PcscSettings)
