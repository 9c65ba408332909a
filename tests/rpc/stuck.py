"""A client below gRPC that opens streams and lets the server send not one byte (HTTP/2 window of 0, RFC 9113)."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING = 0, 1, 3, 4, 6
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_INITIAL_WINDOW_SIZE = 4


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def _literal(name: str, value: str) -> bytes:
    """A header without indexing and without Huffman (RFC 7541, 6.2.2); names and values below 127 bytes."""
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


class StuckClient:
    """One connection with its streams."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._next = 1
        self.answered: set[int] = set()  # streams whose response headers have come

    def subscribe(self, path: str, request: bytes = b"") -> int:
        """Call the method at `path` and take nothing; the stream's number."""
        stream, self._next = self._next, self._next + 2
        headers = {
            ":method": "POST", ":scheme": "http", ":path": path, ":authority": "station",
            "te": "trailers", "content-type": "application/grpc",
        }  # fmt: skip
        block = b"".join(_literal(*header) for header in headers.items())
        body = b"\0" + struct.pack(">I", len(request)) + request
        self._writer.write(_frame(_HEADERS, _END_HEADERS, stream, block) + _frame(_DATA, _END_STREAM, stream, body))
        return stream

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Answer settings and pings, so that the connection stays healthy."""
        while True:
            head = await reader.readexactly(9)
            kind, flags, stream = struct.unpack(">BBI", head[3:])
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind == _HEADERS:
                self.answered.add(stream)
            if kind in (_SETTINGS, _PING) and not flags & _ACK:
                self._writer.write(_frame(kind, _ACK, 0, payload if kind == _PING else b""))


@contextlib.asynccontextmanager
async def stuck_client(address: str) -> AsyncIterator[StuckClient]:
    """A connection to HOST:PORT whose every stream has a window of 0."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(_PREFACE + _frame(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, 0)))
    client = StuckClient(writer)
    listening = asyncio.create_task(client.listen(reader))
    try:
        yield client
    finally:
        listening.cancel()
        writer.close()
