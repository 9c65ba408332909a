"""A worker process from the inside: it takes orders on stdin, says messages on stdout (codec.py) and nothing else.

A crash in a native library ends this process and no lane; it is niced, so that lanes come first. It ends when stdin
closes: its controller is gone.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Generic, Protocol, TypeVar

from drivers.contract import DeviceFault
from drivers.worker.codec import (
    BEAT,
    DOWN,
    ORDER_BYTES_MAX,
    UP,
    BrokenStreamError,
    Message,
    Order,
    decode_order,
    encode,
)

NICENESS = 10
BEAT_S = 1.0
FAILED_STATUS = 70  # EX_SOFTWARE of sysexits.h
S = TypeVar("S")


class Voice:
    """Writes messages of all threads, one at a time."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def say(self, kind: int, device: int = 0, body: bytes = b"") -> None:
        """Say one thing; the process ends when nobody listens."""
        with self._lock:
            try:
                self._out.write(encode(Message(kind, device, body)))
                self._out.flush()
            except OSError:
                os._exit(0)


class Condition:
    """Whether a device works, said once a change; `stalled` is what to say when it gave nothing for so many seconds."""

    def __init__(self, device: int, voice: Voice, stalled_s: float, stalled: tuple[DeviceFault, str]) -> None:
        self._device = device
        self._voice = voice
        self._stalled_s, self._stalled = stalled_s, stalled
        self._lock = threading.Lock()  # the device's own thread and the watching one both say how it is
        self._said = b""
        self._fed_s = time.monotonic()

    def up(self, detail: str) -> None:
        """It works."""
        self._fed_s = time.monotonic()
        self._say(UP, detail.encode())

    def down(self, fault: DeviceFault, detail: str) -> None:
        """It does not."""
        self._fed_s = time.monotonic()
        self._say(DOWN, f"{fault}:{detail}".encode())

    def check(self) -> None:
        """Say that it stalled, when it did."""
        if time.monotonic() - self._fed_s > self._stalled_s and self._said[:1] != bytes([DOWN]):
            self._say(DOWN, ":".join(self._stalled).encode())

    def _say(self, kind: int, body: bytes) -> None:
        with self._lock:
            said = bytes([kind]) + body
            if said != self._said:
                self._said = said
                self._voice.say(kind, self._device, body)


class CannotStartError(Exception):
    """A device that cannot be started in this process: its library is missing."""

    def __init__(self, fault: DeviceFault, text: str) -> None:
        super().__init__(text)
        self.fault = fault


class Inner(Protocol):
    """A device in this process, with threads of its own."""

    def start(self) -> None:
        """Start them; daemons, for a dead device may hold one for ever."""

    def stop(self) -> None:
        """Say no more, and end as soon as it can."""

    def check(self) -> None:
        """Once a beat: say that it stalled, when it did, and what has been counted."""


Make = Callable[[int, S, Voice], Inner]  # raises CannotStartError


class Worker(Generic[S]):
    """All devices of this process by their number."""

    def __init__(self, voice: Voice, make: Make[S]) -> None:
        self._voice = voice
        self._make = make
        self._devices: dict[int, Inner] = {}

    def obey(self, order: Order[S]) -> None:
        """Start or stop a device."""
        if device := self._devices.pop(order.device, None):
            device.stop()
        if order.settings is None:
            return
        try:
            device = self._make(order.device, order.settings, self._voice)
        except CannotStartError as error:
            self._voice.say(DOWN, order.device, f"{error.fault}:{error}".encode())
            return
        self._devices[order.device] = device
        device.start()

    def beat(self) -> None:
        """Say that this process lives, and look after its devices, for ever."""
        while True:
            self._voice.say(BEAT)
            for device in list(self._devices.values()):
                device.check()
            time.sleep(BEAT_S)

    def fail(self, error: type[BaseException], traceback: TracebackType | None) -> None:
        """An error of ours: say its type and place, never its text, and end. The controller starts us again."""
        while traceback and traceback.tb_next:
            traceback = traceback.tb_next
        place = f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}" if traceback else "?"
        for number in list(self._devices):
            self._voice.say(DOWN, number, f"{DeviceFault.WORKER_LOST}:{error.__name__} at {place}".encode())
        os._exit(FAILED_STATUS)


def serve(make: Make[S], settings_type: type[S], prepare: Callable[[], None] = lambda: None) -> None:
    """Run until stdin closes; `prepare` loads libraries."""
    os.nice(NICENESS)
    # Native libraries print where they like; only messages of ours may go to the controller.
    voice = Voice(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    prepare()
    worker = Worker(voice, make)
    threading.excepthook = lambda failed: worker.fail(failed.exc_type, failed.exc_traceback)
    threading.Thread(target=worker.beat, daemon=True).start()
    try:
        while line := sys.stdin.buffer.readline(ORDER_BYTES_MAX):
            worker.obey(decode_order(line, settings_type))
    except BrokenStreamError:
        os._exit(FAILED_STATUS)
    except Exception as error:
        worker.fail(type(error), error.__traceback__)
    os._exit(0)  # native threads may hang in a dead device
