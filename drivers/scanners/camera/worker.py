"""The camera process: `python -m drivers.scanners.camera.worker`. All cameras of a controller, away from its lanes.

A crash in OpenCV or a decoder ends this process and no lane; it is niced, so that lanes come first. Orders come on
stdin, messages go to stdout (codec.py), nothing else is written anywhere. It ends when stdin closes: its controller is
gone.
"""

import os
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

from drivers.contract import DeviceFault
from drivers.scanners.camera.codec import (
    ORDER_BYTES_MAX,
    PAYLOAD_BYTES_MAX,
    BrokenStreamError,
    CameraSettings,
    FrameCounts,
    Kind,
    Message,
    Order,
    decode_order,
    encode,
    encode_counts,
)
from drivers.scanners.same_code import SameCode

if TYPE_CHECKING:
    from drivers.scanners.camera.frames import Source

NICENESS = 10
BEAT_S = 1.0
STALLED_S = 10.0  # a camera that gives no frame for so long is down, even if its driver hangs and says nothing
REOPEN_S = (0.2, 0.5)  # at most 0.5 s, so that a lane is back within 2 s of its camera
FAILED_STATUS = 70  # EX_SOFTWARE of sysexits.h


class Voice:
    """Writes messages of all threads, one at a time."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def say(self, kind: Kind, camera: int = 0, body: bytes = b"") -> None:
        """Say one thing; the process ends when nobody listens."""
        with self._lock:
            try:
                self._out.write(encode(Message(kind, camera, body)))
                self._out.flush()
            except OSError:
                os._exit(0)


class Condition:
    """Whether a camera works, said once a change."""

    def __init__(self, camera: int, voice: Voice) -> None:
        self._camera = camera
        self._voice = voice
        self._lock = threading.Lock()  # the camera's own thread and the watching one both say how it is
        self._said = b""
        self._fed_s = time.monotonic()
        self._fed = False  # since `gave_frames` was last asked

    def up(self, detail: str) -> None:
        """It gives frames."""
        self._fed_s, self._fed = time.monotonic(), True
        self._say(Kind.UP, detail.encode())

    def down(self, fault: DeviceFault, detail: str) -> None:
        """It gives none."""
        self._say(Kind.DOWN, f"{fault}:{detail}".encode())

    def check(self) -> None:
        """Say that it stalled, when it did."""
        if time.monotonic() - self._fed_s > STALLED_S and self._said[:1] == bytes([Kind.UP]):
            self.down(DeviceFault.SOURCE_UNREADABLE, f"no frame for {STALLED_S:.0f} s: check camera and network")

    def gave_frames(self) -> bool:
        """Whether it gave any since this was last asked."""
        fed, self._fed = self._fed, False
        return fed

    def _say(self, kind: Kind, body: bytes) -> None:
        with self._lock:
            said = bytes([kind]) + body
            if said != self._said:
                self._said = said
                self._voice.say(kind, self._camera, body)


class Camera:
    """One camera: a thread that grabs, a thread that decodes."""

    def __init__(self, number: int, settings: CameraSettings, voice: Voice) -> None:
        # Imported here so that a missing library is one camera's fault and not the end of the process.
        from drivers.scanners.camera.decode import Decoder
        from drivers.scanners.camera.frames import FrameQueue, open_source

        self.condition = Condition(number, voice)
        self._number = number
        self._voice = voice
        self._source: Source = open_source(settings)
        self._frames = FrameQueue()
        self._decoder = Decoder(settings.fallback)
        self._same = SameCode(settings.same_code_s)
        self._stopped = False

    def start(self) -> None:
        """Start both threads; daemons, for a dead camera may hold one for ever."""
        for work in (self._grab, self._decode):
            threading.Thread(target=work, daemon=True).start()

    def stop(self) -> None:
        """Say no more, and end at the next frame."""
        self._stopped = True
        self._frames.close()

    def check(self) -> None:
        """Once a beat: say that it stalled or, while it gives frames, what became of those that were not decoded."""
        self.condition.check()
        if self.condition.gave_frames():
            counts = FrameCounts(self._frames.skipped(), self._source.broken())
            self._voice.say(Kind.COUNTS, self._number, encode_counts(counts))

    def _grab(self) -> None:
        from drivers.scanners.camera.frames import SourceLostError

        attempt = 0
        while not self._stopped:
            try:
                for frame in self._source.frames():
                    if self._stopped:
                        return
                    attempt = 0
                    self.condition.up(self._decoder.detail + self._source.detail)
                    if frame is not None:
                        self._put(frame)
            except SourceLostError as error:
                self.condition.down(error.fault, str(error))
                time.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
                attempt += 1

    def _put(self, frame: object) -> None:
        (self._frames.put_waiting if self._source.stored else self._frames.put)(frame)

    def _decode(self) -> None:
        decoder = self._decoder
        while (frame := self._frames.get()) is not None:
            code = decoder.decode_thoroughly(frame) if self._source.still else decoder.decode(frame)
            if code is None or len(code.payload) > PAYLOAD_BYTES_MAX:
                continue
            if self._same.is_new(code.payload, time.monotonic()) and not self._stopped:
                self._voice.say(Kind.CODE_GB18030 if code.gb18030 else Kind.CODE, self._number, code.payload)


class Worker:
    """All cameras by their number."""

    def __init__(self, voice: Voice) -> None:
        self._voice = voice
        self._cameras: dict[int, Camera] = {}

    def obey(self, order: Order) -> None:
        """Start or stop a camera."""
        if camera := self._cameras.pop(order.camera, None):
            camera.stop()
        if order.settings is None:
            return
        try:
            camera = Camera(order.camera, order.settings, self._voice)
        except ImportError as error:
            fault = f"{DeviceFault.LIBRARY_MISSING}:{error.name} cannot be imported: install it again"
            self._voice.say(Kind.DOWN, order.camera, fault.encode())
            return
        self._cameras[order.camera] = camera
        camera.start()

    def beat(self) -> None:
        """Say that this process lives, and look after its cameras, for ever."""
        while True:
            self._voice.say(Kind.BEAT)
            for camera in list(self._cameras.values()):
                camera.check()
            time.sleep(BEAT_S)

    def fail(self, error: type[BaseException], traceback: TracebackType | None) -> None:
        """An error of ours: say its type and place, never its text, and end. The controller starts us again."""
        while traceback and traceback.tb_next:
            traceback = traceback.tb_next
        place = f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}" if traceback else "?"
        for number in list(self._cameras):
            self._voice.say(Kind.DOWN, number, f"{DeviceFault.WORKER_LOST}:{error.__name__} at {place}".encode())
        os._exit(FAILED_STATUS)


def main() -> None:
    """Run until stdin closes."""
    os.nice(NICENESS)
    # OpenCV and FFmpeg print where they like; only messages of ours may go to the controller.
    voice = Voice(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _bound_libraries()
    worker = Worker(voice)
    threading.excepthook = lambda failed: worker.fail(failed.exc_type, failed.exc_traceback)
    threading.Thread(target=worker.beat, daemon=True).start()
    try:
        while line := sys.stdin.buffer.readline(ORDER_BYTES_MAX):
            worker.obey(decode_order(line))
    except BrokenStreamError:
        os._exit(FAILED_STATUS)
    except Exception as error:
        worker.fail(type(error), error.__traceback__)
    os._exit(0)  # native threads may hang in a dead camera


def _bound_libraries() -> None:
    os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(50_000_000))  # a picture that unpacks to more is skipped
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")  # s without a frame, as READ_MS of a stream
    try:
        import cv2
    except ImportError:
        return  # said by the first camera that needs it
    cv2.setNumThreads(1)  # lanes need the other cores


if __name__ == "__main__":
    main()
