"""The camera process: `python -m drivers.scanners.camera.worker`. All cameras of a controller, away from its lanes."""

import os
import threading
import time
from typing import TYPE_CHECKING

from drivers.contract import DeviceFault
from drivers.scanners.camera.codec import CameraSettings, FrameCounts, Kind, encode_counts
from drivers.scanners.same_code import SameCode
from drivers.worker.child import CannotStartError, Condition, Voice, serve
from drivers.worker.codec import PAYLOAD_BYTES_MAX

if TYPE_CHECKING:
    from drivers.scanners.camera.frames import Source

STALLED_S = 10.0  # a camera that gives no frame for so long is down, even if its driver hangs and says nothing
REOPEN_S = (0.2, 0.5)  # at most 0.5 s, so that a lane is back within 2 s of its camera
_STALLED = DeviceFault.SOURCE_UNREADABLE, f"no frame for {STALLED_S:.0f} s: check camera and network"


class Camera:
    """One camera: a thread that grabs, a thread that decodes."""

    def __init__(self, number: int, settings: CameraSettings, voice: Voice) -> None:
        # Imported here so that a missing library is one camera's fault and not the end of the process.
        from drivers.scanners.camera.decode import Decoder
        from drivers.scanners.camera.frames import FrameQueue, open_source

        self.condition = Condition(number, voice, STALLED_S, _STALLED)
        self._number = number
        self._voice = voice
        self._source: Source = open_source(settings)
        self._frames = FrameQueue()
        self._decoder = Decoder(settings.fallback)
        self._same = SameCode(settings.same_code_s)
        self._gave_frames = False  # since it was last told what became of them
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
        if self._gave_frames:
            self._gave_frames = False
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
                    attempt, self._gave_frames = 0, True
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


def make(number: int, settings: CameraSettings, voice: Voice) -> Camera:
    """A camera. Raises CannotStartError when a library is missing."""
    try:
        return Camera(number, settings, voice)
    except ImportError as error:
        text = f"{error.name} cannot be imported: install it again"
        raise CannotStartError(DeviceFault.LIBRARY_MISSING, text) from error


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
    serve(make, CameraSettings, _bound_libraries)
