"""Where frames come from: a camera, a stream, a video file, a folder of pictures. Only for the camera process."""

import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2

REOPEN_S = (0.2, 0.5, 1.0, 2.0)
QUEUE_FRAMES = 2  # the newest counts: a passenger's code is in the next frame too
LOOK_S = 0.05  # how often a folder is looked at for new pictures
SEEN_MAX = 10_000
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp"})


class NewestFrames:
    """A queue that drops the oldest frame, never the newest."""

    def __init__(self) -> None:
        self._frames: deque[Any] = deque(maxlen=QUEUE_FRAMES)
        self._there = threading.Condition()

    def put(self, frame: Any) -> None:
        """Add a frame; the oldest goes when there is no room."""
        with self._there:
            self._frames.append(frame)
            self._there.notify()

    def get(self) -> Any:
        """The oldest frame that is left, waiting for one."""
        with self._there:
            while not self._frames:
                self._there.wait()
            return self._frames.popleft()


class SourceLostError(Exception):
    """The source gives no frames; the text says what to do."""


class Video:
    """A camera (index or /dev/video…), an RTSP URL, or a video file."""

    def __init__(self, source: str, fps: float, loop: bool) -> None:
        self._source: int | str = int(source) if source.isdigit() else source
        self._every_s = 1.0 / fps
        self._loop = loop
        self._live = isinstance(self._source, int) or not Path(source).is_file()

    def run(self, put: Callable[[Any], None], up: Callable[[], None]) -> None:
        """Deliver frames until the source ends or is lost. Raises SourceLostError."""
        capture = cv2.VideoCapture(self._source)
        try:
            if not capture.isOpened():
                raise SourceLostError("the source does not open: check device, address and cable")
            up()
            last_s = 0.0
            while True:
                got, frame = capture.read()
                if not got:
                    if self._live or not self._loop:
                        raise SourceLostError("the source gives no more frames")
                    capture.set(cv2.CAP_PROP_POS_FRAMES, 0)
                    continue
                wait_s = last_s + self._every_s - time.monotonic()
                if wait_s > 0 and self._live:
                    continue  # faster than asked for: skipped, so that the newest is never old
                time.sleep(max(0.0, wait_s))
                last_s = time.monotonic()
                put(frame)
        finally:
            capture.release()


class Folder:
    """Pictures in a folder, by name; new ones are taken as they appear."""

    def __init__(self, folder: Path, fps: float, loop: bool, only_new: bool) -> None:
        self._folder = folder
        self._every_s = 1.0 / fps
        self._loop = loop
        # After a restart: what lies there was shown before, and its people are gone.
        self._seen: dict[str, None] = dict.fromkeys(self._names()) if only_new and folder.is_dir() else {}

    def run(self, put: Callable[[Any], None], up: Callable[[], None]) -> None:
        """Deliver pictures until the folder vanishes. Raises SourceLostError."""
        if not self._folder.is_dir():
            raise SourceLostError("the folder is not there: make it or correct the path")
        up()
        while True:
            try:
                names = self._names()
            except OSError as error:
                raise SourceLostError(f"the folder cannot be read: {error.strerror}") from error
            new = [name for name in names if self._loop or name not in self._seen]
            for name in new:
                self._seen[name] = None
                frame = cv2.imread(str(self._folder / name))
                if frame is not None:
                    put(frame)
                time.sleep(self._every_s)
            while len(self._seen) > SEEN_MAX:
                del self._seen[next(iter(self._seen))]
            if not new:
                time.sleep(LOOK_S)

    def _names(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir() if path.suffix.lower() in _PICTURES)


def open_source(source: str, fps: float, loop: bool, only_new: bool) -> Video | Folder:
    """The source called `source`; `only_new`: of a folder only the pictures that come from now on."""
    path = Path(source)
    is_folder = path.is_dir() or source.endswith("/")
    return Folder(path, fps, loop, only_new) if is_folder else Video(source, fps, loop)
