"""A network camera that serves MJPEG over HTTP, as many real ones do beside RTSP, and what a network does to it."""

import asyncio
import socket
from contextlib import suppress

import cv2
import numpy as np

from drivers.simulated.camera import picture

_QUALITY = 85  # 50 kB of an idle hall at 640 x 480
_HELLO = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=frame\r\n\r\n"


def black_hole(port: int = 0) -> list[socket.socket]:
    """A port of loopback that answers nothing while these are open: a listener that takes none, its queue filled."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(0)
    hole = [listener]
    for _ in range(3):  # Linux holds one more than it was told; further ones are not answered
        filler = socket.socket()
        filler.setblocking(False)
        filler.connect_ex(listener.getsockname())
        hole.append(filler)
    return hole


class StreamCamera:
    """Shows one picture, `fps` times a second, to everybody who asks."""

    def __init__(self, fps: float = 30.0) -> None:
        self.pictures = [b""]
        self._every_s = 1.0 / fps
        self._server: asyncio.Server | None = None
        self._port = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._hole: list[socket.socket] = []

    @property
    def url(self) -> str:
        """What the driver is told."""
        return f"http://user:PASSWORD@127.0.0.1:{self._port}/stream"

    def show(self, payload: bytes) -> None:
        """Hold a code up."""
        self.pictures = [_jpeg(cv2.imdecode(np.frombuffer(picture(payload), np.uint8), cv2.IMREAD_COLOR))]

    def show_frames(self, frames: list[object]) -> None:
        """Show these again and again."""
        self.pictures = [_jpeg(frame) for frame in frames]

    async def plug(self) -> None:
        """It serves when this returns."""
        for held in self._hole:
            held.close()
        self._hole = []
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def unplug(self) -> None:
        """Connections end, and new ones are refused."""
        assert self._server
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def silence(self) -> None:
        """Connections stay and new ones are taken, and not a byte comes, until `speak`."""
        self._speaks.clear()

    def speak(self) -> None:
        """As before."""
        self._speaks.set()

    def vanish(self) -> None:
        """Nothing that is sent to it is ever answered, as when a cable is cut: its queue of connections is full."""
        self.unplug()
        self._hole = black_hole(self._port)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        loop = asyncio.get_running_loop()
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await self._speaks.wait()
            writer.write(_HELLO)
            due_s, number = loop.time(), 0
            while not writer.is_closing():
                await self._speaks.wait()
                shown = self.pictures[number % len(self.pictures)]
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(shown)}\r\n\r\n"
                writer.write(head.encode() + shown + b"\r\n")
                await writer.drain()
                number += 1
                due_s = max(due_s + self._every_s, loop.time() - self._every_s)
                await asyncio.sleep(due_s - loop.time())
        self._writers.discard(writer)


def _jpeg(frame: object) -> bytes:
    raw: bytes = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1].tobytes()
    return raw
