"""Where frames come from: the queue between two threads, folders, video files, and sources that are not there."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from drivers.contract import DeviceFault
from drivers.scanners.camera import frames
from drivers.scanners.camera.codec import CameraSettings
from drivers.scanners.camera.frames import FrameQueue, SourceLostError, open_source
from tests.support.stream_camera import black_hole


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses between pictures are the driver's pace, not a thing to wait for here."""
    monkeypatch.setattr(frames, "LOOK_S", 0.001)


def settings(source: Path | str, **given: Any) -> CameraSettings:
    return CameraSettings(str(source), **{"fps": 1000.0, **given})


def put(folder: Path, name: str, shade: int, suffix: str = ".png") -> None:
    folder.mkdir(exist_ok=True)
    cv2.imwrite(str(folder / f".tmp{suffix}"), np.full((8, 8, 3), shade, np.uint8))
    os.replace(folder / f".tmp{suffix}", folder / name)


def shades(given: Iterator[Any], count: int) -> list[int]:
    """The next `count` pictures by their shade, skipping "nothing yet"."""
    pictures = (int(picture.mean().round()) for picture in given if picture is not None)
    return [next(pictures) for _ in range(count)]


def test_the_queue_drops_the_oldest_never_the_newest() -> None:
    """When decoding is slower than the camera, what is left is what was seen last, and the others are counted once."""
    queue = FrameQueue()
    for number in range(10):
        queue.put(number)
    assert [queue.skipped(), queue.skipped()] == [9, 0]
    assert queue.get() == 9


def test_stored_frames_wait_for_room() -> None:
    """Pictures do not come again, so none is dropped however slow decoding is."""
    queue = FrameQueue()
    feeding = threading.Thread(target=lambda: [queue.put_waiting(n) for n in range(10)], daemon=True)
    feeding.start()
    assert [queue.get() for _ in range(10)] == list(range(10))
    feeding.join(10)
    assert not feeding.is_alive()


def test_closing_the_queue_wakes_both_sides() -> None:
    """A camera that is stopped leaves no thread waiting."""
    queue = FrameQueue()
    got: list[Any] = []
    waiting = threading.Thread(target=lambda: got.append(queue.get()), daemon=True)
    waiting.start()
    queue.close()
    waiting.join(10)
    assert got == [None]
    queue.put_waiting(1)
    queue.put(2)
    assert queue.get() is None


def test_a_folder_gives_its_pictures_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Each once, whatever was written first; other files, hidden and broken ones are nothing."""
    for name, shade in (("c.png", 30), ("a.jpg", 10), ("b.bmp", 20)):
        put(tmp_path, name, shade, Path(name).suffix)
    (tmp_path / "aa.png").write_bytes(b"no picture")
    (tmp_path / "notes.txt").write_text("x")
    put(tmp_path, ".hidden.png", 99)
    assert shades(open_source(settings(tmp_path)).frames(), 3) == [10, 20, 30]


def test_pictures_that_are_added_are_seen_once_each(tmp_path: Path) -> None:
    """New names, and a new picture under an old name; nothing is shown again when the source is opened again."""
    put(tmp_path, "1.png", 10)
    source = open_source(settings(tmp_path))
    given = source.frames()
    assert shades(given, 1) == [10]
    put(tmp_path, "0.png", 20)
    assert shades(given, 1) == [20]
    put(tmp_path, "1.png", 30)
    assert shades(given, 1) == [30]
    put(tmp_path, "2.png", 40)
    assert shades(source.frames(), 1) == [40]


def test_after_a_restart_only_new_pictures_count(tmp_path: Path) -> None:
    """The camera process was started again: codes that were shown before it died are not shown to the lane again."""
    put(tmp_path, "1.png", 10)
    given = open_source(settings(tmp_path, only_new=True)).frames()
    assert next(given) is None
    put(tmp_path, "2.png", 20)
    assert shades(given, 1) == [20]


def test_a_folder_can_loop(tmp_path: Path) -> None:
    """With loop the pictures come again and again, and new ones with them."""
    put(tmp_path, "1.png", 10)
    put(tmp_path, "2.png", 20)
    given = open_source(settings(tmp_path, loop=True)).frames()
    assert shades(given, 4) == [10, 20, 10, 20]
    put(tmp_path, "3.png", 30)
    assert 30 in shades(given, 5)


def test_a_folder_with_too_many_pictures_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking through a folder has a limit."""
    monkeypatch.setattr(frames, "PICTURES_MAX", 1)
    put(tmp_path, "1.png", 10)
    put(tmp_path, "2.png", 20)
    with pytest.raises(SourceLostError, match="take the old ones away"):
        next(open_source(settings(tmp_path)).frames())


def test_a_picture_that_is_too_large_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of gigabytes in the folder costs nothing."""
    put(tmp_path, "1.png", 10)
    with (tmp_path / "0.png").open("wb") as huge:
        huge.truncate(frames.PICTURE_BYTES_MAX + 1)
    assert shades(open_source(settings(tmp_path)).frames(), 1) == [10]


def video(path: Path, count: int, fps: float = 1000.0) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 64))
    for number in range(count):
        writer.write(np.full((64, 64, 3), 10 * number, np.uint8))
    writer.release()
    return path


def test_a_video_plays_once_and_says_that_it_ended(tmp_path: Path) -> None:
    """Opened again it stays ended until another file is in its place."""
    path = video(tmp_path / "a.avi", 5)
    source = open_source(settings(path))
    given = source.frames()
    assert shades(given, 5) == pytest.approx([0, 10, 20, 30, 40], abs=2)
    for attempt in (given, source.frames()):
        with pytest.raises((SourceLostError, StopIteration)):
            next(attempt)
    with pytest.raises(SourceLostError, match="ended"):
        next(source.frames())
    os.replace(video(tmp_path / "b.avi", 3), path)
    assert len(shades(source.frames(), 3)) == 3


def test_a_video_can_loop(tmp_path: Path) -> None:
    """With loop a video that ended plays again when it is opened again, as the camera process does."""
    source = open_source(settings(video(tmp_path / "a.avi", 2), loop=True))
    assert len(list(source.frames())) == 2
    assert len(list(source.frames())) == 2


def test_a_video_has_its_frame_rate_cut_to_the_limit(tmp_path: Path) -> None:
    """Of a video with twice as many frames a second as wanted, every second one is decoded."""
    source = open_source(settings(video(tmp_path / "a.avi", 6, fps=1000.0), fps=500.0))
    assert shades(source.frames(), 3) == pytest.approx([0, 20, 40], abs=2)


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("/dev/video97", DeviceFault.PORT_MISSING),
        ("97", DeviceFault.PORT_MISSING),
        ("{}/nothing", DeviceFault.SOURCE_UNREADABLE),
        ("{}/text.avi", DeviceFault.SOURCE_UNREADABLE),
        ("rtsp://user:SECRET@127.0.0.1:9/", DeviceFault.SOURCE_UNREADABLE),
    ],
)
def test_a_source_that_is_not_there_is_lost_with_its_fault(tmp_path: Path, source: str, fault: DeviceFault) -> None:
    """Each way of being absent has its fault, and no text names the source: a URL holds a password."""
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(SourceLostError) as lost:
        next(open_source(settings(source.format(tmp_path))).frames())
    assert lost.value.fault is fault
    assert "SECRET" not in str(lost.value)


def test_a_host_that_answers_nothing_is_given_up_before_ffmpeg_would() -> None:
    """A camera behind a cut cable is asked for again soon, so that it is found soon after its return."""
    hole = black_hole()
    host, port = hole[0].getsockname()
    started_s = time.monotonic()
    with pytest.raises(SourceLostError, match="not reached"):
        next(open_source(settings(f"http://{host}:{port}/")).frames())
    assert frames.REACH_S <= time.monotonic() - started_s < frames.OPEN_MS / 1000
    for held in hole:
        held.close()


@pytest.mark.parametrize("url", ["http://camera:port/", "rtsp://[::1/", "http://user:SECRET@camera:99999/"])
def test_an_address_that_is_none_is_said_without_repeating_it(url: str) -> None:
    """A misspelt address is the operator's to mend; it may hold a password."""
    with pytest.raises(SourceLostError, match="check address") as lost:
        next(open_source(settings(url)).frames())
    assert "SECRET" not in str(lost.value)


class Capture:
    """A camera as OpenCV gives it, whose clock runs 10 ms a frame."""

    def __init__(self, frames_left: int, clock: list[float]) -> None:
        self._left = frames_left
        self._clock = clock
        self.released = False

    def grab(self) -> bool:
        self._clock[0] += 0.010
        self._left -= 1
        return self._left >= 0

    def retrieve(self) -> tuple[bool, float]:
        return True, self._clock[0]

    def release(self) -> None:
        self.released = True


def test_a_live_source_is_never_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every frame is taken from the camera, so none is old; `fps` of them are decoded; at its end it is let go."""
    clock = [0.0]
    capture = Capture(100, clock)
    live = frames.Live(settings("0", fps=25.0))
    monkeypatch.setattr(live, "_open", lambda: capture)
    monkeypatch.setattr(frames.time, "monotonic", lambda: clock[0])
    given: list[float] = []
    with pytest.raises(SourceLostError, match="no more frames"):
        given.extend(live.frames())  # type: ignore[arg-type] # the frames of this camera are their times
    assert 24 <= len(given) <= 26
    assert capture.released
