"""The camera process: `python -m drivers.scanners.camera.worker`. All cameras of a controller, away from its lanes.

A crash in OpenCV or a decoder ends this process and no lane; it is niced, so that lanes come first. Its cameras come as
one JSON line on stdin, messages go to stdout (codec.py). It ends when stdin closes: its controller is gone.
"""

import hashlib
import json
import os
import secrets
import sys
import threading
import time
from typing import Any, BinaryIO

import cv2

from drivers.scanners.camera.codec import PAYLOAD_BYTES_MAX, Kind, Message, encode
from drivers.scanners.camera.decode import Decoder
from drivers.scanners.camera.frames import REOPEN_S, Folder, NewestFrames, SourceLostError, open_source

NICENESS = 10


class Camera:
    """One camera: a thread that grabs, a thread that decodes."""

    def __init__(self, number: int, settings: dict[str, Any], say: "Voice") -> None:
        self._number = number
        self._settings = settings
        self._say = say
        self._frames = NewestFrames()
        self._decoder = Decoder(settings["fallback"] == "pyzbar")
        self._key = secrets.token_bytes(16)
        self._only_new = bool(settings["only_new"])
        self._still = False  # pictures do not come again: each gets every rescue
        self._mark = b""
        self._seen_s = float("-inf")

    def start(self) -> None:
        """Start both threads."""
        for work in (self._grab, self._decode):
            threading.Thread(target=work, daemon=True).start()

    def _grab(self) -> None:
        attempt = 0
        settings = self._settings
        while True:
            try:
                source = open_source(settings["source"], settings["fps"], settings["loop"], self._only_new)
                self._only_new = True
                self._still = isinstance(source, Folder)
                source.run(self._frames.put, self._up)
            except SourceLostError as error:
                self._say(Kind.DOWN, self._number, f"SOURCE_UNREADABLE:{error}".encode())
            time.sleep(REOPEN_S[min(attempt, len(REOPEN_S) - 1)])
            attempt += 1

    def _up(self) -> None:
        self._say(Kind.UP, self._number, self._decoder.lacks.encode())

    def _decode(self) -> None:
        while True:
            frame = self._frames.get()
            decode = self._decoder.decode_thoroughly if self._still else self._decoder.decode
            for payload in decode(frame):
                if len(payload) <= PAYLOAD_BYTES_MAX and self._is_new(payload):
                    self._say(Kind.CODE, self._number, payload)

    def _is_new(self, payload: bytes) -> bool:
        mark = hashlib.blake2b(payload, key=self._key, digest_size=16).digest()
        now_s = time.monotonic()
        again = mark == self._mark and now_s - self._seen_s < self._settings["same_code_s"]
        self._mark, self._seen_s = mark, now_s
        return not again


class Voice:
    """Writes messages of all threads, one at a time."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._lock = threading.Lock()

    def __call__(self, kind: Kind, camera: int, body: bytes) -> None:
        """Say one thing; the process ends when nobody listens."""
        with self._lock:
            try:
                self._out.write(encode(Message(kind, camera, body)))
                self._out.flush()
            except BrokenPipeError:
                os._exit(0)


def main() -> None:
    """Run until stdin closes."""
    os.nice(NICENESS)
    cv2.setNumThreads(1)  # lanes need the other cores
    say = Voice(sys.stdout.buffer)
    for number, settings in enumerate(json.loads(sys.stdin.readline())):
        Camera(number, settings, say).start()
    sys.stdin.read()
    os._exit(0)  # native threads may hang in a dead camera


if __name__ == "__main__":
    main()
