"""Where frames come from: a camera, a stream, a video file, a folder of pictures. Only for the camera process.

A source gives frames until it is lost; opened again it goes on, and what is stored is not shown twice.
"""

import contextlib
import itertools
import os
import socket
import stat
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import cv2

from drivers.contract import DeviceFault
from drivers.scanners.camera import controls
from drivers.scanners.camera.codec import CameraSettings

QUEUE_FRAMES = 1  # the newest counts: a passenger's code is in the next frame too
REACH_S = 0.5  # a host on the station's network answers in milliseconds; longer waits outlast the cut that caused them
OPEN_MS, READ_MS = 3000, 2000  # a stream that neither opens (a key frame may be 2 s away) nor sends for so long is lost
LOOK_S = 0.05  # how often a folder is looked at for new pictures
LOOK_ANYWAY_S = 1.0  # a picture that grows after it was seen does not change its folder's time
PICTURES_MAX = 5000  # in one folder; looking through more would take longer than a frame
PICTURE_BYTES_MAX = 32 * 1024 * 1024  # of one file; a camera's largest is about 20 MB
_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935}  # of streams over TCP
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm"})

Frame = Any  # numpy array


class SourceLostError(Exception):
    """The source gives no frames; the text says what to do, and never names the source: a URL may hold a password."""

    def __init__(self, text: str, fault: DeviceFault = DeviceFault.SOURCE_UNREADABLE) -> None:
        super().__init__(text)
        self.fault = fault


class FrameQueue:
    """Between the thread that grabs and the one that decodes."""

    def __init__(self) -> None:
        self._frames: deque[Frame] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._skipped = 0

    def put(self, frame: Frame) -> None:
        """Add a live frame; when there is no room the oldest goes, never the newest."""
        with self._changed:
            while len(self._frames) >= QUEUE_FRAMES:
                self._frames.popleft()
                self._skipped += 1
            self._add(frame)

    def skipped(self) -> int:
        """How many live frames went since this was last asked."""
        with self._changed:
            count, self._skipped = self._skipped, 0
            return count

    def put_waiting(self, frame: Frame) -> None:
        """Add a stored frame when there is room: it does not come again and does not grow old."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._frames) < QUEUE_FRAMES)
            self._add(frame)

    def _add(self, frame: Frame) -> None:
        if not self._closed:
            self._frames.append(frame)
            self._changed.notify_all()

    def get(self) -> Frame | None:
        """The oldest frame that is left, waiting for one; None when the queue was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._frames)
            if self._closed:
                return None
            self._changed.notify_all()
            return self._frames.popleft()

    def close(self) -> None:
        """Wake everybody who waits, for the last time."""
        with self._changed:
            self._closed = True
            self._frames.clear()
            self._changed.notify_all()


class Source(Protocol):
    """Something that gives frames."""

    stored: bool  # frames wait until they are taken
    detail: str  # what operators should know of it, once its frames come

    @property
    def still(self) -> bool:
        """Whether each frame is a picture of its own."""

    def frames(self) -> Iterator[Frame | None]:
        """Frames as they come, and None while there are none yet. Raises SourceLostError, also at its end."""

    def broken(self) -> int:
        """How many pictures could not be opened since this was last asked."""


def open_source(settings: CameraSettings) -> Source:
    """The source that `settings` name; whether it is there shows when its frames are asked for."""
    source = settings.source
    if source.isdigit() or source.startswith("/dev/") or "://" in source:
        return Live(settings)
    return Stored(Path(source), settings)


class Live:
    """A camera (index or /dev/video…) or a stream (rtsp://…): frames that grow old."""

    stored = False
    still = False

    def __init__(self, settings: CameraSettings) -> None:
        self._settings = settings
        self._every_s = 1.0 / settings.fps
        self.detail = ""

    def frames(self) -> Iterator[Frame | None]:
        """Every frame is taken from the source, so that none is old, and `fps` of them are given."""
        capture = self._open()
        try:
            due_s = time.monotonic()
            while True:
                if not capture.grab():
                    raise SourceLostError("it gives no more frames: check camera, network and cable")
                if (now_s := time.monotonic()) < due_s:
                    continue
                due_s = max(due_s + self._every_s, now_s)
                got, frame = capture.retrieve()
                if not got:
                    raise SourceLostError("its frames cannot be decoded: set the camera to H.264 or MJPEG")
                yield frame
        finally:
            capture.release()

    def broken(self) -> int:
        """None: a frame that cannot be decoded loses the source."""
        return 0

    def _open(self) -> Any:
        source = self._settings.source
        if "://" in source:
            _require_host(source)
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_MS]
            limits += [cv2.CAP_PROP_N_THREADS, 1]  # more would each hold back a frame, and take the lanes' cores
            capture = cv2.VideoCapture(source, cv2.CAP_FFMPEG, limits)
        else:
            device = f"/dev/video{source}" if source.isdigit() else source
            _require_device(device)
            capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        if not capture.isOpened():
            capture.release()
            raise SourceLostError("it does not open: check address, password, and that no other program holds it")
        if "://" not in source:
            self.detail = controls.apply(device, self._settings.exposure_ms, self._settings.torch)
        elif self._settings.exposure_ms or self._settings.torch:
            self.detail = "; exposure and torch of a stream are set on the camera's own page"
        return capture


def _require_host(url: str) -> None:
    """Ask for the host first: FFmpeg would wait for one that is cut off until long after it is back."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
        if parts.hostname and port:
            socket.create_connection((parts.hostname, port), REACH_S).close()
    except (OSError, ValueError):  # ValueError: an address that is none; the cause would show it
        raise SourceLostError("it is not reached: check address, network and cable") from None


def _require_device(path: str) -> None:
    if not os.path.exists(path):
        raise SourceLostError("there is no such camera: check cable and number", DeviceFault.PORT_MISSING)
    if not os.access(path, os.R_OK | os.W_OK):
        text = "permission denied: add the service's user to group video"
        raise SourceLostError(text, DeviceFault.PORT_DENIED)


class Stored:
    """A video file or a folder of pictures: every frame is given, once unless it loops."""

    stored = True
    detail = ""

    def __init__(self, path: Path, settings: CameraSettings) -> None:
        self._path = path
        self._every_s = 1.0 / settings.fps
        self._loop = settings.loop
        self._shown: set[tuple[str, int, int, int]] = set()  # bounded: always a part of what is in the folder
        self._skip = settings.only_new
        self._broken = 0
        self.still = True

    def frames(self) -> Iterator[Frame | None]:
        """What the path holds now, whichever it is."""
        try:
            self.still = stat.S_ISDIR(self._path.stat().st_mode)
            yield from self._folder() if self.still else self._video()
        except OSError as error:
            fault = DeviceFault.PORT_DENIED if isinstance(error, PermissionError) else DeviceFault.SOURCE_UNREADABLE
            raise SourceLostError(f"its file or folder: {os.strerror(error.errno or 0)}", fault) from error

    def broken(self) -> int:
        """How many pictures could not be opened since this was last asked; what grows is tried again."""
        broken, self._broken = self._broken, 0
        return broken

    def _folder(self) -> Iterator[Frame | None]:
        while True:
            looked_s, changed_ns = time.monotonic(), self._path.stat().st_mtime_ns
            names = self._new_pictures()
            yield None
            for name in names:
                if (frame := _picture(self._path / name)) is not None:
                    yield frame
                    time.sleep(self._every_s)
                else:
                    self._broken += 1
            time.sleep(LOOK_S)
            while not self._loop and self._is_unchanged(changed_ns, looked_s):
                yield None
                time.sleep(LOOK_S)

    def _is_unchanged(self, changed_ns: int, looked_s: float) -> bool:
        recent = time.monotonic() - looked_s < LOOK_ANYWAY_S
        return recent and self._path.stat().st_mtime_ns == changed_ns

    def _new_pictures(self) -> list[str]:
        """Names of the pictures that were not shown yet, in order; from now on they were."""
        found = {}
        with os.scandir(self._path) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):  # taken away while we looked
                    if _is_picture(entry.name):
                        found[entry.name] = _identity(entry.name, entry.stat())
        if len(found) > PICTURES_MAX:
            raise SourceLostError(f"its folder holds more than {PICTURES_MAX} pictures: take the old ones away")
        skip, self._skip = self._skip and not self._loop, False
        new = [] if skip else sorted(name for name, identity in found.items() if identity not in self._shown)
        self._shown = set() if self._loop else set(found.values())
        return new

    def _video(self) -> Iterator[Frame | None]:
        identity = _identity("", self._path.stat())
        if identity in self._shown or (self._skip and not self._loop):
            self._shown, self._skip = {identity}, False
            raise SourceLostError("the video has ended: set loop = true, or put another in its place")
        capture = cv2.VideoCapture(str(self._path))
        try:
            if not capture.isOpened():
                raise SourceLostError("it is no video that OpenCV reads")
            own_fps = capture.get(cv2.CAP_PROP_FPS) or 1 / self._every_s
            taken = 0
            for number in itertools.count():
                if not capture.grab():
                    break
                if number / own_fps < taken * self._every_s - 1e-6:
                    continue  # the video has more frames a second than are wanted
                got, frame = capture.retrieve()
                if got:
                    taken += 1
                    yield frame
                    time.sleep(self._every_s)
        finally:
            capture.release()
        if not taken:
            raise SourceLostError("the video holds no frames")
        self._shown = set() if self._loop else {identity}


def _identity(name: str, status: os.stat_result) -> tuple[str, int, int, int]:
    """What makes a file another one: a picture written again under the same name is new."""
    return (name, status.st_ino, status.st_size, status.st_mtime_ns)


def _is_picture(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in _PICTURES


def _picture(path: Path) -> Frame | None:
    """The picture in a file; None when it is none, too large, or gone again."""
    try:
        return cv2.imread(str(path)) if path.stat().st_size <= PICTURE_BYTES_MAX else None
    except (OSError, cv2.error):  # too many pixels is an error of OpenCV's
        return None
